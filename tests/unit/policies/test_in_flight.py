"""Requests in flight: examples and exact boundaries."""

import math
from typing import Any

import msgspec
import pytest

from governor._units import AFTER_OUTCOME, DAY, NEVER, SECOND, Instant
from governor.errors import ConfigError, Reason
from governor.policies.contract import PLAIN, Grant, Request, Result
from governor.policies.in_flight import InFlight, InFlightPolicy, InFlightState

T0 = Instant(1_000 * SECOND)


def in_flight(amount: int = 2) -> InFlightPolicy:
    return InFlightPolicy(InFlight(amount))


def begin(policy: InFlightPolicy, request: Request = PLAIN) -> Grant | None:
    if policy.earliest(T0, request) > T0:
        return None
    policy.commit(T0, request)
    return Grant(T0, 0, request)


@pytest.mark.promise("R03")
def test_as_many_as_allowed_are_under_way_and_no_more() -> None:
    policy = in_flight(2)

    assert [True, True, False] == [begin(policy) is not None for _ in range(3)]


@pytest.mark.promise("R03", "R10")
def test_only_an_outcome_makes_room_and_no_clock_knows_when() -> None:
    policy = in_flight(1)
    begin(policy)

    assert AFTER_OUTCOME == policy.earliest(T0, PLAIN) == policy.earliest(Instant(T0 + DAY), PLAIN)


@pytest.mark.parametrize("result", list(Result))
def test_every_outcome_makes_room(result: Result) -> None:
    policy = in_flight(1)
    grant = begin(policy)
    assert grant is not None

    policy.record(T0, grant, result)

    assert begin(policy) is not None


def test_a_request_that_was_never_made_makes_room() -> None:
    policy = in_flight(1)
    grant = begin(policy)
    assert grant is not None

    policy.refund(T0, grant, 0)

    assert begin(policy) is not None


def test_a_cost_takes_several_places_or_none() -> None:
    policy = in_flight(5)
    begin(policy, Request(3))

    assert (None, 2) == (begin(policy, Request(3)), policy.available(T0))


def test_more_than_may_ever_be_under_way_can_never_be_granted() -> None:
    assert NEVER == in_flight(5).earliest(T0, Request(6))


def test_the_line_ahead_goes_first() -> None:
    policy = in_flight(3)
    begin(policy)

    assert [T0, T0, AFTER_OUTCOME] == [policy.earliest(T0, PLAIN, Request(ahead)) for ahead in (0, 1, 2)]


def test_what_was_used_beyond_the_permit_is_under_way_until_the_outcome() -> None:
    policy = in_flight(3)
    grant = begin(policy)
    assert grant is not None

    policy.settle(T0, grant, 0, 4)
    before = policy.available(T0)
    policy.record(T0, Grant(T0, 0, Request(5)), Result.SUCCESS)

    assert (0, 3) == (before, policy.available(T0))


def test_from_ready_on_a_plain_request_is_granted() -> None:
    policy = in_flight(1)
    fresh = policy.ready
    grant = begin(policy)
    assert grant is not None
    full = policy.ready
    policy.record(T0, grant, Result.SUCCESS)

    assert fresh <= T0
    assert policy.ready <= T0
    assert full == NEVER


def test_the_state_goes_on_in_another_machine() -> None:
    policy, other = in_flight(2), in_flight(2)
    begin(policy)
    begin(policy)
    begin(other)

    other.restore(policy.state())

    assert policy.state() == other.state() == InFlightState(2)
    assert other.ready == NEVER


def test_the_state_can_be_written_down() -> None:
    assert InFlightState(7) == msgspec.json.decode(msgspec.json.encode(InFlightState(7)), type=InFlightState)


def test_the_refusal_speaks_of_concurrency() -> None:
    assert Reason.CONCURRENCY is in_flight().reason


def test_it_counts_requests_and_time_gives_nothing_back() -> None:
    policy = in_flight(30)

    assert ("requests", 30, 0.0) == (policy.unit, policy.capacity(), policy.refill_rate())


@pytest.mark.parametrize("amount", [0, -1, True, False, 1.0, math.nan, math.inf, "1", None, 10**15])
def test_a_number_that_cannot_be_is_refused_by_name(amount: Any) -> None:
    with pytest.raises(ConfigError, match=r"amount is .*; expected a whole number from 1 to \d+"):
        InFlight(amount)
