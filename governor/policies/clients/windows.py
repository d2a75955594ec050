"""Strict windows, counted for each client: the dates of its latest requests.

A limit of at most `SLOTS` requests has one date for each of them and is exact. Under a larger limit, requests that are close in
time share a slot, dated by its newest request: never too many are granted, and a request may be granted late by a 64th of the
window.

At its bound a table drops the clients that have used the least of their windows, and remembers them as `client_buckets` does. A
client that was dropped counts as having used as much as any of those, at the latest of their dates; a new client counts as
having used that much or just under half of the amount, whichever is less.
"""

from collections.abc import Sequence
from typing import Final, Self

from governor._units import NEVER, Duration, Instant
from governor.errors import Reason
from governor.policies import _checks
from governor.policies.clients._bloom import BloomFilter, room
from governor.policies.clients._slices import SliceWalk
from governor.policies.windows.parameters import StrictWindow

#: Dates that are kept for one client.
SLOTS: Final = 64
#: A table at its bound drops one entry in this many at a time, since each time costs a walk through the whole table.
_DROPPED: Final = 8

#: The requests of one client, the oldest first: a date, a count, a date, a count, and so on.
_Uses = list[int]
#: A table without clients: never added to.
_NO_CLIENTS: Final[dict[bytes, _Uses]] = {}


class ClientWindows:
    """The table. At most `max_clients` clients, rounded up to a multiple of the number of tables, have entries.

    Laws. In every window of length `per`, each key is granted at most `amount` requests, and at most half of it more for each
    time that the filter is emptied with the key in it. A key at its limit is in the table or in the filter. A new key finds
    more than half of the amount, unless the filter takes it for a member.
    """

    TABLES: Final = 256

    __slots__ = ("_dropped", "_floors", "_grain", "_per_table", "_tables", "_walk", "max_clients", "parameters")

    reason = Reason.RATE_LIMIT
    needs_release = False

    def __init__(self, parameters: StrictWindow, max_clients: int) -> None:
        _checks.whole("max_clients", max_clients)
        self.parameters = parameters
        self.max_clients = max_clients
        self._grain = 1 if parameters.amount <= SLOTS else -(-parameters.per // SLOTS)
        self._per_table = -(-max_clients // self.TABLES)
        self._tables: list[dict[bytes, _Uses]] = [_NO_CLIENTS] * self.TABLES
        #: The most that any dropped client had used, and the dropped clients.
        self._floors: list[Sequence[int]] = [()] * self.TABLES
        self._dropped: list[BloomFilter | None] = [None] * self.TABLES
        self._walk = SliceWalk()

    @property
    def refill(self) -> Duration:
        """The length of the window, in microseconds."""
        return self.parameters.per

    def __len__(self) -> int:
        return sum(map(len, self._tables))

    def earliest(self, now: Instant, key: bytes, cost: int = 1) -> Instant:
        """When enough requests of this client will have left the window. At most `now` means now. Changes nothing."""
        amount = self.parameters.amount
        if cost > amount:
            return NEVER
        place = key[-1]
        uses = self._tables[place].get(key) or self._assumed(place, key)
        gone = now - self.parameters.per
        needed = cost - amount + sum(uses[at + 1] for at in range(0, len(uses), 2) if uses[at] > gone)
        if needed <= 0:
            return now
        for at in range(0, len(uses), 2):
            if uses[at] > gone:
                needed -= uses[at + 1]
                if needed <= 0:
                    return Instant(uses[at] + self.parameters.per)
        raise AssertionError("a window holds less than was counted in it")

    def commit(self, now: Instant, key: bytes, cost: int = 1) -> None:
        """Dates granted requests. Only after `earliest` said now."""
        place = key[-1]
        table = self._tables[place]
        uses = table.get(key)
        if uses is None:
            uses = self._assumed(place, key)
            if len(table) >= self._per_table:
                self._make_room(place, now)
            if self._tables[place] is _NO_CLIENTS:
                self._tables[place] = {}
            self._tables[place][key] = uses
        gone = now - self.parameters.per
        while uses and uses[0] <= gone:
            del uses[:2]
        # The clock may have gone back, and dates must not.
        dated = max(now, uses[-2]) if uses else now
        if uses and dated // self._grain == uses[-2] // self._grain:
            uses[-2] = dated
            uses[-1] += cost
        else:
            uses += (dated, cost)

    def release(self, key: bytes, cost: int = 1) -> None:
        """Gives nothing back: a request counts for one window from its beginning, whenever it ends."""

    def available(self, now: Instant, key: bytes) -> int:
        """The number of requests of this client that the window has room for."""
        place = key[-1]
        return max(0, self.parameters.amount - self._used(self._tables[place].get(key) or self._assumed(place, key), now))

    def sweep(self, now: Instant) -> int:
        """Drops the clients whose requests have all left the window from the next slice of a table, and returns how many."""
        walk, over = self._walk, now - self.parameters.per
        keys = walk.slice(self._tables)
        table = self._tables[walk.place]
        gone = [key for key in keys if (uses := table.get(key)) is not None and uses[-2] <= over]
        walk.drop(self._tables, gone)
        if walk.at_end:
            self._forget(walk.place, now)
        return len(gone)

    def carry_over(self, now: Instant, before: Self) -> None:
        """The same requests under another limit. Requests that left a shorter window before are not known any more."""
        gone = now - self.parameters.per
        for place, table in enumerate(before._tables):
            self._tables[place] = {key: uses for key, uses in table.items() if uses[-2] > gone} or _NO_CLIENTS
            self._floors[place] = before._floors[place]
            self._dropped[place] = before._dropped[place]
            if len(self._tables[place]) > self._per_table:
                self._make_room(place, now)

    def _used(self, uses: Sequence[int], now: Instant) -> int:
        gone = now - self.parameters.per
        return sum(uses[at + 1] for at in range(0, len(uses), 2) if uses[at] > gone)

    def _assumed(self, place: int, key: bytes) -> _Uses:
        """The requests that a client without an entry counts as having made."""
        floor = self._floors[place]
        if not floor:
            return []
        dropped = self._dropped[place]
        used = floor[1] if dropped is not None and key in dropped else min(floor[1], (self.parameters.amount - 1) // 2)
        return [floor[0], used] if used else []

    def _forget(self, place: int, now: Instant) -> None:
        """Empties the filter when all its members have an empty window, or when it is full and no member is at its limit."""
        dropped = self._dropped[place]
        if dropped is not None:
            used = self._used(self._floors[place], now)
            if not used or (dropped.count >= dropped.capacity and used < self.parameters.amount):
                self._dropped[place] = None

    def _make_room(self, place: int, now: Instant) -> None:
        self._forget(place, now)
        gone = Duration(now - self.parameters.per)
        table = {key: uses for key, uses in self._tables[place].items() if uses[-2] > gone}
        surplus = len(table) - self._per_table + max(1, self._per_table // _DROPPED)
        floor = self._floors[place]
        most, latest = (self._used(floor, now), floor[-2]) if floor and floor[-2] > gone else (0, 0)
        for key in sorted(table, key=lambda key: self._used(table[key], now))[: max(0, surplus)]:
            uses = table.pop(key)
            most, latest = max(most, self._used(uses, now)), max(latest, uses[-2])
            dropped = self._dropped[place] = self._dropped[place] or BloomFilter(room(self._per_table))
            dropped.add(key)
        self._tables[place] = table
        self._floors[place] = (latest, most) if most else ()
