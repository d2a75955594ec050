"""Token buckets for very many clients, kept as GCRA: one integer for each client that has spent something.

A client whose bucket is full again needs no entry. The entries lie in many small tables, so that neither growing nor sweeping
one of them takes long.

At its bound a table drops the entries with the fullest buckets. It remembers the most that any of those clients had spent, and
in a Bloom filter who they were. A client in the filter counts as having spent that much. A client that is in neither is new; it
counts as having spent as much, but less than half of a burst. So a client gains nothing by being dropped, and a flood of new
names cannot lock new clients out.

A filter that is full is emptied once every client in it could be granted a request: a client at its limit is never forgotten.
"""

from math import gcd
from typing import Final

from governor._units import NEVER, Instant
from governor.errors import Reason
from governor.policies import _checks
from governor.policies._bloom import BloomFilter, room
from governor.policies.gcra import TokenBucket

#: Of a table at its bound, at least one entry in so many is dropped at a time: each time costs a walk through the whole table.
_DROPPED: Final = 8


class ClientBuckets:
    """The machine. Keys are bytes that are spread evenly, such as digests; at most `most` of them have entries.

    `most` is at least 1, and rounded up to as many as fill all tables evenly.

    Laws. In every window of length w, each key is admitted at most burst + rate * w times, and at most burst // 2 times more
    for each time that the filter is emptied with the key in it. A key that is at its limit is in the table or in the filter. A
    key that never came before finds burst - (burst - 1) // 2 tokens at least, unless the filter takes it for a member.
    """

    #: Into so many tables the callers are parted, by the last byte of their keys; so many calls of `sweep` go once round.
    TABLES: Final = 256

    __slots__ = (
        "_dropped",
        "_floors",
        "_most_assumed",
        "_next",
        "_per_table",
        "_step",
        "_tables",
        "_ticks",
        "_tolerance",
        "most",
        "parameters",
    )

    reason = Reason.RATE_LIMIT

    def __init__(self, parameters: TokenBucket, most: int) -> None:
        _checks.whole("most", most)
        self.parameters = parameters
        self.most = most
        divisor = gcd(parameters.amount, parameters.per)
        self._ticks = parameters.amount // divisor
        self._step = parameters.per // divisor
        self._tolerance = parameters.burst * self._step
        #: What a new client counts as having spent, at most: with the next token, too, it stays below its limit.
        self._most_assumed = (parameters.burst - 1) // 2 * self._step
        self._per_table = -(-most // self.TABLES)
        # The theoretical arrival time of each client, in ticks, and the latest of any that was dropped.
        self._tables: list[dict[bytes, int]] = [{} for _ in range(self.TABLES)]
        self._floors = [0] * self.TABLES
        #: The clients that were dropped; None while none of them has anything to get back.
        self._dropped: list[BloomFilter | None] = [None] * self.TABLES
        self._next = 0

    def __len__(self) -> int:
        return sum(map(len, self._tables))

    def earliest(self, now: Instant, key: bytes, cost: int = 1) -> Instant:
        """When could this caller be admitted, for so many tokens? At most `now` means now, `NEVER` more than the burst."""
        if cost > self.parameters.burst:
            return NEVER
        place = key[-1]
        full = now * self._ticks
        tat = self._tables[place].get(key)
        if tat is None:
            tat = self._assumed(place, key, full)
        due = (tat if tat > full else full) + cost * self._step - self._tolerance
        return now if due <= full else Instant(-(-due // self._ticks))

    def commit(self, now: Instant, key: bytes, cost: int = 1) -> None:
        """The caller was admitted: spend the tokens. Only after `earliest` said now."""
        place = key[-1]
        full = now * self._ticks
        table = self._tables[place]
        tat = table.get(key)
        if tat is None:
            tat = self._assumed(place, key, full)
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
        tat = self._tables[place].get(key)
        if tat is None:
            tat = self._assumed(place, key, full)
        return max(0, (self._tolerance + full - max(full, tat)) // self._step)

    def sweep(self, now: Instant) -> int:
        """Drops, from one table in turn, those whose buckets are full again; returns how many there were."""
        place = self._next
        self._next = (place + 1) % self.TABLES
        before = len(self._tables[place])
        full = now * self._ticks
        if before:
            self._keep_beyond(place, full)
        self._forget(place, full)
        return before - len(self._tables[place])

    def changed(self, now: Instant, parameters: TokenBucket, most: int) -> "ClientBuckets":
        """The same callers under other parameters: of its burst, each has as large a part left as before, and never more."""
        if parameters == self.parameters and most == self.most:
            return self
        other = ClientBuckets(parameters, most)
        full, other_full = now * self._ticks, now * other._ticks
        # What a bucket lacks grows by this factor. It is a negative number, so that dividing rounds it up: nobody gains.
        times, divisor = other._tolerance, self._tolerance
        for place, (table, floor) in enumerate(zip(self._tables, self._floors, strict=True)):
            after = {key: other_full - (full - tat) * times // divisor for key, tat in table.items() if tat > full}
            other._tables[place] = after
            other._floors[place] = other_full - min(0, full - floor) * times // divisor
            other._dropped[place] = self._dropped[place]
            if len(after) > other._per_table:
                other._make_room(place, other_full)
        return other

    def _assumed(self, place: int, key: bytes, full: int) -> int:
        """The theoretical arrival time of a client without an entry."""
        floor = self._floors[place]
        if floor <= full:
            return full
        dropped = self._dropped[place]
        return floor if dropped is not None and key in dropped else min(floor, full + self._most_assumed)

    def _keep_beyond(self, place: int, tat: int) -> None:
        self._tables[place] = {key: theirs for key, theirs in self._tables[place].items() if theirs > tat}

    def _make_room(self, place: int, full: int) -> None:
        """Drops those whose buckets are full again, and as many of the others as it takes, the fullest buckets first."""
        self._forget(place, full)
        table = self._tables[place]
        tats = sorted(table.values())
        floor = tats[len(tats) - self._per_table + self._per_table // _DROPPED]
        self._keep_beyond(place, max(floor, full))
        if floor > full:
            dropped = self._dropped[place]
            if dropped is None:
                dropped = self._dropped[place] = BloomFilter(room(self._per_table))
            for key, theirs in table.items():
                if full < theirs <= floor:
                    dropped.add(key)
            self._floors[place] = max(self._floors[place], floor)

    def _forget(self, place: int, full: int) -> None:
        """Empties the filter when all in it have full buckets, or when it is full and none in it is at the limit."""
        dropped = self._dropped[place]
        if dropped is not None:
            lacks = self._floors[place] - full
            if lacks <= 0 or (dropped.count >= dropped.capacity and lacks <= self._tolerance - self._step):
                self._dropped[place] = None
