"""Callers: threads, tasks on one loop or two, or both at once; all begin together, behind a barrier.

What each of them does meanwhile is a `Behaviour`; the answers come back in the order of the crowd.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import monotonic_ns
from typing import Final, Generic, NamedTuple, TypeVar

from benchmarks.contention.subject import Ask, AskOnLoop, Doors, Limit, Subject

R = TypeVar("R")

TASKS: Final = 100
#: Threads beside the tasks where there are both.
MIXED_THREADS: Final = 4
#: The scope of all who share one.
SHARED: Final = "shared"

_MILLISECOND_NS: Final = 1_000_000
#: Seconds until all callers must have started.
_START_TIMEOUT: Final = 60.0


class Times(NamedTuple):
    """Instants of `monotonic_ns`. What is done before `begin` does not count."""

    begin: int
    end: int


class Span(NamedTuple):
    """Milliseconds of warm-up and of what counts."""

    warm_up: int
    timed: int


class Behaviour(NamedTuple, Generic[R]):
    """What a thread and what a task does until the end."""

    thread: Callable[[Ask, Times], R]
    task: Callable[[AskOnLoop, Times], Awaitable[R]]


#: Makes the crowd, lets it live for a span in front of a subject with this limit, and answers what each says in the end.
Crowd = Callable[[Subject, Limit, Span, Behaviour[R]], Sequence[R]]


class Start:
    """Starts all callers at once, when all are ready."""

    def __init__(self, parties: int, span: Span) -> None:
        self._span = span
        self._times = Times(0, 0)
        self._barrier = Barrier(parties, self._note)

    def wait(self) -> Times:
        """Blocks the thread until all have come."""
        self._barrier.wait(_START_TIMEOUT)
        return self._times

    def _note(self) -> None:
        begin = monotonic_ns() + self._span.warm_up * _MILLISECOND_NS
        self._times = Times(begin, begin + self._span.timed * _MILLISECOND_NS)


def threads(asks: Sequence[Ask], span: Span, behave: Callable[[Ask, Times], R]) -> Sequence[R]:
    """A thread for each ask."""
    start = Start(len(asks), span)
    with ThreadPoolExecutor(len(asks)) as pool:
        return list(pool.map(lambda ask: behave(ask, start.wait()), asks))


def one_loop(subject: Subject, limit: Limit, span: Span, behaviour: Behaviour[R]) -> Sequence[R]:
    """100 tasks on one loop, on which the subject lives too."""

    async def main() -> Sequence[R]:
        async with subject.open_on_loop(limit) as doors:
            return await _tasks(doors, TASKS, Start(1, span).wait(), behaviour)

    return asyncio.run(main())


def two_loops(subject: Subject, limit: Limit, span: Span, behaviour: Behaviour[R]) -> Sequence[R]:
    """50 tasks on each of two loops; the subject lives on neither."""
    with subject.open(limit) as doors, ThreadPoolExecutor(2) as pool:
        start = Start(2, span)
        loops = [pool.submit(lambda: asyncio.run(_tasks(doors, TASKS // 2, start.wait(), behaviour))) for _ in range(2)]
        return [answer for loop in loops for answer in loop.result()]


def tasks_and_threads(subject: Subject, limit: Limit, span: Span, behaviour: Behaviour[R]) -> Sequence[R]:
    """100 tasks on one loop, on which the subject lives too, and 4 threads. The tasks answer first."""

    async def main() -> Sequence[R]:
        async with subject.open_on_loop(limit) as doors:
            start = Start(MIXED_THREADS + 1, span)
            beside = asyncio.gather(
                *(asyncio.to_thread(lambda: behaviour.thread(doors.ask(SHARED), start.wait())) for _ in range(MIXED_THREADS))
            )
            times = await asyncio.to_thread(start.wait)
            return [*await _tasks(doors, TASKS, times, behaviour), *await beside]

    return asyncio.run(main())


async def _tasks(doors: Doors, count: int, times: Times, behaviour: Behaviour[R]) -> Sequence[R]:
    return await asyncio.gather(*(behaviour.task(doors.ask_on_loop(SHARED), times) for _ in range(count)))
