"""The actor of one inbound group: the only writer of what its clients have spent.

A request carries two keys: of its client, and of the address that it comes from. It must be within the limits of its client, or
those of the client's tier; within those of the routes that it matches; within the limits of its address, which apply however
many client keys are forged there; and within the limits of the group. All of them grant it, or nothing is spent. No request
waits: the decision is immediate.

At its bounds: a full table drops the clients that have spent least, and no client gains by it (`policies.client_buckets`); of
the clients that are denied most often, a few are counted at a time (`most_denied`).
"""

from collections import Counter
from collections.abc import Callable
from operator import itemgetter
from typing import Final, NamedTuple, final

import anyio

from governor import instrumentation
from governor._actors.counters import Counters
from governor._actors.most_denied import MostDenied
from governor._units import AFTER_OUTCOME, NEVER, SECOND, Instant, to_seconds
from governor.config import InboundGroup, InboundRoute
from governor.errors import Reason
from governor.instrumentation import Announcer
from governor.messages import AvailableQuota, InboundDenied, InboundRequest
from governor.policies.client_buckets import ClientBuckets, fewest, spend
from governor.policies.client_tables import build, change, sweeps
from governor.policies.contract import ClientTable, Limit, Result
from governor.pseudonyms import pseudonym

#: What limits count by, as named in header fields and statistics, in the order in which they are asked.
NAMES: Final = ("client", "address", "total")
#: The same, with the limits of single routes, which count by client.
_NAMES: Final = (*NAMES, "route")
_CLIENT, _ADDRESS, _TOTAL, _ROUTE = range(4)

#: The only key in the table of a limit on the whole group.
WHOLE_GROUP: Final = b"\0"
#: Bounds of the seconds that sweeping all slices of the tables once takes.
_MIN_SWEEP_INTERVAL: Final = 30.0
_MAX_SWEEP_INTERVAL: Final = 3600.0

#: Ends of requests that are counted together.
_MAX_UNCOUNTED: Final = 64
#: Seconds after which to try again when a request in flight must end first.
_RETRY_AFTER_OUTCOME: Final = 1.0


class _Entry(NamedTuple):
    """A limit as the settings have it."""

    #: What it counts by: an index of `_NAMES`.
    by: int
    #: The tier, or the route, that it applies to; None for all clients of the group.
    part: str | InboundRoute | None
    limit: Limit


#: What a limit counts by, and its table.
_Rule = tuple[int, ClientTable]


@final
class GroupActor:
    """One inbound group. Everything belongs to the thread of the governor's loop."""

    __slots__ = (
        "_announcer",
        "_buckets",
        "_closed",
        "_counters",
        "_held",
        "_names",
        "_now",
        "_routes",
        "_rules",
        "_spent",
        "_sweeping",
        "_tables",
        "_tiers",
        "_uncounted",
        "denied_by",
        "end",
        "holds",
        "most_denied",
        "name",
        "policy",
        "unenforced",
    )

    def __init__(
        self, name: str, policy: InboundGroup, *, max_clients: int, now: Callable[[], Instant], announcer: Announcer
    ) -> None:
        self.name = name
        self.policy = policy
        self._now = now
        self._announcer = announcer
        self._tables: dict[_Entry, ClientTable] = {entry: build(entry.limit, max_clients) for entry in _entries(policy)}
        #: The limits of a request without a tier; of a tier, in their place; and of a route, besides.
        self._rules: tuple[_Rule, ...] = ()
        #: The first of these, if all are buckets, and the end of a request gives nothing back; else None.
        self._buckets: tuple[tuple[int, ClientBuckets], ...] | None = None
        self._tiers: dict[str, tuple[_Rule, ...]] = {}
        self._routes: list[tuple[_Rule, ...]] = []
        #: The names of the routes, by the tables of their limits.
        self._names: dict[ClientTable, str] = {}
        #: Requests in flight, with the limits that their end gives something back to. Equal requests share an entry.
        self._held: dict[InboundRequest, list[tuple[_Rule, ...]]] = {}
        #: Whether `ended` must name the request.
        self.holds = False
        self._arrange()
        self._closed = False
        #: Set when a client has spent something, so that there is something to sweep.
        self._spent = anyio.Event()
        self._sweeping = False
        self._counters = Counters()
        #: The statuses of requests that have ended, and are not counted yet.
        self._uncounted: list[int | None] = []
        #: The same as `ended`, where `holds` is false, without a call of Python for each request.
        self.end: Callable[[int | None], None] = self._uncounted.append
        #: Denials by the name of the limit.
        self.denied_by: dict[str, int] = dict.fromkeys(NAMES, 0)
        #: Requests granted beyond a limit in a dry run, or without a decision because the loop did not answer in time.
        self.unenforced = 0
        self.most_denied = MostDenied()

    # Admission.

    def admit(self, request: InboundRequest) -> InboundDenied | None:
        """Decides on a request: None if it is granted. A denied request spends nothing.

        `ended` must be called for each granted request, and for each that is denied in a dry run.
        """
        if len(self._uncounted) >= _MAX_UNCOUNTED:
            self._count_ends()
        now = self._now()
        keys = (request.client, request.address, WHOLE_GROUP, request.client)
        # Most requests have neither a tier nor routes, and save calls.
        if request.tier is None and not request.routes:
            buckets = self._buckets
            decided = None if buckets is None else spend(now, buckets, keys, request.cost)
            when, by = decided or self._decide(now, request, keys, self._rules)
        else:
            when, by = self._decide(now, request, keys, self._rules_of(request))
        if by is not None:
            denied = self._deny(now, request, when, by)
            if denied.dry_run and self.holds:
                self._held.setdefault(request, []).append(())
            return denied
        self._counters.requests += 1
        if not self._sweeping:
            self._sweeping = True
            self._spent.set()
        return None

    def _decide(
        self, now: Instant, request: InboundRequest, keys: tuple[bytes, ...], rules: tuple[_Rule, ...]
    ) -> tuple[Instant, _Rule | None]:
        """When the limits would grant a request, and which of them says so. Without one it is granted, and spent."""
        when, by = now, None
        for rule in rules:
            which, table = rule
            earliest = table.earliest(now, keys[which], request.cost)
            if earliest > when:
                when, by = earliest, rule
        if by is None:
            for which, table in rules:
                table.commit(now, keys[which], request.cost)
            if self.holds:
                self._held.setdefault(request, []).append(tuple(rule for rule in rules if rule[1].needs_release))
        return when, by

    def ended(self, status: int | None, request: InboundRequest | None = None) -> None:
        """A granted request was answered with this HTTP status, or broke off (None).

        Where `holds` is true, `request` must be given: until then the request is in flight.
        """
        self._uncounted.append(status)
        if len(self._uncounted) >= _MAX_UNCOUNTED:
            self._count_ends()
        held = None if request is None else self._held.get(request)
        if request is None or held is None:
            return
        keys = (request.client, request.address, WHOLE_GROUP, request.client)
        # Equal requests hold the same, unless the settings changed between them: when all have ended, all is given back.
        for which, table in held.pop():
            table.release(keys[which], request.cost)
        if not held:
            del self._held[request]

    def readmit(self, request: InboundRequest) -> None:
        """Takes the places of a request that another governor has granted, whatever the limits: it is in flight."""
        now = self._now()
        keys = (request.client, request.address, WHOLE_GROUP, request.client)
        rules = tuple(rule for rule in self._rules_of(request) if rule[1].needs_release)
        for which, table in rules:
            table.commit(now, keys[which], request.cost)
        self._held.setdefault(request, []).append(rules)

    def use_up(self, request: InboundRequest, at: Instant) -> None:
        """Counts all that the limits of a request had left at `at` as used then. Limits in flight stay as they are.

        Any number of times, before each admission: what was counted is seen, until the limits have refilled.
        """
        now = self._now()
        keys = (request.client, request.address, WHOLE_GROUP, request.client)
        for which, table in self._rules_of(request):
            if now < at + table.refill and (left := table.available(at, keys[which])):
                table.commit(at, keys[which], left)

    def unanswered(self, request: InboundRequest, *, granted: bool) -> None:
        """Counts a request that another thread granted, or denied as `overloaded`, as this loop did not answer in time."""
        if granted:
            self.unenforced += 1
            self._counters.requests += 1
            if self.holds:
                self._held.setdefault(request, []).append(())
        else:
            counts = self._counters.denied or self._counters.some_denied()
            counts[Reason.OVERLOADED] = counts.get(Reason.OVERLOADED, 0) + 1

    def least(self, request: InboundRequest) -> AvailableQuota | None:
        """What is left of the limit of which least is left for this request. None without limits."""
        now = self._now()
        keys = (request.client, request.address, WHOLE_GROUP, request.client)
        # As in `admit`. Every answer may ask this: one record is made for all limits, and none is compared by a call.
        plain = request.tier is None and not request.routes
        found: tuple[int, _Rule] | None
        if plain and self._buckets is not None:
            found = fewest(now, self._buckets, keys)
        else:
            left = [(table.available(now, keys[which]), (which, table)) for which, table in self._rules_of(request)]
            found = min(left, key=itemgetter(0), default=None)
        if found is None:
            return None
        requests, (which, table) = found
        return AvailableQuota(self._names.get(table) or _NAMES[which], requests, table.parameters)

    def _rules_of(self, request: InboundRequest) -> tuple[_Rule, ...]:
        """The limits of a request. A tier that is not configured has the limits of the group."""
        rules = self._rules if request.tier is None else self._tiers.get(request.tier, self._rules)
        for route in request.routes:
            # The settings may have changed since the route was matched.
            if route < len(self._routes):
                rules += tuple(rule for rule in self._routes[route] if rule not in rules)
        return rules

    def _deny(self, now: Instant, request: InboundRequest, when: Instant, by: _Rule) -> InboundDenied:
        which, table = by
        if when == NEVER:
            retry_after, reason = to_seconds(table.refill), Reason.COST
        elif when == AFTER_OUTCOME:
            retry_after, reason = _RETRY_AFTER_OUTCOME, Reason.CONCURRENCY
        else:
            retry_after, reason = (when - now) / SECOND, Reason.RATE_LIMIT
        name, dry_run = self._names.get(table, ""), self.policy.dry_run
        denied = InboundDenied(self.name, _NAMES[which], retry_after, table.parameters, dry_run, reason, name)
        if dry_run:
            self.unenforced += 1
            self._counters.requests += 1
        else:
            counts = self._counters.denied or self._counters.some_denied()
            counts[reason] = counts.get(reason, 0) + 1
        self.denied_by[denied.limit] = self.denied_by.get(denied.limit, 0) + 1
        self.most_denied.count(now, request.client)
        if self._announcer.listening:
            self._announcer(
                instrumentation.ClientDenied(self.name, pseudonym(request.client), denied.limit, retry_after, dry_run)
            )
        return denied

    # Statistics.

    @property
    def counters(self) -> Counters:
        """The counters, with all requests that have ended."""
        self._count_ends()
        return self._counters

    def _count_ends(self) -> None:
        try:
            statuses = Counter(self._uncounted)
        except TypeError:  # What cannot be hashed is no status.
            statuses = Counter(status if isinstance(status, int) else None for status in self._uncounted)
        self._uncounted.clear()
        for status, times in statuses.items():
            # What is no status is of an application that breaks the contract of ASGI.
            known = isinstance(status, int)
            self._counters.ended(status if known else None, Result.SUCCESS if known else Result.FAILURE, times)

    def clients(self) -> int:
        """The number of clients that have spent something and, when last looked at, had not got it back."""
        return max((len(table) for entry, table in self._tables.items() if entry.by == _CLIENT), default=0)

    @property
    def rests(self) -> bool:
        """Whether it has nothing to remember: no client has spent anything, and no request is in flight."""
        return not self._held and not any(len(table) for table in self._tables.values())

    def totals(self) -> list[tuple[Limit, int]]:
        """The limits of the whole group, and how many requests each has left."""
        now = self._now()
        return [(table.parameters, table.available(now, WHOLE_GROUP)) for which, table in self._rules if which == _TOTAL]

    # Settings.

    def reconfigure(self, policy: InboundGroup, max_clients: int) -> None:
        """Applies other limits. Each bucket keeps the share that it had left, and requests in a window stay counted.

        A limit that has changed continues from the first limit of its kind that has changed or gone; otherwise it starts anew.
        """
        now = self._now()
        before, after = self._tables, _entries(policy)
        changed = [entry for entry in before if entry not in after]
        tables: dict[_Entry, ClientTable] = {}
        for entry in after:
            table = before.get(entry)
            ancestor = next((other for other in changed if _continues(entry, other)), None)
            if table is None and ancestor is not None:
                changed.remove(ancestor)
                table = before[ancestor]
            tables[entry] = build(entry.limit, max_clients) if table is None else change(now, table, entry.limit, max_clients)
        self._tables = tables
        self.policy = policy
        self._arrange()

    def _arrange(self) -> None:
        """Sorts the tables by the requests that they apply to."""
        policy, tables = self.policy, self._tables.items()
        common = tuple((entry.by, table) for entry, table in tables if entry.by in (_ADDRESS, _TOTAL))
        of_clients: dict[str | None, tuple[_Rule, ...]] = {
            tier: tuple((entry.by, table) for entry, table in tables if entry.by == _CLIENT and entry.part == tier)
            for tier in (None, *policy.tiers)
        }
        self._rules = of_clients[None] + common
        self._tiers = {tier: of_clients[tier] + common for tier in policy.tiers}
        self._routes = [tuple((entry.by, table) for entry, table in tables if entry.part == route) for route in policy.routes]
        self._names = {table: entry.part.name for entry, table in tables if isinstance(entry.part, InboundRoute)}
        self.holds = any(table.needs_release for table in self._tables.values()) or bool(self._held)
        buckets = tuple((which, table) for which, table in self._rules if isinstance(table, ClientBuckets))
        self._buckets = buckets if len(buckets) == len(self._rules) and not self.holds else None

    # Sweeping.

    async def run(self) -> None:
        """Drops clients that have their whole limit again, slice by slice. Sleeps while there are none; ends once closed."""
        while not self._closed:
            await self._spent.wait()
            while not self._closed and self._sweep():  # noqa: ASYNC110 - no event announces that a bucket is full again
                await anyio.sleep(self._sweep_interval())
            self._sweeping = False
            self._spent = anyio.Event()

    def close(self) -> None:
        """Ends the group. Requests that were on their way to it are granted."""
        self._closed = True
        self._tables = {}
        self._rules = self._buckets = ()
        self._tiers = {}
        self._routes = []
        self._spent.set()

    def _sweep(self) -> bool:
        """Sweeps the next slice of each table. False once all are empty."""
        now = self._now()
        tables = [table for table in self._tables.values() if not table.needs_release]
        for table in tables:
            table.sweep(now)
        return any(len(table) for table in tables)

    def _sweep_interval(self) -> float:
        """Seconds from one slice to the next: all slices take about as long as the slowest limit takes to refill."""
        tables = self._tables.values()
        seconds = to_seconds(max((table.refill for table in tables), default=0))
        return min(max(seconds, _MIN_SWEEP_INTERVAL), _MAX_SWEEP_INTERVAL) / max(map(sweeps, tables), default=1)


def _entries(policy: InboundGroup) -> list[_Entry]:
    """The limits of a group; a limit that is written twice is one."""
    found = [
        *(_Entry(_CLIENT, None, limit) for limit in policy.limits),
        *(_Entry(_CLIENT, name, limit) for name, tier in policy.tiers.items() for limit in tier.limits),
        *(_Entry(_ADDRESS, None, limit) for limit in policy.address_limits),
        *(_Entry(_TOTAL, None, limit) for limit in policy.total_limits),
        *(_Entry(_ROUTE, route, limit) for route in policy.routes for limit in route.limits),
    ]
    return list(dict.fromkeys(found))


def _continues(entry: _Entry, other: _Entry) -> bool:
    """Whether a limit can continue from the other."""
    return entry.by == other.by and entry.part == other.part and type(entry.limit) is type(other.limit)
