"""The time that a permit and its outcome add to one call of an HTTP library, against a server of its own process on loopback.

A governed and a bare client of the same library take turns, some hundred calls each, and the result is the median: of the
differences, and of the calls as a whole. Async calls run on the governor's own event loop; blocking calls run on a thread
beside it, which takes its permits from a lease.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Final

from benchmarks.contract import BenchmarkError
from governor import Config, Governor

#: The metrics, for one call.
CALL_US: Final = "call_us"
ADDED_US: Final = "added_us"

_TURNS: Final = 15
_ROOT: Final = Path(__file__).resolve().parents[2]
SETTINGS: Final = {
    "global": {"requests_per_minute": 100_000_000},
    "outbound": {"bench": {"limits": ["1000000/s"]}},
}

#: Makes one call, and returns the status of the answer, whose body it has read.
Call = Callable[[], int]
AsyncCall = Callable[[], Awaitable[int]]


def httpx2_transport(size: int) -> Mapping[str, float]:
    """`size` calls in each turn."""
    import httpx2

    from governor_client.httpx2 import GovernedTransport

    def opens(governor: Governor | None, url: str, stack: ExitStack) -> Call:
        transport = None if governor is None else GovernedTransport("bench", governor=governor, govern_loopback=True)
        client = stack.enter_context(httpx2.Client(transport=transport, trust_env=False))
        return lambda: client.get(url).status_code

    return _blocking(opens, size)


def httpx2_async_transport(size: int) -> Mapping[str, float]:
    import httpx2

    from governor_client.httpx2 import AsyncGovernedTransport

    async def opens(governor: Governor | None, url: str, stack: AsyncExitStack) -> AsyncCall:
        transport = None if governor is None else AsyncGovernedTransport("bench", governor=governor, govern_loopback=True)
        client = await stack.enter_async_context(httpx2.AsyncClient(transport=transport, trust_env=False))

        async def call() -> int:
            return (await client.get(url)).status_code

        return call

    return asyncio.run(_on_the_loop(opens, size))


def httpx_transport(size: int) -> Mapping[str, float]:
    import httpx

    from governor_client.httpx import GovernedTransport

    def opens(governor: Governor | None, url: str, stack: ExitStack) -> Call:
        transport = None if governor is None else GovernedTransport("bench", governor=governor, govern_loopback=True)
        client = stack.enter_context(httpx.Client(transport=transport, trust_env=False))
        return lambda: client.get(url).status_code

    return _blocking(opens, size)


def client(size: int) -> Mapping[str, float]:
    import httpx2

    from governor_client import TrafficControlledHttpClient

    def opens(governor: Governor | None, url: str, stack: ExitStack) -> Call:
        if governor is None:
            bare = stack.enter_context(httpx2.Client(trust_env=False))
            return lambda: bare.get(url).status_code
        governed = stack.enter_context(
            TrafficControlledHttpClient("bench", governor=governor, govern_loopback=True, trust_env=False)
        )
        return lambda: governed.get(url).status_code

    return _blocking(opens, size)


def async_client(size: int) -> Mapping[str, float]:
    import httpx2

    from governor_client import TrafficControlledHttpClient

    async def opens(governor: Governor | None, url: str, stack: AsyncExitStack) -> AsyncCall:
        if governor is None:
            bare = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False))

            async def call() -> int:
                return (await bare.get(url)).status_code

        else:
            governed = await stack.enter_async_context(
                TrafficControlledHttpClient("bench", governor=governor, govern_loopback=True, trust_env=False)
            )

            async def call() -> int:
                return (await governed.aget(url)).status_code

        return call

    return asyncio.run(_on_the_loop(opens, size))


def requests_session(size: int) -> Mapping[str, float]:
    import requests

    from governor_client.requests import govern

    def opens(governor: Governor | None, url: str, stack: ExitStack) -> Call:
        session = stack.enter_context(requests.Session())
        session.trust_env = False
        if governor is not None:
            govern(session, "bench", governor=governor, govern_loopback=True)
        return lambda: session.get(url).status_code

    return _blocking(opens, size)


def urllib3_pool_manager(size: int) -> Mapping[str, float]:
    import urllib3

    from governor_client.urllib3 import govern

    def opens(governor: Governor | None, url: str, stack: ExitStack) -> Call:
        manager = stack.enter_context(urllib3.PoolManager())
        if governor is not None:
            govern(manager, "bench", governor=governor, govern_loopback=True)
        return lambda: manager.request("GET", url).status

    return _blocking(opens, size)


def aiohttp_session(size: int) -> Mapping[str, float]:
    import aiohttp

    from governor_client.aiohttp import GovernedMiddleware

    async def opens(governor: Governor | None, url: str, stack: AsyncExitStack) -> AsyncCall:
        governed = () if governor is None else (GovernedMiddleware("bench", governor=governor, govern_loopback=True),)
        session = await stack.enter_async_context(aiohttp.ClientSession(middlewares=governed))

        async def call() -> int:
            async with session.get(url) as response:
                await response.read()
                return response.status

        return call

    return asyncio.run(_on_the_loop(opens, size))


def _blocking(opens: Callable[[Governor | None, str, ExitStack], Call], size: int) -> Mapping[str, float]:
    with ExitStack() as stack:
        url = stack.enter_context(server())
        governor = stack.enter_context(Governor(Config.from_mapping(SETTINGS)))
        bare, governed = (opens(which, url, stack) for which in (None, governor))
        turns = [(_timed(governed, size), _timed(bare, size)) for _ in range(_TURNS + 1)]
        _check(governor, size)
    return _figures(turns[1:])  # The first turn opens connections and leases.


async def _on_the_loop(
    opens: Callable[[Governor | None, str, AsyncExitStack], Awaitable[AsyncCall]], size: int
) -> Mapping[str, float]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(aserver())
        governor = await stack.enter_async_context(Governor(Config.from_mapping(SETTINGS)))
        bare, governed = [await opens(which, url, stack) for which in (None, governor)]
        turns = [(await _atimed(governed, size), await _atimed(bare, size)) for _ in range(_TURNS + 1)]
        _check(governor, size)
    return _figures(turns[1:])


def _timed(call: Call, size: int) -> list[float]:
    """Microseconds of each call."""
    times = []
    for _ in range(size):
        start = perf_counter_ns()
        status = call()
        times.append((perf_counter_ns() - start) / 1_000)
        if status != 200:
            raise BenchmarkError(f"a call was answered {status}; this is no measurement")
    return times


async def _atimed(call: AsyncCall, size: int) -> list[float]:
    times = []
    for _ in range(size):
        start = perf_counter_ns()
        status = await call()
        times.append((perf_counter_ns() - start) / 1_000)
        if status != 200:
            raise BenchmarkError(f"a call was answered {status}; this is no measurement")
    return times


def _check(governor: Governor, size: int) -> None:
    counted = governor.statistics().counters.answered_2xx
    if counted != size * (_TURNS + 1):
        raise BenchmarkError(f"the governor counted {counted} answers to {size * (_TURNS + 1)} calls")


def _figures(turns: list[tuple[list[float], list[float]]]) -> Mapping[str, float]:
    return {
        CALL_US: median(median(governed) for governed, _ in turns),
        ADDED_US: max(0.0, median(median(governed) - median(bare) for governed, bare in turns)),
    }


@contextmanager
def server() -> Iterator[str]:
    """The URL of a server of its own process, which is gone in the end."""
    command = [sys.executable, "-m", "benchmarks.outbound.server"]
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/"
        process.stdin.close()


@asynccontextmanager
async def aserver() -> AsyncIterator[str]:
    """`server` for async code."""
    with server() as url:
        yield url
