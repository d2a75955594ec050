"""The lock-based baseline: a fair comparison needs an engine that does the job."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.contenders.lock_engine import LockEngine, Settings

# Rates and instants that floats hold exactly, so that the claims are about the engine and not about rounding.
gaps = st.lists(st.integers(0, 4096).map(lambda ticks: ticks / 1024), max_size=60)


class Clock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1024.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def engine(
    clock: Clock, *, rate: float = 1024.0, burst: int = 1024, cap: int = 1024, degraded_failures: int = 1024
) -> LockEngine:
    return LockEngine(Settings(rate=rate, burst=burst, cap=cap, degraded_failures=degraded_failures), clock)


def ask(subject: LockEngine, times: int = 1, provider: str = "bench") -> list[str]:
    decisions = [subject.check(provider, "GET") for _ in range(times)]
    return ["granted" if decision.allowed else decision.reason for decision in decisions]


@given(rate=st.sampled_from([0.25, 1.0, 4.0]), burst=st.integers(1, 8), gaps=gaps)
def test_a_scope_never_admits_more_than_the_burst_and_the_rate_in_any_window(
    rate: float, burst: int, gaps: list[float]
) -> None:
    clock = Clock()
    subject = engine(clock, rate=rate, burst=burst)
    admitted: list[float] = []
    for gap in gaps:
        clock.now += gap
        admitted += [clock.now for answer in ask(subject, burst + 1) if answer == "granted"]

    windows = [
        (later - first + 1, admitted[later] - admitted[first])
        for first in range(len(admitted))
        for later in range(first, len(admitted))
    ]

    assert [] == [(count, width) for count, width in windows if count > burst + rate * width]


@given(cap=st.integers(1, 8), gaps=st.lists(st.integers(0, 90), max_size=60))
def test_all_scopes_together_never_exceed_the_cap_in_any_minute(cap: int, gaps: list[int]) -> None:
    clock = Clock()
    subject = engine(clock, cap=cap)
    admitted: list[float] = []
    for number, gap in enumerate(gaps):
        clock.now += gap
        admitted += [clock.now for answer in ask(subject, 2, provider=f"p{number % 3}") if answer == "granted"]

    assert [] == [start for start in admitted if sum(start <= at < start + 60 for at in admitted) > cap]


def test_the_breaker_opens_after_failures_in_a_row(clock: Clock) -> None:
    subject = engine(clock)
    for status in (500, 500, 500, 500, 200, 500, 500, 500, 500):
        subject.record("bench", "GET", status)
    before = ask(subject)
    subject.record("bench", "GET", 503)

    assert (["granted"], ["circuit_breaker_open"]) == (before, ask(subject))


def test_a_half_open_breaker_lets_exactly_its_probes_through(clock: Clock) -> None:
    subject = engine(clock)
    for _ in range(5):
        subject.record("bench", "GET", 500)
    clock.now += 60.0

    assert ["granted"] * 3 + ["circuit_breaker_open"] * 2 == ask(subject, 5)


def test_enough_successful_probes_close_the_breaker(clock: Clock) -> None:
    subject = engine(clock)
    for _ in range(5):
        subject.record("bench", "GET", 500)
    clock.now += 60.0
    ask(subject, 2)
    subject.record("bench", "GET", 200)
    subject.record("bench", "GET", 200)

    assert ["granted"] * 10 == ask(subject, 10)


def test_reaching_the_cap_stops_everything_for_the_cooldown(clock: Clock) -> None:
    subject = engine(clock, cap=2)
    first = ask(subject, 3)
    other = ask(subject, provider="other")
    clock.now += 60.0

    assert (["granted", "granted", "global_request_cap_exceeded"], ["degraded_mode_active"]) == (first, other)
    assert ["granted"] == ask(subject)


def test_failures_in_a_row_anywhere_stop_everything(clock: Clock) -> None:
    subject = engine(clock, degraded_failures=2)
    subject.record("a", "GET", 500)
    subject.record("b", "GET", 500)

    assert ["degraded_mode_active"] == ask(subject, provider="c")


def test_what_the_cap_denies_costs_no_token(clock: Clock) -> None:
    subject = engine(clock, rate=1 / 1024, burst=2, cap=1)
    answers = ask(subject, 2)
    clock.now += 60.0

    assert ["granted", "global_request_cap_exceeded", "granted"] == [*answers, *ask(subject)]


def test_it_counts_requests_answers_and_refusals(clock: Clock) -> None:
    subject = engine(clock, rate=1.0, burst=2)
    ask(subject, 3)
    subject.record("bench", "GET", 200)
    subject.record("bench", "GET", 404)
    counters = subject.scope("bench", "GET", clock.now).counters

    assert (2, {2: 1, 4: 1}, {"rate_limit_exceeded": 1}) == (counters.requests, counters.answered, counters.denied)
