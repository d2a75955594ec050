"""Tables of limits: one limit, counted for each client separately.

Each kind of limit has its kind of table, and all of them answer the same questions. Keys are evenly distributed bytes, such as
digests. Every table has a bound; its module states what happens there. A client at its limit never gains by it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from governor._units import Duration, Instant
from governor.errors import Reason
from governor.policies.client_buckets import ClientBuckets
from governor.policies.client_flights import ClientFlights
from governor.policies.client_windows import ClientWindows
from governor.policies.gcra import TokenBucket
from governor.policies.in_flight import InFlight
from governor.policies.limits import Limit
from governor.policies.window import StrictWindow


class ClientTable(Protocol):
    """The contract. Several tables compose without refunds, as policies do: ask all of them, then commit to all or none."""

    @property
    def reason(self) -> Reason:
        """The reason of a denial by this table."""

    @property
    def parameters(self) -> Limit:
        """The limit of each client."""

    @property
    def releases(self) -> bool:
        """Whether the end of a request gives something back, so that `release` must be called. Such a table needs no sweep."""

    @property
    def refill(self) -> Duration:
        """Microseconds without requests after which a client has its whole limit again. 0 where `releases` is true."""

    def __len__(self) -> int:
        """The number of clients that have an entry."""

    def earliest(self, now: Instant, key: bytes, cost: int = 1) -> Instant:
        """When `cost` requests of this client could be granted. At most `now` means now. Changes nothing.

        `NEVER` means that the limit grants no client so many at once, `AFTER_OUTCOME` that a request of theirs must end first.
        """

    def commit(self, now: Instant, key: bytes, cost: int = 1) -> None:
        """Spends granted requests. Only after `earliest` said now."""

    def release(self, key: bytes, cost: int = 1) -> None:
        """Ends committed requests. Once for each commit."""

    def available(self, now: Instant, key: bytes) -> int:
        """The number of requests of this client that could be granted at `now`; never negative."""

    def sweep(self, now: Instant) -> int:
        """Drops, from the next part of the table, the entries of clients that have their whole limit; returns how many."""

    def changed(self, now: Instant, parameters: Any, max_clients: int) -> "ClientTable":
        """The table under another limit of the same kind."""


#: The table of each kind of limit.
_TABLES: Final[Mapping[type[Limit], Callable[[Any, int], ClientTable]]] = {
    TokenBucket: ClientBuckets,
    StrictWindow: ClientWindows,
    InFlight: ClientFlights,
}


def build(limit: Limit, max_clients: int) -> ClientTable:
    """An empty table for the limit, with entries for at most `max_clients` clients."""
    return _TABLES[type(limit)](limit, max_clients)


def change(now: Instant, table: ClientTable, limit: Limit, max_clients: int) -> ClientTable:
    """The table under another limit. A limit of another kind starts with an empty table."""
    if type(table) is _TABLES[type(limit)]:
        return table.changed(now, limit, max_clients)
    return build(limit, max_clients)
