"""Have we sent too many requests in the last minute, over all scopes? The anti-loop guard's hard cap."""

from typing import Final

import msgspec

from governor._units import AFTER_OUTCOME, MINUTE, NEVER, Instant
from governor.errors import Reason
from governor.policies import _checks
from governor.policies._sliding_log import SlidingLog, SlidingLogState
from governor.policies.contract import REQUESTS, Grant, Request, Result
from governor.policies.window import WindowForecast

WINDOW: Final = MINUTE


class RequestCap(msgspec.Struct, frozen=True):
    """At most `requests_per_minute` (at least 1) admissions in any 60 seconds. Raises `ConfigError`."""

    requests_per_minute: int = 1000

    def __post_init__(self) -> None:
        _checks.integers(self)
        _checks.whole("requests_per_minute", self.requests_per_minute)


class _CapForecast(WindowForecast):
    """The cap to come, in which what is lent is never used and never comes back."""

    __slots__ = ("_cap",)

    def __init__(self, log: SlidingLog, cap: int, lent: int) -> None:
        super().__init__(log, cap - lent, None)
        self._cap = cap

    def earliest(self, now: Instant, request: Request) -> Instant:
        """When enough of what was used before has left the window; while that would not do, after an outcome."""
        return AFTER_OUTCOME if self._most < request.cost <= self._cap else super().earliest(now, request)


class RequestCapPolicy:
    """The machine: a sliding log of grants. Only what was granted is in it; a refused request leaves no trace."""

    __slots__ = ("_log", "_most", "lent", "parameters", "ready")

    reason = Reason.REQUEST_CAP
    unit = REQUESTS

    def __init__(self, parameters: RequestCap) -> None:
        self.parameters = parameters
        self._most = parameters.requests_per_minute
        self._log = SlidingLog(WINDOW, parameters.requests_per_minute)
        #: Requests granted ahead, in all scopes: each takes a place, and is dated when it is known to have been used.
        self.lent = 0
        self.ready = 0

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """Now, or when enough earlier grants have left the window."""
        queued = request.cost if ahead is None else request.cost + ahead.cost
        taken = self._log.total + self.lent
        if taken + queued <= self._most:
            return now
        if request.cost > self._most:
            return NEVER
        rounds, place = divmod(queued - 1, self._most)
        needed = taken + place + 1 - self._most
        if needed > self._log.total:
            return AFTER_OUTCOME
        first = max(now, self._log.freed(needed)) if needed > 0 else now
        return Instant(first + rounds * WINDOW)

    def commit(self, now: Instant, request: Request) -> int:
        """Dates the grant now."""
        log = self._log
        log.add(now, request.cost)
        self.ready = 0 if log.total + self.lent < self._most else NEVER
        return 0

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """The cap counts what was let out, not what became of it."""

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """Nothing went out after all."""
        self._log.remove(grant.granted_at, grant.request.cost)
        self._look()

    def forecast(self, now: Instant) -> WindowForecast:
        """The log, with the places taken that are lent."""
        return _CapForecast(self._log.copy(), self._most, self.lent)

    def longest_hold(self, now: Instant, queued: Request, largest: Request) -> int:
        """Windows in which others have left no room, each but the first full of the queue's own requests."""
        most = self._most - self.lent
        if self._log.total + queued.cost <= most:
            return 0
        if largest.cost > most:
            return AFTER_OUTCOME
        return (1 + (queued.cost - 1) // (most - largest.cost + 1)) * (WINDOW + self._log.late)

    def never_fills(self, now: Instant, base: int, amount: int, per: int) -> bool:
        """Is there always room, if `base` are granted, and `amount` for each `per`, in a span that begins at `now` or later?"""
        return self._log.never_fills(now, self._most - self.lent, base, amount, per)

    def lendable(self, now: Instant) -> int:
        """Places left in the 60 seconds up to `now`."""
        return max(0, self._most - self.used(now) - self.lent)

    def lend(self, now: Instant, count: int) -> None:
        """Keeps places free for them."""
        self.lent += count
        self._look()

    def collect(self, now: Instant, used: int) -> None:
        """Dates them now: they count for a minute from here, however long ago they were used."""
        self.lent -= used
        if used:
            self._log.add(now, used)
        self._look()

    def reclaim(self, now: Instant, count: int) -> None:
        """Their places are free again."""
        self.lent -= count
        self._look()

    def reconfigure(self, parameters: RequestCap) -> None:
        """Another cap from now on; what has been used in the last minute stays used."""
        log = SlidingLog(WINDOW, parameters.requests_per_minute)
        log.restore(self._log.state())
        self._log = log
        self._most = parameters.requests_per_minute
        self.parameters = parameters
        self._look()

    def _look(self) -> None:
        """Is there room for one request without a look at the dates in the log?"""
        self.ready = 0 if self._log.total + self.lent < self._most else NEVER

    def used(self, now: Instant) -> int:
        """Requests in the 60 seconds up to `now`."""
        return self._log.used(now)

    def state(self) -> SlidingLogState:
        """What `restore` needs to go on from here."""
        return self._log.state()

    def restore(self, state: SlidingLogState) -> None:
        """Goes on from a state taken earlier under the same parameters."""
        self._log.restore(state)
        self._look()
