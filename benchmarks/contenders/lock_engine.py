"""A lock-based engine that does the governor's job, with a lock for each part.

It models a common way to build traffic control, as the reference system is described: a token bucket and a circuit breaker for
each scope, a sliding log of the last 60 seconds over all scopes, degraded mode, and counters, each an object that guards its
own state with its own lock. `check` asks them in turn, `record` tells those who learn from outcomes.

Written as one would for production: no needless work, slots, one reading of the clock for each call, amortised O(1) throughout.
The faults that such engines are known for are not modelled: the call that half-opens the breaker is counted, a denied request
leaves no trace in the log, and what was taken before a later part denied is given back.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial

from benchmarks.measure import BURST, CAP, RATE, time_pairs

WINDOW_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits of every scope, and of all together. Times are in seconds."""

    rate: float = 10.0
    burst: int = 100
    cap: int = 1_000
    breaker_failures: int = 5
    breaker_successes: int = 2
    breaker_open_for: float = 60.0
    breaker_probes: int = 3
    degraded_failures: int = 10
    degraded_cooldown: float = 60.0


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the call may be made; if not, why, and in how many seconds to ask again."""

    allowed: bool
    reason: str = ""
    retry_after: float = 0.0


ALLOWED = Decision(True)


class Bucket:
    """Tokens that come back at `rate` per second."""

    __slots__ = ("_burst", "_lock", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._lock = threading.Lock()
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._updated = now

    def take(self, now: float) -> float:
        """Takes a token and answers 0, or takes nothing and answers the seconds until there is one."""
        with self._lock:
            if now > self._updated:
                self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate)
                self._updated = now
            if self._tokens >= 1:
                self._tokens -= 1
                return 0.0
            return (1 - self._tokens) / self._rate

    def put_back(self) -> None:
        """Returns a token that was not used."""
        with self._lock:
            self._tokens = min(self._burst, self._tokens + 1)


class BreakerState(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """Opens after failures in a row, and lets a counted number of probes through before it closes."""

    __slots__ = ("_failures", "_lock", "_opened_at", "_probes", "_settings", "_state", "_successes")

    def __init__(self, settings: Settings) -> None:
        self._lock = threading.RLock()
        self._settings = settings
        self._state = BreakerState.CLOSED
        self._failures = 0
        self._successes = 0
        self._probes = 0
        self._opened_at = 0.0

    def allow(self, now: float) -> float:
        """Answers 0 and counts the probe if it is one, or the seconds until the next look."""
        with self._lock:
            if self._state is BreakerState.CLOSED:
                return 0.0
            if self._state is BreakerState.OPEN:
                wait = self._opened_at + self._settings.breaker_open_for - now
                if wait > 0:
                    return wait
                self._move(BreakerState.HALF_OPEN)
            if self._probes >= self._settings.breaker_probes:
                return self._settings.breaker_open_for
            self._probes += 1
            return 0.0

    def give_back(self) -> None:
        """The call that was allowed will not be made."""
        with self._lock:
            if self._state is BreakerState.HALF_OPEN and self._probes > 0:
                self._probes -= 1

    def record(self, now: float, *, failed: bool) -> None:
        """Learns from an outcome."""
        with self._lock:
            if failed:
                self._failures += 1
                if self._state is BreakerState.HALF_OPEN or self._failures >= self._settings.breaker_failures:
                    self._opened_at = now
                    self._move(BreakerState.OPEN)
            elif self._state is BreakerState.HALF_OPEN:
                self._successes += 1
                if self._successes >= self._settings.breaker_successes:
                    self._move(BreakerState.CLOSED)
            else:
                self._failures = 0

    def _move(self, state: BreakerState) -> None:
        with self._lock:
            self._state = state
            self._failures = self._successes = self._probes = 0


class SlidingLog:
    """The instant of every request of the last 60 seconds, over all scopes."""

    __slots__ = ("_cap", "_lock", "_stamps")

    def __init__(self, cap: int) -> None:
        self._lock = threading.Lock()
        self._cap = cap
        self._stamps: deque[float] = deque()

    def admit(self, now: float) -> bool:
        """Writes the request down if it fits under the cap."""
        with self._lock:
            stamps = self._stamps
            gone = now - WINDOW_SECONDS
            while stamps and stamps[0] <= gone:
                stamps.popleft()
            if len(stamps) >= self._cap:
                return False
            stamps.append(now)
            return True


class DegradedMode:
    """Stops everything for a cooldown after failures in a row anywhere."""

    __slots__ = ("_failures", "_lock", "_settings", "_until")

    def __init__(self, settings: Settings) -> None:
        self._lock = threading.Lock()
        self._settings = settings
        self._failures = 0
        self._until = 0.0

    def remaining(self, now: float) -> float:
        """Seconds until traffic goes on; 0 if it does."""
        with self._lock:
            return self._until - now if now < self._until else 0.0

    def enter(self, now: float) -> None:
        """Begins a cooldown."""
        with self._lock:
            self._until = now + self._settings.degraded_cooldown
            self._failures = 0

    def record(self, now: float, *, failed: bool) -> None:
        """Counts failures in a row."""
        with self._lock:
            if not failed:
                self._failures = 0
                return
            self._failures += 1
            reached = self._failures >= self._settings.degraded_failures
        if reached:
            self.enter(now)


class Counters:
    """What happened in one scope."""

    __slots__ = ("_lock", "answered", "denied", "requests")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = 0
        self.answered: dict[int, int] = {}
        self.denied: dict[str, int] = {}

    def count_request(self) -> None:
        with self._lock:
            self.requests += 1

    def count_answer(self, status: int) -> None:
        family = status // 100
        with self._lock:
            self.answered[family] = self.answered.get(family, 0) + 1

    def count_denial(self, reason: str) -> None:
        with self._lock:
            self.denied[reason] = self.denied.get(reason, 0) + 1


class Scope:
    """What belongs to one `provider:method`."""

    __slots__ = ("breaker", "bucket", "counters")

    def __init__(self, settings: Settings, now: float) -> None:
        self.bucket = Bucket(settings.rate, settings.burst, now)
        self.breaker = CircuitBreaker(settings)
        self.counters = Counters()


class LockEngine:
    """The engine: `check` before each call, `record` after it. Safe from any thread."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._scopes: dict[str, Scope] = {}
        self._log = SlidingLog(settings.cap)
        self._degraded = DegradedMode(settings)

    def check(self, provider: str, method: str) -> Decision:
        """Decides whether this call may be made now."""
        now = self._clock()
        scope = self.scope(provider, method, now)
        wait = self._degraded.remaining(now)
        if wait > 0:
            return self._deny(scope, "degraded_mode_active", wait)
        wait = scope.breaker.allow(now)
        if wait > 0:
            return self._deny(scope, "circuit_breaker_open", wait)
        wait = scope.bucket.take(now)
        if wait > 0:
            scope.breaker.give_back()
            return self._deny(scope, "rate_limit_exceeded", wait)
        if not self._log.admit(now):
            scope.bucket.put_back()
            scope.breaker.give_back()
            self._degraded.enter(now)
            return self._deny(scope, "global_request_cap_exceeded", self._settings.degraded_cooldown)
        scope.counters.count_request()
        return ALLOWED

    def record(self, provider: str, method: str, status: int) -> None:
        """What became of a call that was made."""
        now = self._clock()
        scope = self.scope(provider, method, now)
        failed = status >= 500
        scope.breaker.record(now, failed=failed)
        self._degraded.record(now, failed=failed)
        scope.counters.count_answer(status)

    def scope(self, provider: str, method: str, now: float) -> Scope:
        """The parts of a scope, made on first use."""
        name = f"{provider}:{method}".lower()
        with self._lock:
            scope = self._scopes.get(name)
            if scope is None:
                scope = self._scopes[name] = Scope(self._settings, now)
            return scope

    def _deny(self, scope: Scope, reason: str, wait: float) -> Decision:
        scope.counters.count_denial(reason)
        return Decision(False, reason, wait)


def wide_open() -> LockEngine:
    """An engine that denies nothing during a benchmark."""
    return LockEngine(Settings(rate=RATE, burst=BURST, cap=CAP))


def pairs(size: int) -> Mapping[str, float]:
    """Ask, look at the answer, report the outcome; one thread."""
    return time_pairs(partial(checked, wide_open()), size)


def checked(engine: LockEngine, count: int) -> int:
    granted = 0
    for _ in range(count):
        if engine.check("bench", "GET").allowed:
            engine.record("bench", "GET", 200)
            granted += 1
    return granted
