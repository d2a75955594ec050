"""Limits that several scopes share, the queue of the scopes that wait for one of them, and what a scope takes of it.

First come, first served: a scope stands in the queue of a shared limit while the call at its head waits for that limit, in the
order in which these calls have arrived. A scope that waits for something of its own stands in no queue. A request that takes
units of a shared limit is not granted while a call that arrived earlier stands in its queue.

Once a scope stands in a queue it stays there until its call is granted or leaves, also if units have become available: a call
that needs two shared limits would starve otherwise, if others used up the one while it waits for the other.
"""

from collections.abc import Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Any, Final, Protocol, cast, final

import msgspec

from governor._units import AFTER_OUTCOME, NEVER, Instant
from governor.policies.contract import PLAIN, REQUESTS, Forecast, Grant, Leasable, LimitPolicy, Request, Result
from governor.policies.in_flight import InFlightPolicy


class MethodCost(msgspec.Struct, frozen=True):
    """What one request of a scope takes of the shared limits: a number of requests, and amounts of other units."""

    requests: int = 1
    units: Mapping[str, int] = {}


#: The cost of a method for which the settings have none.
ONE_REQUEST: Final = MethodCost()


class Calls(Protocol):
    """The calls that wait in one scope."""

    def __len__(self) -> int: ...

    def calls(self) -> Iterable[tuple[int, Request]]:
        """Their arrivals and requests, in order."""


class WaitingScope(Protocol):
    """A scope that stands in queues of shared limits."""

    @property
    def queue(self) -> Calls:
        """Its calls that wait."""

    @property
    def shares(self) -> "tuple[Share, ...]":
        """The shared limits that it uses."""

    def on_turn(self) -> None:
        """The scope is the first in a queue in which something has moved: it serves its calls, now or soon."""


class LimitQueue:
    """The scopes that wait for one shared limit, each with the arrival of the call at its head. Arrivals are unique.

    Bound: the number of scopes. Joining and leaving take logarithmic time.
    """

    __slots__ = ("_heap", "_places", "amount", "largest", "ready")

    def __init__(self) -> None:
        self._places: dict[WaitingScope, tuple[int, int]] = {}
        #: Arrivals with their scopes, the first first; and some that have left since.
        self._heap: list[tuple[int, WaitingScope]] = []
        #: The units that all calls of these scopes ask for.
        self.amount = 0
        #: The most units that one of them asks for, since the queue was last empty.
        self.largest = 0
        #: `NEVER` while a scope stands here, else 0: as of a policy, so that the hot path reads both alike.
        self.ready = 0

    def __len__(self) -> int:
        return len(self._places)

    def join(self, scope: WaitingScope, arrival: int, amount: int, largest: int) -> None:
        """Places the scope, or replaces it, with the arrival of its head.

        Its calls ask for `amount` units in total, and for at most `largest` at a time.
        """
        before = self._places.get(scope)
        self._places[scope] = (arrival, amount)
        self.amount += amount
        self.largest = max(self.largest, largest)
        self.ready = NEVER
        if before is None or before[0] != arrival:
            heappush(self._heap, (arrival, scope))
        if before is not None:
            self.amount -= before[1]
        if len(self._heap) > 2 * len(self._places) + 64:
            self._heap = [(place, other) for other, (place, _) in self._places.items()]
            heapify(self._heap)

    def leave(self, scope: WaitingScope) -> None:
        """Removes the scope, if it stands here."""
        place = self._places.pop(scope, None)
        if place is not None:
            self.amount -= place[1]
        if not self._places:
            self.ready = self.largest = 0
            self._heap.clear()  # A scope refers to this queue, which must not refer to one that has left.

    def first(self) -> WaitingScope | None:
        """The scope whose head has arrived first; None if the queue is empty."""
        while self._heap:
            arrival, scope = self._heap[0]
            place = self._places.get(scope)
            if place is not None and place[0] == arrival:
                return scope
            heappop(self._heap)
        return None

    def is_ahead_of(self, arrival: int) -> bool:
        """Whether a call stands here that has arrived before."""
        first = self.first()
        return first is not None and self._places[first][0] < arrival

    def scopes(self, most: int) -> Iterator[WaitingScope]:
        """The scopes that stand here, in no order, at most so many and one more."""
        return islice(self._places, most + 1)

    def holds(self, scope: WaitingScope | None) -> bool:
        """Whether the scope stands here."""
        return scope in self._places

    def amount_without(self, scope: WaitingScope | None) -> int:
        """The units that the calls of all other scopes ask for, at least 1 for each; 0 if no other scope stands here."""
        own = None if scope is None else self._places.get(scope)
        others = len(self._places) - (own is not None)
        return max(others, self.amount - (0 if own is None else own[1])) if others else 0


class SharedLimit:
    """A limit that several scopes share, and the queue of those that wait for it."""

    __slots__ = ("policy", "queue")

    def __init__(self, policy: LimitPolicy, queue: LimitQueue | None = None) -> None:
        self.policy = policy
        self.queue = LimitQueue() if queue is None else queue


class Share:
    """A shared limit as one scope uses it: with the cost of the method of that scope."""

    __slots__ = ("counts_plain", "limit", "policy", "queue")

    def __init__(self, limit: SharedLimit, cost: MethodCost) -> None:
        self.limit = limit.policy
        self.queue = limit.queue
        #: The limit in terms of requests of this scope.
        self.policy = _costed(limit.policy, cost)
        #: Whether a plain request takes units of it.
        self.counts_plain = self.amount(PLAIN) > 0

    def request(self, request: Request) -> Request:
        """What a request of this scope is for the limit itself."""
        # Of the very class, as everywhere here: to ask for an instance of an abstract class takes a Python call.
        return self.policy.scaled(request) if type(self.policy) is CostedLimit else request

    def amount(self, request: Request) -> int:
        """The units of the limit that a request of this scope takes."""
        return self.request(request).amount(_unit(self.limit))

    def costed(self, forecast: Forecast) -> Forecast:
        """A forecast of the limit as this scope uses it."""
        return _CostedForecast(self.policy, forecast) if type(self.policy) is CostedLimit else forecast

    def earliest_behind(self, now: Instant, request: Request, ahead: int) -> Instant:
        """The latest instant at which the limit grants a request of this scope, after `ahead` units for the calls before it."""
        one, unit = self.request(request), _unit(self.limit)
        amount, largest = one.amount(unit), max(self.queue.largest, one.amount(unit))
        if largest == 1:
            return self.limit.earliest(now, one, _units(ahead, unit))
        # Units that are too few for the next call stay unused until there are enough: no formula is exact.
        hold = self.limit.max_hold(now, _units(ahead + amount, unit), _units(largest, unit))
        return Instant(min(now + hold, AFTER_OUTCOME)) if hold < AFTER_OUTCOME else AFTER_OUTCOME


def shares(limits: tuple[SharedLimit, ...], cost: MethodCost) -> tuple[Share, ...]:
    """The shared limits as a scope with this cost uses them, without those of which it takes nothing."""
    return tuple(Share(limit, cost) for limit in limits if cost.requests or not _has_cost(limit.policy))


def gates(shares: tuple[Share, ...]) -> tuple[LimitQueue | LimitPolicy, ...]:
    """The queues and the limits of which a plain request takes units."""
    return tuple([gate for share in shares if share.counts_plain for gate in (share.queue, share.policy)])


@final
class CostedLimit(LimitPolicy):
    """A limit seen by a scope whose requests cost more or less than one. All of its state is that of the limit.

    `ready` is `NEVER`, so that each request takes a call of `earliest`.
    """

    __slots__ = (
        "_extra",
        "_factor",
        "_plain",
        "_unit",
        "awaits_answers",
        "is_exact",
        "leases",
        "limit",
        "needs_outcome",
        "per_plain",
        "reason",
    )

    #: Other processes may call methods of another cost.
    leases_elsewhere = False

    def __init__(self, limit: LimitPolicy, factor: int, extra: int) -> None:
        super().__init__(limit.parameters)
        self.limit = limit
        self._unit = limit.unit
        # Of a limit of requests the factor counts, and of another one what each request adds to its amount.
        self._factor = factor
        self._extra = extra
        self._plain = self._scaled(PLAIN)
        #: The units that a plain request takes.
        self.per_plain = self._plain.amount(_unit(limit))
        self.leases = limit.leases
        self.ready = NEVER
        self.reason = limit.reason
        self.needs_outcome = limit.needs_outcome
        self.awaits_answers = limit.awaits_answers
        self.is_exact = False

    def scaled(self, request: Request) -> Request:
        """What a request of the scope is for the limit."""
        return self._plain if request is PLAIN else self._scaled(request)

    def _scaled(self, request: Request) -> Request:
        if self._extra:
            units = dict(request.units or {})
            units[self._unit] = units.get(self._unit, 0) + self._extra * request.cost
            return Request(request.cost, units)
        return Request(request.cost * self._factor, request.units)

    def _scaled_grant(self, grant: Grant) -> Grant:
        return msgspec.structs.replace(grant, request=self.scaled(grant.request))

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """See `Policy.earliest`."""
        return self.limit.earliest(now, self.scaled(request), None if ahead is None else self.scaled(ahead))

    def commit(self, now: Instant, request: Request) -> int:
        """See `Policy.commit`."""
        return self.limit.commit(now, self.scaled(request))

    def wakes_at(self, now: Instant) -> Instant:
        """See `LimitPolicy.wakes_at`."""
        return self.limit.wakes_at(now)

    def answered(self, now: Instant, grant: Grant) -> None:
        """See `LimitPolicy.answered`."""
        self.limit.answered(now, self._scaled_grant(grant))

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """See `Policy.record`."""
        self.limit.record(now, self._scaled_grant(grant), result)

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """See `Policy.refund`."""
        self.limit.refund(now, self._scaled_grant(grant), receipt)

    def settle(self, now: Instant, grant: Grant, receipt: int | None, change: int) -> int:
        """See `LimitPolicy.settle`."""
        return self.limit.settle(now, self._scaled_grant(grant), receipt, change * self._factor)

    def available(self, now: Instant) -> int:
        """See `LimitPolicy.available`."""
        return self.limit.available(now)

    def forecast(self, now: Instant) -> Forecast:
        """See `Policy.forecast`."""
        return _CostedForecast(self, self.limit.forecast(now))

    def max_hold(self, now: Instant, queued: Request, largest: Request) -> int:
        """See `Spending.max_hold`."""
        return self.limit.max_hold(now, self.scaled(queued), self.scaled(largest))

    def rests_at(self) -> Instant:
        """See `LimitPolicy.rests_at`."""
        return self.limit.rests_at()

    # Granting ahead, in plain requests.

    def leasable(self, now: Instant) -> int:
        """See `Leasable.leasable`."""
        return self._leasable.leasable(now) // self.per_plain

    def lease(self, now: Instant, count: int) -> None:
        """See `Leasable.lease`."""
        self._leasable.lease(now, count * self.per_plain)

    def collect(self, now: Instant, used: int) -> None:
        """See `Leasable.collect`."""
        self._leasable.collect(now, used * self.per_plain)

    def reclaim(self, now: Instant, count: int) -> None:
        """See `Leasable.reclaim`."""
        self._leasable.reclaim(now, count * self.per_plain)

    def follow(self, now: Instant, filled_at: Instant, used: int) -> None:
        """See `LimitPolicy.follow`."""
        self.limit.follow(now, filled_at, used * self.per_plain)

    def ended(self, now: Instant, filled_at: Instant, count: int) -> None:
        """See `LimitPolicy.ended`."""
        self.limit.ended(now, filled_at, count * self.per_plain)

    @property
    def _leasable(self) -> Leasable:
        return cast("Leasable", self.limit)

    # The provider carries over the limit itself, once for all of its scopes.

    def carry_over(self, now: Instant, before: Any) -> None:
        """Changes nothing."""

    def state(self) -> Any:
        """See `LimitPolicy.state`."""
        return self.limit.state()

    def restore(self, state: Any) -> None:
        """Changes nothing."""


class _CostedForecast:
    __slots__ = ("_forecast", "_limit")

    def __init__(self, limit: CostedLimit, forecast: Forecast) -> None:
        self._limit = limit
        self._forecast = forecast

    def earliest(self, now: Instant, request: Request) -> Instant:
        return self._forecast.earliest(now, self._limit.scaled(request))

    def commit(self, now: Instant, request: Request) -> object:
        return self._forecast.commit(now, self._limit.scaled(request))


def _costed(limit: LimitPolicy, cost: MethodCost) -> LimitPolicy:
    """The limit itself, where a request of the scope costs what it says."""
    if limit.unit == REQUESTS:
        plain = cost.requests == 1 or not _has_cost(limit)
        return limit if plain else CostedLimit(limit, cost.requests, 0)
    extra = cost.units.get(limit.unit, 0)
    return CostedLimit(limit, 1, extra) if extra else limit


def _has_cost(limit: LimitPolicy) -> bool:
    """Whether it counts requests at their cost. Of places in flight each request takes one, whatever it costs."""
    return limit.unit == REQUESTS and not isinstance(limit, InFlightPolicy)


def _units(amount: int, unit: str | None) -> Request:
    return Request(amount) if unit is None else Request(0, {unit: amount})


def _unit(limit: LimitPolicy) -> str | None:
    return None if limit.unit == REQUESTS else limit.unit
