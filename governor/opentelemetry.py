"""How do OpenTelemetry's metrics and spans learn what happens here? Needs the extra `opentelemetry`.

Metrics: `instrument(governor)`. They are read from `Statistics` when the program's metric reader collects, so they are true
sums and miss nothing; only waits are told by a hook, into a histogram. Attributes are names of scopes, groups, limits, reasons
and states, never of callers.

Span events: a hook is called on a thread of its own, where no span of the caller is current. So it is the transports that tell,
in the caller's own task: give them `on_event=add_to_span`. Who asks for permits without one has the refusal at hand.

Names follow the semantic conventions where there are any (`error.type`, `http.request.resend_count`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import Lock
from typing import Final, final

from governor._actors.statistics import GroupStatistics, LimitStatistics, ScopeStatistics, Statistics
from governor._governor import Governor
from governor.errors import UsageError
from governor.extras import missing
from governor.instrumentation import AnyEvent, CallDenied, Granted, Retried

try:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter
    from opentelemetry.trace import get_current_span
except ModuleNotFoundError as error:
    raise missing("opentelemetry", error) from error

_STATES: Final = ("closed", "open", "half_open")

_Figures = Iterator[tuple[float, Mapping[str, str]]]


def add_to_span(event: AnyEvent) -> None:
    """Adds an event to the span that is current; for `on_event` of the transports. Without a span it does nothing."""
    span = get_current_span()
    if not span.is_recording():
        return
    match event:
        case Granted(scope=scope, waited=waited):
            span.add_event("governor.granted", {"governor.scope": scope, "governor.waited": waited})
        case CallDenied(scope=scope, reason=reason, retry_after=retry_after):
            when = {} if retry_after is None else {"governor.retry_after": retry_after}
            span.add_event("governor.denied", {"governor.scope": scope, "error.type": reason.value, **when})
        case Retried(scope=scope, attempt=attempt):
            span.add_event("governor.retried", {"governor.scope": scope, "http.request.resend_count": attempt - 1})
        case _:
            pass  # What concerns no call in particular belongs to no span.


def instrument(governor: Governor, meter_provider: MeterProvider | None = None) -> Callable[[], None]:
    """Offers the metrics of a governor, to the global meter provider if none is given; call what is returned to end that.

    Once for each provider: two governors in one would contradict each other. A reader that collects asks the governor as
    `Governor.statistics` does, from its own thread; while the governor does not run, there are no figures.
    """
    meter = get_meter("traffic-governor", meter_provider=meter_provider)
    waits = meter.create_histogram("governor.wait.duration", "s", "How long callers waited in line for their permits.")
    source = _Source(governor)
    for name, unit, description, figures in _COUNTERS:
        meter.create_observable_counter(name, [source.callback(figures)], unit, description)
    for name, unit, description, figures in _GAUGES:
        meter.create_observable_gauge(name, [source.callback(figures)], unit, description)

    def count_wait(event: AnyEvent, /) -> None:
        if isinstance(event, Granted):
            waits.record(event.waited, {"governor.scope": event.scope})

    remove = governor.add_hook(count_wait)

    def stop() -> None:
        source.stopped = True
        remove()

    return stop


@final
class _Source:
    """The figures of one governor. A reader goes through all instruments, and the governor is asked once for all of them."""

    __slots__ = ("_governor", "_lock", "_read", "_statistics", "stopped")

    def __init__(self, governor: Governor) -> None:
        self._governor = governor
        self._lock = Lock()
        self._statistics: Statistics | None = None
        #: What has been read from the statistics at hand.
        self._read: set[object] = set()
        self.stopped = False

    def callback(self, figures: Callable[[Statistics], _Figures]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        """What an instrument calls."""

        def observe(_: CallbackOptions) -> Iterable[Observation]:
            with self._lock:
                if self._statistics is None or figures in self._read:
                    # Read before, so this is another collection.
                    self._statistics = self._ask()
                    self._read.clear()
                self._read.add(figures)
                statistics = self._statistics
            return [] if statistics is None else [Observation(value, attributes) for value, attributes in figures(statistics)]

        return observe

    def _ask(self) -> Statistics | None:
        if self.stopped or not self._governor.alive():
            return None
        try:
            return self._governor.statistics()
        except UsageError:
            return None  # It has been left just now.


# Figures, each with its attributes.


def _scopes(figure: Callable[[ScopeStatistics], float]) -> Callable[[Statistics], _Figures]:
    return lambda statistics: ((figure(one), {"governor.scope": scope}) for scope, one in statistics.scopes.items())


def _limits(figure: Callable[[LimitStatistics], float]) -> Callable[[Statistics], _Figures]:
    return lambda statistics: (
        (figure(limit), {"governor.scope": scope, "governor.limit": limit.limit})
        for scope, one in statistics.scopes.items()
        for limit in one.limits
    )


def _groups(figure: Callable[[GroupStatistics], float]) -> Callable[[Statistics], _Figures]:
    return lambda statistics: ((figure(one), {"governor.group": group}) for group, one in statistics.groups.items())


def _whole(figure: Callable[[Statistics], float]) -> Callable[[Statistics], _Figures]:
    return lambda statistics: iter([(figure(statistics), {})])


def _outcomes(statistics: Statistics) -> _Figures:
    for scope, one in statistics.scopes.items():
        counters = one.counters
        yield counters.answered_2xx, {"governor.scope": scope, "governor.outcome": "2xx"}
        yield counters.answered_4xx, {"governor.scope": scope, "governor.outcome": "4xx"}
        yield counters.answered_5xx, {"governor.scope": scope, "governor.outcome": "5xx"}
        yield counters.failures, {"governor.scope": scope, "governor.outcome": "failure"}
        yield counters.neutral, {"governor.scope": scope, "governor.outcome": "neutral"}
        yield counters.others, {"governor.scope": scope, "governor.outcome": "other"}


def _refusals(statistics: Statistics) -> _Figures:
    for scope, one in statistics.scopes.items():
        for reason, count in one.counters.denied.items():
            yield count, {"governor.scope": scope, "error.type": reason}


def _states(statistics: Statistics) -> _Figures:
    for scope, one in statistics.scopes.items():
        for state in _STATES:
            yield one.breaker.status == state, {"governor.scope": scope, "governor.breaker.state": state}


def _inbound_refusals(statistics: Statistics) -> _Figures:
    for group, one in statistics.groups.items():
        for limit, count in one.denied_by.items():
            yield count, {"governor.group": group, "governor.limit": limit}


#: Name, unit, description, figures. The names are those that Prometheus gets, with dots.
_COUNTERS: Final = (
    ("governor.requests", "{request}", "Permits granted, for retries too.", _scopes(lambda one: one.counters.requests)),
    ("governor.outcomes", "{request}", "What became of them.", _outcomes),
    ("governor.denied", "{request}", "Permits refused, by reason.", _refusals),
    ("governor.retries", "{request}", "Permits for later attempts.", _scopes(lambda one: one.counters.retries)),
    ("governor.breaker.openings", "{opening}", "How often the breaker opened.", _scopes(lambda one: one.breaker.openings)),
    ("governor.inbound.requests", "{request}", "Requests that went on.", _groups(lambda one: one.counters.requests)),
    ("governor.inbound.denied", "{request}", "Requests that met a limit, in dry runs too.", _inbound_refusals),
    ("governor.degraded.spells", "{spell}", "How often all traffic was paused.", _whole(lambda one: one.degraded_spells)),
    ("governor.events.dropped", "{event}", "Events that a hook has missed.", _whole(lambda one: one.events_dropped)),
    ("governor.hooks.failed", "{event}", "Events at which a hook has failed.", _whole(lambda one: one.hooks_failed)),
)
_GAUGES: Final = (
    ("governor.breaker.state", "1", "1 for the state of the breaker.", _states),
    ("governor.waiting", "{caller}", "Callers in the line.", _scopes(lambda one: one.waiting)),
    ("governor.limit.available", "1", "What a limit has left, in its own unit.", _limits(lambda one: one.available)),
    ("governor.limit.capacity", "1", "What a limit can hold, in its own unit.", _limits(lambda one: one.capacity)),
    ("governor.inbound.clients", "{caller}", "Callers who have spent something lately.", _groups(lambda one: one.clients)),
    ("governor.degraded.remaining", "s", "What is left of the pause of all traffic.", _whole(lambda one: one.degraded_for)),
    (
        "governor.requests.last_minute",
        "{request}",
        "What counts against the cap.",
        _whole(lambda one: one.requests_last_minute),
    ),
)
