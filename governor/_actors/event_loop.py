"""The event loop that runs on this thread: which one it is, and how to start a task in it, and how to learn that it was closed.

anyio tells neither in callbacks of a loop that it has not started, nor for a loop that shares its thread with another one.
"""

import sys
import weakref
from collections.abc import Callable, Coroutine
from typing import Final, Protocol, cast

from anyio.lowlevel import current_token

#: What a loop of asyncio keeps until it is closed, and no longer.
_UNTIL_CLOSED: Final = ("_selector", "_proactor")


class AsyncioLoop(Protocol):
    """What is used of a loop of asyncio."""

    def call_soon_threadsafe(self, callback: Callable[[], object]) -> object: ...

    def create_task(self, coroutine: Coroutine[object, object, object], *, name: str) -> "_Task": ...

    def is_closed(self) -> bool: ...

    def is_running(self) -> bool: ...

    def time(self) -> float: ...


class _Task(Protocol):
    def add_done_callback(self, callback: Callable[["_Task"], object]) -> object: ...

    def cancelled(self) -> bool: ...

    def exception(self) -> BaseException | None: ...


def running_loop() -> object | None:
    """The loop of asyncio, or the token of trio, whose code runs on this thread right now. None while there is none."""
    # Each request to our own API looks: where trio has not been imported, it costs no more than asyncio's answer.
    if "trio" in sys.modules and in_trio():
        token: object = sys.modules["trio"].lowlevel.current_trio_token()
        return token
    # `running_asyncio_loop`, inlined to save the call.
    running: Callable[[], object] | None = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)
    return None if running is None else running()


def in_trio() -> bool:
    """Whether code of trio runs on this thread now, possibly inside a loop of asyncio.

    A callback runs in a task of trio's own, and the host of a guest run outside of all tasks.
    """
    # Another thread may be importing it in this very moment: then it is there in parts, and none of its loops runs yet.
    in_task = getattr(getattr(sys.modules.get("trio"), "lowlevel", None), "in_trio_task", None)
    return in_task is not None and bool(in_task())


def running_asyncio_loop() -> object | None:
    """The loop of asyncio that runs on this thread, although trio may run inside it. Unlike that of asyncio, raises nothing."""
    # While another thread imports it, it is there in parts, and no loop of asyncio runs yet.
    running: Callable[[], object] | None = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)
    return None if running is None else running()


def is_asyncio(loop: object) -> bool:
    """Whether this is a loop of asyncio, or compatible with one."""
    return hasattr(loop, "call_soon_threadsafe")


def spawn(function: Callable[[], Coroutine[object, object, None]], name: str) -> object:
    """Runs the function in a task that belongs to the running loop, and is cancelled with all others when that ends.

    Returns something to keep for as long as the task is to live: asyncio knows its tasks by weak references only.
    """
    loop = current_token().native_token
    if is_asyncio(loop):
        task = cast("AsyncioLoop", loop).create_task(function(), name=name)
        task.add_done_callback(_look_at)
        return task
    return sys.modules["trio"].lowlevel.spawn_system_task(function, name=name)


def _look_at(task: _Task) -> None:
    """Retrieves the exception of the task, so that asyncio does not log that it was never retrieved."""
    if not task.cancelled():
        task.exception()


def when_closed(loop: object, callback: Callable[[], object]) -> object:
    """Calls the callback in the moment in which the loop is closed, for as long as what is returned is kept.

    None, and the callback is never called, if that cannot be known of this loop: uvloop and trio say nothing.
    """
    for name in _UNTIL_CLOSED:
        kept = getattr(loop, name, None)
        if kept is not None:
            return weakref.ref(kept, lambda _: callback())
    return None
