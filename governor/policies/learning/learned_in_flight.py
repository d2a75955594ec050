"""Learned limit of calls at work: how many calls a provider works on at once, as its denials show.

A limit of a rate denies after as many calls in a span each time; a limit of calls at work denies while as many are in flight
each time, however fast they were sent. So the levels of the latest `DENIALS` denials are compared: if as many calls were in
flight at each, and the calls in every span differ, the limit is one of calls at work. Calls that take less than `LONG` on
average show nothing: in flight is then what a rate makes, and the learned rate holds them.

The limit is one less than were in flight, the denied call included. It then follows additive increase, multiplicative decrease,
as congestion windows do (Chiu and Jain 1989), with an increase after `PROBE_EVERY` calls that found it full, because probing
costs denials: by one, and by a tenth after an increase that was not denied. A denial with at least `EXPLAINED` of the limit in
flight leaves one less than were in flight, and doubles the calls until the next increase, up to `MAX_PROBE_EVERY`. One with
fewer is none of this limit.

Bounds: the levels of `DENIALS` denials. The limit is at least 1.
"""

from collections import deque
from typing import Final

import msgspec

from governor._units import AFTER_OUTCOME, MINUTE, NEVER, SECOND, Duration, Instant
from governor.errors import Reason
from governor.policies.contract import Grant, Limit, LimitPolicy, Request, Result
from governor.policies.learning.learned_window import SPANS

#: Denials whose levels are compared, and within how long.
DENIALS: Final = 3
LASTING: Final = Duration(30 * MINUTE)
#: The part by which the calls in flight at two denials may differ, or so many calls; the calls in a span differ by more.
ALIKE: Final = 0.1
ALIKE_CALLS: Final = 2
#: Fewer calls in flight show nothing, and neither do calls that take less than this on average.
LEAST_CALLS: Final = 4
LONG: Final = Duration(2 * SECOND)
#: A denial with less than this part of the limit in flight is none of this limit.
EXPLAINED: Final = 0.75
#: Calls that found the limit full until it is raised, at first and at most.
PROBE_EVERY: Final = 100
MAX_PROBE_EVERY: Final = 900
#: After a raise that was not denied, the next one is by one in so many.
_PART: Final = 10
#: Calls that were in flight before the limit was known, and whose end is not told, have ended after so long.
FORGOTTEN_AFTER: Final = MINUTE
_UNBOUNDED: Final = 2**62


class Level(msgspec.Struct, frozen=True):
    """A denial: when, the calls in flight, the denied one included, and the calls accepted in each of `SPANS`."""

    at: Instant
    in_flight: int
    used: tuple[int, ...]


class DenialLevels:
    """The levels of the latest denials."""

    __slots__ = ("_levels",)

    def __init__(self) -> None:
        self._levels: deque[Level] = deque(maxlen=DENIALS)

    def add(self, level: Level) -> int | None:
        """A denial. Returns the least number of calls in flight at denials that only a limit of them explains; else None."""
        self._levels.append(level)
        recent = [one for one in self._levels if level.at - one.at <= LASTING]
        if len(recent) < 2 or not all(map(_is_telling, recent)):
            return None
        in_flight = [one.in_flight for one in recent]
        spans = list(zip(*(one.used for one in recent), strict=True))
        if len(recent) == DENIALS and len(set(in_flight)) == 1 and all(len(set(counts)) > 1 for counts in spans):
            return in_flight[0]  # A rate that follows its calls in flight makes about as many calls in a span.
        if max(in_flight) - min(in_flight) > max(ALIKE_CALLS, ALIKE * max(in_flight)):
            return None
        for counts in spans:
            if max(counts) - min(counts) <= max(ALIKE_CALLS, ALIKE * max(counts)):
                return None  # As many calls in this span each time: it may be the limit.
        return min(in_flight)

    def forget(self) -> None:
        """No denial matters any more."""
        self._levels.clear()


def _is_telling(level: Level) -> bool:
    """Whether calls take long enough, by Little's law in each span, for those in flight to differ from what a rate makes."""
    return level.in_flight >= LEAST_CALLS and all(
        level.in_flight * span >= LONG * max(1, used) for span, used in zip(SPANS, level.used, strict=True)
    )


class LearnedInFlight(Limit, frozen=True):
    """The parameters of a learned limit of calls at work. No policy file has such a limit: denials reveal it."""

    @property
    def capacity(self) -> int:
        """A limit that is not known holds nothing up."""
        return _UNBOUNDED

    def describe(self) -> str:
        """For statistics and messages."""
        return "learned in flight"


class LearnedInFlightState(msgspec.Struct, frozen=True, tag="learned_in_flight"):
    """The limit and the calls in flight."""

    most: int
    under_way: int


class LearnedInFlightPolicy(LimitPolicy):
    """The state machine, one for each provider that shows such a limit, first of `most` calls.

    `before` calls were in flight at `now`: they hold places until they end, for `FORGOTTEN_AFTER` at most.
    """

    __slots__ = (
        "_before",
        "_before_until",
        "_full",
        "_probe_every",
        "_raised",
        "_since",
        "_under_way",
        "most",
        "throttled_at",
    )

    state_type = LearnedInFlightState
    reason = Reason.CONCURRENCY
    needs_outcome = True

    def __init__(self, now: Instant, most: int = _UNBOUNDED, before: int = 0) -> None:
        super().__init__(LearnedInFlight())
        #: Calls that may be in flight.
        self.most = max(1, most)
        self._under_way = 0
        self._since = now
        self._before = before
        self._before_until = Instant(now + FORGOTTEN_AFTER)
        #: Calls that have found the limit full since it was last changed, and whether it has been raised since the last denial.
        self._full = 0
        self._raised = False
        self._probe_every = PROBE_EVERY
        #: The latest denial.
        self.throttled_at = now
        self._look()

    def explains(self, in_flight: int) -> bool:
        """Whether a denial with so many calls in flight, the denied one included, is one of this limit."""
        return in_flight >= EXPLAINED * self.most

    def throttled(self, now: Instant, granted_at: Instant, in_flight: int) -> bool:
        """A call is denied that was granted then. Returns whether that is news: one granted before the last denial is none."""
        if granted_at <= self.throttled_at:
            return False
        self.most = max(1, min(self.most, in_flight) - 1)
        self.throttled_at, self._full, self._raised = now, 0, False
        self._probe_every = min(2 * self._probe_every, MAX_PROBE_EVERY)
        self._look()
        return True

    # The admission contract.

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """`now`, or `AFTER_OUTCOME`. A request of more calls than the limit has goes alone."""
        queued = request.cost + (0 if ahead is None else ahead.cost)
        held = self._held(now)
        if held + queued <= self.most or (not held and ahead is None) or not queued:
            return now
        if self._under_way + queued <= self.most and not self._under_way:
            return self._before_until
        return AFTER_OUTCOME

    def wakes_at(self, now: Instant) -> Instant:
        """When calls whose end is not told have ended."""
        return self._before_until if self._before and now < self._before_until else NEVER

    def commit(self, now: Instant, request: Request) -> int:
        """The calls are in flight from now on."""
        self._under_way += request.cost
        if self._held(now) >= self.most:
            self._full += request.cost
            if self._full >= self._probe_every:
                self.most += max(1, self.most // _PART) if self._raised else 1
                self._full, self._raised = 0, True
        self._look()
        return 0

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """The calls have ended."""
        self._move(grant, -grant.request.cost)

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """The calls were never made."""
        self._move(grant, -grant.request.cost)

    def settle(self, now: Instant, grant: Grant, receipt: int | None, change: int) -> int:
        """Corrects the number of calls. The outcome that follows has the corrected number."""
        self._move(grant, change)
        return 0

    def _move(self, grant: Grant, change: int) -> None:
        if grant.granted_at > self._since:
            self._under_way = max(0, self._under_way + change)
        else:
            self._before = max(0, self._before + change)
        self._look()

    def _held(self, now: Instant) -> int:
        return self._under_way + (self._before if now < self._before_until else 0)

    def forecast(self, now: Instant) -> "LearnedInFlightPolicy":
        """A copy in which no call ends."""
        return LearnedInFlightPolicy(now, self.most, self._held(now))

    def max_hold(self, now: Instant, queued: Request, largest: Request) -> int:
        """0 if there is room for all of them, else `AFTER_OUTCOME`."""
        return 0 if self._held(now) + queued.cost <= self.most else AFTER_OUTCOME

    def capacity(self) -> int:
        """Calls that may be in flight, as of now."""
        return self.most

    def available(self, now: Instant) -> int:
        """Calls that may begin."""
        return max(0, self.most - self._held(now))

    def rests_at(self) -> Instant:
        """`NEVER` while calls are in flight; else when what was denied no longer matters."""
        return NEVER if self._under_way else Instant(self.throttled_at + LASTING)

    def carry_over(self, now: Instant, before: "LearnedInFlightPolicy") -> None:
        """The same is known."""
        self.restore(before.state())

    def state(self) -> LearnedInFlightState:
        """The state as a frozen record, for `restore`."""
        return LearnedInFlightState(self.most, self._under_way + self._before)

    def restore(self, state: LearnedInFlightState) -> None:
        """Continues from a state that `state` returned. Calls of another life hold their places for a while."""
        self.most, self._under_way, self._before = state.most, 0, state.under_way
        self._look()

    def _look(self) -> None:
        """Updates `ready`. While calls hold places whose end is not told, `earliest` decides."""
        self.ready = 0 if self._under_way + self._before < self.most else NEVER
