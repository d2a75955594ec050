"""Clocks for tests: one that follows the event loop, and one that the test advances."""

import math

import anyio

from governor._units import Instant, from_seconds, to_seconds
from governor.clock import Clock, steady_clock


def loop_clock() -> Clock:
    """A clock that follows the running event loop.

    On a loop in virtual time, such as trio with `trio.testing.MockClock(autojump_threshold=0)`, the whole governor runs in
    virtual time, and hours of waiting take no time. While no loop runs, the clock stands still. Create one for each governor.
    """
    return steady_clock(_loop_time)


def _loop_time() -> float:
    try:
        return anyio.current_time()
    except anyio.NoEventLoopError:
        return math.nan  # A steady clock ignores this reading.


class ManualClock:
    """A clock that stands still until `advance` is called.

    It controls what the governor grants, and not when queued calls wake up, because timers belong to the event loop. Use it for
    `try_permit` and other calls that do not wait, and `loop_clock` for calls that wait.
    """

    def __init__(self, start: float = 0.0) -> None:
        """Starts at `start` seconds, from 0 to 366 days. Raises `ConfigError`."""
        self._now = Instant(int(from_seconds(start, field="start")))

    def __call__(self) -> Instant:
        return self._now

    def __repr__(self) -> str:
        return f"<ManualClock at {to_seconds(self._now)} s>"

    def advance(self, seconds: float) -> None:
        """Advances by `seconds`, from 0 to 366 days, rounded up to whole microseconds. Raises `ConfigError`."""
        self._now = Instant(self._now + from_seconds(seconds, field="seconds"))
