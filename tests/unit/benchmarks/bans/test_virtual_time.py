"""Programs run in virtual time: hours take moments, and every clock that they read agrees."""

import asyncio
import time
from time import monotonic

import anyio
import pytest

import governor.clock
from benchmarks.bans.virtual_time import EPOCH, SECOND, NothingLeftError, VirtualLoop, run


def test_all_clocks_follow_the_loop_and_are_real_again_afterwards() -> None:
    async def main(loop: VirtualLoop) -> list[float]:
        await asyncio.sleep(3600)
        await anyio.sleep(0.5)
        readings = [
            loop.time(),
            time.monotonic(),
            time.perf_counter(),
            time.time() - EPOCH,
            governor.clock.wall_clock() - EPOCH,
        ]
        return [*readings, time.monotonic_ns() / 1e9, governor.clock.system_clock() / SECOND]

    before = time.monotonic()

    assert [3600.5] * 7 == pytest.approx(run(main))
    assert 60 > time.monotonic() - before
    assert time.monotonic is monotonic


def test_tasks_wake_in_the_order_of_their_timers() -> None:
    async def main(loop: VirtualLoop) -> list[int]:
        woken: list[int] = []

        async def one(seconds: int) -> None:
            await asyncio.sleep(seconds)
            woken.append(loop.now // SECOND)

        await asyncio.gather(*(one(seconds) for seconds in (86_400, 3, 1, 200_000)))
        return woken

    assert [1, 3, 86_400, 200_000] == run(main)


def test_a_callback_that_sets_a_timer_for_now_again_and_again_does_not_stop_the_clock() -> None:
    async def main(loop: VirtualLoop) -> int:
        def again() -> None:
            loop.call_at(loop.time(), again)

        again()
        await asyncio.sleep(0.0001)
        return loop.now

    assert 100 == run(main)


def test_a_program_that_would_wait_for_ever_ends_with_an_error() -> None:
    async def main(loop: VirtualLoop) -> None:
        await loop.create_future()

    with pytest.raises(NothingLeftError):
        run(main)


def test_blocking_the_thread_is_an_error() -> None:
    async def main(loop: VirtualLoop) -> None:
        time.sleep(1)  # noqa: ASYNC251 - the mistake

    with pytest.raises(NotImplementedError):
        run(main)
