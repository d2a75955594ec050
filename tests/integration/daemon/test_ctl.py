"""`governor ctl` closes, opens and resets scopes and providers of a real daemon."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Final

import pytest

from tests.integration.daemon.daemon import Daemon, Start
from tests.support.programs import ROOT, governor

pytestmark = pytest.mark.promise("R12", "R35")

TOKEN: Final = "a-token-of-an-operator"


def ctl(daemon: Daemon, *arguments: str, token: str | None = TOKEN) -> tuple[int, str, str]:
    """The exit status, and what it prints to the output and to the errors."""
    said = {} if token is None else {"GOVERNOR_ADMIN_TOKEN": token}
    # A proxy that the environment names is for the world outside, and gets to see no token.
    ran = governor("ctl", *arguments, "--url", daemon.url, folder=ROOT, http_proxy="http://127.0.0.1:1", **said)
    return ran.returncode, ran.stdout, ran.stderr


def test_a_provider_is_closed_with_scopes_that_begin_later_and_opened(start: Start) -> None:
    daemon = start("--admin-token", TOKEN)
    daemon.do("call", "weather:get", "200", "1")

    assert (0, "weather is closed for 10m.\n", "") == ctl(daemon, "close", "weather", "--for", "10m")
    daemon.do("deny", "weather:get", "1")
    daemon.do("deny", "weather:delete", "1")
    daemon.do("call", "elsewhere:get", "200", "1")
    denial = daemon.status()["scopes"]["outbound:weather:delete"]["denial"]
    assert (0, "Weather is open.\n", "") == ctl(daemon, "open", "Weather")
    daemon.do("call", "weather:get", "200", "1")
    daemon.do("call", "weather:delete", "200", "1")

    assert "circuit_breaker_open" == denial["reason"]
    assert 590 < denial["retry_after"] <= 600


def test_a_scope_is_closed_and_opened(start: Start) -> None:
    daemon = start("--admin-token", TOKEN)
    daemon.do("call", "weather:get", "200", "1")

    assert 0 == ctl(daemon, "close", "weather:get")[0]
    daemon.do("deny", "weather:get", "1")
    daemon.do("call", "weather:post", "200", "1")
    assert 0 == ctl(daemon, "open", "weather:get")[0]
    daemon.do("call", "weather:get", "200", "1")


def test_reset_forgets_what_the_server_has_rejected(start: Start) -> None:
    daemon = start("--admin-token", TOKEN)
    daemon.do("call", "weather:get", "403", "10")
    daemon.do("deny", "weather:get", "1")
    condition = daemon.status()["conditions"][0]

    assert (0, "weather:get is reset.\n", "") == ctl(daemon, "reset", "weather:get")
    daemon.do("call", "weather:get", "403", "9")
    assert 0 == ctl(daemon, "reset", "weather")[0]
    daemon.do("call", "weather:get", "403", "10")
    daemon.do("deny", "weather:get", "1")
    assert "denies calls: too many calls rejected by the server" in condition["summary"]


def test_reset_forgets_what_the_server_has_said_of_its_limits(start: Start) -> None:
    daemon = start("--admin-token", TOKEN)
    daemon.do("left", "weather:get", "2")
    daemon.do("call", "weather:post", "200", "2")
    daemon.do("deny", "weather:get", "1")

    assert 0 == ctl(daemon, "reset", "weather")[0]
    daemon.do("call", "weather:get", "200", "10")


def test_a_mistake_says_what_is_wrong(start: Start) -> None:
    daemon = start("--admin-token", TOKEN)
    without = start()

    unknown = ctl(daemon, "close", "githb")
    assert (1, "", "governor ctl: Nothing was done: there is no provider 'githb', or it has not been used yet.\n") == unknown
    assert (1, "", "governor ctl: the daemon has no such action: it was started without an admin token.\n") == ctl(
        without, "resume"
    )
    status, _, said = ctl(daemon, "open", "weather", token="another-token-of-someone")
    assert (1, True) == (status, "needs the admin token" in said)
    status, _, said = ctl(daemon, "open", "weather", token=None)
    assert (2, True) == (status, "GOVERNOR_ADMIN_TOKEN" in said)
    status, _, said = ctl(daemon, "close", "weather", "--for", "tenm", token=None)
    assert (2, True) == (status, "argument --for: duration is 'tenm'; expected " in said)
    assert (0, "Degraded mode is ended.\n", "") == ctl(daemon, "resume")
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        Thread(target=other.handle_request).start()
        elsewhere = f"http://127.0.0.1:{other.server_port}"
        ran = governor("ctl", "resume", "--url", elsewhere, folder=ROOT, GOVERNOR_ADMIN_TOKEN=TOKEN)
    said = f"governor ctl: what answers at {elsewhere} is no governor: 501 Unsupported method ('POST')\n"
    assert (1, "", said) == (ran.returncode, ran.stdout, ran.stderr)
