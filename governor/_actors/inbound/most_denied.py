"""The clients that are denied most often, counted with the Space-Saving algorithm.

Metwally, Agrawal, El Abbadi, "Efficient computation of frequent and top-k elements in data streams", ICDT 2005: once all places
are taken, a new key replaces the key with the smallest count and continues that count. A count is never too low, and too high
by at most the count that it continued. We depart from the paper in one point: all counts are halved every minute, so that old
denials fade.
"""

from typing import Final, final

from governor._units import MINUTE, Instant

#: Keys that are counted at a time.
MAX_KEYS: Final = 32


@final
class MostDenied:
    """At most `MAX_KEYS` keys, and about how often each was counted."""

    __slots__ = ("_counts", "_halved_at")

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}
        self._halved_at = Instant(0)

    def count(self, now: Instant, key: bytes) -> None:
        """Counts the key once."""
        if now - self._halved_at >= MINUTE:
            self._fade(now)
        counts = self._counts
        if key in counts:
            counts[key] += 1
        elif len(counts) < MAX_KEYS:
            counts[key] = 1
        else:
            smallest = min(counts, key=counts.__getitem__)
            counts[key] = counts.pop(smallest) + 1

    def top(self, now: Instant) -> list[tuple[bytes, int]]:
        """The keys and their counts, the largest count first."""
        self._fade(now)
        return sorted(self._counts.items(), key=lambda item: -item[1])

    def _fade(self, now: Instant) -> None:
        minutes = (now - self._halved_at) // MINUTE
        if minutes > 0:
            self._halved_at = Instant(self._halved_at + minutes * MINUTE)
            self._counts = {key: count >> minutes for key, count in self._counts.items() if count >> minutes}
