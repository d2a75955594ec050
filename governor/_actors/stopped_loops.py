"""Loops of one scope that are stopped, for its statistics.

Bound: `MAX_STOPPED` loops, of which the oldest is dropped; the loop guard denies its calls all the same.
"""

from collections.abc import Hashable, Iterable
from typing import Final, final

import msgspec

from governor._lazy import always
from governor._units import Instant, to_seconds
from governor.statistics import LoopStatistics

MAX_STOPPED: Final = 100
#: What a scope has without any: never added to.
_NONE: Final[dict[Hashable, tuple[Instant, str]]] = {}
#: Callers that are named.
_MAX_CALLERS: Final = 10


@final
class StoppedLoops(msgspec.Struct, eq=False, gc=False):
    """The calls that are denied as loops: until when, and the pseudonym of their caller, which is empty without a label."""

    _stopped: dict[Hashable, tuple[Instant, str]] = msgspec.field(default_factory=always(_NONE))

    def __bool__(self) -> bool:
        return bool(self._stopped)

    def stop(self, key: Hashable, until: Instant, caller: str) -> None:
        """The calls of this key are denied."""
        if self._stopped is _NONE:
            self._stopped = {}
        self._stopped.pop(key, None)
        if len(self._stopped) >= MAX_STOPPED:
            del self._stopped[next(iter(self._stopped))]
        self._stopped[key] = until, caller

    def go_on(self, keys: Iterable[Hashable]) -> None:
        """A call with these keys is not denied any more."""
        for key in keys:
            self._stopped.pop(key, None)

    def forget(self) -> None:
        """No call is denied any more."""
        self._stopped = _NONE

    def statistics(self, now: Instant) -> LoopStatistics | None:
        """The loops that are stopped at `now`; None without any."""
        if not self._stopped:
            return None
        self._stopped = {key: stopped for key, stopped in self._stopped.items() if stopped[0] > now} or _NONE
        if not self._stopped:
            return None
        callers = dict.fromkeys(caller for _, caller in self._stopped.values() if caller)
        return LoopStatistics(
            stopped=len(self._stopped),
            retry_after=to_seconds(min(until for until, _ in self._stopped.values()) - now),
            labels=tuple(callers)[:_MAX_CALLERS],
        )
