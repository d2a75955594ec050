"""The cost of a governed call: one scope, on the governor's own loop."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from benchmarks.contenders.loop import TASKS
from benchmarks.measure import BURST, CAP, RATE, time_pairs_on_loop
from governor import Config, Governor, Permit
from governor_client import GovernorClient

WIDE_OPEN: Final = {
    "global": {"requests_per_minute": CAP, "max_scopes": 20_000},
    "outbound": {"default": {"limits": [f"{RATE}/s burst {BURST}"]}},
}


def try_permit(size: int) -> Mapping[str, float]:
    """Ask, look at the answer, report the outcome."""

    async def work(governor: Governor, count: int) -> int:
        return tried(governor, count)

    return asyncio.run(_timed(work, size))


def async_with(size: int) -> Mapping[str, float]:
    """The form that waits when it has to; here it never has to."""
    return asyncio.run(_timed(pairs, size))


def hundred_tasks(size: int) -> Mapping[str, float]:
    """All on one scope, each with its permit out while the others run."""

    async def work(governor: Governor, count: int) -> int:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_yielding_pairs(governor, count // TASKS)) for _ in range(TASKS)]
        return sum(task.result() for task in tasks)

    return asyncio.run(_timed(work, size))


def touch(governor: Governor, provider: str) -> bool:
    """One pair in a scope of this provider; whether it was granted."""
    permit = governor.try_permit(provider, "GET")
    if isinstance(permit, Permit):
        permit.record(status=200)
        return True
    return False


def tried(governor: Governor | GovernorClient, count: int) -> int:
    granted = 0
    for _ in range(count):
        permit = governor.try_permit("bench", "GET")
        if isinstance(permit, Permit):
            permit.record(status=200)
            granted += 1
    return granted


async def pairs(governor: Governor, count: int) -> int:
    granted = 0
    for _ in range(count):
        async with governor.permit("bench", "GET") as permit:
            permit.record(status=200)
            granted += 1
    return granted


async def _yielding_pairs(governor: Governor, count: int) -> int:
    granted = 0
    for _ in range(count):
        async with governor.permit("bench", "GET") as permit:
            await asyncio.sleep(0)
            permit.record(status=200)
            granted += 1
    return granted


async def _timed(work: Callable[[Governor, int], Awaitable[int]], size: int) -> Mapping[str, float]:
    async with Governor(Config.from_mapping(WIDE_OPEN)) as governor:
        return await time_pairs_on_loop(lambda count: work(governor, count), size)
