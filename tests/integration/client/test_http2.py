"""Adapters over HTTP/2: many requests on one connection, each with a permit and an outcome of its own."""

from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from types import ModuleType
from typing import Any

import anyio
import httpx
import httpx2
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, StreamEnded

import governor_client.httpx
import governor_client.httpx2
from governor import Config, CounterRecord, Denied, Governor, Reason
from governor_client import TrafficControlledHttpClient
from tests.support.loopback import listening, serving
from tests.support.servers import in_hypercorn

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R56")]

REFUSED, BROKEN, CALM = ErrorCodes.REFUSED_STREAM, ErrorCodes.INTERNAL_ERROR, ErrorCodes.ENHANCE_YOUR_CALM
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


@pytest.mark.promise("R05")
@pytest.mark.parametrize("library", [httpx2, httpx])
@pytest.mark.parametrize(
    ("end", "attempts", "counter"),
    [
        pytest.param(lambda served, stream: served.reset_stream(stream, REFUSED), 2, "failures", id="stream refused"),
        pytest.param(lambda served, stream: served.reset_stream(stream, BROKEN), 1, "failures", id="stream broken"),
        pytest.param(lambda served, stream: served.reset_stream(stream, CALM), 1, "answered_429", id="stream throttled"),
        pytest.param(lambda served, _: served.close_connection(last_stream_id=0), 2, "failures", id="connection ended before"),
        pytest.param(lambda served, at: served.close_connection(last_stream_id=at), 1, "failures", id="connection ended in it"),
        pytest.param(lambda served, at: served.close_connection(CALM, None, at), 1, "answered_429", id="connection throttled"),
    ],
)
def test_a_post_that_the_server_says_it_did_not_process_is_sent_again_and_enhance_your_calm_is_a_429(
    library: ModuleType, end: Callable[[H2Connection, int], None], attempts: int, counter: str
) -> None:
    bodies: list[bytes] = []

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        served = H2Connection(H2Configuration(client_side=False))
        served.initiate_connection()
        while data := await reader.read(65_536):
            for event in served.receive_data(data):
                if isinstance(event, DataReceived) and event.data:
                    bodies.append(event.data)
                elif isinstance(event, StreamEnded) and len(bodies) > 1:
                    served.send_headers(event.stream_id, [(":status", "200")], end_stream=True)
                elif isinstance(event, StreamEnded):
                    end(served, event.stream_id)
            writer.write(served.data_to_send())

    with Governor(Config.from_mapping(SETTINGS)) as governor, listening() as listener, serving(listener, serve):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        options: Any = {"governor": governor, "govern_loopback": True, "http1": False, "http2": True, "library": library}
        with TrafficControlledHttpClient("w", url, **options) as client, suppress(library.RemoteProtocolError):
            client.post("/", content=b"once")

        assert [b"once"] * attempts == bodies
        counters = governor.statistics().counters
        assert (attempts, 1) == (counters.requests, getattr(counters, counter))
        answer = governor.try_permit("w", "GET")
        assert (counter == "answered_429") == (isinstance(answer, Denied) and answer.reason is Reason.COOLDOWN)
