"""Lateness of a permit that a call waited for.

The bucket is emptied at once; from then on it owes one permit every 5 ms. It never fills up again meanwhile: a full bucket
forgets what is taken late. First in line stands one who asks for ten, which takes 50 ms: by then all others have joined, so
that joining delays no grant. Due instants are counted from just before the first ask: what the asking takes counts as
lateness, never as earliness. A grant before its instant would be a limit broken, and ends the benchmark.
"""

import asyncio
from collections.abc import Mapping, Sequence
from time import monotonic_ns
from typing import Final

from benchmarks.contenders.ours import touch
from benchmarks.contract import BenchmarkError
from benchmarks.measure import check_count, percentile
from governor import Config, Governor, Permit

WAITERS: Final = 100
PER_SECOND: Final = 200
BURST: Final = 20
HEAD_START: Final = 10
_INTERVAL_NS: Final = 1_000_000_000 // PER_SECOND
#: Both clocks are one, but the governor counts it in whole microseconds.
_RESOLUTION_NS: Final = 1_000

_ONE_BY_ONE: Final = {"outbound": {"default": {"limits": [f"{PER_SECOND}/s burst {BURST}"]}}}


def governed(size: int) -> Mapping[str, float]:
    """`size` times a line of 100 waiters, each on a governor of its own: breaker, global cap and degraded mode are in force."""
    return _figures([late for _ in range(size) for late in asyncio.run(_line())])


def timers(size: int) -> Mapping[str, float]:
    """The same instants, kept by the event loop alone."""
    return _figures([late for _ in range(size) for late in asyncio.run(_sleepers())])


async def _line() -> list[int]:
    async with Governor(Config.from_mapping(_ONE_BY_ONE)) as governor:
        # The scope comes to life beforehand, and its bucket is full again.
        check_count(touch(governor, "bench"), 1)
        await asyncio.sleep(0.05)
        start = monotonic_ns()
        check_count(sum(isinstance(governor.try_permit("bench", "GET"), Permit) for _ in range(BURST)), BURST)

        async def wait(cost: int) -> int:
            async with governor.permit("bench", "GET", cost=cost, timeout=None):
                return monotonic_ns()

        async with asyncio.TaskGroup() as group:
            group.create_task(wait(HEAD_START))
            tasks = [group.create_task(wait(1)) for _ in range(WAITERS)]
    granted = [task.result() for task in tasks]
    if granted != sorted(granted):
        raise BenchmarkError("the line was not served in the order in which it was joined")
    late = [at - (start + place * _INTERVAL_NS) for place, at in enumerate(granted, start=HEAD_START + 1)]
    if min(late) < -_RESOLUTION_NS:
        raise BenchmarkError(f"a permit came {-min(late)} ns before its instant")
    return late


async def _sleepers() -> list[int]:
    start = monotonic_ns()

    async def sleep(place: int) -> int:
        due = start + place * _INTERVAL_NS
        await asyncio.sleep((due - monotonic_ns()) / 1_000_000_000)
        return monotonic_ns() - due

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(sleep(place)) for place in range(HEAD_START + 1, HEAD_START + WAITERS + 1)]
    return [task.result() for task in tasks]


def _figures(late_ns: Sequence[int]) -> Mapping[str, float]:
    late_ms = [late / 1_000_000 for late in late_ns]
    return {"p50_ms": percentile(late_ms, 0.5), "p99_ms": percentile(late_ms, 0.99), "max_ms": max(late_ms)}
