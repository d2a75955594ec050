"""The interface of a limiter under contention."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from enum import Enum, auto
from time import sleep
from typing import Final

import msgspec

from benchmarks.contract import BenchmarkError

#: One permit and, where there is such a thing, its outcome. Whether it was granted.
Ask = Callable[[], bool]
AskOnLoop = Callable[[], Awaitable[bool]]

#: Seconds between two looks of those who are not told when to come back.
_POLL_EVERY: Final = 0.01


class Limit(msgspec.Struct, frozen=True):
    """How much is allowed. Those who count windows allow `per_second` in any second, and know no burst."""

    per_second: int
    burst: int


class Law(Enum):
    """What a limiter claims to keep, and is judged by: burst + rate * w in any window of w, or so many in any second."""

    BUCKET = auto()
    WINDOW = auto()


def _on_no_thread(scope: str) -> Ask:
    raise BenchmarkError(f"only tasks can ask in {scope}: this limiter belongs to one event loop")


class Doors(msgspec.Struct, frozen=True):
    """Ways to ask in a scope. All but `ask_on_loop` are for threads, and are made before the threads begin."""

    ask_on_loop: Callable[[str], AskOnLoop]
    ask: Callable[[str], Ask] = _on_no_thread
    #: The same, but it comes back only with a permit.
    wait: Callable[[str], Ask] = _on_no_thread


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A limiter. `open` sets it up with one limit for every scope; `open_on_loop` does so on the event loop at hand."""

    law: Law
    open: Callable[[Limit], AbstractContextManager[Doors]]
    open_on_loop: Callable[[Limit], AbstractAsyncContextManager[Doors]]
    #: Microseconds between two ticks of its clock: it cannot be judged more finely.
    clock: int = 1
    #: Whether one admission too many ends the benchmark.
    exact: bool = False


#: Measures one subject once; the figures by metric.
Workload = Callable[[Subject, int], Mapping[str, float]]


def lock_based(make: Callable[[Limit], Doors], *, law: Law, clock: int = 1) -> Subject:
    """A limiter that needs no start, and is the same for all callers."""

    @contextmanager
    def open_for_threads(limit: Limit) -> Iterator[Doors]:
        yield make(limit)

    @asynccontextmanager
    async def open_on_loop(limit: Limit) -> AsyncIterator[Doors]:
        yield make(limit)

    return Subject(law=law, open=open_for_threads, open_on_loop=open_on_loop, clock=clock)


def for_everybody(ask: Callable[[str], Ask], wait: Callable[[str], Ask] | None = None) -> Doors:
    """The functions of a limiter that answers at once, for tasks and threads alike. Without a `wait` callers poll."""

    def ask_on_loop(scope: str) -> AskOnLoop:
        once = ask(scope)

        async def answer() -> bool:
            return once()

        return answer

    return Doors(ask_on_loop, ask, wait or (lambda scope: _polling(ask(scope))))


def _polling(ask: Ask) -> Ask:
    def wait() -> bool:
        while not ask():
            sleep(_POLL_EVERY)
        return True

    return wait
