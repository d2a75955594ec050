"""Clocks whose source misbehaves."""

import math
from collections.abc import Iterator

import pytest

from governor._units import DAY, SECOND, Instant
from governor.clock import Clock, Moment, continued_clock, moment, resumed_at, steady_clock, system_clock


def telling(*seconds: float) -> Clock:
    """A steady clock whose source gives these readings, one after the other."""
    readings: Iterator[float] = iter(seconds)
    return steady_clock(lambda: next(readings))


def read(clock: Clock, times: int) -> list[int]:
    return [clock() for _ in range(times)]


def test_the_system_clock_counts_whole_microseconds() -> None:
    assert isinstance(system_clock(), int)
    assert 0 <= system_clock() <= system_clock()


def test_a_well_behaved_source_is_taken_at_its_word() -> None:
    assert [1_500_000, 2_000_000] == read(telling(1.5, 2.0), 2)


def test_a_source_that_goes_back_is_followed_from_there_on_at_its_own_pace() -> None:
    assert [100 * SECOND, 100 * SECOND, 103 * SECOND] == read(telling(100, 40, 43), 3)


def test_a_source_that_goes_back_twice_is_followed_all_the_same() -> None:
    assert [50 * SECOND, 50 * SECOND, 51 * SECOND, 51 * SECOND, 53 * SECOND] == read(telling(50, 10, 11, 1, 3), 5)


def test_a_source_that_stands_still_makes_the_clock_stand_still() -> None:
    assert [7 * SECOND] * 3 == read(telling(7, 7, 7), 3)


def test_a_source_that_jumps_ahead_a_day_is_believed() -> None:
    assert [SECOND, SECOND + DAY] == read(telling(1, 1 + 86_400), 2)


@pytest.mark.parametrize("nonsense", [math.nan, math.inf, -math.inf])
def test_a_reading_that_is_no_number_leaves_the_clock_where_it_is(nonsense: float) -> None:
    assert [5 * SECOND, 5 * SECOND, 6 * SECOND] == read(telling(5, nonsense, 6), 3)


def test_a_source_that_begins_below_zero_begins_at_zero() -> None:
    assert [0, 2 * SECOND] == read(telling(-10, -8), 2)


def test_fractions_of_a_microsecond_are_not_yet_over() -> None:
    assert [1] == read(telling(0.0000019), 1)


def at(instant: int, *, wall: float, uptime: int, boot: str = "one") -> Moment:
    return Moment(Instant(instant), wall, uptime, boot)


@pytest.mark.promise("R62")
@pytest.mark.parametrize(
    ("now", "passed"),
    [
        pytest.param(at(0, wall=1010.0, uptime=5 * SECOND), 2 * SECOND, id="same start: its clock counts"),
        pytest.param(at(0, wall=999_999.0, uptime=5 * SECOND), 2 * SECOND, id="wall clock set forward"),
        pytest.param(at(0, wall=0.0, uptime=5 * SECOND), 2 * SECOND, id="wall clock set back"),
        pytest.param(at(0, wall=1060.0, uptime=SECOND, boot="two"), 60 * SECOND, id="restarted"),
        pytest.param(at(0, wall=999_999.0, uptime=SECOND, boot="two"), 998_999 * SECOND, id="restarted, and far ahead"),
        pytest.param(at(0, wall=0.0, uptime=7 * SECOND, boot="two"), 7 * SECOND, id="restarted, and the wall clock set back"),
        pytest.param(at(0, wall=math.nan, uptime=SECOND, boot="two"), SECOND, id="restarted, with a broken wall clock"),
        pytest.param(at(0, wall=1060.0, uptime=9 * SECOND, boot=""), 60 * SECOND, id="starts unknown"),
        pytest.param(at(0, wall=0.0, uptime=9 * SECOND, boot=""), 0, id="starts unknown, and the wall clock set back"),
        pytest.param(at(0, wall=0.0, uptime=SECOND), 0, id="an impossible clock"),
    ],
)
def test_a_clock_goes_on_in_another_process_by_the_wall_clock_unless_the_start_is_the_same(now: Moment, passed: int) -> None:
    then = at(50 * SECOND, wall=1000.0, uptime=3 * SECOND)

    assert 50 * SECOND + passed == resumed_at(then, now)


def test_a_clock_goes_on_at_the_pace_of_another_one() -> None:
    assert continued_clock(system_clock, 0) is system_clock
    assert 0 <= continued_clock(system_clock, 7 * SECOND)() - system_clock() - 7 * SECOND + SECOND <= 2 * SECOND
    assert 12 * SECOND == continued_clock(telling(5.0), 7 * SECOND)()
    assert 9 * SECOND == moment(telling(5.0), 4 * SECOND).instant
