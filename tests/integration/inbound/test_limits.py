"""Requests to a real server that are admitted or denied."""

import json
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

import http_sf
import pytest

from governor.testing import ManualClock

Serve = Callable[..., Any]


@pytest.mark.promise("R21")
def test_the_actor_counts_before_the_session_and_that_before_the_address(serve: Serve) -> None:
    served = serve(clock=ManualClock())

    assert [200, 200, 429] == served.statuses(3, X_Actor="ann", X_User_Id="uma", X_Session_Id="s")
    assert [200, 200, 429] == served.statuses(3, X_User_Id="uma", X_Session_Id="s")
    assert [200, 200, 429] == served.statuses(3, X_Session_Id="s")
    assert [200, 200, 429] == served.statuses(3)
    assert [429] == served.statuses(1, X_Actor="", X_Session_Id="s")


@pytest.mark.promise("R20")
def test_the_longest_prefix_decides_at_the_border_of_a_segment(serve: Serve) -> None:
    groups = {
        name: {"limits": [f"1/day burst {burst}"]}
        for name, burst in (("models", 3), ("models_introspection", 1), ("chat", 4), ("default", 2))
    }
    served = serve(groups.pop("default"), clock=ManualClock(), **groups)

    assert [200, 429] == served.statuses(2, "/api/v1/models/introspection?x=/api/v1/chat")
    assert [200, 200, 200, 429] == served.statuses(4, "/api/v1/models/42")
    assert [200, 200, 429] == served.statuses(3, "/api/v1/chatter")
    assert [200, 200, 200, 200, 429] == served.statuses(5, "/api/v1/chat")


@pytest.mark.promise("R21")
def test_a_flood_of_one_actor_leaves_a_second_one_alone(serve: Serve) -> None:
    served = serve(clock=ManualClock())
    flood = served.statuses(50, X_Actor="ann")

    assert (2, 48) == (flood.count(200), flood.count(429))
    assert [200, 200, 429] == served.statuses(3, X_Actor="bob")
    assert 48 + 1 == served.governor.statistics().groups["default"].counters.denied["rate_limit_exceeded"]


@pytest.mark.promise("R22")
def test_a_refusal_is_what_the_standards_say(serve: Serve) -> None:
    served = serve({"limits": ["12/minute burst 2"]}, clock=ManualClock())
    served.statuses(2, X_Actor="ann")
    response = served.ask(headers={"X-Actor": "ann"})
    problem = json.loads(response.body)
    policy: Any = http_sf.parse(response.headers["RateLimit-Policy"].encode(), tltype="list")

    assert (429, "5", "application/problem+json") == (
        response.status,
        response.headers["Retry-After"],
        response.headers["Content-Type"],
    )
    assert [("client", {"r": 0, "t": 5})] == http_sf.parse(response.headers["RateLimit"].encode(), tltype="list")
    assert [("client", {"q": 2, "w": 10, "pk": policy[0][1]["pk"]})] == policy
    assert {"error": "rate_limit_exceeded", "retry_after_seconds": 5, "status": 429}.items() <= problem.items()


@pytest.mark.promise("R22")
def test_a_client_that_waits_for_retry_after_gets_in(serve: Serve) -> None:
    clock = ManualClock()
    served = serve({"limits": ["12/minute burst 2"]}, clock=clock)
    served.statuses(2)
    wait = int(served.ask().headers["Retry-After"])
    clock.advance(wait - 1e-6)
    early = served.statuses(1)
    clock.advance(1e-6)

    assert ([429], [200, 429]) == (early, served.statuses(2))


@pytest.mark.promise("R22")
def test_and_so_it_is_by_the_clock_on_the_wall(serve: Serve) -> None:
    served = serve({"limits": ["1/s burst 1"]})
    first, denied = served.ask(), served.ask()
    began = monotonic()
    sleep(int(denied.headers["Retry-After"]))
    waited = monotonic() - began

    assert (200, 429, 200) == (first.status, denied.status, served.ask().status)
    assert waited >= 1


@pytest.mark.promise("R24")
def test_a_new_actor_for_every_request_meets_the_ceiling_of_the_address(serve: Serve) -> None:
    served = serve({"address_limits": ["1/day burst 10"]}, clock=ManualClock())
    responses = [served.ask(headers={"X-Actor": f"actor{number}", "X-Session-Id": f"session{number}"}) for number in range(20)]

    assert 10 * [200] + 10 * [429] == [response.status for response in responses]
    assert ["address"] == json.loads(responses[-1].body)["violated-policies"]


@pytest.mark.promise("R24")
@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_what_an_untrusted_peer_says_of_its_address_changes_nothing(serve: Serve, header: str) -> None:
    served = serve(clock=ManualClock(), trusted_proxies=["10.0.0.0/8"])
    said = [f"{'for=' if header == 'Forwarded' else ''}198.51.100.{number}" for number in range(3)]

    assert [200, 200, 429] == [served.ask(headers={header: one}).status for one in said]


@pytest.mark.promise("R24")
def test_behind_a_trusted_proxy_it_is_the_last_address_that_is_not_ours(serve: Serve) -> None:
    served = serve(clock=ManualClock(), trusted_proxies=["127.0.0.0/8", "10.0.0.0/8"])
    forged = [served.ask(headers={"X-Forwarded-For": f"1.1.1.{number}, 198.51.100.1, 10.0.0.9"}).status for number in range(3)]

    assert [200, 200, 429] == forged
    assert [200, 200, 429] == served.statuses(3, X_Forwarded_For="198.51.100.2")
    assert [200, 200, 429] == served.statuses(3, Forwarded='for="[2001:db8:0:1::5]:80"')
    assert [429] == served.statuses(1, Forwarded='for="[2001:db8:0:1::6]:81"')


@pytest.mark.promise("R24")
def test_whatever_stands_in_a_header_its_sender_is_one_caller(serve: Serve) -> None:
    served = serve(clock=ManualClock(), trusted_proxies=["127.0.0.1"])
    odd = [b"a" * 65_536, b"\xff\xfe\x80", b'a,b;c="d"\te', b'""']
    named = [
        [served.ask(headers={header: value}).status for _ in range(3)]
        for header in ("X-Actor", "X-Session-Id")
        for value in odd
    ]
    unreadable = [served.ask(headers={header: value}).status for header in ("X-Forwarded-For", "Forwarded") for value in odd]

    assert 8 * [[200, 200, 429]] == named
    assert [200, 200] + 6 * [429] == unreadable


@pytest.mark.promise("R20", "R24")
def test_no_spelling_of_a_path_escapes_its_limit(serve: Serve) -> None:
    served = serve({"limits": ["1/day burst 100"]}, clock=ManualClock(), models_introspection={"limits": ["1/day burst 1"]})
    plain = "/api/v1/models/introspection"
    spellings = [
        "/api/v1/models//introspection",
        "/api/v1/./models/introspection/",
        "/api/v1/chat/../models/introspection",
        "/api/v1/chat/%2e%2e/models/introspection",
        "/api/v1/chat/%252e%252e/models/introspection",
        "/API/v1/Models/Introspection",
        "/api/v1/models/%69ntrospection.",
        "/api/v1/models/introspection;v=1",
        "/api/v1/models%5Cintrospection",
        "/api/v1/models/introspection/../../chat",
        "/health/../api/v1/models/introspection",
    ]

    assert [200] == served.statuses(1, plain)
    assert len(spellings) * [429] == [served.ask(path).status for path in spellings]


@pytest.mark.promise("R22")
def test_announced_quotas_count_down(serve: Serve) -> None:
    served = serve(clock=ManualClock(), announce=True)
    responses = [served.ask() for _ in range(3)]

    assert [(200, '"client";r=1;t=1'), (200, '"client";r=0;t=2'), (429, '"client";r=0;t=1')] == [
        (response.status, response.headers["RateLimit"]) for response in responses
    ]
