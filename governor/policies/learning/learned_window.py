"""Learned window: how many calls a provider accepts in a span of time, as its denials show.

A denial in the middle of a span says that the calls that were accepted in it are as many as the provider grants. Which span it
counts is not known: it is at least as long as the calls are denied. So the shortest of `SPANS` is taken that explains the
denials so far. The limit is an upper bound that follows the learned rate up, when that probes for more. One that was kept, not
probed, and denied for longer than the shortest span all the same was too high: a part of it, `DISPROVED`, is left. A long pause
may also be that of windows at fixed times, which tell the limit better (`fixed_minutes`). If a server states a limit of about
as many calls as were accepted in a span, it is that limit, and nothing probes beyond it.

Bound: two logs of some 4,096 slots (`SlidingLog`), and the calls of 300 seconds.
"""

import math
from collections import deque
from typing import Final

from governor._units import MINUTE, SECOND, Duration, Instant
from governor.policies._sliding_log import SLOTS, SlidingLog
from governor.policies.learning.fixed_minutes import FixedMinutes

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
#: What a denial with a long pause leaves of a limit that was kept and not probed: a window at fixed times lets up to twice its
#: limit through in the span before the first denial. After a shorter pause finding out more costs less than being slower.
DISPROVED: Final = 0.9
#: Calls whose denial has been counted.
_MAX_DENIED: Final = 64
#: The least limit, in calls per second.
LEAST_RATE: Final = 0.1
#: Two denials at rates that differ by this factor, with as many calls in a span before each, show that the span is counted:
#: those numbers may differ by this part, and by so many calls.
_SLOWER: Final = 0.85
_DIFFERS: Final = 0.02
_ROUGHLY: Final = 2
#: The part by which the calls in a span may differ from the limit that a server states for it.
_NEAR: Final = 0.05
#: Fewer calls show nothing.
_LEAST_CALLS: Final = 10
_UNBOUNDED: Final = 2**62


class LearnedWindow:
    """At most `most` calls in any `span`; none before the first denial that tells one. Instants must not go back."""

    __slots__ = ("_denied", "_fixed", "_found", "_held", "_logs", "_seen", "_stated", "is_fixed", "most", "span")

    def __init__(self) -> None:
        self.most = _UNBOUNDED
        #: The calls of `most` that the rate makes in a span, if calls are sent faster within it; else as many as `most`.
        self._held = _UNBOUNDED
        #: The limit as the latest denial has left it. One more is none that was probed: a rate is rounded up.
        self._found = 0
        self.span: Duration | None = None
        #: The limit that the server states for this span; None if it states none.
        self._stated: int | None = None
        self._logs = {span: SlidingLog(span, SLOTS + 1) for span in SPANS}
        self._fixed = FixedMinutes()
        #: Whether the latest denial was explained by windows at fixed times.
        self.is_fixed = False
        self._denied: deque[Instant] = deque(maxlen=_MAX_DENIED)
        #: What was seen at the denial before: when, the calls per second, and those in each span.
        self._seen: tuple[Instant, float, tuple[int, ...]] | None = None

    @property
    def is_stated(self) -> bool:
        """Whether the server has stated the limit."""
        return self._stated is not None

    def add(self, now: Instant, count: int) -> None:
        """So many calls are granted."""
        for log in self._logs.values():
            log.add(now, count)
        self._fixed.add(now, count)

    def remove(self, granted_at: Instant, count: int = 1) -> None:
        """A call that was granted then has been denied, or was never sent. Once for each instant."""
        if granted_at not in self._denied:
            self._denied.append(granted_at)
            for log in self._logs.values():
                log.remove(granted_at, count)
            self._fixed.remove(granted_at, count)

    def has_accepted(self, after: Instant, denied_at: Instant, now: Instant, *, succeeded: bool) -> bool:
        """Whether a call was accepted that was granted after an instant. One that was granted at `denied_at` is denied now.

        `succeeded` says that a call has succeeded meanwhile, which may have been granted before.
        """
        # Others are denied about as fast.
        until = now - (max(2 * (now - denied_at), _DENIED_AFTER) if succeeded else ACCEPTED_AFTER)
        until = max(until, now - ACCEPTED_AFTER)
        return any(units and dated <= until for dated, units in self._logs[MINUTE].since(Instant(after + 1)))

    def used(self, now: Instant) -> tuple[int, ...]:
        """The calls that were accepted in each of `SPANS`, including those that are not denied yet."""
        return tuple(log.used(now) for log in self._logs.values())

    def sent(self, now: Instant) -> list[tuple[int, Instant]]:
        """The same, each with when the first of them was granted."""
        return [(log.used(now), log.first(now)) for log in self._logs.values()]

    def has_begun(self, now: Instant) -> bool:
        """Whether all calls of the longest span were granted in the shortest one."""
        return self.sent(now)[-1][1] > now - SPANS[0]

    def since(self, instant: Instant) -> int:
        """The calls of the longest span that were granted after an instant, and are not denied yet."""
        return sum(count for _, count in self._logs[MINUTE].since(Instant(instant + 1)))

    def sent_before(self, granted_at: Instant) -> int:
        """The calls of the second that ends with a call that was granted then, which are not denied yet."""
        since = self._logs[SPANS[0]].since(Instant(granted_at - SECOND))
        return sum(count for dated, count in since if dated <= granted_at)

    def mean(self, now: Instant) -> float:
        """The calls per second that were accepted in the longest span, including those that are not denied yet."""
        return self._logs[SPANS[-1]].used(now) * SECOND / SPANS[-1]

    def through(self, now: Instant) -> float:
        """The same since the first call of that span, and a second at least."""
        count, since = self.sent(now)[-1]
        return count * SECOND / max(now - since, SECOND)

    def stated_span(self, now: Instant, limit: int | None) -> Duration | None:
        """The span in which about as many calls were accepted as the server states; None if there is none."""
        if limit is None or limit < _LEAST_CALLS:
            return None
        counts = zip(SPANS, self.used(now), strict=True)
        return next((span for span, count in counts if abs(count - limit) <= max(_ROUGHLY, _NEAR * limit)), None)

    def deny(
        self,
        now: Instant,
        wait: Duration | None,
        *,
        again: bool = False,
        least: float = 0.0,
        rate: float = math.inf,
        limit: int | None = None,
    ) -> float | None:
        """A call was denied; `wait` is the pause that the server asks for, and `again` says that a pause did not help.

        The limit does not fall below `least` calls per second, the rate that is known, if about as many were accepted. `rate`
        is that of the latest calls, and `limit` what the server states. Returns the calls per second that the provider grants;
        None if no span is known.
        """
        span = self.stated_span(now, limit)
        if span is not None and limit is not None:
            self.span, self._stated = span, limit
            self.most = self._held = min(limit, self._logs[span].used(now))
            return self.most * SECOND / span
        span = self._shown(now, wait, again=again, rate=rate)
        if span is None:
            return None
        used = self._logs[span].used(now)
        if not used and self.span is None:
            return None  # The provider denies every call there was: that tells no limit.
        long = None if wait is None or wait <= SPANS[0] else wait
        fixed = self._fixed.deny(now, long) if long and span == MINUTE else None
        self.is_fixed = fixed is not None and long is not None and long <= MINUTE
        disproved = long is not None and span == self.span and self.most <= self._found + 1
        used = used if fixed is None else min(used, fixed)
        if disproved and (fixed is None or used >= self._found):
            used = min(used, int(DISPROVED * self._found))
        used = max(used, int(LEAST_RATE * span / SECOND))
        self.most = used if span != self.span else max(min(used, self.most), int(_LEAST_PART * self.most))
        self.span = span
        if not disproved and fixed is None and least * span <= _SPREAD * used * SECOND:
            self.follow(least)
        self._found = self._held = self.most
        return self.most * SECOND / span

    def _shown(self, now: Instant, wait: Duration | None, *, again: bool, rate: float) -> Duration | None:
        """The span that the denials so far show, which does not become shorter; None if they show none.

        It is at least as long as the pause that the server asks for, and of such spans one in which as many calls were accepted
        before this denial as before the last one. A server whose window slides asks for a short pause, because the oldest call
        leaves the window soon: such a span shows then too, if calls have become slower.
        """
        used = self.used(now)
        denied_at, faster, counts = self._seen or (Instant(now - SPANS[-1]), 0.0, used)
        self._seen = now, rate, used
        if again:
            return SPANS[-1]
        same = [
            span
            for span, count, earlier in zip(SPANS, used, counts, strict=True)
            if now - denied_at < span and count >= _LEAST_CALLS and abs(count - earlier) <= max(_ROUGHLY, _DIFFERS * count)
        ]
        shown = None
        if wait is not None and wait > SHORT:
            # A span in which fewer calls are granted than were accepted in the longest one is none: it began with a pause.
            possible = [span for span, count in zip(SPANS, used, strict=True) if used[-1] <= (SPANS[-1] // span + 1) * count]
            shown = next((span for span in (*same, *possible) if span >= wait), SPANS[-1])
        elif self.span is None and rate <= _SLOWER * faster:
            shown = next(iter(same), None)
        known = [span for span in (self.span, shown) if span is not None]
        return max(known, default=None)

    def fastest(self) -> float:
        """The most calls per second that were accepted in a tenth of a minute, of the last one."""
        short, fastest, total, calls = SPANS[0], 0, 0, deque[tuple[Instant, int]]()
        for dated, count in self._logs[MINUTE].since(Instant(0)):
            calls.append((dated, count))
            total += count
            while calls[0][0] <= dated - short:
                total -= calls.popleft()[1]
            fastest = max(fastest, total)
        return fastest * SECOND / short

    def follow(self, rate: float, *, held: bool = False) -> None:
        """The rate probes for more: as many calls as it makes in a span are within the limit, but for one that is stated.

        `held` says that calls are sent faster than the rate: no more than it makes in a span are within the limit then.
        """
        if self.span is not None:
            most = math.ceil(rate * self.span / SECOND)
            self.most = max(self.most, most if self._stated is None else min(most, self._stated))
            self._held = min(most, self.most) if held else self.most

    def forget(self) -> None:
        """No denial matters any more."""
        self.most, self.span, self._seen, self._stated = _UNBOUNDED, None, None, None
        self._held, self.is_fixed = _UNBOUNDED, False
        self._fixed.forget()

    def earliest(self, now: Instant, count: int) -> Instant:
        """When so many more calls are within the limit."""
        if self.span is None:
            return now
        log = self._logs[self.span]
        over = min(log.total + count - self._held, log.total)
        return now if over <= 0 else max(now, Instant(log.freed(over) + _LATE))

    def available(self, now: Instant) -> int:
        """The calls that are within the limit."""
        return _UNBOUNDED if self.span is None else max(0, self._held - self._logs[self.span].used(Instant(now - _LATE)))

    def copy(self) -> "LearnedWindow":
        """A copy, valid until this one changes."""
        copy = LearnedWindow()
        copy.most, copy._held, copy.span = self.most, self._held, self.span
        if self.span is not None:
            copy._logs = {span: log.copy() for span, log in self._logs.items()}
        return copy
