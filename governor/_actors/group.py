"""Who decides for one group of our own endpoints? Its actor: the only writer of what its callers have spent.

Everybody who calls is known by two keys: who they say they are, and the address that they come from. A request must be within
the limit of its caller, within the ceiling of its address, which holds however many callers somebody invents, and within the
ceiling of the group. All admit it, or nothing is spent. Nobody waits here: the answer is there at once.

At its bounds: a table of callers that is full drops those who have spent least, and nobody gains by it (`policies.callers`);
of those who are refused most often, a few are known at a time (`loudest`).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, final

import anyio

from governor._actors.counters import Counters
from governor._actors.loudest import Loudest
from governor._actors.pseudonyms import pseudonym
from governor._units import Instant, to_seconds
from governor.config import InboundGroup
from governor.errors import Reason
from governor.instrumentation import Announcer, VisitorRefused
from governor.messages import Turned, Visit
from governor.policies.callers import CallersPolicy
from governor.policies.contract import Result
from governor.policies.gcra import TokenBucket
from governor.policies.limits import Limit

#: The names of the limits, as they stand in header fields and in figures, in the order in which they are asked.
NAMES: Final = ("caller", "address", "total")
_CALLER, _ADDRESS, _TOTAL = range(3)

#: The one key of a ceiling that is everybody's.
EVERYBODY: Final = b"\0"
#: Seconds that a round through all tables takes at least, and at most.
_SHORTEST_ROUND: Final = 30.0
_LONGEST_ROUND: Final = 3600.0

#: A limit, and by which of the keys of a visit it counts.
_Rule = tuple[int, CallersPolicy]
#: A limit as one caller finds it: its name, how many more requests it admits now, and what it is.
Left = tuple[str, int, TokenBucket]


@final
class GroupActor:
    """The behaviour of one inbound group. Everything belongs to the thread of the governor's loop."""

    __slots__ = (
        "_announcer",
        "_awake",
        "_closed",
        "_now",
        "_rules",
        "_somebody",
        "counters",
        "loudest",
        "name",
        "passed_over",
        "policy",
        "refused_by",
    )

    def __init__(self, name: str, policy: InboundGroup, *, most: int, now: Callable[[], Instant], announcer: Announcer) -> None:
        self.name = name
        self.policy = policy
        self._now = now
        self._announcer = announcer
        self._rules: tuple[_Rule, ...] = tuple((which, CallersPolicy(bucket, most)) for which, bucket in _buckets(policy))
        #: Whether there is anybody to sweep out one day, and how the sweeper learns of it.
        self._awake = False
        self._closed = False
        self._somebody = anyio.Event()
        self.counters = Counters()
        #: Refusals by the name of the limit.
        self.refused_by = dict.fromkeys(NAMES, 0)
        #: How many were granted although a limit denied them, in a dry run, or although this loop did not answer in time.
        self.passed_over = 0
        self.loudest = Loudest()

    def visit(self, visit: Visit) -> Turned | None:
        """One request of a caller: None if it may go on. What is refused spends nothing."""
        now = self._now()
        keys = (visit.caller, visit.address, EVERYBODY)
        when, by = now, None
        for rule in self._rules:
            which, policy = rule
            earliest = policy.earliest(now, keys[which])
            if earliest > when:
                when, by = earliest, rule
        if by is not None:
            return self._turn_away(now, visit, when, by)
        for which, policy in self._rules:
            policy.commit(now, keys[which])
        self.counters.requests += 1
        if not self._awake:
            self._awake = True
            self._somebody.set()
        return None

    def ended(self, status: int | None) -> None:
        """A request that went on was answered with this HTTP status; None if it broke off."""
        self.counters.ended(status, Result.FAILURE if status is None else Result.SUCCESS)

    def unanswered(self, *, granted: bool) -> None:
        """A request was granted, or denied as `overloaded`, on another thread: this loop did not answer in time."""
        if granted:
            self.passed_over += 1
            self.counters.requests += 1
        else:
            self.counters.refused[Reason.OVERLOADED] = self.counters.refused.get(Reason.OVERLOADED, 0) + 1

    def least(self, visit: Visit) -> Left | None:
        """The limit of which least is left: its name, for how many more requests, and what it is. None without limits."""
        now = self._now()
        keys = (visit.caller, visit.address, EVERYBODY)
        left = [(NAMES[which], policy.available(now, keys[which]), policy.parameters) for which, policy in self._rules]
        return min(left, key=lambda one: one[1], default=None)

    def known(self) -> int:
        """How many callers have spent something that they have not got back yet, as far as that was looked at."""
        return max((len(policy) for which, policy in self._rules if which == _CALLER), default=0)

    def ceilings(self) -> list[tuple[TokenBucket, int]]:
        """The ceilings of the whole group, and how many requests each has left."""
        now = self._now()
        return [(policy.parameters, policy.available(now, EVERYBODY)) for which, policy in self._rules if which == _TOTAL]

    def reconfigure(self, policy: InboundGroup, most: int) -> None:
        """Other limits from now on; of each, everybody has as large a part left as before.

        A limit that has changed goes on from the first of its kind that has changed or gone as well; a new one from nothing.
        """
        now = self._now()
        before = {(which, table.parameters): table for which, table in self._rules}
        after = _buckets(policy)
        changed = [rule for rule in before if rule not in after]
        rules: list[_Rule] = []
        for which, bucket in after:
            table = before.get((which, bucket))
            heir_of = next((rule for rule in changed if rule[0] == which), None)
            if table is None and heir_of is not None:
                changed.remove(heir_of)
                table = before[heir_of]
            rules.append((which, CallersPolicy(bucket, most) if table is None else table.changed(now, bucket, most)))
        self._rules = tuple(rules)
        self.policy = policy

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
        self._rules = ()
        self._somebody.set()

    def _sweep(self) -> bool:
        """Goes one table on; is anybody left?"""
        now = self._now()
        for _, policy in self._rules:
            policy.sweep(now)
        return any(len(policy) for _, policy in self._rules)

    def _pause(self) -> float:
        """A round takes about as long as an empty bucket takes to fill, from half a minute to an hour."""
        limits = [policy.parameters for _, policy in self._rules]
        fills = [limit.burst * limit.per / limit.amount for limit in limits]
        seconds = to_seconds(int(max(fills, default=0)))
        return min(max(seconds, _SHORTEST_ROUND), _LONGEST_ROUND) / CallersPolicy.TABLES

    def _turn_away(self, now: Instant, visit: Visit, when: Instant, by: _Rule) -> Turned:
        which, policy = by
        turned = Turned(self.name, NAMES[which], to_seconds(when - now), policy.parameters, self.policy.dry_run)
        if turned.dry_run:
            self.passed_over += 1
            self.counters.requests += 1
        else:
            refused = self.counters.refused
            refused[Reason.RATE_LIMIT] = refused.get(Reason.RATE_LIMIT, 0) + 1
        self.refused_by[turned.limit] += 1
        self.loudest.count(now, visit.caller)
        if self._announcer.listening:
            caller = pseudonym(visit.caller)
            self._announcer(VisitorRefused(self.name, caller, turned.limit, turned.retry_after, turned.dry_run))
        return turned


def buckets(limits: Iterable[Limit]) -> Iterator[TokenBucket]:
    """Limits of a group. They are token buckets, which the configuration has seen to."""
    return (limit for limit in limits if isinstance(limit, TokenBucket))


def _buckets(policy: InboundGroup) -> list[tuple[int, TokenBucket]]:
    """What is to be counted by which key; a limit that is said twice holds once."""
    kinds = ((_CALLER, policy.limits), (_ADDRESS, policy.address_limits), (_TOTAL, policy.total_limits))
    return list(dict.fromkeys((which, bucket) for which, limits in kinds for bucket in buckets(limits)))
