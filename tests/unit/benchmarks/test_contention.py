"""The crowds: who takes part, when they begin, and what is made of what they say."""

from collections.abc import Callable, Sequence
from functools import partial
from threading import get_ident
from time import monotonic_ns

import pytest

from benchmarks.contention.crowd import TASKS, Behaviour, Crowd, Span, Times, one_loop, tasks_and_threads, threads, two_loops
from benchmarks.contention.latency import _bursts
from benchmarks.contention.scarce import LEAST_SHARE, OF_ALLOWED, _take_and_take, shares
from benchmarks.contention.subject import Ask, AskOnLoop, Law, Limit, for_everybody, lock_based
from benchmarks.contention.throughput import Tally, ask_and_ask, per_second
from benchmarks.contract import BenchmarkError
from benchmarks.laws import Admission
from benchmarks.measure import percentile

BRIEF = Span(1, 1)
LIMIT = Limit(1, 1)
ALWAYS = lock_based(lambda _: for_everybody(lambda _: lambda: True), law=Law.BUCKET)


def here(_: Ask, times: Times) -> tuple[int, Times, int]:
    return get_ident(), times, monotonic_ns()


async def here_as_a_task(_: AskOnLoop, times: Times) -> tuple[int, Times, int]:
    return get_ident(), times, monotonic_ns()


WHERE = Behaviour(here, here_as_a_task)


@pytest.mark.parametrize(
    ("crowd", "people", "on_threads"), [(one_loop, TASKS, 1), (two_loops, TASKS, 2), (tasks_and_threads, TASKS + 4, 5)]
)
def test_all_are_where_they_should_be(crowd: Crowd[tuple[int, Times, int]], people: int, on_threads: int) -> None:
    found = crowd(ALWAYS, LIMIT, BRIEF, WHERE)

    assert (people, on_threads) == (len(found), len({thread for thread, _, _ in found}))


def test_all_begin_together_and_none_before_all_are_there() -> None:
    arrived: list[int] = []

    def late() -> bool:
        return True

    def live(ask: Ask, times: Times) -> Times:
        arrived.append(monotonic_ns())
        return times

    found: Sequence[Times] = threads([late] * 8, Span(0, 5), live)

    assert (1, 8) == (len(set(found)), len(arrived))
    assert min(arrived) >= found[0].begin


def test_what_goes_wrong_on_a_thread_goes_wrong_for_all() -> None:
    def fail(ask: Ask, times: Times) -> None:
        raise BenchmarkError("planted")

    with pytest.raises(BenchmarkError, match="planted"):
        threads([lambda: True] * 2, BRIEF, fail)


def test_the_time_is_that_of_the_last_to_come_to_an_end() -> None:
    tallies = [Tally(30, 30, 0, 1_000_000_000), Tally(10, 10, 0, 2_000_000_000)]

    assert 20.0 == per_second(tallies)


def test_a_throughput_of_refusals_is_none() -> None:
    with pytest.raises(BenchmarkError, match="29 permits were granted"):
        per_second([Tally(30, 29, 0, 1)])


def test_a_limiter_of_one_loop_has_no_door_for_threads() -> None:
    from benchmarks.contention.subjects.leaky_bucket import AIOLIMITER

    with AIOLIMITER.open(LIMIT) as limiter, pytest.raises(BenchmarkError, match="belongs to one event loop"):
        limiter.ask("shared")


def admitted(*instants: int) -> list[Admission]:
    return [Admission(instant, instant) for instant in instants]


def test_shares_and_sums_are_parts_of_what_is_due() -> None:
    """500 per second and a burst of 50: 75 within 50 ms, of which these two threads have three and one."""
    figures = shares([admitted(0, 10, 20), admitted(30, 50_001)], 50)

    assert (0.5, 4 / 75) == (figures[LEAST_SHARE], figures[OF_ALLOWED])


def test_a_machine_that_needs_longer_for_the_first_permit_than_there_is_time_shares_that_one() -> None:
    figures = shares([[Admission(0, 70_000)], [Admission(0, 80_000)]], 50)

    assert (0.0, 1 / 75) == (figures[LEAST_SHARE], figures[OF_ALLOWED])


@pytest.mark.parametrize("ask_until", [ask_and_ask, partial(_bursts, burst=1, tick=1, lag=0), _take_and_take])
def test_a_thread_that_comes_too_late_to_be_measured_asks_all_the_same(ask_until: Callable[[Ask, Times], object]) -> None:
    asks: list[None] = []

    def ask() -> bool:
        asks.append(None)
        return True

    ask_until(ask, Times(0, 0))

    assert asks


def test_what_was_never_timed_has_no_percentile() -> None:
    with pytest.raises(BenchmarkError, match="no measurement"):
        percentile([], 0.5)
