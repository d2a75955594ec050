"""Every thread reaches the governor's loop, and none waits for a loop that is gone."""

import asyncio
import math
from collections.abc import Callable
from functools import partial
from threading import Event, Lock, Thread, get_ident

import anyio
import anyio.from_thread
import pytest

from governor import UsageError
from governor._actors import portal as portal_module
from governor._actors.portal import Portal
from tests.support.waits import until

pytestmark = pytest.mark.anyio


def in_thread(function: Callable[[], object]) -> tuple[Thread, list[object]]:
    """Runs the function in a thread of its own, and collects what it returns or raises."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(function())
        except BaseException as error:
            outcome.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    return thread, outcome


async def test_on_the_loop_a_call_is_a_call() -> None:
    portal = Portal()

    assert portal.here()
    assert get_ident() == portal.call(get_ident)


async def test_a_call_from_another_thread_runs_on_the_loop() -> None:
    portal = Portal()
    ran, answered = await anyio.to_thread.run_sync(lambda: (portal.call(get_ident), portal.here()))

    assert (get_ident(), False) == (ran, answered)


async def test_a_call_finds_the_event_loop_that_it_runs_on() -> None:
    portal = Portal()
    told = await anyio.to_thread.run_sync(portal.call, anyio.current_time)

    assert told <= anyio.current_time()


async def test_what_a_call_raises_reaches_its_caller() -> None:
    portal = Portal()

    with pytest.raises(ZeroDivisionError):
        await anyio.to_thread.run_sync(portal.call, lambda: 1 // 0)


async def test_calls_are_answered_in_the_order_of_each_thread() -> None:
    portal = Portal()
    log: list[int] = []

    def ask() -> None:
        for number in range(50):
            portal.call(partial(log.append, number))

    await anyio.to_thread.run_sync(ask)

    assert list(range(50)) == log


async def test_after_closing_no_thread_waits_for_a_call() -> None:
    portal = Portal()
    portal.close()

    with pytest.raises(UsageError, match="closed"):
        await anyio.to_thread.run_sync(portal.call, get_ident)


def test_a_call_that_was_left_lying_is_answered_when_the_loop_is_gone() -> None:
    loop = asyncio.new_event_loop()

    async def move_in() -> Portal:
        return Portal()

    portal = loop.run_until_complete(move_in())
    thread, outcome = in_thread(lambda: portal.call(get_ident))
    portal.close()
    loop.close()
    thread.join(5)

    assert [UsageError] == [type(answer) for answer in outcome]


def test_a_post_says_whether_the_loop_is_there() -> None:
    async def main() -> tuple[Portal, bool]:
        portal, posted = Portal(), anyio.Event()
        there = portal.post(posted.set)
        await posted.wait()
        return portal, there

    portal, there = asyncio.run(main())

    assert (True, False) == (there, portal.post(lambda: None))


def test_an_interrupt_while_a_call_runs_leaves_its_caller_with_an_answer() -> None:
    """The interpreter may interrupt whatever the main thread is doing, and that may be the work of another thread."""
    loop = asyncio.new_event_loop()

    async def move_in() -> Portal:
        return Portal()

    portal = loop.run_until_complete(move_in())

    def interrupted() -> None:
        raise KeyboardInterrupt

    thread, outcome = in_thread(lambda: portal.call(interrupted))
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    thread.join(5)
    loop.close()

    assert [UsageError] == [type(answer) for answer in outcome]


def test_a_loop_that_was_thrown_away_leaves_no_thread_waiting() -> None:
    loop = asyncio.new_event_loop()

    async def move_in() -> Portal:
        return Portal()

    portal = loop.run_until_complete(move_in())
    callers = [in_thread(lambda: portal.call(get_ident)) for _ in range(3)]
    loop.close()
    late, outcome = in_thread(lambda: portal.call(get_ident))
    for thread, _ in callers:
        thread.join(5)
    late.join(5)

    assert [UsageError] * 4 == [type(answer) for answers in (outcome, *(one for _, one in callers)) for answer in answers]


# Callers who have gone.


async def test_a_call_that_was_given_up_in_time_never_runs() -> None:
    portal, ran = Portal(), list[str]()

    def ask() -> None:
        with pytest.raises(TimeoutError):
            portal.call(partial(ran.append, "late"), timeout=0.001)

    thread = Thread(target=ask)
    thread.start()
    thread.join()  # The loop stands still for so long.
    await anyio.to_thread.run_sync(portal.call, partial(ran.append, "after"))

    assert ["after"] == ran


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_nor_does_one_whose_caller_on_another_loop_was_cancelled(backend: str) -> None:
    portal, ran = Portal(), list[str]()

    async def ask() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await portal.acall(partial(ran.append, "late"), unwanted=lambda _: ran.append("unwanted"))

    thread = Thread(target=partial(anyio.run, ask, backend=backend))
    thread.start()
    thread.join()
    await anyio.to_thread.run_sync(portal.call, partial(ran.append, "after"))

    assert ["after"] == ran


async def test_no_call_overtakes_what_was_posted_before_it() -> None:
    portal = Portal()
    ran: list[str] = []

    def give_up_then_post_then_call() -> None:
        with pytest.raises(TimeoutError):
            portal.call(partial(ran.append, "given up"), timeout=0.001)
        portal.post(partial(ran.append, "posted"))
        portal.call(partial(ran.append, "called"))

    thread, outcome = in_thread(give_up_then_post_then_call)
    until(lambda: len(portal._calls) == 2)  # Meanwhile the loop stands still.
    await anyio.to_thread.run_sync(thread.join)

    assert (["posted", "called"], [None]) == (ran, outcome)


async def test_what_has_run_already_is_handed_over_if_its_caller_is_gone() -> None:
    portal, unwanted, cancelled = Portal(), list[str](), Event()

    async def ask() -> None:
        def run() -> str:
            foreign.call(scope.cancel)
            cancelled.wait()
            return "granted"

        async with anyio.from_thread.BlockingPortal() as foreign:
            with anyio.CancelScope() as scope:
                try:
                    await portal.acall(run, unwanted=unwanted.append)
                finally:
                    cancelled.set()

    await anyio.to_thread.run_sync(anyio.run, ask)
    await anyio.to_thread.run_sync(portal.call, lambda: None)

    assert ["granted"] == unwanted


async def test_what_runs_as_its_caller_gives_up_is_answered() -> None:
    portal, begun, go_on = Portal(), Event(), Event()

    def run() -> str:
        begun.set()
        go_on.wait()
        return "answer"

    def ask() -> str:
        call = portal.wait_blocking

        def wait(done: Lock, timeout: float = math.inf) -> bool:
            begun.wait()
            in_time = call(done, 0.001)
            go_on.set()
            return in_time or call(done, timeout)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Portal, "wait_blocking", lambda _, done, timeout=math.inf: wait(done, timeout))
            return portal.call(run, timeout=0.001)

    assert "answer" == await anyio.to_thread.run_sync(ask)


async def test_so_many_calls_lie_unread_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal_module, "MAX_CALLS", 2)
    portal, ran = Portal(), list[int]()

    def ask(number: int) -> None:
        with pytest.raises(TimeoutError):
            portal.call(partial(ran.append, number), timeout=0.001)

    for number in range(5):
        thread = Thread(target=partial(ask, number))
        thread.start()
        thread.join()
    unread = len(portal._calls)
    # The queue is empty again as soon as the loop has looked.
    await anyio.wait_all_tasks_blocked()
    await anyio.to_thread.run_sync(portal.call, partial(ran.append, 5))

    assert (2, [5]) == (unread, ran)
