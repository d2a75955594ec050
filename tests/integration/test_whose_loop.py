"""The loop that runs counts, not the thread: loops may take turns on one, change it, run inside another, or be gone."""

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from threading import Thread, get_ident
from time import monotonic
from unittest.mock import patch

import anyio
import anyio.lowlevel
import pytest
import trio
import uvloop

from governor import (
    ConcurrencyExceeded,
    Config,
    Denied,
    Governor,
    GovernorState,
    Overloaded,
    Permit,
    Reason,
    ShuttingDown,
    UsageError,
    default,
)
from governor._actors import asking, portal
from governor._default import current, reset
from governor._governor import running
from governor.messages import InboundRequest, Report
from governor.policies.contract import Result
from tests.support.answers import granted, reason
from tests.support.governors import actor_of
from tests.support.waits import PATIENCE
from tests.support.ways import Answer, block, wait

pytestmark = pytest.mark.promise("R54", "R55")

SETTINGS = {
    "outbound": {
        "often": {"limits": ["1 per 300ms strict"], "counted": "outcome"},
        "single": {"limits": ["1 in flight"], "linger": "off"},
    },
    "inbound": {"default": {"limits": ["1/day burst 1"]}},
}


@pytest.fixture(scope="module", autouse=True)
def _what_lost_its_loop_is_collected_here() -> Iterator[None]:
    """Tasks whose loop is gone cannot end as they should, and the next module would be told."""
    yield
    with patch.object(sys, "unraisablehook", lambda _: None):
        gc.collect()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who wait look more often than they do otherwise whether the loop is still there."""
    monkeypatch.setattr(portal, "_HEARTBEAT_INTERVAL", 0.02)
    monkeypatch.setattr(asking, "_ANSWER_TIMEOUT", 0.02)


@pytest.fixture
def governor() -> Governor:
    """One that is not entered yet."""
    return Governor(Config.from_mapping(SETTINGS))


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    """The loop of the governor."""
    loop: asyncio.AbstractEventLoop = request.param()
    yield loop
    if not loop.is_closed():
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


#: Others, which run on the same thread.
OTHERS = {
    "asyncio": asyncio.run,
    "uvloop": uvloop.run,
    "trio": lambda coroutine: trio.run(lambda: coroutine),
}
others = pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
Other = Callable[[Awaitable[object]], object]


# A loop that has its turn later.


@others
@pytest.mark.parametrize("timeout", [0, 0.05, None])
def test_on_another_loop_of_the_thread_every_wait_has_an_end(
    timeout: float | None, other: Other, loop: asyncio.AbstractEventLoop, governor: Governor
) -> None:
    async def everything() -> list[object]:
        with anyio.fail_after(PATIENCE):
            return [
                await wait(governor, "often", timeout),
                await wait(governor, "often", timeout),
                block(governor, "often", timeout),
                await wait(governor, "new", timeout),
                (await governor.aplan_retry("often", "GET", attempt=1, status=400)).delay,
            ]

    loop.run_until_complete(governor.start())
    answers = other(everything())

    assert [Overloaded, Overloaded, Overloaded, Overloaded, None] == answers


def test_nor_does_it_wait_for_clients_of_an_application(loop: asyncio.AbstractEventLoop, governor: Governor) -> None:
    async def admit() -> list[bool]:
        return [(await governor.inbound.admit("default", InboundRequest(b"a", b"b"))).granted for _ in range(2)]

    loop.run_until_complete(governor.start())
    granted = asyncio.run(admit())

    assert [True, False] == granted


@others
def test_outcomes_are_taken_there_and_read_when_the_loop_has_its_turn(
    other: Other, loop: asyncio.AbstractEventLoop, governor: Governor
) -> None:
    async def hold() -> tuple[Permit, list[asyncio.Task[Answer]]]:
        await governor.start()
        permit = granted(governor.try_permit("single"))
        tasks = [asyncio.create_task(wait(governor, "single", None)) for _ in range(2)]
        await anyio.wait_all_tasks_blocked()
        return permit, tasks

    async def report() -> None:
        permit.record(status=500)

    permit, waiting = loop.run_until_complete(hold())
    other(report())
    answers = loop.run_until_complete(asyncio.wait_for(asyncio.gather(*waiting), PATIENCE))
    counters = loop.run_until_complete(governor.astatistics()).counters

    assert [None, None] == answers
    assert 1 == counters.answered_5xx


def test_while_no_loop_runs_the_thread_of_the_governor_asks_and_reports_directly(
    loop: asyncio.AbstractEventLoop, governor: Governor
) -> None:
    async def line_up() -> tuple[Permit, list[asyncio.Task[Answer]]]:
        await governor.start()
        permit = granted(governor.try_permit("single"))
        tasks = [asyncio.create_task(wait(governor, "single", 30)) for _ in range(3)]
        await anyio.wait_all_tasks_blocked()
        return permit, tasks

    permit, waiting = loop.run_until_complete(line_up())
    fresh = [granted(governor.try_permit("fresh")), block(governor, "fresh", None)]
    permit.record(status=200)
    taken = reason(governor.try_permit("single")), block(governor, "single", 0)
    with pytest.raises(UsageError, match="would block the event loop"):
        governor.permit("single").__enter__()
    counters = governor.statistics().counters
    answers = loop.run_until_complete(asyncio.wait_for(asyncio.gather(*waiting), PATIENCE))

    assert (Reason.CONCURRENCY, ConcurrencyExceeded) == taken
    assert (4, 1) == (counters.requests, counters.answered_2xx)
    assert [None, None, None] == answers
    assert None is fresh[1]


# A loop that is gone.


@others
@pytest.mark.parametrize("timeout", [0, 0.05, None])
@pytest.mark.parametrize("told", [True, False], ids=["cancelled", "just closed"])
def test_once_the_loop_is_gone_every_call_says_so(
    told: bool, timeout: float | None, other: Other, loop: asyncio.AbstractEventLoop, governor: Governor
) -> None:
    async def begin() -> Permit:
        await governor.start()
        permit = granted(governor.try_permit("single"))
        await anyio.wait_all_tasks_blocked()
        return permit

    permit = loop.run_until_complete(begin())
    if told:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    answers = [other(wait(governor, scope, timeout)) for scope in ("single", "often", "new")]
    blocked = [block(governor, scope, timeout) for scope in ("single", "often", "new")]
    tried = [reason(governor.try_permit(scope)) for scope in ("single", "often", "new")]
    permit.record(status=503)
    planned = governor.plan_retry("single", "GET", attempt=1, status=503).delay

    assert [ShuttingDown] * 6 == [*answers, *blocked]
    assert [Reason.SHUTTING_DOWN] * 3 == tried
    assert (None, False, True) == (planned, governor.state is GovernorState.RUNNING, governor.state is GovernorState.CLOSED)
    assert governor not in running


def test_a_loop_of_asyncio_is_found_closed_before_any_call(governor: Governor) -> None:
    async def begin() -> bool:
        await governor.start()
        granted(governor.try_permit("plenty"))
        await anyio.wait_all_tasks_blocked()
        return governor in running

    loop = asyncio.new_event_loop()
    before = loop.run_until_complete(begin())
    loop.close()
    answer = governor.try_permit("plenty")

    assert (True, False, True, Denied("plenty", Reason.SHUTTING_DOWN, None)) == (
        before,
        governor in running,
        governor.state is GovernorState.CLOSED,
        answer,
    )


def test_it_may_be_entered_again_in_another_loop(loop: asyncio.AbstractEventLoop, governor: Governor) -> None:
    async def live() -> Reason | None:
        async with governor:
            return reason(governor.try_permit("often"))

    loop.run_until_complete(governor.start())
    loop.close()

    assert [None, None] == [asyncio.run(live()), trio.run(live)]


def test_the_process_does_not_find_it_any_more(loop: asyncio.AbstractEventLoop, governor: Governor) -> None:
    reset()
    loop.run_until_complete(governor.start())
    before = current()
    loop.close()
    after = current()
    own = default()
    reset()

    assert (governor, None) == (before, after)
    assert own is not governor
    assert governor not in running


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_governors_whose_loops_are_gone_do_not_pile_up() -> None:
    for _ in range(5):
        with closing(asyncio.new_event_loop()) as loop:
            loop.run_until_complete(Governor().start())
    with Governor():
        left = [one for one in running if one.state is not GovernorState.RUNNING]
    gc.collect()

    assert [] == left


@pytest.mark.parametrize("end", [asyncio.run, trio.run, uvloop.run])
def test_a_loop_that_ends_by_itself_answers_threads_that_wait(end: Callable[..., object], governor: Governor) -> None:
    answers: list[object] = []
    thread = Thread(target=lambda: answers.append(block(governor, "single", None)))

    async def main() -> Permit:
        await governor.start()
        holder = granted(governor.try_permit("single"))
        thread.start()
        while not governor.statistics().scopes["single"].waiting:
            await anyio.lowlevel.checkpoint()
        return holder

    holder = end(main if end is trio.run else main())
    thread.join(PATIENCE)

    assert [ShuttingDown] == answers
    assert holder is not None
    assert governor not in running


# Leaving elsewhere.


def test_it_may_be_left_in_another_loop_of_the_thread(loop: asyncio.AbstractEventLoop, governor: Governor) -> None:
    loop.run_until_complete(governor.start())
    asyncio.run(governor.aclose())
    closed = governor.state is GovernorState.CLOSED
    again = loop.run_until_complete(governor.start())
    loop.run_until_complete(again.aclose())

    assert (True, True) == (closed, governor.state is GovernorState.CLOSED)


@others
def test_it_may_be_left_in_a_loop_of_another_thread(other: Other, governor: Governor) -> None:
    async def main() -> bool:
        async with anyio.create_task_group() as tasks, governor:
            tasks.start_soon(anyio.to_thread.run_sync, lambda: other(governor.aclose()))
            while governor.state is not GovernorState.CLOSED:
                await anyio.lowlevel.checkpoint()
        return governor.state is GovernorState.CLOSED

    assert asyncio.run(main())


@others
def test_one_on_a_thread_may_be_left_in_any_loop(other: Other, governor: Governor) -> None:
    with governor:
        other(governor.aclose())
        closed = governor.state is GovernorState.CLOSED
    with governor:
        answer = reason(governor.try_permit("often"))

    assert (True, None) == (closed, answer)


# A loop on another thread than at first.


def test_a_loop_may_be_run_on_by_another_thread(loop: asyncio.AbstractEventLoop, governor: Governor) -> None:
    async def use() -> list[object]:
        answers: list[object] = [await wait(governor, "often", 5.0) for _ in range(3)]
        held = granted(governor.try_permit("single"))
        answers.append(reason(governor.try_permit("single")))
        held.record(status=200)
        return [*answers, reason(governor.try_permit("single"))]

    loop.run_until_complete(governor.start())
    first = reason(governor.try_permit("single"))
    thread = Thread(target=loop.run_forever)
    thread.start()
    try:
        there = asyncio.run_coroutine_threadsafe(use(), loop).result(PATIENCE)
        here = block(governor, "often", 5.0), reason(governor.try_permit("new")), governor.statistics().counters.requests
        asyncio.run_coroutine_threadsafe(governor.aclose(), loop).result(PATIENCE)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)

    assert None is first
    assert [None, None, None, Reason.CONCURRENCY, None] == there
    assert (None, None, 8) == here


@pytest.mark.parametrize("notices", ["an alarm", "a message"])
def test_a_thread_that_no_longer_runs_the_loop_stops_calling_actors_itself(
    notices: str, loop: asyncio.AbstractEventLoop, governor: Governor
) -> None:
    """Neither program nor governor has called anything on the new thread, when an actor has its turn there."""

    async def begin() -> list[asyncio.Task[Answer]]:
        await governor.start()
        granted(governor.try_permit("often"))
        waiting = [asyncio.create_task(wait(governor, "often", 5.0))] if notices == "an alarm" else []
        await anyio.wait_all_tasks_blocked()
        return waiting

    waiting = loop.run_until_complete(begin())
    before = governor._access.thread
    permit = granted(governor.try_permit("single"))
    thread = Thread(target=loop.run_forever)
    thread.start()
    try:
        if waiting:
            asyncio.run_coroutine_threadsafe(asyncio.wait(waiting), loop).result(PATIENCE)
        else:
            actor_of(governor, "single").deliver(Report(permit.grant(), Result.SUCCESS), later=True)
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(PATIENCE)
        after = governor._access.thread
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)

    assert (get_ident(), 0) == (before, after)


# A loop inside another one.


def test_trio_inside_a_task_of_the_governors_loop_waits_for_nothing_that_cannot_come(governor: Governor) -> None:
    async def main() -> list[object]:
        async with governor:
            held = granted(governor.try_permit("single"))
            answers = [
                trio.run(wait, governor, "single", 0.05),
                trio.run(wait, governor, "single", None),
                trio.run(wait, governor, "often", 0),
            ]
            held.record(status=200)
            return [*answers, await wait(governor, "single", 5.0)]

    assert [Overloaded, Overloaded, Overloaded, None] == asyncio.run(main())


@pytest.mark.skipif(sys.platform == "win32", reason="one loop is enough")
def test_trio_as_a_guest_and_its_host_share_a_governor(governor: Governor) -> None:
    """They take turns, so the host may wait for the guest, but not stand still for it."""

    async def guest(ready: asyncio.Event, leave: trio.Event) -> list[object]:
        async with governor:
            held = granted(governor.try_permit("single"))
            ready.set()
            async with trio.open_nursery() as tasks:
                tasks.start_soon(wait, governor, "single", None)
                tasks.start_soon(wait, governor, "single", None)
                await leave.wait()
                held.record(status=200)
            return [reason(governor.try_permit("often"))]

    async def host() -> list[object]:
        loop, ready, done = asyncio.get_running_loop(), asyncio.Event(), asyncio.get_running_loop().create_future()
        leave = trio.Event()
        tokens: list[trio.lowlevel.TrioToken] = []

        async def run() -> list[object]:
            tokens.append(trio.lowlevel.current_trio_token())
            return await guest(ready, leave)

        trio.lowlevel.start_guest_run(
            run, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=lambda outcome: done.set_result(outcome)
        )
        await asyncio.wait_for(ready.wait(), PATIENCE)
        begun = monotonic()
        answers: list[object] = [block(governor, "single", None), await wait(governor, "single", 0.05)]
        answers += [await wait(governor, "fresh", 5.0), monotonic() - begun < 15]
        # The first request of a client wakes a task of the guest, which works from inside only.
        admitted = await governor.inbound.admit("default", InboundRequest(b"someone", b"somewhere"))
        answers.append(admitted.denied)
        tokens[0].run_sync_soon(leave.set)
        outcome = await asyncio.wait_for(done, PATIENCE)
        return [*answers, *outcome.unwrap()]

    answers = asyncio.run(host())

    assert Overloaded is answers[0]
    assert [None, True, None, None] == answers[2:]
