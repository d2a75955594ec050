"""Who of very many callers may go on? A token bucket for each, kept as GCRA: one integer for each who has spent something.

A caller whose bucket is full again needs no entry. The entries lie in many small tables, so that neither growing nor sweeping
one of them takes long.

At its bound a table drops the entries of those who have spent least, and remembers the most that any of them had spent: who is
not in the table counts as having spent that much. Nobody gets a fuller bucket by being dropped; who is new may get a less full
one.
"""

from math import gcd
from typing import Final

from governor._units import Instant
from governor.errors import Reason
from governor.policies import _checks
from governor.policies.gcra import TokenBucket

#: Of a table at its bound, one entry in so many is dropped at a time.
_DROPPED: Final = 8


class CallersPolicy:
    """The machine. Keys are bytes that are spread evenly, such as digests; at most `most` (at least 1) have entries.

    Law: in every window of length w, each key is admitted at most burst + rate * w times.
    """

    #: Into so many tables the callers are parted, by the last byte of their keys; so many calls of `sweep` go once round.
    TABLES: Final = 256

    __slots__ = ("_floors", "_most", "_next", "_step", "_tables", "_ticks", "_tolerance", "parameters")

    reason = Reason.RATE_LIMIT

    def __init__(self, parameters: TokenBucket, most: int) -> None:
        _checks.whole("most", most)
        self.parameters = parameters
        divisor = gcd(parameters.amount, parameters.per)
        self._ticks = parameters.amount // divisor
        self._step = parameters.per // divisor
        self._tolerance = parameters.burst * self._step
        self._most = -(-most // self.TABLES)
        # The theoretical arrival time of each caller, in ticks, and that of everybody who is not there.
        self._tables: list[dict[bytes, int]] = [{} for _ in range(self.TABLES)]
        self._floors = [0] * self.TABLES
        self._next = 0

    def __len__(self) -> int:
        return sum(map(len, self._tables))

    def earliest(self, now: Instant, key: bytes) -> Instant:
        """When could this caller be admitted? At most `now` means now. Changes nothing."""
        place = key[-1]
        full = now * self._ticks
        tat = self._tables[place].get(key, self._floors[place])
        due = (tat if tat > full else full) + self._step - self._tolerance
        return now if due <= full else Instant(-(-due // self._ticks))

    def commit(self, now: Instant, key: bytes) -> None:
        """The caller was admitted: spend a token. Only after `earliest` said now."""
        place = key[-1]
        full = now * self._ticks
        table = self._tables[place]
        tat = table.get(key)
        if tat is None:
            tat = self._floors[place]
            if len(table) >= self._most:
                self._make_room(place, full)
                table = self._tables[place]
        table[key] = (tat if tat > full else full) + self._step

    def available(self, now: Instant, key: bytes) -> int:
        """How many requests of this caller could be admitted at `now`."""
        place = key[-1]
        full = now * self._ticks
        tat = max(full, self._tables[place].get(key, self._floors[place]))
        return max(0, (self._tolerance + full - tat) // self._step)

    def sweep(self, now: Instant) -> int:
        """Drops, from one table in turn, those whose buckets are full again; returns how many there were."""
        place = self._next
        self._next = (place + 1) % self.TABLES
        before = len(self._tables[place])
        if before:
            self._drop(place, now * self._ticks)
        return before - len(self._tables[place])

    def changed(self, now: Instant, parameters: TokenBucket, most: int) -> "CallersPolicy":
        """The same callers under other parameters: of its burst, each has as large a part left as before."""
        other = CallersPolicy(parameters, most)
        full, fulls = now * self._ticks, now * other._ticks
        for place, table in enumerate(self._tables):
            other._tables[place] = {
                key: fulls + (tat - full) * other._tolerance // self._tolerance for key, tat in table.items() if tat > full
            }
            floor = self._floors[place]
            other._floors[place] = fulls + (floor - full) * other._tolerance // self._tolerance if floor > full else 0
        return other

    def _drop(self, place: int, tat: int) -> None:
        table = self._tables[place]
        self._tables[place] = {key: theirs for key, theirs in table.items() if theirs > tat}

    def _make_room(self, place: int, full: int) -> None:
        self._drop(place, full)
        table = self._tables[place]
        if len(table) >= self._most:
            floor = sorted(table.values())[len(table) // _DROPPED]
            self._floors[place] = max(self._floors[place], floor)
            self._drop(place, floor)
