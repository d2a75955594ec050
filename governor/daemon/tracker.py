"""Recent denials and the age of conditions, from one `Statistics` after the other.

At the bound: the denials of about the last ten seconds, from at most `_MAX_LOOKS` statistics, and one moment per condition.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final, final

import msgspec

from governor import Statistics
from governor.conditions import INBOUND, OUTBOUND, RECENT, Condition, Kind, conditions
from governor.errors import Reason

_MAX_LOOKS: Final = 32
#: Readings within so many seconds of each other count as one, so that frequent readers do not shorten the window.
_SPACING: Final = 0.5


@final
class Tracker:
    """Finds conditions with their `since` and `recent`. After a restart or a clock set back, it starts over."""

    __slots__ = ("_looks", "_since", "_started_at")

    def __init__(self) -> None:
        self._looks: deque[tuple[float, dict[str, Mapping[Reason, int]]]] = deque(maxlen=_MAX_LOOKS)
        self._since: dict[tuple[Kind, str], float] = {}
        self._started_at: float | None = None

    def add(self, statistics: Statistics) -> tuple[Condition, ...]:
        """The conditions of these statistics, the latest so far; the worst first."""
        now = statistics.now
        if statistics.started_at != self._started_at or (self._looks and now < self._looks[-1][0]):
            self._looks.clear()
            self._since.clear()
        self._started_at = statistics.started_at
        if len(self._looks) > 1 and now - self._looks[-2][0] < _SPACING:
            self._looks.pop()
        self._looks.append((now, _denied(statistics)))
        # The look before the last ten seconds stays, to be compared with.
        while len(self._looks) > 2 and now - self._looks[1][0] >= RECENT:
            self._looks.popleft()
        found = conditions(statistics, self.recently)
        self._since = {(one.kind, one.key): self._since.get((one.kind, one.key), now) for one in found}
        return tuple(msgspec.structs.replace(one, since=self._since[one.kind, one.key]) for one in found)

    def recently(self, key: str) -> Mapping[Reason, int] | None:
        """How often this scope or group denied calls in about the last ten seconds, by reason; None after a single look."""
        if len(self._looks) < 2:
            return None
        before, after = self._looks[0][1].get(key, {}), self._looks[-1][1].get(key, {})
        return {word: count - before.get(word, 0) for word, count in after.items() if count > before.get(word, 0)}

    def recent(self) -> dict[str, int]:
        """The number of recent denials of each scope and group, where that is not 0."""
        totals = {key: sum((self.recently(key) or {}).values()) for key in self._looks[-1][1]} if self._looks else {}
        return {key: total for key, total in totals.items() if total}


def _denied(statistics: Statistics) -> dict[str, Mapping[Reason, int]]:
    scopes = {OUTBOUND + name: scope.counters.denied for name, scope in statistics.scopes.items()}
    groups = {INBOUND + name: group.counters.denied for name, group in statistics.groups.items()}
    return {key: denied for key, denied in (scopes | groups).items() if denied}
