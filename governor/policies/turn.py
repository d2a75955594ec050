"""The turn of a newcomer: the instant at which a request that joins the end of a queue is granted.

A queue is served in order, each request at the earliest instant at which all policies of its scope grant it. `turn` names the
instant exactly, provided that nobody leaves, no other scope spends from the global cap meanwhile, and no outcome changes
anything. Calls that are under way in a strict window are taken to end now, and those to come as soon as they are granted.

- Plain requests that one policy alone holds up: that policy computes the instant from their number.
- Other queues of at most `MAX_FORECAST` requests: copies of the policies are stepped through the queue, request by request.
- Longer ones: a bound, never too early. At every instant before its turn a newcomer waits for some policy, so it waits at most
  for the sum of the times for which each policy can hold up so much. That is late where policies hold up the same requests in
  turns. Where a window of more than 4,096 units or a bucket of more than one unit in a microsecond is what holds up such a
  queue, its instant is late by at most one slot for each window, or one microsecond for each request.
"""

from collections.abc import Iterable
from operator import itemgetter
from typing import Final, Protocol

from governor._units import AFTER_OUTCOME, NEVER, Instant
from governor.policies.breaker import BreakerPolicy, BreakerStatus
from governor.policies.contract import PLAIN, Forecast, LimitPolicy, Policy, Request
from governor.policies.pipeline import Pipeline, Verdict
from governor.policies.request_cap import RequestCapPolicy

#: Requests of a queue that are stepped through, at most: some hundred microseconds of work.
MAX_FORECAST: Final = 128

#: What can hold up a queue.
_Spending = LimitPolicy | RequestCapPolicy


class Queue(Protocol):
    """What `turn` asks of a queue of waiters."""

    def __len__(self) -> int: ...

    @property
    def plain(self) -> bool:
        """Whether all of them ask for one request and nothing else."""

    def requests(self) -> Iterable[Request]:
        """What they ask for, in order."""

    def ahead(self) -> Request | None:
        """What they ask for together; None if there are none."""

    def largest(self) -> Request:
        """At least the largest amount of each unit that any of them asks for."""


def turn(pipeline: Pipeline, now: Instant, request: Request, queue: Queue) -> Verdict:
    """When is a request granted that joins the end of the queue, and which policy is the last to hold it up?"""
    own = pipeline.verdict(now, request)
    ahead = queue.ahead()
    if ahead is None or own.when == NEVER:
        return own
    if request is PLAIN and queue.plain:
        exact = _turn_of_plain(pipeline, now, ahead)
        if exact is not None:
            return exact
    # A breaker far up its ramp knows of more calls than are worth copying.
    if len(queue) <= MAX_FORECAST and (pipeline.breaker.ramp or 0) <= MAX_FORECAST:
        return _forecast(pipeline, now, (*queue.requests(), request))
    return _bound(pipeline, now, _sum(ahead, request), _most(queue.largest(), request), len(queue))


def _turn_of_plain(pipeline: Pipeline, now: Instant, ahead: Request) -> Verdict | None:
    """The turn behind plain requests if no more than one policy holds them up; else None."""
    if not pipeline.breaker.unrestricted:
        return None
    gate, by = _gate(pipeline, now)
    turns = [(policy, policy.earliest(gate, PLAIN, ahead)) for policy in pipeline.spending]
    holding = [(policy, when) for policy, when in turns if when > gate]
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


def _forecast(pipeline: Pipeline, now: Instant, requests: Iterable[Request]) -> Verdict:
    """The turn of the last of them, when copies of the policies grant them one after the other."""
    when, by = _gate(pipeline, now)
    forecasts: list[tuple[Policy, Forecast]] = [(policy, policy.forecast(now)) for policy in pipeline.spending]
    breaker = pipeline.breaker.forecast(now)
    if not breaker.unrestricted:
        forecasts.insert(0, (pipeline.breaker, breaker))
    hangs_from = None
    for request in requests:
        due = certain = when
        for policy, forecast in forecasts:
            earliest = forecast.earliest(when, request)
            if earliest > due:
                due, by = earliest, policy
            if earliest > certain and not _hangs(earliest, forecast):
                certain = earliest
        if due == NEVER:
            continue  # It is denied as soon as it is at the head, and delays nothing.
        if due > certain and hangs_from is None:
            hangs_from = certain
        when = due
        if when == AFTER_OUTCOME:
            break
        for _, forecast in forecasts:
            forecast.commit(when, request)
    return Verdict(when, by) if hangs_from is None else Verdict(when, by, sooner=True, not_before=hangs_from)


def _hangs(when: Instant, forecast: Forecast) -> bool:
    """May an outcome bring this instant forward?"""
    return when == AFTER_OUTCOME or (isinstance(forecast, BreakerPolicy) and forecast.status is not BreakerStatus.OPEN)


def _bound(pipeline: Pipeline, now: Instant, queued: Request, largest: Request, count: int) -> Verdict:
    """An instant at which a request behind `count` others is granted at the latest; `queued` is what all of them ask for."""
    gate, by = _gate(pipeline, now)
    holding = [(policy, hold) for policy in pipeline.spending if (hold := policy.longest_hold(gate, queued, largest))]
    # While a bucket alone holds up the queue it is empty. If something else does as well, it may fill up meanwhile.
    left = [one for one in holding if not _is_outpaced(pipeline, one[0], gate, largest)]
    if len(left) > 1:
        left = [one for one in holding if not _is_outpaced(pipeline, one[0], gate, None)]
    # A bucket grants each of them up to a microsecond after it is due.
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
    """From when on degraded mode and an open breaker let anything through, and which of them does so last."""
    gate = now
    by: Policy | None = None
    if not pipeline.exempt and pipeline.degraded.until > gate:
        gate, by = pipeline.degraded.until, pipeline.degraded
    if pipeline.breaker.status is BreakerStatus.OPEN and pipeline.breaker.until > gate:
        gate, by = pipeline.breaker.until, pipeline.breaker
    return gate, by


def _is_outpaced(pipeline: Pipeline, policy: _Spending, gate: Instant, largest: Request | None) -> bool:
    """Is the policy a window that never fills up, because another limit grants too slowly?

    With `largest`, provided that no bucket is ever fuller than the largest request of a queue that it alone holds up.
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
