"""Prometheus gets the figures, and only bounded labels."""

from collections.abc import Mapping
from typing import Final

import msgspec
import pytest
from prometheus_client import Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry

from governor import Config, Denied, Governor, Permit
from governor.daemon.prometheus import GovernorCollector, expose
from governor.messages import InboundRequest
from governor.testing import ManualClock

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R34")]

CONFIG: Final = Config.from_mapping(
    {
        "outbound": {
            "github": {"limits": ["60/minute burst 2", "60/minute burst 2", "20 in flight"], "breaker": {"failures": 1}},
            "weather": {"limits": ["2 in flight"]},
        },
        "inbound": {"shop": {"paths": ["/shop"], "limits": ["60/minute burst 1"], "total_limits": ["60/minute burst 8"]}},
    }
)
Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


async def busy(governor: Governor) -> None:
    """Something of everything."""
    for status in (200, 500):
        permit = governor.try_permit("github", "GET")
        assert isinstance(permit, Permit)
        permit.record(status=status)
    assert isinstance(governor.try_permit("github", "GET"), Denied)
    async with governor.permit("weather", attempt=2) as attempt:
        attempt.record(status=429)
    group = governor.inbound._actor("shop")
    assert group is not None
    for _ in range(3):
        group.admit(InboundRequest(b"a" + b"1" * 15, b"i" + b"1" * 15))
    group.ended(200)


async def exposed(accept: str = "") -> tuple[str, str]:
    async with Governor(CONFIG, clock=ManualClock()) as governor:
        await busy(governor)
        body, content_type = expose(msgspec.structs.replace(governor.statistics(), started_at=1_700_000_000.0), accept=accept)
    return body.decode(), content_type


def samples(text: str) -> Samples:
    """Every sample once, by name and labels."""
    read = [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    by_key = {(name, frozenset(labels.items())): value for name, labels, value in read}
    assert len(read) == len(by_key)
    return by_key


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


async def test_every_figure_is_exposed_under_the_name_of_what_it_belongs_to() -> None:
    text, content_type = await exposed()
    found = samples(text)
    github = {"scope": "github:get"}

    assert "text/plain; version=0.0.4; charset=utf-8" == content_type
    expected = {
        key("governor_start_time_seconds"): 1_700_000_000.0,
        key("governor_requests_last_minute"): 3.0,
        key("governor_requests_per_minute_cap"): 1000.0,
        key("governor_degraded"): 0.0,
        key("governor_degraded_remaining_seconds"): 0.0,
        key("governor_degraded_spells_total"): 0.0,
        key("governor_conditions", kind="breaker_open"): 1.0,
        key("governor_conditions", kind="degraded"): 0.0,
        key("governor_scopes_set_aside"): 0.0,
        key("governor_events_dropped_total"): 0.0,
        key("governor_hooks_failed_total"): 0.0,
        key("governor_requests_total", **github): 2.0,
        key("governor_outcomes_total", outcome="2xx", **github): 1.0,
        key("governor_outcomes_total", outcome="5xx", **github): 1.0,
        key("governor_outcomes_total", outcome="failure", **github): 0.0,
        key("governor_denied_total", reason="circuit_breaker_open", **github): 1.0,
        key("governor_breaker_openings_total", **github): 1.0,
        key("governor_breaker_state", state="open", **github): 1.0,
        key("governor_breaker_state", state="closed", **github): 0.0,
        key("governor_waiting", **github): 0.0,
        key("governor_leased", **github): 0.0,
        key("governor_limit_available", limit="60/minute burst 2", **github): 0.0,
        key("governor_limit_capacity", limit="20 in flight", **github): 20.0,
        key("governor_answers_429_total", scope="weather"): 1.0,
        key("governor_retries_total", scope="weather"): 1.0,
        key("governor_inbound_requests_total", group="shop"): 1.0,
        key("governor_inbound_outcomes_total", group="shop", outcome="2xx"): 1.0,
        key("governor_inbound_denied_total", group="shop", limit="client"): 2.0,
        key("governor_inbound_unenforced_total", group="shop"): 0.0,
        key("governor_inbound_clients", group="shop"): 1.0,
        key("governor_inbound_limit_available", group="shop", limit="60/minute burst 8"): 7.0,
        key("governor_inbound_limit_capacity", group="shop", limit="60/minute burst 8"): 8.0,
    }
    assert expected == {one: found.get(one) for one in expected}


@pytest.mark.promise("R33")
async def test_labels_are_few_and_no_caller_is_among_them() -> None:
    text, _ = await exposed()
    labels = {label for _, labels in samples(text) for label, _ in labels}

    assert {"scope", "group", "reason", "limit", "outcome", "state", "kind"} == labels
    assert "actor-" not in text


async def test_openmetrics_is_spoken_to_those_who_ask_for_it() -> None:
    text, content_type = await exposed("application/openmetrics-text; version=1.0.0, text/plain;q=0.5")

    assert content_type.startswith("application/openmetrics-text")
    assert "governor_requests" in {family.name for family in parse_openmetrics(text)}  # type: ignore[no-untyped-call]  # a function without types


async def test_a_registry_asks_the_governor_once_for_each_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Governor] = []
    statistics = Governor.statistics

    def counted(governor: Governor) -> object:
        asked.append(governor)
        return statistics(governor)

    monkeypatch.setattr(Governor, "statistics", counted)
    async with Governor(CONFIG, clock=ManualClock()) as governor:
        registry = CollectorRegistry(auto_describe=True)
        registry.register(GovernorCollector(governor))
        registered = len(asked)
        families = {family.name for family in registry.collect()}

    assert (0, 1) == (registered, len(asked))
    assert "governor_requests" in families


async def test_a_governor_that_does_not_run_is_down_and_spoils_no_figure_of_the_program() -> None:
    registry = CollectorRegistry()
    Counter("orders", "Orders.", registry=registry).inc()
    async with Governor(CONFIG, clock=ManualClock()) as governor:
        registry.register(GovernorCollector(governor))
        up = registry.get_sample_value("governor_up")
    families = {family.name: family for family in registry.collect()}

    assert (1.0, 0.0) == (up, registry.get_sample_value("governor_up"))
    assert {"orders", "governor_up"} == set(families)
    assert 0.0 == registered(Governor()).get_sample_value("governor_up")


async def test_a_second_collector_is_rejected_when_it_is_registered() -> None:
    registry = CollectorRegistry()
    registry.register(GovernorCollector(Governor()))
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        registry.register(GovernorCollector(Governor()))


async def test_the_names_said_in_advance_are_those_that_are_collected() -> None:
    async with Governor(CONFIG, clock=ManualClock()) as governor:
        governor.try_permit("weather")
        collector = GovernorCollector(governor)

        assert {family.name for family in collector.describe()} == {family.name for family in collector.collect()}


def registered(governor: Governor) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(GovernorCollector(governor))
    return registry
