"""The time that a permit and its outcome add to one call of an HTTP library, against a server of its own process on loopback.

A governed and a bare client of the same library take turns, call by call, in the reverse order in every second pair, and the
result is the median: of the differences of the pairs, and of the governed calls. What the machine does meanwhile hits both of a
pair alike; when each client made a hundred calls in a row, the result varied by more than half from round to round. Async calls
run on the governor's own event loop; blocking calls run on a thread beside it, which takes its permits from a lease. The lease
lasts, because a call comes every few milliseconds: what the first calls after a pause cost is measured by `round-trips`.
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

#: As many pairs are made before those that count: they open connections and leases.
_WARM_UP: Final = 100
_ROOT: Final = Path(__file__).resolve().parents[2]
SETTINGS: Final = {
    "global": {"requests_per_minute": 100_000_000},
    "outbound": {"bench": {"limits": ["1000000/s"]}},
}

#: Makes one call, and returns the status of the answer, whose body it has read.
Call = Callable[[], int]
AsyncCall = Callable[[], Awaitable[int]]


def httpx2_transport(size: int) -> Mapping[str, float]:
    """`size` pairs of calls."""
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
    return _of_aiohttp(size, whole=False)


def aiohttp_govern(size: int) -> Mapping[str, float]:
    return _of_aiohttp(size, whole=True)


def _of_aiohttp(size: int, *, whole: bool) -> Mapping[str, float]:
    """With a middleware, or as a `whole` session."""
    import aiohttp

    from governor_client.aiohttp import GovernedMiddleware, govern

    async def opens(governor: Governor | None, url: str, stack: AsyncExitStack) -> AsyncCall:
        middlewares: tuple[GovernedMiddleware, ...] = ()
        if governor is not None and not whole:
            middlewares = (GovernedMiddleware("bench", governor=governor, govern_loopback=True),)
        session = await stack.enter_async_context(aiohttp.ClientSession(middlewares=middlewares))
        if governor is not None and whole:
            govern(session, "bench", governor=governor, govern_loopback=True)

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
        pairs = [_pair(governed, bare, reverse=bool(number % 2)) for number in range(_WARM_UP + size)]
        _check(governor, _WARM_UP + size)
    return _figures(pairs[_WARM_UP:])


async def _on_the_loop(
    opens: Callable[[Governor | None, str, AsyncExitStack], Awaitable[AsyncCall]], size: int
) -> Mapping[str, float]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(aserver())
        governor = await stack.enter_async_context(Governor(Config.from_mapping(SETTINGS)))
        bare, governed = [await opens(which, url, stack) for which in (None, governor)]
        pairs = [await _apair(governed, bare, reverse=bool(number % 2)) for number in range(_WARM_UP + size)]
        _check(governor, _WARM_UP + size)
    return _figures(pairs[_WARM_UP:])


def _pair(governed: Call, bare: Call, *, reverse: bool) -> tuple[float, float]:
    """Microseconds of a governed and of a bare call."""
    if reverse:
        first = _timed(bare)
        return _timed(governed), first
    return _timed(governed), _timed(bare)


def _timed(call: Call) -> float:
    start = perf_counter_ns()
    status = call()
    return _checked(perf_counter_ns() - start, status)


async def _apair(governed: AsyncCall, bare: AsyncCall, *, reverse: bool) -> tuple[float, float]:
    """`_pair` for async calls."""
    if reverse:
        first = await _atimed(bare)
        return await _atimed(governed), first
    return await _atimed(governed), await _atimed(bare)


async def _atimed(call: AsyncCall) -> float:
    start = perf_counter_ns()
    status = await call()
    return _checked(perf_counter_ns() - start, status)


def _checked(nanoseconds: int, status: int) -> float:
    if status != 200:
        raise BenchmarkError(f"a call was answered {status}; this is no measurement")
    return nanoseconds / 1_000


def _check(governor: Governor, calls: int) -> None:
    counted = governor.statistics().counters.answered_2xx
    if counted != calls:
        raise BenchmarkError(f"the governor counted {counted} answers to {calls} calls")


def _figures(pairs: list[tuple[float, float]]) -> Mapping[str, float]:
    return {
        CALL_US: median(governed for governed, _ in pairs),
        ADDED_US: max(0.0, median(governed - bare for governed, bare in pairs)),
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
