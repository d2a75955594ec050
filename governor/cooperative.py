"""Cooperative multitasking for long work on the event loop: small steps, between which other tasks run.

The work is an iterator: None after each step, and in the end the result. It runs on the event loop and not in a thread, since a
thread that computes keeps the interpreter for 5 ms at a time, and every call of the loop would wait for that long.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

from anyio.lowlevel import checkpoint

T = TypeVar("T")

#: Scopes that are looked at in one step: about a tenth of a millisecond.
MAX_IN_STEP: Final = 64


def finish(steps: Iterator[T | None]) -> T:
    """The result, without a pause."""
    return next(result for result in steps if result is not None)


async def take_turns(steps: Iterator[T | None]) -> T:
    """The result. Others have a turn after each step."""
    while (result := next(steps)) is None:
        await checkpoint()
    return result


def batched(items: Iterable[T], size: int | None = None) -> Iterator[list[T]]:
    """The items of one step after the other: `MAX_IN_STEP`, or as many as the size says."""
    rest = iter(items)
    while batch := list(islice(rest, size or MAX_IN_STEP)):
        yield batch
