"""Learned window: how many calls a provider accepts in a span of time, as its denials show.

A denial in the middle of a span says that the calls that were accepted in it are as many as the provider grants. Which span it
counts is not known: it is at least as long as the calls are denied. So the shortest of `SPANS` is taken that explains the
denials so far. The limit is an upper bound that follows the learned rate up, when that probes for more.

Bound: two logs of some 4,096 slots (`SlidingLog`).
"""

import math
from collections import deque
from typing import Final

from governor._units import MINUTE, SECOND, Duration, Instant
from governor.policies._sliding_log import SLOTS, SlidingLog

#: The spans that are distinguished.
SPANS: Final = (Duration(10 * SECOND), MINUTE)
#: A pause that is not longer says nothing about a span: a bucket, or a window of a second, denies for so long.
SHORT: Final = Duration(2 * SECOND)
#: A call that has not been denied after so long has been accepted.
ACCEPTED_AFTER: Final = Duration(2 * SECOND)
_DENIED_AFTER: Final = Duration(SECOND // 2)
#: A call may arrive by so much later than another one that was sent before it.
_LATE: Final = Duration(SECOND // 2)
#: By what factor the calls of one span may differ from those that the rate makes on average.
_SPREAD: Final = 1.4
#: What a denial leaves of the limit at least.
_LEAST_PART: Final = 0.7
#: Calls whose denial has been counted.
_MAX_DENIED: Final = 64
#: The least limit, in calls per second.
LEAST_RATE: Final = 0.1
_UNBOUNDED: Final = 2**62


class LearnedWindow:
    """At most `most` calls in any `span`; none before the first denial that tells one. Instants must not go back."""

    __slots__ = ("_denied", "_logs", "most", "span")

    def __init__(self) -> None:
        self.most = _UNBOUNDED
        self.span: Duration | None = None
        self._logs = {span: SlidingLog(span, SLOTS + 1) for span in SPANS}
        self._denied: deque[Instant] = deque(maxlen=_MAX_DENIED)

    def add(self, now: Instant, count: int) -> None:
        """So many calls are granted."""
        for log in self._logs.values():
            log.add(now, count)

    def remove(self, granted_at: Instant, count: int = 1) -> None:
        """A call that was granted then has been denied, or was never sent. Once for each instant."""
        if granted_at not in self._denied:
            self._denied.append(granted_at)
            for log in self._logs.values():
                log.remove(granted_at, count)

    def has_accepted(self, after: Instant, denied_at: Instant, now: Instant, *, succeeded: bool) -> bool:
        """Whether a call was accepted that was granted after an instant. One that was granted at `denied_at` is denied now.

        `succeeded` says that a call has succeeded meanwhile, which may have been granted before.
        """
        # Others are denied about as fast.
        until = now - (max(2 * (now - denied_at), _DENIED_AFTER) if succeeded else ACCEPTED_AFTER)
        until = max(until, now - ACCEPTED_AFTER)
        return any(units and dated <= until for dated, units in self._logs[MINUTE].since(Instant(after + 1)))

    def mean(self, now: Instant) -> float:
        """The calls per second that were accepted in the longest span, including those that are not denied yet."""
        return self._logs[SPANS[-1]].used(now) * SECOND / SPANS[-1]

    def deny(self, now: Instant, wait: Duration | None, *, again: bool = False, least: float = 0.0) -> float | None:
        """A call was denied; `wait` is the pause that the server asks for, and `again` says that a pause did not help.

        The limit does not fall below `least` calls per second, the rate that is known, if about as many were accepted.
        Returns the calls per second that the provider grants; None if no span is known.
        """
        span = self.span
        if again or (wait is not None and wait > SHORT):
            shortest = SPANS[-1] if again else next((one for one in SPANS if one >= (wait or 0)), SPANS[-1])
            span = shortest if span is None else max(span, shortest)
        if span is None:
            return None
        used = self._logs[span].used(now)
        if not used and self.span is None:
            return None  # The provider denies every call there was: that tells no limit.
        used = max(used, int(LEAST_RATE * span / SECOND))
        self.most = used if span != self.span else max(min(used, self.most), int(_LEAST_PART * self.most))
        self.span = span
        if least * span <= _SPREAD * used * SECOND:
            self.follow(least)
        return self.most * SECOND / span

    def follow(self, rate: float) -> None:
        """The rate probes for more: as many calls as it makes in a span are within the limit."""
        if self.span is not None:
            self.most = max(self.most, math.ceil(rate * self.span / SECOND))

    def forget(self) -> None:
        """No denial matters any more."""
        self.most, self.span = _UNBOUNDED, None

    def earliest(self, now: Instant, count: int) -> Instant:
        """When so many more calls are within the limit."""
        if self.span is None:
            return now
        log = self._logs[self.span]
        over = min(log.total + count - self.most, log.total)
        return now if over <= 0 else max(now, Instant(log.freed(over) + _LATE))

    def available(self, now: Instant) -> int:
        """The calls that are within the limit."""
        return _UNBOUNDED if self.span is None else max(0, self.most - self._logs[self.span].used(Instant(now - _LATE)))

    def copy(self) -> "LearnedWindow":
        """A copy, valid until this one changes."""
        copy = LearnedWindow()
        copy.most, copy.span = self.most, self.span
        if self.span is not None:
            copy._logs = {span: log.copy() for span, log in self._logs.items()}
        return copy
