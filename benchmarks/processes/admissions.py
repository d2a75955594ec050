"""Admissions of inbound requests per second by four workers, each with 32 requests at a time on its event loop.

`python -m benchmarks.processes.admissions SUBJECT ADDRESS` is one worker. Each request is of a client of its own, which all
workers have, under a limit that is never reached. Beside the rate stands the processor time of a worker for each admission,
which other programs of the machine disturb less.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time_ns
from typing import Any, Final, cast

import msgspec

from benchmarks.contention.crowd import Times
from benchmarks.contention.throughput import Tally, ask_and_yield, per_second, span_of
from benchmarks.measure import BURST, RATE
from benchmarks.processes.crew import together
from benchmarks.processes.subjects.stores import redis_server
from demo.daemon import daemon
from governor import Config, Governor, InboundRequest

#: Requests at a time in each worker.
REQUESTS: Final = 32
#: The metrics.
PER_SECOND: Final = "per_second"
WORKER_US: Final = "worker_us"

_WIDE: Final = f"{RATE}/s burst {BURST}"
_INBOUND: Final = {"default": {"limits": [_WIDE], "address_limits": [_WIDE], "total_limits": [_WIDE]}}

#: Whether a request of the client of this number may proceed.
Admit = Callable[[int], Awaitable[bool]]


class Gatekeeper(msgspec.Struct, frozen=True):
    """A limiter of inbound requests. `serve` starts what the workers share, and returns its address; each worker `open`s it."""

    name: str
    serve: Callable[[Path], AbstractContextManager[str]]
    open: Callable[[str], AbstractAsyncContextManager[Admit]]


class Worked(msgspec.Struct, frozen=True):
    """What one worker counted, and the nanoseconds of processor time that each admission took there."""

    tallies: list[Tally]
    nanoseconds: float


def admitted_by_workers(gatekeeper: Gatekeeper, size: int) -> Mapping[str, float]:
    """`size` milliseconds."""
    with TemporaryDirectory() as folder, gatekeeper.serve(Path(folder)) as address:
        command = [sys.executable, "-m", "benchmarks.processes.admissions", gatekeeper.name, address]
        workers = together(command, span_of(size), Worked)
    tallies = [tally for worker in workers for tally in worker.tallies]
    return {PER_SECOND: per_second(tallies), WORKER_US: sum(one.nanoseconds for one in workers) / len(workers) / 1_000}


@contextmanager
def _nothing(folder: Path) -> Iterator[str]:
    yield ""


@contextmanager
def _daemon(folder: Path) -> Iterator[str]:
    with daemon(folder, {"inbound": _INBOUND}) as socket:
        yield str(socket)


@asynccontextmanager
async def _governor(address: str) -> AsyncIterator[Admit]:
    machine = {"machine": {"socket": address}} if address else {}
    async with Governor(Config.from_mapping({"inbound": _INBOUND, **machine})) as governor:
        inbound = governor.inbound
        await inbound.ready()
        keys = [(inbound.pseudonyms.actor(b"%d" % number), inbound.pseudonyms.address(b"")) for number in range(REQUESTS)]

        async def admit(number: int) -> bool:
            admission = await inbound.admit("default", InboundRequest(*keys[number]))
            admission.end(200)
            return admission.granted

        yield admit


@asynccontextmanager
async def _limits(address: str) -> AsyncIterator[Admit]:
    from limits import RateLimitItemPerSecond
    from limits.aio.storage import RedisStorage
    from limits.aio.strategies import FixedWindowRateLimiter

    limiter = FixedWindowRateLimiter(RedisStorage(f"async+{address}", implementation="redispy"))
    item: Any = RateLimitItemPerSecond(RATE)
    yield lambda number: limiter.hit(item, str(number))


ALONE: Final = Gatekeeper("ALONE", _nothing, _governor)
GOVERNOR: Final = Gatekeeper("GOVERNOR", _daemon, _governor)
LIMITS_ON_REDIS: Final = Gatekeeper("LIMITS_ON_REDIS", redis_server, _limits)


async def _work(gatekeeper: Gatekeeper, address: str) -> None:
    async with gatekeeper.open(address) as admit:
        await admit(0)
        print("ready", flush=True)
        times = Times(*map(int, sys.stdin.readline().split()))
        before = process_time_ns()
        tasks = [ask_and_yield(_asking(admit, number), times) for number in range(REQUESTS)]
        tallies = await asyncio.gather(*tasks)
        # The warm-up, which is half as long, asks too.
        took = (process_time_ns() - before) * 2 / 3
    print(msgspec.json.encode(Worked(tallies, took / sum(tally.asked for tally in tallies))).decode(), flush=True)


def _asking(admit: Admit, number: int) -> Callable[[], Awaitable[bool]]:
    return lambda: admit(number)


if __name__ == "__main__":
    asyncio.run(_work(cast("Gatekeeper", getattr(import_module("benchmarks.processes.admissions"), sys.argv[1])), sys.argv[2]))
