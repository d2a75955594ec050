"""Call log: the calls that ended in the last span of time and the failures among them, in bounded memory.

Every call has its own date while the calls in one window have at most `SLOTS` different dates. Above that, calls that end
within 1/4096 of the window share a slot dated by its newest member: they leave the window late by less than that, never early,
and failures and successes leave together.

Most slots are one success, of which only the date is kept: 40 bytes, and one object.

Compiled where there is a compiler; `_call_log.pxd` has the fields.
"""

from collections import deque
from typing import Final

import msgspec

from governor._lazy import NOTHING
from governor._units import Duration, Instant

#: The number of dates in one window up to which the log is exact. It has at most twice as many slots, one more or less.
SLOTS: Final = 4096
#: Calls and failures of most slots.
_ONE_SUCCESS: Final = (1, 0)


class CallLogState(msgspec.Struct, frozen=True):
    """Slots of date, calls and failures, oldest first, and when the newest slot began."""

    slots: tuple[tuple[Instant, int, int], ...]
    began: Instant


class CallLog:
    """Calls and failures that expire together after `window`."""

    __slots__ = ("_began", "_dates", "_grain", "_newest", "_newest_failures", "_others", "calls", "failures", "window")

    def __init__(self, window: Duration) -> None:
        # A plain integer: arithmetic with a subclass is slower.
        self.window = int(window)
        #: Calls and failures in the window at the latest `add` or `forget`.
        self.calls = 0
        self.failures = 0
        self._grain = -(-window // SLOTS)
        #: The dates of the slots, which increase.
        self._dates: deque[Instant] = NOTHING
        #: Calls and failures of the slots, by date: of all but the newest that are not one success.
        self._others: dict[Instant, tuple[int, int]] = {}
        #: Those of the newest one, and when that began.
        self._newest = self._newest_failures = 0
        self._began = Instant(0)

    def add(self, now: Instant, failures: int) -> None:
        """Dates a call at `now`, or at the newest date if the clock has gone back. Drops slots that have left the window.

        `failures` is 1 for one that has failed, else 0.
        """
        dates = self._dates
        if dates and dates[0] <= now - self.window:
            self.forget(now)
        if dates and (now <= dates[-1] or (now < self._began + self._grain and len(dates) >= SLOTS)):
            if now > dates[-1]:
                dates[-1] = now
            self._newest += 1
            self._newest_failures += failures
        else:
            if self._newest > 1 or self._newest_failures:
                self._others[dates[-1]] = (self._newest, self._newest_failures)
            elif dates is NOTHING:
                self._dates = dates = deque()
            dates.append(now)
            self._began = now
            self._newest = 1
            self._newest_failures = failures
        self.calls += 1
        self.failures += failures

    def forget(self, now: Instant) -> None:
        """Drops slots that have left the window that ends at `now`."""
        dates, gone = self._dates, now - self.window
        while dates and dates[0] <= gone:
            calls, failures = self._others.pop(dates.popleft(), _ONE_SUCCESS)
            if not dates:
                calls, failures = self._newest, self._newest_failures
                self._newest = self._newest_failures = 0
            self.calls -= calls
            self.failures -= failures

    def without_failures_at(self, now: Instant) -> Instant:
        """From when on, at the earliest `now`, no failure is inside the window, if no call is added. Changes nothing."""
        if self._newest_failures:
            newest = self._dates[-1]
        elif self.failures:
            newest = next(dated for dated, (_, failures) in reversed(self._others.items()) if failures)
        else:
            return now
        return max(now, Instant(newest + self.window))

    def clear(self) -> None:
        """Drops all slots."""
        self._dates = NOTHING
        self._others.clear()
        self.calls = self.failures = self._newest = self._newest_failures = 0

    def state(self) -> CallLogState:
        """The slots as a frozen record, for `restore`."""
        slots = [(dated, *self._others.get(dated, _ONE_SUCCESS)) for dated in self._dates]
        if slots:
            slots[-1] = (slots[-1][0], self._newest, self._newest_failures)
        return CallLogState(tuple(slots), self._began)

    def restore(self, state: CallLogState) -> None:
        """Continues from a state that `state` returned."""
        self.clear()
        if state.slots:
            self._dates = deque(dated for dated, _, _ in state.slots)
            self._others = {dated: (calls, failures) for dated, calls, failures in state.slots[:-1] if calls > 1 or failures}
            _, self._newest, self._newest_failures = state.slots[-1]
        self.calls = sum(calls for _, calls, _ in state.slots)
        self.failures = sum(failures for _, _, failures in state.slots)
        self._began = state.began
