"""The same over real HTTP and in real time: the model behind uvicorn on loopback, in a thread of its own."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from email.utils import formatdate
from threading import Thread
from time import monotonic_ns
from typing import Final

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from benchmarks.bans.calls import GET, POST, Call
from benchmarks.bans.network import CALL
from benchmarks.bans.provider import Provider
from benchmarks.bans.virtual_time import EPOCH, SECOND

_HEADER: Final = "x-benchmark-call"


class RealClock:
    """Microseconds since the clock was made, for the contenders and the provider alike."""

    def __init__(self) -> None:
        self._start = monotonic_ns()

    @property
    def now(self) -> int:
        """Microseconds since the start."""
        return (monotonic_ns() - self._start) // 1000

    def time(self) -> float:
        """Seconds since the start."""
        return self.now / SECOND


class HttpWire(httpx2.AsyncBaseTransport):
    """Sends what is meant for the provider to a port of this machine."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sockets = httpx2.AsyncHTTPTransport(limits=httpx2.Limits(max_connections=None))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Sends one request."""
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        request.headers[_HEADER] = str(request.extensions[CALL].number)
        return await self._sockets.handle_async_request(request)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._sockets.aclose()


@contextmanager
def served(provider: Provider, calls: Sequence[Call], clock: RealClock) -> Iterator[int]:
    """Serves the model; what is yielded is the port."""
    config = uvicorn.Config(
        _app(provider, calls, clock),
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        date_header=False,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def _app(provider: Provider, calls: Sequence[Call], clock: RealClock) -> Starlette:
    async def answer(request: Request) -> StreamingResponse:
        call = calls[int(request.headers[_HEADER])]
        # The instant of arrival: nothing has been awaited since the request was read.
        now = clock.now
        answer = provider.arrive(now, call)
        # The dates of hints are those of the model, which a client compares with this one.
        headers = {"date": formatdate(EPOCH + now / SECOND, usegmt=True), **answer.headers}
        await asyncio.sleep(answer.head / SECOND)

        async def body() -> AsyncIterator[bytes]:
            await asyncio.sleep((answer.service - answer.head) / SECOND)
            yield b"{}"

        return StreamingResponse(body(), answer.status, headers, media_type="application/json")

    return Starlette(routes=[Route("/{name}/{number}", answer, methods=[GET, POST])])
