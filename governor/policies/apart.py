"""When a scope could grant a request if it were not for the global cap, or for the limits that it shares with others."""

from governor._units import NEVER, Instant
from governor.policies.contract import Request
from governor.policies.pipeline import Pipeline


def only_the_cap_denies(pipeline: Pipeline, now: Instant, request: Request) -> bool:
    """Whether the global cap denies this request, and nothing else does."""
    if not now < pipeline.cap.earliest(now, request) < NEVER:
        return False
    others = (policy.earliest(now, request) for policy in pipeline.policies if policy is not pipeline.cap)
    return _latest(pipeline, now, request, *others) <= now


def without_shares(pipeline: Pipeline, now: Instant, request: Request) -> Instant:
    """The earliest instant at which the request can be granted, disregarding the limits that others share.

    What the server limits of this scope alone is not one of them, although it is treated alike otherwise.
    """
    own = () if pipeline.heard is None else pipeline.heard.limits
    shared = {share.policy for share in pipeline.shares}.difference(limit.policy for limit in own)
    others = (policy.earliest(now, request) for policy in pipeline.policies if policy not in shared)
    return _latest(pipeline, now, request, *others)


def _latest(pipeline: Pipeline, now: Instant, request: Request, *others: Instant) -> Instant:
    return max(pipeline.guard.earliest(now, request)[0], *(pause.until for pause in pipeline.pauses), *others)
