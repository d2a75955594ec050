"""Laws of what a server leaves of a bucket: what it says holds whenever it was written, and nothing else is held back."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

import pytest

from governor._units import MINUTE, SECOND, Duration, Instant
from governor.hints import Hint, Severity
from governor.policies.contract import Grant, Request
from governor.policies.gcra import TokenBucket
from governor.policies.learning._refill import Rate, refilled_by
from governor.policies.learning.remaining import RemainingPolicy
from governor.policies.learning.server_limits import ServerLimits
from tests.support import tape as st
from tests.support.tape import given

pytestmark = pytest.mark.promise("R11")

#: A grant of so many tokens after a gap; the answer to an open grant, with what is left and for how long; a grant given back.
GRANTS: Final = st.tuples(st.integers(1, 6), st.integers(1, 4))
ANSWERS: Final = st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(1, 40))
BACK: Final = st.integers(0, 4)
RATES: Final = st.builds(Rate, st.integers(1, 3), st.integers(1, 7))
MINUTES: Final = TokenBucket(400, MINUTE, 400, "tokens")


def tokens(count: int) -> Request:
    return Request(0, {"tokens": count})


@dataclass
class Oracle:
    """All answers, each at every instant at which the server may have written it."""

    rate: Rate
    grants: list[Grant] = field(default_factory=list)
    #: When the request of an answer was granted, when the answer was read, what it left, and until when.
    said: list[tuple[Instant, Instant, int, Instant]] = field(default_factory=list)

    def allows(self, now: Instant, cost: int) -> bool:
        return all(
            self._since(granted_at, written) + cost <= left + Fraction(self.rate.amount * (now - written), self.rate.per)
            for granted_at, read_at, left, until in self.said
            if until > now
            for written in range(granted_at, read_at + 1)
        )

    def _since(self, granted_at: Instant, written: int) -> int:
        """The tokens granted after a request, of those that can have arrived after its answer was written."""
        later = (grant for grant in self.grants if grant.granted_at > granted_at and grant.granted_at >= written)
        return sum(grant.request.amount("tokens") for grant in later)


def play(rate: Rate, steps: list[tuple[int, ...] | int], *, exact: bool) -> None:
    policy, oracle, now = RemainingPolicy("tokens"), Oracle(rate), Instant(1000)
    calls: list[Grant] = []
    for step in steps:
        match step:
            case (gap, cost):
                now = Instant(now + gap)
                when = policy.earliest(now, tokens(cost))

                assert oracle.allows(when, cost)
                assert (
                    when
                    == policy.forecast(now).earliest(now, tokens(cost))
                    == now + policy.max_hold(now, tokens(cost), tokens(0))
                )
                if exact:
                    assert when == now or not oracle.allows(Instant(when - 1), cost)
                    assert (cost <= policy.available(now)) == (when == now)
                if when == now:
                    policy.commit(now, tokens(cost))
                    oracle.grants.append(Grant(now, 0, tokens(cost)))
                    calls.append(oracle.grants[-1])
            case (which, left, span) if which < len(calls):
                now = Instant(now + span % 3)
                policy.learn(now, calls[which], left, Instant(now + span), limit=9, refilled=rate)
                oracle.said.append((calls[which].granted_at, now, left, Instant(now + span)))
            case int(which) if which < len(calls):
                grant = calls.pop(which)
                policy.refund(now, grant, None)
                oracle.grants.remove(grant)
        if len(oracle.said) % 3 == 2:
            again = RemainingPolicy("tokens")
            again.restore(policy.state())
            policy = again


@given(RATES, st.lists(st.one_of(GRANTS, GRANTS, ANSWERS), min_size=4, max_size=24))
def test_what_is_left_grows_as_the_bucket_does_whenever_the_answer_was_written(
    rate: Rate, steps: list[tuple[int, ...] | int]
) -> None:
    """To the microsecond: nothing else is held back."""
    play(rate, steps, exact=True)


@given(RATES, st.lists(st.one_of(GRANTS, GRANTS, ANSWERS, BACK), min_size=4, max_size=24))
def test_tokens_that_were_not_used_never_loosen_an_answer_that_may_have_counted_them(
    rate: Rate, steps: list[tuple[int, ...] | int]
) -> None:
    play(rate, steps, exact=False)


@given(st.integers(1, 1000), st.integers(0, 1000), st.integers(0, 60_000), st.integers(0, 1))
def test_a_bucket_gains_what_is_missing_until_its_reset_and_a_window_does_not(
    limit: int, left: int, reset_ms: int, spare: int
) -> None:
    """A bucket that gains its limit in a minute is full again when what is missing has been gained, to the second."""
    bucket = TokenBucket(max(1, limit - spare), MINUTE, max(1, limit - spare), "tokens")
    left = min(left, limit)
    full_in = Fraction((limit - left) * 60, limit)
    found = refilled_by([bucket], "tokens", limit, left, Duration(reset_ms * 1000))

    assert (found is not None) == (abs(full_in - Fraction(reset_ms, 1000)) <= 1)
    assert found in (None, (bucket.amount, MINUTE))


@pytest.mark.parametrize(
    ("bucket", "unit", "limit"),
    [
        (TokenBucket(400, MINUTE, 400), "tokens", 400),
        (MINUTES, "tokens", None),
        (MINUTES, "tokens", 399),
        (TokenBucket(400, MINUTE, 401, "tokens"), "tokens", 400),
        (TokenBucket(400, SECOND, 400, "tokens"), "tokens", 400),
    ],
)
def test_a_bucket_that_is_another_one_or_too_quick_to_tell_says_nothing(
    bucket: TokenBucket, unit: str, limit: int | None
) -> None:
    assert refilled_by([bucket], unit, limit, 400, Duration(0)) is None
    assert refilled_by([bucket, MINUTES], "tokens", 400, 200, Duration(30 * SECOND)) == (400, MINUTE)


@pytest.mark.parametrize(("denied", "expected"), [(False, 100), (True, 0)])
def test_what_agrees_with_a_bucket_is_no_reason_to_wait_for_the_reset_unless_the_server_has_denied_a_call(
    denied: bool, expected: int
) -> None:
    server, grant, now = ServerLimits(), Grant(Instant(0), 0, tokens(100)), Instant(0)
    if denied:
        throttled = Hint("tokens", retry_after=Duration(SECOND), severity=Severity.THROTTLED)
        server.hear(now, grant, throttled, most=MINUTE)
    hint = Hint("tokens", 400, 0, MINUTE, MINUTE, Severity.EXHAUSTED)

    news, _ = server.hear(now, grant, hint, most=MINUTE, buckets=[MINUTES], history=[(now, 100)])
    available = server.limits[0].policy.available(Instant(15 * SECOND))

    assert (news, available) == (denied, expected)


def test_other_settings_begin_anew() -> None:
    policy, grant = RemainingPolicy("tokens", [(Instant(0), 1)]), Grant(Instant(0), 0, tokens(1))
    policy.learn(Instant(0), grant, 5, Instant(90), limit=9, refilled=Rate(1, 1))
    policy.learn(Instant(0), grant, 6, Instant(80), limit=9, refilled=Rate(2, 3))

    assert 6 + 20 == policy.available(Instant(30))


def test_of_requests_of_one_instant_the_first_one_answered_may_have_been_counted_first() -> None:
    policy, first = RemainingPolicy("tokens"), Grant(Instant(0), 0, tokens(1))
    for granted_at in (0, 0, 1):
        policy.commit(Instant(granted_at), tokens(1))

    policy.learn(Instant(1), first, 5, Instant(90), limit=9, refilled=Rate(1, 1))

    # The second may have arrived after an answer that was written at 1, and so may the third.
    assert 3 == policy.available(Instant(1))
