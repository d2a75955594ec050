"""Places of calls in flight, and how long calls take as a rule.

Compiled where there is a compiler, because this is what each call costs in such a limit; `_places.pxd` has the fields.
"""

from collections.abc import Iterable
from typing import final

from governor._fields import LimitFields
from governor._units import NEVER, Duration, Instant
from governor.policies.arrivals import MAX_LINGER, UNMEASURED_LINGER


@final
class UsualDuration:
    """A high estimate of how long calls take: mean plus four mean deviations, both moving (RFC 6298, section 2)."""

    __slots__ = ("deviation", "mean")

    #: Microseconds; a negative mean means that no call has been measured.
    mean: int
    deviation: int

    def __init__(self) -> None:
        self.mean = -1
        self.deviation = 0

    def measure(self, took: int) -> None:
        """A call took so long."""
        mean = self.mean
        if mean < 0:
            self.mean, self.deviation = took, took // 2
        else:
            self.deviation = (3 * self.deviation + (mean - took if mean > took else took - mean)) // 4
            self.mean = (7 * mean + took) // 8

    def measure_all(self, durations: Iterable[int]) -> None:
        """Calls took so long, one after the other. As `measure`, written out: one of these comes with every call."""
        mean, deviation = self.mean, self.deviation
        for took in durations:
            took = took if took > 0 else 0
            if mean < 0:
                mean, deviation = took, took // 2
            else:
                deviation = (3 * deviation + (mean - took if mean > took else took - mean)) // 4
                mean = (7 * mean + took) // 8
        self.mean, self.deviation = mean, deviation

    def at_least(self, took: int) -> None:
        """A call took so long or longer, which is news if most calls are shorter."""
        if 0 <= self.mean < took:
            self.measure(took)

    def estimate(self) -> Duration:
        """The estimate, at most `MAX_LINGER`; `UNMEASURED_LINGER` if no call has been measured."""
        if self.mean < 0:
            return UNMEASURED_LINGER
        return min(MAX_LINGER, Duration(self.mean + 4 * self.deviation))


class PlacesInFlight(LimitFields):
    """The places of the state machine of a limit in flight, which sets what is named here and has the rest of the rules."""

    __slots__ = ("_amount", "_given_up", "_held", "_measures", "_under_way", "_usual")

    #: The calls that may be in flight.
    _amount: int
    #: Until when places are held for calls that were given up, and how many, the first first; and their sum.
    _given_up: list[tuple[Instant, int]]
    _held: int
    #: Whether it matters how long calls take.
    _measures: bool
    #: The calls in flight.
    _under_way: int
    _usual: UsualDuration
    ready: int

    def spend(self, now: Instant, cost: int) -> int:
        """So many requests are in flight from now on. Returns `ready`."""
        if self._held and self._given_up[0][0] <= now:
            self._free(now)
        # As `_move`, written out: it runs for every permit.
        self._under_way += cost
        if self._under_way + self._held < self._amount:
            self.ready = 0
            return 0
        self.ready = NEVER
        return NEVER

    def succeed(self, now: Instant, granted_at: Instant) -> bool:
        """As `record` of a plain request that was answered with success. Returns whether there is room for another one."""
        if self._measures:
            # As `UsualDuration.measure`.
            usual, took = self._usual, now - granted_at
            if took < 0:
                took = 0
            mean = usual.mean
            if mean < 0:
                usual.mean, usual.deviation = took, took // 2
            else:
                usual.deviation = (3 * usual.deviation + (mean - took if mean > took else took - mean)) // 4
                usual.mean = (7 * mean + took) // 8
        self._under_way = under_way = self._under_way - 1
        if under_way + self._held < self._amount:
            self.ready = 0
            return True
        self.ready = NEVER
        return False

    def _free(self, now: Instant) -> None:
        """Drops the places that are free by now."""
        while self._given_up and self._given_up[0][0] <= now:
            self._held -= self._given_up.pop(0)[1]

    def _move(self, change: int) -> None:
        self._under_way += change
        self.ready = 0 if self._under_way + self._held < self._amount else NEVER
