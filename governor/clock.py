"""Clocks. This is the only module that reads the time.

A clock is a function that returns an `Instant`, in whole microseconds from an arbitrary start, and never less than 0.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from time import monotonic_ns, time
from typing import Final, cast

import msgspec

from governor._units import MAX_DURATION, Instant, from_seconds, to_seconds

__all__ = [
    "MAX_DURATION",
    "Clock",
    "Moment",
    "continued_clock",
    "forward_clock",
    "from_seconds",
    "moment",
    "nanoseconds",
    "resumed_at",
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


#: Where Linux says which start of the system this is. It counts as unknown on other systems.
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Moment(msgspec.Struct, frozen=True):
    """An instant of a governor's clock, and what other clocks read then, so that another process finds out how long ago it was.

    `boot` names the start of the system, and is empty if that is not known; `uptime` are the microseconds of the monotonic
    clock, which begins with it. `wall` are seconds since 1970.
    """

    instant: Instant
    wall: float
    uptime: int
    boot: str


@cache
def _boot() -> str:
    with suppress(OSError):
        return _BOOT_ID.read_text().strip()
    return ""


def moment(clock: Clock, ahead: int = 0) -> Moment:
    """The present moment, as a governor's clock reads it that is `ahead` microseconds before `clock`."""
    uptime = _monotonic_microseconds()
    return Moment(Instant((uptime if clock is system_clock else clock()) + ahead), time(), uptime, _boot())


def resumed_at(then: Moment, now: Moment) -> Instant:
    """What the clock of `then` reads at the moment `now`, whose own instant does not matter.

    Within one start of the system its monotonic clock says how much time has passed, so that this is never too much. After
    another start at least the time since that has; the wall clock is believed where it says that more has, and not where it has
    gone back. One that is ahead reads too much: nothing tells that from time for which the machine was off.
    """
    if then.boot and then.boot == now.boot and now.uptime >= then.uptime:
        return Instant(then.instant + now.uptime - then.uptime)
    passed = now.wall - then.wall
    by_wall = math.floor(passed * 1_000_000) if 0 < passed < math.inf else 0
    # Without the name of the start this may still be the same one, in which the uptime is no time that has passed.
    restarted = bool(then.boot and now.boot) and then.boot != now.boot
    return Instant(then.instant + max(by_wall, now.uptime if restarted else 0))


def continued_clock(clock: Clock, ahead: int) -> Clock:
    """A clock that is `ahead` microseconds before another one."""
    if ahead == 0:
        return clock
    if clock is not system_clock:
        return lambda: Instant(clock() + ahead)

    def read() -> int:
        return monotonic_ns() // 1000 + ahead

    return cast("Clock", read)
