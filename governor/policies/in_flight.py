"""Limit on concurrency: a maximum number of requests in flight.

A call that its caller gives up goes on at the provider, which does not know. It keeps its place for the time that the provider
is assumed to work on it; see `Arrivals`. There are no more such places than the limit allows in flight.
"""

import re
from bisect import insort
from collections.abc import Iterable
from math import inf
from typing import TYPE_CHECKING, ClassVar, Final, Self

import msgspec
from msgspec.structs import replace

from governor._units import AFTER_OUTCOME, NEVER, WHOLE, Instant
from governor.errors import Reason
from governor.policies import _checks
from governor.policies._places import PlacesInFlight, UsualDuration
from governor.policies.arrivals import Arrivals, Ending, worked_on_until
from governor.policies.contract import Grant, Limit, LimitPolicy, Request, Result

if TYPE_CHECKING:
    from governor.policies.lost_calls import LostCalls

_TEXT: Final = rf"({WHOLE})\s+in\s+flight"


class InFlight(Limit, frozen=True):
    """At most `amount` requests in flight at once: `30 in flight`. `amount` is at least 1. Raises `ConfigError`."""

    amount: int

    examples: ClassVar[tuple[str, ...]] = ("30 in flight",)

    def __post_init__(self) -> None:
        _checks.integers(self)
        _checks.whole("amount", self.amount)

    @property
    def capacity(self) -> int:
        """Requests that may be in flight at once."""
        return self.amount

    def scaled(self, share: float) -> Self:
        """See `Limit.scaled`."""
        return replace(self, amount=max(1, int(self.amount * share)))

    @classmethod
    def parse(cls, words: str) -> Self | None:
        """See `Limit.parse`."""
        said = re.fullmatch(_TEXT, words)
        return cls(int(said[1])) if said else None

    def describe(self) -> str:
        """See `Limit.describe`."""
        return f"{self.amount} in flight"


class InFlightState(msgspec.Struct, frozen=True, tag="in_flight"):
    """The number of requests in flight, the places of those that were given up, and what is known of durations."""

    under_way: int
    given_up: tuple[tuple[Instant, int], ...] = ()
    mean: int = -1
    deviation: int = 0


class InFlightPolicy(LimitPolicy, PlacesInFlight):
    """The state machine: a count that outcomes decrease, and places of given-up calls that become free as time passes.

    A call that was given up frees its place at once unless `assume` says otherwise.
    """

    __slots__ = ("_arrivals",)

    state_type = InFlightState
    reason = Reason.CONCURRENCY
    needs_outcome = True
    leases_places = True

    parameters: InFlight

    def __init__(self, parameters: InFlight, max_debt: float = inf) -> None:
        super().__init__(parameters, max_debt)
        self._amount = parameters.amount
        self._under_way = 0
        self._given_up = []
        self._held = 0
        self._arrivals: Arrivals | None = None
        self._measures = False
        self._usual = UsualDuration()

    def assume(self, arrivals: Arrivals) -> None:
        """Keeps the places of calls that were given up, unless they linger for no time."""
        self._arrivals = None if arrivals.linger == 0 else arrivals
        self._measures = arrivals.linger is None

    @property
    def memory(self) -> int:
        """The same requests are in flight for every limit, and no date matters."""
        return 0

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """`now`, or `AFTER_OUTCOME`: the end of a call is not known in advance.

        If no call is in flight but those that were given up, the instant at which enough of their places are free.
        """
        amount = self._amount
        if request.cost > amount:
            return NEVER
        queued = request.cost if ahead is None else request.cost + ahead.cost
        missing = self._under_way + self._held + queued - amount
        if missing <= 0:
            return now
        when = now
        for until, places in self._given_up:
            if until > now and self._under_way > 0:
                return AFTER_OUTCOME
            when = max(when, until)
            missing -= places
            if missing <= 0:
                return when
        return AFTER_OUTCOME

    def wakes_at(self, now: Instant) -> Instant:
        """When the next place of a given-up call becomes free."""
        return next((until for until, _ in self._given_up if until > now), NEVER)

    def commit(self, now: Instant, request: Request) -> int:
        """The requests are in flight from now on."""
        self.spend(now, request.cost)
        return 0

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """The requests have ended; if they were given up, they keep their places for a while."""
        granted_at = grant.granted_at
        if grant.ahead:
            if grant.taken_at is None:
                return  # Its permit was dropped before it took a place.
            granted_at = grant.taken_at
        arrivals, usual = self._arrivals, self._usual
        if arrivals is not None:
            took = max(0, now - granted_at)
            if grant.ending is Ending.GIVEN_UP:
                usual.at_least(took)
                linger = usual.estimate() if arrivals.linger is None else arrivals.linger
                until = worked_on_until(now, granted_at, grant.answered_at is not None, arrivals.margin, linger)
                if grant.request.cost:
                    self._hold(now, until, grant.request.cost)
            elif grant.ending is Ending.ANSWERED and result is Result.SUCCESS and self._measures:
                usual.measure(took)
        self._move(-grant.request.cost)

    def _hold(self, now: Instant, until: Instant, places: int) -> None:
        """Holds places until that instant, but no more than the limit has in all: the rest adds nothing."""
        self._free(now)
        places = min(places, self._amount)
        insort(self._given_up, (until, places))
        self._held += places

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """The requests were never made."""
        if not grant.ahead or grant.taken_at is not None:
            self._move(-grant.request.cost)

    @property
    def measures(self) -> bool:
        """Whether it matters how long calls take."""
        return self._measures

    def lease_places(self, count: int) -> None:
        """Leases so many places, at most those that are available: they count as taken, and pass from call to call."""
        self._move(count)

    def free_places(self, count: int) -> None:
        """So many of the leased places are free. Calls that have one, and report an outcome here, free it themselves."""
        self._move(-count)

    def measure(self, durations: Iterable[int]) -> None:
        """So long have calls with leased places taken that were answered with success."""
        if self._measures:
            self._usual.measure_all(durations)

    def forecast(self, now: Instant) -> "InFlightPolicy":
        """A copy in which no call ends."""
        copy = InFlightPolicy(self.parameters)
        copy.restore(self.state())
        return copy

    def max_hold(self, now: Instant, queued: Request, largest: Request) -> int:
        """0 if there is room for all of them, else `AFTER_OUTCOME`."""
        held = sum(places for until, places in self._given_up if until > now)
        return 0 if self._under_way + held + queued.cost <= self._amount else AFTER_OUTCOME

    def settle(self, now: Instant, grant: Grant, receipt: int | None, change: int) -> int:
        """Corrects the number of requests in flight. The outcome that follows has the corrected number: there is no debt."""
        self._move(change)
        return 0

    def available(self, now: Instant) -> int:
        """Requests that may begin."""
        held = sum(places for until, places in self._given_up if until > now)
        return max(0, self._amount - self._under_way - held)

    def rests_at(self) -> Instant:
        """`NEVER` while requests are in flight; else when the last place of a given-up call becomes free."""
        if self._under_way:
            return NEVER
        return self._given_up[-1][0] if self._given_up else Instant(0)

    def abandoned(self, now: Instant, units: int, lost: "LostCalls | None" = None) -> None:
        """The requests in flight, and `units` more, have been given up now, unless it is known how many calls were `lost`.

        Of the places that were held then, those that were known before keep their dates: dated anew by each process that dies,
        they would never be free.
        """
        if lost is None:
            self._give_up(now, now, self._under_way + units)
            return
        if self._usual.mean < 0 and lost.usual:
            self._usual.mean = lost.usual
        self._free(lost.seen)
        if lost.held > self._held and lost.until > now:
            self._hold(now, lost.until, lost.held - self._held)
        self._give_up(now, lost.at, self._amount if lost.places is None else lost.places)

    def places(self, now: Instant) -> tuple[int, int, Instant, int]:
        """The requests in flight, the places of those given up, the end of the last one, and how long calls take as a rule.

        The last number is 0 if no call has been measured.
        """
        self._free(now)
        usual = self._usual
        took = 0 if usual.mean < 0 else usual.estimate()
        return self._under_way, self._held, self._given_up[-1][0] if self._given_up else Instant(0), took

    def _give_up(self, now: Instant, granted_at: Instant, places: int) -> None:
        """No request is in flight any more; so many have been given up now."""
        arrivals, self._under_way = self._arrivals, 0
        if arrivals is not None and places > 0:
            linger = self._usual.estimate() if arrivals.linger is None else arrivals.linger
            self._hold(now, worked_on_until(now, granted_at, False, arrivals.margin, linger), places)
        self._move(0)

    def carry_over(self, now: Instant, before: Self) -> None:
        """The same requests are in flight, and the same places are held."""
        self.restore(before.state())

    def state(self) -> InFlightState:
        """The requests in flight, the places of given-up calls, and the estimate of durations."""
        return InFlightState(self._under_way, tuple(self._given_up), self._usual.mean, self._usual.deviation)

    def restore(self, state: InFlightState) -> None:
        """See `LimitPolicy.restore`."""
        self._given_up = list(state.given_up)
        self._held = sum(places for _, places in self._given_up)
        self._usual.mean, self._usual.deviation = state.mean, state.deviation
        self._move(state.under_way - self._under_way)
