"""Who is refused most often lately? The few that matter, of any number.

The Space-Saving algorithm (Metwally, Agrawal, El Abbadi, "Efficient computation of frequent and top-k elements in data
streams", ICDT 2005): a newcomer takes the place, and the count, of whoever has the smallest. Counts are never too low, and too
high by that much at most. Every minute all counts are halved, so that what is long ago fades.
"""

from typing import Final, final

from governor._units import MINUTE, Instant

#: So many are known at a time.
MAX_KEYS: Final = 32


@final
class MostDenied:
    """A few keys and about how often each was counted lately."""

    __slots__ = ("_counts", "_halved_at")

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}
        self._halved_at = Instant(0)

    def count(self, now: Instant, key: bytes) -> None:
        """Once more."""
        self._fade(now)
        counts = self._counts
        if key in counts:
            counts[key] += 1
        elif len(counts) < MAX_KEYS:
            counts[key] = 1
        else:
            quietest = min(counts, key=counts.__getitem__)
            counts[key] = counts.pop(quietest) + 1

    def top(self, now: Instant) -> list[tuple[bytes, int]]:
        """The loudest first."""
        self._fade(now)
        return sorted(self._counts.items(), key=lambda item: -item[1])

    def _fade(self, now: Instant) -> None:
        minutes = (now - self._halved_at) // MINUTE
        if minutes > 0:
            self._halved_at = Instant(self._halved_at + minutes * MINUTE)
            self._counts = {key: count >> minutes for key, count in self._counts.items() if count >> minutes}
