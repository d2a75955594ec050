"""Clocks, and conversion between seconds and the whole microseconds of the governor. The only module that reads a clock.

A clock is a function that returns an `Instant`: whole microseconds from an arbitrary start, never less than 0.
"""

import math
from collections.abc import Callable
from time import monotonic_ns, time
from typing import cast

from governor._units import MAX_DURATION, Instant, from_seconds, to_seconds

__all__ = [
    "MAX_DURATION",
    "Clock",
    "forward_clock",
    "from_seconds",
    "steady_clock",
    "system_clock",
    "to_seconds",
    "wall_clock",
]

Clock = Callable[[], Instant]


def _monotonic_microseconds() -> int:
    return monotonic_ns() // 1000


#: The system's monotonic clock. The cast spares every reading the call of `Instant`.
system_clock = cast("Clock", _monotonic_microseconds)


def wall_clock() -> float:
    """The time of day in seconds since 1970 (UTC). It may jump: it is for dates that others send, not for waits."""
    return time()


def forward_clock(clock: Clock) -> Clock:
    """The same clock, but one that never goes back.

    When the source goes back, this clock stands still for that one reading and then goes on at the source's pace, so that
    nothing waits until the source has caught up.
    """
    last = Instant(0)
    offset = 0

    def read() -> Instant:
        nonlocal last, offset
        raw = clock()
        if raw + offset < last:
            offset = last - raw
        last = Instant(raw + offset)
        return last

    return read


def steady_clock(seconds: Callable[[], float]) -> Clock:
    """A clock made from any function that tells the time in seconds, even one that goes back or answers nonsense.

    Readings that are not finite leave it where it is.
    """
    last = Instant(0)

    def read() -> Instant:
        nonlocal last
        value = seconds()
        if math.isfinite(value):
            last = Instant(math.floor(value * 1_000_000))
        return last

    return forward_clock(read)
