"""Limits on requests in flight, counted for each client: requests that have begun and not ended.

At its bound the table has no room for another client. That client is denied until some client has no request in flight: an
entry cannot be dropped while its requests are in flight.
"""

from typing import Final, Self

from governor._units import AFTER_OUTCOME, NEVER, Duration, Instant
from governor.errors import Reason
from governor.policies import _checks
from governor.policies.in_flight import InFlight


class ClientFlights:
    """A count for each client with requests in flight; at most `max_clients` clients have one.

    Law: at every moment, each key has at most `amount` requests in flight.
    """

    TABLES: Final = 256

    __slots__ = ("_counts", "max_clients", "parameters")

    reason = Reason.CONCURRENCY
    needs_release = True
    refill = Duration(0)

    def __init__(self, parameters: InFlight, max_clients: int) -> None:
        _checks.whole("max_clients", max_clients)
        self.parameters = parameters
        self.max_clients = max_clients
        self._counts: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def earliest(self, now: Instant, key: bytes, cost: int = 1) -> Instant:
        """Now, or after an outcome: no clock knows when a request ends."""
        amount = self.parameters.amount
        if cost > amount:
            return NEVER
        count = self._counts.get(key, 0)
        fits = count + cost <= amount and (count or len(self._counts) < self.max_clients)
        return now if fits else AFTER_OUTCOME

    def commit(self, now: Instant, key: bytes, cost: int = 1) -> None:
        """Begins granted requests. Only after `earliest` said now."""
        self._counts[key] = self._counts.get(key, 0) + cost

    def release(self, key: bytes, cost: int = 1) -> None:
        """Ends committed requests, however they ended."""
        count = self._counts.pop(key, 0) - cost
        if count > 0:
            self._counts[key] = count

    def available(self, now: Instant, key: bytes) -> int:
        """The number of requests of this client that may begin."""
        count = self._counts.get(key, 0)
        return max(0, self.parameters.amount - count) if count or len(self._counts) < self.max_clients else 0

    def sweep(self, now: Instant) -> int:
        """Drops nothing: an entry goes with the last of its requests."""
        return 0

    def carry_over(self, now: Instant, before: Self) -> None:
        """The same requests under another limit. The counts are shared, since requests end in the table in which they began."""
        self._counts = before._counts
