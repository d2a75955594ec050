"""Forecast of a strict window: what it grants to calls that arrive at once."""

from governor._units import NEVER, Instant
from governor.policies._sliding_log import SlidingLog
from governor.policies.contract import Request


class WindowForecast:
    """A future window, in which calls arrive at once: a log of uses, and the amount of the window."""

    __slots__ = ("_log", "_most", "_unit")

    def __init__(self, log: SlidingLog, most: int, unit: str | None) -> None:
        self._log = log
        self._most = most
        self._unit = unit

    def earliest(self, now: Instant, request: Request) -> Instant:
        """When enough earlier uses have left the window."""
        cost = request.amount(self._unit)
        needed = self._log.total + cost - self._most
        if needed <= 0 or cost == 0:
            return now
        return max(now, self._log.freed(needed)) if cost <= self._most else NEVER

    def commit(self, now: Instant, request: Request) -> None:
        """Dates the units at `now`."""
        cost = request.amount(self._unit)
        if cost:
            self._log.add(now, cost)
