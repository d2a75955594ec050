"""CUBIC for request rates: the functions of the adaptive retry mode of the AWS SDKs.

A denial multiplies the rate by `BETA`. Afterwards the rate grows along a cubic curve: fast at first, flat around the rate at
which the denial came, and fast again beyond it, which probes for more. Source: botocore `retries/throttling.py`, after Ha,
Rhee and Xu, "CUBIC: a new TCP-friendly high-speed TCP variant" (2008).

Times are in seconds and rates in units per second, as in the source.
"""

import math
from typing import Final

#: What a denial leaves of the rate.
BETA: Final = 0.7
#: How fast the curve grows: units per second, per cubic second.
SCALE: Final = 0.4
#: The share of the latest interval in the measured rate, and the length of an interval in seconds.
SMOOTHING: Final = 0.8
INTERVAL: Final = 0.5


class Cubic:
    """The curve since the latest denial, at `throttled_at` and at the rate `peak`."""

    __slots__ = ("_beta", "_scale", "flat_after", "peak", "throttled_at", "scale")

    def __init__(self, peak: float = 0.0, throttled_at: float = 0.0, *, beta: float = BETA, scale: float = SCALE) -> None:
        self._beta = beta
        self._scale = scale
        #: The growth of this curve.
        self.scale = scale
        self.throttled(throttled_at, peak)

    def throttled(self, now: float, rate: float, flat_after: float = 0.0) -> float:
        """A denial at this rate. Returns the rate from now on.

        The curve is back at `rate` after a time that follows from the scale, or after `flat_after` if that is longer.
        """
        self.peak = rate
        self.throttled_at = now
        self.scale = self._scale
        #: Seconds from the denial until the rate is back at the peak.
        self.flat_after = (rate * (1 - self._beta) / self._scale) ** (1 / 3)
        if flat_after > self.flat_after:
            self.flat_after = flat_after
            self.scale = rate * (1 - self._beta) / flat_after**3
        return rate * self._beta

    @property
    def least(self) -> float:
        """The rate just after the denial."""
        return self.peak * self._beta

    def rate(self, now: float) -> float:
        """The rate of the curve."""
        beyond: float = self.scale * (now - self.throttled_at - self.flat_after) ** 3
        return self.peak + beyond


class MeasuredRate:
    """The rate of events, in intervals of half a second, smoothed exponentially."""

    __slots__ = ("_count", "_interval", "rate")

    def __init__(self, now: float = 0.0) -> None:
        #: Events per second.
        self.rate = 0.0
        self._count = 0
        self._interval = _interval(now)

    def add(self, now: float, count: int = 1) -> None:
        """So many events have happened. An interval is measured when a later one has its first event."""
        interval = _interval(now)
        self._count += count
        if interval > self._interval:
            latest = self._count / (interval - self._interval)
            self.rate = latest * SMOOTHING + self.rate * (1 - SMOOTHING)
            self._count = 0
            self._interval = interval


def _interval(now: float) -> float:
    return math.floor(now / INTERVAL) * INTERVAL
