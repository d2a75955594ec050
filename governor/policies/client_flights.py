"""Requests in flight, for each client: how many have begun and not ended.

At its bound the table has no room for another client, who is denied until a request of somebody has ended: an entry is never
dropped, as its requests are still under way.
"""

from typing import Final

from governor._units import AFTER_OUTCOME, NEVER, Instant
from governor.errors import Reason
from governor.policies import _checks
from governor.policies.in_flight import InFlight


class ClientFlights:
    """The machine: a count for each client with requests under way, of at most `most` clients.

    Law: at every moment, each key has at most `amount` requests in flight.
    """

    TABLES: Final = 256

    __slots__ = ("_counts", "most", "parameters")

    reason = Reason.CONCURRENCY

    def __init__(self, parameters: InFlight, most: int) -> None:
        _checks.whole("most", most)
        self.parameters = parameters
        self.most = most
        self._counts: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def earliest(self, now: Instant, key: bytes, cost: int = 1) -> Instant:
        """Now, or after an outcome: no clock knows when a request ends."""
        amount = self.parameters.amount
        if cost > amount:
            return NEVER
        count = self._counts.get(key, 0)
        fits = count + cost <= amount and (count or len(self._counts) < self.most)
        return now if fits else AFTER_OUTCOME

    def commit(self, now: Instant, key: bytes, cost: int = 1) -> None:
        """They have begun. Only after `earliest` said now."""
        self._counts[key] = self._counts.get(key, 0) + cost

    def release(self, key: bytes, cost: int = 1) -> None:
        """They have ended, in whatever way."""
        count = self._counts.pop(key, 0) - cost
        if count > 0:
            self._counts[key] = count

    def available(self, now: Instant, key: bytes) -> int:
        """How many of this client's requests may begin."""
        count = self._counts.get(key, 0)
        return max(0, self.parameters.amount - count) if count or len(self._counts) < self.most else 0

    def sweep(self, now: Instant) -> int:
        """Nothing: an entry goes with the last of its requests."""
        return 0

    def changed(self, now: Instant, parameters: InFlight, most: int) -> "ClientFlights":
        """The same requests in flight under another limit: this very table, as they must end where they have begun."""
        self.parameters = parameters
        self.most = most
        return self
