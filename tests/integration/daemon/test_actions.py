"""What an operator can do to a real daemon, and who cannot."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx2
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from governor.daemon import openapi
from governor.daemon.actions import MAX_BODY
from tests.integration.daemon.daemon import API, Daemon, Start, listening, until
from tests.support.waits import PATIENCE

pytestmark = pytest.mark.promise("R35")

TOKEN: Final = "a-token-of-an-operator"
BREAKER: Final = f"{API}/actions/breaker"
RESUME: Final = f"{API}/actions/resume"
BEARER: Final = {"Authorization": f"Bearer {TOKEN}"}
DOCUMENT: Final[dict[str, Any]] = json.loads(msgspec.json.encode(openapi.document(server="/", actions=True)))

contract = schemathesis.openapi.from_dict(DOCUMENT).include(path_regex="/actions/")


def act(daemon: Daemon, path: str, body: object, **headers: str) -> httpx2.Response:
    return httpx2.post(f"{daemon.url}{path}", json=body, headers={**BEARER, **headers}, timeout=PATIENCE)


def breaker(daemon: Daemon, scope: str) -> dict[str, Any]:
    found: dict[str, Any] = daemon.status()["scopes"][f"outbound:{scope}"]["circuit_breaker"]
    return found


@pytest.fixture
def administered(start: Start) -> Daemon:
    daemon = start("--admin-token", TOKEN)
    daemon.do("call", "weather:get", "200", "1")
    return daemon


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all requests that it rejects."""
    with own_daemon(tmp_path_factory) as daemon:
        daemon.do("call", "weather:get", "200", "1")
        yield daemon


@contextmanager
def own_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    policy = tmp_path_factory.mktemp("daemon") / "governor.toml"
    policy.write_text("", encoding="utf-8")
    daemon = Daemon("--admin-token", TOKEN, policy=policy)
    yield daemon
    daemon.close()


def test_a_scope_is_paused_and_resumed(administered: Daemon) -> None:
    with listening(administered.url) as events:
        paused = act(administered, BREAKER, {"scope": "outbound:weather:get", "open_for": "5m"})
        until(events, "breaker_changed", scope="weather:get", before="closed", after="open")
        administered.do("deny", "weather:get", "1")
        open_ = breaker(administered, "weather:get")
        conditions = administered.status()["conditions"]
        resumed = act(administered, BREAKER, {"scope": "weather:get", "open_for": None})
        until(events, "breaker_changed", scope="weather:get", before="open", after="closed")
        administered.do("call", "weather:get", "200", "1")

    assert [(204, b"")] * 2 == [(answer.status_code, answer.content) for answer in (paused, resumed)]
    assert ("open", True) == (open_["state"], open_["forced"])
    assert 290 < open_["probes_in"] <= 300
    assert "denies calls: circuit breaker open by hand" == conditions[0]["summary"]
    assert "closed" == breaker(administered, "weather:get")["state"]


def test_degraded_mode_is_ended(administered: Daemon) -> None:
    for scope in ("weather:get", "other:get"):
        administered.do("call", scope, "503", "2")
    before = administered.status()["global"]["degraded_mode_active"]
    answer = act(administered, RESUME, {})

    assert (True, 204, False) == (before, answer.status_code, administered.status()["global"]["degraded_mode_active"])


@pytest.mark.parametrize(
    "said",
    [
        [],
        ["Bearer"],
        ["Bearer a-token-of-an-operatos"],
        [f"Basic {TOKEN}"],
        [TOKEN],
        [f"Bearer {TOKEN}x"],
        ["Bearer t\u00f6ken-of-an-operator"],
        [f"Bearer {TOKEN}", f"Bearer {TOKEN}"],
    ],
)
def test_without_the_token_nothing_happens(untouched: Daemon, said: list[str]) -> None:
    headers = [(b"authorization", value.encode("latin-1")) for value in said]
    body = {"scope": "weather:get", "open_for": "5m"}
    answers = [
        httpx2.post(f"{untouched.url}{path}", json=body, headers=headers, timeout=PATIENCE) for path in (BREAKER, RESUME)
    ]

    assert [401, 401] == [answer.status_code for answer in answers]
    assert ["Bearer", "Bearer"] == [answer.headers["www-authenticate"] for answer in answers]
    assert ["application/problem+json"] * 2 == [answer.headers["content-type"] for answer in answers]
    assert "closed" == breaker(untouched, "weather:get")["state"]


def test_without_the_option_there_are_no_actions(daemon: Daemon) -> None:
    answers = [act(daemon, path, {}).status_code for path in (BREAKER, RESUME)]

    assert [404, 404] == answers
    assert [] == [path for path in daemon.get("/openapi.json").json()["paths"] if "actions" in path]


def test_a_form_that_a_browser_may_send_to_another_origin_does_nothing(untouched: Daemon) -> None:
    body = b'{"scope": "weather:get", "open_for": "5m"}'
    types = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", ""]
    answers = [
        httpx2.post(f"{untouched.url}{BREAKER}", content=body, headers={**BEARER, "Content-Type": kind}, timeout=PATIENCE)
        for kind in types
    ]

    assert [415] * len(types) == [answer.status_code for answer in answers]
    assert "closed" == breaker(untouched, "weather:get")["state"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"scope": "nowhere:get", "open_for": "5m"}, 404, "there is no scope 'nowhere:get', or it has not been used yet"),
        ({"scope": "inbound:default", "open_for": "5m"}, 404, "scope is ''"),
        ({"scope": "weather:get", "open_for": "5 minuts"}, 400, "open_for is '5 minuts'; expected "),
        ({"scope": "weather:get", "open_for": "0s"}, 400, "open_for is '0s'; expected a duration from "),
        ({"scope": "weather:get", "open_for": 300}, 400, "Expected `str | null`, got `int` - at `$.open_for`"),
        ({"scope": "weather:get"}, 400, "missing required field `open_for`"),
        ({"scope": "weather:get", "open_for": None, "more": 1}, 400, "unknown field `more`"),
        ([], 400, "Expected `object`, got `array`"),
        ("x" * (MAX_BODY - 2), 400, "Expected `object`, got `str`"),  # In quotes.
        ("x" * (MAX_BODY - 1), 413, f"{MAX_BODY} bytes"),
    ],
)
def test_a_mistake_is_a_problem_that_says_what_is_wrong(untouched: Daemon, body: object, status: int, words: str) -> None:
    answer = act(untouched, BREAKER, body)
    problem = answer.json()

    assert (status, status, "application/problem+json") == (
        answer.status_code,
        problem["status"],
        answer.headers["content-type"],
    )
    assert words in problem["detail"]
    assert "closed" == breaker(untouched, "weather:get")["state"]


def test_other_methods_are_named(untouched: Daemon) -> None:
    answer = untouched.get(BREAKER, headers=BEARER)

    assert (405, "POST") == (answer.status_code, answer.headers["allow"])
    assert "Methods that are allowed here: POST." == answer.json()["detail"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
def test_the_token_is_not_shown_anywhere(administered: Daemon) -> None:
    act(administered, BREAKER, {"scope": "weather:get", "open_for": "5m"})
    act(administered, BREAKER, {"scope": TOKEN}, Authorization="Bearer another-token-of-someone")
    pages = [administered.get(path).text for path in (f"{API}/status", "/openapi.json", "/metrics", f"{API}/history", "/")]
    administered.signal(signal.SIGTERM)
    administered.ended()
    said = [*pages, *administered.output.queue, *administered.errors.queue]

    assert any("opened by hand" in line for line in said)
    assert [] == [line for line in said if TOKEN in line]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with own_daemon(tmp_path_factory) as daemon:
        yield daemon


@given(case=contract.as_strategy())
@settings(max_examples=50, suppress_health_check=list(HealthCheck))
def test_whatever_is_sent_the_answer_is_as_documented(case: schemathesis.Case[Any], described: Daemon) -> None:
    # The schema does not say which text is a duration, so that valid documents may be mistakes.
    case.call_and_validate(base_url=described.url, headers=BEARER, excluded_checks=[positive_data_acceptance])
