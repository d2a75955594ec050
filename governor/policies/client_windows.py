"""Strict windows, for each client: the dates of its latest requests.

A limit of at most `SLOTS` requests has a date for each of them and is exact. For a larger one, requests that are close in time
share a slot, dated by its newest: then never too many are granted, and one may be granted late by a 64th of the window.

At its bound a table drops the clients that have used the least of their windows, and remembers them as `callers` does: one that
was dropped counts as having used as much as any of those, at the latest of their dates; a new one as well, but for less than
half of the amount.
"""

from typing import Final

from governor._units import NEVER, Duration, Instant
from governor.errors import Reason
from governor.policies import _checks
from governor.policies._bloom import BloomFilter, room
from governor.policies.window import StrictWindow

#: Dates that are kept of one client.
SLOTS: Final = 64
#: Of a table at its bound, at least one entry in so many is dropped at a time: each time costs a walk through the whole table.
_DROPPED: Final = 8

#: The uses of one client, the oldest first: a date, how many, a date, how many, and so on.
_Uses = list[int]


class ClientWindows:
    """The machine. At most `most` clients, rounded up to as many as fill all tables evenly, have entries.

    Laws. In every window of the length `per`, each key is granted at most `amount` times, and at most half of it more for each
    time that the filter is emptied with the key in it. A key at its limit is in the table or in the filter. A key that never
    came before finds more than half of the amount, unless the filter takes it for a member.
    """

    TABLES: Final = 256

    __slots__ = ("_dropped", "_floors", "_grain", "_next", "_per_table", "_tables", "most", "parameters")

    reason = Reason.RATE_LIMIT

    def __init__(self, parameters: StrictWindow, most: int) -> None:
        _checks.whole("most", most)
        self.parameters = parameters
        self.most = most
        self._grain = 1 if parameters.amount <= SLOTS else -(-parameters.per // SLOTS)
        self._per_table = -(-most // self.TABLES)
        self._tables: list[dict[bytes, _Uses]] = [{} for _ in range(self.TABLES)]
        #: What any of the clients that were dropped had used at most, and who they were.
        self._floors: list[_Uses] = [[] for _ in range(self.TABLES)]
        self._dropped: list[BloomFilter | None] = [None] * self.TABLES
        self._next = 0

    def __len__(self) -> int:
        return sum(map(len, self._tables))

    def earliest(self, now: Instant, key: bytes, cost: int = 1) -> Instant:
        """When will enough of this client's requests have left the window? At most `now` means now. Changes nothing."""
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
        """Dates the requests. Only after `earliest` said now."""
        place = key[-1]
        table = self._tables[place]
        uses = table.get(key)
        if uses is None:
            uses = self._assumed(place, key)
            if len(table) >= self._per_table:
                self._make_room(place, now)
            self._tables[place][key] = uses
        gone = now - self.parameters.per
        while uses and uses[0] <= gone:
            del uses[:2]
        # The clock may have gone back.
        dated = max(now, uses[-2]) if uses else now
        if uses and dated // self._grain == uses[-2] // self._grain:
            uses[-2] = dated
            uses[-1] += cost
        else:
            uses += (dated, cost)

    def release(self, key: bytes, cost: int = 1) -> None:
        """Nothing: a request counts from its beginning, and for one window."""

    def available(self, now: Instant, key: bytes) -> int:
        """How many requests of this client the window has room for."""
        place = key[-1]
        return max(0, self.parameters.amount - self._used(self._tables[place].get(key) or self._assumed(place, key), now))

    def sweep(self, now: Instant) -> int:
        """Drops, from one table in turn, those whose requests have all left the window; returns how many there were."""
        place = self._next
        self._next = (place + 1) % self.TABLES
        table = self._tables[place]
        gone = now - self.parameters.per
        self._tables[place] = {key: uses for key, uses in table.items() if uses[-2] > gone}
        self._forget(place, now)
        return len(table) - len(self._tables[place])

    def changed(self, now: Instant, parameters: StrictWindow, most: int) -> "ClientWindows":
        """The same requests under other parameters. What has left the window before is forgotten."""
        if parameters == self.parameters and most == self.most:
            return self
        other = ClientWindows(parameters, most)
        gone = now - parameters.per
        for place, table in enumerate(self._tables):
            other._tables[place] = {key: uses for key, uses in table.items() if uses[-2] > gone}
            other._floors[place] = self._floors[place]
            other._dropped[place] = self._dropped[place]
            if len(other._tables[place]) > other._per_table:
                other._make_room(place, now)
        return other

    def _used(self, uses: _Uses, now: Instant) -> int:
        gone = now - self.parameters.per
        return sum(uses[at + 1] for at in range(0, len(uses), 2) if uses[at] > gone)

    def _assumed(self, place: int, key: bytes) -> _Uses:
        """What a client without an entry counts as having used."""
        floor = self._floors[place]
        if not floor:
            return []
        dropped = self._dropped[place]
        most = floor[1] if dropped is not None and key in dropped else min(floor[1], (self.parameters.amount - 1) // 2)
        return [floor[0], most] if most else []

    def _forget(self, place: int, now: Instant) -> None:
        """Empties the filter when all in it have their whole window, or when it is full and none in it is at the limit."""
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
        self._floors[place] = [latest, most] if most else []
