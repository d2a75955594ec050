"""Degraded mode: examples and exact boundaries."""

import math
from typing import Any

import msgspec
import pytest

from governor._units import MINUTE, SECOND, Instant
from governor.errors import ConfigError, Reason
from governor.policies.contract import PLAIN, Grant, Result
from governor.policies.degraded import Degraded, DegradedPolicy, DegradedState

T0 = Instant(1_000 * SECOND)


def degraded(failures: int = 3) -> DegradedPolicy:
    return DegradedPolicy(Degraded(failures=failures))


def at(seconds: float) -> Instant:
    return Instant(T0 + round(seconds * SECOND))


def outcome(policy: DegradedPolicy, result: Result, *, ended: Instant = T0, granted: Instant = T0) -> None:
    policy.record(ended, Grant(granted, 0), result)


def fail(policy: DegradedPolicy, times: int, now: Instant = T0) -> None:
    for _ in range(times):
        outcome(policy, Result.FAILURE, ended=now, granted=now)


def test_ten_failures_and_a_minute_by_default() -> None:
    assert Degraded(failures=10, cooldown=MINUTE) == Degraded()


@pytest.mark.promise("R08")
def test_the_last_of_so_many_failures_in_a_row_pauses_everything() -> None:
    policy = degraded(3)
    fail(policy, 2)
    before = policy.earliest(T0, PLAIN)
    fail(policy, 1)

    assert (T0, at(60), 1) == (before, policy.earliest(T0, PLAIN), policy.spells)


@pytest.mark.promise("R08")
def test_it_is_over_exactly_when_the_cooldown_is_and_not_a_microsecond_before() -> None:
    policy = degraded()
    policy.enter(T0)
    last = Instant(at(60) - 1)

    assert (at(60), at(60)) == (policy.earliest(last, PLAIN), policy.earliest(at(60), PLAIN))


def test_a_success_ends_the_row() -> None:
    policy = degraded(3)
    fail(policy, 2)
    outcome(policy, Result.SUCCESS)
    fail(policy, 2)

    assert (T0, 2) == (policy.earliest(T0, PLAIN), policy.failures)


def test_a_cancelled_call_says_nothing() -> None:
    policy = degraded(3)
    fail(policy, 2)
    outcome(policy, Result.NEUTRAL)
    fail(policy, 1)

    assert at(60) == policy.until


def test_entering_again_during_the_cooldown_does_not_lengthen_it() -> None:
    policy = degraded()
    policy.enter(at(0))
    policy.enter(at(30))

    assert (at(60), 1) == (policy.until, policy.spells)


def test_entering_again_at_the_end_of_the_cooldown_starts_another() -> None:
    policy = degraded()
    policy.enter(at(0))
    policy.enter(at(60))

    assert (at(120), 2) == (policy.until, policy.spells)


@pytest.mark.parametrize("result", list(Result))
def test_what_was_granted_before_the_cooldown_ended_belongs_to_the_time_before(result: Result) -> None:
    policy = degraded(1)
    policy.enter(at(0))
    before = policy.state()

    outcome(policy, result, granted=Instant(at(60) - 1), ended=at(70))

    assert before == policy.state()


def test_what_was_granted_at_the_end_of_the_cooldown_counts() -> None:
    policy = degraded(1)
    policy.enter(at(0))

    outcome(policy, Result.FAILURE, granted=at(60), ended=at(61))

    assert (at(121), 2) == (policy.until, policy.spells)


def test_failures_before_the_cooldown_do_not_count_after_it() -> None:
    policy = degraded(3)
    fail(policy, 2)
    policy.enter(T0)
    fail(policy, 2, at(60))

    assert at(60) == policy.earliest(at(60), PLAIN)


def test_granting_and_giving_back_change_nothing() -> None:
    policy = degraded(3)
    fail(policy, 2)
    before = policy.state()

    receipt = policy.commit(T0, PLAIN)
    policy.refund(T0, Grant(T0, 0), receipt)

    assert before == policy.state()


def test_the_state_goes_on_in_another_machine() -> None:
    policy, other = degraded(3), degraded(3)
    policy.enter(T0)
    fail(policy, 2, at(60))

    other.restore(policy.state())

    assert DegradedState(at(60), 2, 1) == policy.state() == other.state()


def test_the_state_can_be_written_down() -> None:
    state = DegradedState(T0, 2, 1)

    assert state == msgspec.json.decode(msgspec.json.encode(state), type=DegradedState)


def test_the_refusal_speaks_of_degraded_mode() -> None:
    assert Reason.DEGRADED is degraded().reason


@pytest.mark.parametrize("field", ["failures", "cooldown"])
@pytest.mark.parametrize("value", [0, -1, True, False, 1.0, math.nan, math.inf, "1", None, 10**15])
def test_a_number_that_cannot_be_is_refused_by_name(field: str, value: object) -> None:
    said: dict[str, Any] = {field: value}

    with pytest.raises(ConfigError, match=rf"{field} is .*; allowed: a (whole number|duration) from 1 to \d+"):
        Degraded(**said)
