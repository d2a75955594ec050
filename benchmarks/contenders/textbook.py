"""The simplest correct limiter: a dict, a lock and one number for each key.

It models what a careful programmer writes in ten minutes: GCRA on the monotonic clock, safe from any thread. It grants or
denies, and knows nothing of outcomes.
"""

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

from benchmarks.measure import BURST, RATE, time_pairs


class TextbookLimiter:
    """`rate` per second for each key, and `burst` at once."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / rate
        self._tolerance = (burst - 1) / rate
        self._clock = clock
        self._lock = threading.Lock()
        self._tats: dict[str, float] = {}

    def acquire(self, key: str) -> bool:
        """Takes one token, if there is one."""
        now = self._clock()
        with self._lock:
            tat = self._tats.get(key, now)
            if tat - now > self._tolerance:
                return False
            self._tats[key] = (tat if tat > now else now) + self._interval
            return True


def pairs(size: int) -> Mapping[str, float]:
    """Acquires only: there is no outcome to report."""
    return time_pairs(partial(acquired, TextbookLimiter(RATE, BURST)), size)


def acquired(limiter: TextbookLimiter, count: int) -> int:
    granted = 0
    for _ in range(count):
        if limiter.acquire("bench:get"):
            granted += 1
    return granted
