"""The registry of limits: which policy keeps which limit, and which carries over the state of which."""

import pytest

from governor._units import HOUR, MINUTE, SECOND
from governor.policies.contract import Limit
from governor.policies.gcra import TokenBucket, TokenBucketPolicy
from governor.policies.in_flight import InFlight, InFlightPolicy
from governor.policies.limits import build, predecessors
from governor.policies.windows.parameters import StrictWindow
from governor.policies.windows.window import StrictWindowPolicy

LIMITS: list[Limit] = [TokenBucket(60, MINUTE, 10), StrictWindow(60, MINUTE), InFlight(30)]
MACHINES = [TokenBucketPolicy, StrictWindowPolicy, InFlightPolicy]


@pytest.mark.parametrize(("limit", "machine"), list(zip(LIMITS, MACHINES, strict=True)))
def test_each_limit_has_a_machine_of_its_own(limit: Limit, machine: type[object]) -> None:
    policy = build(limit)

    assert (machine, limit) == (type(policy), policy.parameters)


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
