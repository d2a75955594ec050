"""Strict window: a limit that holds in every window of a length, however the provider aligns its windows.

A token bucket of burst N and rate N/W lets 2N through some window W; a provider with strict windows denies the excess, and in
the end bans the client. Here each use has a date, and a request is granted only if fewer than N uses are dated within the last
W.

A provider dates a request when it *arrives*, and all that is known here is that it arrives between the grant and the outcome.
So a use counts from its grant until W after its outcome: whichever instant in between the provider counts, no window of its own
holds more than N. The price is that each use takes a slot for W plus the duration of the call.
"""

from math import inf
from typing import TYPE_CHECKING, ClassVar, Self

import msgspec

from governor._units import NEVER, Duration, DurationLike, Instant
from governor.errors import ConfigError
from governor.policies import _checks
from governor.policies._rate_text import parse_rate, period_text, unit_text
from governor.policies._sliding_log import SlidingLog, SlidingLogState
from governor.policies.contract import REQUESTS, Grant, Limit, LimitPolicy, Request, Result


class StrictWindow(Limit, frozen=True):
    """At most `amount` units in any window of length `per`: `60 per minute strict`.

    `amount` is at least 1. `per` is text or a `timedelta`, from 1 microsecond to 366 days. Raises `ConfigError`.
    """

    amount: int
    per: Duration
    unit: str = REQUESTS

    examples: ClassVar[tuple[str, ...]] = ("60 per minute strict", "90000 tokens per minute strict")

    if TYPE_CHECKING:

        def __init__(self, amount: int, per: DurationLike, unit: str = REQUESTS) -> None: ...

    def __post_init__(self) -> None:
        _checks.integers(self)
        _checks.whole("amount", self.amount)
        _checks.span(self, "per")
        _checks.unit_name("unit", self.unit)

    @property
    def capacity(self) -> int:
        """Units in one window."""
        return self.amount

    @property
    def refill_rate(self) -> float:
        """Units per second in the long run, for calls that take no time."""
        return self.amount * 1_000_000 / self.per

    def refill_time(self, units: int) -> int:
        """One window, unless nothing is missing."""
        return int(self.per) if units > 0 else 0

    @classmethod
    def parse(cls, words: str) -> Self | None:
        """See `Limit.parse`."""
        rate = parse_rate(words)
        if rate is None or not rate.strict:
            return None
        if rate.parts > 1:
            # 8.33 in each second and 833 in 100 seconds are different limits, and only one of them is meant.
            raise ConfigError("amount", rate.amount / rate.parts, "a whole number, as every strict window needs")
        return cls(rate.amount, rate.period, rate.unit)

    def describe(self) -> str:
        """See `Limit.describe`."""
        return f"{self.amount}{unit_text(self.unit)} per {period_text(self.per)} strict"


class StrictWindowState(msgspec.Struct, frozen=True, tag="strict_window"):
    """The uses that have ended, and the units of calls in flight."""

    ended: SlidingLogState
    under_way: int


class WindowForecast:
    """A future window, in which calls take no time: a log of uses, and the amount of the window."""

    __slots__ = ("_log", "_most", "_unit")

    def __init__(self, log: SlidingLog, most: int, unit: str | None) -> None:
        self._log = log
        self._most = most
        self._unit = unit

    def earliest(self, now: Instant, request: Request) -> Instant:
        """When enough earlier uses have left the window."""
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


class StrictWindowPolicy(LimitPolicy):
    """The state machine: units in flight, and a sliding log of uses that have ended."""

    __slots__ = ("_log", "_max_used", "_under_way", "_unit")

    state_type = StrictWindowState
    needs_outcome = True

    parameters: StrictWindow

    def __init__(self, parameters: StrictWindow, max_debt: float = inf) -> None:
        super().__init__(parameters, max_debt)
        # What one call may have used: the amount of a window, and `max_debt` amounts more.
        self._max_used = parameters.amount + _checks.units_of(max_debt, parameters.amount)
        self._unit = None if parameters.unit == REQUESTS else parameters.unit
        self._log = SlidingLog(parameters.per, parameters.amount)
        self._under_way = 0

    @property
    def memory(self) -> int:
        """The length of the window."""
        return int(self.parameters.per)

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """The first instant at which the window can have room; if that depends on an outcome, one window from now.

        Number the units that will be granted from now on 1, 2, 3 and so on. Unit k takes the place of the unit N before it,
        one window after that one was used. So whole rounds of N cost one window each, and only the last, partial round is
        looked up in the log.
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
        """The units are in flight from now on."""
        self._under_way += request.amount(self._unit)
        self._look()
        return 0

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """Dates the units: by now the provider has counted them, whatever the result."""
        cost = grant.request.amount(self._unit)
        self._under_way -= cost
        if cost:
            # Not before its own grant, even if the clock has gone back.
            self._log.add(max(now, grant.granted_at), min(cost, self._max_used))
        self._look()

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """The provider has counted nothing."""
        self._under_way -= grant.request.amount(self._unit)
        self._look()

    def forecast(self, now: Instant) -> "WindowForecast":
        """The uses so far, with the units in flight dated now."""
        log = self._log.copy()
        if self._under_way > 0:
            log.add(now, self._under_way)
        return WindowForecast(log, self.parameters.amount, self._unit)

    def max_hold(self, now: Instant, queued: Request, largest: Request) -> int:
        """Whole windows without room, each but the first full of units of the queue itself."""
        units, most = queued.amount(self._unit), self.parameters.amount
        if self._under_way + self._log.total + units <= most:
            return 0
        # A request that does not fit finds at least this many units in the window.
        full = max(1, most - largest.amount(self._unit) + 1)
        return (1 + max(0, units - 1) // full) * (self.parameters.per + self._log.late) if units else 0

    def pace(self, now: Instant, largest: Request | None) -> tuple[int, int, int]:
        """One window full at once, and one more for each window."""
        return self.parameters.amount, self.parameters.amount, self.parameters.per

    def never_fills(self, now: Instant, base: int, amount: int, per: int) -> bool:
        """See `LimitPolicy.never_fills`."""
        return self._log.never_fills(now, self.parameters.amount - self._under_way, base, amount, per)

    def settle(self, now: Instant, grant: Grant, receipt: int | None, change: int) -> int:
        """Corrects the units in flight. The outcome that follows has the corrected amount.

        Debts do not add up here, because all units of an outcome leave the window together. Of one call, the amount of a window
        and `max_debt` amounts more are kept; the rest is dropped, and returned.
        """
        self._under_way += change
        self._look()
        return max(0, grant.request.amount(self._unit) + change - self._max_used)

    def _look(self) -> None:
        """Updates `ready`: whether there is room for one request, without a look at the dates in the log."""
        full = self._under_way + self._log.total >= self.parameters.amount
        self.ready = NEVER if full and self._unit is None else 0

    def available(self, now: Instant) -> int:
        """Units that the window has room for."""
        return max(0, self.parameters.amount - self._under_way - self._log.used(now))

    def rests_at(self) -> Instant:
        """When the window is empty, if nothing is in flight."""
        return NEVER if self._under_way else self._log.emptied()

    def carry_over(self, now: Instant, before: Self) -> None:
        """The same uses count."""
        self.restore(before.state())

    def state(self) -> StrictWindowState:
        """The uses in the window."""
        return StrictWindowState(self._log.state(), self._under_way)

    def restore(self, state: StrictWindowState) -> None:
        """See `LimitPolicy.restore`."""
        self._log.restore(state.ended)
        self._under_way = state.under_way
        self._look()
