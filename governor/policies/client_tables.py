"""Tables of limits: one limit, counted for each client by itself.

Every kind of limit has a table, and all of them answer the same questions. Keys are bytes that are spread evenly, such as
digests. A table has a bound, which its class names, together with what happens there; a blocked client never gains by it.
"""

from typing import Protocol, assert_never

from governor._units import Instant
from governor.errors import Reason
from governor.policies.client_buckets import ClientBuckets
from governor.policies.client_flights import ClientFlights
from governor.policies.client_windows import ClientWindows
from governor.policies.gcra import TokenBucket
from governor.policies.in_flight import InFlight
from governor.policies.limits import Limit
from governor.policies.window import StrictWindow

#: The table of one kind of limit.
Table = ClientBuckets | ClientWindows | ClientFlights


class ClientTable(Protocol):
    """The contract: several tables compose without refunds, as policies do. Ask all of them, then commit to all or none."""

    @property
    def reason(self) -> Reason:
        """Why it denies, when it does."""

    @property
    def parameters(self) -> Limit:
        """The limit of each client."""

    def __len__(self) -> int:
        """How many clients have an entry."""

    def earliest(self, now: Instant, key: bytes, cost: int = 1) -> Instant:
        """When could `cost` requests of this client be granted? At most `now` means now. Changes nothing.

        `NEVER` means that no client is ever granted so many at once, `AFTER_OUTCOME` that a request of theirs must end first.
        """

    def commit(self, now: Instant, key: bytes, cost: int = 1) -> None:
        """They were granted: spend them. Only after `earliest` said now."""

    def release(self, key: bytes, cost: int = 1) -> None:
        """Requests that were committed have ended, each once."""

    def available(self, now: Instant, key: bytes) -> int:
        """How many requests of this client could be granted at `now`; never negative."""

    def sweep(self, now: Instant) -> int:
        """Drops, from one part in turn, the entries that say nothing any more; returns how many."""


def build(limit: Limit, most: int) -> Table:
    """A table for the limit, of at most `most` clients, with nothing spent yet."""
    match limit:
        case TokenBucket():
            return ClientBuckets(limit, most)
        case StrictWindow():
            return ClientWindows(limit, most)
        case InFlight():
            return ClientFlights(limit, most)
        case _:
            assert_never(limit)


def change(now: Instant, table: Table, limit: Limit, most: int) -> Table:
    """The table under another limit. One of another kind begins with nothing spent."""
    match table, limit:
        case ClientBuckets(), TokenBucket():
            return table.changed(now, limit, most)
        case ClientWindows(), StrictWindow():
            return table.changed(now, limit, most)
        case ClientFlights(), InFlight():
            return table.changed(now, limit, most)
        case _:
            return build(limit, most)
