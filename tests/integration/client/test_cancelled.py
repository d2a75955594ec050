"""A reader that is cancelled while the governor plans another attempt: what becomes of the answer in hand."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from governor import Governor
from governor_client import AsyncGovernedTransport
from tests.support.leases import standing_still


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
def test_its_connection_is_given_back() -> None:
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
