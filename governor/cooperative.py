"""Cooperative multitasking for long work on the event loop: small steps, between which other tasks run.

The work is an iterator: None after each step, and in the end the result. It runs on the event loop and not in a thread, since a
thread that computes keeps the interpreter for 5 ms at a time, and every call of the loop would wait for that long.

On a busy loop the others take long, and work of many steps with one step for each of their turns would never end: it goes on
for a tenth of the time that the others have just taken.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar, final

from anyio import current_time
from anyio.lowlevel import checkpoint

T = TypeVar("T")

#: Scopes that are looked at in one step: about a tenth of a millisecond.
MAX_IN_STEP: Final = 64
#: How long steps go on, as a part of the time that others have taken.
SHARE: Final = 0.1


@final
class Turns:
    """The turns of others between the steps of one piece of work, on their event loop."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until = -math.inf

    async def after_step(self) -> None:
        """Lets others have their turn, unless they have just had a long one."""
        left = current_time()
        if left >= self._until:
            await checkpoint()
            back = current_time()
            self._until = back + SHARE * (back - left)


def finish(steps: Iterator[T | None]) -> T:
    """The result, without a pause."""
    return next(result for result in steps if result is not None)


async def take_turns(steps: Iterator[T | None]) -> T:
    """The result. Others have their turns in between."""
    turns = Turns()
    while (result := next(steps)) is None:
        await turns.after_step()
    return result


def some_of(steps: Iterator[T | None], time: Callable[[], float], span: float) -> T | None:
    """The result, if so many seconds of `time` are enough for it. One step at least."""
    until = time() + span
    while (result := next(steps)) is None and time() < until:
        pass
    return result


def batched(items: Iterable[T], size: int | None = None) -> Iterator[list[T]]:
    """The items of one step after the other: `MAX_IN_STEP`, or as many as the size says."""
    rest = iter(items)
    while batch := list(islice(rest, size or MAX_IN_STEP)):
        yield batch
