"""Request cap: a hard limit on the requests of all scopes together in any 60 seconds, as a sliding log of grants."""

from typing import Final

import msgspec

from governor._fields import CapFields
from governor._units import AFTER_OUTCOME, MINUTE, NEVER, Instant
from governor.errors import Reason
from governor.policies import _checks
from governor.policies._sliding_log import SlidingLog, SlidingLogState
from governor.policies._window_forecast import WindowForecast
from governor.policies.contract import REQUESTS, Grant, Request, Result

WINDOW: Final = MINUTE
#: Percentages of the cap: use above the first causes a warning; the next warning comes only after use has fallen to the second.
WARN_AT: Final = 80
CALM_AT: Final = 70
_NO_CAP: Final = 10**15


class RequestCap(msgspec.Struct, frozen=True):
    """At most `requests_per_minute` (at least 1) admissions in any 60 seconds; None: no cap. Raises `ConfigError`."""

    requests_per_minute: int | None = 1000

    def __post_init__(self) -> None:
        _checks.integers(self)
        if self.requests_per_minute is not None:
            _checks.whole("requests_per_minute", self.requests_per_minute)

    @property
    def most(self) -> int:
        """The cap as a number; without a cap, more than can be requested in a minute."""
        return _NO_CAP if self.requests_per_minute is None else self.requests_per_minute


class _CapForecast(WindowForecast):
    """The future of the cap, in which leased requests are never used and never returned."""

    __slots__ = ("_cap",)

    def __init__(self, log: SlidingLog, cap: int, leased: int) -> None:
        super().__init__(log, cap - leased, None)
        self._cap = cap

    def earliest(self, now: Instant, request: Request) -> Instant:
        """When enough earlier grants have left the window; `AFTER_OUTCOME` if that does not suffice."""
        return AFTER_OUTCOME if self._most < request.cost <= self._cap else super().earliest(now, request)


class RequestCapPolicy(CapFields):
    """The state machine: a sliding log of grants. Denied requests are not in it.

    Plain requests need no entry of their own before `slot_ends`: `PlainSpending` counts `left` down for each and sets `latest`.
    The log has them as soon as it is looked at.

    While it is `watching`, nothing is `left` from `WARN_AT` of the cap on, so that the next request takes the slow path and
    finds `warns`. That costs a grant nothing.
    """

    __slots__ = (
        "_log",
        "_looked",
        "_most",
        "_room",
        "_warn_above",
        "leased",
        "parameters",
        "watching",
    )

    reason = Reason.REQUEST_CAP
    unit = REQUESTS
    is_exact = True

    def __init__(self, parameters: RequestCap) -> None:
        self.parameters = parameters
        self._most = parameters.most
        self._log = SlidingLog(WINDOW, parameters.most)
        self._warn_above = _part(WARN_AT, parameters)
        #: Whether nothing is `left` above `WARN_AT` of the cap.
        self.watching = False
        #: Requests granted ahead, in all scopes: each takes a place, and is dated when its use is reported.
        self.leased = 0
        #: The instant of the latest request that was counted down, in microseconds.
        self.latest = 0
        #: Plain requests that may be granted without a look at the log, and what that number was at the latest look.
        self.left = self._looked = 0
        #: Until this instant, a request belongs to the newest entry of the log.
        self.slot_ends = 0
        # The number of requests in the log from which on nothing is `left`.
        self._room = self._most
        self._look()

    @property
    def ready(self) -> int:
        """See `Spending.ready`."""
        return 0 if self.left else NEVER

    @property
    def log(self) -> SlidingLog:
        """The grants of the last 60 seconds, those included that were counted down since it was last looked at."""
        while self._looked != self.left:  # Again, if a signal handler has had something granted meanwhile.
            count, self._looked = self._looked - self.left, self.left
            self._log.add(Instant(self.latest), count)
        return self._log

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """`now`, or when enough earlier grants have left the window."""
        queued = request.cost if ahead is None else request.cost + ahead.cost
        taken = self._log.total + self._looked - self.left + self.leased
        if taken + queued <= self._most:
            return now
        if request.cost > self._most:
            return NEVER
        rounds, place = divmod(queued - 1, self._most)
        needed = taken + place + 1 - self._most
        log = self.log
        if needed > log.total:
            return AFTER_OUTCOME
        first = max(now, log.freed(needed)) if needed > 0 else now
        return Instant(first + rounds * WINDOW)

    def commit(self, now: Instant, request: Request) -> int:
        """Dates the grant at `now`."""
        log = self._log if self.left == self._looked else self.log
        # A signal handler that has something granted meanwhile comes here as well, and does not count down.
        self.left = self._looked = 0
        log.add(now, request.cost)
        left = self._room - log.total
        self.left = self._looked = left if left > 0 else 0
        self.slot_ends = log.slot_ends
        return 0

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """Outcomes do not change the cap."""

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """Removes the grant from the log."""
        self.log.remove(grant.granted_at, grant.request.cost)
        self._look()

    def forecast(self, now: Instant) -> WindowForecast:
        """A copy of the log, with the places of leased requests taken."""
        return _CapForecast(self.log.copy(), self._most, self.leased)

    def max_hold(self, now: Instant, queued: Request, largest: Request) -> int:
        """Whole windows without room, each but the first full of requests of the queue itself."""
        most = self._most - self.leased
        if self.log.total + queued.cost <= most:
            return 0
        if largest.cost > most:
            return AFTER_OUTCOME
        return (1 + (queued.cost - 1) // (most - largest.cost + 1)) * (WINDOW + self.log.late)

    def never_fills(self, now: Instant, base: int, amount: int, per: int) -> bool:
        """See `LimitPolicy.never_fills`."""
        return self.log.never_fills(now, self._most - self.leased, base, amount, per)

    def leasable(self, now: Instant) -> int:
        """The places left in the 60 seconds up to `now`."""
        return max(0, self._most - self.used(now) - self.leased)

    def lease(self, now: Instant, count: int) -> None:
        """Reserves their places."""
        self.leased += count
        self._look()

    def collect(self, now: Instant, used: int) -> None:
        """Dates them at `now`: they count for a minute from then on, however long ago they were used."""
        self.leased -= used
        if used:
            self.log.add(now, used)
        self._look()

    def reclaim(self, now: Instant, count: int) -> None:
        """Frees their places."""
        self.leased -= count
        self._look()

    def reconfigure(self, parameters: RequestCap) -> None:
        """Changes the cap in place, because all scopes share it. Requests of the last minute still count."""
        log = SlidingLog(WINDOW, parameters.most)
        log.restore(self.log.state())
        self._log = log
        self._most = parameters.most
        self._warn_above = _part(WARN_AT, parameters)
        self.parameters = parameters
        self._look()

    def _look(self) -> None:
        """Updates what is `left`, without a look at the dates in the log. To be called after every change."""
        most = min(self._most, self._warn_above + self.leased) if self.watching else self._most
        self._room = most - self.leased
        left = self._room - self.log.total
        # No call since the log was looked at, for the reason that it states.
        self.left = self._looked = left if left > 0 else 0
        self.slot_ends = self._log.slot_ends

    # The warning before the cap is met.

    def watch(self, *, on: bool) -> None:
        """Starts or stops to watch for use above `WARN_AT` of the cap. Has no effect without a cap."""
        self.watching = on and self.parameters.requests_per_minute is not None
        self._look()

    @property
    def warns(self) -> bool:
        """Whether it is watching, and use may have passed `WARN_AT` of the cap; `used` is exact."""
        return self.watching and self._log.total + self._looked - self.left > self._warn_above

    def is_high(self, now: Instant) -> bool:
        """Whether more than `WARN_AT` of the cap is used."""
        return self.parameters.requests_per_minute is not None and self.used(now) > self._warn_above

    def is_calm(self, now: Instant) -> bool:
        """Whether at most `CALM_AT` of the cap is used, so that the next warning is due again."""
        return self.parameters.requests_per_minute is None or self.used(now) <= _part(CALM_AT, self.parameters)

    def used(self, now: Instant) -> int:
        """Requests in the 60 seconds up to `now`."""
        return self.log.used(now)

    def since(self, instant: Instant) -> list[tuple[Instant, int]]:
        """The grants at an instant and later, of the last 60 seconds, in order: instants with numbers of requests."""
        return self.log.since(instant)

    def state(self) -> SlidingLogState:
        """The log as a frozen record, for `restore`."""
        return self.log.state()

    def restore(self, state: SlidingLogState) -> None:
        """Continues from a state that `state` returned under the same parameters."""
        self.log.restore(state)
        self._look()


def _part(percent: int, parameters: RequestCap) -> int:
    return parameters.most * percent // 100
