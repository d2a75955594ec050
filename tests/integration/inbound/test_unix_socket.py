"""An application behind a unix socket, where no client has an address but those that a proxy names."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any

import httpx
import hypercorn
import hypercorn.asyncio
import pytest
import uvicorn

from governor import Config, Governor
from governor.testing import ManualClock
from governor_client import TrafficControlMiddleware

pytestmark = [
    pytest.mark.promise("R24"),
    pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="unix sockets do not exist for this platform"),
]

Server = Callable[[Any, Path], AbstractContextManager[None]]


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"yes"})


@contextmanager
def in_uvicorn(app: Any, path: Path) -> Iterator[None]:
    options = uvicorn.Config(
        app, uds=str(path), lifespan="off", ws="none", log_config=None, proxy_headers=False, forwarded_allow_ips=""
    )
    server = uvicorn.Server(options)
    thread = Thread(target=server.run, name="uvicorn")
    thread.start()
    try:
        wait_for(path)
        yield
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def in_hypercorn(app: Any, path: Path) -> Iterator[None]:
    settings = hypercorn.Config()
    settings.bind = [f"unix:{path}"]
    settings.errorlog = None
    with asyncio.Runner() as runner:
        stop = asyncio.Event()
        thread = Thread(target=runner.run, args=[hypercorn.asyncio.serve(app, settings, shutdown_trigger=stop.wait)])
        thread.start()
        try:
            wait_for(path)
            yield
        finally:
            runner.get_loop().call_soon_threadsafe(stop.set)
            thread.join()


def wait_for(path: Path) -> None:
    """Returns as soon as somebody listens."""
    deadline = monotonic() + 30
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                return probe.connect(str(path))
        except OSError:
            assert monotonic() < deadline
            sleep(0.001)


@pytest.mark.parametrize("server", [in_uvicorn, in_hypercorn])
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
        httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://app") as client,
    ):
        headers = [{"X-Forwarded-For": address} for address in ("203.0.113.1", "198.51.100.7")]
        attack = {"X-Forwarded-For": "203.0.113.1", "Forwarded": "for=198.51.100.9"}
        statuses = [[client.get("/", headers=one).status_code for _ in range(3)] for one in (*headers, attack, {})]

    one, none = [200, 200, 429], [429, 429, 429]
    assert ([one, one, none, one] if trusted else [one, none, none, none]) == statuses
