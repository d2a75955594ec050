"""Ctrl-C ends a wait at any point, and leaves everything in order.

The interpreter looks for signals when a function begins, when a call returns and when a loop begins anew. An interrupt is made
to strike at each of these points of our own code in turn, on the whole way from the ask to the permit or the refusal.
"""

import gc
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dis import opname
from functools import partial
from pathlib import Path
from threading import Thread
from types import FrameType

import pytest

from governor import Governor, Permit, PermitDenied
from governor._actors import asking
from governor._actors.portal import Portal
from tests.interleaving.bytecodes import instrumented, stepping, stop_stepping
from tests.support import programs
from tests.support.answers import granted
from tests.support.governors import actor_of
from tests.support.leases import governed
from tests.support.waits import PATIENCE, until

pytestmark = [
    pytest.mark.promise("R04"),
    # Interrupted before it was entered, a request for a permit is like a coroutine that is never awaited.
    pytest.mark.filterwarnings("ignore:coroutine 'Governor.permit' was never awaited:RuntimeWarning"),
]

ROOT = Path(__file__).parents[2]

#: After these instructions the interpreter has looked for signals.
LOOKS = ("RESUME", "CALL", "JUMP_BACKWARD")


@pytest.fixture(scope="module", autouse=True)
def every_bytecode_can_be_interrupted() -> Iterator[None]:
    with instrumented():
        yield


class Interrupt:
    """Raises KeyboardInterrupt in its block, at the point of that number, counted from 0; -1 counts only."""

    def __init__(self, number: int = -1) -> None:
        self.number = number
        self.count = 0

    def __enter__(self) -> "Interrupt":
        gc.disable()  # An interrupt of a finalizer would end there.
        # By the identity of a frame: holding the frame itself would keep alive what it holds.
        self._looks: dict[int, bool] = {}
        self._stepping = stepping(self._step)
        self._stepping.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._stepping.__exit__(None, None, None)
        gc.enable()

    def _step(self, frame: FrameType, offset: int) -> None:
        if offset == 0 or self._looks.get(id(frame), True):
            self._strike()
        self._looks[id(frame)] = opname[frame.f_code.co_code[offset]].startswith(LOOKS)

    def _strike(self) -> None:
        self.count += 1
        if self.count - 1 == self.number:
            raise KeyboardInterrupt


def interrupted(number: int, work: Callable[[], object]) -> bool:
    """Does the work, interrupted at that point; whether it has come to its end.

    On a thread of its own: what a tracer raises at the end of a handler leaves the exceptions of its thread in disorder.
    """
    ended: list[bool] = []

    def run() -> None:
        with suppress(KeyboardInterrupt), Interrupt(number):
            work()
            ended.append(True)

    thread = Thread(target=run)
    thread.start()
    thread.join()
    return bool(ended)


def ask(governor: Governor, timeout: float | None, got: list[Permit]) -> None:
    with suppress(PermitDenied):
        got.append(governor.permit("weather", timeout=timeout).__enter__())


def use(governor: Governor) -> None:
    with governor.permit("weather", timeout=PATIENCE):
        pass


# At every point.


def test_wherever_a_thread_is_interrupted_on_its_way_to_a_permit_the_next_one_gets_it() -> None:
    with governed("1 in flight") as governor, ThreadPoolExecutor(1) as pool:
        got: list[Permit] = []
        use(governor)
        number, ended = 0, False
        while not ended:
            ended = interrupted(number, partial(ask, governor, None, got))
            number += 1
            while got:
                got.pop().record(status=200)
            pool.submit(use, governor).result(PATIENCE)
        now = governor.statistics().scopes["weather"]

    assert number > 40
    assert (1, 0) == (now.limits[0].available, now.waiting)


def test_wherever_one_is_interrupted_that_is_denied_after_a_wait_it_has_left_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_TRANSIT_TIMEOUT", 0.0)
    with governed("1 in flight") as governor, ThreadPoolExecutor(1) as pool:
        use(governor)
        number, ended = 0, False
        while not ended:
            holder = pool.submit(governor.permit("weather", timeout=PATIENCE).__enter__).result(PATIENCE)
            ended = interrupted(number, partial(ask, governor, 0.001, []))
            number += 1
            holder.record(status=200)
            pool.submit(use, governor).result(PATIENCE)
        now = governor.statistics().scopes["weather"]

    assert number > 50
    assert (1, 0) == (now.limits[0].available, now.waiting)


def test_wherever_one_is_interrupted_that_would_wait_without_end_it_does_not_stand_in_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number, reached = 0, list[bool]()

    def stop(*_: object) -> bool:
        stop_stepping()  # One interrupt is enough: a second one while the waiter leaves keeps it from leaving.
        reached.append(True)
        raise KeyboardInterrupt

    with governed("1 in flight") as governor, granted(governor.try_permit("weather")):
        inbox = actor_of(governor, "weather").inbox
        monkeypatch.setattr(Portal, "wait_blocking", stop)
        while not reached:
            until(lambda: not inbox)
            interrupted(number, partial(ask, governor, None, []))
            number += 1
        monkeypatch.undo()
        until(lambda: not inbox and governor.statistics().scopes["weather"].waiting == 0)

    assert number > 20


@pytest.mark.parametrize("report", [Permit.record, Permit.give_back])
def test_wherever_one_is_interrupted_that_reports_the_place_is_free_in_the_end(report: Callable[[Permit], None]) -> None:
    def leave(permit: Permit) -> None:
        with permit:
            report(permit)

    with governed("1000 in flight") as governor:
        number, ended = 0, False
        while not ended:
            permit = granted(governor.try_permit("weather"))
            ended = interrupted(number, partial(leave, permit))
            number += 1
            del permit
        now = governor.statistics().scopes["weather"]

    assert 1000 == now.limits[0].available


# By a signal. Each test runs a program of its own, because an interrupt had better not end the tests.

PROGRAM = """
    import os, signal, sys, threading
    import anyio
    from governor import PermitDenied
    from governor_client import GovernorClient
    from tests.support.answers import granted
    from tests.support.leases import governed
    from tests.support.waits import until

    def waiting(count):
        return governor.statistics().scopes["weather"].waiting == count

    def interrupt():
        until(lambda: waiting(1))
        os.kill(os.getpid(), signal.SIGINT)

    def block():
        with client.permit("weather"):
            pass

    async def wait():
        async with client.permit("weather"):
            pass

"""


def run(program: str) -> list[str]:
    return programs.run(program, setup=PROGRAM).splitlines()


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself Ctrl-C alone")
@pytest.mark.parametrize("wait", ["block()", "anyio.run(wait, backend='asyncio')", "anyio.run(wait, backend='trio')"])
def test_ctrl_c_ends_a_wait_without_end_and_the_program_can_ask_again(wait: str) -> None:
    printed = run(f"""
        with governed("1 in flight") as governor:
            client = GovernorClient(governor)
            holder = granted(client.try_permit("weather"))
            threading.Thread(target=interrupt).start()
            try:
                {wait}
            except KeyboardInterrupt:
                print("interrupted")
            until(lambda: waiting(0))
            holder.record(status=200)
            block()
            anyio.run(wait)
            print("asked again")
    """)

    assert ["interrupted", "asked again"] == printed


@pytest.mark.promise("R55")
@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself Ctrl-C alone")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_ctrl_c_on_the_governors_own_loop_answers_the_threads_that_wait_for_it(backend: str) -> None:
    printed = run(f"""
        async def main():
            global governor, client
            async with governed("1 in flight") as governor:
                client = GovernorClient(governor)
                holder = granted(governor.try_permit("weather"))
                thread.start()
                await anyio.to_thread.run_sync(until, lambda: waiting(1))
                interrupting = threading.Thread(target=lambda: os.kill(os.getpid(), signal.SIGINT))
                interrupting.start()
                async with governor.permit("weather"):
                    print("granted")

        def denied():
            try:
                block()
            except PermitDenied as refusal:
                print(refusal.reason)

        thread = threading.Thread(target=denied)
        try:
            anyio.run(main, backend={backend!r})
        except KeyboardInterrupt:
            thread.join()
            print("interrupted")
    """)

    assert ["shutting_down", "interrupted"] == printed
