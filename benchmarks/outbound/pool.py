"""The processor time of one async GET, by how many are under way at once: what a connection pool costs.

A pool looks at all its connections for each request. The control sends through a stack of transports with one connection each,
where no request looks at more than one; it keeps none of the other promises of a pool.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from time import process_time_ns
from typing import TYPE_CHECKING, Any, Final

from benchmarks.contract import BenchmarkError
from benchmarks.outbound.adapters import SETTINGS, aserver
from governor import Config, Governor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

#: The numbers of GETs under way at once.
COUNTS: Final = (1, 32, 128)
#: As the clients and transports of this package have them: more connections than `COUNTS` needs, and how many are kept.
_CONNECTIONS: Final = 1_000
_KEPT: Final = 100
#: Seconds. All connections are opened at once, and the server may be slow to accept them.
_TIMEOUT: Final = 60.0


def cpu_us(count: int) -> str:
    """The metric for one GET while `count` of them are under way."""
    return f"cpu_{count}_us"


def bare(size: int) -> "Mapping[str, float]":
    """`size` GETs for each of 128 tasks in all, through httpx2."""
    import httpx2

    return asyncio.run(_measured(httpx2, _transport(httpx2), size))


def bare_httpx(size: int) -> "Mapping[str, float]":
    import httpx

    return asyncio.run(_measured(httpx, _transport(httpx), size))


def governed(size: int) -> "Mapping[str, float]":
    import httpx2

    from governor_client.httpx2 import AsyncGovernedTransport

    async def run() -> "Mapping[str, float]":
        async with Governor(Config.from_mapping(SETTINGS)) as governor:
            transport = AsyncGovernedTransport("bench", governor=governor, govern_loopback=True, transport=_transport(httpx2))
            return await _measured(httpx2, transport, size)

    return asyncio.run(run())


def stack(size: int) -> "Mapping[str, float]":
    import httpx2

    idle: list[httpx2.AsyncHTTPTransport] = []

    class Body(httpx2.AsyncByteStream):
        def __init__(self, stream: Any, transport: httpx2.AsyncHTTPTransport) -> None:
            self._stream, self._transport = stream, transport

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in self._stream:
                yield chunk

        async def aclose(self) -> None:
            await self._stream.aclose()
            idle.append(self._transport)

    class Stack(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            transport = idle.pop() if idle else _transport(httpx2, 1)
            response = await transport.handle_async_request(request)
            response.stream = Body(response.stream, transport)
            return response

        async def aclose(self) -> None:
            for transport in idle:
                await transport.aclose()

    return asyncio.run(_measured(httpx2, Stack(), size))


def _transport(library: "ModuleType", most: int = _CONNECTIONS) -> Any:
    return library.AsyncHTTPTransport(limits=library.Limits(max_connections=most, max_keepalive_connections=_KEPT))


async def _measured(library: "ModuleType", transport: Any, size: int) -> "Mapping[str, float]":
    async with AsyncExitStack() as opened:
        url = await opened.enter_async_context(aserver())
        client = await opened.enter_async_context(library.AsyncClient(transport=transport, timeout=_TIMEOUT))

        async def get(times: int) -> None:
            for _ in range(times):
                response = await client.get(url)
                if response.status_code != 200:
                    raise BenchmarkError(f"a call was answered {response.status_code}; this is no measurement")

        found: dict[str, float] = {}
        for count in COUNTS:
            times = max(1, size * COUNTS[-1] // count)
            async with asyncio.TaskGroup() as tasks:  # Opens the connections.
                for _ in range(count):
                    tasks.create_task(get(1))
            began = process_time_ns()
            async with asyncio.TaskGroup() as tasks:
                for _ in range(count):
                    tasks.create_task(get(times))
            found[cpu_us(count)] = (process_time_ns() - began) / (times * count) / 1_000
    return found
