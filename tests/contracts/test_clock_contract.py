"""Every clock counts whole microseconds, never below zero, and never goes back."""

import math
from collections.abc import Callable, Iterator
from itertools import cycle

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from governor.clock import Clock, steady_clock, system_clock
from governor.testing import ManualClock, loop_clock

#: What a broken source may say.
NONSENSE = (3.0, 2.9, -5.0, math.nan, 1e9, math.inf, 0.0, 0.1)


def moved_by_hand() -> Clock:
    clock = ManualClock(start=10)
    steps: Iterator[float] = cycle((0.0, 0.25, 1e-9))

    def read() -> int:
        clock.advance(next(steps))
        return clock()

    return steady_clock(lambda: read() / 1_000_000)


def on_a_broken_source() -> Clock:
    readings = cycle(NONSENSE)
    return steady_clock(lambda: next(readings))


CLOCKS: list[Callable[[], Clock]] = [lambda: system_clock, loop_clock, ManualClock, moved_by_hand, on_a_broken_source]
NAMES = ["system_clock", "loop_clock without a loop", "ManualClock", "ManualClock, moved", "steady_clock on a broken source"]


@pytest.fixture(params=CLOCKS, ids=NAMES)
def clock(request: pytest.FixtureRequest) -> Clock:
    """A clock, ready to be read."""
    make: Callable[[], Clock] = request.param
    return make()


def test_it_counts_in_whole_microseconds_from_zero(clock: Clock) -> None:
    readings = [clock() for _ in range(100)]

    assert {int} == {type(reading) for reading in readings}
    assert min(readings) >= 0


def test_it_never_goes_back(clock: Clock) -> None:
    readings = [clock() for _ in range(100)]

    assert sorted(readings) == readings


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, min_value=None, max_value=None, width=32), min_size=2))
def test_a_steady_clock_keeps_the_contract_whatever_its_source_says(source: list[float]) -> None:
    values = iter(source)
    clock = steady_clock(lambda: next(values))
    readings = [clock() for _ in source]

    assert sorted(readings) == readings
    assert min(readings) >= 0


def test_the_clock_of_a_loop_keeps_the_contract_on_that_loop() -> None:
    async def main() -> list[int]:
        clock = loop_clock()
        readings: list[int] = [clock()]
        for _ in range(10):
            await anyio.sleep(0.3)
            readings.append(clock())
        return readings

    readings = anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})

    assert sorted(readings) == readings
    assert 3_000_000 == pytest.approx(readings[-1] - readings[0], abs=10)
