"""How do things stand? Frozen records for people and programs that watch; nothing in them is live."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal

import msgspec

from governor._actors.actor import ScopeActor
from governor._actors.counters import CounterRecord
from governor._actors.group import GroupActor
from governor._units import Instant, to_seconds
from governor.config import describe
from governor.messages import Denied
from governor.policies.contract import REQUESTS, Limit, LimitPolicy
from governor.pseudonyms import pseudonym


class LimitStatistics(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One limit: `available` units now, of at most `capacity`; `refill_rate` per second, 0.0 if only outcomes give back.

    `limit` is its text in the policy file.
    """

    limit: str
    unit: str
    available: int
    capacity: int
    refill_rate: float


class BreakerStatistics(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A circuit breaker: `status` is closed, open or half_open; `probes_in` is what is left of the cooling, in seconds.

    `probes` is how many probes the half-open breaker has let through and not got back, `last_failure_ago` how many seconds the
    latest failure lies back, or None. `ramp_up` is how many calls may be without an answer at once after it has closed, or
    None once that is no longer limited.
    """

    status: str
    failures: int
    successes: int
    openings: int
    probes_in: float
    probes: int
    last_failure_ago: float | None
    ramp_up: int | None = None


class DenialStatistics(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What somebody who asked for one request at that moment would be told; `retry_after` None: waiting cannot help."""

    reason: str
    retry_after: float | None


class ScopeStatistics(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One scope, with the number of callers `waiting` in its line, and of permits `leased`: granted ahead and not used yet.

    What is leased is part of what its limit has `available`. `denial` is None while one more request would be granted.
    Amounts of `unknown_units` have no effect, because no limit counts them; `uncharged_units` are those that a limit counts and
    none of the first 100 permits has named.
    """

    counters: CounterRecord
    limits: tuple[LimitStatistics, ...]
    breaker: BreakerStatistics
    waiting: int
    leased: int
    denial: DenialStatistics | None
    unknown_units: tuple[str, ...] = ()
    uncharged_units: tuple[str, ...] = ()


class ClientStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A caller of our own API, by pseudonym, and about how often it was refused lately: counts are halved every minute."""

    client: str
    denied: int


class GroupStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """An inbound group. `counters.requests` counts those that went on, `denied_by` denials by the name of the limit.

    `unenforced` says how many went on in a dry run although a limit denied them, or because the governor's loop did not answer
    in time; in a dry run `denied_by` counts as well. `clients` is how many have spent something lately; `most_denied` are those
    who are denied most often, the most denied first. `limits` are those of one caller, with what a caller who was quiet has
    available; `totals` are the ceilings of the group.
    """

    counters: CounterRecord
    denied_by: Mapping[str, int]
    unenforced: int
    dry_run: bool
    clients: int
    most_denied: tuple[ClientStatistics, ...]
    limits: tuple[LimitStatistics, ...]
    totals: tuple[LimitStatistics, ...]


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """The whole governor: `counters` are true sums over all scopes there ever were, `inbound` over all inbound groups.

    `degraded_for` is what is left of the cooldown in seconds, 0.0 when traffic is not paused. While it is, `degraded_cause`
    says whether `failures` in a row or the `cap` began the pause, and `degraded_providers` which providers are behind that: the
    worst first, 10 at most.
    """

    counters: CounterRecord
    inbound: CounterRecord
    requests_last_minute: int
    degraded_for: float
    degraded_spells: int
    degraded_cause: Literal["failures", "cap"] | None = None
    degraded_providers: tuple[str, ...] = ()
    scopes: Mapping[str, ScopeStatistics]
    #: Scopes that have made room for others, and go on from a record when they are asked again; they are not among `scopes`.
    set_aside: int = 0
    groups: Mapping[str, GroupStatistics]
    #: Events that a hook missed because too many waited for it, and events at which a hook failed; lines that the log could not
    #: write are among those.
    events_dropped: int
    hooks_failed: int


def group_statistics(actor: GroupActor, now: Instant) -> GroupStatistics:
    """One inbound group as it stands at `now`."""
    return GroupStatistics(
        counters=actor.counters.record(),
        denied_by=dict(actor.denied_by),
        unenforced=actor.unenforced,
        dry_run=actor.policy.dry_run,
        clients=actor.clients(),
        most_denied=tuple(
            ClientStatistics(client=pseudonym(key), denied=count) for key, count in actor.most_denied.top(now) if count
        ),
        limits=tuple(_inbound(limit, limit.capacity) for limit in actor.policy.limits),
        totals=tuple(_inbound(limit, left) for limit, left in actor.totals()),
    )


def scope_statistics(actor: ScopeActor, now: Instant) -> ScopeStatistics:
    """The scope of one actor as it stands at `now`."""
    actor.catch_up()
    ledger, leased = actor.ledger, actor.lender.outstanding
    breaker = ledger.pipeline.breaker
    return ScopeStatistics(
        counters=ledger.counters.record(),
        limits=tuple(_limit(limit, now, leased) for limit in ledger.pipeline.limits),
        breaker=BreakerStatistics(
            status=breaker.status.value,
            failures=breaker.failures,
            successes=breaker.successes,
            openings=breaker.openings,
            probes_in=to_seconds(max(0, breaker.until - now)),
            probes=breaker.admitted,
            last_failure_ago=None if breaker.last_failure is None else to_seconds(max(0, now - breaker.last_failure)),
            ramp_up=breaker.ramp,
        ),
        waiting=len(actor.logic.queue),
        leased=leased,
        denial=_denial(actor.denial(now)),
        unknown_units=ledger.units.unknown(),
        uncharged_units=ledger.units.uncharged(),
    )


def _denial(denied: Denied | None) -> DenialStatistics | None:
    return None if denied is None else DenialStatistics(reason=denied.reason.value, retry_after=denied.retry_after)


def _limit(limit: LimitPolicy, now: Instant, leased: int) -> LimitStatistics:
    return LimitStatistics(
        limit=_text(limit.parameters),
        unit=limit.unit,
        available=limit.available(now) + leased,
        capacity=limit.capacity(),
        refill_rate=limit.refill_rate(),
    )


def _inbound(limit: Limit, available: int) -> LimitStatistics:
    return LimitStatistics(
        limit=_text(limit), unit=REQUESTS, available=available, capacity=limit.capacity, refill_rate=limit.refill_rate
    )


#: Many scopes have the same few limits.
_text: Final = lru_cache(maxsize=1024)(describe)
