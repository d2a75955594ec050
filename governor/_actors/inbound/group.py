"""The actor of one inbound group: the only writer of what its clients have spent.

A request carries two keys: of its client, and of the address that it comes from. It must be within the limits of its client, or
those of the client's tier; within those of the routes that it matches; within the limits of its address, which apply however
many client keys are forged there; and within the limits of the group. All of them grant it, or nothing is spent. No request
waits: the decision is immediate.

At its bounds: a full table drops the clients that have spent least, and no client gains by it (`policies.clients.buckets`); of
the clients that are denied most often, a few are counted at a time (`most_denied`).
"""

from collections.abc import Callable
from operator import itemgetter
from typing import Final, NamedTuple, final

import anyio

from governor._actors.counters import Counters
from governor._actors.inbound.admitting import ALL_NAMES, MAX_UNCOUNTED, WHOLE_GROUP, Admitting, Rule
from governor._units import Instant, to_seconds
from governor.config import InboundGroup, InboundRoute
from governor.errors import Reason
from governor.instrumentation import Announcer
from governor.messages import AvailableQuota, InboundRequest
from governor.policies.clients.buckets import ClientBuckets, fewest
from governor.policies.clients.tables import build, change, sweeps
from governor.policies.contract import ClientTable, Limit

_CLIENT, _ADDRESS, _TOTAL, _ROUTE = range(len(ALL_NAMES))

#: Bounds of the seconds that sweeping all slices of the tables once takes.
_MIN_SWEEP_INTERVAL: Final = 30.0
_MAX_SWEEP_INTERVAL: Final = 3600.0


class _Entry(NamedTuple):
    """A limit as the settings have it."""

    #: What it counts by: an index of `ALL_NAMES`.
    by: int
    #: The tier, or the route, that it applies to; None for all clients of the group.
    part: str | InboundRoute | None
    limit: Limit


@final
class GroupActor(Admitting):
    """One inbound group. Everything belongs to the thread of the governor's loop."""

    __slots__ = ("_closed", "_start", "_sweeping", "_tables")

    def __init__(
        self,
        name: str,
        settings: InboundGroup,
        *,
        max_clients: int,
        now: Callable[[], Instant],
        announcer: Announcer,
        start: "Callable[[GroupActor], None]",
    ) -> None:
        super().__init__(name, settings, now, announcer)
        #: Starts a task that sweeps the group, with `sweep`.
        self._start = start
        self._sweeping = False
        self._tables: dict[_Entry, ClientTable] = {entry: build(entry.limit, max_clients) for entry in _entries(settings)}
        self._closed = False
        self._arrange()

    # Admission.

    def ended(self, status: int | None, request: InboundRequest | None = None) -> None:
        """A granted request was answered with this HTTP status, or broke off (None).

        Where `holds` is true, `request` must be given: until then the request is in flight.
        """
        self._uncounted.append(status)
        if len(self._uncounted) >= MAX_UNCOUNTED:
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
        found: tuple[int, Rule] | None
        if plain and self._buckets is not None:
            found = fewest(now, self._buckets, keys)
        else:
            left = [(table.available(now, keys[which]), (which, table)) for which, table in self._rules_of(request)]
            found = min(left, key=itemgetter(0), default=None)
        if found is None:
            return None
        requests, (which, table) = found
        return AvailableQuota(self._names.get(table) or ALL_NAMES[which], requests, table.parameters, which == _ADDRESS)

    # Statistics.

    @property
    def counters(self) -> Counters:
        """The counters, with all requests that have ended."""
        self._count_ends()
        return self._counters

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

    def reconfigure(self, settings: InboundGroup, max_clients: int) -> None:
        """Applies other limits. Each bucket keeps the share that it had left, and requests in a window stay counted.

        A limit that has changed continues from the first limit of its kind that has changed or gone; otherwise it starts anew.
        """
        now = self._now()
        before, after = self._tables, _entries(settings)
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
        self.settings = settings
        self._arrange()

    def _arrange(self) -> None:
        """Sorts the tables by the requests that they apply to."""
        settings, tables = self.settings, self._tables.items()
        common = tuple((entry.by, table) for entry, table in tables if entry.by in (_ADDRESS, _TOTAL))
        of_clients: dict[str | None, tuple[Rule, ...]] = {
            tier: tuple((entry.by, table) for entry, table in tables if entry.by == _CLIENT and entry.part == tier)
            for tier in (None, *settings.tiers)
        }
        self._rules = of_clients[None] + common
        self._tiers = {tier: of_clients[tier] + common for tier in settings.tiers}
        self._routes = [tuple((entry.by, table) for entry, table in tables if entry.part == route) for route in settings.routes]
        self._names = {table: entry.part.name for entry, table in tables if isinstance(entry.part, InboundRoute)}
        self.holds = any(table.needs_release for table in self._tables.values()) or bool(self._held)
        buckets = tuple((which, table) for which, table in self._rules if isinstance(table, ClientBuckets))
        self._buckets = buckets if len(buckets) == len(self._rules) and not self.holds else None
        self._unswept = bool(self._swept) and not self._sweeping

    # Sweeping.

    @property
    def _swept(self) -> list[ClientTable]:
        """The tables that are swept. The others are empty once requests have ended."""
        return [table for table in self._tables.values() if not table.needs_release]

    def _begin_to_sweep(self) -> None:
        self._unswept, self._sweeping = False, True
        self._start(self)

    async def sweep(self) -> None:
        """Drops clients that have their whole limit again, slice by slice. Ends when there are none, or the group is closed."""
        while self._sweep():  # noqa: ASYNC110 - no event announces that a bucket is full again
            await anyio.sleep(self._sweep_interval())
        self._sweeping, self._unswept = False, bool(self._swept)

    def close(self) -> None:
        """Ends the group. Requests that were on their way to it are granted."""
        self._closed = True
        self._tables = {}
        self._rules = self._buckets = ()
        self._tiers = {}
        self._routes = []
        self._unswept = False

    def _sweep(self) -> bool:
        """Sweeps the next slice of each table. False once all are empty."""
        now = self._now()
        tables = self._swept
        for table in tables:
            table.sweep(now)
        return any(len(table) for table in tables)

    def _sweep_interval(self) -> float:
        """Seconds from one slice to the next: all slices take about as long as the slowest limit takes to refill."""
        tables = self._tables.values()
        seconds = to_seconds(max((table.refill for table in tables), default=0))
        return min(max(seconds, _MIN_SWEEP_INTERVAL), _MAX_SWEEP_INTERVAL) / max(map(sweeps, tables), default=1)


def _entries(settings: InboundGroup) -> list[_Entry]:
    """The limits of a group; a limit that is written twice is one."""
    found = [
        *(_Entry(_CLIENT, None, limit) for limit in settings.limits),
        *(_Entry(_CLIENT, name, limit) for name, tier in settings.tiers.items() for limit in tier.limits),
        *(_Entry(_ADDRESS, None, limit) for limit in settings.address_limits),
        *(_Entry(_TOTAL, None, limit) for limit in settings.total_limits),
        *(
            _Entry(_ADDRESS if route.by == "address" else _ROUTE, route, one)
            for route in settings.routes
            for one in route.limits
        ),
    ]
    return list(dict.fromkeys(found))


def _continues(entry: _Entry, other: _Entry) -> bool:
    """Whether a limit can continue from the other."""
    return entry.by == other.by and entry.part == other.part and type(entry.limit) is type(other.limit)
