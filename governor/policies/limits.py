"""Which machine keeps which limit?"""

from typing import assert_never

from governor._units import Instant
from governor.policies.gcra import TokenBucket, TokenBucketPolicy, TokenBucketState
from governor.policies.in_flight import InFlight, InFlightPolicy, InFlightState
from governor.policies.window import StrictWindow, StrictWindowPolicy, StrictWindowState

#: What a scope may be limited by.
Limit = TokenBucket | StrictWindow | InFlight
#: The machine that keeps a limit.
LimitPolicy = TokenBucketPolicy | StrictWindowPolicy | InFlightPolicy
#: Where such a machine stands.
LimitState = TokenBucketState | StrictWindowState | InFlightState


def build(limit: Limit) -> LimitPolicy:
    """A machine for the limit, with nothing used yet."""
    match limit:
        case TokenBucket():
            return TokenBucketPolicy(limit)
        case StrictWindow():
            return StrictWindowPolicy(limit)
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


def take_over(now: Instant, policy: LimitPolicy, other: LimitPolicy) -> None:
    """Lets a machine go on from where another of its kind stands, whose parameters may be others."""
    match policy, other:
        case TokenBucketPolicy() as bucket, TokenBucketPolicy() as before:
            bucket.take_over(now, before)
        case _:
            restore(policy, other.state())
