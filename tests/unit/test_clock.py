"""Clocks whose source misbehaves."""

import math
from collections.abc import Iterator

import pytest

from governor._units import DAY, SECOND
from governor.clock import Clock, steady_clock, system_clock


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
