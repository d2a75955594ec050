"""A reset provider is as good as a new one, whatever was learned of it."""

import pytest
from hypothesis import settings

from governor._units import DAY, MINUTE, SECOND, Duration, Instant
from governor.hints import Hint
from governor.policies.contract import PLAIN, Grant, Policy
from governor.policies.provider import ProviderParameters, ProviderPolicies
from tests.support import tape as st
from tests.support.tape import given

START = Instant(1_000 * SECOND)

SPANS = st.none() | st.integers(1, 100).map(lambda seconds: Duration(seconds * SECOND))
COUNTS = st.none() | st.integers(0, 10)
HINTS = st.builds(
    Hint, st.sampled_from(["requests", "tokens"]), limit=COUNTS, remaining=COUNTS, reset=SPANS, retry_after=SPANS, window=SPANS
)
PARAMETERS = st.builds(ProviderParameters, adopts=st.booleans(), gentle=st.booleans())


def hear(provider: ProviderPolicies, now: Instant, hint: Hint) -> None:
    grant = Grant(now, 0)
    provider.server.hear(now, grant, hint, most=Duration(DAY))
    if hint.retry_after is None:
        provider.server.throttled(now, grant, sent=5.0, succeeded=True)
    else:
        provider.own_cooldown().extend(now, hint.retry_after, Duration(hint.retry_after // 10))


def asks(provider: ProviderPolicies, now: Instant) -> list[tuple[str, Instant]]:
    """For 30 calls, the policy that named the latest instant, and the instant."""
    found = []
    for _ in range(30):
        policies: tuple[Policy, ...] = (*provider.pauses, *(limit.policy for limit in provider.server.limits))
        when = max(policy.earliest(now, PLAIN) for policy in policies)
        found += [(type(policy).__name__, policy.earliest(now, PLAIN)) for policy in policies]
        now = when
        for policy in policies:
            policy.commit(now, PLAIN)
        provider.cooldown.granted(now)
    return found


@pytest.mark.promise("R12")
@settings(max_examples=50)
@given(PARAMETERS, st.lists(HINTS, min_size=1, max_size=6), st.lists(HINTS, max_size=3))
def test_a_provider_that_was_reset_goes_on_as_a_new_one(
    parameters: ProviderParameters, said: list[Hint], later: list[Hint]
) -> None:
    reset, new = ProviderPolicies.of("acme", parameters), ProviderPolicies.of("acme", parameters)
    now = START
    for hint in said:
        hear(reset, now, hint)
        asks(reset, now)
        now = Instant(now + 7 * SECOND)
    reset.reset()
    now = Instant(now + MINUTE)
    for hint in later:
        hear(reset, now, hint)
        hear(new, now, hint)

    assert asks(new, now) == asks(reset, now)
