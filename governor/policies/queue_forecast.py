"""Queue forecast: the instant at which a request that joins the end of a queue is granted.

A queue is served in order, each request at the earliest instant at which all policies of its scope grant it. The forecast is
exact, provided that no waiter leaves, no other scope spends from the global cap meanwhile, and no outcome changes anything.
Calls in flight in a strict window are assumed to end now, and later calls as soon as they are granted.

Of limits that several scopes share, the calls count that wait in the scopes of its queue. They are assumed to wait for nothing
of their own scope, and scopes that do so to go on waiting.

- Plain requests that wait for one policy only: that policy computes the instant from their number.
- Other queues of at most `MAX_FORECAST` requests: copies of the policies simulate the queue, request by request.
- Longer queues: a bound, never too early. Until it is granted, a new request waits for some policy at every instant, so it
  waits at most for the sum of the longest holds of all policies. The bound is late where policies hold up the same requests in
  turns.
  Behind a window of more than 4,096 units it is late by at most one slot for each window, and behind a bucket of more than one
  unit in a microsecond by at most one microsecond for each request.
"""

from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Final, Protocol

from governor._units import AFTER_OUTCOME, NEVER, Instant
from governor.policies.breakers.breaker import BreakerPolicy
from governor.policies.breakers.states import BreakerStatus
from governor.policies.contract import PLAIN, Forecast, LimitPolicy, Policy, Request
from governor.policies.pipeline import Pipeline
from governor.policies.request_cap import RequestCapPolicy
from governor.policies.shared_limit import Share, WaitingScope
from governor.policies.verdict import Verdict

#: The longest queue that is simulated: some hundred microseconds of work.
MAX_FORECAST: Final = 128

#: The policies that can hold up a queue.
_Spending = LimitPolicy | RequestCapPolicy
#: A call that waits: its request, and what it takes of shared limits if it waits in another scope.
_Call = tuple[Request, tuple[Share, ...] | None]
_ARRIVAL: Final = itemgetter(0)


class Queue(Protocol):
    """The queue of waiters, as `earliest_behind` needs it."""

    def __len__(self) -> int: ...

    @property
    def plain(self) -> bool:
        """Whether all waiters ask for one request and nothing else."""

    def calls(self) -> Iterable[tuple[int, Request]]:
        """The arrivals of the waiters with their requests, in order."""

    def ahead(self) -> Request | None:
        """The sum of the requests; None if the queue is empty."""

    def largest(self) -> Request:
        """An upper bound of the largest request, for each unit."""


def earliest_behind(
    pipeline: Pipeline, now: Instant, request: Request, queue: Queue, scope: WaitingScope | None = None
) -> Verdict:
    """When a request is granted that joins the end of the queue, and which policy is the last to hold it up.

    `scope` is the one whose queue it is, as it stands in the queues of shared limits.
    """
    alone = _in_own_queue(pipeline, now, request, queue)
    needed = [share for share in pipeline.shares if share.queue.ready and share.amount(request)]
    if not needed or alone.when == NEVER:
        return alone
    others = {other for share in needed for other in share.queue.scopes(MAX_FORECAST) if other is not scope}
    if not others:
        return alone
    if len(queue) + sum(len(other.queue) for other in others) <= MAX_FORECAST and (pipeline.breaker.ramp or 0) <= MAX_FORECAST:
        among = _forecast(pipeline, now, _in_order(pipeline, request, queue, scope, others))
    else:
        among = _behind_all(pipeline, now, request, queue, scope, needed)
    # Those before have not been served yet, so that it is never granted now.
    when = max(among.when, alone.when, Instant(now + 1))
    by = alone.by if among.by is None or alone.when > among.when else among.by
    sooner = among.sooner or alone.sooner or when == AFTER_OUTCOME
    return Verdict(when, by or needed[0].policy, sooner=sooner, not_before=max(now, among.not_before) if sooner else Instant(0))


def _in_order(
    pipeline: Pipeline, request: Request, queue: Queue, scope: WaitingScope | None, others: Iterable[WaitingScope]
) -> Iterable[_Call]:
    """All calls before the new request, and that request, in the order of their grants; None stands for its own scope.

    A scope that stands in no queue of a shared limit waits for a limit of its own meanwhile.
    """
    foreign = [(arrival, one, other.shares) for other in others for arrival, one in other.queue.calls()]
    own: list[tuple[int, Request, tuple[Share, ...] | None]] = [(arrival, one, None) for arrival, one in queue.calls()]
    stands = any(share.queue.holds(scope) for share in pipeline.shares)
    ordered = sorted([*foreign, *own], key=_ARRIVAL) if stands else [*sorted(foreign, key=_ARRIVAL), *own]
    return [*((one, taken) for _, one, taken in ordered), (request, None)]


def _behind_all(
    pipeline: Pipeline, now: Instant, request: Request, queue: Queue, scope: WaitingScope | None, needed: Iterable[Share]
) -> Verdict:
    """The latest instant at which one of the shared limits grants a request behind all calls that stand in its queue."""
    when, by = _gate(pipeline, now)
    gate, own = when, queue.ahead()
    for share in needed:
        ahead = share.queue.amount_without(scope) + (0 if own is None else share.amount(own))
        due = share.earliest_behind(gate, request, ahead)
        if due > when:
            when, by = due, share.policy
    return Verdict(when, by, sooner=when >= AFTER_OUTCOME, not_before=gate)


def _in_own_queue(pipeline: Pipeline, now: Instant, request: Request, queue: Queue) -> Verdict:
    own = pipeline.verdict(now, request)
    ahead = queue.ahead()
    if ahead is None or own.when == NEVER:
        return own
    found = _behind_own(pipeline, now, request, queue, ahead)
    # How many of the waiters the ban guard holds up depends on answers, and is not foreseen; nor is when a record is durable.
    return own if own.by in (pipeline.guard, pipeline.mark) and own.when > found.when else found


def _behind_own(pipeline: Pipeline, now: Instant, request: Request, queue: Queue, ahead: Request) -> Verdict:
    if request is PLAIN and queue.plain:
        exact = _behind_plain(pipeline, now, ahead)
        if exact is not None:
            return exact
    # A breaker late in its ramp has too many calls in flight to copy.
    if len(queue) <= MAX_FORECAST and (pipeline.breaker.ramp or 0) <= MAX_FORECAST:
        return _forecast(pipeline, now, [*((one, None) for _, one in queue.calls()), (request, None)])
    return _bound(pipeline, now, _sum(ahead, request), _most(queue.largest(), request), len(queue))


def _behind_plain(pipeline: Pipeline, now: Instant, ahead: Request) -> Verdict | None:
    """The verdict behind plain requests if at most one policy holds them up; else None."""
    if not pipeline.breaker.unrestricted:
        return None
    gate, by = _gate(pipeline, now)
    dues = [(policy, policy.earliest(gate, PLAIN, ahead)) for policy in pipeline.spending]
    holding = [(policy, when) for policy, when in dues if when > gate]
    if len(holding) > 1:
        holding = [(policy, when) for policy, when in holding if not _is_outpaced(pipeline, policy, gate, PLAIN)]
    match holding:
        case []:
            return Verdict(gate, by)
        case [(policy, when)] if when == AFTER_OUTCOME:
            return Verdict(when, policy, sooner=True, not_before=gate)
        case [(policy, when)] if not policy.is_exact:
            return None if ahead.cost <= MAX_FORECAST else Verdict(Instant(when + ahead.cost), policy)
        case [(policy, when)]:
            return Verdict(when, policy)
        case _:
            return None


def _forecast(pipeline: Pipeline, now: Instant, calls: Iterable[_Call]) -> Verdict:
    """The verdict for the last call, from copies of the policies that grant all of them in order.

    Calls of other scopes take what the scopes share: of the shared limits, and of the cap.
    """
    when, by = _gate(pipeline, now)
    cap = (pipeline.cap, pipeline.cap.forecast(now))
    shared = {share.limit: share.limit.forecast(now) for share in pipeline.shares}
    own: list[tuple[Policy, Forecast]] = [(policy, policy.forecast(now)) for policy in pipeline.limits]
    own += [*_forecasts(pipeline.shares, shared), cap]
    breaker = pipeline.breaker.forecast(now)
    if not breaker.unrestricted:
        own.insert(0, (pipeline.breaker, breaker))
    hangs_from = None
    for request, foreign in calls:
        forecasts = own if foreign is None else [*_forecasts(foreign, shared), cap]
        due = certain = when
        for policy, forecast in forecasts:
            earliest = forecast.earliest(when, request)
            if earliest > due:
                due, by = earliest, policy
            if earliest > certain and not _hangs(earliest, forecast):
                certain = earliest
        if due == NEVER:
            continue  # It is denied as soon as it is at the head, and delays no other.
        if due > certain and hangs_from is None:
            hangs_from = certain
        when = due
        if when == AFTER_OUTCOME:
            break
        for _, forecast in forecasts:
            forecast.commit(when, request)
    return Verdict(when, by) if hangs_from is None else Verdict(when, by, sooner=True, not_before=hangs_from)


def _forecasts(shares: Iterable[Share], forecasts: Mapping[LimitPolicy, Forecast]) -> Iterator[tuple[Policy, Forecast]]:
    return ((share.policy, share.costed(forecasts[share.limit])) for share in shares if share.limit in forecasts)


def _hangs(when: Instant, forecast: Forecast) -> bool:
    """Whether an outcome may bring this instant forward."""
    return when == AFTER_OUTCOME or (isinstance(forecast, BreakerPolicy) and forecast.status is not BreakerStatus.OPEN)


def _bound(pipeline: Pipeline, now: Instant, queued: Request, largest: Request, count: int) -> Verdict:
    """The latest instant at which a request behind `count` others is granted; `queued` is the sum of all requests."""
    gate, by = _gate(pipeline, now)
    holding = [(policy, hold) for policy in pipeline.spending if (hold := policy.max_hold(gate, queued, largest))]
    # A bucket that alone holds up the queue is empty. If another policy does as well, it may fill up meanwhile.
    left = [one for one in holding if not _is_outpaced(pipeline, one[0], gate, largest)]
    if len(left) > 1:
        left = [one for one in holding if not _is_outpaced(pipeline, one[0], gate, None)]
    # A bucket grants each request up to a microsecond late.
    when = gate + sum(hold + count for _, hold in left)
    if left:
        by = max(left, key=itemgetter(1))[0]
    waves = pipeline.breaker.waves(count)
    if waves:
        when, by = when + waves * pipeline.breaker.parameters.probe_deadline, pipeline.breaker
    if when >= AFTER_OUTCOME or waves:
        return Verdict(Instant(min(when, AFTER_OUTCOME)), by, sooner=True, not_before=gate)
    return Verdict(Instant(when), by)


def _gate(pipeline: Pipeline, now: Instant) -> tuple[Instant, Policy | None]:
    """The instant at which degraded mode, the pauses and an open breaker have ended, and which of them ends last."""
    gate = now
    by: Policy | None = None
    for pause in pipeline.pauses:
        if pause.until > gate:
            gate, by = pause.until, pause
    if not pipeline.exempt and pipeline.degraded.until > gate:
        gate, by = pipeline.degraded.until, pipeline.degraded
    if pipeline.breaker.status is BreakerStatus.OPEN and pipeline.breaker.until > gate:
        gate, by = pipeline.breaker.until, pipeline.breaker
    return gate, by


def _is_outpaced(pipeline: Pipeline, policy: _Spending, gate: Instant, largest: Request | None) -> bool:
    """Whether the policy never fills up, because another limit grants too slowly.

    With `largest`, under the assumption that a bucket which alone holds up a queue never has more than the largest request.
    """
    return any(
        policy.never_fills(gate, *pace)
        for limit in pipeline.limits
        if limit is not policy and limit.unit == policy.unit and (pace := limit.pace(gate, largest)) is not None
    )


def _sum(one: Request, other: Request) -> Request:
    units = {**(one.units or {}), **(other.units or {})}
    return Request(one.cost + other.cost, {unit: one.amount(unit) + other.amount(unit) for unit in units} or None)


def _most(one: Request, other: Request) -> Request:
    units = {**(one.units or {}), **(other.units or {})}
    return Request(max(one.cost, other.cost), {unit: max(one.amount(unit), other.amount(unit)) for unit in units} or None)
