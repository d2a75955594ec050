"""Is there room in every window that the provider could draw? The strict window, exact for any alignment.

A token bucket of burst N and rate N/W lets 2N through some window W; a provider that counts strictly refuses, and in the end
bans. Here each use has a date, and a request passes only if fewer than N uses are dated within the last W.

A provider dates a request when it *arrives*, and all we know is that it arrives between the grant and the outcome. So a use
counts from its grant until W after its outcome: whichever moment in between the provider has counted, no window of its own
holds more than N. The price is that a slot is taken for W plus the duration of the call.
"""

from math import inf
from typing import TYPE_CHECKING

import msgspec

from governor._units import NEVER, Duration, DurationLike, Instant
from governor.errors import Reason
from governor.policies import _checks
from governor.policies._sliding_log import SlidingLog, SlidingLogState
from governor.policies.contract import REQUESTS, Grant, Request, Result


class StrictWindow(msgspec.Struct, frozen=True):
    """At most `amount` units in any window of length `per`: `60 per minute strict`.

    `amount` is at least 1, `per` lies between 1 microsecond and 366 days. Raises `ConfigError`.
    """

    amount: int
    per: Duration
    unit: str = REQUESTS

    if TYPE_CHECKING:

        def __init__(self, amount: int, per: DurationLike, unit: str = REQUESTS) -> None: ...

    def __post_init__(self) -> None:
        _checks.integers(self)
        _checks.whole("amount", self.amount)
        _checks.span(self, "per")
        _checks.unit_name("unit", self.unit)


class StrictWindowState(msgspec.Struct, frozen=True, tag="strict_window"):
    """The uses that have ended, and the units of those still under way."""

    ended: SlidingLogState
    under_way: int


class WindowForecast:
    """A window to come, in which calls take no time: a log of uses, and how many fit."""

    __slots__ = ("_log", "_most", "_unit")

    def __init__(self, log: SlidingLog, most: int, unit: str | None) -> None:
        self._log = log
        self._most = most
        self._unit = unit

    def earliest(self, now: Instant, request: Request) -> Instant:
        """When enough of what was used before has left the window."""
        cost = request.amount(self._unit)
        needed = self._log.total + cost - self._most
        if needed <= 0 or cost == 0:
            return now
        return max(now, self._log.freed(needed)) if cost <= self._most else NEVER

    def commit(self, now: Instant, request: Request) -> None:
        """Dates the units at `now`."""
        cost = request.amount(self._unit)
        if cost:
            self._log.add(now, cost)


class StrictWindowPolicy:
    """The machine: units under way, and a sliding log of those that have ended."""

    __slots__ = ("_log", "_max_used", "_under_way", "_unit", "parameters", "ready")

    reason = Reason.RATE_LIMIT

    def __init__(self, parameters: StrictWindow, max_debt: float = inf) -> None:
        self.parameters = parameters
        # What one call may have used: a window's amount, and `max_debt` of it beyond.
        self._max_used = parameters.amount + _checks.units_of(max_debt, parameters.amount)
        self._unit = None if parameters.unit == REQUESTS else parameters.unit
        self._log = SlidingLog(parameters.per, parameters.amount)
        self._under_way = 0
        self.ready = 0

    @property
    def unit(self) -> str:
        """What is counted."""
        return self.parameters.unit

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """The first instant at which the window can have room; while the room hangs on an outcome, one window from now.

        Number the units that will be granted from now on 1, 2, 3 and so on. Unit k needs the place of the unit N before it,
        and gets it one window after that one was used: so whole rounds of N cost one window each, and only the last,
        partial round is looked up in the log.
        """
        cost = request.amount(self._unit)
        if cost == 0:
            return now
        most = self.parameters.amount
        if cost > most:
            return NEVER
        queued = cost if ahead is None else cost + ahead.amount(self._unit)
        rounds, place = divmod(queued - 1, most)
        needed = place + 1 + self._under_way + self._log.total - most
        if needed <= 0:
            first = now
        elif needed <= self._log.total:
            first = max(now, self._log.freed(needed))
        else:
            first = Instant(now + self.parameters.per)
        return Instant(first + rounds * self.parameters.per) if rounds else first

    def commit(self, now: Instant, request: Request) -> int:
        """From now on the units are under way."""
        self._under_way += request.amount(self._unit)
        self._look()
        return 0

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """Dates the units: the provider has seen them by now, whatever came of them."""
        cost = grant.request.amount(self._unit)
        self._under_way -= cost
        if cost:
            # Not before its own grant, even if the clock went back meanwhile.
            self._log.add(max(now, grant.granted_at), min(cost, self._max_used))
        self._look()

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """The provider has seen nothing."""
        self._under_way -= grant.request.amount(self._unit)
        self._look()

    def forecast(self, now: Instant) -> "WindowForecast":
        """What has been used, with the units under way dated now."""
        log = self._log.copy()
        if self._under_way > 0:
            log.add(now, self._under_way)
        return WindowForecast(log, self.parameters.amount, self._unit)

    def longest_hold(self, now: Instant, queued: Request, largest: Request) -> int:
        """Windows in which others have left no room, each but the first full of the queue's own units."""
        units, most = queued.amount(self._unit), self.parameters.amount
        if self._under_way + self._log.total + units <= most:
            return 0
        # A request that does not fit meets more than this: all that the window holds, less a request and more one unit.
        full = max(1, most - largest.amount(self._unit) + 1)
        return (1 + max(0, units - 1) // full) * (self.parameters.per + self._log.late) if units else 0

    def pace(self, now: Instant, largest: Request | None) -> tuple[int, int, int]:
        """Within a span that begins at `now` or later, at most `base` units are granted, and `amount` more for each `per`."""
        return self.parameters.amount, self.parameters.amount, self.parameters.per

    def never_fills(self, now: Instant, base: int, amount: int, per: int) -> bool:
        """Is there always room, if others grant so much at most within a span that begins at `now` or later?"""
        return self._log.never_fills(now, self.parameters.amount - self._under_way, base, amount, per)

    def settle(self, now: Instant, grant: Grant, receipt: int | None, change: int) -> int:
        """Corrects the units under way; the outcome that follows names the corrected amount.

        Debts do not add up here: all units of an outcome leave the window together, one window after it. Of one call, a
        window's amount and `max_debt` of it beyond are kept; the rest is dropped, and returned.
        """
        self._under_way += change
        self._look()
        return max(0, grant.request.amount(self._unit) + change - self._max_used)

    def _look(self) -> None:
        """Is there room for one request without a look at the dates in the log?"""
        full = self._under_way + self._log.total >= self.parameters.amount
        self.ready = NEVER if full and self._unit is None else 0

    def available(self, now: Instant) -> int:
        """Units that the window has room for."""
        return max(0, self.parameters.amount - self._under_way - self._log.used(now))

    def capacity(self) -> int:
        """Units in one window."""
        return self.parameters.amount

    def refill_rate(self) -> float:
        """Units per second in the long run, for calls that take no time."""
        return self.parameters.amount * 1_000_000 / self.parameters.per

    def rests_at(self) -> Instant:
        """From when on nothing is in it, if nothing is under way."""
        return NEVER if self._under_way else self._log.emptied()

    def state(self) -> StrictWindowState:
        """What `restore` needs to go on from here."""
        return StrictWindowState(self._log.state(), self._under_way)

    def restore(self, state: StrictWindowState) -> None:
        """Goes on from a state taken earlier under the same parameters."""
        self._log.restore(state.ended)
        self._under_way = state.under_way
        self._look()
