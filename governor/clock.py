"""Clocks. This is the only module that reads the time.

A clock is a function that returns an `Instant`, in whole microseconds from an arbitrary start, and never less than 0.
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
    "nanoseconds",
    "steady_clock",
    "system_clock",
    "to_seconds",
    "wall_clock",
]

Clock = Callable[[], Instant]


def _monotonic_microseconds() -> int:
    return monotonic_ns() // 1000


#: The monotonic clock of the system. The cast avoids a call of `Instant` for every reading.
system_clock = cast("Clock", _monotonic_microseconds)


#: The same clock in nanoseconds, for places where another Python call is too much.
nanoseconds: Callable[[], int] = monotonic_ns


def wall_clock() -> float:
    """Seconds since 1970 (UTC). This clock may jump: use it for dates in messages, and not for waits."""
    return time()


def forward_clock(clock: Clock) -> Clock:
    """A clock that follows another one and never goes back.

    When the source goes back, this clock stands still for that one reading and then continues at the pace of the source, so
    that it does not wait until the source has caught up.
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
    """A clock from any function that returns seconds, even one that goes back.

    Readings that are not finite are ignored.
    """
    last = Instant(0)

    def read() -> Instant:
        nonlocal last
        value = seconds()
        if math.isfinite(value):
            last = Instant(math.floor(value * 1_000_000))
        return last

    return forward_clock(read)
