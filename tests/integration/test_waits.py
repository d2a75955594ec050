"""Calls elsewhere wait as long as their timeout, and neither work nor wake a thread meanwhile.

Threads are given a lock that an hour of waiting for takes no time; tasks wait on a trio loop in virtual time.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Semaphore, Thread

import anyio
import pytest
import trio
import trio.testing

from governor import Denied, Governor, Overloaded, Permit
from governor._actors import asking, portal
from governor._actors.portal import Portal
from governor_client import GovernorClient
from tests.support.answers import granted
from tests.support.governors import actor_of
from tests.support.leases import ahead, governed, standing_still
from tests.support.portals import heard_posts
from tests.support.threads import THREADS
from tests.support.waits import PATIENCE, until

pytestmark = pytest.mark.promise("R04", "R51")

BACKENDS = ["asyncio", "trio"]
HOUR = 3600


@pytest.fixture
def posts() -> Iterator[list[tuple[Portal | None, str]]]:
    """Which loop was woken, and by which thread."""
    with heard_posts() as heard:
        yield heard


class Slow:
    """A lock that is waited for in vain until the test says so; it notes the timeout of each wait."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.released = False
        self._began = Semaphore(0)
        self._ends = Semaphore(0)

    def acquire(self, timeout: float = -1) -> bool:
        if timeout < 0:
            return True
        self.waits.append(timeout)
        self._began.release()
        self._ends.acquire()
        return self.released

    def release(self) -> None:
        self.released = True
        self._ends.release()

    def tick(self) -> None:
        """Lets one wait pass, as soon as a thread waits."""
        self._began.acquire()
        self._ends.release()


def waiting(governor: Governor) -> int:
    return len(actor_of(governor, "weather").logic.queue)


def use(governor: Governor) -> None:
    with governor.permit("weather", timeout=PATIENCE):
        pass


# Threads.


def test_a_thread_that_waits_without_end_looks_once_a_heartbeat_whether_the_loop_is_there(
    posts: list[tuple[Portal | None, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = Slow()
    with governed("1 in flight") as governor, ThreadPoolExecutor(1, thread_name_prefix="waits") as pool:
        holder = granted(governor.try_permit("weather"))
        with monkeypatch.context() as patch:
            patch.setattr(asking, "Lock", lambda: lock)
            future = pool.submit(governor.permit("weather").__enter__)
            until(lambda: waiting(governor) == 1)
            for _ in range(HOUR):
                lock.tick()
            until(lambda: len(lock.waits) == HOUR + 1)
        looks = posts.count((governor._access.portal, "waits_0"))
        holder.record(status=200)
        future.result(PATIENCE).record(status=200)

    assert [portal._HEARTBEAT_INTERVAL] * (HOUR + 1) == lock.waits
    assert 1 + HOUR == looks  # The first is the question.


def test_a_thread_with_a_timeout_waits_for_as_long_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = Slow()
    with governed("1 in flight") as governor, ThreadPoolExecutor(1) as pool:
        use(governor)
        monkeypatch.setattr(asking, "Lock", lambda: lock)
        with standing_still(governor):
            future = pool.submit(governor.permit("weather", timeout=2.75).__enter__)
            for _ in range(3):
                lock.tick()
            refusal = future.exception(PATIENCE)

    assert isinstance(refusal, Overloaded)
    assert [1.0, 1.0, 0.75 + asking._TRANSIT_TIMEOUT] == pytest.approx(lock.waits)


def test_nor_does_one_that_asks_for_a_scope_for_the_first_time(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = Slow()
    monkeypatch.setattr(portal, "Lock", lambda: lock)
    with governed("1 in flight") as governor, ThreadPoolExecutor(1) as pool:
        with standing_still(governor):
            future = pool.submit(governor.permit("weather", timeout=2.75).__enter__)
            for _ in range(3):
                lock.tick()
            until(lambda: future.done() or len(lock.waits) > 3)
            done = future.done()
        lock.release()
        future.exception(PATIENCE)

    assert done


# Tasks on another loop.


class Steps(trio.abc.Instrument):
    """How often tasks that ask were run."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task.name.endswith(".ask")


def test_nor_does_a_task_on_another_loop_do_more_in_an_hour(posts: list[tuple[Portal | None, str]]) -> None:
    steps = Steps()

    async def ask() -> None:
        async with governor.permit("weather"):
            pass

    async def main() -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            until(lambda: waiting(governor) == 1)
            await trio.sleep(HOUR + 0.5)
            tasks.cancel_scope.cancel()

    with governed("1 in flight") as governor, granted(governor.try_permit("weather")):
        posts.clear()
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0), instruments=[steps])
        looks = posts.count((governor._access.portal, threading.current_thread().name))

    assert 1 + HOUR + 1 == looks  # The question, and the message that the call no longer waits.
    assert 1 + HOUR + 1 == steps.count


async def waited(governor: Governor, timeout: float) -> float:
    """After how many seconds the refusal came; after a minute it is waited for no longer."""
    began = trio.current_time()
    with trio.move_on_after(60):
        try:
            async with governor.permit("weather", timeout=timeout):
                pass
        except Overloaded:
            pass
    return trio.current_time() - began


def test_nor_does_a_task_on_another_loop_wait_longer_than_its_timeout() -> None:
    with governed("1 in flight") as governor:
        use(governor)
        with standing_still(governor):
            seconds = trio.run(waited, governor, 2.75, clock=trio.testing.MockClock(autojump_threshold=0))

    assert 2.75 + asking._TRANSIT_TIMEOUT == pytest.approx(seconds)


def test_nor_if_it_asks_for_a_scope_for_the_first_time() -> None:
    with governed("1 in flight") as governor, standing_still(governor):
        seconds = trio.run(waited, governor, 2.75, clock=trio.testing.MockClock(autojump_threshold=0))

    assert seconds < 60


# Real time.


def block(governor: Governor) -> None:
    with governor.permit("weather", timeout=0.05):
        pass


async def wait(governor: Governor) -> None:
    async with governor.permit("weather", timeout=0.05):
        pass


def block_on(backend: str, governor: Governor) -> None:
    anyio.run(wait, governor, backend=backend)


WAYS = {"thread": block, "asyncio": partial(block_on, "asyncio"), "trio": partial(block_on, "trio")}


@pytest.mark.parametrize("limit", ["1 in flight", "1 per hour strict", "1/day burst 1"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_while_the_loop_stands_still_a_timeout_ends_and_costs_nothing(limit: str, way: Callable[[Governor], None]) -> None:
    with governed(limit) as governor, ThreadPoolExecutor(1) as pool:
        granted(governor.try_permit("weather")).give_back()
        with standing_still(governor):
            refusal = pool.submit(way, governor).exception(PATIENCE)
        now = governor.statistics().scopes["weather"]

    assert isinstance(refusal, Overloaded)
    assert ("weather", 1.0) == (refusal.scope, refusal.retry_after)
    assert (1, 0) == (now.limits[0].available, now.waiting)


# Threads that die.


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_permits_that_were_granted_ahead_to_threads_that_have_died_are_used_and_that_is_all() -> None:
    def die(permits: list[Permit]) -> None:
        permits.append(granted(GovernorClient(governor).try_permit("weather")))
        raise ZeroDivisionError

    taken: list[list[Permit]] = [[] for _ in range(THREADS)]
    with governed("1/day burst 1000") as governor:
        with ahead(governor, "weather") as (_, used):
            threads = [Thread(target=die, args=(permits,)) for permits in taken]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        number = sum(len(permits) for permits in taken)
        taken.clear()
        rest = [governor.try_permit("weather") for _ in range(1000 - used - number)]
        denied = governor.try_permit("weather")
        counters = governor.statistics().counters

    assert THREADS == number
    assert all(isinstance(answer, Permit) for answer in rest)
    assert isinstance(denied, Denied)
    assert (1000, used) == (counters.requests, counters.answered_2xx)
