"""Which machine keeps which limit, and which state fits which machine."""

import pytest

from governor._units import MINUTE
from governor.policies.gcra import TokenBucket, TokenBucketPolicy, TokenBucketState
from governor.policies.in_flight import InFlight, InFlightPolicy, InFlightState
from governor.policies.limits import Limit, LimitState, build, restore
from governor.policies.window import StrictWindow, StrictWindowPolicy

LIMITS: list[Limit] = [TokenBucket(60, MINUTE, 10), StrictWindow(60, MINUTE), InFlight(30)]
MACHINES = [TokenBucketPolicy, StrictWindowPolicy, InFlightPolicy]
STATES: list[LimitState] = [TokenBucketState(7, 2), build(LIMITS[1]).state(), InFlightState(3)]


@pytest.mark.parametrize(("limit", "machine"), list(zip(LIMITS, MACHINES, strict=True)))
def test_each_limit_has_a_machine_of_its_own(limit: Limit, machine: type[object]) -> None:
    policy = build(limit)

    assert (machine, limit) == (type(policy), policy.parameters)


@pytest.mark.parametrize(("limit", "state"), list(zip(LIMITS, STATES, strict=True)))
def test_a_state_goes_into_the_machine_that_it_fits(limit: Limit, state: LimitState) -> None:
    policy = build(limit)

    restore(policy, state)

    assert state == policy.state()


@pytest.mark.parametrize("limit", LIMITS)
def test_a_state_goes_into_no_other_machine(limit: Limit) -> None:
    policy = build(limit)
    before = policy.state()

    for state in STATES:
        if type(state) is not type(before):
            with pytest.raises(TypeError, match="does not fit"):
                restore(policy, state)

    assert before == policy.state()
