"""Which machine keeps which limit?"""

from collections.abc import Sequence
from math import inf
from typing import assert_never

from governor._units import Duration, Instant
from governor.policies.gcra import TokenBucket, TokenBucketPolicy, TokenBucketState
from governor.policies.in_flight import InFlight, InFlightPolicy, InFlightState
from governor.policies.window import StrictWindow, StrictWindowPolicy, StrictWindowState

#: What a scope may be limited by.
Limit = TokenBucket | StrictWindow | InFlight
#: The machine that keeps a limit.
LimitPolicy = TokenBucketPolicy | StrictWindowPolicy | InFlightPolicy
#: Where such a machine stands.
LimitState = TokenBucketState | StrictWindowState | InFlightState


def build(limit: Limit, max_debt: float = inf) -> LimitPolicy:
    """A machine for the limit, with nothing used yet; `max_debt` is in bursts, or in amounts of one window."""
    match limit:
        case TokenBucket():
            return TokenBucketPolicy(limit, max_debt)
        case StrictWindow():
            return StrictWindowPolicy(limit, max_debt)
        case InFlight():
            return InFlightPolicy(limit)
        case _:
            assert_never(limit)


def restore(policy: LimitPolicy, state: LimitState) -> None:
    """Lets a machine go on from the state of an earlier one for the same limit."""
    match policy, state:
        case TokenBucketPolicy() as bucket, TokenBucketState() as bucket_state:
            bucket.restore(bucket_state)
        case StrictWindowPolicy() as window, StrictWindowState() as window_state:
            window.restore(window_state)
        case InFlightPolicy() as in_flight, InFlightState() as in_flight_state:
            in_flight.restore(in_flight_state)
        case _:
            raise TypeError(f"a {type(state).__name__} does not fit a {type(policy).__name__}")


def predecessors(policies: Sequence[LimitPolicy], others: Sequence[LimitPolicy]) -> list[LimitPolicy | None]:
    """From which of the others does each machine go on? None for a limit that is new.

    From the one with the same parameters, if there is one. A bucket that has changed goes on from the first of its unit that
    has changed or gone as well. Windows of one unit have seen the same uses, and the longest of them remembers most; so have
    limits in flight.
    """
    kept = {policy.parameters for policy in policies}
    changed = [other for other in others if other.parameters not in kept]
    return [_predecessor(policy, others, changed) for policy in policies]


def _predecessor(policy: LimitPolicy, others: Sequence[LimitPolicy], changed: list[LimitPolicy]) -> LimitPolicy | None:
    alike = [other for other in others if type(other) is type(policy) and other.unit == policy.unit]
    for other in alike:
        if other.parameters == policy.parameters:
            return other
    if not isinstance(policy, TokenBucketPolicy):
        return max(alike, key=_memory, default=None)
    for other in changed:
        if other in alike:
            changed.remove(other)
            return other
    return None


def _memory(policy: LimitPolicy) -> Duration:
    return policy.parameters.per if isinstance(policy, StrictWindowPolicy) else Duration(0)


def take_over(now: Instant, policy: LimitPolicy, other: LimitPolicy) -> None:
    """Lets a machine go on from where another of its kind stands, whose parameters may be others."""
    match policy, other:
        case TokenBucketPolicy() as bucket, TokenBucketPolicy() as before:
            bucket.take_over(now, before)
        case _:
            restore(policy, other.state())
