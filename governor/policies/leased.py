"""What other processes do with the permits of a scope, as its policies count it.

A lease in this process is empty by the time that policies change. One in another process is not: what it holds is used, or
comes back, under the policies that follow.
"""

from collections.abc import Sequence

from governor._units import Instant
from governor.policies.breakers.states import BreakerStatus
from governor.policies.contract import Grant, LimitPolicy, Request, Result
from governor.policies.pipeline import Pipeline


def may_lease(pipeline: Pipeline) -> bool:
    """Whether anything may be granted ahead to other processes. Limits that other scopes wait for as well are not."""
    return pipeline.leases_elsewhere and not pipeline.shares


def hand_over(now: Instant, before: Pipeline, after: Pipeline, leased: int) -> None:
    """Has `after`, which has taken over the rest, count what is leased.

    Limits that can grant ahead have it leased. Others count it as used now, and what is really used once more when that is
    known.
    """
    if not leased or before is after:
        return
    leasing = before.leasing if before.leases_elsewhere else ()
    for policy in leasing:
        if policy not in after.spending:
            policy.collect(now, leased)  # A limit of the provider may go on in other scopes.
    if after.leases_elsewhere:
        for policy in after.leasing:
            if policy not in leasing:
                policy.lease(now, leased)
    else:
        spend(after, now, Request(leased))
    after.regate()


def collect(pipeline: Pipeline, now: Instant, used: int) -> None:
    """Records that `used` of the leased requests were used, at unknown instants up to `now`."""
    if pipeline.leases_elsewhere:
        pipeline.collect(now, used)
    else:
        pipeline.cap.collect(now, used)
        if pipeline.mark is not None:
            pipeline.mark.collect(now, used)
        spend(pipeline, now, Request(used))
    pipeline.regate()


def reclaim(pipeline: Pipeline, now: Instant, back: int) -> None:
    """Returns `back` of the leased requests, which will not be used."""
    if pipeline.leases_elsewhere:
        pipeline.reclaim(now, back)
    else:
        pipeline.cap.reclaim(now, back)
        if pipeline.mark is not None:
            pipeline.mark.reclaim(back)


def spend(pipeline: Pipeline, now: Instant, request: Request) -> None:
    """Counts calls that have been made, and have ended, in every limit but the cap, whether or not it has room for them."""
    grant = Grant(now, pipeline.breaker.generation, request)
    for limit in pipeline.all_limits:
        limit.commit(now, request)
        limit.record(now, grant, Result.SUCCESS)
    pipeline.regate()


def succeeded(pipeline: Pipeline, now: Instant) -> None:
    """Calls with leased permits have succeeded since the last report: a run of failures has ended."""
    grant = Grant(now, pipeline.breaker.generation)
    if pipeline.breaker.status is BreakerStatus.CLOSED:
        pipeline.breaker.record(now, grant, Result.SUCCESS)  # Else they were made before it opened, and prove nothing.
    pipeline.degraded.record(now, grant, Result.SUCCESS, pipeline.provider)
    pipeline.regate()


# What threads do with the permits of a scope.


def follow(pipeline: Pipeline, now: Instant, filled_at: Instant, used: int) -> None:
    """Of the requests just collected, so many were leased at that instant: their outcomes are to come."""
    for policy in pipeline.leasing:
        if isinstance(policy, LimitPolicy) and policy.needs_outcome:
            policy.follow(now, filled_at, used)


def ended(pipeline: Pipeline, now: Instant, filled_at: Instant, generation: int, count: int) -> None:
    """So many calls with permits of this generation, leased at that instant, have succeeded. Nothing else notices."""
    born = dict(zip(pipeline.all_limits, pipeline.born, strict=True))
    for policy in pipeline.leasing:
        if isinstance(policy, LimitPolicy) and generation >= born[policy]:
            policy.ended(now, filled_at, count)
    pipeline.regate()


def leasable_places(pipeline: Pipeline, now: Instant) -> int:
    """The number of places that may be leased at `now`, in addition to those that are: all of them, as calls need them."""
    if any(share.queue.ready for share in pipeline.shares):
        return 0
    return min([limit.available(now) for limit in pipeline.places], default=0)


def lease_places(pipeline: Pipeline, count: int) -> None:
    """Leases so many places in each of the limits that have them, at most `leasable_places`."""
    for limit in pipeline.places:
        limit.lease_places(count)
    pipeline.regate()


def free_places(pipeline: Pipeline, generation: int, count: int = 1) -> None:
    """So many of the places that were leased in this generation are free."""
    born = dict(zip(pipeline.all_limits, pipeline.born, strict=True))
    for limit in pipeline.places:
        if generation >= born[limit]:
            limit.free_places(count)
    pipeline.regate()


def measure(pipeline: Pipeline, durations: Sequence[int]) -> None:
    """So long have calls with leased places taken that were answered with success."""
    for limit in pipeline.places:
        limit.measure(durations)
