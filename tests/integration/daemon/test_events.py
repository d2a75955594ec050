"""Listeners receive events as they happen."""

import time
import tomllib
from random import Random
from typing import Any

import httpx2
import pytest

from governor import Config, Governor, InboundRequest, Permit
from governor.daemon import create_app, feed, tracker
from governor.testing import ManualClock
from tests.integration.daemon.daemon import API, POLICY, Start, listening, until
from tests.support.merging import heard
from tests.support.servers import in_uvicorn
from tests.support.waits import PATIENCE


@pytest.mark.promise("R30")
def test_a_breaker_that_opens_is_an_event_and_then_in_the_status(start: Start) -> None:
    daemon = start()
    with listening(daemon.url) as events:
        until(events, "snapshot")
        daemon.do("call", "weather:get", "500", "2")
        event = until(events, "breaker_changed")[-1][1]
        status = until(events, "changes")[-1][1]

    assert ("weather:get", "closed", "open") == (event["scope"], event["before"], event["after"])
    assert 59 < event["probes_in"] <= 60
    assert "open" == status["scopes"]["outbound:weather:get"]["circuit_breaker"]["state"]


@pytest.mark.promise("R30")
def test_degraded_mode_is_an_event_and_then_in_the_status(start: Start) -> None:
    daemon = start()
    with listening(daemon.url) as events:
        until(events, "snapshot")
        for scope in ("one", "two"):
            daemon.do("call", scope, "500", "2")
        event = until(events, "degraded_entered")[-1][1]
        status = until(events, "changes")[-1][1]

    assert 59 < event["cooldown"] <= 60
    assert ("failures", ["one", "two"]) == (event["cause"], event["providers"])
    assert ("failures", ["one", "two"]) == (status["global"]["degraded_cause"], status["global"]["degraded_providers"])
    assert status["global"]["degraded_mode_active"]
    assert event["at"] + event["cooldown"] == pytest.approx(status["global"]["degraded_until_ts"], abs=5)


@pytest.mark.promise("R30", "R33")
def test_a_flood_of_refusals_is_sampled_and_counted_in_full(start: Start) -> None:
    daemon = start()
    daemon.do("call", "scarce", "200", "1")
    with listening(daemon.url) as events:
        until(events, "snapshot")
        daemon.do("deny", "scarce", "5000")
        denied = until(events, "call_denied")[-1][1]
        daemon.do("call", "weather:get", "500", "2")
        heard = until(events, "breaker_changed")
        status = until(events, "changes")[-1][1]

    assert ("scarce", "rate_limit_exceeded") == (denied["scope"], denied["reason"])
    assert len([data for kind, data in heard if kind == "call_denied"]) < 100
    assert 5000 == status["global"]["denied"]["rate_limit_exceeded"]
    assert 0 == status["global"]["hooks_failed"]


@pytest.mark.promise("R30")
def test_who_merges_the_changes_has_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "PERIOD", 0.05)
    monkeypatch.setattr(feed, "_FRESH", 0.025)
    monkeypatch.setattr(tracker, "RECENT", 3600.0)
    # The clock of the governor stands still beside the wall clock.
    monkeypatch.setattr("governor._supervisor._MAX_DRIFT", 3600.0)
    random, clock = Random(7), ManualClock()
    inbound = {"chat": {"paths": ["/chat"], "limits": ["9/h burst 9"]}}
    kinds, known, whole = list[str](), None, dict[str, Any]()
    with (
        Governor(Config.from_mapping({**tomllib.loads(POLICY), "inbound": inbound}), clock=clock) as governor,
        in_uvicorn(create_app(governor, admin_token="a" * 16)) as (port, _),
        listening(f"http://127.0.0.1:{port}") as events,
    ):
        for _ in range(5):
            for _ in range(50):
                generate_traffic(governor, random)
            clock.advance(random.choice([0, 1, 90]))
            over, later = time.time(), 0
            # The first one that is dated later may have begun to be read before.
            while later < 2:
                kind, data = next(events)
                known = heard(known, kind, data)
                if kind in ("snapshot", "changes"):
                    kinds.append(kind)
                    later += data["global"]["now"] > over
            whole = httpx2.get(f"http://127.0.0.1:{port}{API}/status", timeout=PATIENCE).json()

            assert known is not None
            assert steady(whole) == steady(known)

    assert "snapshot" == kinds[0]
    assert {"changes"} == set(kinds[1:])
    assert len(whole["scopes"]) > 30


def generate_traffic(governor: Governor, random: Random) -> None:
    """A call to some scope with some outcome, or an inbound request."""
    if random.random() < 0.1:
        client = b"%032d" % random.randrange(3)
        admission = governor.inbound.admit_blocking("chat", InboundRequest(client, client))
        if admission.granted:
            admission.end(200)
        return
    permit = governor.try_permit(random.choice(["weather", "scarce", "queue", f"provider{random.randrange(40)}"]))
    if isinstance(permit, Permit) and random.random() < 0.9:
        permit.record(status=random.choice([200, 200, 404, 500]))


def steady(status: dict[str, Any]) -> dict[str, Any]:
    """The status without the moments of its reading."""
    whole = {name: value for name, value in status["global"].items() if name not in ("now", "degraded_until_ts")}
    found = [{name: value for name, value in one.items() if name not in ("since", "until")} for one in status["conditions"]]
    return {**status, "global": whole, "conditions": found}


def test_several_listen_at_a_time(start: Start) -> None:
    daemon = start()
    with listening(daemon.url) as first, listening(daemon.url) as second:
        for events in (first, second):
            until(events, "snapshot")
        daemon.do("call", "weather:get", "500", "2")
        told = [until(events, "breaker_changed")[-1][1] for events in (first, second)]

    assert told[0] == told[1]
