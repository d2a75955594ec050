"""Builds the records of `governor.statistics` from actors as they stand."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from governor._actors.actor import ScopeActor
from governor._actors.inbound.group import GroupActor
from governor._actors.units import ONLY_REQUESTS
from governor._units import Instant, to_seconds
from governor.config import describe
from governor.policies.breakers.breaker import BreakerPolicy
from governor.policies.budget import USD, BudgetLimit, BudgetPolicy, Budgets
from governor.policies.contract import REQUESTS, Limit, LimitPolicy
from governor.pseudonyms import pseudonym
from governor.statistics import (
    BreakerStatistics,
    BreakerStatus,
    BudgetStatistics,
    BudgetUse,
    ClientStatistics,
    DenialStatistics,
    FailureStatistics,
    GroupStatistics,
    LimitStatistics,
    Moment,
    ScopeStatistics,
    scarcest,
)

#: Labels of one budget that are shown.
_MAX_LABELS_SHOWN: Final = 20
#: A breaker that has neither moved nor seen a failure: one record for all, as most of very many scopes have such a one.
_UNUSED_BREAKER: Final = BreakerStatistics(
    status=BreakerStatus.CLOSED, failures=0, successes=0, probes=0, probes_in=0.0, last_failure_at=None
)


def group_statistics(actor: GroupActor, now: Instant) -> GroupStatistics:
    """One inbound group as it stands at `now`."""
    limits = tuple(_inbound(limit, limit.capacity) for limit in actor.settings.limits)
    return GroupStatistics(
        counters=actor.counters.record(),
        limits=limits,
        scarcest=scarcest(limits),
        totals=tuple(_inbound(limit, left) for limit, left in actor.totals()),
        denied_by=dict(actor.denied_by),
        unenforced=actor.unenforced,
        dry_run=actor.settings.dry_run,
        clients=actor.clients(),
        most_denied=tuple(
            ClientStatistics(client=pseudonym(key), denied=count) for key, count in actor.most_denied.top(now) if count
        ),
    )


def scope_statistics(actor: ScopeActor, now: Instant, wall: Moment) -> ScopeStatistics:
    """The scope of one actor as it stands at `now`, which is `wall` on the wall clock."""
    actor.catch_up()
    ledger, denied, (waiting, leased, places, loops) = actor.ledger, actor.denial(now), actor.seen(now)
    breaker, failure, units = ledger.pipeline.breaker, ledger.counters.last_failure, ledger.units
    limits = tuple([limit_statistics(limit, now, leased, places) for limit in ledger.pipeline.limits])
    return ScopeStatistics(
        counters=ledger.counters.record(breaker.openings),
        limits=limits,
        scarcest=scarcest(limits),
        breaker=_breaker(breaker, now, wall),
        waiting=waiting,
        leased=leased,
        denial=None if denied is None else DenialStatistics(reason=denied.reason, retry_after=denied.retry_after),
        last_failure=None
        if failure is None
        else FailureStatistics(at=_moment(failure.at, now, wall), status=failure.status, error=failure.error),
        unknown_units=() if units is ONLY_REQUESTS else units.unknown(),
        uncharged_units=() if units is ONLY_REQUESTS else units.uncharged(),
        loops=loops,
    )


def _breaker(breaker: BreakerPolicy, now: Instant, wall: Moment) -> BreakerStatistics:
    if breaker.last_failure is None and not breaker.failures and not breaker.generation:
        return _UNUSED_BREAKER
    return BreakerStatistics(
        status=breaker.status,
        failures=breaker.failures,
        successes=breaker.successes,
        probes=breaker.admitted,
        probes_in=to_seconds(max(0, breaker.until - now)),
        last_failure_at=None if breaker.last_failure is None else _moment(breaker.last_failure, now, wall),
        ramp_up=breaker.ramp,
        forced=breaker.forced,
    )


def _moment(instant: Instant, now: Instant, wall: Moment) -> Moment:
    # Rounded, because the two clocks drift by microseconds, and one moment is to read the same each time.
    return round(wall - to_seconds(max(0, now - instant)), 3)


def limit_statistics(limit: LimitPolicy, now: Instant, leased: int, places: int) -> LimitStatistics:
    """A limit as it stands at `now`, with the permits granted ahead, or the leased places, which count as available."""
    return LimitStatistics(
        limit=_text(limit.parameters),
        unit=limit.unit,
        available=limit.available(now) + (places if limit.leases_places else leased),
        capacity=limit.capacity(),
        refill_rate=limit.refill_rate(),
    )


def _inbound(limit: Limit, available: int) -> LimitStatistics:
    return LimitStatistics(
        limit=_text(limit), unit=REQUESTS, available=available, capacity=limit.capacity, refill_rate=limit.refill_rate
    )


#: Many scopes have the same few limits.
_text: Final = lru_cache(maxsize=1024)(describe)


def budget_statistics(budgets: Budgets, now: Instant) -> Mapping[str, BudgetStatistics]:
    """How the budgets stand, by name: of each unit what the labels have used, the most first."""
    return {name: _budget(policy, now) for name, policy in budgets.policies()}


def _budget(policy: BudgetPolicy, now: Instant) -> BudgetStatistics:
    budget, used = policy.parameters, policy.used(now)

    def share(label: str) -> float:
        return max(amount / limit.amount for amount, limit in zip(used[label], budget.limits, strict=True))

    labels = {
        label: {limit.unit: _left(amount, limit) for amount, limit in zip(used[label], budget.limits, strict=True)}
        for label in sorted(used, key=share, reverse=True)[:_MAX_LABELS_SHOWN]
    }
    return BudgetStatistics(covers=budget.labels, each=budget.each, labels=labels, others=len(used) - len(labels))


def _left(used: int, limit: BudgetLimit) -> BudgetUse:
    share = 1_000_000 if limit.unit == USD else 1
    return BudgetUse(used=used / share, left=max(0, limit.amount - used) / share, per=to_seconds(limit.per))
