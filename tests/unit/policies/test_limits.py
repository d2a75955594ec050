"""Which machine keeps which limit, and which state fits which machine."""

import pytest

from governor._units import HOUR, MINUTE, SECOND
from governor.policies.gcra import TokenBucket, TokenBucketPolicy, TokenBucketState
from governor.policies.in_flight import InFlight, InFlightPolicy, InFlightState
from governor.policies.limits import Limit, LimitState, build, predecessors, restore
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


MINUTES, HOURS, SECONDS = StrictWindow(60, MINUTE), StrictWindow(900, HOUR), StrictWindow(5, SECOND)
FAST, SLOW, TOKENS = TokenBucket(9, SECOND, 9), TokenBucket(1, HOUR, 9), TokenBucket(9, SECOND, 9, "tokens")


@pytest.mark.promise("R03")
@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([MINUTES, HOURS], [HOURS, MINUTES], [HOURS, MINUTES]),
        ([MINUTES, HOURS], [SECONDS, MINUTES], [HOURS, MINUTES]),
        ([MINUTES], [StrictWindow(5, MINUTE, "tokens")], [None]),
        ([FAST, SLOW], [SLOW], [SLOW]),
        ([SLOW], [FAST, SLOW], [None, SLOW]),
        ([FAST, SLOW], [TokenBucket(2, SECOND, 2), TokenBucket(3, SECOND, 3), TokenBucket(4, SECOND, 4)], [FAST, SLOW, None]),
        ([TOKENS, FAST], [TokenBucket(2, SECOND, 2)], [FAST]),
        ([InFlight(5)], [InFlight(2), InFlight(3)], [InFlight(5), InFlight(5)]),
        ([InFlight(5)], [FAST, MINUTES], [None, None]),
        ([], [FAST, MINUTES, InFlight(5)], [None, None, None]),
    ],
)
def test_each_limit_goes_on_from_itself_or_from_the_one_that_knows_most_of_the_same(
    before: list[Limit], after: list[Limit], expected: list[Limit | None]
) -> None:
    found = predecessors([build(limit) for limit in after], [build(limit) for limit in before])

    assert expected == [None if one is None else one.parameters for one in found]
