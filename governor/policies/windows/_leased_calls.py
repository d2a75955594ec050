"""Calls with permits that were granted ahead, from when their use is dated until their outcome is known.

Permits that were leased at one instant are alike, and used at different ones. An outcome tells that one of them has arrived,
but not which date is its own. So it takes the earliest of those dates: whatever is left is dated no earlier than the calls that
are left. Of calls whose margin has ended before, outcomes are still to come: each of these is assumed to come first.

Bound: `MAX_BATCHES` instants of leasing, of which the oldest are forgotten: their calls count until their margin has ended.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

MAX_BATCHES: Final = 4096

#: When it was leased, the units whose margin has ended, and dates with units.
LeasedBatchState = tuple[int, int, tuple[tuple[int, int], ...]]


class _Batch:
    __slots__ = ("dates", "overdue")

    def __init__(self, overdue: int = 0, dates: Iterable[tuple[int, int]] = ()) -> None:
        self.dates: deque[tuple[int, int]] = deque(dates)
        self.overdue = overdue


class LeasedCalls:
    """The calls by the instant at which their permits were leased. Their units are among those on the way, by date."""

    __slots__ = ("_batches",)

    def __init__(self) -> None:
        self._batches: dict[int, _Batch] = {}

    def follow(self, filled_at: int, dated: int, units: int) -> None:
        """So many units that were leased then are on the way since `dated`, which is no earlier than all before."""
        batch = self._batches.get(filled_at)
        if batch is None:
            if len(self._batches) >= MAX_BATCHES:
                del self._batches[next(iter(self._batches))]
            self._batches[filled_at] = batch = _Batch()
        batch.dates.append((dated, units))

    def follows(self, filled_at: int) -> bool:
        """Whether an outcome of a call is still to come whose permit was leased then."""
        return filled_at in self._batches

    def take(self, filled_at: int, count: int, on_the_way: dict[int, int]) -> int:
        """Removes so many units of these calls from those on the way. Returns how many: fewer if a margin has ended."""
        batch = self._batches.get(filled_at)
        if batch is None:
            return 0
        dates = batch.dates
        while dates and dates[0][0] not in on_the_way:
            batch.overdue += dates.popleft()[1]
        late = min(count, batch.overdue)
        batch.overdue -= late
        left = count - late
        taken = 0
        while left and dates:
            dated, units = dates.popleft()
            part = min(units, left)
            left -= part
            if part < units:
                dates.appendleft((dated, units - part))
            # Fewer only where calls of the same date were merged with others.
            moving = on_the_way.get(dated, 0)
            landed = min(part, moving)
            taken += landed
            if landed < moving:
                on_the_way[dated] = moving - landed
            else:
                on_the_way.pop(dated, None)
        if not dates and not batch.overdue:
            del self._batches[filled_at]
        return taken

    def clear(self) -> None:
        """No outcome is to come."""
        self._batches.clear()

    def state(self) -> tuple[LeasedBatchState, ...]:
        """The calls, for `restore`."""
        return tuple((filled_at, batch.overdue, tuple(batch.dates)) for filled_at, batch in self._batches.items())

    def restore(self, state: Iterable[LeasedBatchState]) -> None:
        """Continues from what `state` returned."""
        self._batches = {filled_at: _Batch(overdue, dates) for filled_at, overdue, dates in state}
