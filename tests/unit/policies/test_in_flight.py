"""Requests in flight: examples and exact boundaries."""

import pytest

from governor._units import AFTER_OUTCOME, DAY, SECOND, Instant
from governor.policies._places import UsualDuration
from governor.policies.contract import PLAIN, Grant, Request, Result
from governor.policies.in_flight import InFlight, InFlightPolicy

T0 = Instant(1_000 * SECOND)


def in_flight(amount: int = 2) -> InFlightPolicy:
    return InFlightPolicy(InFlight(amount))


def begin(policy: InFlightPolicy, request: Request = PLAIN) -> Grant | None:
    if policy.earliest(T0, request) > T0:
        return None
    policy.commit(T0, request)
    return Grant(T0, 0, request)


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


def test_the_queue_ahead_goes_first() -> None:
    policy = in_flight(3)
    begin(policy)

    assert [T0, T0, AFTER_OUTCOME] == [policy.earliest(T0, PLAIN, Request(ahead)) for ahead in (0, 1, 2)]


def test_durations_that_are_read_together_count_as_if_they_were_read_one_by_one() -> None:
    together, one_by_one = UsualDuration(), UsualDuration()
    together.measure_all([4_000, 90_000, 0, -7, 300])
    together.measure_all([5_000])
    for took in (4_000, 90_000, 0, 0, 300, 5_000):
        one_by_one.measure(took)

    assert (one_by_one.mean, one_by_one.deviation) == (together.mean, together.deviation)
