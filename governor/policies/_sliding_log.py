"""Sliding log: the number of units used in the last span of time, exactly and in bounded memory.

A log of (instant, count). If the units that fit into one window number at most `SLOTS`, every use has an entry of its own.
Otherwise, uses close in time share a slot dated by its newest member: a slot leaves the window late by at most 1/4096 of it,
and never early.

Compiled where there is a compiler; `_sliding_log.pxd` has the fields.
"""

from collections import deque
from typing import Final

import msgspec

from governor._lazy import NOTHING, part, plain
from governor._units import Instant

#: The most entries, one more or less.
SLOTS: Final = 4096


class SlidingLogState(msgspec.Struct, frozen=True):
    """The dated counts, oldest first, and the date of the newest dropped ones."""

    slots: tuple[tuple[Instant, int], ...]
    forgotten: Instant


class SlidingLog:
    """Dated counts that expire after `window`."""

    __slots__ = ("_closed", "_forgotten", "_grain", "more", "newest_at", "slot_ends", "total", "window")

    def __init__(self, window: int, most: int) -> None:
        self.window = plain(window)
        #: Units in the log, including those that have left the window since the last `add`.
        self.total = 0
        self._grain = 1 if most <= SLOTS else part(window, SLOTS)
        #: The slots, where the newest one is as it was at the latest look.
        self._closed: deque[list[int]] = NOTHING
        #: The date of the newest slot, and the units that it has more since then.
        self.newest_at = -1
        self.more = 0
        #: The instant from which on `add` begins another slot.
        self.slot_ends = 0
        self._forgotten = -1

    @property
    def _slots(self) -> deque[list[int]]:
        """The slots as they are now."""
        slots = self._closed
        if self.more:
            newest = slots[-1]
            newest[0] = self.newest_at
            newest[1] += self.more
            self.more = 0
        return slots

    def add(self, now: Instant, count: int) -> None:
        """Dates `count` units (at least 1) at `now`, and drops slots that have left the window."""
        if now < self.slot_ends:
            self.more += count
            if now > self.newest_at:
                self.newest_at = now
        else:
            slots = self._closed
            if self.more:
                slots = self._slots
            elif slots is NOTHING:
                self._closed = slots = deque()
            slots.append([now, count])
            self.newest_at = now
            self.slot_ends = now + self._grain
            # As `forget`, written out: in a full window each use makes another one leave.
            gone = now - self.window
            while slots[0][0] <= gone:
                dated, left = slots.popleft()
                self._forgotten = dated
                self.total -= left
        self.total += count

    def remove(self, dated: Instant, count: int) -> None:
        """Removes units that were added at `dated` or later, as far as they are still in the log."""
        slots = self._slots
        place = len(slots)
        while place and slots[place - 1][0] >= dated:
            place -= 1
        # The oldest ones, so that units in the log are never older than the uses that they stand for.
        while place < len(slots) and not slots[place][1]:
            place += 1
        if place == len(slots) or dated <= self._forgotten:
            return
        taken = min(count, slots[place][1])
        slots[place][1] -= taken
        self.total -= taken
        self._drop_empty(place)

    def _drop_empty(self, place: int) -> None:
        """Drops a slot without units. The newest slot is open: it stays until the next one is empty too."""
        slots = self._slots
        if slots[place][1]:
            return
        if place < len(slots) - 1:
            del slots[place]
        elif place and not slots[place - 1][1]:
            del slots[place - 1]

    def forget(self, now: Instant) -> None:
        """Drops slots that have left the window; afterwards `total` is exact."""
        slots = self._slots
        gone = now - self.window
        while slots and slots[0][0] <= gone:
            dated, count = slots.popleft()
            self._forgotten = dated
            self.total -= count
        if not slots:
            # The open slot is gone as well: if the clock goes back, nothing may be added to it.
            self.slot_ends = 0

    def used(self, now: Instant) -> int:
        """Units inside the window that ends at `now`. Takes time for each slot that has left it."""
        gone = now - self.window
        stale = 0
        for dated, count in self._slots:
            if dated > gone:
                break
            stale += count
        return self.total - stale

    def first(self, now: Instant) -> Instant:
        """The date of the oldest slot inside the window that ends at `now`; `now` if there is none."""
        gone = now - self.window
        for dated, _ in self._slots:
            if dated > gone:
                return Instant(dated)
        return now

    def since(self, instant: Instant) -> list[tuple[Instant, int]]:
        """The units dated at an instant and later, in order."""
        found = []
        for dated, count in reversed(self._slots):
            if dated < instant:
                break
            found.append((Instant(dated), count))
        return found[::-1]

    def copy(self) -> "SlidingLog":
        """A copy that shares slots with this log, and is valid until this log changes."""
        copy = SlidingLog(self.window, 1)
        copy.total, copy._grain = self.total, self._grain
        copy.slot_ends, copy._forgotten = self.slot_ends, self._forgotten
        slots = self._slots
        if slots:
            copy._closed = slots.copy()
            # The only slot that later grants can change.
            copy._closed[-1] = slots[-1].copy()
            copy.newest_at = self.newest_at
        return copy

    @property
    def late(self) -> int:
        """The most time by which units leave late."""
        return self._grain if self._grain > 1 else 0

    def never_fills(self, start: Instant, most: int, base: int, amount: int, per: int) -> bool:
        """Whether no window holds more than `most` units if others add at most this much.

        They add `base` units, and `amount` for each `per`, within a span that begins at `start` or later.
        """
        lasts = self.window + self.late
        room = (most - base) * per
        if lasts * amount > room:
            return False
        # As if all units were dated at `start`; each slot that leaves makes room from then on.
        room -= self.total * per
        since = start - lasts
        for dated, units in self._slots:
            if (dated - since) * amount > room:
                return False
            room += units * per
        return True

    def emptied(self) -> Instant:
        """The instant at which all units have left the window."""
        return Instant(self._slots[-1][0] + self.window) if self._slots else Instant(0)

    def freed(self, count: int) -> Instant:
        """The instant at which the oldest `count` units have left the window. At least that many must be in the log."""
        for dated, units in self._slots:
            count -= units
            if count <= 0:
                return Instant(dated + self.window)
        raise AssertionError("freed() asked for more units than the log holds")

    def state(self) -> SlidingLogState:
        """The slots as a frozen record, for `restore`."""
        return SlidingLogState(tuple((Instant(dated), count) for dated, count in self._slots), Instant(self._forgotten))

    def restore(self, state: SlidingLogState) -> None:
        """Continues from a state that `state` returned."""
        self._closed = slots = deque([dated, count] for dated, count in state.slots) if state.slots else NOTHING
        self.more = 0
        self.total = sum(count for _, count in state.slots)
        self._forgotten = state.forgotten
        self.slot_ends = 0
        if slots:
            self.newest_at = slots[-1][0]
            self.slot_ends = self.newest_at + 1
