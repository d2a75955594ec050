"""The adaptive retry mode of the AWS SDKs, by its published algorithm.

A token bucket before every attempt, which does not exist until the first throttling answer. A throttling answer cuts its rate
to `BETA` of the measured rate of sending. With successes it grows along a cubic curve, to twice the measured rate at most.
Beside it the standard mode: exponential pauses with full jitter, up to 20 s, and a quota of retries. Sources: botocore
`retries/adaptive.py`, `throttling.py`, `bucket.py`, `standard.py`, and the AWS SDKs reference, "Retry behavior".
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import floor
from random import Random
from typing import Final

from benchmarks.bans.calls import Call
from benchmarks.bans.contract import ATTEMPTS, DeniedError, Job, Make, send

BETA: Final = 0.7
SCALE: Final = 0.4
MIN_FILL_RATE: Final = 0.5
MIN_CAPACITY: Final = 1.0
SMOOTHING: Final = 0.8
BUCKET_SECONDS: Final = 0.5
MAX_ADJUST: Final = 2.0
#: Tokens of the quota of retries, the cost of a retry after a throttling answer and after another one, and what a call gives
#: back that needed none.
_QUOTA: Final = 500
_THROTTLING_COST: Final = 5
_RETRY_COST: Final = 14
_REFILL: Final = 1
_MAX_PAUSE: Final = 20.0


class Cubic:
    """The rate by CUBIC: below the last maximum after a throttling answer, back to it, and beyond. Times in seconds."""

    def __init__(self, max_rate: float, throttled_at: float) -> None:
        self.max_rate = max_rate
        self.throttled_at = throttled_at
        self.window = self._window()

    def throttled(self, rate: float, now: float) -> float:
        """The new rate after a throttling answer at this rate."""
        self.max_rate = rate
        self.throttled_at = now
        self.window = self._window()
        return rate * BETA

    def succeeded(self, now: float) -> float:
        """The rate after a success."""
        return SCALE * (now - self.throttled_at - self.window) ** 3 + self.max_rate

    def _window(self) -> float:
        return float((self.max_rate * (1 - BETA) / SCALE) ** (1 / 3))


class RateClocker:
    """The measured rate of sending: smoothed over steps of half a second."""

    def __init__(self, now: float) -> None:
        self.rate = 0.0
        self._count = 0
        self._bucket = floor(now / BUCKET_SECONDS) * BUCKET_SECONDS

    def record(self, now: float) -> float:
        """Counts a request and returns the rate."""
        bucket = floor(now / BUCKET_SECONDS) * BUCKET_SECONDS
        self._count += 1
        if bucket > self._bucket:
            self.rate = self._count / (bucket - self._bucket) * SMOOTHING + self.rate * (1 - SMOOTHING)
            self._count = 0
            self._bucket = bucket
        return self.rate


class RateLimiter:
    """The client-side rate limiter: `wait` before an attempt, `answered` after it. Times in seconds."""

    def __init__(self, now: float) -> None:
        self.enabled = False
        self.fill_rate = MIN_FILL_RATE
        self._capacity = 0.0
        self._max_capacity = MIN_CAPACITY
        self._at = now
        self._cubic = Cubic(0.0, now)
        self._clocker = RateClocker(now)

    @property
    def measured(self) -> float:
        """The measured rate of sending."""
        return self._clocker.rate

    def wait(self, now: float) -> float:
        """Takes a token, or returns the seconds until there may be one."""
        if not self.enabled:
            return 0.0
        self._refill(now)
        if self._capacity >= 1 - 1e-9:
            self._capacity = max(0.0, self._capacity - 1)
            return 0.0
        return (1 - self._capacity) / self.fill_rate

    def answered(self, now: float, *, throttled: bool) -> None:
        """Learns from an answer."""
        measured = self._clocker.record(now)
        if throttled:
            rate = min(measured, self.fill_rate) if self.enabled else measured
            allowed = self._cubic.throttled(rate, now)
            self.enabled = True
        else:
            allowed = self._cubic.succeeded(now)
        self._set(now, min(allowed, MAX_ADJUST * measured))

    def _set(self, now: float, rate: float) -> None:
        self._refill(now)
        self.fill_rate = max(rate, MIN_FILL_RATE)
        self._max_capacity = max(rate, MIN_CAPACITY)
        self._capacity = min(self._capacity, self._max_capacity)

    def _refill(self, now: float) -> None:
        self._capacity = min(self._max_capacity, self._capacity + (now - self._at) * self.fill_rate)
        self._at = now


class Adaptive:
    """A client with the adaptive retry mode."""

    name = "aws-adaptive"
    title = "adaptive mode of AWS SDKs"
    knows = "nothing"

    @asynccontextmanager
    async def open(self, job: Job) -> AsyncIterator[Make]:
        """One limiter and one quota for all calls."""
        clock, random = job.clock, Random(job.seed)
        limiter = RateLimiter(clock.time())
        quota = _QUOTA

        async def make(call: Call) -> bool:
            nonlocal quota
            taken = 0
            for attempt in range(ATTEMPTS):
                while wait := limiter.wait(clock.time()):  # noqa: ASYNC110 - a rate that changes while tasks wait
                    await asyncio.sleep(wait)
                try:
                    await send(job.wire, call)
                except DeniedError as error:
                    throttled = error.status == 429
                    limiter.answered(clock.time(), throttled=throttled)
                else:
                    limiter.answered(clock.time(), throttled=False)
                    quota = min(_QUOTA, quota + (taken or _REFILL))
                    return True
                taken = _THROTTLING_COST if throttled else _RETRY_COST
                if quota < taken:
                    return False
                quota -= taken
                await asyncio.sleep(random.random() * min(_MAX_PAUSE, 2**attempt))
            return False

        yield make
