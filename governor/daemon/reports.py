"""Builds the documents of the daemon from `Statistics`."""

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, repeat
from typing import Any, Final

from governor import CounterRecord, LimitStatistics, ScopeStatistics, Statistics
from governor.conditions import INBOUND, OUTBOUND, Condition, headline, label
from governor.config import is_within
from governor.cooperative import batched
from governor.daemon.documents import About, GlobalStatus, GroupReport, ScopeReport, Status
from governor.daemon.offers import offers
from governor.statistics import BreakerStatistics, BreakerStatus, DenialStatistics, GroupStatistics, LoopStatistics, scarcest

#: The better state first.
_BREAKERS: Final = (BreakerStatus.CLOSED, BreakerStatus.HALF_OPEN, BreakerStatus.OPEN)


def status(
    statistics: Statistics,
    found: tuple[Condition, ...] = (),
    *,
    about: About,
    recent: Mapping[str, int] | None = None,
    acts: bool = False,
) -> Iterator[Status | None]:
    """Everything, in steps (`steps`): the statistics, the conditions `found` in them, and the `recent` denials by scope.

    With `acts`, also the actions that apply.
    """
    worst: dict[str, Condition] = {}
    for condition in found:
        worst.setdefault(condition.key, condition)
    scopes: dict[str, ScopeStatistics | GroupStatistics] = {}
    labels: dict[str, str] = {}
    names: Iterable[tuple[str, tuple[str, ScopeStatistics | GroupStatistics]]]
    names = chain(zip(repeat(OUTBOUND), statistics.scopes.items()), zip(repeat(INBOUND), statistics.groups.items()))
    for part in batched(names):
        for prefix, (name, record) in part:
            key = prefix + name
            scopes[key] = record
            labels[key] = label(worst.get(key), record)
        yield None
    yield Status(
        about=about,
        headline=headline(found),
        conditions=found,
        global_=global_status(statistics),
        outbound_scopes=list(statistics.scopes),
        inbound_scopes=list(statistics.groups),
        labels=labels,
        recent_denials=dict(recent or {}),
        actions=offers(scopes, degraded=statistics.degraded_for > 0) if acts else (),
        scopes=scopes,
    )


def global_status(statistics: Statistics) -> GlobalStatus:
    """The figures that belong to no single scope."""
    paused = statistics.degraded_for
    return GlobalStatus(
        **_fields(statistics.counters + statistics.inbound),
        requests_last_minute=statistics.requests_last_minute,
        requests_per_minute=statistics.requests_per_minute,
        degraded_mode_active=paused > 0,
        degraded_until_ts=statistics.now + paused if paused > 0 else None,
        degraded_for=paused,
        degraded_spells=statistics.degraded_spells,
        degraded_cause=statistics.degraded_cause,
        degraded_providers=statistics.degraded_providers,
        provider_limits=statistics.provider_limits,
        set_aside=statistics.set_aside,
        members=statistics.members,
        events_dropped=statistics.events_dropped,
        hooks_failed=statistics.hooks_failed,
        started_at=statistics.started_at,
        now=statistics.now,
    )


def scope_named(name: str) -> str:
    """The scope or provider that a name stands for, in lower case; "" for an inbound group with its prefix."""
    return "" if name.startswith(INBOUND) else name.removeprefix(OUTBOUND).lower()


def report(statistics: Statistics, name: str) -> ScopeReport | GroupReport | None:
    """One scope (`github:get`, `outbound:github:get`), one group (`inbound:chat`) or all scopes of a provider (`github`).

    A bare name without such a provider is that of a group. None if there is no such scope or group.
    """
    scope = scope_named(name)
    found = _of(scope, statistics.scopes)
    if found:
        return _scope_report(scope, found)
    bare = name.removeprefix(INBOUND)
    group = statistics.groups.get(bare)
    return None if group is None else GroupReport(scope=INBOUND + bare, **_fields(group))


def _of(scope: str, scopes: Mapping[str, ScopeStatistics]) -> dict[str, ScopeStatistics]:
    """That scope, or all scopes of a provider."""
    if ":" in scope:
        return {scope: scopes[scope]} if scope in scopes else {}
    return {name: one for name, one in scopes.items() if is_within(name, scope)}


def _scope_report(scope: str, found: Mapping[str, ScopeStatistics]) -> ScopeReport:
    if list(found) == [scope]:
        return ScopeReport(scope=OUTBOUND + scope, **_fields(found[scope]))
    each = list(found.values())
    limits = tuple(limit for one in each for limit in one.limits)
    return ScopeReport(
        scope=OUTBOUND + scope,
        aggregated_from=[OUTBOUND + name for name in found],
        counters=sum((one.counters for one in each), CounterRecord()),
        limits=tuple(_scarcest_of_each_unit(limits)),
        scarcest=scarcest(limits),
        breaker=max((one.breaker for one in each), key=_badness),
        waiting=sum(one.waiting for one in each),
        leased=sum(one.leased for one in each),
        denial=max((one.denial for one in each if one.denial is not None), key=_length, default=None),
        last_failure=max((one.last_failure for one in each if one.last_failure), key=lambda last: last.at, default=None),
        unknown_units=tuple(sorted({unit for one in each for unit in one.unknown_units})),
        uncharged_units=tuple(sorted({unit for one in each for unit in one.uncharged_units})),
        loops=_all_loops([one.loops for one in each if one.loops is not None]),
    )


def _fields(record: CounterRecord | ScopeStatistics | GroupStatistics) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def _scarcest_of_each_unit(limits: Iterable[LimitStatistics]) -> Iterable[LimitStatistics]:
    by_unit: dict[str, list[LimitStatistics]] = {}
    for limit in limits:
        by_unit.setdefault(limit.unit, []).append(limit)
    return filter(None, (scarcest(tuple(of_unit)) for of_unit in by_unit.values()))


def _all_loops(each: list[LoopStatistics]) -> LoopStatistics | None:
    if not each:
        return None
    return LoopStatistics(
        stopped=sum(one.stopped for one in each),
        retry_after=min(one.retry_after for one in each),
        labels=tuple(dict.fromkeys(label for one in each for label in one.labels)),
    )


def _badness(breaker: BreakerStatistics) -> tuple[int, float]:
    """How far from closed the breaker is, then how recently it saw a failure."""
    return _BREAKERS.index(breaker.status), breaker.last_failure_at or 0.0


def _length(denial: DenialStatistics) -> float:
    return math.inf if denial.retry_after is None else denial.retry_after
