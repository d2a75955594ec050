"""Admission of requests to one inbound group: what every inbound request costs.

Compiled where a compiler is; `admitting.pxd` has the fields. See docs/explanation/actor-design.md.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

from governor import instrumentation
from governor._actors.counters import Counters
from governor._actors.inbound.most_denied import MostDenied
from governor._units import AFTER_OUTCOME, NEVER, SECOND, Instant, to_seconds

# C: from governor.clock import system_clock
from governor.config import InboundGroup
from governor.errors import Reason
from governor.instrumentation import Announcer
from governor.messages import InboundDenied, InboundRequest
from governor.policies.clients.buckets import UNDECIDED, ClientBuckets, ClientVerdict, spend
from governor.policies.contract import ClientTable, Result
from governor.pseudonyms import pseudonym

#: What limits count by, as named in header fields and statistics, in the order in which they are asked.
NAMES: Final = ("client", "address", "total")
#: The same, with the limits of single routes, which count by client.
ALL_NAMES: Final = (*NAMES, "route")

#: The only key in the table of a limit on the whole group.
WHOLE_GROUP: Final = b"\0"

#: Ends of requests that are counted together.
MAX_UNCOUNTED: Final = 64
#: Seconds after which to try again when a request in flight must end first.
_RETRY_AFTER_OUTCOME: Final = 1.0

#: Nearly every denial is for this reason, and CPython 3.11 looks up a member of an enumeration as slowly as it makes a record.
_RATE_LIMIT: Final = Reason.RATE_LIMIT

#: What a limit counts by, as an index of its names, and its table.
Rule = tuple[int, ClientTable]


class Admitting:
    """Decides on the requests to a group. Belongs to the thread of the governor's loop."""

    __slots__ = (
        "_announcer",
        "_buckets",
        "_counters",
        "_held",
        "_names",
        "_now",
        "_routes",
        "_rules",
        "_tiers",
        "_uncounted",
        "_unswept",
        "denied_by",
        "end",
        "ends",
        "holds",
        "most_denied",
        "name",
        "settings",
        "unenforced",
    )

    def __init__(self, name: str, settings: InboundGroup, now: Callable[[], Instant], announcer: Announcer) -> None:
        self.name = name
        self.settings = settings
        self._now = now
        self._announcer = announcer
        #: The limits of a request without a tier; of a tier, in their place; and of a route, besides.
        self._rules: tuple[Rule, ...] = ()
        #: The first of these, if all are buckets, and the end of a request gives nothing back; else None.
        self._buckets: tuple[tuple[int, ClientBuckets], ...] | None = None
        self._tiers: dict[str, tuple[Rule, ...]] = {}
        self._routes: list[tuple[Rule, ...]] = []
        #: The names of the routes, by the tables of their limits.
        self._names: dict[ClientTable, str] = {}
        #: Requests in flight, with the limits that their end gives something back to. Equal requests share an entry.
        self._held: dict[InboundRequest, list[tuple[Rule, ...]]] = {}
        #: Whether the end of a request must name it.
        self.holds = False
        #: Whether the next granted request leaves something to sweep, and nothing sweeps yet.
        self._unswept = False
        self._counters = Counters()
        #: The statuses of requests that have ended, and are not counted yet.
        self._uncounted: list[int | None] = []
        #: Called with the status at the end of a request, where `holds` is false: without a call of Python.
        self.end: Callable[[int | None], None] = self._uncounted.append
        #: The same, as what is to be called at the end of a request.
        self.ends = (self.end,)
        #: Denials by the name of the limit.
        self.denied_by: dict[str, int] = dict.fromkeys(NAMES, 0)
        #: Requests granted beyond a limit in a dry run, or without a decision because the loop did not answer in time.
        self.unenforced = 0
        self.most_denied = MostDenied()

    def admit(self, request: InboundRequest) -> InboundDenied | None:
        """Decides on a request: None if it is granted. A denied request spends nothing.

        Its end must be reported for each granted request, and for each that is denied in a dry run.
        """
        if len(self._uncounted) >= MAX_UNCOUNTED:
            self._count_ends()
        clock, buckets = self._now, self._buckets
        now = clock()  # C: now = read_clock(clock, system_clock)
        keys = (request.client, request.address, WHOLE_GROUP, request.client)
        verdict: ClientVerdict | None = UNDECIDED
        # Most requests have neither a tier nor routes.
        if buckets is not None and request.tier is None and not request.routes:
            verdict = spend(now, buckets, keys, request.cost)
        if verdict is not None:
            if verdict is UNDECIDED:
                verdict = self._decide(now, request, keys)
            when, by = verdict
            if by is not None:
                denied = self._deny(now, request, when, by)
                if denied.dry_run and self.holds:
                    self._held.setdefault(request, []).append(())
                return denied
        self._counters.requests += 1
        if self._unswept:
            self._begin_to_sweep()
        return None

    def _begin_to_sweep(self) -> None:
        """Called where `_unswept` is true."""

    def _decide(self, now: Instant, request: InboundRequest, keys: tuple[bytes, ...]) -> tuple[Instant, Rule | None]:
        """When the limits would grant a request, and which of them says so. Without one it is granted, and spent."""
        when, by, rules = now, None, self._rules_of(request)
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

    def _rules_of(self, request: InboundRequest) -> tuple[Rule, ...]:
        """The limits of a request. A tier that is not configured has the limits of the group."""
        rules = self._rules if request.tier is None else self._tiers.get(request.tier, self._rules)
        for route in request.routes:
            # The settings may have changed since the route was matched.
            if route < len(self._routes):
                rules += tuple(rule for rule in self._routes[route] if rule not in rules)
        return rules

    def _deny(self, now: Instant, request: InboundRequest, when: Instant, by: Rule) -> InboundDenied:
        which, table = by
        limit = ALL_NAMES[which]
        if when == NEVER:
            retry_after, reason = to_seconds(table.refill), Reason.COST
        elif when == AFTER_OUTCOME:
            retry_after, reason = _RETRY_AFTER_OUTCOME, Reason.CONCURRENCY
        else:
            retry_after, reason = (when - now) / SECOND, _RATE_LIMIT
        name, dry_run = self._names.get(table, ""), self.settings.dry_run
        denied = InboundDenied(self.name, limit, retry_after, table.parameters, dry_run, reason, name)
        if dry_run:
            self.unenforced += 1
            self._counters.requests += 1
        else:
            counts = self._counters.denied or self._counters.some_denied()
            counts[reason] = counts.get(reason, 0) + 1
        self.denied_by[limit] = self.denied_by.get(limit, 0) + 1
        self.most_denied.count(now, request.client)
        if self._announcer.listening:
            self._announcer(instrumentation.ClientDenied(self.name, pseudonym(request.client), limit, retry_after, dry_run))
        return denied

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
