"""The textbook baseline: a fair comparison needs a limiter that keeps its limit."""

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.contenders.textbook import TextbookLimiter

# Rates and instants that floats hold exactly, so that the claim is about the limiter and not about rounding.
rates = st.sampled_from([0.25, 1.0, 4.0, 64.0])
gaps = st.lists(st.integers(0, 4096).map(lambda ticks: ticks / 1024), max_size=60)


class Clock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1024.0

    def __call__(self) -> float:
        return self.now


@given(rate=rates, burst=st.integers(1, 8), gaps=gaps)
def test_it_never_admits_more_than_the_burst_and_the_rate_in_any_window(rate: float, burst: int, gaps: list[float]) -> None:
    clock = Clock()
    limiter = TextbookLimiter(rate, burst, clock)
    admitted: list[float] = []
    for gap in gaps:
        clock.now += gap
        admitted += [clock.now for _ in range(burst + 1) if limiter.acquire("key")]

    windows = [
        (later - first + 1, admitted[later] - admitted[first])
        for first in range(len(admitted))
        for later in range(first, len(admitted))
    ]

    assert [] == [(count, width) for count, width in windows if count > burst + rate * width]


def test_a_token_is_there_when_it_is_due_and_not_a_tick_before() -> None:
    clock = Clock()
    limiter = TextbookLimiter(4.0, 1, clock)
    limiter.acquire("key")
    clock.now += 0.25 - 1 / 1024
    early = limiter.acquire("key")
    clock.now += 1 / 1024

    assert (False, True) == (early, limiter.acquire("key"))


def test_keys_do_not_share_a_bucket() -> None:
    limiter = TextbookLimiter(1.0, 1, Clock())

    assert [True, False, True] == [limiter.acquire(key) for key in ("a", "a", "b")]
