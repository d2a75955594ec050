"""Calls whose answer has not begun, by when they were granted: the probes of a breaker, and its calls while it ramps up."""

from collections import OrderedDict
from collections.abc import Iterable

from governor._units import Instant


class CallsOut:
    """A multiset of grant dates in the order of the grants. Calls of the same date stand for each other."""

    __slots__ = ("_dates", "count")

    def __init__(self) -> None:
        self.count = 0
        # Unlike a dict, it finds its first key at once however many were removed before it.
        self._dates: OrderedDict[Instant, int] = OrderedDict()

    def add(self, granted_at: Instant) -> None:
        """One more."""
        self._dates[granted_at] = self._dates.get(granted_at, 0) + 1
        self.count += 1

    def remove(self, granted_at: Instant) -> bool:
        """Takes out one of that date; False if there is none."""
        calls = self._dates.get(granted_at)
        if calls is None:
            return False
        if calls > 1:
            self._dates[granted_at] = calls - 1
        else:
            del self._dates[granted_at]
        self.count -= 1
        return True

    def give_up_oldest(self) -> None:
        """Takes out the one that was granted first, if there is one."""
        if self._dates:
            self.remove(next(iter(self._dates)))

    def oldest(self) -> Instant | None:
        """When the one that was granted first was granted."""
        return next(iter(self._dates), None)

    def newest(self) -> Instant | None:
        """When the one that was granted last was granted."""
        return next(reversed(self._dates), None)

    def clear(self) -> None:
        """Takes all of them out."""
        self._dates.clear()
        self.count = 0

    def dates(self) -> tuple[Instant, ...]:
        """The date of each, for `restore`."""
        return tuple(date for date, calls in self._dates.items() for _ in range(calls))

    def restore(self, dates: Iterable[Instant]) -> None:
        """Goes on from what `dates` answered."""
        self.clear()
        for date in dates:
            self.add(date)
