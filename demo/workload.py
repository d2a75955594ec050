"""Runs the workload: calls in tasks and in threads, and an endless loop beside them."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event
from time import monotonic
from typing import Final

import anyio
import msgspec
from anyio import CapacityLimiter, to_thread

from demo.contender import AsyncCaller, Contender, Figures
from demo.rules import READ
from demo.traffic import Call

#: Threads, each of which makes its calls one after the other.
THREADS: Final = 8
#: One call in so many is made by a thread; each of the others is a task of its own.
_IN_THREADS: Final = 3
#: Seconds that a call may wait until it is sent, at most. Nothing is sent after the end of a run.
_MAX_WAIT: Final = 10.0
#: Seconds between two looks at the figures.
_GLANCE: Final = 1.0

#: The call of the endless loop.
_LOOPED: Final = Call(0.0, READ, "/items/loop")

#: Called with the seconds since the start, and the figures so far.
Watcher = Callable[[float, Figures], None]


class Driven(msgspec.Struct, frozen=True, kw_only=True):
    """How the calls of a run ended, by ending; those of the endless loop apart. `figures` are empty for several processes."""

    workload: Counter[str]
    loop: Counter[str]
    figures: Figures = Figures()


async def drive(contender: Contender, calls: Sequence[Call], *, duration: float, watch: Watcher) -> Driven:
    """Makes all calls at their times, and runs the loop, for `duration` seconds; then waits for what is still under way."""
    async with contender.tasks() as make:
        run = _Run(duration)
        async with anyio.create_task_group() as group:
            try:
                group.start_soon(run.watch, contender, watch)
                group.start_soon(run.loop_endlessly, make)
                group.start_soon(run.call_in_tasks, make, [call for n, call in enumerate(calls) if n % _IN_THREADS])
                await run.call_in_threads(contender, calls[::_IN_THREADS])
            finally:
                run.over.set()
        return Driven(workload=run.workload, loop=run.looped, figures=contender.figures())


class _Run:
    """One run, from now on."""

    def __init__(self, duration: float) -> None:
        self.workload: Counter[str] = Counter()
        self.looped: Counter[str] = Counter()
        #: Set when the run has been given up, so that no thread goes on alone.
        self.over = Event()
        self._start = monotonic()
        self._end = self._start + duration

    async def loop_endlessly(self, make: AsyncCaller) -> None:
        with anyio.move_on_after(self._end - monotonic()):
            while True:
                self.looped[await make(_LOOPED, _MAX_WAIT)] += 1

    async def call_in_tasks(self, make: AsyncCaller, calls: Sequence[Call]) -> None:
        async def one(call: Call) -> None:
            self.workload[await make(call, self._wait())] += 1

        async with anyio.create_task_group() as group:
            for call in calls:
                await anyio.sleep(max(0.0, self._start + call.at - monotonic()))
                group.start_soon(one, call)

    async def call_in_threads(self, contender: Contender, calls: Sequence[Call]) -> None:
        limiter = CapacityLimiter(THREADS)

        async def one(share: Sequence[Call]) -> None:
            work = partial(self._call_in_thread, contender, share)
            self.workload += await to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)

        async with anyio.create_task_group() as group:
            for number in range(THREADS):
                group.start_soon(one, calls[number::THREADS])

    def _call_in_thread(self, contender: Contender, calls: Sequence[Call]) -> Counter[str]:
        endings: Counter[str] = Counter()
        with contender.thread() as make:
            for call in calls:
                if self.over.wait(max(0.0, self._start + call.at - monotonic())):
                    break
                endings[make(call, self._wait())] += 1
        return endings

    async def watch(self, contender: Contender, watch: Watcher) -> None:
        while (left := self._end - monotonic()) > 0:
            await anyio.sleep(min(left, _GLANCE))
            watch(monotonic() - self._start, contender.figures())

    def _wait(self) -> float:
        """Seconds that a call which begins now may wait."""
        return max(0.0, min(_MAX_WAIT, self._end - monotonic()))
