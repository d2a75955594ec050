"""Adapters over HTTP/2: many requests on one connection, each with a permit and an outcome of its own."""

from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any

import anyio
import httpx
import httpx2
import pytest

import governor_client.httpx
import governor_client.httpx2
from governor import Config, CounterRecord, Governor
from governor_client import TrafficControlledHttpClient
from tests.support.servers import in_hypercorn

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R56")]

ADAPTERS = {httpx: governor_client.httpx.AsyncGovernedTransport, httpx2: governor_client.httpx2.AsyncGovernedTransport}
SETTINGS = {"outbound": {"default": {"limits": ["1000/s"], "retry": {"first_delay": "1ms"}, "breaker": {"failures": 1000}}}}


class Server:
    """Answers by the path, and remembers the version and the connection of each request."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, object, str]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        self.seen.append((scope["http_version"], tuple(scope["client"]), scope["path"]))
        first = [path for _, _, path in self.seen].count(scope["path"]) == 1
        status = 503 if scope["path"] == "/once" and first else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"piece ", "more_body": True})
        await send({"type": "http.response.body", "body": b"end"})


@pytest.fixture
def server() -> Iterator[tuple[Server, str]]:
    app = Server()
    with in_hypercorn(app) as port:
        yield app, f"http://127.0.0.1:{port}"


@pytest.fixture
async def governor() -> AsyncIterator[Governor]:
    async with Governor(Config.from_mapping(SETTINGS)) as governor:
        yield governor


@pytest.mark.parametrize("library", [httpx2, httpx])
async def test_requests_that_share_a_connection_take_a_permit_each(
    server: tuple[Server, str], governor: Governor, library: ModuleType
) -> None:
    app, address = server
    inner = library.AsyncHTTPTransport(http1=False, http2=True)
    transport = ADAPTERS[library]("w", governor=governor, transport=inner, govern_loopback=True)
    async with library.AsyncClient(transport=transport, base_url=address) as client:
        assert 200 == (await client.get("/")).status_code  # Opens the connection.

        async def get(path: str) -> None:
            assert (200, "piece piece piece end") == ((response := await client.get(path)).status_code, response.text)

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(get, f"/{number}")
            tasks.start_soon(get, "/once")
        async with client.stream("GET", "/closed-early") as response:
            async for _ in response.aiter_raw():
                break

    assert {"2"} == {version for version, _, _ in app.seen}
    assert 1 == len({connection for _, connection, _ in app.seen})
    assert CounterRecord(requests=24, answered_2xx=23, answered_5xx=1, retries=1) == governor.statistics().counters


@pytest.mark.parametrize("way", ["get", "stream"])
async def test_the_client_speaks_http2_when_told(server: tuple[Server, str], governor: Governor, way: str) -> None:
    app, address = server
    make: Callable[..., TrafficControlledHttpClient] = TrafficControlledHttpClient
    async with make("w", address, governor=governor, govern_loopback=True, http1=False, http2=True) as client:
        if way == "get":
            text = (await client.aget("/once")).text
        else:
            async with client.astream("GET", "/once") as response:
                text = (await response.aread()).decode()

    assert "piece piece piece end" == text
    assert ["2", "2"] == [version for version, _, _ in app.seen]
    assert CounterRecord(requests=2, answered_2xx=1, answered_5xx=1, retries=1) == governor.statistics().counters
