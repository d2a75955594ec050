"""Every call is answered when the governor closes and when its loop dies."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import anyio
import pytest

from governor import Denied, Governor, Permit, Reason, ShuttingDown, UsageError
from governor._actors import portal
from tests.support.answers import granted
from tests.support.governors import governed
from tests.support.waits import PATIENCE, until
from tests.support.ways import ELSEWHERE, Answer, block, wait, waiting

pytestmark = pytest.mark.promise("R55")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who wait look more often than they do otherwise whether the loop is still there."""
    monkeypatch.setattr(portal, "_HEARTBEAT_INTERVAL", 0.02)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads to block."""
    with ThreadPoolExecutor(16) as threads:
        yield threads


def line_up(governor: Governor, pool: ThreadPoolExecutor) -> list[Future[Answer]]:
    """Blocked threads, and tasks on event loops of other threads."""
    return [pool.submit(ask, governor, timeout=timeout) for timeout in (None, 3600.0) for ask in ELSEWHERE.values()]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_closing_answers_tasks_threads_and_tasks_on_other_loops(backend: str, pool: ThreadPoolExecutor) -> None:
    answers: list[Answer] = []

    async def main() -> list[Future[Answer]]:
        async with anyio.create_task_group() as tasks, governed("1 in flight") as governor:
            holder = granted(governor.try_permit("weather"))

            async def own() -> None:
                answers.append(await wait(governor))

            tasks.start_soon(own)
            futures = line_up(governor, pool)
            await anyio.to_thread.run_sync(until, lambda: waiting(governor) == 7)
        assert not holder.reported
        return futures

    futures = anyio.run(main, backend=backend)
    answers += [future.result(PATIENCE) for future in futures]

    assert [ShuttingDown] * 7 == answers


def test_a_governor_on_a_thread_answers_every_call_as_well(pool: ThreadPoolExecutor) -> None:
    with governed("1 in flight") as governor:
        holder = granted(governor.try_permit("weather"))
        futures = line_up(governor, pool)
        until(lambda: waiting(governor) == 6)

    assert [ShuttingDown] * 6 == [future.result(PATIENCE) for future in futures]
    assert not holder.reported


def test_an_error_on_the_loop_answers_every_call(pool: ThreadPoolExecutor) -> None:
    futures: list[Future[Answer]] = []

    async def main() -> None:
        async with governed("1 in flight") as governor:
            holder = granted(governor.try_permit("weather"))
            futures.extend(line_up(governor, pool))
            await anyio.to_thread.run_sync(until, lambda: waiting(governor) == 6)
            assert not holder.reported
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        anyio.run(main)

    assert [ShuttingDown] * 6 == [future.result(PATIENCE) for future in futures]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_is_thrown_away_answers_every_call(pool: ThreadPoolExecutor) -> None:
    """The block is not left and nothing is cancelled: the loop is closed, and the governor is not told."""
    loop = asyncio.new_event_loop()
    governor = governed("1 in flight")

    async def begin() -> tuple[Permit, list[Future[Answer]]]:
        await governor.__aenter__()
        holder = granted(governor.try_permit("weather"))
        futures = line_up(governor, pool)
        await asyncio.to_thread(until, lambda: waiting(governor) == 6)
        return holder, futures

    holder, futures = loop.run_until_complete(begin())
    loop.close()
    late = [pool.submit(block, governor, "weather", timeout) for timeout in (None, 0.5, 0)]
    answers = [future.result(PATIENCE) for future in (*futures, *late)]

    assert [ShuttingDown] * 9 == answers
    assert not holder.reported


def test_threads_that_ask_all_the_while_are_all_answered(pool: ThreadPoolExecutor) -> None:
    """Asks and the closing meet at every possible moment."""
    for _ in range(20):
        with governed("1 in flight") as governor:
            ready = [pool.submit(_ask_until_closed, governor) for _ in range(8)]
            granted(governor.try_permit("traffic"))
        counts = [future.result(PATIENCE) for future in ready]
        assert 8 == len(counts)


def _ask_until_closed(governor: Governor) -> int:
    asked = 0
    while True:
        asked += 1
        if block(governor, timeout=1.0) is ShuttingDown:
            return asked


def test_a_closed_governor_plans_no_retries() -> None:
    with governed("1 in flight") as governor:
        granted(governor.try_permit("weather", "GET"))
        planned = governor.plan_retry("weather", "GET", attempt=1, status=503).delay
    afterwards = [governor.plan_retry(scope, "GET", attempt=1, status=503).delay for scope in ("weather", "traffic")]

    assert planned is not None
    assert [None, None] == afterwards


def test_figures_of_a_closed_governor_are_no_longer_to_be_had() -> None:
    with governed("1 in flight") as governor:
        governor.statistics()
    with pytest.raises(UsageError, match="closed"):
        governor.statistics()


def test_outcomes_reported_after_the_end_are_ignored() -> None:
    with governed("1 in flight") as governor:
        permit = granted(governor.try_permit("weather"))
        forgotten = granted(governor.try_permit("traffic"))
    permit.record(status=500)
    del forgotten

    assert Denied("weather", Reason.SHUTTING_DOWN, None) == governor.try_permit("weather")
