"""Stated rate: how fast a server lets calls be sent in the long run, as its answers say.

An answer that states a limit, what remains of it and the span until its reset states a rate: the limit in the longest span so
far, or in the window that it names. It is believed once the server is known to count the calls: an answer to a later call
leaves less. Of several limits the slowest counts, and all must count the calls; a number that never falls is none of them.

Bound: `MAX_STATED` limits. A server that states more states no rate.
"""

from typing import Final

from governor._units import SECOND, Duration, Instant
from governor.policies._bounds import Said

MAX_STATED: Final = 8


class _Stated:
    """What is known of one limit."""

    __slots__ = ("counted", "granted_at", "remaining", "span")

    def __init__(self, granted_at: Instant, remaining: int, span: Duration) -> None:
        self.granted_at = granted_at
        self.remaining = remaining
        #: The longest span until a reset.
        self.span = span
        #: Whether the server is known to count calls in it.
        self.counted = False


class StatedRate:
    """The limits of requests that a server states."""

    __slots__ = ("_limits",)

    def __init__(self) -> None:
        self._limits: dict[Said, _Stated] = {}

    def hear(self, granted_at: Instant, said: Said, remaining: int, span: Duration) -> float:
        """The answer to a grant says so. Returns the requests per second of the slowest limit; 0 if they are not believed."""
        known = self._limits.get(said)
        if known is None:
            if len(self._limits) <= MAX_STATED:
                self._limits[said] = _Stated(granted_at, remaining, span)
            return 0.0
        known.span = max(known.span, span)
        if granted_at > known.granted_at:
            known.counted |= remaining < known.remaining
            known.granted_at, known.remaining = granted_at, remaining
        if len(self._limits) > MAX_STATED or not all(one.counted for one in self._limits.values()):
            return 0.0
        return min(amount * SECOND / one.span for (_, amount), one in self._limits.items())
