"""Recent denials and the age of conditions, from one `Statistics` after the other.

At the bound: the denials of about the last ten seconds, from at most `_MAX_LOOKS` statistics, and one moment per condition.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Final, NamedTuple, final

import msgspec

from governor import Statistics
from governor.conditions import INBOUND, OUTBOUND, RECENT, Condition, Kind, conditions_in_steps
from governor.cooperative import batched
from governor.errors import Reason

_MAX_LOOKS: Final = 32
#: Readings within so many seconds of each other count as one, so that frequent readers do not shorten the window.
_SPACING: Final = 0.5


#: Denials of scopes and groups by reason, at one moment.
_Look = Mapping[str, Mapping[Reason, int]]


@final
class Denials:
    """How often calls were denied in about the last ten seconds: the difference of two looks. Never changes."""

    __slots__ = ("_after", "_before")

    def __init__(self, before: _Look | None, after: _Look) -> None:
        self._before = before
        self._after = after

    def recently(self, key: str) -> Mapping[Reason, int] | None:
        """The denials of this scope or group by reason; None after a single look."""
        if self._before is None:
            return None
        after = self._after.get(key)
        if after is None:
            return {}
        before = self._before.get(key, {})
        return {word: count - before.get(word, 0) for word, count in after.items() if count > before.get(word, 0)}

    def recent(self) -> dict[str, int]:
        """The number of recent denials of each scope and group, where that is not 0."""
        totals = {key: sum((self.recently(key) or {}).values()) for key in self._after}
        return {key: total for key, total in totals.items() if total}


class Found(NamedTuple):
    """The conditions, the worst first, and the recent denials by scope and group."""

    conditions: tuple[Condition, ...]
    recent: dict[str, int]


@final
class Tracker:
    """Finds conditions with their `since` and `recent`. After a restart or a clock set back, it starts over.

    Several readers may look at the same time, from any thread.
    """

    __slots__ = ("_lock", "_looks", "_since", "_started_at")

    def __init__(self) -> None:
        # Never held across steps.
        self._lock = Lock()
        self._looks: deque[tuple[float, _Look]] = deque(maxlen=_MAX_LOOKS)
        self._since: dict[tuple[Kind, str], float] = {}
        self._started_at: float | None = None

    def look(self, statistics: Statistics) -> Iterator[Found | None]:
        """What these statistics, the latest so far, show, in steps (`steps`)."""
        denied: dict[str, Mapping[Reason, int]] = {}
        for scopes in batched(statistics.scopes.items()):
            denied |= {OUTBOUND + name: scope.counters.denied for name, scope in scopes if scope.counters.denied}
            yield None
        groups = statistics.groups.items()
        denied |= {INBOUND + name: group.counters.denied for name, group in groups if group.counters.denied}
        with self._lock:
            denials = self._add(statistics.now, statistics.started_at, denied)
        for found in conditions_in_steps(statistics, denials.recently):
            if found is not None:
                yield Found(self._dated(statistics.now, found), denials.recent())
            yield None

    def _add(self, now: float, started_at: float | None, denied: _Look) -> Denials:
        looks = self._looks
        if started_at != self._started_at or (looks and now < looks[-1][0] - _SPACING):
            looks.clear()
            self._since.clear()
        self._started_at = started_at
        # Readers that read at the same time may end in another order.
        if not looks or now >= looks[-1][0]:
            if len(looks) > 1 and now - looks[-2][0] < _SPACING:
                looks.pop()
            looks.append((now, denied))
        # The look before the last ten seconds stays, to be compared with.
        while len(looks) > 2 and now - looks[1][0] >= RECENT:
            looks.popleft()
        return Denials(looks[0][1] if len(looks) > 1 else None, looks[-1][1])

    def _dated(self, now: float, found: tuple[Condition, ...]) -> tuple[Condition, ...]:
        with self._lock:
            since = self._since = {(one.kind, one.key): self._since.get((one.kind, one.key), now) for one in found}
        return tuple(msgspec.structs.replace(one, since=since[one.kind, one.key]) for one in found)
