"""How do things stand? Frozen records for people and programs that watch; nothing in them is live."""

from collections.abc import Mapping

import msgspec

from governor._actors.counters import CounterRecord
from governor._actors.scope import ScopeActor
from governor._units import Instant, to_seconds
from governor.policies.limits import LimitPolicy


class LimitStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """One limit: `available` units now, of at most `capacity`; `refill_rate` per second, 0.0 if only outcomes give back."""

    unit: str
    available: int
    capacity: int
    refill_rate: float


class BreakerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A circuit breaker: `status` is closed, open or half_open; `probes_in` is what is left of the cooling, in seconds."""

    status: str
    failures: int
    successes: int
    openings: int
    probes_in: float


class ScopeStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """One scope, with the number of callers `waiting` in its line, and of permits `leased`: granted ahead and not used yet.

    What is leased is part of what its limit has `available`.
    """

    counters: CounterRecord
    limits: tuple[LimitStatistics, ...]
    breaker: BreakerStatistics
    waiting: int
    leased: int


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """The whole governor: `counters` are true sums over all scopes there ever were.

    `degraded_for` is what is left of the cooldown in seconds, 0.0 when traffic is not paused.
    """

    counters: CounterRecord
    requests_last_minute: int
    degraded_for: float
    degraded_spells: int
    scopes: Mapping[str, ScopeStatistics]


def scope_statistics(actor: ScopeActor, now: Instant) -> ScopeStatistics:
    """The scope of one actor as it stands at `now`."""
    actor.catch_up()
    breaker = actor.pipeline.breaker
    leased = actor.leased()
    return ScopeStatistics(
        counters=actor.counters.record(),
        limits=tuple(_limit(limit, now, leased) for limit in actor.pipeline.limits),
        breaker=BreakerStatistics(
            status=breaker.status.value,
            failures=breaker.failures,
            successes=breaker.successes,
            openings=breaker.openings,
            probes_in=to_seconds(max(0, breaker.until - now)),
        ),
        waiting=actor.waiting(),
        leased=leased,
    )


def _limit(limit: LimitPolicy, now: Instant, leased: int) -> LimitStatistics:
    return LimitStatistics(
        unit=limit.unit, available=limit.available(now) + leased, capacity=limit.capacity(), refill_rate=limit.refill_rate()
    )
