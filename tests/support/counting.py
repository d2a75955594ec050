"""Counts that do not vary with the machine or its load: Python calls, memory in use at once, and memory that is kept."""

import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import pytest

from governor import _build, _callers

Call = Callable[[], object]

#: Of a test that looks at the Python functions of the kernel, or puts others in their places.
python_kernel = pytest.mark.skipif(_build.is_compiled(), reason="the kernel is compiled here, and has no Python functions")
#: Calls after which everything that is made once has been made.
WARM_UP: Final = 200
#: Some calls do more than others, such as the one that meets the end of a lane. What counts is the least of so many.
TRIES: Final = 5
#: The calls among which kept memory is looked for.
SPAN: Final = 50


def python_calls(function: Call) -> list[str]:
    """The Python functions that it calls on this thread, itself not included."""
    return calls_in(function)[1:]


def calls_in(function: Call, *packages: str) -> list[str]:
    """The Python functions called on this thread, in order; of these packages only, if any are named."""
    called: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and (not packages or str(frame.f_globals.get("__name__")).partition(".")[0] in packages):
            called.append(frame.f_code.co_qualname)

    # The garbage of other tests would be collected meanwhile, and its finalizers counted.
    with _no_collection():
        sys.setprofile(note)
        try:
            function()
        finally:
            sys.setprofile(None)
    return called


def bytes_at_once(function: Call) -> int:
    """The most memory that Python allocates during a call and holds at the same time."""
    found = []
    with _no_collection():
        tracemalloc.start()
        try:
            for _ in range(4 * TRIES):
                before, _ = tracemalloc.get_traced_memory()
                tracemalloc.reset_peak()
                function()
                found.append(tracemalloc.get_traced_memory()[1] - before)
        finally:
            tracemalloc.stop()
    return min(found[1:])


def blocks_kept(function: Call) -> int:
    """By how many blocks the memory has grown after `SPAN` calls.

    The least of many spans: in most of them a queue grows by a block of its own, or the log of the last minute by a slot.
    """
    found = []
    with _no_collection():
        for _ in range(4 * TRIES):
            before = sys.getallocatedblocks()
            for _ in range(SPAN):
                function()
            found.append(sys.getallocatedblocks() - before)
    return max(0, min(found))


@contextmanager
def no_labels() -> Iterator[None]:
    """From the first `with governor.caller(...)` of a process on, each call looks for a label; not in this block."""
    before = _callers.any_block.copy()
    _callers.any_block.clear()
    try:
        yield
    finally:
        _callers.any_block.extend(before)


@contextmanager
def _no_collection() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
