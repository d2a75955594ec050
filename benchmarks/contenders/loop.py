"""The cost of asyncio itself: the tasks of `ours.hundred_tasks`, with nothing in them but the yield."""

import asyncio
from collections.abc import Mapping

from benchmarks.measure import time_pairs_on_loop

TASKS = 100


async def _yield_often(count: int) -> int:
    for _ in range(count):
        await asyncio.sleep(0)
    return count


async def _work(count: int) -> int:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_yield_often(count // TASKS)) for _ in range(TASKS)]
    return sum(task.result() for task in tasks)


def hundred_tasks(size: int) -> Mapping[str, float]:
    """One yield where the governed tasks have a permit, a yield and an outcome."""
    return asyncio.run(time_pairs_on_loop(_work, size))
