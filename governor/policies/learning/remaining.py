"""Remaining units: what a server says is left of a limit until its reset, as a policy.

An answer that says "5 left until 12:00" was written while other requests were on their way. So a bound counts from the grant of
the request whose answer says so: of the units granted later, at most 5 may be granted before the reset. Of several answers the
strictest holds, in whatever order they arrive. A bound ends at its reset.

Requests overtake each other. If two answers state the same limit of requests and one of them leaves more, the server has
counted its request first. Its units are then not among those that the other answer leaves, even if it was granted later. Of
other units, such as tokens, all are taken to arrive in the order of their grants.

If the server says the limit as well, the next window has as many units: all that waits would leave in the instant of the reset
otherwise.

A strict window that the settings state, or that was adopted, may imply what an answer says: with A units in any W, of which
U were granted in the W before the reset, at most A - U are granted until the reset. Such an answer sets no bound. A bound would
only add what is lost by rounding and by the time in which the answer travels.

A bucket that the settings state may refill as the server says. Then what is left of its units grows until the reset: see
`_refill`. Not so of requests, of which one that overtakes another would count twice.

The policy keeps the number of units granted so far, and a log of what that number was at past grants. A bound is then a number
that the total must not pass before an instant, so that a grant costs an addition and a comparison.

Bounds: `MAX_BOUNDS` bounds, of which neighbours merge into the stricter one, and those of the log. All of them tighten.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

import msgspec

from governor._units import SECOND, Duration, Instant
from governor.policies.arrivals import DEFAULT_MARGIN
from governor.policies.contract import REQUESTS, Grant, Limit, LimitPolicy, Request, Result
from governor.policies.learning._bounds import Answer, Bound, Said, earliest, merge_closest, strictest
from governor.policies.learning._grant_log import MAX_LATE, GrantLog
from governor.policies.learning._refill import NO_RATE, Rate, Refill
from governor.policies.windows.window import StrictWindowState

#: Bounds with different resets that hold at once.
MAX_BOUNDS: Final = 16
#: Most servers state a reset in whole seconds: it may be so much later than the window ends. So is the date of an answer.
RESOLUTION: Final = SECOND

#: More units than are ever granted.
_UNBOUNDED: Final = 2**62


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


class RemainingState(msgspec.Struct, frozen=True, tag="remaining"):
    """The total, the bounds and the log."""

    unit: str
    total: int
    bounds: tuple[Bound, ...]
    log: tuple[tuple[Instant, int, int], ...]
    rate: Rate = NO_RATE
    refill: tuple[Bound, ...] = ()


class RemainingPolicy(LimitPolicy):
    """The state machine, for one unit of one provider or scope.

    `history` are the units granted before the first answer that says what remains, as (instant, units) in order of time: of
    those granted since a request in flight at that time, at least these must be among them.
    """

    __slots__ = (
        "_begun",
        "_bounds",
        "_leased",
        "_log",
        "_refill",
        "_reset",
        "_resets",
        "_spread",
        "_total",
        "_unit",
        "_window",
    )

    state_type = RemainingState
    leases = True

    def __init__(self, unit: str = REQUESTS, history: Iterable[tuple[Instant, int]] = ()) -> None:
        super().__init__(RemainingUnits(unit))
        self._unit = None if unit == REQUESTS else unit
        #: Units granted so far and known to be used, or not leased.
        self._total = 0
        self._leased = 0
        self._log = GrantLog()
        # In order of `until` and, strictly, of `total`: the first that has not ended is the strictest.
        self._bounds: list[Bound] = []
        self._refill = Refill()
        #: When the next windows begin, in order, with the units of each, and how long one is at least, as far as is known.
        self._resets: list[tuple[Instant, int]] = []
        self._window = 0
        #: The bound of the window that has begun last. It holds whatever the bounds of answers become that imply it.
        self._begun: Bound | None = None
        # The latest reset for which a spread was drawn, and that spread.
        self._reset = Instant(0)
        self._spread = 0
        for instant, units in history:
            self._log.note(instant, self._total)
            self._total += units

    # What a server says.

    def learn(
        self,
        now: Instant,
        grant: Grant,
        remaining: int,
        until: Instant,
        *,
        limit: int | None = None,
        window: int | None = None,
        name: str | None = None,
        implied_by: Duration | None = None,
        refilled: Rate | None = None,
        spread: int = 0,
    ) -> bool:
        """The answer to this grant says that `remaining` units are left until an instant.

        From then on there are `limit` units for one `window`, or for as long as the longest reset so far has been away,
        less a second by which it may have been rounded up.
        `implied_by` is the length of a strict window over the same units, of at most `limit`. A bound ends by `spread` later,
        which is drawn once for each reset. Returns False if a window implies what the answer says, or if the units, which are
        not requests, are `refilled`.
        """
        log, since, units = self._log, grant.granted_at, grant.request.amount(self._unit)
        # Of tokens a refill between two answers would look like an answer that was overtaken.
        said = None if limit is None or self._unit is not None else (name, limit)
        # Resets of one window, or of a limit that slides, are not as far apart as this one and that of an earlier window.
        earlier = Instant(until - max(self._window, window or 0, until - now) // 2)
        counted = log.in_order(grant, units) if said is None else log.counted(since, units, said, remaining, earlier)
        if said is not None:
            answer = Answer(now, since, units, said, remaining, until)
            log.answers.append(answer)
            # Bounds do not hold the units of a request that was counted before theirs.
            self._bounds = [
                msgspec.structs.replace(bound, total=bound.total + units) if answer.overtook(bound) else bound
                for bound in self._bounds
            ]
        if until <= now:
            return True
        if refilled is not None and self._unit is not None:
            line = log.lowest(now, since, counted, self._total + self._leased, *refilled)
            self._refill.keep(now, refilled, Bound(until, remaining * refilled.per + line, now))
            return False
        if implied_by is not None and limit is not None:
            # A reset that is a span begins when the answer was written, and has been taken to begin when it was read.
            begin = Instant(until - implied_by - 2 * RESOLUTION - min(now - since, RESOLUTION))
            # Calls in flight may be among those that were counted. Once they are answered, an answer tells.
            if self._total + self._leased - log.before(begin, self._total) >= limit - remaining:
                return False
        if abs(until - self._reset) > RESOLUTION:
            self._reset, self._spread = until, spread
        end = Instant(until + self._spread)
        if limit is not None and implied_by is None:
            # The reset may have been rounded up, and a window that is assumed to be too long would hold back what is left.
            self._window = max(self._window, window or 0, until - now - RESOLUTION)
            self._renews_at(now, end, limit)
        begin = Instant(since - MAX_LATE)
        self._keep(now, Bound(end, counted + remaining, since, said, remaining, earlier, begin, now))
        return True

    def _keep(self, now: Instant, bound: Bound) -> None:
        """Adds a bound to those that have not ended, and drops what is implied."""
        kept = [one for one in (*self._bounds, self._begun) if one is not None and one.until > now]
        kept.append(bound)
        kept.sort(key=lambda one: (one.until, -one.total))
        found = strictest(kept)
        if len(found) > MAX_BOUNDS:
            merge_closest(found)
        self._bounds = found
        self._look()

    def oldest(self, units: int, until: Instant | None = None) -> Instant:
        """The grant of the oldest of so many units that were granted last, or last until then; `NEVER` if it is not known."""
        total = self._total + self._leased
        return self._log.oldest(units, total if until is None else self._log.before(Instant(until + 1), total))

    def uses(self, now: Instant, span: Duration, instead_of: Said | None = None) -> StrictWindowState:
        """What was granted, as the uses of a window of this span. It bounds calls instead of that limit from now on."""
        if instead_of is not None:
            self._begun = None
            self._resets = [one for one in self._resets if one[1] != instead_of[1]]
            self._bounds = [bound for bound in self._bounds if bound.said != instead_of and bound.said is not None]
            self._look()
        return self._log.uses(Instant(now - span - DEFAULT_MARGIN), self._total + self._leased)

    # The admission contract.

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """`now`, or the reset of the last bound that has no room for the request and what is ahead of it."""
        cost = request.amount(self._unit)
        if not cost or not (self._bounds or self._refill.bounds):
            return now
        needed = self._total + self._leased + cost + (0 if ahead is None else ahead.amount(self._unit))
        return self._refill.earliest(earliest(self._bounds, now, needed), needed)

    def commit(self, now: Instant, request: Request) -> int:
        """Counts the units."""
        cost = request.amount(self._unit)
        if cost:
            if self._resets and now >= self._resets[0][0]:
                self._renew(now)
            self._log.note(now, self._total)
            self._total += cost
            bounds = self._bounds
            while bounds and bounds[0].until <= now:
                del bounds[0]
            if bounds and self._total + self._leased >= bounds[0].total:
                self._look()
        return 0

    def _renews_at(self, now: Instant, reset: Instant, amount: int) -> None:
        """A window of so many units begins then. Of too many resets the latest are not noted: answers say them again."""
        del self._resets[: max(0, bisect_left(self._resets, (now, 0)) - 1)]  # Only the latest that has passed matters.
        place = bisect_left(self._resets, (reset, 0))
        if place == len(self._resets) or self._resets[place][0] != reset:
            self._resets.insert(place, (reset, amount))
            del self._resets[MAX_BOUNDS:]

    def _renew(self, now: Instant) -> None:
        """The first grant after resets: the window that the latest of them began has as many units as the server has said."""
        passed = bisect_left(self._resets, (now + 1, 0))
        begin, amount = self._resets[passed - 1]
        del self._resets[:passed]
        until = Instant(begin + self._window)
        if until > now:
            self._begun = Bound(until, self._total + self._leased + amount, now)
            self._keep(now, self._begun)

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
        if grant.granted_at < self._log.since:
            return  # Its units were never counted.
        self._total += change
        # When a server counts additional units is not known. They change no bound and no entry, which tightens.
        if change < 0:
            since = grant.granted_at
            of_grant = self._log.correct(since, change)
            if self._begun is not None and self._begun.since >= since:
                self._begun = msgspec.structs.replace(self._begun, total=self._begun.total + change)
            self._bounds = strictest(
                [
                    msgspec.structs.replace(bound, total=bound.total + change)
                    if bound.since >= since or any(answer.overtook(bound) for answer in of_grant)
                    else bound
                    for bound in self._bounds
                ]
            )
            self._refill.correct(since, change)
        self._look()

    def forecast(self, now: Instant) -> "RemainingForecast":
        """A copy, in which leased units are used."""
        return RemainingForecast(self._bounds, self._refill, self._total + self._leased, self._unit)

    def max_hold(self, now: Instant, queued: Request, largest: Request) -> int:
        """Until the last bound that has no room for all of them."""
        return self.earliest(now, queued) - now

    def available(self, now: Instant) -> int:
        """Units that can be granted at `now`; a very large number without a bound."""
        bound = next((bound.total - self._total - self._leased for bound in self._bounds if bound.until > now), _UNBOUNDED)
        begun = next((amount for at, amount in reversed(self._resets) if at <= now < at + self._window), _UNBOUNDED)
        most = self._refill.most(now)
        return max(0, min(bound, begun, _UNBOUNDED if most is None else most - self._total - self._leased))

    # Granting ahead.

    def leasable(self, now: Instant) -> int:
        """All that is available: each use is counted in full while it is outstanding."""
        return self.available(now)

    def lease(self, now: Instant, count: int) -> None:
        """The answers to leased requests refer to this instant: they are sent in the order in which they were leased."""
        if self._resets and now >= self._resets[0][0]:
            self._renew(now)
        self._log.note(now, self._total)
        self._leased += count
        self._look()

    def collect(self, now: Instant, used: int) -> None:
        """Counts them as used."""
        self._leased -= used
        self._total += used

    def reclaim(self, now: Instant, count: int) -> None:
        """They were never used."""
        self._leased -= count
        self._look()

    def _look(self) -> None:
        """Updates `ready`: the reset of the last bound that has no room for one request."""
        self.ready = 0 if self._unit is not None else earliest(self._bounds, Instant(0), self._total + self._leased + 1)

    # State.

    def rests_at(self) -> Instant:
        """The instant from which on there is no bound; 0 if there is none."""
        return max(self._refill.until(), self._bounds[-1].until if self._bounds else Instant(0))

    def carry_over(self, now: Instant, before: "RemainingPolicy") -> None:
        """The same units remain."""
        self.restore(before.state())

    def state(self) -> RemainingState:
        """The state as a frozen record, for `restore`. Leased units are none of it."""
        log, refill = self._log.state(), self._refill
        return RemainingState(self.unit, self._total, tuple(self._bounds), log, refill.rate, tuple(refill.bounds))

    def restore(self, state: RemainingState) -> None:
        """Continues from a state that `state` returned."""
        self._total = state.total
        self._bounds = list(state.bounds)
        self._log.restore(state.log)
        self._refill = Refill(state.rate, state.refill)
        self._look()


class RemainingForecast:
    """The bounds, and the total of a possible future."""

    __slots__ = ("_bounds", "_refill", "_total", "_unit")

    def __init__(self, bounds: list[Bound], refill: Refill, total: int, unit: str | None) -> None:
        self._bounds = bounds
        self._refill = refill
        self._total = total
        self._unit = unit

    def earliest(self, now: Instant, request: Request) -> Instant:
        """See `Policy.earliest`."""
        cost = request.amount(self._unit)
        if not cost:
            return now
        return self._refill.earliest(earliest(self._bounds, now, self._total + cost), self._total + cost)

    def commit(self, now: Instant, request: Request) -> None:
        """Counts the units."""
        self._total += request.amount(self._unit)
