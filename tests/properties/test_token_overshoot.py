"""The bound of what a limit of tokens lets through: its amount, and what calls on the way use beyond their estimates."""

import pytest
from hypothesis import settings

from governor._units import MINUTE, Instant
from governor.policies.contract import Grant, Request, Result
from governor.policies.limits import build
from governor.policies.windows.parameters import StrictWindow
from tests.support import tape as st
from tests.support.tape import given

pytestmark = pytest.mark.promise("R03")

LIMIT = 100
CALL = st.tuples(st.integers(0, MINUTE // 2), st.integers(1, 60), st.integers(0, 90), st.booleans())


@given(calls=st.lists(CALL, max_size=40), at_once=st.booleans())
@settings(max_examples=200)
def test_a_window_holds_the_limit_and_the_excess_of_the_calls_on_the_way(
    calls: list[tuple[int, int, int, bool]], at_once: bool
) -> None:
    limit, now = build(StrictWindow(LIMIT, MINUTE, "tokens")), Instant(0)
    on_the_way: list[tuple[Grant, int, int]] = []
    ended: list[tuple[int, int]] = []

    def end(grant: Grant, receipt: int, used: int) -> None:
        limit.settle(now, grant, receipt, used - grant.request.amount("tokens"))
        limit.record(now, grant.corrected({"tokens": used}), Result.SUCCESS)
        ended.append((now, used))

    for passed, estimate, used, one_ends in calls:
        now = Instant(now + passed)
        if on_the_way and (one_ends or not at_once):
            end(*on_the_way.pop(0))
        request = Request(1, {"tokens": estimate})
        if limit.earliest(now, request) > now:
            continue
        on_the_way.append((Grant(now, 0, request), limit.commit(now, request), used))
        in_window = sum(amount for at, amount in ended if at > now - MINUTE)
        estimated = sum(grant.request.amount("tokens") for grant, _, _ in on_the_way)

        # What has ended is known, so that only calls on the way can take the window beyond its limit.
        assert in_window + estimated <= LIMIT
        excess = sum(max(0, used - grant.request.amount("tokens")) for grant, _, used in on_the_way)
        assert in_window + sum(used for _, _, used in on_the_way) <= LIMIT + excess
        # One call at a time: the estimation error of one request.
        assert at_once or len(on_the_way) == 1
