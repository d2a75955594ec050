"""Memory of a scope after one permit and its outcome.

Measured twice in one process, each time on an engine of its own: first by the pages that the process holds (resident size, on
Linux only), then by what Python allocated (tracemalloc, which counts exactly but sees neither fragmentation nor what C
libraries allocate for themselves).
"""

import asyncio
import gc
import os
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from benchmarks.contenders.lock_engine import wide_open
from benchmarks.contenders.textbook import TextbookLimiter
from benchmarks.measure import BURST, RATE, check_count

_STATM: Final = Path("/proc/self/statm")


class Meter(Protocol):
    """Tells by how much memory has grown since `start`."""

    def start(self) -> None: ...

    def grown(self) -> int: ...


class Traced:
    """Bytes that Python allocated and has not freed."""

    def start(self) -> None:
        gc.collect()
        tracemalloc.start()

    def grown(self) -> int:
        gc.collect()
        now, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return now


class Resident:
    """Bytes of the process that are in memory."""

    def __init__(self) -> None:
        self._before = 0

    def start(self) -> None:
        gc.collect()
        self._before = self._read()

    def grown(self) -> int:
        gc.collect()
        return self._read() - self._before

    def _read(self) -> int:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def memory_governor(size: int) -> Mapping[str, float]:
    return _per_scope(lambda meter: asyncio.run(_governor(size, meter)), size)


def memory_lock_engine(size: int) -> Mapping[str, float]:
    def populate(meter: Meter) -> int:
        engine = wide_open()
        granted = int(engine.check("first", "GET").allowed)
        meter.start()
        for number in range(size):
            granted += engine.check(f"bench{number}", "GET").allowed
            engine.record(f"bench{number}", "GET", 200)
        check_count(granted, size + 1)
        return meter.grown()

    return _per_scope(populate, size)


def memory_textbook(size: int) -> Mapping[str, float]:
    def populate(meter: Meter) -> int:
        limiter = TextbookLimiter(RATE, BURST)
        granted = int(limiter.acquire("first:get"))
        meter.start()
        for number in range(size):
            granted += limiter.acquire(f"bench{number}:get")
        check_count(granted, size + 1)
        return meter.grown()

    return _per_scope(populate, size)


async def _governor(size: int, meter: Meter) -> int:
    # Here, because the other two must not be charged for it.
    from benchmarks.contenders.ours import WIDE_OPEN, touch
    from governor import Config, Governor

    async with Governor(Config.from_mapping(WIDE_OPEN)) as governor:
        granted = int(touch(governor, "first"))
        meter.start()
        granted += sum(touch(governor, f"bench{number}") for number in range(size))
        check_count(granted, size + 1)
        # Whatever a new scope has posted gets its turn.
        await asyncio.sleep(0.1)
        return meter.grown()


def _per_scope(populate: Callable[[Meter], int], size: int) -> Mapping[str, float]:
    figures: dict[str, float] = {}
    if _STATM.exists():
        figures["resident_bytes"] = populate(Resident()) / size
    figures["traced_bytes"] = populate(Traced()) / size
    return figures
