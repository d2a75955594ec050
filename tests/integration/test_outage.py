"""Everything fails at once, in very many scopes, and every task asks again."""

import asyncio
from collections import Counter
from unittest.mock import patch

import pytest

from governor import Governor
from governor._actors.steps import Steps
from tests.support.leases import PLENTY, governed

pytestmark = pytest.mark.promise("R51", "R55")


async def fail_and_ask_again(governor: Governor, scopes: int, tasks: int) -> int:
    """How many permits there were for tasks which all hold one when the outage begins, report it, and ask for another."""
    down = asyncio.Event()
    holding = Counter[str]()

    async def task(number: int) -> int:
        for _ in range(2):
            async with governor.permit(f"scope{number % scopes}") as permit:
                holding["now"] += 1
                if holding["now"] == tasks:
                    down.set()
                await down.wait()
                permit.record(error=OSError("down"))
        return 2

    return sum(await asyncio.gather(*(task(number) for number in range(tasks))))


@pytest.mark.promise("R04")
@pytest.mark.parametrize(("scopes", "tasks"), [(400, 400), (20, 1000), (1, 1000)])
def test_every_task_is_answered_and_each_failure_is_read_once(scopes: int, tasks: int) -> None:
    heard = Counter[bool]()
    hear = Steps.hear

    def counted(steps: Steps) -> bool:
        heard[True] += 1
        return hear(steps)

    with governed(PLENTY) as governor, patch.object(Steps, "hear", counted):
        granted = asyncio.run(fail_and_ask_again(governor, scopes, tasks))
        counters = governor.statistics().counters

    assert (2 * tasks, 2 * tasks) == (granted, counters.failures)
    assert heard[True] <= 2 * tasks
