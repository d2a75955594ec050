"""Stated rate: how fast a server lets calls be sent in the long run, as its answers say.

An answer that states a limit, what remains of it and the span until its reset states a rate: the limit in the longest span so
far, or in the window that it names. It is believed once the server is known to count the calls: an answer to a later call
leaves less. Of several limits the slowest counts, and all must count the calls; a number that never falls is none of them.

Bound: `MAX_STATED` limits. A server that states more states no rate.
"""

from typing import Final, NamedTuple

from governor._units import SECOND, Duration, Instant
from governor.policies.learning._bounds import Said
from governor.policies.learning.sliding_span import SlidingSpan

MAX_STATED: Final = 8
#: A span that is shorter by less is not adopted anew.
_SHORTER: Final = 0.99


class Moved(NamedTuple):
    """The span of a window that was adopted, and the one that is adopted now; None for none."""

    before: Duration | None
    after: Duration | None


class _Stated:
    """What is known of one limit."""

    __slots__ = ("adopted", "counted", "granted_at", "remaining", "slides", "span")

    def __init__(self, granted_at: Instant, remaining: int, span: Duration) -> None:
        self.granted_at = granted_at
        self.remaining = remaining
        #: The longest span until a reset.
        self.span = span
        #: Whether the server is known to count calls in it.
        self.counted = False
        #: In what span it slides, and the span of the strict window that was made of it; None if there is none.
        self.slides = SlidingSpan()
        self.adopted: Duration | None = None

    def follow(self) -> Moved | None:
        """Adopts the span that is known now. Returns that and the one before, if they differ."""
        before, span = self.adopted, self.slides.span
        if before is not None and span is not None and span > _SHORTER * before:
            return None
        self.adopted = span
        return None if before == span else Moved(before, span)


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
        return min(amount * SECOND / (one.adopted or one.span) for (_, amount), one in self._limits.items())

    def slides(
        self, now: Instant, granted_at: Instant, said: Said, used: int, reset: Instant, *, oldest: Instant, in_order: Instant
    ) -> Moved | None:
        """See `SlidingSpan.hear`. Returns the span that was adopted and the one to adopt now, if they differ."""
        known = self._limits.get(said)
        if known is None:
            return None
        known.slides.hear(now, granted_at, used, reset, oldest, in_order)
        return known.follow()

    def refute(self, said: Said) -> Moved | None:
        """A call was denied by this limit. The window that was adopted, if there was one, has let too many through."""
        known = self._limits.get(said)
        if known is None or known.adopted is None:
            return None
        known.slides.contradicted = True
        return known.follow()
