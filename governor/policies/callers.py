"""Who of very many callers may go on? A token bucket for each, kept as GCRA: one integer for each who has spent something.

A caller whose bucket is full again needs no entry. The entries lie in many small tables, so that neither growing nor sweeping
one of them takes long.

At its bound a table drops the entries with the fullest buckets, and remembers the most that any of those callers had spent: who
is not in the table counts as having spent that much. Nobody gets a fuller bucket by being dropped; who is new may get a less
full one.
"""

from math import gcd
from typing import Final

from governor._units import NEVER, Instant
from governor.errors import Reason
from governor.policies import _checks
from governor.policies.gcra import TokenBucket

#: Of a table at its bound, at least one entry in so many is dropped at a time: each time costs a walk through the whole table.
_DROPPED: Final = 8


class CallersPolicy:
    """The machine. Keys are bytes that are spread evenly, such as digests; at most `most` of them have entries.

    `most` is at least 1, and rounded up to as many as fill all tables evenly.

    Law: in every window of length w, each key is admitted at most burst + rate * w times.
    """

    #: Into so many tables the callers are parted, by the last byte of their keys; so many calls of `sweep` go once round.
    TABLES: Final = 256

    __slots__ = ("_floors", "_next", "_per_table", "_step", "_tables", "_ticks", "_tolerance", "most", "parameters")

    reason = Reason.RATE_LIMIT

    def __init__(self, parameters: TokenBucket, most: int) -> None:
        _checks.whole("most", most)
        self.parameters = parameters
        self.most = most
        divisor = gcd(parameters.amount, parameters.per)
        self._ticks = parameters.amount // divisor
        self._step = parameters.per // divisor
        self._tolerance = parameters.burst * self._step
        self._per_table = -(-most // self.TABLES)
        # The theoretical arrival time of each caller, in ticks, and that of everybody who is not there.
        self._tables: list[dict[bytes, int]] = [{} for _ in range(self.TABLES)]
        self._floors = [0] * self.TABLES
        self._next = 0

    def __len__(self) -> int:
        return sum(map(len, self._tables))

    def earliest(self, now: Instant, key: bytes, cost: int = 1) -> Instant:
        """When could this caller be admitted, for so many tokens? At most `now` means now, `NEVER` more than the burst."""
        if cost > self.parameters.burst:
            return NEVER
        place = key[-1]
        full = now * self._ticks
        tat = self._tables[place].get(key, self._floors[place])
        due = (tat if tat > full else full) + cost * self._step - self._tolerance
        return now if due <= full else Instant(-(-due // self._ticks))

    def commit(self, now: Instant, key: bytes, cost: int = 1) -> None:
        """The caller was admitted: spend the tokens. Only after `earliest` said now."""
        place = key[-1]
        full = now * self._ticks
        table = self._tables[place]
        tat = table.get(key)
        if tat is None:
            tat = self._floors[place]
            if len(table) >= self._per_table:
                self._make_room(place, full)
                table = self._tables[place]
        table[key] = (tat if tat > full else full) + cost * self._step

    def release(self, key: bytes, cost: int = 1) -> None:
        """Nothing: a token comes back with time, whenever the request ends."""

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
        """The same callers under other parameters: of its burst, each has as large a part left as before, and never more."""
        if parameters == self.parameters and most == self.most:
            return self
        other = CallersPolicy(parameters, most)
        full, other_full = now * self._ticks, now * other._ticks
        # What a bucket lacks grows by this factor. It is a negative number, so that dividing rounds it up: nobody gains.
        times, divisor = other._tolerance, self._tolerance
        for place, (table, floor) in enumerate(zip(self._tables, self._floors, strict=True)):
            after = {key: other_full - (full - tat) * times // divisor for key, tat in table.items() if tat > full}
            other._tables[place] = after
            other._floors[place] = other_full - min(0, full - floor) * times // divisor
            if len(after) > other._per_table:
                other._make_room(place, other_full)
        return other

    def _drop(self, place: int, tat: int) -> None:
        table = self._tables[place]
        self._tables[place] = {key: theirs for key, theirs in table.items() if theirs > tat}

    def _make_room(self, place: int, full: int) -> None:
        tats = sorted(self._tables[place].values())
        floor = tats[len(tats) - self._per_table + self._per_table // _DROPPED]
        self._floors[place] = max(self._floors[place], floor)
        self._drop(place, max(floor, full))
