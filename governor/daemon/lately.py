"""How often has each scope refused in the last ten seconds? From one status after the other.

At its bound: the statuses of ten seconds, and no more of them than one a second leaves.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final, final

from governor.daemon.documents import Status
from governor.daemon.trouble import RECENT

_MOST: Final = 32


@final
class Lately:
    """What the latest statuses say of refusals. Knows nothing after the first one, or after the daemon was started anew."""

    __slots__ = ("_looks", "_started_at")

    def __init__(self) -> None:
        self._looks: deque[tuple[float, dict[str, dict[str, int]]]] = deque(maxlen=_MOST)
        self._started_at: float | None = None

    def add(self, status: Status) -> None:
        """Takes note of a status."""
        figures = status.global_
        if figures.started_at != self._started_at or (self._looks and figures.now < self._looks[-1][0]):
            self._looks.clear()
        self._started_at = figures.started_at
        refused = {key: scope.metrics.denied for key, scope in status.scopes.items() if scope.metrics.denied}
        self._looks.append((figures.now, refused))
        while figures.now - self._looks[0][0] > RECENT:
            self._looks.popleft()

    def __call__(self, key: str) -> Mapping[str, int]:
        """How often this scope has refused, by reason."""
        if not self._looks:
            return {}
        before, after = self._looks[0][1].get(key, {}), self._looks[-1][1].get(key, {})
        return {word: count - before.get(word, 0) for word, count in after.items() if count > before.get(word, 0)}
