"""Threads: whether one at a time runs, and what remains when the program ends: once the interpreter shuts down it starts none.

CPython 3.12.0 to 3.12.2 say so as soon as the main thread has ended, while other threads are still at work
(python/cpython#113964); other versions after the last of them and what `atexit` calls.
"""

import sys
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")


def has_interpreter_lock() -> bool:
    """Whether one thread at a time runs in this interpreter. Free-threaded builds of CPython have the lock switched off."""
    return getattr(sys, "_is_gil_enabled", lambda: True)()


def is_too_late(error: RuntimeError) -> bool:
    """Whether a thread was not started because the interpreter shuts down, rather than for want of resources."""
    # CPython 3.13 has a type for it, `PythonFinalizationError`; 3.12 has the words only, and they are the same.
    return "at interpreter shutdown" in str(error)


async def run_on_thread(function: Callable[[], T]) -> T:
    """Runs the function on a thread of its own, and returns what it returns; on this thread where it is too late for another.

    Of its own, because those of the program may all be waiting for something.
    """
    try:
        return await anyio.to_thread.run_sync(function, limiter=anyio.CapacityLimiter(1))
    except RuntimeError as error:
        if not is_too_late(error):
            raise
    return function()
