"""Limits of a provider: windows at fixed times, sliding windows, token buckets, requests at work.

This is the other side: it counts what arrives, by its own clock, and shares no code with the governor. Times are whole
microseconds. A limit is asked in the order of time.
"""

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterator
from math import ceil
from typing import Final, Protocol

from benchmarks.bans.virtual_time import SECOND

#: Later than any run ends: waiting does not help.
NEVER: Final = 1 << 60


class Limit(Protocol):
    """What a provider counts. `amount` units in `per` microseconds; for requests at work, `per` is 0."""

    amount: int
    per: int

    def earliest(self, now: int, cost: int) -> int:
        """The first instant, from `now` on, at which a request of this cost is within the limit, if no other arrives."""
        ...

    def spend(self, now: int, cost: int, until: int) -> None:
        """A request arrived and is processed until `until`."""
        ...

    def remaining(self, now: int) -> int:
        """The units that are left."""
        ...

    def reset(self, now: int) -> int:
        """The instant that the provider announces as the reset of the limit."""
        ...


class FixedWindow:
    """`amount` in each window of `per`; windows begin at `offset` and every `per` from there."""

    def __init__(self, amount: int, per: int, offset: int = 0) -> None:
        self.amount = amount
        self.per = per
        self._offset = offset % per
        self._window = -1
        self._used = 0

    def earliest(self, now: int, cost: int) -> int:
        if cost > self.amount:
            return NEVER
        return now if self._of(now) + cost <= self.amount else self.reset(now)

    def spend(self, now: int, cost: int, until: int) -> None:
        self._used = self._of(now) + cost
        self._window = self._number(now)

    def remaining(self, now: int) -> int:
        return max(0, self.amount - self._of(now))

    def reset(self, now: int) -> int:
        return self._number(now) * self.per + self._offset

    def _of(self, now: int) -> int:
        return self._used if self._number(now) == self._window else 0

    def _number(self, now: int) -> int:
        return (now - self._offset) // self.per + 1


class SlidingWindow:
    """`amount` in any `per`: what arrived at or before `now - per` no longer counts."""

    def __init__(self, amount: int, per: int) -> None:
        self.amount = amount
        self.per = per
        self._log: deque[tuple[int, int]] = deque()
        self._used = 0

    def earliest(self, now: int, cost: int) -> int:
        if cost > self.amount:
            return NEVER
        used, at = self._used, now
        for arrived, spent in self._log:
            if arrived <= now - self.per:
                used -= spent
            elif used + cost <= self.amount:
                break
            else:
                used -= spent
                at = arrived + self.per
        return at

    def spend(self, now: int, cost: int, until: int) -> None:
        while self._log and self._log[0][0] <= now - self.per:
            self._used -= self._log.popleft()[1]
        self._log.append((now, cost))
        self._used += cost

    def remaining(self, now: int) -> int:
        return max(0, self.amount - sum(spent for arrived, spent in self._counted(now)))

    def reset(self, now: int) -> int:
        return next((arrived + self.per for arrived, _ in self._counted(now)), now)

    def _counted(self, now: int) -> Iterator[tuple[int, int]]:
        return ((arrived, spent) for arrived, spent in self._log if arrived > now - self.per)


class Bucket:
    """A token bucket of `burst` units, full at the start, that gains `amount` in `per`.

    Its level is kept in units times `per`, so that it is exact.
    """

    def __init__(self, amount: int, per: int, burst: int) -> None:
        self.amount = amount
        self.per = per
        self._full = burst * per
        self._level = self._full
        self._at = 0

    def earliest(self, now: int, cost: int) -> int:
        lacking = cost * self.per - self._at_level(now)
        if cost * self.per > self._full:
            return NEVER
        return now if lacking <= 0 else now + ceil(lacking / self.amount)

    def spend(self, now: int, cost: int, until: int) -> None:
        self._level = self._at_level(now) - cost * self.per
        self._at = now

    def remaining(self, now: int) -> int:
        return max(0, self._at_level(now) // self.per)

    def reset(self, now: int) -> int:
        return now + ceil((self._full - self._at_level(now)) / self.amount)

    def _at_level(self, now: int) -> int:
        return min(self._full, self._level + (now - self._at) * self.amount)


class AtWork:
    """At most `amount` requests are processed at the same time."""

    def __init__(self, amount: int) -> None:
        self.amount = amount
        self.per = 0
        self._ends: list[int] = []

    def earliest(self, now: int, cost: int) -> int:
        if cost > self.amount:
            return NEVER
        free = len(self._ends) + cost - self.amount - 1
        return now if free < 0 else max(now, self._ends[free])

    def spend(self, now: int, cost: int, until: int) -> None:
        del self._ends[: bisect_right(self._ends, now)]
        for _ in range(cost):
            insort(self._ends, until)

    def remaining(self, now: int) -> int:
        return max(0, self.amount - len(self._ends) + bisect_right(self._ends, now))

    def reset(self, now: int) -> int:
        return self.earliest(now, 1)


def seconds(value: float) -> int:
    """Whole microseconds."""
    return round(value * SECOND)
