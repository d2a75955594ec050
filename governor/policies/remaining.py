"""Remaining units: what a server says is left of a limit until its reset, as a policy.

An answer that says "5 left until 12:00" was written while other requests were on their way. So a bound counts from the grant of
the request whose answer says so: of the units granted later, at most 5 may be granted before the reset. Of several answers the
strictest holds, in whatever order they arrive. A bound ends at its reset and never loosens before. If the server says the limit
as well, the next window has as many units: all that waits would leave in the instant of the reset otherwise.

The policy keeps the number of units granted so far, and a log of what that number was at past grants. A bound is then a number
that the total must not pass before an instant, so that a grant costs an addition and a comparison.

Bounds: `MAX_BOUNDS` bounds, of which neighbours merge into the stricter one, and `MAX_ENTRIES` entries of the log, of which
older neighbours merge. A grant whose entry is gone counts as if it had been made at the earlier one, which tightens.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from itertools import islice
from operator import itemgetter
from typing import Final

import msgspec

from governor._units import NEVER, Instant
from governor.policies.contract import REQUESTS, Grant, Limit, LimitPolicy, Request, Result

#: Bounds with different resets that hold at once.
MAX_BOUNDS: Final = 16
#: Grants at different instants that are distinguished.
MAX_ENTRIES: Final = 512

#: More units than are ever granted.
_UNBOUNDED: Final = 2**62
_granted_at: Final = itemgetter(0)


class RemainingUnits(Limit, frozen=True):
    """The parameters of what remains: the unit. No policy file has such a limit: a server reveals it."""

    unit: str = REQUESTS

    @property
    def capacity(self) -> int:
        """Without a bound there is no limit."""
        return _UNBOUNDED

    def describe(self) -> str:
        """For statistics and messages."""
        return f"remaining {self.unit}"


class Bound(msgspec.Struct, frozen=True, gc=False):
    """Until the instant `until`, the total must not pass `total`.

    `since` is the grant of the request that revealed it: of several that this bound stands for, the latest.
    """

    until: Instant
    total: int
    since: Instant


class RemainingState(msgspec.Struct, frozen=True, tag="remaining"):
    """The total, the bounds and the log."""

    unit: str
    total: int
    bounds: tuple[Bound, ...]
    log: tuple[tuple[Instant, int, int], ...]


class RemainingPolicy(LimitPolicy):
    """The state machine, for one unit of one provider or scope.

    `history` are the units granted before the first answer that says what remains, as (instant, units) in order of time: of
    those granted since a request in flight at that time, at least these must be among them.
    """

    __slots__ = ("_bounds", "_lent", "_log", "_next_amount", "_next_at", "_since", "_total", "_unit", "_window")

    state_type = RemainingState
    lends = True

    def __init__(self, unit: str = REQUESTS, history: Iterable[tuple[Instant, int]] = ()) -> None:
        super().__init__(RemainingUnits(unit))
        self._unit = None if unit == REQUESTS else unit
        #: Units granted so far and known to be used, or not lent.
        self._total = 0
        self._lent = 0
        # Per instant: the total before its grants, and the units of its grants whose answers have been read.
        self._log: deque[list[int]] = deque()
        # In order of `until` and, strictly, of `total`: the first that has not ended is the strictest.
        self._bounds: list[Bound] = []
        #: When the next window begins, the units that it has, and how long it is at least, as far as is known.
        self._next_at = NEVER
        self._next_amount = 0
        self._window = 0
        #: The first grant that is counted.
        self._since = NEVER
        for instant, units in history:
            self._note(instant)
            self._total += units

    # What a server says.

    def learn(
        self, now: Instant, grant: Grant, remaining: int, until: Instant, *, limit: int | None = None, window: int | None = None
    ) -> bool:
        """The answer to this grant says that `remaining` units are left until an instant. True if that tightens anything.

        From then on there are `limit` units for one `window`, or for as long as the longest reset so far has been away.
        """
        log, since = self._log, grant.granted_at
        before, sent = 0, grant.request.amount(self._unit)
        place = bisect_right(log, since, key=_granted_at) - 1
        if place >= 0:
            entry = log[place]
            before = entry[1]
            if entry[0] == since:
                # Grants of one instant are taken to be sent in the order of their answers: the first one makes it safe.
                entry[2] += sent
                sent = entry[2]
        if until <= now:
            return False
        if limit is not None:
            self._window = max(self._window, window or 0, until - now)
            if self._next_at > until or self._next_at <= now:
                self._next_at, self._next_amount = until, limit
        total = before + sent + remaining
        implied = any(bound.until >= until and bound.total <= total for bound in self._bounds)
        bounds = [bound for bound in self._bounds if bound.until > now]
        bounds.append(Bound(until, total, since))
        bounds.sort(key=lambda bound: (bound.until, -bound.total))
        found = _strictest(bounds)
        if len(found) > MAX_BOUNDS:
            _merge_closest(found)
        self._bounds = found
        self._look()
        return not implied

    def until(self, now: Instant) -> Instant:
        """The instant at which the last bound ends; `now` if there is none."""
        return max(now, self._bounds[-1].until) if self._bounds else now

    # The admission contract.

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """`now`, or the reset of the last bound that has no room for the request and what is ahead of it."""
        cost = request.amount(self._unit)
        if not cost or not self._bounds:
            return now
        needed = self._total + self._lent + cost + (0 if ahead is None else ahead.amount(self._unit))
        return _earliest(self._bounds, now, needed)

    def commit(self, now: Instant, request: Request) -> int:
        """Counts the units."""
        cost = request.amount(self._unit)
        if cost:
            if now >= self._next_at:
                self._renew(now)
            self._note(now)
            self._total += cost
            bounds = self._bounds
            while bounds and bounds[0].until <= now:
                del bounds[0]
            if bounds and self._total + self._lent >= bounds[0].total:
                self._look()
        return 0

    def _renew(self, now: Instant) -> None:
        """The first grant after a reset: the window that begins has as many units as the server has said."""
        until = Instant(self._next_at + self._window)
        if until > now:
            bounds = [bound for bound in self._bounds if bound.until > now]
            bounds.append(Bound(until, self._total + self._lent + self._next_amount, now))
            bounds.sort(key=lambda bound: (bound.until, -bound.total))
            self._bounds = _strictest(bounds)
        self._next_at = NEVER

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """Outcomes do not change it."""

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """The units were never used: what was counted after them was counted too high."""
        self._correct(grant, -grant.request.amount(self._unit))

    def settle(self, now: Instant, grant: Grant, receipt: int | None, change: int) -> int:
        """Counts units that were used beyond the permit, or fewer. There is no debt: a bound ends at its reset."""
        self._correct(grant, change)
        return 0

    def _correct(self, grant: Grant, change: int) -> None:
        if grant.granted_at < self._since:
            return  # Its units were never counted.
        self._total += change
        # When a server counts additional units is not known. They change no bound and no entry, which tightens.
        if change < 0:
            since = grant.granted_at
            for entry in self._log:
                if entry[0] > since:
                    entry[1] += change
            self._bounds = _strictest(
                [
                    Bound(bound.until, bound.total + change, bound.since) if bound.since >= since else bound
                    for bound in self._bounds
                ]
            )
        self._look()

    def forecast(self, now: Instant) -> "RemainingForecast":
        """A copy, in which lent units are used."""
        return RemainingForecast(self._bounds, self._total + self._lent, self._unit)

    def max_hold(self, now: Instant, queued: Request, largest: Request) -> int:
        """Until the last bound that has no room for all of them."""
        units = queued.amount(self._unit)
        return _earliest(self._bounds, now, self._total + self._lent + units) - now if units else 0

    def available(self, now: Instant) -> int:
        """Units that can be granted at `now`; a very large number without a bound."""
        for bound in self._bounds:
            if bound.until > now:
                return max(0, bound.total - self._total - self._lent)
        return _UNBOUNDED

    # Granting ahead.

    def lendable(self, now: Instant) -> int:
        """All that is available: each use is counted in full while it is outstanding."""
        return _UNBOUNDED if self._unit is not None else self.available(now)

    def lend(self, now: Instant, count: int) -> None:
        """The answers to lent requests refer to this instant: they are sent in the order in which they were lent."""
        if self._unit is None:
            self._note(now)
            self._lent += count
            self._look()

    def collect(self, now: Instant, used: int) -> None:
        """Counts them as used."""
        if self._unit is None:
            self._lent -= used
            self._total += used

    def reclaim(self, now: Instant, count: int) -> None:
        """They were never used."""
        if self._unit is None:
            self._lent -= count
            self._look()

    def _note(self, now: Instant) -> None:
        """Adds an entry for the grants of this instant. A clock that has gone back adds to the latest entry."""
        log = self._log
        if log and log[-1][0] >= now:
            return
        log.append([now, self._total, 0])
        self._since = min(self._since, now)
        if len(log) > MAX_ENTRIES:
            half = MAX_ENTRIES // 2
            self._log = deque([*islice(log, 0, half, 2), *islice(log, half, None)])

    def _look(self) -> None:
        """Updates `ready`: the reset of the last bound that has no room for one request."""
        self.ready = 0 if self._unit is not None else _earliest(self._bounds, Instant(0), self._total + self._lent + 1)

    # State.

    def rests_at(self) -> Instant:
        """The instant from which on there is no bound."""
        return self.until(Instant(0))

    def carry_over(self, now: Instant, before: "RemainingPolicy") -> None:
        """The same units remain."""
        self.restore(before.state())

    def state(self) -> RemainingState:
        """The state as a frozen record, for `restore`. Lent units are none of it."""
        log = tuple((Instant(instant), before, answered) for instant, before, answered in self._log)
        return RemainingState(self.unit, self._total, tuple(self._bounds), log)

    def restore(self, state: RemainingState) -> None:
        """Continues from a state that `state` returned."""
        self._total = state.total
        self._bounds = list(state.bounds)
        self._log = deque([*entry] for entry in state.log)
        self._since = state.log[0][0] if state.log else NEVER
        self._look()


class RemainingForecast:
    """The bounds, and the total of a possible future."""

    __slots__ = ("_bounds", "_total", "_unit")

    def __init__(self, bounds: list[Bound], total: int, unit: str | None) -> None:
        self._bounds = bounds
        self._total = total
        self._unit = unit

    def earliest(self, now: Instant, request: Request) -> Instant:
        """See `Policy.earliest`."""
        cost = request.amount(self._unit)
        return _earliest(self._bounds, now, self._total + cost) if cost else now

    def commit(self, now: Instant, request: Request) -> None:
        """Counts the units."""
        self._total += request.amount(self._unit)


def _earliest(bounds: list[Bound], now: Instant, needed: int) -> Instant:
    """The first instant from `now` on at which the total may be `needed`."""
    at = now
    for bound in bounds:
        if needed <= bound.total:
            break
        if bound.until > at:
            at = bound.until
    return at


def _merge_closest(bounds: list[Bound]) -> None:
    """Makes one bound of the two whose resets are closest: it has the smaller total, and the later reset."""
    place = min(range(len(bounds) - 1), key=lambda index: bounds[index + 1].until - bounds[index].until)
    first, second = bounds[place : place + 2]
    bounds[place : place + 2] = [Bound(second.until, first.total, max(first.since, second.since))]


def _strictest(bounds: list[Bound]) -> list[Bound]:
    """The bounds that are not implied by a later one with a total that is not larger; they are in order of `until`.

    A bound takes over the latest `since` of those that it implies: a refund must not loosen it more than it would those.
    """
    found: list[Bound] = []
    for bound in reversed(bounds):
        if not found or bound.total < found[-1].total:
            found.append(bound)
        elif bound.since > found[-1].since:
            found[-1] = Bound(found[-1].until, found[-1].total, bound.since)
    return found[::-1]
