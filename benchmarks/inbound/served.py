"""Throughput of a server with middleware: uvicorn, with 32 connections in a closed loop.

Two servers stand ready, one with the middleware and one without, and are put under load in turns: what the machine does
meanwhile hits both alike. The load comes from this process, the servers are processes of their own.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

from benchmarks.contract import BenchmarkError

CONNECTIONS: Final = 32
#: The metrics: answers per second, and the share of those without the middleware.
PER_SECOND: Final = "per_second"
SHARE: Final = "share"

_TURNS: Final = 8
#: Seconds within which a turn that has no answer yet goes on: a busy machine may give the server no time in a short one.
_MAX_SECONDS: Final = 30
_ROOT: Final = Path(__file__).resolve().parents[2]
_REQUEST: Final = (
    b"GET /api/v1/things HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: benchmark\r\nAccept: */*\r\nX-Actor: someone\r\n\r\n"
)


def governed(size: int) -> Mapping[str, float]:
    """`size` milliseconds in each turn."""
    return _compared("governed", size)


def starlette_governed(size: int) -> Mapping[str, float]:
    return _compared("starlette-governed", size)


def starlette_base(size: int) -> Mapping[str, float]:
    return _compared("starlette-base", size)


def starlette_slowapi(size: int) -> Mapping[str, float]:
    return _compared("starlette-slowapi", size)


def _compared(name: str, size: int) -> Mapping[str, float]:
    with ExitStack() as stack:
        ports = [stack.enter_context(_server(one)) for one in (name, f"without-{name}")]
        for port in ports:
            asyncio.run(_load(port, size / 1_000))
        # Who is first changes from turn to turn.
        turns = [
            {port: asyncio.run(_load(port, size / 1_000)) for port in (ports if number % 2 else reversed(ports))}
            for number in range(_TURNS)
        ]
    whole, without = ports
    return {
        PER_SECOND: median(turn[whole] for turn in turns),
        SHARE: median(turn[whole] / turn[without] for turn in turns),
    }


@contextmanager
def _server(name: str) -> Iterator[int]:
    """The port of a server of its own process, which is gone in the end."""
    command = [sys.executable, "-m", "benchmarks.inbound.server", name]
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.stdin.close()


class _Connection(asyncio.Protocol):
    """Asks, and asks again as soon as the answer is there."""

    def __init__(self) -> None:
        self.answers = 0
        self.broken = False
        self._transport: asyncio.Transport | None = None
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        self._seen += data
        if self._seen.endswith(b"ok"):
            self.broken |= not self._seen.startswith(b"HTTP/1.1 200 ")
            self._seen = b""
            self.answers += 1
            if self._transport is not None:
                self._transport.write(_REQUEST)

    def connection_lost(self, error: Exception | None) -> None:
        self.broken |= self._transport is not None

    def close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()


async def _load(port: int, seconds: float) -> float:
    """Answers per second."""
    loop = asyncio.get_running_loop()
    connections = [(await loop.create_connection(_Connection, "127.0.0.1", port))[1] for _ in range(CONNECTIONS)]
    await asyncio.sleep(seconds / 4)
    before, began = sum(connection.answers for connection in connections), perf_counter()
    answers, elapsed, broken = 0, 0.0, False
    while not answers and not broken and elapsed < _MAX_SECONDS:
        await asyncio.sleep(seconds)
        answers, elapsed = sum(connection.answers for connection in connections) - before, perf_counter() - began
        broken = any(connection.broken for connection in connections)
    for connection in connections:
        connection.close()
    if broken:
        raise BenchmarkError("a connection broke off, or an answer was not 200; this is no measurement")
    if not answers:
        raise BenchmarkError(f"no answer came within {_MAX_SECONDS} s; this is no measurement")
    return answers / elapsed
