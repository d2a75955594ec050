"""Conversion between seconds and microseconds."""

import math
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from governor._units import AFTER_OUTCOME, DAY, MAX_DURATION, NEVER, SECOND, from_seconds, to_seconds
from governor.errors import ConfigError


def test_a_second_is_a_million_microseconds() -> None:
    assert SECOND == from_seconds(1.0, field="x")
    assert 1.0 == to_seconds(SECOND)


def test_a_fraction_of_a_microsecond_is_rounded_up() -> None:
    assert 1 == from_seconds(1e-9, field="x")
    assert 1_000_001 == from_seconds(1.0000001, field="x")


@given(st.floats(0, to_seconds(MAX_DURATION)))
@example(17592186.501836002)
def test_a_wait_is_never_cut_short(seconds: float) -> None:
    assert to_seconds(from_seconds(seconds, field="x")) >= seconds


@given(st.integers(0, MAX_DURATION))
def test_whole_microseconds_survive_the_way_there_and_back(span: int) -> None:
    assert abs(from_seconds(to_seconds(span), field="x") - span) <= 1


@pytest.mark.parametrize("value", [-1, -1e-9, math.nan, math.inf, 31_622_400.1, True, "1", None])
def test_what_is_no_number_of_seconds_is_rejected_by_name(value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        from_seconds(cast(float, value), field="timeout")

    assert "timeout" == caught.value.field
    assert value is caught.value.value


def test_the_longest_span_is_allowed() -> None:
    assert 366 * DAY == from_seconds(366 * 86_400, field="x")


def test_what_waits_for_an_outcome_may_still_come_and_never_may_not() -> None:
    assert MAX_DURATION < AFTER_OUTCOME < NEVER
