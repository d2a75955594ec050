"""The judge of the contenders: one that admits too much is marked, and if it is the governor, nothing is published."""

import msgspec
import pytest

from benchmarks.contention.crowd import one_loop, tasks_and_threads, two_loops
from benchmarks.contention.exactness import _TIGHT, judge, over_admitted, over_admitted_to_threads
from benchmarks.contention.subject import Law, Limit, for_everybody, lock_based
from benchmarks.contention.subjects.baselines import TEXTBOOK
from benchmarks.contract import BenchmarkError
from benchmarks.laws import Admission

GENEROUS = lock_based(lambda _: for_everybody(lambda _: lambda: True), law=Law.BUCKET)
MEAN = lock_based(lambda _: for_everybody(lambda _: lambda: False), law=Law.BUCKET)
WINDOWS = lock_based(lambda _: for_everybody(lambda _: lambda: True), law=Law.WINDOW)
#: A permit every 500 microseconds.
LIMIT = Limit(2_000, 2)


def at(*instants: int) -> list[Admission]:
    return [Admission(instant, instant) for instant in instants]


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.contention.exactness._ASKING", 20)


@pytest.fixture
def tight(monkeypatch: pytest.MonkeyPatch) -> None:
    """So little that the first asks exceed it, also on a machine that gives this process no turn for seconds."""
    monkeypatch.setitem(_TIGHT, Law.BUCKET, Limit(1, 1))


@pytest.mark.usefixtures("tight")
def test_a_limiter_that_admits_everything_is_marked_for_each_client() -> None:
    found = [over_admitted(GENEROUS, crowd) for crowd in (one_loop, two_loops, tasks_and_threads)]

    assert [] == [excess for excess in [*found, over_admitted_to_threads(GENEROUS, ["shared"] * 8)] if not excess > 0]


def test_a_limiter_that_keeps_its_limit_is_not() -> None:
    assert 0 == over_admitted_to_threads(TEXTBOOK, ["shared"] * 8)


def test_a_limit_of_each_scope_is_judged_scope_by_scope() -> None:
    assert 0 == over_admitted_to_threads(TEXTBOOK, [f"scope{number}" for number in range(8)])


@pytest.mark.usefixtures("tight")
def test_one_that_must_be_exact_and_is_not_ends_the_benchmark() -> None:
    planted = msgspec.structs.replace(GENEROUS, exact=True)

    with pytest.raises(BenchmarkError, match="this must never happen"):
        over_admitted_to_threads(planted, ["shared"] * 2)


def test_the_governor_must_be_exact() -> None:
    from benchmarks.contention.subjects.ours import GOVERNOR

    assert GOVERNOR.exact


def test_one_that_admits_nothing_is_no_measurement() -> None:
    with pytest.raises(BenchmarkError, match="nothing was admitted"):
        over_admitted_to_threads(MEAN, ["shared"])


def test_a_bucket_is_exceeded_a_microsecond_before_it_owes_a_permit_and_not_when_it_does() -> None:
    early, due = judge(GENEROUS, LIMIT, at(0, 0, 499)), judge(GENEROUS, LIMIT, at(0, 0, 500))

    assert (0.002, 0) == (early, due)


def test_a_window_is_exceeded_within_a_second_and_not_at_its_end() -> None:
    limit = Limit(2, 2)
    early, due = judge(WINDOWS, limit, at(0, 0, 999_999)), judge(WINDOWS, limit, at(0, 0, 1_000_000))

    assert (1, 0) == (early, due)


def test_no_limiter_is_judged_more_finely_than_by_its_own_clock() -> None:
    in_milliseconds = msgspec.structs.replace(GENEROUS, clock=1_000)

    assert 0 == judge(in_milliseconds, LIMIT, at(0, 0, 1))
