"""A reader that is cancelled: what becomes of the answer in hand."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import httpx2
import pytest

from governor import Governor
from governor_client import AsyncGovernedTransport, TrafficControlledHttpClient
from tests.support.leases import standing_still
from tests.support.provider import End, loopback_provider, status, stream


class Body(httpx2.AsyncByteStream):
    """An error page, which may be closed."""

    def __init__(self) -> None:
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"later"

    async def aclose(self) -> None:
        self.closed = True


class Unavailable(httpx2.AsyncBaseTransport):
    """A provider that is down, and says when it has said so."""

    def __init__(self) -> None:
        self.body = Body()
        self.answered = asyncio.Event()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.answered.set()
        return httpx2.Response(503, stream=self.body)


@pytest.mark.promise("R05", "R50")
def test_while_the_governor_plans_another_attempt_its_connection_is_given_back() -> None:
    async def main(governor: Governor) -> bool:
        provider = Unavailable()
        transport = AsyncGovernedTransport("weather", governor=governor, transport=provider)
        async with httpx2.AsyncClient(transport=transport) as client:
            await client.get("https://api.example.com/", extensions={"governor.retry": False})
            provider.answered.clear()
            provider.body.closed = False
            task = asyncio.create_task(client.get("https://api.example.com/"))
            await provider.answered.wait()
            with standing_still(governor):
                task.cancel()
                await asyncio.wait([task])
                closed = provider.body.closed
        return closed and task.cancelled()

    with Governor() as governor:
        assert asyncio.run(main(governor))


class Parting(httpx2.AsyncByteStream):
    """A body that waits once before it is closed, as that of a transport that logs or caches does."""

    def __init__(self, body: httpx2.AsyncByteStream, reached: anyio.Event) -> None:
        self._body = body
        self._reached = reached
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._body:
            self._reached.set()
            yield chunk

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()
        await self._body.aclose()
        self.closed = True


class OneConnection(httpx2.AsyncHTTPTransport):
    """A transport with one connection, and bodies that are `Parting`."""

    def __init__(self) -> None:
        super().__init__(limits=httpx2.Limits(max_connections=1))
        self.reached = anyio.Event()
        self.bodies: list[Parting] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = body = Parting(response.stream, self.reached)
        self.bodies.append(body)
        return response


@pytest.mark.anyio
@pytest.mark.promise("R05", "R50")
@pytest.mark.parametrize("way", ["plain", "labelled", "buffered", "client", "labelled client"])
async def test_an_answer_whose_reader_was_cancelled_is_closed_and_its_connection_given_back(way: str) -> None:
    """The reader closes it in a scope that is cancelled already, where each wait ends at once."""
    label = {"x-governor-caller": "agent"} if "labelled" in way else {}
    with loopback_provider() as provider:
        endless, short = provider.at("/endless", stream(b"one", end=End.SILENT)), provider.at("/short", status(200))
        inner = OneConnection()
        async with AsyncExitStack() as opened:
            governor = await opened.enter_async_context(Governor())
            if "client" in way:
                ours = TrafficControlledHttpClient("weather", governor=governor, govern_loopback=True, async_transport=inner)
                client = await opened.enter_async_context(ours)
                get: Callable[..., Coroutine[Any, Any, httpx2.Response]] = client.aget
            else:
                transport = AsyncGovernedTransport("weather", governor=governor, govern_loopback=True, transport=inner)
                other = await opened.enter_async_context(httpx2.AsyncClient(transport=transport))
                get = partial(other.get, extensions={"governor.buffered": way == "buffered"} if way != "plain" else None)
            await get(short)  # From now on the scope is known, and its permits are at hand.
            async with anyio.create_task_group() as tasks:
                inner.reached = anyio.Event()
                tasks.start_soon(partial(get, endless, headers=label))
                await inner.reached.wait()
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()

            assert 200 == (await get(short)).status_code
            assert [True] * 3 == [body.closed for body in inner.bodies]
