"""The table of metrics: name, kind, unit, help, labels, and how to read each of them from `Statistics`.

Prometheus (`governor.daemon.prometheus`), OpenTelemetry (`governor.opentelemetry`) and the reference page are made from
this table. Label values are names of scopes, groups, limits, reasons and states, never of clients: the number of series is
bounded by the configuration and `max_scopes`.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Final

import msgspec

from governor.conditions import Kind as ConditionKind
from governor.conditions import conditions
from governor.policies.breakers.states import BreakerStatus
from governor.statistics import CounterRecord, GroupStatistics, LimitStatistics, ScopeStatistics, Statistics

#: Values, each with the values of the labels.
Samples = Iterator[tuple[tuple[str, ...], float]]


class Kind(Enum):
    """What a metric is: a counter only grows, a gauge moves both ways."""

    COUNTER = "counter"
    GAUGE = "gauge"


class Metric(msgspec.Struct, frozen=True):
    """One metric. `name` has dots between its words and no prefix; `unit` is a UCUM code, as in OpenTelemetry."""

    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[str, ...]
    read: Callable[[Statistics], Samples]

    @property
    def prometheus(self) -> str:
        """The name of the metric for Prometheus, without the `_total` that counters get."""
        return f"governor_{self.name.replace('.', '_')}{'_seconds' if self.unit == 's' else ''}"

    @property
    def exposed(self) -> str:
        """The name of the series in an exposition for Prometheus."""
        return f"{self.prometheus}_total" if self.kind is Kind.COUNTER else self.prometheus


def _whole(value: Callable[[Statistics], float]) -> Callable[[Statistics], Samples]:
    return lambda statistics: iter([((), value(statistics))])


def _scopes(value: Callable[[ScopeStatistics], float]) -> Callable[[Statistics], Samples]:
    return lambda statistics: (((name,), value(scope)) for name, scope in statistics.scopes.items())


def _groups(value: Callable[[GroupStatistics], float]) -> Callable[[Statistics], Samples]:
    return lambda statistics: (((name,), value(group)) for name, group in statistics.groups.items())


def _limits(value: Callable[[LimitStatistics], float]) -> Callable[[Statistics], Samples]:
    return lambda statistics: (
        ((name, text), value(limit))
        for name, scope in statistics.scopes.items()
        for text, limit in _by_text(scope.limits).items()
    )


def _provider_limits(value: Callable[[LimitStatistics], float]) -> Callable[[Statistics], Samples]:
    return lambda statistics: (
        ((name, text), value(limit))
        for name, limits in statistics.provider_limits.items()
        for text, limit in _by_text(limits).items()
    )


def _totals(value: Callable[[LimitStatistics], float]) -> Callable[[Statistics], Samples]:
    return lambda statistics: (
        ((name, text), value(limit))
        for name, group in statistics.groups.items()
        for text, limit in _by_text(group.totals).items()
    )


def _by_text(limits: Iterable[LimitStatistics]) -> dict[str, LimitStatistics]:
    """Limits by text: two limits with the same text would be one series twice, which scrapers reject."""
    return {limit.limit: limit for limit in limits}


def _outcomes(name: str, counters: CounterRecord) -> Samples:
    yield (name, "2xx"), counters.answered_2xx
    yield (name, "4xx"), counters.answered_4xx
    yield (name, "5xx"), counters.answered_5xx
    yield (name, "failure"), counters.failures
    yield (name, "neutral"), counters.neutral
    yield (name, "other"), counters.others


def _scope_outcomes(statistics: Statistics) -> Samples:
    for name, scope in statistics.scopes.items():
        yield from _outcomes(name, scope.counters)


def _group_outcomes(statistics: Statistics) -> Samples:
    for name, group in statistics.groups.items():
        yield from _outcomes(name, group.counters)


def _denied(statistics: Statistics) -> Samples:
    return (
        ((name, reason.value), count)
        for name, scope in statistics.scopes.items()
        for reason, count in scope.counters.denied.items()
    )


def _dropped(statistics: Statistics) -> Samples:
    return (
        ((name, unit), amount) for name, scope in statistics.scopes.items() for unit, amount in scope.counters.dropped.items()
    )


def _group_denied(statistics: Statistics) -> Samples:
    return (((name, limit), count) for name, group in statistics.groups.items() for limit, count in group.denied_by.items())


def _states(statistics: Statistics) -> Samples:
    return (
        ((name, state.value), float(scope.breaker.status is state))
        for name, scope in statistics.scopes.items()
        for state in BreakerStatus
    )


def _conditions(statistics: Statistics) -> Samples:
    found = Counter(condition.kind for condition in conditions(statistics))
    return (((kind.value,), found[kind]) for kind in ConditionKind)


def _cap(statistics: Statistics) -> float:
    return math.inf if statistics.requests_per_minute is None else statistics.requests_per_minute


_COUNTER, _GAUGE = Kind.COUNTER, Kind.GAUGE
_SCOPE, _GROUP = ("scope",), ("group",)

METRICS: Final[tuple[Metric, ...]] = (
    Metric("start_time", _GAUGE, "s", "Start of the governor, seconds since 1970.", (), _whole(lambda s: s.started_at or 0.0)),
    Metric(
        "requests.last_minute",
        _GAUGE,
        "{request}",
        "Requests of the last 60 seconds that count against the global cap.",
        (),
        _whole(lambda s: s.requests_last_minute),
    ),
    Metric("requests.per_minute_cap", _GAUGE, "{request}", "The global cap; infinite without one.", (), _whole(_cap)),
    Metric(
        "degraded",
        _GAUGE,
        "1",
        "1 while degraded mode pauses outbound traffic.",
        (),
        _whole(lambda s: float(s.degraded_for > 0)),
    ),
    Metric("degraded.remaining", _GAUGE, "s", "Rest of the cooldown of degraded mode.", (), _whole(lambda s: s.degraded_for)),
    Metric("degraded.spells", _COUNTER, "{spell}", "How often degraded mode began.", (), _whole(lambda s: s.degraded_spells)),
    Metric("conditions", _GAUGE, "{condition}", "Conditions that hold now, by kind.", ("kind",), _conditions),
    Metric("scopes.set_aside", _GAUGE, "{scope}", "Scopes that made room for others.", (), _whole(lambda s: s.set_aside)),
    Metric(
        "machine.processes",
        _GAUGE,
        "{process}",
        "Processes that share the limits over the socket.",
        (),
        _whole(lambda s: len(s.members)),
    ),
    Metric(
        "machine.leased",
        _GAUGE,
        "{request}",
        "Requests that have been granted ahead to processes, and are not used.",
        (),
        _whole(lambda s: sum(member.leased for member in s.members)),
    ),
    Metric(
        "machine.waiting",
        _GAUGE,
        "{request}",
        "Requests of processes that wait for a permit.",
        (),
        _whole(lambda s: sum(member.waiting for member in s.members)),
    ),
    Metric(
        "events.dropped",
        _COUNTER,
        "{event}",
        "Events that a hook missed because its queue was full.",
        (),
        _whole(lambda s: s.events_dropped),
    ),
    Metric("hooks.failed", _COUNTER, "{event}", "Calls of hooks that failed.", (), _whole(lambda s: s.hooks_failed)),
    Metric(
        "requests", _COUNTER, "{request}", "Permits granted, for retries too.", _SCOPE, _scopes(lambda s: s.counters.requests)
    ),
    Metric(
        "outcomes",
        _COUNTER,
        "{request}",
        "Outcomes of granted permits: 2xx, 4xx, 5xx, failure, neutral, other.",
        ("scope", "outcome"),
        _scope_outcomes,
    ),
    Metric(
        "answers.429",
        _COUNTER,
        "{request}",
        "Answers with status 429; they are among the 4xx.",
        _SCOPE,
        _scopes(lambda s: s.counters.answered_429),
    ),
    Metric(
        "retries",
        _COUNTER,
        "{request}",
        "Permits for second and later attempts.",
        _SCOPE,
        _scopes(lambda s: s.counters.retries),
    ),
    Metric("denied", _COUNTER, "{request}", "Calls that got no permit.", ("scope", "reason"), _denied),
    Metric(
        "units.dropped",
        _COUNTER,
        "1",
        "Amounts used beyond max_debt, which no limit was charged with.",
        ("scope", "unit"),
        _dropped,
    ),
    Metric(
        "breaker.openings",
        _COUNTER,
        "{opening}",
        "How often the circuit breaker opened.",
        _SCOPE,
        _scopes(lambda s: s.counters.openings),
    ),
    Metric("breaker.state", _GAUGE, "1", "1 for the state of the circuit breaker, else 0.", ("scope", "state"), _states),
    Metric("waiting", _GAUGE, "{call}", "Calls in the queue.", _SCOPE, _scopes(lambda s: s.waiting)),
    Metric(
        "loops.stopped",
        _GAUGE,
        "{loop}",
        "Loops that are stopped: calls repeated with the same answer, which are denied.",
        _SCOPE,
        _scopes(lambda s: 0 if s.loops is None else s.loops.stopped),
    ),
    Metric("leased", _GAUGE, "{permit}", "Permits granted ahead and not used yet.", _SCOPE, _scopes(lambda s: s.leased)),
    Metric(
        "limit.available",
        _GAUGE,
        "1",
        "What a limit has left, in its own unit.",
        ("scope", "limit"),
        _limits(lambda limit: limit.available),
    ),
    Metric(
        "limit.capacity",
        _GAUGE,
        "1",
        "What a limit can hold, in its own unit.",
        ("scope", "limit"),
        _limits(lambda limit: limit.capacity),
    ),
    Metric(
        "provider.limit.available",
        _GAUGE,
        "1",
        "What a limit over all scopes of a provider, or of a key, has left, in its own unit.",
        ("provider", "limit"),
        _provider_limits(lambda limit: limit.available),
    ),
    Metric(
        "provider.limit.capacity",
        _GAUGE,
        "1",
        "What a limit over all scopes of a provider, or of a key, can hold, in its own unit.",
        ("provider", "limit"),
        _provider_limits(lambda limit: limit.capacity),
    ),
    Metric("inbound.requests", _COUNTER, "{request}", "Requests admitted.", _GROUP, _groups(lambda g: g.counters.requests)),
    Metric(
        "inbound.outcomes",
        _COUNTER,
        "{request}",
        "Outcomes of admitted requests: 2xx, 4xx, 5xx, failure, neutral, other.",
        ("group", "outcome"),
        _group_outcomes,
    ),
    Metric(
        "inbound.denied",
        _COUNTER,
        "{request}",
        "Requests above a limit, by the name of the limit; in a dry run too.",
        ("group", "limit"),
        _group_denied,
    ),
    Metric(
        "inbound.unenforced",
        _COUNTER,
        "{request}",
        "Requests admitted without enforcement: in a dry run, or because the governor did not answer in time.",
        _GROUP,
        _groups(lambda g: g.unenforced),
    ),
    Metric(
        "inbound.clients", _GAUGE, "{client}", "Clients that spent something recently.", _GROUP, _groups(lambda g: g.clients)
    ),
    Metric(
        "inbound.limit.available",
        _GAUGE,
        "1",
        "What a limit of the whole group has left.",
        ("group", "limit"),
        _totals(lambda limit: limit.available),
    ),
    Metric(
        "inbound.limit.capacity",
        _GAUGE,
        "1",
        "What a limit of the whole group can hold.",
        ("group", "limit"),
        _totals(lambda limit: limit.capacity),
    ),
)


def reference() -> str:
    """The table as Markdown, for the reference page."""
    rows = (
        f"| `{one.exposed}` | `governor.{one.name}` | {', '.join(f'`{label}`' for label in one.labels)} | {one.help} |"
        for one in METRICS
    )
    return "\n".join(("| Prometheus | OpenTelemetry | labels | |", "|---|---|---|---|", *rows)) + "\n"
