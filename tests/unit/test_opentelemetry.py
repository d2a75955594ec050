"""Metric readers get the true figures, and spans the events of their own calls."""

import logging
from collections.abc import Iterator

import anyio
import anyio.lowlevel
import httpx2
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from governor import Config, Governor, RateLimited, Statistics
from governor.instrumentation import AnyEvent, CallDenied, DegradedLeft, Granted, Retried
from governor.messages import InboundRequest
from governor.opentelemetry import add_to_span, instrument
from governor.testing import ManualClock
from governor_client import AsyncGovernedTransport, GovernedTransport, TrafficControlledHttpClient

pytestmark = pytest.mark.anyio

Attributes = frozenset[tuple[str, object]]


def config() -> Config:
    return Config.from_mapping(
        {
            "outbound": {"default": {"limits": ["2/hour burst 2"], "retry": {"first_delay": "1us", "max_delay": "1us"}}},
            "inbound": {"preset": "venom", "default": {"limits": ["1/hour burst 1"]}},
        }
    )


def figures(reader: InMemoryMetricReader) -> dict[str, dict[Attributes, float]]:
    """Of one collection: what each metric says, by attributes. Of histograms it is the number of what was measured."""
    data = reader.get_metrics_data()
    found: dict[str, dict[Attributes, float]] = {}
    for metric in (
        (metric for one in data.resource_metrics for scope in one.scope_metrics for metric in scope.metrics) if data else ()
    ):
        points = found[metric.name] = {}
        for point in metric.data.data_points:
            assert isinstance(point, (HistogramDataPoint, NumberDataPoint))
            value = point.count if isinstance(point, HistogramDataPoint) else point.value
            points[frozenset((point.attributes or {}).items())] = value
    return found


def by(**attributes: object) -> Attributes:
    """Attributes by the last part of their names."""
    return frozenset((name.replace("_", "."), value) for name, value in attributes.items())


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def provider(reader: InMemoryMetricReader) -> Iterator[MeterProvider]:
    provider = MeterProvider([reader])
    yield provider
    provider.shutdown()


async def test_a_collection_gets_the_figures_of_the_statistics(reader: InMemoryMetricReader, provider: MeterProvider) -> None:
    async with Governor(config(), clock=ManualClock()) as governor:
        instrument(governor, provider)
        for status in (200, 503, None):
            answer = governor.try_permit("weather", "GET")
            if status is not None:
                answer.record(status=status)  # type: ignore[union-attr]  # a permit
        request = InboundRequest(governor.inbound.pseudonyms.actor(b"alice"), governor.inbound.pseudonyms.address(b"192.0.2.7"))
        for _ in range(3):
            await governor.inbound.admit("chat", request)
        found = figures(reader)

    scope = by(governor_scope="weather:get")
    assert 2 == found["governor.requests"][scope]
    assert 1 == found["governor.denied"][scope | by(error_type="rate_limit_exceeded")]
    assert {"2xx": 1, "5xx": 1, "4xx": 0, "failure": 0, "neutral": 0, "other": 0} == {
        dict(attributes)["governor.outcome"]: value for attributes, value in found["governor.outcomes"].items()
    }
    assert {"closed": 1, "open": 0, "half_open": 0} == {
        dict(attributes)["governor.breaker.state"]: value for attributes, value in found["governor.breaker.state"].items()
    }
    assert [0] == list(found["governor.limit.available"].values())
    assert [2] == list(found["governor.limit.capacity"].values())
    assert 2 == found["governor.requests.last_minute"][by()]
    assert 3 == found["governor.inbound.requests"][by(governor_group="chat")]
    assert "alice" not in str(found)


async def test_the_governor_is_asked_once_for_each_collection(
    reader: InMemoryMetricReader, provider: MeterProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Statistics] = []
    async with Governor(config(), clock=ManualClock()) as governor:
        instrument(governor, provider)
        ask = governor.statistics

        def count() -> Statistics:
            asked.append(ask())
            return asked[-1]

        monkeypatch.setattr(governor, "statistics", count)
        requests = []
        for _ in range(3):
            governor.try_permit("weather")
            requests.append(sum(figures(reader)["governor.requests"].values()))

    assert ([1, 2, 2], 3) == (requests, len(asked))


async def test_waits_are_a_histogram(reader: InMemoryMetricReader, provider: MeterProvider) -> None:
    settings = Config.from_mapping({"outbound": {"default": {"limits": ["1 in flight"]}}})
    async with Governor(settings) as governor:
        instrument(governor, provider)

        async def call() -> None:
            async with governor.permit("weather"):
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as calls:
            for _ in range(3):
                calls.start_soon(call)
    found = figures(reader)

    assert {by(governor_scope="weather"): 2} == found["governor.wait.duration"]


@pytest.mark.parametrize("how", ["stopped", "left"])
async def test_afterwards_there_are_no_figures_and_no_complaints(
    reader: InMemoryMetricReader, provider: MeterProvider, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    async with Governor(config(), clock=ManualClock()) as governor:
        stop = instrument(governor, provider)
        governor.try_permit("weather")
        if how == "stopped":
            stop()
        found = figures(reader)
    if how == "left":
        found = figures(reader)

    assert set() == {name for name, points in found.items() if points}
    assert [] == caplog.records


# Spans.


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(spans: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider


def span_events(spans: InMemorySpanExporter) -> list[tuple[str, str, dict[str, object]]]:
    """The span, the event and its attributes."""
    return [
        (span.name, event.name, dict(event.attributes or {})) for span in spans.get_finished_spans() for event in span.events
    ]


def flaky(request: httpx2.Request) -> httpx2.Response:
    """Answers 503, until it is asked for the second time."""
    seen = request.extensions["seen"]
    seen.append(None)
    return httpx2.Response(200 if len(seen) > 1 else 503)


def flaky_request() -> httpx2.Request:
    request = httpx2.Request("GET", "https://weather.example/")
    request.extensions = {"seen": [], "timeout": {"pool": 0.0}}
    return request


EXPECTED = [
    ("call", "governor.retried", {"governor.scope": "weather:get", "http.request.resend_count": 1}),
    (
        "denied",
        "governor.denied",
        {"governor.scope": "weather:get", "error.type": "rate_limit_exceeded", "governor.retry_after": 1800.0},
    ),
]


async def test_retries_and_refusals_are_events_of_the_span_of_the_caller(
    spans: InMemorySpanExporter, tracing: TracerProvider
) -> None:
    tracer = tracing.get_tracer("test")
    async with Governor(config(), clock=ManualClock()) as governor:
        transport = AsyncGovernedTransport(
            "weather", governor=governor, transport=httpx2.MockTransport(flaky), on_event=add_to_span, clock=ManualClock()
        )
        with tracer.start_as_current_span("call"):
            request = flaky_request()
            request.extensions["timeout"] = {"pool": 10.0}
            await transport.handle_async_request(request)
        with tracer.start_as_current_span("denied"), pytest.raises(RateLimited):
            await transport.handle_async_request(flaky_request())

    assert EXPECTED == span_events(spans)


def test_so_they_are_for_callers_that_block(spans: InMemorySpanExporter, tracing: TracerProvider) -> None:
    tracer = tracing.get_tracer("test")
    with Governor(config(), clock=ManualClock()) as governor:
        transport = GovernedTransport(
            "weather", governor=governor, transport=httpx2.MockTransport(flaky), on_event=add_to_span, clock=ManualClock()
        )
        with tracer.start_as_current_span("call"):
            request = flaky_request()
            request.extensions["timeout"] = {"pool": 10.0}
            transport.handle_request(request)
        with tracer.start_as_current_span("denied"), pytest.raises(RateLimited):
            transport.handle_request(flaky_request())

    assert EXPECTED == span_events(spans)


def test_a_wait_is_an_event_and_what_concerns_no_call_is_none(spans: InMemorySpanExporter, tracing: TracerProvider) -> None:
    with tracing.get_tracer("test").start_as_current_span("call"):
        add_to_span(Granted(scope="weather", waited=1.5))
        add_to_span(DegradedLeft())

    assert [("call", "governor.granted", {"governor.scope": "weather", "governor.waited": 1.5})] == span_events(spans)


def test_without_a_span_nothing_is_done() -> None:
    assert add_to_span(Retried(scope="weather", attempt=2)) is None  # type: ignore[func-returns-value]  # what is tested


# What transports tell.


def test_the_client_tells_of_a_refusal_what_the_governor_knows() -> None:
    told: list[AnyEvent] = []
    with (
        Governor(config(), clock=ManualClock()) as governor,
        TrafficControlledHttpClient(
            "weather",
            governor=governor,
            timeout=0.0,
            transport=httpx2.MockTransport(lambda _: httpx2.Response(200)),
            on_event=told.append,
        ) as client,
    ):
        for _ in range(2):
            client.get("https://weather.example/")
        with pytest.raises(RateLimited):
            client.get("https://weather.example/")

    (denied,) = (event for event in told if isinstance(event, CallDenied))
    assert ("weather:get", "rate_limit_exceeded", 1800.0) == (denied.scope, denied.reason.value, denied.retry_after)
    assert denied.at > 0


def test_an_on_event_that_fails_changes_nothing_for_the_request(caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: AnyEvent, /) -> None:
        raise ZeroDivisionError

    with Governor(config(), clock=ManualClock()) as governor, caplog.at_level(logging.ERROR, "governor"):
        transport = GovernedTransport(
            "weather", governor=governor, transport=httpx2.MockTransport(flaky), on_event=fail, clock=ManualClock()
        )
        request = flaky_request()
        request.extensions["timeout"] = {"pool": 10.0}
        response = transport.handle_request(request)

    assert 200 == response.status_code
    assert ["`on_event` failed on Retried, and the request goes on."] == [record.getMessage() for record in caplog.records]
