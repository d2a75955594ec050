"""A governor begins anew whenever it is entered, wherever that is done, and nothing is left of its earlier lives."""

import asyncio
import logging
import unittest
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from threading import enumerate as all_threads

import anyio
import anyio.lowlevel
import pytest

from governor import Config, Denied, Governor, GovernorState, Permit, Reason, ShuttingDown, UsageError
from governor._actors.watch import GlobalWatch
from governor._governor import running
from governor._supervisor import Supervisor
from governor.instrumentation.events import AnyEvent
from governor.messages import InboundRequest
from governor_client import GovernorClient
from tests.support.answers import granted

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R54")]

SETTINGS = {
    "outbound": {
        "hourly": {"limits": ["1 per hour strict"]},
        "single": {"limits": ["1 in flight"]},
        "flaky": {"breaker": {"failures": 1}},
    },
    "inbound": {"default": {"limits": ["1/day burst 1"]}},
}


@pytest.fixture
def governor() -> Governor:
    """One that is not entered yet."""
    return Governor(Config.from_mapping(SETTINGS))


@asynccontextmanager
async def started(governor: Governor) -> AsyncIterator[Governor]:
    await governor.start()
    try:
        yield governor
    finally:
        await governor.aclose()


@asynccontextmanager
async def on_a_thread(governor: Governor) -> AsyncIterator[Governor]:
    with governor:
        yield governor


@asynccontextmanager
async def in_two_tasks(governor: Governor) -> AsyncIterator[Governor]:
    """Entered in a task that has ended, left in another one."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(governor.__aenter__)
    try:
        yield governor
    finally:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(governor.__aexit__, None, None, None)


Enter = Callable[[Governor], AbstractAsyncContextManager[Governor]]

WAYS: dict[str, Enter] = {
    "async with": lambda governor: governor,
    "start": started,
    "with": on_a_thread,
    "two tasks": in_two_tasks,
}


# Again.


@pytest.mark.parametrize("second", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("first", WAYS.values(), ids=WAYS)
async def test_each_life_begins_with_full_limits_and_counters_at_zero(first: Enter, second: Enter, governor: Governor) -> None:
    lives = []
    for enter in (first, second, first):
        async with enter(governor):
            granted(governor.try_permit("hourly")).record(status=200)
            denied = governor.try_permit("hourly")
            granted(governor.try_permit("flaky")).record(status=503)
            open_breaker = governor.try_permit("flaky")
            counters = (await governor.astatistics()).counters
            admissions = [await governor.inbound.admit("default", InboundRequest(b"a", b"b")) for _ in range(2)]
            alive = governor.state is GovernorState.RUNNING, governor.state is GovernorState.CLOSED, running.count(governor)
        lives.append(
            (
                isinstance(denied, Denied) and denied.reason,
                isinstance(open_breaker, Denied) and open_breaker.reason,
                (counters.requests, counters.answered_2xx, counters.answered_5xx),
                [admission.granted for admission in admissions],
                alive,
                (
                    governor.state is GovernorState.RUNNING,
                    governor.state is GovernorState.CLOSED,
                    running.count(governor),
                    governor.try_permit("hourly"),
                ),
            )
        )
    one = (
        Reason.RATE_LIMIT,
        Reason.CIRCUIT_OPEN,
        (2, 1, 1),
        [True, False],
        (True, False, 1),
        (False, True, 0, Denied("hourly", Reason.SHUTTING_DOWN, None)),
    )

    assert [one] * 3 == lives


def test_each_life_may_have_another_loop_and_another_backend(governor: Governor) -> None:
    async def live() -> bool:
        async with governor:
            return isinstance(governor.try_permit("hourly"), Permit)

    lives = [anyio.run(live, backend=backend) for backend in ("asyncio", "trio", "asyncio")]

    assert [True] * 3 == lives


@pytest.mark.parametrize("again", WAYS.values(), ids=WAYS)
async def test_one_that_runs_cannot_be_entered_and_goes_on(again: Enter, governor: Governor) -> None:
    async with governor:
        granted(governor.try_permit("hourly"))
        with pytest.raises((UsageError, ExceptionGroup)) as caught:
            async with again(governor):
                pass
        answer = governor.try_permit("hourly")
    error = caught.value.exceptions[0] if isinstance(caught.value, ExceptionGroup) else caught.value

    assert "still running" in str(error)
    assert isinstance(answer, Denied)
    assert Reason.RATE_LIMIT is answer.reason


async def test_of_many_tasks_that_enter_it_at_once_one_does(governor: Governor) -> None:
    outcomes: list[type] = []

    async def enter() -> None:
        try:
            outcomes.append(type(await governor.start()))
        except UsageError as error:
            outcomes.append(type(error))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(enter)
    entered = running.count(governor)
    await governor.aclose()

    assert [Governor, UsageError, UsageError, UsageError, UsageError] == sorted(outcomes, key=lambda one: one.__name__)
    assert (1, 0) == (entered, running.count(governor))


async def test_closing_is_for_all_and_at_any_time(governor: Governor) -> None:
    await governor.aclose()
    await governor.start()
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(governor.aclose)
    await governor.aclose()

    assert (True, False) == (governor.state is GovernorState.CLOSED, governor.state is GovernorState.RUNNING)


# What is left of an earlier life.


async def test_outcomes_of_an_earlier_life_change_nothing(governor: Governor) -> None:
    async with governor:
        failed, forgotten, early = (granted(governor.try_permit(scope)) for scope in ("hourly", "single", "third"))
    async with governor:
        held = granted(governor.try_permit("single"))
        failed.record(status=503)
        del forgotten
        early.give_back()
        await anyio.wait_all_tasks_blocked()
        still_held = governor.try_permit("single")
        granted(governor.try_permit("hourly"))
        counters = governor.statistics().counters
        held.record(status=200)

    assert isinstance(still_held, Denied)
    assert (2, 0, 0) == (counters.requests, counters.failures, counters.neutral)


async def test_a_request_that_was_let_in_earlier_ends_without_a_trace(governor: Governor) -> None:
    async with governor:
        here = await governor.inbound.admit("default", InboundRequest(b"a", b"b"))
        elsewhere = await anyio.to_thread.run_sync(governor.inbound.admit_blocking, "default", InboundRequest(b"c", b"d"))
    async with governor:
        here.end(200)
        await anyio.to_thread.run_sync(elsewhere.end, 500)
        await anyio.wait_all_tasks_blocked()
        counters = governor.statistics().groups["default"].counters

    assert (0, 0) == (counters.answered_2xx, counters.answered_5xx)


async def test_who_has_the_governor_goes_on_with_it(governor: Governor) -> None:
    client, prepared = GovernorClient(governor), governor.permit("hourly")
    answers = []
    for _ in range(3):
        with governor:
            held = granted(await anyio.to_thread.run_sync(client.try_permit, "single"))
            answers.append((held, await anyio.to_thread.run_sync(client.try_permit, "single")))
    async with governor, prepared as permit:
        pass

    assert [Denied] * 3 == [type(answer) for _, answer in answers]
    assert permit.reported


async def test_who_waits_in_one_life_is_answered_at_its_end_and_not_in_the_next_one(governor: Governor) -> None:
    answers: list[object] = []

    async def wait() -> None:
        try:
            async with governor.permit("single"):
                answers.append("granted")
        except ShuttingDown:
            answers.append("shutting down")

    async with anyio.create_task_group() as tasks:
        async with governor:
            holder = granted(governor.try_permit("single"))
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
        async with governor:
            holder.record(status=200)
            await anyio.wait_all_tasks_blocked()

    assert ["shutting down"] == answers


async def test_hooks_hear_of_each_life_until_they_are_taken_out(governor: Governor) -> None:
    told: list[AnyEvent] = []
    remove = governor.add_hook(told.append)
    counts = []
    for life in range(4):
        async with governor:
            if life == 2:
                remove()
            granted(governor.try_permit("hourly"))
            governor.try_permit("hourly")
        counts.append(len(told))

    assert [1, 2, 2, 2] == counts
    assert not [thread for thread in all_threads() if thread.name == "governor hook"]


# Which task.


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_stack_may_be_closed_by_another_task(governor: Governor) -> None:
    stack = AsyncExitStack()
    await asyncio.create_task(stack.enter_async_context(governor))
    before = governor.try_permit("hourly")
    await asyncio.create_task(stack.aclose())

    assert isinstance(before, Permit)
    assert governor.state is GovernorState.CLOSED


def test_the_fixtures_of_a_test_case_may_hold_it(governor: Governor) -> None:
    class Case(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self) -> None:
            await self.enterAsyncContext(governor)

        async def test_once(self) -> None:
            granted(governor.try_permit("hourly"))

        test_twice = test_once

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)

    assert (2, [], []) == (result.testsRun, result.errors, result.failures)


async def test_cancellation_of_the_task_that_enters_leaves_nothing_behind(governor: Governor) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await governor.start()
    left = running.count(governor), governor.state is GovernorState.RUNNING
    async with governor:
        granted(governor.try_permit("hourly"))

    assert scope.cancelled_caught
    assert (0, False) == left


async def test_cancellation_of_the_task_that_leaves_does_not_keep_it_from_that(governor: Governor) -> None:
    with anyio.CancelScope() as scope:
        async with governor:
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    left = running.count(governor), governor.state is GovernorState.CLOSED

    assert (0, True) == left


async def test_an_error_of_the_block_goes_on_as_it_is(governor: Governor) -> None:
    with pytest.raises(ZeroDivisionError):
        async with governor:
            raise ZeroDivisionError

    assert governor.state is GovernorState.CLOSED


# Failing.


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[Callable[[], object]]:
    """A supervisor of which one task fails when it is told to."""
    fail = anyio.Event()

    async def broken(_: GlobalWatch) -> None:
        await fail.wait()
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(GlobalWatch, name, broken)
        yield fail.set


async def test_a_governor_that_fails_says_so_answers_all_and_can_be_entered_again(
    governor: Governor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[object] = []

    async def wait() -> None:
        with pytest.raises(ShuttingDown):
            async with governor.permit("single"):
                pass
        answers.append("shutting down")

    with (
        caplog.at_level(logging.ERROR, "governor"),
        failing(monkeypatch, "_announce_recovery") as fail,
        pytest.raises(ExceptionGroup) as caught,
    ):
        async with anyio.create_task_group() as tasks, governor:
            holder = granted(governor.try_permit("single"))
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            fail()
            while not (governor.state is GovernorState.CLOSED and answers):
                await anyio.lowlevel.checkpoint()
            answers.append(governor.try_permit("hourly"))
            answers.append((running.count(governor), holder.reported))
    async with governor:
        again = governor.try_permit("hourly")

    assert caught.group_contains(ZeroDivisionError)
    assert ["shutting down", Denied("hourly", Reason.SHUTTING_DOWN, None), (0, False)] == answers
    assert "The governor has failed, and shuts down." in caplog.text
    assert isinstance(again, Permit)


async def test_a_governor_that_cannot_be_set_up_leaves_nothing_behind(
    governor: Governor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Supervisor, "__init__", broken)
        for enter in (governor.start, partial(governor.__aenter__)):
            with pytest.raises(ZeroDivisionError):
                await enter()
        with pytest.raises(ZeroDivisionError), governor:
            pass
    left = running.count(governor), governor.state is GovernorState.RUNNING
    async with governor:
        granted(governor.try_permit("hourly"))

    assert (0, False) == left
