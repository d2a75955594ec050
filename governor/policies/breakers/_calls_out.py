"""Calls of a breaker without an answer, by the instant of their grant: its probes, and its calls during a ramp."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import msgspec

from governor._lazy import always
from governor._units import Instant

#: Until there is a call: never added to.
_NO_DATES: Final[OrderedDict[Instant, int]] = OrderedDict()


class CallsOut(msgspec.Struct, eq=False, gc=False):
    """A multiset of grant dates in the order of the grants. Calls of the same date are interchangeable."""

    count: int = 0
    # A dict would take time for each key that was removed before its first one.
    _dates: OrderedDict[Instant, int] = msgspec.field(default_factory=always(_NO_DATES))

    def add(self, granted_at: Instant) -> None:
        """Adds a call."""
        if self._dates is _NO_DATES:
            self._dates = OrderedDict()
        self._dates[granted_at] = self._dates.get(granted_at, 0) + 1
        self.count += 1

    def remove(self, granted_at: Instant) -> bool:
        """Removes a call of that date; False if there is none."""
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
        """Removes the call that was granted first, if any."""
        if self._dates:
            self.remove(next(iter(self._dates)))

    def oldest(self) -> Instant | None:
        """The earliest grant."""
        return next(iter(self._dates), None)

    def newest(self) -> Instant | None:
        """The latest grant."""
        return next(reversed(self._dates), None)

    def clear(self) -> None:
        """Takes all of them out."""
        self._dates = _NO_DATES
        self.count = 0

    def dates(self) -> tuple[Instant, ...]:
        """The date of each, for `restore`."""
        return tuple(date for date, calls in self._dates.items() for _ in range(calls))

    def restore(self, dates: Iterable[Instant]) -> None:
        """Goes on from what `dates` answered."""
        self.clear()
        for date in dates:
            self.add(date)
