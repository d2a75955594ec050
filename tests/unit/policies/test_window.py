"""Strict window: examples and exact boundaries."""

import math
from typing import Any

import msgspec
import pytest

from governor._units import DAY, MINUTE, NEVER, SECOND, Duration, Instant
from governor.errors import ConfigError, Reason
from governor.policies.contract import PLAIN, Grant, Request, Result
from governor.policies.window import StrictWindow, StrictWindowPolicy, StrictWindowState

T0 = Instant(1_000 * SECOND)


def window(amount: int = 2, per: Duration = MINUTE, unit: str = "requests") -> StrictWindowPolicy:
    return StrictWindowPolicy(StrictWindow(amount, per, unit))


def at(seconds: float) -> Instant:
    return Instant(T0 + round(seconds * SECOND))


def begin(policy: StrictWindowPolicy, now: Instant, request: Request = PLAIN) -> Grant | None:
    if policy.earliest(now, request) > now:
        return None
    policy.commit(now, request)
    return Grant(now, 0, request)


def end(policy: StrictWindowPolicy, now: Instant, grant: Grant | None) -> None:
    assert grant is not None
    policy.record(now, grant, Result.SUCCESS)


def call(policy: StrictWindowPolicy, now: Instant, request: Request = PLAIN) -> bool:
    """A call that takes no time."""
    grant = begin(policy, now, request)
    if grant is not None:
        end(policy, now, grant)
    return grant is not None


@pytest.mark.promise("R02")
def test_sixty_a_minute_means_sixty_in_any_minute() -> None:
    policy = window(amount=60)

    granted = [now for now in range(T0, T0 + MINUTE, SECOND // 2) for _ in range(61) if call(policy, Instant(now))]

    assert len(granted) == 60


@pytest.mark.promise("R02")
def test_room_comes_exactly_one_window_after_the_oldest_use_and_not_a_microsecond_before() -> None:
    policy = window(amount=2)
    call(policy, at(0))
    call(policy, at(7))

    due = policy.earliest(at(8), PLAIN)

    assert due == at(60)
    assert not call(policy, Instant(due - 1))
    assert call(policy, due)
    assert not call(policy, due)


@pytest.mark.promise("R02")
def test_a_use_counts_until_one_window_after_its_outcome_because_nobody_knows_when_it_arrived() -> None:
    policy = window(amount=1)
    grant = begin(policy, at(0))
    end(policy, at(20), grant)

    assert at(80) == policy.earliest(at(21), PLAIN)


def test_while_the_room_hangs_on_an_outcome_it_is_one_window_from_now_at_the_earliest() -> None:
    policy = window(amount=1)
    begin(policy, at(0))

    assert at(65) == policy.earliest(at(5), PLAIN)
    assert at(1_060) == policy.earliest(at(1_000), PLAIN)


def test_a_request_that_was_never_made_leaves_no_trace() -> None:
    policy = window(amount=1)
    grant = begin(policy, T0)
    assert grant is not None

    policy.refund(T0, grant, 0)

    assert (T0, 1) == (policy.earliest(T0, PLAIN), policy.available(T0))


def test_a_cost_takes_several_units_or_none() -> None:
    policy = window(amount=5)
    call(policy, T0, Request(3))

    assert (False, 2) == (call(policy, T0, Request(3)), policy.available(T0))
    assert call(policy, T0, Request(2))


def test_more_than_the_window_holds_can_never_be_granted() -> None:
    assert NEVER == window(amount=5).earliest(T0, Request(6))


def test_a_request_that_names_none_of_the_unit_passes_a_full_window() -> None:
    policy = window(amount=1, unit="tokens")
    call(policy, T0, Request(units={"tokens": 1}))

    assert T0 == policy.earliest(T0, PLAIN)
    assert policy.ready <= T0


def test_the_line_ahead_goes_first_whole_windows_at_a_time() -> None:
    policy = window(amount=2)
    call(policy, at(0))
    call(policy, at(7))

    named = [policy.earliest(at(8), PLAIN, Request(ahead)) for ahead in range(5)]

    assert [at(60), at(67), at(120), at(127), at(180)] == named


def test_what_was_used_beyond_the_permit_fills_the_window() -> None:
    policy = window(amount=5)
    grant = begin(policy, T0, Request(1))
    assert grant is not None
    policy.settle(T0, grant, 0, 6)
    end(policy, T0, Grant(T0, 0, Request(7)))

    assert (0, at(60)) == (policy.available(T0), policy.earliest(T0, PLAIN))


def test_what_was_not_used_leaves_room() -> None:
    policy = window(amount=5)
    grant = begin(policy, T0, Request(5))
    assert grant is not None
    policy.settle(T0, grant, 0, -4)
    end(policy, T0, Grant(T0, 0, Request(1)))

    assert 4 == policy.available(T0)


def test_a_clock_that_goes_back_makes_no_room() -> None:
    policy = window(amount=2)
    call(policy, at(100))
    call(policy, at(10))

    assert at(160) == policy.earliest(at(70), PLAIN)
    assert not call(policy, Instant(at(160) - 1))


def test_a_clock_that_goes_back_during_a_call_does_not_shorten_its_window() -> None:
    policy = window(amount=1)
    grant = begin(policy, at(100))
    end(policy, at(50), grant)

    assert at(160) == policy.earliest(at(100), PLAIN)


def test_after_a_day_of_silence_it_is_one_window_and_no_more() -> None:
    policy = window(amount=2)
    while call(policy, T0):
        pass

    assert [True, True, False] == [call(policy, Instant(T0 + DAY)) for _ in range(3)]


def test_from_ready_on_a_plain_request_is_granted() -> None:
    policy = window(amount=2)
    ready = [policy.ready <= T0]
    grants = []
    for _ in range(2):
        grants.append(begin(policy, T0))
        ready.append(policy.ready <= T0)
    assert grants[1] is not None
    policy.refund(T0, grants[1], 0)
    ready.append(policy.ready <= T0)

    assert [True, True, False, True] == ready


def test_the_state_goes_on_in_another_machine() -> None:
    policy, other = window(amount=3), window(amount=3)
    call(policy, at(0))
    call(policy, at(1))
    begin(policy, at(2))

    other.restore(policy.state())

    assert policy.state() == other.state()
    assert policy.ready == other.ready == NEVER
    assert at(60) == other.earliest(at(3), PLAIN)


def test_the_state_can_be_written_down() -> None:
    policy = window(amount=3)
    call(policy, at(0))
    begin(policy, at(2))

    assert policy.state() == msgspec.json.decode(msgspec.json.encode(policy.state()), type=StrictWindowState)


def test_the_refusal_of_a_window_is_a_rate_limit() -> None:
    assert Reason.RATE_LIMIT is window().reason


def test_capacity_and_rate_are_the_ones_that_were_asked_for() -> None:
    policy = window(amount=90_000, unit="tokens")

    assert ("tokens", 90_000, 1_500.0) == (policy.unit, policy.capacity(), policy.refill_rate())


@pytest.mark.parametrize("field", ["amount", "per"])
@pytest.mark.parametrize("value", [0, -1, True, False, 1.0, math.nan, math.inf, "1", None, 10**15])
def test_a_number_that_cannot_be_is_refused_by_name(field: str, value: object) -> None:
    said: dict[str, Any] = {"amount": 1, "per": "1s", field: value}

    with pytest.raises(ConfigError, match=rf"{field} is .*; expected a (whole number from 1 to \d+|duration )"):
        StrictWindow(**said)


@pytest.mark.parametrize("unit", ["", "Tokens", "two words", "9lives", "a-b", None, 1])
def test_a_unit_is_one_lower_case_word(unit: Any) -> None:
    with pytest.raises(ConfigError, match=r"unit is .*; expected one lower-case word"):
        StrictWindow(1, SECOND, unit)
