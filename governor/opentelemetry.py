"""OpenTelemetry metrics and span events. Needs the extra `opentelemetry`.

Metrics: `instrument(governor)`. They are the table of `governor.metrics`, read from `Statistics` whenever the metric reader
of the program collects; a hook adds a histogram of waits. Attributes are names of scopes, groups, limits, reasons and
states, never of clients.

Span events: pass `on_event=add_to_span` to the transports of `governor_client`. They run it in the task of the call, where
its span is current; hooks run on a thread of their own, where it is not.

Attribute names follow the semantic conventions where there are any (`error.type`, `http.request.resend_count`).
"""

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Final, final

from governor import Governor, GovernorState, Statistics, UsageError
from governor.extras import missing
from governor.instrumentation import AnyEvent, CallDenied, Granted, Retried
from governor.metrics import METRICS, Kind, Metric

try:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter
    from opentelemetry.trace import get_current_span
except ModuleNotFoundError as error:
    raise missing("opentelemetry", error) from error

#: The attribute for each label of the table.
_ATTRIBUTES: Final = {
    "scope": "governor.scope",
    "provider": "governor.provider",
    "group": "governor.group",
    "limit": "governor.limit",
    "outcome": "governor.outcome",
    "reason": "error.type",
    "state": "governor.breaker.state",
    "unit": "governor.unit",
    "kind": "governor.condition",
    "severity": "governor.severity",
}


def add_to_span(event: AnyEvent) -> None:
    """Adds an event to the current span; for `on_event` of the transports. Does nothing without a span that records."""
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
            pass  # Events about no call in particular belong to no span.


def instrument(governor: Governor, meter_provider: MeterProvider | None = None) -> Callable[[], None]:
    """Offers the metrics of a governor to a meter provider, the global one by default. Call the result to stop.

    Instrument one governor per provider: the series of two would overwrite each other. A collection reads the governor as
    `Governor.statistics` does, from the thread of the reader, once for all metrics. A governor that does not run has no values.
    """
    meter = get_meter("traffic-governor", meter_provider=meter_provider)
    waits = meter.create_histogram("governor.wait.duration", "s", "How long calls waited in the queue for a permit.")
    source = _Source(governor)
    create = {Kind.COUNTER: meter.create_observable_counter, Kind.GAUGE: meter.create_observable_gauge}
    for metric in METRICS:
        create[metric.kind](f"governor.{metric.name}", [source.callback(metric)], metric.unit, metric.help)

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
    """The statistics of one governor, read once per collection although every metric has a callback of its own."""

    __slots__ = ("_governor", "_lock", "_read", "_statistics", "stopped")

    def __init__(self, governor: Governor) -> None:
        self._governor = governor
        self._lock = Lock()
        self._statistics: Statistics | None = None
        #: The metrics that have been read from the statistics at hand.
        self._read: set[str] = set()
        self.stopped = False

    def callback(self, metric: Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
        """The callback of one metric."""
        attributes = [_ATTRIBUTES[label] for label in metric.labels]

        def observe(_: CallbackOptions) -> Iterable[Observation]:
            with self._lock:
                if self._statistics is None or metric.name in self._read:
                    # This metric has been read before, so another collection begins.
                    self._statistics = self._ask()
                    self._read.clear()
                self._read.add(metric.name)
                statistics = self._statistics
            if statistics is None:
                return []
            return [Observation(value, dict(zip(attributes, labels, strict=True))) for labels, value in metric.read(statistics)]

        return observe

    def _ask(self) -> Statistics | None:
        if self.stopped or self._governor.state is not GovernorState.RUNNING:
            return None
        try:
            return self._governor.statistics()
        except UsageError:
            return None  # The governor was closed a moment ago.
