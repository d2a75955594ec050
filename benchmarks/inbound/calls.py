"""The time that a middleware adds to one call of an application, in the same process and without a server.

The application with it and without it take turns, some thousands of calls each, and the result is the median: of the
differences, and of the calls as a whole.
"""

import asyncio
from collections.abc import Mapping
from statistics import median
from time import perf_counter_ns
from typing import Any, Final

from benchmarks.contract import BenchmarkError
from benchmarks.inbound.apps import PAIRS, App

#: The metrics, for one call.
CALL_US: Final = "call_us"
ADDED_US: Final = "added_us"

_TURNS: Final = 15
_SCOPE: Final = {
    "type": "http",
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/api/v1/things",
    "root_path": "",
    "query_string": b"",
    "client": ("198.51.100.1", 4711),
    "server": ("127.0.0.1", 8000),
    "headers": [
        (b"host", b"127.0.0.1:8000"),
        (b"user-agent", b"benchmark"),
        (b"accept", b"*/*"),
        (b"accept-encoding", b"gzip, deflate"),
        (b"connection", b"keep-alive"),
        (b"x-actor", b"someone"),
    ],
}


def bare(size: int) -> Mapping[str, float]:
    return asyncio.run(_timed("bare", size, 200))


def governed(size: int) -> Mapping[str, float]:
    return asyncio.run(_timed("governed", size, 200))


def announced(size: int) -> Mapping[str, float]:
    return asyncio.run(_timed("announced", size, 200))


def denied(size: int) -> Mapping[str, float]:
    return asyncio.run(_timed("denied", size, 429))


def starlette_governed(size: int) -> Mapping[str, float]:
    return asyncio.run(_timed("starlette-governed", size, 200))


def starlette_base(size: int) -> Mapping[str, float]:
    return asyncio.run(_timed("starlette-base", size, 200))


def starlette_slowapi(size: int) -> Mapping[str, float]:
    return asyncio.run(_timed("starlette-slowapi", size, 200))


async def _timed(name: str, size: int, status: int) -> Mapping[str, float]:
    opens, opens_base = PAIRS[name]
    async with opens() as app, opens_base() as base:
        await _calls(app, size, None)
        await _calls(base, size, 200)
        turns = [(await _calls(app, size, status), await _calls(base, size, 200)) for _ in range(_TURNS)]
    return {
        CALL_US: median(whole for whole, _ in turns),
        ADDED_US: max(0.0, median(whole - without for whole, without in turns)),
    }


async def _calls(app: App, size: int, status: int | None) -> float:
    """Microseconds for one of so many calls, each of which has this status."""
    statuses: list[int] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    start = perf_counter_ns()
    for _ in range(size):
        await app(_SCOPE.copy(), _receive, send)
    elapsed = perf_counter_ns() - start
    if len(statuses) != size or (status is not None and set(statuses) != {status}):
        raise BenchmarkError(f"{len(statuses)} answers to {size} calls, with the statuses {sorted(set(statuses))}")
    return elapsed / size / 1_000


async def _receive() -> Mapping[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}
