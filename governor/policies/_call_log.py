"""Call log: the calls that ended in the last span of time and the failures among them, in bounded memory.

Every call has its own date while the calls in one window have at most `SLOTS` different dates. Above that, calls that end
within 1/4096 of the window share a slot dated by its newest member: they leave the window late by less than that, never early,
and failures and successes leave together.
"""

from collections import deque
from typing import Final

import msgspec

from governor._lazy import NOTHING
from governor._units import Duration, Instant

#: The number of dates in one window up to which the log is exact. It has at most twice as many slots, one more or less.
SLOTS: Final = 4096


class CallLogState(msgspec.Struct, frozen=True):
    """Slots of date, calls and failures, oldest first, and when the newest slot began."""

    slots: tuple[tuple[Instant, int, int], ...]
    began: Instant


class CallLog:
    """Calls and failures that expire together after `window`."""

    __slots__ = ("_began", "_grain", "_slots", "calls", "failures", "window")

    def __init__(self, window: Duration) -> None:
        # A plain integer: arithmetic with a subclass is slower.
        self.window = int(window)
        #: Calls and failures in the window at the latest `add` or `forget`.
        self.calls = 0
        self.failures = 0
        self._grain = -(-window // SLOTS)
        self._slots: deque[list[int]] = NOTHING
        self._began = Instant(0)

    def add(self, now: Instant, *, failed: bool) -> None:
        """Dates a call at `now`, or at the newest date if the clock has gone back. Drops slots that have left the window."""
        self.forget(now)
        slots = self._slots
        full = len(slots) >= SLOTS and now < self._began + self._grain
        if slots and (full or now <= slots[-1][0]):
            slot = slots[-1]
            slot[0] = max(slot[0], now)
        else:
            slot = [now, 0, 0]
            if slots is NOTHING:
                self._slots = slots = deque()
            slots.append(slot)
            self._began = now
        slot[1] += 1
        slot[2] += failed
        self.calls += 1
        self.failures += failed

    def forget(self, now: Instant) -> None:
        """Drops slots that have left the window that ends at `now`."""
        slots = self._slots
        gone = now - self.window
        while slots and slots[0][0] <= gone:
            _, calls, failures = slots.popleft()
            self.calls -= calls
            self.failures -= failures

    def without_failures_at(self, now: Instant) -> Instant:
        """From when on, at the earliest `now`, no failure is inside the window, if no call is added. Changes nothing."""
        newest = next((dated for dated, _, failures in reversed(self._slots) if failures), None)
        return now if newest is None else max(now, Instant(newest + self.window))

    def clear(self) -> None:
        """Drops all slots."""
        self._slots = NOTHING
        self.calls = self.failures = 0

    def state(self) -> CallLogState:
        """The slots as a frozen record, for `restore`."""
        return CallLogState(tuple((Instant(dated), calls, failures) for dated, calls, failures in self._slots), self._began)

    def restore(self, state: CallLogState) -> None:
        """Continues from a state that `state` returned."""
        self._slots = deque([*slot] for slot in state.slots) if state.slots else NOTHING
        self.calls = sum(calls for _, calls, _ in state.slots)
        self.failures = sum(failures for _, _, failures in state.slots)
        self._began = state.began
