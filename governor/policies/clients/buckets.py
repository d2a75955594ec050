"""Token buckets for very many clients, kept as GCRA: one integer for each client that has spent something.

A client with a full bucket needs no entry. The entries are spread over many small tables, so that growing or sweeping one of
them takes little time.

At its bound a table drops the entries with the fullest buckets. It remembers the largest amount that any of those clients had
spent, and the clients themselves in a Bloom filter. A client without an entry counts as having spent that amount if it is in
the filter. Otherwise it is new, and counts as having spent that amount or just under half of a burst, whichever is less. So a
client gains nothing by being dropped, and a flood of new names cannot lock new clients out.

A full filter is emptied once every client in it could be granted a request: a client at its limit is never forgotten.

Compiled where a compiler is; `client_buckets.pxd` has the fields. See docs/explanation/actor-design.md.
"""

from collections.abc import Sequence
from typing import Final, Self

from governor._units import NEVER, Duration, Instant
from governor.errors import Reason
from governor.policies import _checks
from governor.policies._arithmetic import BucketArithmetic
from governor.policies.clients._bloom import BloomFilter, room
from governor.policies.clients._slices import SliceWalk
from governor.policies.contract import ClientTable
from governor.policies.gcra import TokenBucket

#: A table at its bound drops one entry in this many at a time, since each time costs a walk through the whole table.
_DROPPED: Final = 8

#: A table without clients: never added to. Most tables of small groups stay so, and a dictionary takes 64 bytes.
_NO_CLIENTS: Final[dict[bytes, int]] = {}

#: What a request counts by, as an index of its keys, and the table.
Rule = tuple[int, "ClientBuckets"]
#: When all limits would grant a request, and the first of the rules that say so.
ClientVerdict = tuple[Instant, "tuple[int, ClientTable] | None"]

#: What `spend` returns where it decides nothing.
UNDECIDED: Final[ClientVerdict] = (NEVER, None)


def spend(now: Instant, rules: Sequence[Rule], keys: Sequence[bytes], cost: int = 1) -> ClientVerdict | None:
    """Spends the tokens of a request in several tables if all of them grant it, and else in none.

    Returns None if they are spent; else when all of them would grant it, with the first of the rules that say so. This is
    `earliest` and then `commit` of each table, written out because it runs for every inbound request: one call takes the place
    of six, and each key is looked up once. `UNDECIDED` where the cost exceeds a burst, or where a client is new in a table that
    has dropped clients, has none, or has no room for another.
    """
    latest, by = now, None
    before: list[int | None] = []
    for rule in rules:
        which, table = rule
        key = keys[which]
        entries = table._tables[key[-1]]
        known = entries.get(key)
        # C: if known is not None and holds_in_64_bits(now, table, entries, key, known, cost, by is None):
        # C:     if by is None:
        # C:         before.append(known)
        # C:     continue
        full = now * table._ticks
        if known is None and (not entries or table._floors[key[-1]] > full or len(entries) >= table._per_table):
            _restore(rules, keys, before)
            return UNDECIDED
        if cost == 1 and (known is None or known <= full):
            # The bucket is full: most clients come so seldom, and need no comparison.
            tat = full + table._step
        else:
            tat = (full if known is None or known < full else known) + cost * table._step
            due = tat - table._tolerance
            if due > full:
                if cost > table.parameters.burst:
                    _restore(rules, keys, before)
                    return UNDECIDED
                when = Instant(-(-due // table._ticks))
                if when > latest:
                    latest, by = when, rule
                continue
        if by is None:
            entries[key] = tat
            before.append(known)
    if by is None:
        return None
    _restore(rules, keys, before)
    return latest, by


def _restore(rules: Sequence[Rule], keys: Sequence[bytes], before: Sequence[int | None]) -> None:
    """Gives back what was spent in the first of these rules: each has the entry again that it had before."""
    for number, tat in enumerate(before):
        which, table = rules[number]
        key = keys[which]
        if tat is None:
            del table._tables[key[-1]][key]
        else:
            table._tables[key[-1]][key] = tat


def fewest(now: Instant, rules: Sequence[Rule], keys: Sequence[bytes]) -> tuple[int, Rule] | None:
    """The fewest requests that any of the tables could grant at `now`, with the first of the rules that say so.

    This is `available` of each table, in one call as `spend`. None without rules.
    """
    least = None
    for rule in rules:
        which, table = rule
        key, full = keys[which], now * table._ticks
        place = key[-1]
        tat = table._tables[place].get(key)
        if tat is None:
            tat = full if table._floors[place] <= full else table._assumed(place, key, full)
        spent = tat - full if tat > full else 0
        left = (table._tolerance - spent) // table._step if spent < table._tolerance else 0
        if least is None or left < least[0]:
            least = left, rule
    return least


class ClientBuckets:
    """The table. Keys are evenly distributed bytes, such as digests.

    `max_clients` is at least 1. It is rounded up to a multiple of the number of tables.

    Laws. In every window of length w, each key is granted at most burst + rate * w requests, and at most burst // 2 more for
    each time that the filter is emptied with the key in it. A key at its limit is in the table or in the filter. A new key
    finds at least burst - (burst - 1) // 2 tokens, unless the filter takes it for a member.
    """

    #: The tables, chosen by the last byte of a key.
    TABLES = 256

    __slots__ = (
        "_arithmetic",
        "_dropped",
        "_floors",
        "_max_assumed",
        "_per_table",
        "_step",
        "_tables",
        "_ticks",
        "_tolerance",
        "_walk",
        "max_clients",
        "parameters",
    )

    reason = Reason.RATE_LIMIT
    needs_release = False

    def __init__(self, parameters: TokenBucket, max_clients: int) -> None:
        _checks.whole("max_clients", max_clients)
        self.parameters = parameters
        self.max_clients = max_clients
        self._arithmetic = arithmetic = BucketArithmetic(parameters.amount, parameters.per, parameters.burst)
        # Copies, because `earliest` and `commit` are written out here: they run for every request, and a call costs more.
        self._ticks = arithmetic.ticks
        self._step = arithmetic.step
        self._tolerance = arithmetic.tolerance
        #: The most that a new client counts as having spent: with one more token it is still below its limit.
        self._max_assumed = (parameters.burst - 1) // 2 * self._step
        # C: keep_small_numbers(self)
        self._per_table = -(-max_clients // self.TABLES)
        # The theoretical arrival time (TAT) of each client, in ticks, and the latest of any client that was dropped.
        self._tables: list[dict[bytes, int]] = [_NO_CLIENTS] * self.TABLES
        self._floors = [0] * self.TABLES
        #: The clients that were dropped; None once all of them would have full buckets.
        self._dropped: list[BloomFilter | None] = [None] * self.TABLES
        self._walk = SliceWalk()

    @property
    def refill(self) -> Duration:
        """Microseconds in which an empty bucket fills up."""
        return Duration(self.parameters.burst * self.parameters.per // self.parameters.amount)

    def __len__(self) -> int:
        return sum(map(len, self._tables))

    def earliest(self, now: Instant, key: bytes, cost: int = 1) -> Instant:
        """When `cost` tokens could be spent. At most `now` means now, `NEVER` that the burst is smaller. Changes nothing."""
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
        """Spends the tokens of a granted request. Only after `earliest` said now."""
        place = key[-1]
        full = now * self._ticks
        table = self._tables[place]
        tat = table.get(key)
        if tat is None:
            tat = self._assumed(place, key, full)
            if len(table) >= self._per_table:
                self._make_room(place, full)
                table = self._tables[place]
            if table is _NO_CLIENTS:
                table = self._tables[place] = {}
        table[key] = (tat if tat > full else full) + cost * self._step

    def release(self, key: bytes, cost: int = 1) -> None:
        """Gives nothing back: tokens return with time, whenever the request ends."""

    def available(self, now: Instant, key: bytes) -> int:
        """The number of requests of this client that could be granted at `now`."""
        place = key[-1]
        full = now * self._ticks
        tat = self._tables[place].get(key)
        if tat is None:
            tat = self._assumed(place, key, full)
        return max(0, (self._tolerance + full - max(full, tat)) // self._step)

    def sweep(self, now: Instant) -> int:
        """Drops the clients with full buckets from the next slice of a table, and returns how many."""
        walk, full = self._walk, now * self._ticks
        keys = walk.slice(self._tables)
        table = self._tables[walk.place]
        gone = [key for key in keys if table.get(key, full + 1) <= full]
        walk.drop(self._tables, gone)
        if walk.at_end:
            self._forget(walk.place, full)
        return len(gone)

    def carry_over(self, now: Instant, before: Self) -> None:
        """The same clients under another limit. Each keeps the share of its burst that it had left, and never more."""
        full, full_before = now * self._ticks, now * before._ticks
        carried_over, other = self._arithmetic.carried_over, before._arithmetic
        for place, table in enumerate(before._tables):
            kept = {key: carried_over(now, tat, other) for key, tat in table.items() if tat > full_before}
            self._tables[place] = kept or _NO_CLIENTS
            self._floors[place] = carried_over(now, before._floors[place], other)
            self._dropped[place] = before._dropped[place]
            if len(self._tables[place]) > self._per_table:
                self._make_room(place, full)

    def _assumed(self, place: int, key: bytes, full: int) -> int:
        """The TAT of a client without an entry."""
        floor = self._floors[place]
        if floor <= full:
            return full
        dropped = self._dropped[place]
        return floor if dropped is not None and key in dropped else min(floor, full + self._max_assumed)

    def _keep_beyond(self, place: int, tat: int) -> None:
        self._tables[place] = {key: theirs for key, theirs in self._tables[place].items() if theirs > tat}

    def _make_room(self, place: int, full: int) -> None:
        """Drops the clients with full buckets, and of the others those with the fullest, until there is room."""
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
        """Empties the filter when all its members have full buckets, or when it is full and no member is at its limit."""
        dropped = self._dropped[place]
        if dropped is not None:
            lacks = self._floors[place] - full
            if lacks <= 0 or (dropped.count >= dropped.capacity and lacks <= self._tolerance - self._step):
                self._dropped[place] = None
