"""Which figures does Prometheus get?

Those of `Statistics`, asked for once at each scrape. Labels are names of scopes, groups, reasons, limits and states, never of
callers: there are as many series as the configuration and `max_scopes` allow, and no visitor can make more.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

from governor import Config, CounterRecord, Governor, LimitStatistics, ScopeStatistics, Statistics, UsageError
from governor._actors.statistics import GroupStatistics
from governor.extras import missing

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import CollectorRegistry
except ModuleNotFoundError as error:
    raise missing("prometheus", error) from error

#: What there is to say of a governor that has done nothing: the names of all metrics.
_NOTHING = Statistics(
    counters=CounterRecord(),
    inbound=CounterRecord(),
    requests_last_minute=0,
    degraded_for=0.0,
    degraded_spells=0,
    scopes={},
    groups={},
    events_dropped=0,
    hooks_failed=0,
)
_STATES = ("closed", "open", "half_open")


class GovernorCollector:
    """For programs that have a registry of their own: `REGISTRY.register(GovernorCollector(governor))`.

    Asks the governor, from whichever thread. While it is not running a scrape gets `governor_up 0` and nothing else of it. A
    registry takes one collector: a second one raises `ValueError` when it is registered.
    """

    def __init__(self, governor: Governor) -> None:
        self._governor = governor

    def describe(self) -> Iterable[Metric]:
        """The names, without asking the governor."""
        return (_up(running=False), *families(_NOTHING, self._governor.config, started_at=None))

    def collect(self) -> Iterable[Metric]:
        """What one scrape gets."""
        governor = self._governor
        try:
            statistics = governor.statistics() if governor.alive() else None
        except UsageError:
            statistics = None
        if statistics is None:
            return (_up(running=False),)
        return (_up(running=True), *families(statistics, governor.config, started_at=governor.started_at))


class _Collected:
    """What was asked for already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self.collect: Callable[[], Iterable[Metric]] = lambda: metrics


def expose(statistics: Statistics, config: Config, *, started_at: float | None, accept: str) -> tuple[bytes, str]:
    """The text and its content type, in the format that `accept`, the field of the request, prefers."""
    registry = CollectorRegistry()
    registry.register(_Collected((_up(running=True), *families(statistics, config, started_at=started_at))))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def families(statistics: Statistics, config: Config, *, started_at: float | None) -> Iterator[Metric]:
    """All metrics."""
    yield from _of_the_governor(statistics, config, started_at)
    yield from _of_scopes(statistics.scopes)
    yield from _of_groups(statistics.groups)


def _of_the_governor(statistics: Statistics, config: Config, started_at: float | None) -> Iterator[Metric]:
    yield _gauge("start_time_seconds", "When the governor was started, in seconds since 1970.", started_at or 0.0)
    yield _gauge("requests_last_minute", "Requests that count against the global cap.", statistics.requests_last_minute)
    cap = config.global_.requests_per_minute
    yield _gauge("requests_per_minute_cap", "The global cap; infinite without one.", math.inf if cap is None else cap)
    yield _gauge("degraded", "1 while degraded mode pauses outbound traffic.", float(statistics.degraded_for > 0))
    yield _gauge("degraded_remaining_seconds", "What is left of the cooldown.", statistics.degraded_for)
    yield _counter("degraded_spells", "How often degraded mode was entered.", statistics.degraded_spells)
    yield _counter("events_dropped", "Events that no hook was told of, because too many waited.", statistics.events_dropped)
    yield _counter("hooks_failed", "Calls of hooks that failed.", statistics.hooks_failed)


def _of_scopes(scopes: Mapping[str, ScopeStatistics]) -> Iterator[Metric]:
    requests = CounterMetricFamily("governor_requests", "Permits granted, for retries too.", labels=["scope"])
    outcomes = CounterMetricFamily("governor_outcomes", "What became of them.", labels=["scope", "outcome"])
    told_off = CounterMetricFamily("governor_answers_429", "Answers 429, which are 4xx too.", labels=["scope"])
    retries = CounterMetricFamily("governor_retries", "Permits for a second attempt or a later one.", labels=["scope"])
    refusals = CounterMetricFamily("governor_denied", "Permits refused.", labels=["scope", "reason"])
    openings = CounterMetricFamily("governor_breaker_openings", "How often the breaker opened.", labels=["scope"])
    states = GaugeMetricFamily("governor_breaker_state", "1 for the state of the breaker.", labels=["scope", "state"])
    waiting = GaugeMetricFamily("governor_waiting", "Callers in the line.", labels=["scope"])
    leased = GaugeMetricFamily("governor_leased", "Permits granted ahead and not used yet.", labels=["scope"])
    available = GaugeMetricFamily("governor_limit_available", "What a limit has left.", labels=["scope", "limit"])
    capacity = GaugeMetricFamily("governor_limit_capacity", "What a limit can hold.", labels=["scope", "limit"])
    for name, scope in scopes.items():
        requests.add_metric([name], scope.counters.requests)
        _add_outcomes(outcomes, name, scope.counters)
        told_off.add_metric([name], scope.counters.answered_429)
        retries.add_metric([name], scope.counters.retries)
        for reason, count in scope.counters.denied.items():
            refusals.add_metric([name, reason], count)
        openings.add_metric([name], scope.breaker.openings)
        for state in _STATES:
            states.add_metric([name, state], float(scope.breaker.status == state))
        waiting.add_metric([name], scope.waiting)
        leased.add_metric([name], scope.leased)
        _add_limits(available, capacity, name, scope.limits)
    yield from (requests, outcomes, told_off, retries, refusals, openings, states, waiting, leased, available, capacity)


def _of_groups(groups: Mapping[str, GroupStatistics]) -> Iterator[Metric]:
    requests = CounterMetricFamily("governor_inbound_requests", "Requests that went on.", labels=["group"])
    outcomes = CounterMetricFamily("governor_inbound_outcomes", "What became of them.", labels=["group", "outcome"])
    refusals = CounterMetricFamily(
        "governor_inbound_denied",
        "Requests that met a limit, in dry runs too.",
        labels=["group", "limit"],
    )
    passed = CounterMetricFamily(
        "governor_inbound_unenforced",
        "Requests that went on although a dry run denied them, or because the governor did not answer in time.",
        labels=["group"],
    )
    callers = GaugeMetricFamily("governor_inbound_clients", "Callers who have spent something lately.", labels=["group"])
    available = GaugeMetricFamily("governor_inbound_limit_available", "What a ceiling has left.", labels=["group", "limit"])
    capacity = GaugeMetricFamily("governor_inbound_limit_capacity", "What a ceiling can hold.", labels=["group", "limit"])
    for name, group in groups.items():
        requests.add_metric([name], group.counters.requests)
        _add_outcomes(outcomes, name, group.counters)
        for limit, count in group.denied_by.items():
            refusals.add_metric([name, limit], count)
        passed.add_metric([name], group.unenforced)
        callers.add_metric([name], group.clients)
        _add_limits(available, capacity, name, group.totals)
    yield from (requests, outcomes, refusals, passed, callers, available, capacity)


def _up(*, running: bool) -> Metric:
    return _gauge("up", "1 while the governor runs.", float(running))


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(f"governor_{name}", documentation, value=value)


def _counter(name: str, documentation: str, value: float) -> Metric:
    return CounterMetricFamily(f"governor_{name}", documentation, value=value)


def _add_outcomes(family: CounterMetricFamily, name: str, counters: CounterRecord) -> None:
    family.add_metric([name, "2xx"], counters.answered_2xx)
    family.add_metric([name, "4xx"], counters.answered_4xx)
    family.add_metric([name, "5xx"], counters.answered_5xx)
    family.add_metric([name, "failure"], counters.failures)
    family.add_metric([name, "neutral"], counters.neutral)
    family.add_metric([name, "other"], counters.others)


def _add_limits(
    available: GaugeMetricFamily, capacity: GaugeMetricFamily, name: str, limits: Iterable[LimitStatistics]
) -> None:
    # By text, as two limits that read the same would be one series twice, which no scraper accepts.
    for text, limit in {limit.limit: limit for limit in limits}.items():
        available.add_metric([name, text], limit.available)
        capacity.add_metric([name, text], limit.capacity)
