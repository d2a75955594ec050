"""Can every thread reach the governor's loop, and does none wait for a loop that is gone?"""

import asyncio
from collections.abc import Callable
from functools import partial
from threading import Thread, get_ident

import anyio
import pytest

from governor import UsageError
from governor._actors.home import Home

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


async def test_at_home_a_call_is_a_call() -> None:
    home = Home()

    assert home.here()
    assert get_ident() == home.call(get_ident)


async def test_a_call_from_another_thread_runs_at_home() -> None:
    home = Home()
    ran, answered = await anyio.to_thread.run_sync(lambda: (home.call(get_ident), home.here()))

    assert (get_ident(), False) == (ran, answered)


async def test_a_call_finds_the_event_loop_at_home() -> None:
    home = Home()
    told = await anyio.to_thread.run_sync(home.call, anyio.current_time)

    assert told <= anyio.current_time()


async def test_what_a_call_raises_reaches_its_caller() -> None:
    home = Home()

    with pytest.raises(ZeroDivisionError):
        await anyio.to_thread.run_sync(home.call, lambda: 1 // 0)


async def test_calls_are_answered_in_the_order_of_each_thread() -> None:
    home = Home()
    log: list[int] = []

    def ask() -> None:
        for number in range(50):
            home.call(partial(log.append, number))

    await anyio.to_thread.run_sync(ask)

    assert list(range(50)) == log


async def test_after_closing_nobody_waits_for_a_call() -> None:
    home = Home()
    home.close()

    with pytest.raises(UsageError, match="closed"):
        await anyio.to_thread.run_sync(home.call, get_ident)


def test_a_call_that_was_left_lying_is_answered_when_the_loop_is_gone() -> None:
    loop = asyncio.new_event_loop()

    async def move_in() -> Home:
        return Home()

    home = loop.run_until_complete(move_in())
    thread, outcome = in_thread(lambda: home.call(get_ident))
    home.close()
    loop.close()
    thread.join(5)

    assert [UsageError] == [type(answer) for answer in outcome]


def test_a_knock_tells_whether_the_loop_is_there() -> None:
    async def main() -> tuple[Home, bool]:
        home, knocked = Home(), anyio.Event()
        there = home.knock(knocked.set)
        await knocked.wait()
        return home, there

    home, there = asyncio.run(main())

    assert (True, False) == (there, home.knock(lambda: None))


def test_an_interrupt_while_a_call_runs_leaves_its_caller_with_an_answer() -> None:
    """The interpreter may interrupt whatever the main thread is doing, and that may be the work of another thread."""
    loop = asyncio.new_event_loop()

    async def move_in() -> Home:
        return Home()

    home = loop.run_until_complete(move_in())

    def interrupted() -> None:
        raise KeyboardInterrupt

    thread, outcome = in_thread(lambda: home.call(interrupted))
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    thread.join(5)
    loop.close()

    assert [UsageError] == [type(answer) for answer in outcome]


def test_a_loop_that_was_thrown_away_leaves_nobody_waiting() -> None:
    loop = asyncio.new_event_loop()

    async def move_in() -> Home:
        return Home()

    home = loop.run_until_complete(move_in())
    callers = [in_thread(lambda: home.call(get_ident)) for _ in range(3)]
    loop.close()
    late, outcome = in_thread(lambda: home.call(get_ident))
    for thread, _ in callers:
        thread.join(5)
    late.join(5)

    assert [UsageError] * 4 == [type(answer) for answers in (outcome, *(one for _, one in callers)) for answer in answers]
