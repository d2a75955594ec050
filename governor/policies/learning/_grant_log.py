"""What a server has counted when it answers a grant: a log of past grants, and of the answers to them.

Bounds: `MAX_ENTRIES` entries, of which older neighbours merge, and `MAX_ANSWERS` answers, of which the oldest go first. A grant
whose entry is gone counts as if it had been made at the earlier one, and a request whose answer is gone as if it had been
counted last.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Iterable
from itertools import islice, pairwise
from operator import itemgetter
from typing import Final

from governor._units import NEVER, SECOND, Instant
from governor.policies._sliding_log import SlidingLogState
from governor.policies.arrivals import DEFAULT_MARGIN
from governor.policies.contract import Grant
from governor.policies.learning._bounds import Answer, Said
from governor.policies.windows.window import StrictWindowState

#: Grants at different instants that are distinguished.
MAX_ENTRIES: Final = 512
#: Answers whose order is compared with that of later ones.
MAX_ANSWERS: Final = 256
#: A request is taken to arrive within this time after its grant, unless its answer shows more.
MAX_LATE: Final = SECOND

_granted_at: Final = itemgetter(0)
_before: Final = itemgetter(1)


class GrantLog:
    """Grants by instant, and the latest answers in the order in which they were read."""

    __slots__ = ("_entries", "answers", "since")

    def __init__(self) -> None:
        # Per instant: the total before its grants, and the units of its grants whose answers have been read.
        self._entries: deque[list[int]] = deque()
        self.answers: deque[Answer] = deque(maxlen=MAX_ANSWERS)
        #: The first grant that is counted.
        self.since = NEVER

    def note(self, now: Instant, total: int) -> None:
        """Adds an entry for the grants of this instant. A clock that has gone back adds to the latest entry."""
        entries = self._entries
        if entries and entries[-1][0] >= now:
            return
        entries.append([now, total, 0])
        self.since = min(self.since, now)
        if len(entries) > MAX_ENTRIES:
            half = MAX_ENTRIES // 2
            self._entries = deque([*islice(entries, 0, half, 2), *islice(entries, half, None)])

    def before(self, instant: Instant, total: int) -> int:
        """The units granted before an instant, or more; `total` are all."""
        place = bisect_left(self._entries, instant, key=_granted_at)
        return self._entries[place][1] if place < len(self._entries) else total

    def oldest(self, units: int, total: int) -> Instant:
        """When the oldest of the latest `units` of `total` was granted; `NEVER` if it is not known."""
        place = bisect_right(self._entries, total - units, key=_before) - 1
        return Instant(self._entries[place][0]) if place >= 0 else NEVER

    def uses(self, since: Instant, total: int) -> StrictWindowState:
        """The units granted from an instant on, as uses of a window: those whose answers were read have arrived by then."""
        later = islice(self._entries, bisect_left(self._entries, since, key=_granted_at), None)
        moving = {Instant(one[0]): after[1] - one[1] for one, after in pairwise([*later, [NEVER, total, 0]])}
        arrived = Counter[Instant]()
        for answer in self.answers:
            if 0 < answer.units <= moving.get(answer.granted_at, 0):
                moving[answer.granted_at] -= answer.units
                arrived[answer.read_at] += answer.units
        # What was granted before is counted nowhere: what it gives back must not be taken from others.
        first = max(since, self._entries[0][0]) if self._entries else since
        slots = SlidingLogState(tuple(sorted(arrived.items())), Instant(first + DEFAULT_MARGIN - 1))
        return StrictWindowState(slots, tuple((at, units) for at, units in moving.items() if units))

    def in_order(self, grant: Grant, units: int) -> int:
        """What the server has counted with this grant: all that was granted before, as if nothing overtook anything."""
        place = bisect_right(self._entries, grant.granted_at, key=_granted_at) - 1
        if place < 0:
            return units
        entry = self._entries[place]
        if entry[0] == grant.granted_at:
            # Grants of one instant are taken to be sent in the order of their answers: the first one makes it safe.
            entry[2] += units
            units = entry[2]
        return entry[1] + units

    def lowest(self, now: Instant, since: Instant, counted: int, total: int, amount: int, per: int) -> int:
        """The least of `per` for each unit counted and `-amount` for each microsecond, at all instants from `since` to now.

        Of `total` units so far, `counted` are those up to the grant at `since`. Others of the same instant may come last.
        """
        place = bisect_right(self._entries, since, key=_granted_at)
        last = max(0, (self._entries[place][1] if place < len(self._entries) else total) - counted)
        found = min(counted * per - amount * since, (total - last) * per - amount * now)
        for instant, before, _ in islice(self._entries, place, None):
            found = min(found, (before - last) * per - amount * instant)
        return found

    def counted(self, since: Instant, units: int, said: Said, remaining: int, earlier: Instant) -> int:
        """The same with a grant at `since`: what must have arrived before, and what the answers show."""
        begin = Instant(since - MAX_LATE)
        for answer in reversed(self.answers):
            if answer.read_at < begin:
                break  # This one and those before it were granted before, too.
            if answer.granted_at >= begin and (answer.read_at < since or answer.precedes(said, remaining, earlier)):
                units += answer.units
        place = bisect_left(self._entries, begin, key=_granted_at)
        return units + (self._entries[place][1] if place < len(self._entries) else 0)

    def correct(self, since: Instant, change: int) -> list[Answer]:
        """A grant of this instant has used fewer units than it was granted. The answers to grants of the instant."""
        for entry in self._entries:
            if entry[0] > since:
                entry[1] += change
        found = [answer for answer in self.answers if answer.granted_at == since]
        if found:
            place = self.answers.index(found[0])
            self.answers[place] = found[0]._replace(units=max(0, found[0].units + change))
        return found

    def state(self) -> tuple[tuple[Instant, int, int], ...]:
        """The entries, for `restore`."""
        return tuple((Instant(instant), before, answered) for instant, before, answered in self._entries)

    def restore(self, entries: Iterable[tuple[Instant, int, int]]) -> None:
        """Continues from a state that `state` returned. The order of answers begins anew."""
        self._entries = deque([*entry] for entry in entries)
        self.answers.clear()
        self.since = Instant(self._entries[0][0]) if self._entries else NEVER
