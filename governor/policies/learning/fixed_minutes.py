"""Fixed minutes: the limit of windows of a minute at fixed times, as denials show it.

At a denial the calls that were accepted since the window began are the limit. When it began is not known, but each second of a
minute at which it may have begun tells a limit, and no window before that one can have held more. Of the limits that are left
the one in the middle is the most likely, or the round number next to it. A second denial must show the same limit for the same
second, and leaves few.

Bound: the calls of each of the last `KEPT` seconds.
"""

from itertools import accumulate
from statistics import median_low
from typing import Final

from governor._units import MINUTE, SECOND, Duration, Instant

#: Seconds that are kept: those of the windows with which one is compared.
KEPT: Final = 300
_MINUTE: Final = MINUTE // SECOND
#: The calls by which the limits that two denials show may differ: calls arrive later than they are granted.
_DIFFERS: Final = 2
#: Limits are published as round numbers: from 40 on in tens, and from 400 on in hundreds.
ROUND: Final = 10


class FixedMinutes:
    """The calls that were accepted, and what denials show of their limit. Instants must not go back."""

    __slots__ = ("_calls", "_limits")

    def __init__(self) -> None:
        self._calls: dict[int, int] = {}
        #: The limit for each second of a minute at which windows may begin, as of the latest denial.
        self._limits: dict[int, int] = {}

    def add(self, now: Instant, count: int) -> None:
        """So many calls are granted."""
        second = now // SECOND
        if second in self._calls:
            self._calls[second] += count
            return
        self._calls[second] = count
        if len(self._calls) > KEPT:
            del self._calls[next(iter(self._calls))]

    def remove(self, granted_at: Instant, count: int) -> None:
        """Calls that were granted then have been denied, or were never sent."""
        second = granted_at // SECOND
        if second in self._calls:
            self._calls[second] -= count

    def deny(self, now: Instant, wait: Duration) -> int | None:
        """The limit that this denial, and the one before, show; None if windows of a minute do not explain them.

        A `wait` of less than a minute ends with the window.
        """
        latest = now // SECOND
        sums = [0, *accumulate(self._calls.get(second, 0) for second in range(latest - KEPT + 1, latest + 1))]
        ages = range(1, _MINUTE + 1) if wait >= MINUTE else [latest - (now + wait - MINUTE) // SECOND + 1]
        limits = {}
        for age in ages:
            begins = range(KEPT - age, -1, -_MINUTE)
            limit = sums[-1] - sums[KEPT - age]
            if all(sums[begin] - sums[max(0, begin - _MINUTE)] <= limit for begin in begins):
                limits[(latest + 1 - age) % _MINUTE] = limit
        known = self._limits
        same = {second: one for second, one in limits.items() if abs(one - known.get(second, -_DIFFERS - 1)) <= _DIFFERS}
        self._limits = same or limits
        if not self._limits:
            return None
        found = self._limits.values()
        return max(min(found), min(_rounded(median_low(found)), max(found)))

    def forget(self) -> None:
        """No denial matters any more."""
        self._limits = {}


def _rounded(limit: int) -> int:
    """The nearest number to which limits are rounded, the lower of two."""
    step = 1
    while limit >= 4 * ROUND * step:
        step *= ROUND
    return (limit + (step - 1) // 2) // step * step
