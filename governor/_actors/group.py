"""Who decides for one group of our own endpoints? Its actor: the only writer of what its callers have spent.

Everybody who calls is known by two keys: who they say they are, and the address that they come from. A request must be within
the limits of its caller, which may be those of a tier, within those of the routes that it is for, within the ceiling of its
address, which holds however many callers somebody invents, and within the ceiling of the group. All admit it, or nothing is
spent. Nobody waits here: the answer is there at once.

At its bounds: a full table of clients drops those that have spent least, and no client gains by it (`policies.client_buckets`);
of the clients that are denied most often, a few are known at a time (`most_denied`).
"""

from collections.abc import Callable
from typing import Final, NamedTuple, assert_never, final

import anyio

from governor import _units as units
from governor._actors.counters import Counters
from governor._actors.most_denied import MostDenied
from governor._actors.pseudonyms import pseudonym
from governor._units import Instant, to_seconds
from governor.config import InboundGroup, InboundRoute
from governor.errors import Reason
from governor.instrumentation import Announcer, ClientDenied
from governor.messages import InboundDenied, InboundRequest
from governor.policies.client_buckets import ClientBuckets
from governor.policies.client_flights import ClientFlights
from governor.policies.client_tables import Table, build, change
from governor.policies.contract import Result
from governor.policies.gcra import TokenBucket
from governor.policies.in_flight import InFlight
from governor.policies.limits import Limit
from governor.policies.window import StrictWindow

#: The names of the limits, as they stand in header fields and in figures, in the order in which they are asked.
NAMES: Final = ("caller", "address", "total")
#: The same, with that of the limits that only some routes have.
_NAMES: Final = (*NAMES, "route")
_CALLER, _ADDRESS, _TOTAL, _ROUTE = range(4)

#: The one key of a ceiling that is everybody's.
EVERYBODY: Final = b"\0"
#: Seconds that a round through all tables takes at least, and at most.
_SHORTEST_ROUND: Final = 30.0
_LONGEST_ROUND: Final = 3600.0

#: Seconds after which to try again when a request in flight must end first.
_SOON: Final = 1.0

#: A limit as one caller finds it: its name, how many more requests it admits now, and what it is.
Left = tuple[str, int, Limit]


class _Said(NamedTuple):
    """A limit as the settings say it: by which of the keys of a visit it counts, for whom, and what it is."""

    which: int
    #: The tier of the callers, or the route; None for all of them.
    of: str | InboundRoute | None
    limit: Limit


#: A limit, and by which of the keys of a visit it counts.
_Rule = tuple[int, Table]


@final
class GroupActor:
    """The behaviour of one inbound group. Everything belongs to the thread of the governor's loop."""

    __slots__ = (
        "_announcer",
        "_awake",
        "_closed",
        "_held",
        "_names",
        "_rules",
        "_now",
        "_routes",
        "_tables",
        "_tiers",
        "_somebody",
        "counters",
        "holds",
        "loudest",
        "name",
        "passed_over",
        "policy",
        "denied_by",
    )

    def __init__(self, name: str, policy: InboundGroup, *, most: int, now: Callable[[], Instant], announcer: Announcer) -> None:
        self.name = name
        self.policy = policy
        self._now = now
        self._announcer = announcer
        self._tables: dict[_Said, Table] = {said: build(said.limit, most) for said in _said(policy)}
        #: What holds for every request; in the place of the limits of callers for those of a tier; and for a route as well.
        self._rules: tuple[_Rule, ...] = ()
        self._tiers: dict[str, tuple[_Rule, ...]] = {}
        self._routes: list[tuple[_Rule, ...]] = []
        #: How the limits of routes are called.
        self._names: dict[Table, str] = {}
        #: Of requests under way: where they are in flight.
        self._held: dict[InboundRequest, list[tuple[_Rule, ...]]] = {}
        #: Whether it must be told which visits have ended.
        self.holds = False
        self._arrange()
        #: Whether there is anybody to sweep out one day, and how the sweeper learns of it.
        self._awake = False
        self._closed = False
        self._somebody = anyio.Event()
        self.counters = Counters()
        #: Refusals by the name of the limit.
        self.denied_by: dict[str, int] = dict.fromkeys(NAMES, 0)
        #: How many were granted although a limit denied them, in a dry run, or although this loop did not answer in time.
        self.passed_over = 0
        self.loudest = MostDenied()

    def admit(self, request: InboundRequest) -> InboundDenied | None:
        """One request of a caller: None if it may go on. What is refused spends nothing.

        Of what goes on, a dry run included, `ended` must tell the end.
        """
        now = self._now()
        keys = (request.client, request.address, EVERYBODY, request.client)
        # Nearly all requests are for no tier and no route of their own, and save the call.
        rules = self._rules if request.tier is None and not request.routes else self._for(request)
        when, by = now, None
        for rule in rules:
            which, table = rule
            earliest = table.earliest(now, keys[which], request.cost)
            if earliest > when:
                when, by = earliest, rule
        if by is not None:
            denied = self._deny(now, request, when, by)
            if denied.dry_run and self.holds:
                self._held.setdefault(request, []).append(())
            return denied
        for which, table in rules:
            table.commit(now, keys[which], request.cost)
        if self.holds:
            flights = tuple(rule for rule in rules if isinstance(rule[1], ClientFlights))
            self._held.setdefault(request, []).append(flights)
        self.counters.requests += 1
        if not self._awake:
            self._awake = True
            self._somebody.set()
        return None

    def ended(self, status: int | None, request: InboundRequest | None = None) -> None:
        """A request that went on was answered with this HTTP status; None if it broke off.

        Where `holds` is true, the visit must be named: until then it counts as in flight.
        """
        self.counters.ended(status, Result.FAILURE if status is None else Result.SUCCESS)
        held = None if request is None else self._held.get(request)
        if request is None or held is None:
            return
        keys = (request.client, request.address, EVERYBODY, request.client)
        # Equal visits hold the same, but for those from before a change of the settings: in the end all is given back.
        for which, table in held.pop():
            table.release(keys[which], request.cost)
        if not held:
            del self._held[request]

    def unanswered(self, request: InboundRequest, *, granted: bool) -> None:
        """A request was granted, or denied as `overloaded`, on another thread: this loop did not answer in time."""
        if granted:
            self.passed_over += 1
            self.counters.requests += 1
            if self.holds:
                self._held.setdefault(request, []).append(())
        else:
            self.counters.denied[Reason.OVERLOADED] = self.counters.denied.get(Reason.OVERLOADED, 0) + 1

    def least(self, request: InboundRequest) -> Left | None:
        """The limit of which least is left: its name, for how many more requests, and what it is. None without limits."""
        now = self._now()
        keys = (request.client, request.address, EVERYBODY, request.client)
        left = [
            (self._names.get(table) or _NAMES[which], table.available(now, keys[which]), table.parameters)
            for which, table in self._for(request)
        ]
        return min(left, key=lambda one: one[1], default=None)

    def known(self) -> int:
        """How many callers have spent something that they have not got back yet, as far as that was looked at."""
        return max((len(table) for said, table in self._tables.items() if said.which == _CALLER), default=0)

    def ceilings(self) -> list[tuple[Limit, int]]:
        """The ceilings of the whole group, and how many requests each has left."""
        now = self._now()
        return [(table.parameters, table.available(now, EVERYBODY)) for which, table in self._rules if which == _TOTAL]

    def reconfigure(self, policy: InboundGroup, most: int) -> None:
        """Other limits from now on; of each bucket, everybody has as large a part left as before; what is used stays used.

        A limit that has changed goes on from the first of its kind that has changed or gone as well; a new one from nothing.
        """
        now = self._now()
        before, after = self._tables, _said(policy)
        changed = [said for said in before if said not in after]
        tables: dict[_Said, Table] = {}
        for said in after:
            table = before.get(said)
            heir_of = next((other for other in changed if _is_heir(said, other)), None)
            if table is None and heir_of is not None:
                changed.remove(heir_of)
                table = before[heir_of]
            tables[said] = build(said.limit, most) if table is None else change(now, table, said.limit, most)
        self._tables = tables
        self.policy = policy
        self._arrange()

    def _arrange(self) -> None:
        """Puts the tables where a visit finds them."""
        policy, tables = self.policy, self._tables.items()
        ceilings = tuple((said.which, table) for said, table in tables if said.which in (_ADDRESS, _TOTAL))
        callers: dict[str | None, tuple[_Rule, ...]] = {
            tier: tuple((said.which, table) for said, table in tables if said.which == _CALLER and said.of == tier)
            for tier in (None, *policy.tiers)
        }
        self._rules = callers[None] + ceilings
        self._tiers = {tier: callers[tier] + ceilings for tier in policy.tiers}
        self._routes = [tuple((said.which, table) for said, table in tables if said.of == route) for route in policy.routes]
        self._names = {table: said.of.name for said, table in tables if isinstance(said.of, InboundRoute)}
        self.holds = any(isinstance(table, ClientFlights) for _, table in tables) or bool(self._held)

    def _for(self, request: InboundRequest) -> tuple[_Rule, ...]:
        """The limits that a request must be within. For a tier that there is not, they are those of the group."""
        rules = self._rules if request.tier is None else self._tiers.get(request.tier, self._rules)
        for place in request.routes:
            # The settings may have changed since the route was found.
            if place < len(self._routes):
                rules += tuple(rule for rule in self._routes[place] if rule not in rules)
        return rules

    async def run(self) -> None:
        """Sweeps out those whose buckets are full again, table by table; sleeps while there is nobody, and ends when closed."""
        while not self._closed:
            await self._somebody.wait()
            while not self._closed and self._sweep():  # noqa: ASYNC110 - nobody tells when a bucket is full again
                await anyio.sleep(self._pause())
            self._awake = False
            self._somebody = anyio.Event()

    def close(self) -> None:
        """There is no such group any more. Whoever asks it all the same may go on."""
        self._closed = True
        self._tables = {}
        self._rules = ()
        self._tiers = {}
        self._routes = []
        self._somebody.set()

    def _sweep(self) -> bool:
        """Goes one table on; is anybody left?"""
        now = self._now()
        tables = [table for table in self._tables.values() if not isinstance(table, ClientFlights)]
        for table in tables:
            table.sweep(now)
        return any(len(table) for table in tables)

    def _pause(self) -> float:
        """A round takes about as long as an empty bucket takes to fill, from half a minute to an hour."""
        seconds = to_seconds(int(max(map(_whole_after, (said.limit for said in self._tables)), default=0)))
        return min(max(seconds, _SHORTEST_ROUND), _LONGEST_ROUND) / ClientBuckets.TABLES

    def _deny(self, now: Instant, request: InboundRequest, when: Instant, by: _Rule) -> InboundDenied:
        which, table = by
        limit = table.parameters
        match when:
            case units.NEVER:
                wait, reason = to_seconds(int(_whole_after(limit))), Reason.COST
            case units.AFTER_OUTCOME:
                wait, reason = _SOON, Reason.CONCURRENCY
            case _:
                wait, reason = to_seconds(when - now), Reason.RATE_LIMIT
        denied = InboundDenied(self.name, _NAMES[which], wait, limit, self.policy.dry_run, reason, self._names.get(table, ""))
        if denied.dry_run:
            self.passed_over += 1
            self.counters.requests += 1
        else:
            counts = self.counters.denied
            counts[reason] = counts.get(reason, 0) + 1
        self.denied_by[denied.limit] = self.denied_by.get(denied.limit, 0) + 1
        self.loudest.count(now, request.client)
        if self._announcer.listening:
            client = pseudonym(request.client)
            self._announcer(ClientDenied(self.name, client, denied.limit, denied.retry_after, denied.dry_run))
        return denied


def _whole_after(limit: Limit) -> float:
    """Microseconds after which all of a limit is there again, if nothing is spent meanwhile."""
    match limit:
        case TokenBucket():
            return limit.burst * limit.per / limit.amount
        case StrictWindow():
            return limit.per
        case InFlight():
            return 0
        case _:
            assert_never(limit)


def _said(policy: InboundGroup) -> list[_Said]:
    """What is to be counted by which key, for whom; a limit that is said twice holds once."""
    found = [
        *(_Said(_CALLER, None, limit) for limit in policy.limits),
        *(_Said(_CALLER, name, limit) for name, tier in policy.tiers.items() for limit in tier.limits),
        *(_Said(_ADDRESS, None, limit) for limit in policy.address_limits),
        *(_Said(_TOTAL, None, limit) for limit in policy.total_limits),
        *(_Said(_ROUTE, route, limit) for route in policy.routes for limit in route.limits),
    ]
    return list(dict.fromkeys(found))


def _is_heir(said: _Said, other: _Said) -> bool:
    """Does a limit go on from where the other stood?"""
    return said.which == other.which and said.of == other.of and type(said.limit) is type(other.limit)
