"""Debts of limits are bounded, whatever calls report and how often: against a bucket of fractions and a list of uses."""

from fractions import Fraction
from typing import Final

import msgspec
import pytest

from governor._units import DAY, MINUTE, SECOND, Duration, Instant
from governor.policies.arrivals import Arrivals
from governor.policies.contract import Grant, Request, Result
from governor.policies.gcra import TokenBucket, TokenBucketPolicy
from governor.policies.windows.parameters import StrictWindow
from governor.policies.windows.window import StrictWindowPolicy
from tests.support import tape as st
from tests.support.tape import given

START: Final = 10 * DAY
MAX_DEBTS: Final = st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.5, 1000.0])
USED: Final = st.integers(0, 12) | st.sampled_from([100, 10**12])
BUCKETS: Final = st.builds(
    TokenBucket,
    st.integers(1, 10),
    (st.integers(1, 20) | st.sampled_from([SECOND, MINUTE])).map(Duration),
    st.integers(1, 12) | st.just(10**6),
    st.sampled_from(["requests", "tokens"]),
)
WINDOWS: Final = st.builds(
    StrictWindow, st.integers(1, 6), st.integers(1, 100).map(Duration), st.sampled_from(["requests", "tokens"])
)


def asking(unit: str, amount: int) -> Request:
    return Request(amount) if unit == "requests" else Request(1, {unit: amount})


@pytest.mark.promise("R03")
@given(BUCKETS, MAX_DEBTS, st.lists(st.tuples(st.integers(0, 3 * SECOND) | st.just(0), st.integers(0, 12), USED), max_size=30))
def test_a_bucket_owes_what_was_used_and_never_more_than_its_debt_may_be(
    parameters: TokenBucket, max_debt: float, steps: list[tuple[int, int, int]]
) -> None:
    policy, now = TokenBucketPolicy(parameters, max_debt), START
    burst, rate = Fraction(parameters.burst), Fraction(parameters.amount, parameters.per)
    floor, tokens = -int(max_debt * parameters.burst), burst
    for gap, cost, used in steps:
        now += gap
        tokens = min(burst, tokens + rate * gap)
        if policy.earliest(Instant(now), asking(parameters.unit, cost)) > now:
            continue
        request = asking(parameters.unit, cost)
        receipt = policy.commit(Instant(now), request)
        tokens -= cost
        more = max(0, used - cost)
        dropped = policy.settle(Instant(now), Grant(Instant(now), 0, request, (receipt,)), receipt, more)
        kept = min(more, max(0, (tokens - floor).__floor__()))
        tokens -= kept

        assert more - kept == dropped
        assert policy.available(Instant(now)) == max(0, tokens.__floor__())
        one = policy.earliest(Instant(now), asking(parameters.unit, 1))
        assert max(Instant(now), now + -((tokens - 1) / rate).__floor__()) == one


@pytest.mark.promise("R03")
@given(
    WINDOWS,
    MAX_DEBTS,
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 6), USED), max_size=30),
    st.booleans(),
    st.booleans(),
)
def test_a_strict_window_owes_for_one_window_whatever_was_used(
    parameters: StrictWindow, max_debt: float, steps: list[tuple[int, int, int]], by_outcome: bool, answered: bool
) -> None:
    policy, now = StrictWindowPolicy(parameters, max_debt), START
    bounded = parameters.amount + int(max_debt * parameters.amount)
    policy.assume(Arrivals(by_outcome=by_outcome))
    uses: list[tuple[int, int]] = []
    for gap, cost, used in steps:
        now += gap
        taken = sum(amount for at, amount in uses if at > now - parameters.per)
        asked = asking(parameters.unit, cost)

        granted = policy.earliest(Instant(now), asked) <= now
        assert (taken + cost <= parameters.amount) == granted
        if granted:
            policy.commit(Instant(now), asked)
            grant = Grant(Instant(now), 0, asked)
            if answered:
                policy.answered(Instant(now), grant)
                grant = Grant(Instant(now), 0, asked, answered_at=Instant(now))
            dropped = policy.settle(Instant(now), grant, 0, used - cost)
            kept = msgspec.structs.replace(grant, request=asking(parameters.unit, used))
            policy.record(Instant(now), kept, Result.SUCCESS)
            uses.append((now, used))
            assert max(0, used - bounded) == dropped
            assert max((amount for _, amount in policy.state().arrived.slots), default=0) <= 31 * bounded
