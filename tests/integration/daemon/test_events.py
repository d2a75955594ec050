"""Listeners receive events as they happen."""

import pytest

from tests.integration.daemon.daemon import Start, listening, until


@pytest.mark.promise("R30")
def test_a_breaker_that_opens_is_an_event_and_then_in_the_snapshot(start: Start) -> None:
    daemon = start()
    with listening(daemon) as events:
        until(events, "snapshot")
        daemon.do("call", "weather:get", "500", "2")
        event = until(events, "breaker_changed")[-1][1]
        snapshot = until(events, "snapshot")[-1][1]

    assert ("weather:get", "closed", "open") == (event["scope"], event["before"], event["after"])
    assert 59 < event["probes_in"] <= 60
    assert "open" == snapshot["scopes"]["outbound:weather:get"]["circuit_breaker"]["state"]


@pytest.mark.promise("R30")
def test_degraded_mode_is_an_event_and_then_in_the_snapshot(start: Start) -> None:
    daemon = start()
    with listening(daemon) as events:
        until(events, "snapshot")
        for scope in ("one", "two"):
            daemon.do("call", scope, "500", "2")
        event = until(events, "degraded_entered")[-1][1]
        snapshot = until(events, "snapshot")[-1][1]

    assert 59 < event["cooldown"] <= 60
    assert ("failures", ["one", "two"]) == (event["cause"], event["providers"])
    assert ("failures", ["one", "two"]) == (snapshot["global"]["degraded_cause"], snapshot["global"]["degraded_providers"])
    assert snapshot["global"]["degraded_mode_active"]
    assert event["at"] + event["cooldown"] == pytest.approx(snapshot["global"]["degraded_until_ts"], abs=5)


@pytest.mark.promise("R30", "R33")
def test_a_flood_of_refusals_is_sampled_and_counted_in_full(start: Start) -> None:
    daemon = start()
    daemon.do("call", "scarce", "200", "1")
    with listening(daemon) as events:
        until(events, "snapshot")
        daemon.do("refuse", "scarce", "5000")
        refused = until(events, "call_denied")[-1][1]
        daemon.do("call", "weather:get", "500", "2")
        heard = until(events, "breaker_changed")
        snapshot = until(events, "snapshot")[-1][1]

    assert ("scarce", "rate_limit_exceeded") == (refused["scope"], refused["reason"])
    assert len([data for kind, data in heard if kind == "call_denied"]) < 100
    assert 5000 == snapshot["global"]["denied"]["rate_limit_exceeded"]
    assert 0 == snapshot["global"]["hooks_failed"]


def test_several_listen_at_a_time(start: Start) -> None:
    daemon = start()
    with listening(daemon) as first, listening(daemon) as second:
        for events in (first, second):
            until(events, "snapshot")
        daemon.do("call", "weather:get", "500", "2")
        told = [until(events, "breaker_changed")[-1][1] for events in (first, second)]

    assert told[0] == told[1]
