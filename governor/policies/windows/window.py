"""Strict window: a limit that holds in every window of a length, however the provider aligns its windows.

A token bucket of burst N and rate N/W lets 2N through some window W; a provider with strict windows denies the excess, and in
the end bans the client. Here each use has a date, and a request is granted only if fewer than N uses are dated within the last
W.

A provider dates a request when it *arrives*. That is certain from the first byte of the answer on, and at the latest a stated
margin after the grant. So a use counts until W after the earlier of these two instants: whichever instant before it the
provider counts, no window of its own holds more than N. A call without an answer, such as one that was given up, counts as
arriving at the margin. Counted by outcome instead, a use takes a slot for W plus the duration of the call.

Bounds: of the calls on the way, the dates of `SLOTS` are kept, and beyond that of as many parts of the margin; their answers
then come too late to shorten the margin. Counted by outcome, there is one date for each call in flight.
"""

from math import inf
from typing import TYPE_CHECKING, Self

import msgspec

from governor._units import NEVER, Instant
from governor.policies import _checks
from governor.policies._sliding_log import SlidingLog, SlidingLogState
from governor.policies._window_forecast import WindowForecast
from governor.policies.arrivals import Arrivals, Ending, arrived
from governor.policies.contract import REQUESTS, Grant, Request, Result
from governor.policies.windows._leased_calls import LeasedBatchState, LeasedCalls
from governor.policies.windows._leased_units import LeasedUnits
from governor.policies.windows.parameters import StrictWindow

if TYPE_CHECKING:
    from governor.policies.lost_calls import LostCalls


class StrictWindowState(msgspec.Struct, frozen=True, tag="strict_window"):
    """The uses that have arrived, and by the instant of their grants the units that are on the way."""

    arrived: SlidingLogState
    on_the_way: tuple[tuple[Instant, int], ...] = ()
    latest: Instant = Instant(-1)
    leased: tuple[LeasedBatchState, ...] = ()


class StrictWindowPolicy(LeasedUnits):
    """The state machine: units on the way by the instant of their grant, and a sliding log of uses that have arrived.

    It counts by outcome unless `assume` says otherwise.
    """

    __slots__ = ("_max_used",)

    state_type = StrictWindowState
    needs_outcome = True

    parameters: StrictWindow

    def __init__(self, parameters: StrictWindow, max_debt: float = inf) -> None:
        super().__init__(parameters, max_debt)
        # What one call may have used: the amount of a window, and `max_debt` amounts more.
        self._max_used = parameters.amount + _checks.units_of(max_debt, parameters.amount)
        self._amount = parameters.amount
        self._unit = None if parameters.unit == REQUESTS else parameters.unit
        self._log = SlidingLog(parameters.per, parameters.amount)
        self._by_outcome = True
        self._margin = 0
        self._earlier = {}
        self._newest = 0
        self._newest_at = -1
        self.moving = 0
        self._out = 0
        self._leased = LeasedCalls()
        self._due = NEVER
        self._latest = -1

    def assume(self, arrivals: Arrivals) -> None:
        """Counts by arrival, with this margin, or by outcome."""
        self._by_outcome = arrivals.by_outcome
        self._margin = int(arrivals.margin)

    @property
    def awaits_answers(self) -> bool:  # type: ignore[override] # a constant in the base class
        """Whether it counts by arrival."""
        return not self._by_outcome

    @property
    def memory(self) -> int:
        """The length of the window."""
        return int(self.parameters.per)

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """The first instant at which the window can have room; if that depends on an answer, one window from now.

        Number the units that will be granted from now on 1, 2, 3 and so on. Unit k takes the place of the unit N before it,
        one window after that one arrived. So whole rounds of N cost one window each, and only the last, partial round is
        looked up.
        """
        cost = request.amount(self._unit)
        if cost == 0:
            return now
        most, per = self._amount, self.parameters.per
        if cost > most:
            return NEVER
        queued = cost if ahead is None else cost + ahead.amount(self._unit)
        rounds, place = divmod(queued - 1, most)
        needed = place + 1 + self.moving + self._log.total - most
        if needed <= 0:
            first = now
        elif needed <= self._log.total:
            first = max(now, self._log.freed(needed))
        else:
            missing = needed - self._log.total
            by = now if self._by_outcome else arrived(self._on_the_way, self._margin, now, missing)
            first = max(now, Instant(by + per))
        return Instant(first + rounds * per) if rounds else first

    def commit(self, now: Instant, request: Request) -> int:
        """The units are on the way from now on."""
        cost = request.cost if self._unit is None else request.amount(self._unit)
        if cost:
            self.spend(now, cost)
        return 0

    def answered(self, now: Instant, grant: Grant) -> None:
        """Dates the units at this instant, if they are on the way."""
        if not self._by_outcome:
            self._land(now, grant)

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """Dates the units, whatever the result; by arrival only if there was an answer, and if its beginning was not known."""
        if self._by_outcome or (
            grant.answered_at is None and (grant.ending is Ending.ANSWERED or grant.ending is Ending.REJECTED)
        ):
            self._land(now, grant)
        elif grant.ahead and grant.answered_at is None and self._leased.follows(grant.granted_at):
            # It may have been used just now. Other outcomes must not take it for arrived: it is dated by itself.
            cost = min(grant.request.amount(self._unit), self._max_used)
            self._arrive(now)
            self._drop(grant, cost)
            self._begin(now, cost)

    def _land(self, now: Instant, grant: Grant) -> None:
        """The units of a grant have arrived by now. Written out, with `_take` and `_look`: it runs for every outcome."""
        request, granted = grant.request, grant.granted_at
        cost = request.cost if self._unit is None else request.amount(self._unit)
        if grant.ahead:
            self.ended(now, granted, min(cost, self._max_used))
            return
        if now >= self._due:
            self._arrive(now)
        moving = self._on_the_way
        units = moving.get(granted)
        if units is not None and cost:
            # No more than `settle` has kept, since calls that began at the same instant share an entry.
            taken = min(units, cost, self._max_used)
            moving[granted] = units - taken
            if taken == units:
                del moving[granted]
            self.moving -= taken
            # Not before its own grant, even if the clock has gone back.
            self._log.add(now if now > granted else granted, taken)
        full = self.moving + self._log.total >= self._amount
        self.ready = NEVER if full and self._unit is None else 0

    def _take(self, grant: Grant, count: int) -> int:
        """Removes units of a grant from those on the way, and returns how many: 0 if they have arrived."""
        moving, granted = self._on_the_way, grant.granted_at
        units = moving.get(granted)
        if units is None or not count:
            return 0
        taken = min(units, count)
        moving[granted] = units - taken
        if taken == units:
            del moving[granted]
        self.moving -= taken
        return taken

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """The provider has counted nothing."""
        self._arrive(now)
        if grant.ahead:
            self._drop(grant, grant.request.amount(self._unit))
        else:
            self._remove(grant, grant.request.amount(self._unit))
        self._look()

    def _remove(self, grant: Grant, count: int) -> None:
        """Removes units of a grant, on the way or arrived."""
        if self._by_outcome or grant.answered_at is None:  # Else the beginning of its answer has dated it.
            count -= self._take(grant, count)
        if count and not self._by_outcome:
            arrived = grant.granted_at + self._margin if grant.answered_at is None else grant.answered_at
            self._log.remove(Instant(arrived), count)

    def forecast(self, now: Instant) -> "WindowForecast":
        """The uses so far, with the units on the way dated when their margin ended, or now."""
        log, left = self._log.copy(), self.moving
        if not self._by_outcome and now > self._due:
            for granted, units in self._on_the_way.items():
                if granted + self._margin >= now:
                    break
                log.add(Instant(granted + self._margin), units)
                left -= units
        if left > 0:
            log.add(now, left)
        return WindowForecast(log, self._amount, self._unit)

    def max_hold(self, now: Instant, queued: Request, largest: Request) -> int:
        """Whole windows without room, each but the first full of units of the queue itself."""
        units, most = queued.amount(self._unit), self._amount
        if self.moving + self._log.total + units <= most:
            return 0
        # A request that does not fit finds at least this many units in the window.
        full = max(1, most - largest.amount(self._unit) + 1)
        return (1 + max(0, units - 1) // full) * (self.parameters.per + self._log.late) if units else 0

    def pace(self, now: Instant, largest: Request | None) -> tuple[int, int, int]:
        """One window full at once, and one more for each window."""
        return self._amount, self._amount, self.parameters.per

    def never_fills(self, now: Instant, base: int, amount: int, per: int) -> bool:
        """See `LimitPolicy.never_fills`."""
        return self._log.never_fills(now, self._amount - self.moving, base, amount, per)

    def settle(self, now: Instant, grant: Grant, receipt: int | None, change: int) -> int:
        """Corrects the units. What a call used beyond its permit is dated with it, or now if that has arrived.

        Debts do not add up here, because all units of a date leave the window together. Of one call, the amount of a window
        and `max_debt` amounts more are kept; the rest is dropped, and returned.
        """
        amount = grant.request.amount(self._unit)
        dropped = max(0, amount + change - self._max_used)
        more = change - dropped
        self._arrive(now)
        if change < 0:
            (self._drop if grant.ahead else self._remove)(grant, -change)
        elif more > 0 and grant.ahead and (self._by_outcome or grant.answered_at is None):
            self._leased.follow(self._batch(grant.granted_at), self._begin(now, more), more)
        elif more > 0 and (self._by_outcome or grant.answered_at is None) and grant.granted_at in self._on_the_way:
            self._on_the_way[grant.granted_at] += more
            self.moving += more
        elif more > 0:
            self._log.add(max(now, grant.granted_at), more)
        self._look()
        return dropped

    def available(self, now: Instant) -> int:
        """Units that the window has room for."""
        used = self.moving + self._log.used(now)
        if not self._by_outcome and now > self._due:
            gone = now - self.parameters.per - self._margin
            for granted, units in self._on_the_way.items():
                if granted > gone:
                    break
                used -= units
        return max(0, self._amount - used)

    def rests_at(self) -> Instant:
        """When the window is empty; `NEVER` while units are leased, and by outcome while a call is in flight."""
        if self._out:
            return NEVER
        if not self.moving:
            return self._log.emptied()
        if self._by_outcome:
            return NEVER
        return max(self._log.emptied(), Instant(max(self._on_the_way) + self._margin + self.parameters.per))

    def abandoned(self, now: Instant, units: int, lost: "LostCalls | None" = None) -> None:
        """The units are on the way from now on; counted by outcome, those and all others on the way have ended now.

        What is known to be `lost` besides had arrived, or is on the way since the last of its grants. Units that were known
        before keep their dates: dated anew by each process that dies, they would never arrive. Which of all units have arrived
        is not known: the oldest ones count as arrived, so that none leaves the window too early.
        """
        self._leased.clear()
        if lost is not None:
            self._arrive(lost.seen)
            gone = self.moving + lost.units
            moving = gone if lost.moving is None else min(lost.moving, gone)
            latest = min(moving, lost.units)
            self._drop_oldest(self.moving + latest - moving)
            if landed := min(gone - moving, self._max_used):
                self._log.add(lost.seen, landed)
            self.abandoned(now if self._by_outcome else lost.at, latest)
        count = min(units, self._max_used)
        if self._by_outcome:
            count += self.moving
            self._on_the_way.clear()
            self.moving = 0
            if count > 0:
                self._log.add(now, count)
        elif count > 0:
            self.commit(now, Request(count) if self._unit is None else Request(0, {self._unit: count}))
        self._look()

    def _drop_oldest(self, count: int) -> None:
        """Removes units on the way, those first that were granted first."""
        moving = self._on_the_way
        self.moving -= count
        for granted, units in tuple(moving.items()):
            if units > count:
                moving[granted] = units - count
                break
            count -= moving.pop(granted)

    def carry_over(self, now: Instant, before: Self) -> None:
        """The same uses count. Units on the way go on by the rule of this window.

        If that is by outcome and it was not before, they count until the end of their margin: it is not known any more which of
        them have arrived.
        """
        self.restore(before.state())
        if self._by_outcome != before._by_outcome:
            self._leased.clear()
        if self._by_outcome and not before._by_outcome:
            for granted, units in sorted(self._on_the_way.items()):
                self._log.add(Instant(granted + before._margin), units)
            self._on_the_way.clear()
            self.moving = 0
            self._look()

    def state(self) -> StrictWindowState:
        """The uses in the window."""
        moving = tuple((Instant(granted), units) for granted, units in sorted(self._on_the_way.items()))
        return StrictWindowState(self._log.state(), moving, Instant(self._latest), self._leased.state())

    def restore(self, state: StrictWindowState) -> None:
        """See `LimitPolicy.restore`."""
        self._log.restore(state.arrived)
        self._earlier = dict(state.on_the_way)
        self._newest = 0
        self.moving = sum(self._earlier.values())
        self._out = 0
        self._leased.restore(state.leased)
        self._latest = state.latest
        if not self._by_outcome and self._on_the_way:
            self._due = min(self._on_the_way) + self._margin
            self._latest = max(self._latest, *self._on_the_way)
        else:
            self._due = NEVER
        self._look()
