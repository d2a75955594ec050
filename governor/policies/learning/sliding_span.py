"""Sliding span: how long the window of a server is that slides, as the counts of its answers show.

An answer that states a limit and what remains of it says how many calls the server counts. If it counts fewer than were made,
the oldest of them have left its window, and the window is shorter than they are old; as long as it counts a call, the window is
at least as long as that call is old. Both together bound the span, and each answer brings them closer. A reset that moves is
that of the oldest call that is counted, and must agree.

A fixed window drops all of its calls at once, and a bucket gains units between calls: their answers contradict each other soon,
and show no span from then on. So do those of a server whose limit others use too. A call that is counted may be one of theirs:
then the span is taken to be longer than it is, and never shorter.

Answers of which each call was sent after the one before was read are compared: in what order others were counted is not known.

Bound: `MAX_CALLS` calls.
"""

from bisect import insort
from typing import Final

from governor._units import MINUTE, SECOND, Duration, Instant

#: Calls that are kept. A limit of more shows no span.
MAX_CALLS: Final = 256
#: Spans that are found. A reset in whole seconds says nothing of a shorter one.
MIN_SPAN: Final = Duration(SECOND)
MAX_SPAN: Final = Duration(10 * MINUTE)
#: By what factor the bounds of a span that is known may differ, and by what factor the reset may be sooner.
_CLOSE: Final = 1.25
_RESET_PART: Final = 3
#: How many times as long as the slowest answer a span is: calls overtake each other in that time.
_LONGER: Final = 8
#: A reset and the date of its answer are in whole seconds.
_RESOLUTION: Final = 2 * SECOND


class SlidingSpan:
    """What is known of the span of one limit. Instants must not go back."""

    __slots__ = (
        "_answers",
        "_gone",
        "_nearly",
        "_read_at",
        "_reset_after",
        "_sampled_at",
        "_slides",
        "contradicted",
        "least",
        "most",
        "took",
    )

    def __init__(self) -> None:
        #: The span is longer than `least` and not longer than `most`, if it is one.
        self.least = 0
        #: The same if calls arrive in the order of their grants.
        self._nearly = 0
        self.most = int(MAX_SPAN)
        #: Whether it is known to be none.
        self.contradicted = False
        #: The longest time from a grant to its answer.
        self.took = 0
        #: The calls whose answers were read: when they were granted and when they were read, in order of the former.
        self._answers: list[tuple[Instant, Instant]] = []
        #: The latest call whose answer was compared, and when that was read.
        self._sampled_at = self._read_at = Instant(-1)
        #: The latest of the calls that have left the window, and whether some left while older ones than that call stayed.
        self._gone = Instant(-1)
        self._slides = False
        #: The longest time from a call to the reset that is its own.
        self._reset_after = 0

    def hear(self, now: Instant, granted_at: Instant, used: int, reset: Instant, oldest: Instant, in_order: Instant) -> None:
        """The answer to an accepted call that was granted then says that the server counts `used` calls, until a reset.

        `oldest` is the grant of the oldest one that must be counted if all that are under way are counted, and `in_order` the
        same if calls arrive in the order of their grants; `NEVER` if it is not known.
        """
        if self.contradicted:
            return
        if 0 < used < MAX_CALLS and granted_at > self._read_at:
            took = self.took = max(self.took, now - granted_at)
            self._compare(now, granted_at, used, reset)
            self._sampled_at, self._read_at = granted_at, now
            self.least = max(self.least, granted_at - oldest - took, reset - _RESOLUTION - oldest - took)
            self._nearly = max(self._nearly, granted_at - in_order)
            self._reset_after = max(self._reset_after, reset - _RESOLUTION - in_order)
            # Calls overtake each other by as much as their answers take.
            self.contradicted = max(self.least, self._nearly - 2 * took, self._reset_after - 2 * took) > self.most
        insort(self._answers, (granted_at, now))
        del self._answers[:-MAX_CALLS]

    def _compare(self, now: Instant, granted_at: Instant, used: int, reset: Instant) -> None:
        """The calls that had certainly arrived, against those that are counted."""
        counted, last = 1, granted_at
        for granted, read in reversed(self._answers):
            if read > granted_at:
                continue
            counted += 1
            if counted > used:
                # This one has left.
                self.most = min(self.most, now - granted)
                self._slides |= self._gone < granted and last <= self._sampled_at
                self._gone = max(self._gone, granted)
                break
            last = granted
        if counted >= used:
            self.most = min(self.most, reset + _RESOLUTION // 2 - last)

    @property
    def span(self) -> Duration | None:
        """The span, or a little more; None if it is not known."""
        if self.contradicted or not self._slides or not max(MIN_SPAN, _LONGER * self.took) <= self.most < MAX_SPAN:
            return None
        agreed = self._reset_after >= max(self.most // _RESET_PART, self.most - _RESOLUTION - self.took)
        close = self.most <= _CLOSE * max(self._nearly, self._reset_after)
        return Duration(self.most) if agreed and close else None
