"""Failure rate: the share of failures among the last calls, or among the calls in the last span of time.

Compiled where there is a compiler; `_failure_rate.pxd` has the fields.
"""

from collections import deque
from typing import Final

from governor._lazy import NOTHING
from governor._units import NEVER, Instant
from governor.policies.breakers._call_log import CallLog, CallLogState
from governor.policies.breakers.parameters import Breaker

_SCALE: Final = 1_000_000

NO_CALLS: Final = CallLogState((), Instant(0))


class FailureRate:
    """The calls in the window of a breaker that has a rate."""

    __slots__ = ("_last", "_least", "_log", "_minimum_calls", "_most", "calls", "failures")

    def __init__(self, parameters: Breaker) -> None:
        #: In millionths. However small the rate is, it takes a failure to reach it.
        self._least = max(1, round((parameters.failure_rate or 0) * _SCALE))
        self._minimum_calls = parameters.minimum_calls
        #: The calls in the window, and the failures among them.
        self.calls = self.failures = 0
        #: Of a window of calls, its size, and whether each of the last calls has failed.
        self._most = parameters.window_calls
        self._last: deque[int] = NOTHING
        self._log = None if parameters.window is None else CallLog(parameters.window)

    def reached(self, now: Instant, failed: int) -> bool:
        """Counts a call, and says whether the rate is reached then. `failed` is 1 for a failure, else 0."""
        log = self._log
        if log is not None:
            log.add(now, failed)
            self.calls, self.failures = log.calls, log.failures
        else:
            last = self._last
            if last is NOTHING:
                self._last = last = deque(maxlen=self._most)
            if self.calls == self._most:
                self.failures -= last[0]
            else:
                self.calls += 1
            last.append(failed)
            self.failures += failed
        failures = self.failures
        return failures > 0 and self.calls >= self._minimum_calls and failures * _SCALE >= self._least * self.calls

    def rests_at(self, now: Instant) -> Instant:
        """From when on no failure is in the window, if there are no more calls: `NEVER` in one of calls that has one."""
        if self._log is None:
            return NEVER if self.failures else now
        return self._log.without_failures_at(now)

    def clear(self) -> None:
        """Forgets all calls."""
        self._last = NOTHING
        self.calls = self.failures = 0
        if self._log is not None:
            self._log.clear()

    def state(self) -> tuple[tuple[bool, ...], CallLogState]:
        """The last calls, and the log, for `restore`."""
        return tuple(failed > 0 for failed in self._last), NO_CALLS if self._log is None else self._log.state()

    def restore(self, last: tuple[bool, ...], log: CallLogState) -> None:
        """Continues from a state that `state` returned, as far as it is of a window of the same kind."""
        self.clear()
        if self._log is not None:
            self._log.restore(log)
            self.calls, self.failures = self._log.calls, self._log.failures
        elif last:
            self._last = deque(map(int, last), self._most)
            self.calls, self.failures = len(self._last), sum(self._last)
