"""The last hour, kept by the daemon: rates of every scope and group, and the timeline of events.

Rates come from statistics that are read every `INTERVAL` seconds, whether or not anyone is watching, so that a page that is
opened later shows what happened.

At the bounds: `LENGTH` values each for at most `MAX_SERIES` scopes and groups, and the latest `MAX_ENTRIES` entries of the
timeline.
"""

import math
from collections import deque
from threading import Lock
from typing import Final, final

from governor import CounterRecord, Statistics
from governor.conditions import INBOUND, OUTBOUND
from governor.daemon.documents import HistoryReport, Series
from governor.instrumentation import Entry

#: Seconds between two values.
INTERVAL: Final = 10.0
#: Seconds by which a value may be early, or a reading older than the one before.
_SPACING: Final = 0.5
#: Values that are kept: one hour of them.
LENGTH: Final = 360
MAX_SERIES: Final = 1_000
MAX_ENTRIES: Final = 500
#: Entries of one group within so many seconds are one.
_TOGETHER: Final = 30.0
#: The key of all outbound scopes together.
ALL: Final = ""


@final
class History:
    """Rates and events of one governor. Starts over when the governor was restarted or the clock was set back."""

    __slots__ = ("_counts", "_last", "_lock", "_series", "_started_at", "_timeline", "_times")

    def __init__(self) -> None:
        # Rates and events come from threads, and reports are made on the loop.
        self._lock = Lock()
        self._times: deque[float] = deque(maxlen=LENGTH)
        self._series: dict[str, tuple[deque[float], deque[float]]] = {}
        self._counts: dict[str, tuple[int, int]] = {}
        self._last = -math.inf
        self._started_at: float | None = None
        self._timeline: deque[Entry] = deque(maxlen=MAX_ENTRIES)

    def is_due(self, now: float) -> bool:
        """Whether the next value is due at `now`, or the clock was set back."""
        # Of readings at the same time the older one may come last.
        return not -_SPACING <= now - self._last < INTERVAL - _SPACING

    def add(self, statistics: Statistics) -> None:
        """Keeps the rates since the statistics before, if the next value is due."""
        with self._lock:
            if self.is_due(statistics.now):
                self._add(statistics)

    def _add(self, statistics: Statistics) -> None:
        now, elapsed = statistics.now, statistics.now - self._last
        counts = _counts(statistics)
        if statistics.started_at != self._started_at or elapsed < 0:
            self._times.clear()
            self._series.clear()
            self._counts = {}
        known = bool(self._counts) and elapsed <= 3 * INTERVAL
        self._times.append(now)
        for key, (granted, denied) in counts.items():
            series = self._series.get(key) or self._new_series(key)
            if series is not None:
                before = self._counts.get(key, (0, 0))
                series[0].append(max(0, granted - before[0]) / elapsed if known else math.nan)
                series[1].append(max(0, denied - before[1]) / elapsed if known else math.nan)
        for key in [key for key in self._series if key not in counts]:
            del self._series[key]
        self._counts, self._last, self._started_at = counts, now, statistics.started_at

    def tell(self, entry: Entry) -> None:
        """Adds an event to the timeline, unless one of its group was added a moment ago."""
        with self._lock:
            alike = (other for other in self._timeline if entry.group and other.group == entry.group)
            if not any(entry.at - other.at < _TOGETHER for other in alike):
                self._timeline.append(entry)

    def report(self, key: str | None = None) -> HistoryReport:
        """The last hour of all outbound scopes together, and of one scope or group."""
        with self._lock:
            keys = [one for one in (ALL, key) if one is not None and one in self._series]
            times = list(self._times)
            return HistoryReport(
                interval=INTERVAL,
                times=times,
                series={one: self._known(one, len(times)) for one in keys},
                timeline=list(self._timeline),
            )

    def _known(self, key: str, length: int) -> Series:
        granted, denied = ([None if math.isnan(one) else round(one, 3) for one in values] for values in self._series[key])
        # A scope that is newer than the first reading has fewer values.
        padding: list[float | None] = [None] * (length - len(granted))
        return Series(granted=padding + granted, denied=padding + denied)

    def _new_series(self, key: str) -> tuple[deque[float], deque[float]] | None:
        if len(self._series) >= MAX_SERIES:
            return None
        self._series[key] = series = (deque[float](maxlen=LENGTH), deque[float](maxlen=LENGTH))
        return series


def _counts(statistics: Statistics) -> dict[str, tuple[int, int]]:
    counts = {OUTBOUND + name: _count(scope.counters) for name, scope in statistics.scopes.items()}
    total = (sum(granted for granted, _ in counts.values()), sum(denied for _, denied in counts.values()))
    groups = {INBOUND + name: _count(group.counters) for name, group in statistics.groups.items()}
    return {ALL: total, **counts, **groups}


def _count(counters: CounterRecord) -> tuple[int, int]:
    return counters.requests, sum(counters.denied.values())
