"""An application behind a unix socket, where no client has an address but those that a proxy names."""

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from governor import Config, Governor
from governor.testing import ManualClock
from governor_client import TrafficControlMiddleware
from tests.support.servers import in_hypercorn, in_uvicorn

pytestmark = [
    pytest.mark.promise("R24"),
    pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="unix sockets do not exist for this platform"),
]

Server = Callable[[Any, Path], AbstractContextManager[object]]


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"yes"})


def in_plain_uvicorn(app: Any, path: Path) -> AbstractContextManager[object]:
    """The server itself reads no header of a proxy."""
    return in_uvicorn(app, path, proxy_headers=False, forwarded_allow_ips="")


@pytest.mark.parametrize("server", [in_plain_uvicorn, in_hypercorn])
@pytest.mark.parametrize("trusted", [True, False])
def test_behind_a_unix_socket_each_client_of_a_trusted_proxy_has_a_bucket(
    server: Server, tmp_path: Path, trusted: bool
) -> None:
    inbound = {"trusted_proxies": ["unix:"] if trusted else [], "default": {"limits": ["1/day burst 2"]}}
    governor = Governor(Config.from_mapping({"inbound": inbound}), clock=ManualClock())
    path = tmp_path / "app.sock"
    with (
        governor,
        server(TrafficControlMiddleware(app, governor), path),
        httpx2.Client(transport=httpx2.HTTPTransport(uds=str(path)), base_url="http://app") as client,
    ):
        headers = [{"X-Forwarded-For": address} for address in ("203.0.113.1", "198.51.100.7")]
        attack = {"X-Forwarded-For": "203.0.113.1", "Forwarded": "for=198.51.100.9"}
        statuses = [[client.get("/", headers=one).status_code for _ in range(3)] for one in (*headers, attack, {})]

    one, none = [200, 200, 429], [429, 429, 429]
    assert ([one, one, none, one] if trusted else [one, none, none, none]) == statuses
