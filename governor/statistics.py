"""Records of what a governor has done and how it stands: counters, limits, breakers, scopes and groups.

All records are frozen snapshots. `governor.daemon` sends the same records as JSON, under the wire names given with
`rename`. Points in time are seconds since 1970 (UTC), spans are seconds.

The garbage collector does not track the records that exist once per scope: with many scopes it would scan them again and again.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Annotated, Final, TypeVar, final

import msgspec
from msgspec import Meta

from governor.errors import Reason
from governor.policies.breakers.states import BreakerStatus as BreakerStatus
from governor.policies.degraded import Cause as Cause

K = TypeVar("K")

#: A point in time.
Moment = Annotated[float, Meta(description="Seconds since 1970.")]


_COUNTERS: Final = {
    "requests": "total_requests",
    "answered_2xx": "total_2xx",
    "answered_4xx": "total_4xx",
    "answered_5xx": "total_5xx",
    "answered_429": "total_429",
    "retries": "total_retries",
    "openings": "total_circuit_open",
}


class CounterRecord(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename=_COUNTERS):
    """Counters of a scope or an inbound group since the start of the governor, or sums of them.

    `requests` counts permits granted; for a group, requests admitted. `retries` is the part of them that went to second and
    later attempts. A permit whose outcome is known is in exactly one of `answered_2xx`, `answered_4xx`, `answered_5xx`,
    `failures`, `neutral` and `others`. The rest of `requests` is still in progress.
    """

    requests: int = 0
    answered_2xx: int = 0
    answered_4xx: int = 0
    answered_5xx: int = 0
    #: The part of `answered_4xx` with status 429.
    answered_429: int = 0
    #: Errors in place of an answer, or of the rest of an answer.
    failures: int = 0
    #: Permits returned unused, and outcomes that say nothing about the provider: cancelled, forgotten.
    neutral: int = 0
    #: Answers 1xx and 3xx, and successes without a status.
    others: int = 0
    retries: int = 0
    #: How often the circuit breaker opened. Always 0 for a group.
    openings: int = 0
    #: Denials by reason.
    denied: Mapping[Reason, int] = {}
    #: Amounts by unit that calls used beyond the `max_debt` of their scope. No limit was charged with them.
    dropped: Mapping[str, int] = {}

    def __add__(self, other: "CounterRecord") -> "CounterRecord":
        return self._combined(other, 1)

    def __sub__(self, other: "CounterRecord") -> "CounterRecord":
        """The rest of a sum after a part of it is removed."""
        return self._combined(other, -1)

    def _combined(self, other: "CounterRecord", sign: int) -> "CounterRecord":
        counts = {name: getattr(self, name) + sign * getattr(other, name) for name in COUNTS}
        return CounterRecord(
            **counts, denied=_sums(self.denied, other.denied, sign), dropped=_sums(self.dropped, other.dropped, sign)
        )

    @property
    def under_way(self) -> int:
        """The number of permits whose outcome is not known yet."""
        ended = self.answered_2xx + self.answered_4xx + self.answered_5xx + self.failures + self.neutral + self.others
        return self.requests - ended


@final
class CounterSum:
    """A sum of many records, to which some are added in a twentieth of the time that `+` takes."""

    __slots__ = ("_counts", "_denied", "_dropped")

    def __init__(self, first: CounterRecord) -> None:
        self._counts: Sequence[int] = _counts_of(first)
        self._denied = dict(first.denied)
        self._dropped = dict(first.dropped)

    def add(self, records: Sequence[CounterRecord]) -> None:
        """Adds some records, field by field."""
        self._counts = [*map(sum, zip(self._counts, *map(_counts_of, records), strict=True))]
        for record in records:
            if record.denied:
                for reason, count in record.denied.items():
                    self._denied[reason] = self._denied.get(reason, 0) + count
            if record.dropped:
                for unit, amount in record.dropped.items():
                    self._dropped[unit] = self._dropped.get(unit, 0) + amount

    def record(self) -> CounterRecord:
        """The sum so far."""
        return CounterRecord(**dict(zip(COUNTS, self._counts, strict=True)), denied=self._denied, dropped=self._dropped)


#: The plain counters of a `CounterRecord`, without those that are counted by reason or unit.
COUNTS: Final = tuple(name for name in CounterRecord.__struct_fields__ if name not in ("denied", "dropped"))


_counts_of: Final[Callable[[CounterRecord], Sequence[int]]] = attrgetter(*COUNTS)


def _sums(one: Mapping[K, int], other: Mapping[K, int], sign: int) -> Mapping[K, int]:
    sums = {key: one.get(key, 0) + sign * other.get(key, 0) for key in {**one, **other}}
    return {key: count for key, count in sums.items() if count}


class LimitStatistics(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename={"available": "available_tokens"}):
    """One limit. `limit` is its text in the policy file; amounts are in `unit`.

    `available` is what is left now, at most `capacity`. `refill_rate` is per second; 0.0 means that only outcomes return
    capacity.
    """

    limit: str
    unit: str
    available: int
    capacity: int
    refill_rate: float


class FailureStatistics(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The latest failure of a scope: the HTTP `status`, or the class name of the `error` that took its place."""

    at: Moment
    status: int | None = None
    error: str | None = None


_BREAKER: Final = {
    "status": "state",
    "failures": "failure_count",
    "successes": "success_count",
    "probes": "half_open_calls",
    "last_failure_at": "last_failure_time",
}


class BreakerStatistics(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename=_BREAKER):
    """A circuit breaker. `probes_in` is the rest of its open time, after which probes may go out.

    `failures` counts failures in a row while closed, `successes` successful probes while half-open, and `probes` the probes
    that have not reported yet. `last_failure_at` is None before the first failure. After closing, `ramp_up` is the number
    of calls that may wait for an answer at once, and None once that is no longer limited. `forced` says that an operator has
    set the state.
    """

    status: BreakerStatus
    failures: int = 0
    successes: int = 0
    probes: int = 0
    probes_in: float = 0.0
    last_failure_at: Moment | None = None
    ramp_up: int | None = None
    forced: bool = False


class DenialStatistics(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The answer that a call for one request would get now. `retry_after` None means that waiting cannot help."""

    reason: Reason
    retry_after: float | None


class LoopStatistics(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The loops of a scope that are stopped: how many, 100 at most, and the pseudonyms of their caller labels, 10 at most.

    The first of them is tried again after `retry_after` seconds.
    """

    stopped: int
    retry_after: float
    labels: tuple[str, ...] = ()


_SCOPE: Final = {"counters": "metrics", "scarcest": "rate_limit", "breaker": "circuit_breaker"}


class ScopeStatistics(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="direction", tag="outbound", rename=_SCOPE
):
    """One outbound scope.

    `waiting` is the number of queued calls, `leased` the number of permits granted ahead and not used yet; the limits still
    show leased permits as `available`. `denial` is None while one more request would be granted.
    """

    counters: CounterRecord
    limits: tuple[LimitStatistics, ...] = ()
    #: The entry of `limits` with the smallest share left. None without limits.
    scarcest: LimitStatistics | None = None
    breaker: BreakerStatistics
    waiting: int = 0
    leased: int = 0
    denial: DenialStatistics | None = None
    last_failure: FailureStatistics | None = None
    #: Units that calls have named and no limit counts: they have no effect.
    unknown_units: tuple[str, ...] = ()
    #: Units that a limit counts and none of the first 100 permits has named: that limit has no effect.
    uncharged_units: tuple[str, ...] = ()
    #: The calls that are denied as loops. None without any.
    loops: LoopStatistics | None = None


class ClientStatistics(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A client of our own API, by pseudonym, and about how often it was denied recently: the count is halved every minute."""

    client: str
    denied: int


_GROUP: Final = {"counters": "metrics", "scarcest": "rate_limit"}


class GroupStatistics(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="direction", tag="inbound", rename=_GROUP):
    """One inbound group. `counters.requests` counts the requests that were admitted.

    `limits` are those of one client, at their full capacity; `totals` are the limits of the whole group as they stand.
    """

    counters: CounterRecord
    limits: tuple[LimitStatistics, ...] = ()
    #: The entry of `limits` with the smallest share left. None without limits.
    scarcest: LimitStatistics | None = None
    totals: tuple[LimitStatistics, ...] = ()
    #: Denials by the name of the limit. A dry run counts here too.
    denied_by: Mapping[str, int] = {}
    #: Requests admitted without enforcement: denied in a dry run, or admitted because the governor did not answer in time.
    unenforced: int = 0
    dry_run: bool = False
    #: The number of clients that have spent something recently.
    clients: int = 0
    #: The clients that are denied most often, the first most of all.
    most_denied: tuple[ClientStatistics, ...] = ()


class BudgetUse(msgspec.Struct, frozen=True, kw_only=True):
    """What the calls with one label have used of one amount of a budget in the last `per` seconds, and what is left of it."""

    used: float
    left: float
    per: float


class BudgetStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A budget, and the labels and patterns that it `covers`.

    `labels` maps each label to its uses by unit, the largest share first, 20 labels at most. The empty label stands for all
    labels together (`each = false`), or for those that share one account because there are too many of them. `others` is the
    number of further labels that have used something.
    """

    covers: tuple[str, ...] = ()
    each: bool = True
    labels: Mapping[str, Mapping[str, BudgetUse]] = {}
    others: int = 0


class MemberStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A process that shares the limits of this governor over its socket.

    `requests` is how many permits it has used since it connected, `leased` how many it has been granted ahead, `held` how many
    of its calls hold a place of a limit, and `waiting` how many wait for a permit. The rate is that of the last seconds.
    `admitted` is how many requests to its own API it was granted since then, and `in_flight` how many of them hold a place.
    """

    pid: int
    name: str = ""
    requests: int = 0
    requests_per_second: float = 0.0
    leased: int = 0
    held: int = 0
    waiting: int = 0
    admitted: int = 0
    in_flight: int = 0


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """A whole governor at the moment `now`.

    `counters` sums over all outbound scopes that ever existed, `inbound` over all inbound groups. `requests_per_minute` is
    the global cap, None without one. While degraded mode is on, `degraded_for` is the rest of its cooldown (else 0.0),
    `degraded_cause` what began it, and `degraded_providers` the providers behind that, the worst first, 10 at most.
    """

    now: Moment = 0.0
    #: When the governor was started; None before.
    started_at: Moment | None = None
    counters: CounterRecord = CounterRecord()
    inbound: CounterRecord = CounterRecord()
    requests_last_minute: int = 0
    requests_per_minute: int | None = None
    degraded_for: float = 0.0
    degraded_spells: int = 0
    degraded_cause: Cause | None = None
    degraded_providers: tuple[str, ...] = ()
    scopes: Mapping[str, ScopeStatistics] = {}
    #: Budgets of caller labels, by name.
    budgets: Mapping[str, BudgetStatistics] = {}
    #: Limits over all scopes of a provider, and of a key, by name: `openai`, `openai/gpt-5`. Only of those that have any, which
    #: may be one of calls at work that denials have shown (`learned in flight`).
    provider_limits: Mapping[str, tuple[LimitStatistics, ...]] = {}
    #: Scopes that made room for others. They continue from a record when they are used again, and are not among `scopes`.
    set_aside: int = 0
    groups: Mapping[str, GroupStatistics] = {}
    #: The processes that share the limits over the socket of the governor.
    members: tuple[MemberStatistics, ...] = ()
    #: Events that a hook missed because its queue was full.
    events_dropped: int = 0
    #: Calls of hooks that failed, and lines that the log could not write.
    hooks_failed: int = 0


def scarcest(limits: tuple[LimitStatistics, ...]) -> LimitStatistics | None:
    """The limit with the smallest share left; None without limits."""
    if len(limits) == 1:
        return limits[0]
    return min(limits, key=lambda limit: limit.available / limit.capacity, default=None)
