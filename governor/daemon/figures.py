"""How do the governor's figures become documents?

Points in time are told by the clock on the wall, as those who watch have no other: `now` is what it says.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, cast

from governor import BreakerStatistics, Config, CounterRecord, LimitStatistics, ScopeStatistics, Statistics
from governor._actors.statistics import DenialStatistics, GroupStatistics
from governor.config import provider_of
from governor.daemon.documents import (
    BreakerState,
    ClientDenials,
    Denial,
    DeniedBy,
    GlobalMetrics,
    GroupMetrics,
    GroupReport,
    InboundGroup,
    LimitState,
    OutboundScope,
    RateLimit,
    ScopeMetrics,
    ScopeReport,
    Status,
)

OUTBOUND: Final = "outbound:"
INBOUND: Final = "inbound:"
#: So many scopes are put into documents in one step.
_AT_A_TIME: Final = 32
#: The better state first.
_STATES: Final = ("closed", "half_open", "open")


def status(statistics: Statistics, config: Config, *, started_at: float | None, now: float) -> Iterator[Status | None]:
    """Everything, in small steps: None after each of them, in the end the document."""
    scopes: dict[str, OutboundScope | InboundGroup] = {}
    for number, (name, scope) in enumerate(statistics.scopes.items(), 1):
        scopes[OUTBOUND + name] = outbound_scope(scope, now)
        if number % _AT_A_TIME == 0:
            yield None
    for number, (name, group) in enumerate(statistics.groups.items(), 1):
        scopes[INBOUND + name] = inbound_group(group)
        if number % _AT_A_TIME == 0:
            yield None
    yield Status(
        global_=global_metrics(statistics, config, started_at=started_at, now=now),
        outbound_scopes=list(statistics.scopes),
        inbound_scopes=list(statistics.groups),
        scopes=scopes,
    )


def scope_named(name: str) -> str:
    """The scope or provider that a name stands for; "" for an inbound group."""
    return "" if name.startswith(INBOUND) else name.removeprefix(OUTBOUND)


def report(statistics: Statistics, name: str, now: float) -> ScopeReport | GroupReport | None:
    """One scope, `github:get`, `outbound:github:get` or `inbound:chat`, or all those of a bare provider; None if unknown."""
    if name.startswith(INBOUND):
        group = statistics.groups.get(name.removeprefix(INBOUND))
        return None if group is None else _group_report(name, group)
    scope = scope_named(name)
    found = _of(scope, statistics.scopes)
    return _scope_report(scope, found, now) if found else None


def outbound_scope(scope: ScopeStatistics, now: float) -> OutboundScope:
    """One outbound scope."""
    return OutboundScope(
        metrics=_scope_metrics(scope.counters, scope.breaker.openings, scope.waiting, scope.leased),
        rate_limit=_rate_limit(scope.limits),
        limits=tuple([_limit(limit) for limit in scope.limits]),
        circuit_breaker=_breaker(scope.breaker, now),
        denial=_denial(scope.denial),
        unknown_units=scope.unknown_units,
        uncharged_units=scope.uncharged_units,
    )


def inbound_group(group: GroupStatistics) -> InboundGroup:
    """One inbound group."""
    return InboundGroup(
        metrics=GroupMetrics(
            **_totals(group.counters),
            total_circuit_open=0,
            denied_by=DeniedBy(**group.denied_by),
            unenforced=group.unenforced,
        ),
        rate_limit=_rate_limit(group.limits),
        limits=tuple([_limit(limit) for limit in group.limits]),
        totals=tuple([_limit(limit) for limit in group.totals]),
        dry_run=group.dry_run,
        clients=group.clients,
        most_denied=tuple([ClientDenials(client=client.client, denied=client.denied) for client in group.most_denied]),
    )


def global_metrics(statistics: Statistics, config: Config, *, started_at: float | None, now: float) -> GlobalMetrics:
    """What concerns all scopes."""
    paused = statistics.degraded_for
    return GlobalMetrics(
        **_totals(statistics.counters + statistics.inbound),
        requests_last_minute=statistics.requests_last_minute,
        requests_per_minute=config.global_.requests_per_minute,
        degraded_mode_active=paused > 0,
        degraded_until_ts=now + paused if paused > 0 else None,
        degraded_for=paused,
        degraded_spells=statistics.degraded_spells,
        degraded_cause=statistics.degraded_cause,
        degraded_providers=statistics.degraded_providers,
        events_dropped=statistics.events_dropped,
        hooks_failed=statistics.hooks_failed,
        started_at=started_at,
        now=now,
    )


def _of(scope: str, scopes: Mapping[str, ScopeStatistics]) -> dict[str, ScopeStatistics]:
    """That scope, or all those of a provider."""
    if ":" in scope:
        return {scope: scopes[scope]} if scope in scopes else {}
    return {name: one for name, one in scopes.items() if provider_of(name) == scope}


def _scope_report(scope: str, found: Mapping[str, ScopeStatistics], now: float) -> ScopeReport:
    documents = [outbound_scope(one, now) for one in found.values()]
    if list(found) == [scope]:
        (document,) = documents
        return ScopeReport(scope=OUTBOUND + scope, **_fields(document))
    limits = [limit for one in found.values() for limit in one.limits]
    denials = [document.denial for document in documents if document.denial is not None]
    return ScopeReport(
        scope=OUTBOUND + scope,
        aggregated_from=[OUTBOUND + name for name in found],
        metrics=_scope_metrics(
            sum((one.counters for one in found.values()), CounterRecord()),
            sum(one.breaker.openings for one in found.values()),
            sum(one.waiting for one in found.values()),
            sum(one.leased for one in found.values()),
        ),
        rate_limit=_rate_limit(limits),
        limits=tuple([_limit(limit) for limit in _scarcest_of_each_unit(limits)]),
        circuit_breaker=max((document.circuit_breaker for document in documents), key=_badness),
        denial=max(denials, key=_length, default=None),
        unknown_units=tuple(sorted({unit for one in found.values() for unit in one.unknown_units})),
        uncharged_units=tuple(sorted({unit for one in found.values() for unit in one.uncharged_units})),
    )


def _group_report(name: str, group: GroupStatistics) -> GroupReport:
    return GroupReport(scope=name, **_fields(inbound_group(group)))


def _fields(document: OutboundScope | InboundGroup) -> dict[str, Any]:
    return {name: getattr(document, name) for name in document.__struct_fields__}


def _scope_metrics(counters: CounterRecord, openings: int, waiting: int, leased: int) -> ScopeMetrics:
    return ScopeMetrics(**_totals(counters), total_circuit_open=openings, waiting=waiting, leased=leased)


def _totals(counters: CounterRecord) -> dict[str, Any]:
    """The fields of `Totals`."""
    return {
        "total_requests": counters.requests,
        "total_2xx": counters.answered_2xx,
        "total_4xx": counters.answered_4xx,
        "total_5xx": counters.answered_5xx,
        "total_429": counters.answered_429,
        "total_retries": counters.retries,
        "failures": counters.failures,
        "neutral": counters.neutral,
        "others": counters.others,
        "denied": dict(counters.denied),
    }


def _limit(limit: LimitStatistics) -> LimitState:
    return LimitState(
        limit=limit.limit, unit=limit.unit, available=limit.available, capacity=limit.capacity, refill_rate=limit.refill_rate
    )


def _rate_limit(limits: Sequence[LimitStatistics]) -> RateLimit | None:
    if not limits:
        return None
    scarcest = min(limits, key=_share_left)
    return RateLimit(available_tokens=scarcest.available, capacity=scarcest.capacity, refill_rate=scarcest.refill_rate)


def _scarcest_of_each_unit(limits: Iterable[LimitStatistics]) -> Iterable[LimitStatistics]:
    scarcest: dict[str, LimitStatistics] = {}
    for limit in limits:
        scarcest[limit.unit] = min(scarcest.get(limit.unit, limit), limit, key=_share_left)
    return scarcest.values()


def _share_left(limit: LimitStatistics) -> float:
    return limit.available / limit.capacity


def _breaker(breaker: BreakerStatistics, now: float) -> BreakerState:
    ago = breaker.last_failure_ago
    return BreakerState(
        state=cast("Literal['closed', 'open', 'half_open']", breaker.status),
        failure_count=breaker.failures,
        success_count=breaker.successes,
        half_open_calls=breaker.probes,
        last_failure_time=None if ago is None else now - ago,
        probes_in=breaker.probes_in,
    )


def _badness(breaker: BreakerState) -> tuple[int, float]:
    """How bad is it, and how new?"""
    return _STATES.index(breaker.state), breaker.last_failure_time or 0.0


def _denial(denial: DenialStatistics | None) -> Denial | None:
    return None if denial is None else Denial(reason=denial.reason, retry_after=denial.retry_after)


def _length(denial: Denial) -> float:
    return math.inf if denial.retry_after is None else denial.retry_after
