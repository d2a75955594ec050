"""What time is it in a test? Either what the event loop says, or what you say."""

import math

import anyio

from governor._units import Instant, from_seconds, to_seconds
from governor.clock import Clock, steady_clock


def loop_clock() -> Clock:
    """A clock that follows the running event loop.

    On a loop in virtual time, trio with `trio.testing.MockClock(autojump_threshold=0)`, the whole governor lives in virtual
    time as well, and hours of waiting pass in a moment. While no loop runs, it stands still. Make one for each governor.
    """
    return steady_clock(_loop_time)


def _loop_time() -> float:
    try:
        return anyio.current_time()
    except anyio.NoEventLoopError:
        return math.nan  # A steady clock stays where it is.


class ManualClock:
    """A clock that stands still until it is told to go on.

    It decides what the governor grants, and not when those who wait wake up, because timers belong to the event loop: for
    `try_permit` and all else that does not wait. Code that waits is tested with `loop_clock`.
    """

    def __init__(self, start: float = 0.0) -> None:
        """Begins at `start` seconds, from 0 to 366 days. Raises `ConfigError`."""
        self._now = Instant(int(from_seconds(start, field="start")))

    def __call__(self) -> Instant:
        return self._now

    def __repr__(self) -> str:
        return f"<ManualClock at {to_seconds(self._now)} s>"

    def advance(self, seconds: float) -> None:
        """Lets `seconds` pass, from 0 to 366 days, rounded up to whole microseconds. Raises `ConfigError`."""
        self._now = Instant(self._now + from_seconds(seconds, field="seconds"))
