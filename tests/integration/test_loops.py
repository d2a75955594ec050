"""Tasks on other event loops use the same governor, and may lose their loop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import anyio
import anyio.lowlevel
import pytest
import trio

from governor import Denied, Governor, Permit
from tests.support.answers import granted
from tests.support.governors import governed
from tests.support.leases import standing_still
from tests.support.waits import PATIENCE, until
from tests.support.ways import block, wait, waiting

pytestmark = pytest.mark.promise("R51")

BACKENDS = ["asyncio", "trio"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.promise("R05")
def test_a_task_on_another_loop_plans_a_retry_while_its_loop_goes_on(backend: str) -> None:
    """The governor's loop stands still for as long as the other one has not gone on."""

    async def main(governor: Governor) -> float | None:
        planned: list[float | None] = []

        async def plan() -> None:
            planned.append((await governor.aplan_retry("weather", "GET", attempt=1, status=503)).delay)

        async with anyio.create_task_group() as tasks:
            with standing_still(governor):
                tasks.start_soon(plan)
                for _ in range(10):
                    await anyio.lowlevel.checkpoint()
                assert [] == planned
        return planned[0]

    with governed() as governor:
        wait = anyio.run(main, governor, backend=backend)
        denied = anyio.run(partial(governor.aplan_retry, "weather", "GET", attempt=1, status=404), backend=backend)

    assert wait is not None
    assert not denied


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.promise("R04")
def test_a_task_on_another_loop_that_is_cancelled_leaves_the_line(backend: str) -> None:
    async def main(governor: Governor) -> None:
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                async with governor.permit("weather"):
                    pass

            tasks.start_soon(wait)
            await anyio.to_thread.run_sync(until, lambda: waiting(governor) == 1)
            tasks.cancel_scope.cancel()

    with governed("1 in flight") as governor:
        holder = granted(governor.try_permit("weather"))
        anyio.run(main, governor, backend=backend)
        until(lambda: waiting(governor) == 0)
        holder.record(status=200)
        granted(governor.try_permit("weather"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.promise("R04", "R55")
def test_a_call_behind_a_task_whose_loop_is_gone_is_served() -> None:
    with governed("1 in flight") as governor, ThreadPoolExecutor(1) as pool:
        holder = granted(governor.try_permit("weather"))
        loop = asyncio.new_event_loop()

        async def wait() -> None:
            async with governor.permit("weather"):
                pass

        abandoned = loop.create_task(wait())
        loop.run_until_complete(asyncio.to_thread(until, lambda: waiting(governor) == 1))
        loop.close()
        future = pool.submit(block, governor)
        until(lambda: waiting(governor) == 2)
        holder.record(status=200)
        future.result(PATIENCE)
        neutral = governor.statistics().counters.neutral

    assert not abandoned.done()
    assert 1 == neutral


@pytest.mark.promise("R54")
def test_a_governor_embeds_in_a_loop_that_asyncio_has_started() -> None:
    """Callbacks of such a loop, and messages from other threads, belong to no task."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with governed("1 in flight") as governor:
            holders: list[Permit | Denied] = []
            asked = asyncio.Event()

            def ask() -> None:
                holders.append(governor.try_permit("weather"))
                asked.set()

            loop.call_soon(ask)
            await asked.wait()
            blocked = asyncio.create_task(asyncio.to_thread(block, governor))
            await asyncio.to_thread(until, lambda: waiting(governor) == 1)
            task = asyncio.create_task(wait(governor))
            await asyncio.to_thread(until, lambda: waiting(governor) == 2)
            loop.call_soon(granted(holders[0]).record)
            await blocked
            await task
            counters = governor.statistics().counters
        assert (3, {}) == (counters.requests, counters.denied)

    asyncio.run(main())


@pytest.mark.promise("R54")
def test_a_governor_embeds_in_a_loop_that_trio_has_started() -> None:
    async def main() -> None:
        async with governed("1 in flight") as governor:
            holder = granted(governor.try_permit("weather"))
            async with trio.open_nursery() as tasks:
                tasks.start_soon(partial(trio.to_thread.run_sync, block, governor))
                await trio.to_thread.run_sync(until, lambda: waiting(governor) == 1)
                tasks.start_soon(wait, governor)
                await trio.to_thread.run_sync(until, lambda: waiting(governor) == 2)
                trio.lowlevel.current_trio_token().run_sync_soon(holder.record)
            counters = governor.statistics().counters
        assert (3, {}) == (counters.requests, counters.denied)

    trio.run(main)
