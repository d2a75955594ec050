"""Strict window: examples and exact boundaries."""

import pytest

from governor._units import MINUTE, NEVER, SECOND, Duration, Instant
from governor.policies.contract import PLAIN, Grant, Request, Result
from governor.policies.windows.parameters import StrictWindow
from governor.policies.windows.window import StrictWindowPolicy

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
def test_a_use_counts_until_one_window_after_its_outcome_because_its_arrival_is_unknown() -> None:
    policy = window(amount=1)
    grant = begin(policy, at(0))
    end(policy, at(20), grant)

    assert at(80) == policy.earliest(at(21), PLAIN)


def test_while_the_room_hangs_on_an_outcome_it_is_one_window_from_now_at_the_earliest() -> None:
    policy = window(amount=1)
    begin(policy, at(0))

    assert at(65) == policy.earliest(at(5), PLAIN)
    assert at(1_060) == policy.earliest(at(1_000), PLAIN)


def test_it_does_not_rest_while_units_are_leased() -> None:
    policy = window(5)
    policy.lease(at(0), 5)
    policy.reclaim(at(0), 2)
    leased = policy.rests_at()
    policy.reclaim(at(0), 3)

    assert (NEVER, True) == (leased, policy.rests_at() < NEVER)


def test_a_clock_that_goes_back_during_a_call_does_not_shorten_its_window() -> None:
    policy = window(amount=1)
    grant = begin(policy, at(100))
    end(policy, at(50), grant)

    assert at(160) == policy.earliest(at(100), PLAIN)
