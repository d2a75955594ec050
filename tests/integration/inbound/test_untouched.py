"""Everything that an application does works as without the middleware."""

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from governor.testing import ManualClock
from tests.support.waits import PATIENCE

pytestmark = pytest.mark.promise("R25")

Serve = Callable[..., Any]


def upgrade(served: Any) -> Any:
    return connect(f"ws://127.0.0.1:{served.port}/echo", subprotocols=["echo"], proxy=None)  # type: ignore[list-item]  # its own type of text


def refusal(served: Any) -> Any:
    with pytest.raises(InvalidStatus) as raised:
        upgrade(served)
    return raised.value.response


def test_the_lifespan_and_background_tasks_go_on(serve: Serve) -> None:
    served = serve(clock=ManualClock())
    up, body = served.life(), served.ask("/anything").body
    background = served.life()
    served.stop()

    assert ("up", b"/anything", "background", "down") == (up, body, background, served.life())


def test_events_arrive_one_by_one(serve: Serve) -> None:
    served = serve(clock=ManualClock())
    with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE) as connection:
        connection.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        first = until(connection, b"data: 1")
        # The application goes on when the first event has arrived, and not before.
        served.app.go.put(None)
        second = until(connection, b"data: 2")

    assert (True, True, False) == (first.startswith(b"HTTP/1.1 200"), b"text/event-stream" in first, b"data: 1" in second)


def until(connection: socket.socket, mark: bytes) -> bytes:
    """What arrives, as far as this mark."""
    seen = b""
    while mark not in seen:
        piece = connection.recv(65_536)
        assert piece
        seen += piece
    return seen


def test_a_body_arrives_whole(serve: Serve) -> None:
    served = serve(clock=ManualClock())
    with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE) as connection:
        connection.sendall(
            b"POST /upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 300000\r\n\r\n" + bytes(300_000)
        )
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert b"300000" == answer.rpartition(b"\r\n")[2]


def test_a_websocket_talks_and_counts_once(serve: Serve) -> None:
    served = serve(clock=ManualClock())
    with upgrade(served) as websocket:
        for number in range(5):
            websocket.send(str(number))
        echoes = [websocket.recv() for _ in range(5)]
        subprotocol = websocket.subprotocol

    assert (["0", "1", "2", "3", "4"], "echo") == (echoes, subprotocol)
    assert 1 == served.governor.statistics().groups["default"].counters.requests


def test_a_websocket_over_the_limit_gets_a_429_in_the_handshake(serve: Serve) -> None:
    served = serve({"limits": ["1/minute burst 1"]}, clock=ManualClock())
    with upgrade(served):
        pass
    response = refusal(served)

    assert (429, "60", "rate_limit_exceeded") == (
        response.status_code,
        response.headers["Retry-After"],
        json.loads(response.body)["error"],
    )


def without_extensions(app: Any) -> Any:
    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "extensions": {}}, receive, send)

    return bare


def test_or_is_denied_if_the_server_cannot_say_more(serve: Serve) -> None:
    served = serve({"limits": ["1/minute burst 1"]}, clock=ManualClock(), around=without_extensions)
    with upgrade(served):
        pass

    assert 403 == refusal(served).status_code


@pytest.mark.promise("R23")
def test_while_it_drains_health_checks_are_answered_and_nothing_else(serve: Serve) -> None:
    served = serve(clock=ManualClock())
    served.middleware.draining = True
    response = served.ask()

    assert (503, "5", "shutting_down") == (response.status, response.headers["Retry-After"], json.loads(response.body)["error"])
    assert (200, 503) == (served.ask("/health").status, refusal(served).status_code)
