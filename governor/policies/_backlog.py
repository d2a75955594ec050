"""What a bucket lacked just before each grant, so that what a call did not use is put back to the last token.

Had a grant cost less, the bucket would have held as much more ever since, except that a full bucket gains nothing: at each
later grant no more than the bucket lacked then. So the least of what it lacked since the grant is what can be put back. The
bucket lacked as much less at all these grants then.

Bounds: `MAX_ENTRIES` entries, in each of which more was lacking than in the one before it. Neighbours that differ by little
merge into one with the least, so that less is put back. Of a grant before the first entry nothing is known.
"""

from bisect import bisect_right
from operator import itemgetter
from typing import Final

import msgspec

from governor._units import NEVER, Instant

#: Grants at different instants that are distinguished, twice as many as parts of the burst.
MAX_ENTRIES: Final = 256

_instant: Final = itemgetter(0)


class BacklogState(msgspec.Struct, frozen=True):
    """What was lacking by instant, and the first instant that was noted."""

    entries: tuple[tuple[Instant, int], ...]
    since: Instant


class Backlog:
    """What was lacking, by the instant of the grant, in any unit."""

    __slots__ = ("_entries", "since")

    def __init__(self) -> None:
        self._entries: list[list[int]] = []
        #: The first instant that is noted.
        self.since: int = NEVER

    def note(self, now: Instant, lacking: int) -> None:
        """So much was lacking before a grant. Of several at one instant the first had the least."""
        entries = self._entries
        if not entries:
            self.since = min(self.since, now)
        elif entries[-1][0] >= now:
            return
        lacking = max(0, lacking)
        while entries and entries[-1][1] >= lacking:
            entries.pop()  # Whatever it would allow to put back, this one does not, and it falls with it.
        entries.append([now, lacking])
        if len(entries) > MAX_ENTRIES:
            self._merge()

    def _merge(self) -> None:
        """Makes one entry of neighbours that differ by little: it holds for grants before the latest of their instants."""
        little = (self._entries[-1][1] - self._entries[0][1]) // (MAX_ENTRIES // 2)
        kept: list[list[int]] = []
        for entry in self._entries:
            if kept and entry[1] - kept[-1][1] <= little:
                kept[-1][0] = entry[0]
            else:
                kept.append(entry)
        self._entries = kept

    def put_back(self, granted_at: Instant, unused: int) -> int:
        """How much of what a grant did not use the bucket holds more now: at most `unused`. To be called once for each part."""
        entries = self._entries
        place = bisect_right(entries, granted_at, key=_instant)
        if place == len(entries):
            return unused
        # The first of the later entries has the least of them.
        least = entries[place]
        back = min(unused, least[1])
        for entry in entries[place:]:
            entry[1] -= back
        implied = place
        while implied and entries[implied - 1][1] >= least[1]:
            implied -= 1
        del entries[implied:place]
        return back

    def state(self) -> BacklogState | None:
        """The entries as a frozen record, for `restore`; None if there has been none."""
        if self.since == NEVER:
            return None
        return BacklogState(tuple((Instant(now), lacking) for now, lacking in self._entries), Instant(self.since))

    def restore(self, state: BacklogState | None) -> None:
        """Continues from a state that `state` returned."""
        self._entries = [] if state is None else [[now, lacking] for now, lacking in state.entries]
        self.since = NEVER if state is None else state.since
