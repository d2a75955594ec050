"""Rate learner: how fast a provider is asked that denies calls without saying what its limits are.

After a denial the rate falls to a part of what was sent, and then follows a cubic curve back up and beyond (`cubic`). The curve
is stretched so that it takes at least `PROBE_EVERY` calls until it passes the rate of the last denial: probing costs denials,
and providers count those. Each denial that confirms the one before doubles that, up to `MAX_PROBE_EVERY`.

A provider with a window lets a fast client spend it in a moment and denies the rest of it. What was sent just before the denial
says nothing then. If the call after a pause is denied as well, or the server asks for a longer pause, the calls that were
accepted in the last `SPANS` are what the provider grants in that time: no more are sent (`learned_window`), until the curve
passes that rate. If calls are denied for longer than the longest span, what got through from the end of such a time to the end
of the next counts instead.

An unknown provider begins at `FIRST_RATE`, and the rate doubles for every `DOUBLE_AFTER` in which it is used, until a denial.
One that answers soon is asked faster sooner: the calls that are under way, all of which may be denied, may be a part of those
that were accepted in the last minute. Those that answer soonest tell how long a denial takes. After a minute without calls the
rate begins anew; what was denied is not forgotten while the provider is asked.
"""

import math
from collections.abc import Iterable
from typing import Final

from governor._units import MINUTE, SECOND, Duration, Instant
from governor.policies.contract import Grant
from governor.policies.learning.cubic import BETA, Cubic, MeasuredRate
from governor.policies.learning.learned_window import SHORT, SPANS, LearnedWindow

#: The least rate, in requests per second.
MIN_RATE: Final = 0.1
#: The rate of single calls that find out whether a provider still denies.
PROBE_RATE: Final = 0.5
#: The rate at which an unknown provider is asked at first, and how long it is used before the rate doubles.
FIRST_RATE: Final = 2.0
DOUBLE_AFTER: Final = Duration(10 * SECOND)
#: One in so many of the calls accepted in the last minute may be under way, and so many at most, from which on the rate grows
#: by half instead of doubling; a call is under way for so long at least.
UNDER_WAY_PART: Final = 12
MAX_UNDER_WAY: Final = 28
#: How many times as fast as the limit that a server states makes on average a gentle rate is at least, and becomes at most. The
#: first makes up for the beginning; much faster, a window is spent long before it can be seen whether it slides.
AHEAD: Final = 1.25
MAX_AHEAD: Final = 4
MIN_TOOK: Final = Duration(SECOND // 4)
#: Beyond so many calls, which a provider that is strict would have denied by then, one in so many more may be under way. With
#: more the rate would double within the time that a denial takes to be known.
MANY: Final = 90
MANY_PART: Final = 6
#: Calls for each time that the rate of the last denial is tried again, at first and at most, and the time until it is.
PROBE_EVERY: Final = 300
MAX_PROBE_EVERY: Final = 900
MIN_FLAT: Final = Duration(20 * SECOND)
#: A denial that the server follows with a wait costs the calls of that wait: it is risked once in so many of them.
PROBE_WAITS: Final = 10
MAX_FLAT: Final = Duration(30 * MINUTE)
#: How much faster than it was used a rate may become beyond that of the last denial.
MAX_BEYOND: Final = 1.25
#: What a denial leaves of a rate that is known: nothing is learned from it but that the rate is still the same.
STEADY: Final = 0.9
#: The pause after a denial that names none, the longest to which it grows fourfold, and the longest after long denials.
MIN_PAUSE: Final = Duration(SECOND)
MAX_PAUSE: Final = MINUTE
MAX_SPELL_PAUSE: Final = Duration(5 * MINUTE)
#: A denial is forgotten after so long, and not before four times the time that the curve needs to be back at its peak.
FORGET_AFTER: Final = Duration(10 * MINUTE)

_FORGET_FLATS: Final = 4
#: A denial takes as long as the answers that come soonest, because the provider does no work for it. That time becomes longer
#: by one part in so many of what an answer takes more.
_LONGER_BY: Final = 16
#: What was accepted in the shortest of the spans is what a provider grants if it is at least this part of the latest rate,
#: and so many calls.
_USED: Final = 0.85
_TELLING: Final = 30
#: So many calls of a second are a rate.
_TELLING_SECOND: Final = 10
#: The rate of a window is passed after this many windows at the earliest: a window is spent before it denies.
_WINDOW_FLATS: Final = 2
_PAUSE_PART: Final = 8
#: At least one part in so many of the time in which calls were denied makes a window.
_WINDOW_PART: Final = 4
#: A rate that holds nothing up.
NO_RATE: Final = 1e6


class RateLearner:
    """What denials, and their absence, say about the rate of a provider.

    With `gentle`, the rate begins at `FIRST_RATE`; otherwise it holds nothing up before the first denial. Instants must not go
    back.
    """

    __slots__ = (
        "_curve",
        "_before",
        "_cycle_at",
        "_cycle_calls",
        "_denied_calls",
        "_flat",
        "_in_spell",
        "_measured",
        "_moved_at",
        "_paused",
        "_probe_every",
        "_probing",
        "_since",
        "_throttled_at",
        "_spell_at",
        "_took",
        "denials",
        "gentle",
        "pace",
        "rate",
        "stated",
        "window",
    )

    def __init__(self, now: Instant, *, gentle: bool) -> None:
        self.gentle = gentle
        #: Requests per second.
        self.rate = FIRST_RATE if gentle else NO_RATE
        #: The rate at which the calls of a window at fixed times may be sent: it was accepted. 0 if no such window is known.
        self.pace = 0.0
        #: Denials in a row, of which each shows that the reaction to the one before was too little.
        self.denials = 0
        #: What the provider grants in a span of time.
        self.window = LearnedWindow()
        self._measured = MeasuredRate(_seconds(now))
        self._paused = False
        #: The curve since the last denial that matters.
        self._curve: Cubic | None = None
        self._throttled_at = Instant(-1)
        #: When a gentle rate last changed.
        self._moved_at = now
        #: The end of the latest spell of denials, the calls granted since, and those of them until the latest denial; the
        #: beginning of the latest spell.
        self._cycle_at = now
        self._cycle_calls = self._denied_calls = 0
        self._spell_at = now
        self._in_spell = False
        #: Calls granted since a gentle rate last changed, and how soon the soonest are answered; None before the first answer.
        self._since = 0
        self._took: int | None = None
        #: The rate of the limits that the server states: a gentle rate is a little more before a denial. 0 if it is not
        #: believed yet, and None if it states none.
        self.stated: float | None = None
        #: A gentle rate before it last grew.
        self._before = FIRST_RATE
        self._probe_every = PROBE_EVERY
        #: Whether the next call is alone: it finds out whether the provider still denies.
        self._probing = False
        #: The least seconds until the curve is back at its peak, for a provider with a long window.
        self._flat = 0.0

    def granted(self, now: Instant, count: int) -> None:
        """Moves the rate as of a grant. A gentle one grows only while it is used."""
        if self._paused:
            # A pause is none of the rate at which calls are sent.
            self._measured = MeasuredRate(_seconds(now))
            self._paused = False
        self._measured.add(_seconds(now), count)
        self.window.add(now, count)
        self._cycle_calls += count
        self._since += count
        if self._probing:
            self._probing = False
            return
        if self._in_spell and self.denials > 1:
            self._recovered(now)
        if self._curve is not None and not self.gentle and now >= self.forgets_at():
            self._forget(now)
        if self._curve is not None:
            # What was sent lately bounds the growth, so that a quiet time does not raise the rate.
            sent, curve = self._measured.rate, self._curve
            # Beyond the rate of the last denial it grows only while it is used: an unused rate is not worth a denial.
            used = self.window.used(now)[0] * SECOND / SPANS[0]
            most = min(max(2 * sent, curve.least), max(curve.peak, MAX_BEYOND * used))
            self.rate = max(MIN_RATE, min(curve.rate(_seconds(now)), most))
            self.window.follow(self.rate, held=self.pace > self.rate)
        elif self.gentle and self.rate < NO_RATE:
            if self.window.used(now)[-1] <= count:
                # Nothing was sent in the longest span: whether so many calls are still accepted is not known.
                self.rate, self._moved_at, self._since = min(self.rate, FIRST_RATE), now, 0
            self._grow(now)

    def recall(self, calls: Iterable[tuple[Instant, int]]) -> None:
        """Calls that were granted before anything was learned, in order of time."""
        for granted_at, count in calls:
            self.window.add(granted_at, count)

    def has_accepted(self, now: Instant, since: Instant, granted_at: Instant, *, succeeded: bool) -> bool:
        """A call is denied that was granted then. Whether one granted after `since` has been accepted: see `LearnedWindow`."""
        self.window.remove(granted_at)
        return self.window.has_accepted(since, granted_at, now, succeeded=succeeded)

    def relieve(self, now: Instant) -> None:
        """The denials so far were none of the rate: they are forgotten, and what was sent before them is sent again."""
        if self._curve is not None:
            self.rate = max(self.rate, self._curve.peak)
            self._forget(now)

    def _forget(self, now: Instant) -> None:
        self._curve, self._moved_at, self._flat, self._in_spell, self.pace = None, now, 0.0, False, 0.0
        self._probe_every, self.denials = PROBE_EVERY, 0
        self.window.forget()
        self.rate = self.rate if self.gentle else NO_RATE

    def answered(self, took: int) -> None:
        """The answer to a call has begun so many microseconds after its grant. A gentle rate grows by the soonest of these."""
        known = took if self._took is None else self._took
        self._took = took if took < known else known + (took - known) // _LONGER_BY

    def state_rate(self, now: Instant, rate: float) -> None:
        """The server states limits of so many requests per second. A gentle rate that is lower grows at once."""
        self.stated = rate
        if rate and self.gentle and self._curve is None and self.rate < NO_RATE:
            self._follow_answers(now)

    def _grow(self, now: Instant) -> None:
        """A gentle rate grows by what has been accepted, and doubles with time if it is used."""
        passed = now - self._moved_at
        if passed >= DOUBLE_AFTER:
            if 2 * self._since >= self.rate * _seconds(passed):
                many = self._took is not None and self.rate * self._took >= MAX_UNDER_WAY * SECOND
                self._before, self.rate = self.rate, min(self.rate * (1.5 if many else 2.0), NO_RATE)
            self._moved_at, self._since = now, 0
        self._follow_answers(now)

    def _follow_answers(self, now: Instant) -> None:
        """A gentle rate that has not been denied follows what was accepted, and what the server states."""
        most = NO_RATE
        if self.stated:
            # Faster, what is left of the limit would be spent before an answer says so.
            most = max(MAX_AHEAD * self.stated, FIRST_RATE)
            self.rate = min(self.rate, most)
        if self._took:
            took = max(self._took, MIN_TOOK)
            accepted = self.window.used(now)[-1]
            risked = accepted / UNDER_WAY_PART + max(0, accepted - MANY) / MANY_PART
            under_way = min(risked, MAX_UNDER_WAY)
            rate = min(max(under_way * SECOND / took, AHEAD * (self.stated or 0.0)), MAX_UNDER_WAY * SECOND / took, most)
            if rate > self.rate:
                self._before = rate / 2
                self.rate, self._moved_at, self._since = rate, now, 0

    def throttled(
        self,
        now: Instant,
        grant: Grant,
        *,
        sent: float,
        succeeded: bool,
        wait: Duration | None = None,
        limit: int | None = None,
    ) -> Duration | None:
        """See `LearnedRatePolicy.throttled`."""
        granted_at = grant.granted_at
        self.window.remove(granted_at)
        if granted_at <= self._throttled_at:
            return None
        if self._curve is None or self.window.has_accepted(self._throttled_at, granted_at, now, succeeded=succeeded):
            self._react(now, grant, sent=sent, wait=wait, limit=limit)
            self.denials = 1
            self._spell_at = now
        else:
            self.denials += 1
            self._probing = True
            self.pace = 0.0
            lasts, span = MIN_PAUSE if wait is None else wait, self.window.span
            if wait is not None and wait <= SHORT and self.window.has_begun(Instant(now + wait)):
                # A window may be as long as calls have been sent.
                self._restart(now, min(self._curve.peak, self.window.through(now)), STEADY)
            else:
                known = self.window.deny(now, lasts, again=True)
                if known is not None and (self.denials == 2 or span is None):
                    self._restart(now, known, STEADY)
            self._curve.throttled_at = _seconds(now)
            self.rate = min(self.rate, PROBE_RATE)
        self._in_spell = self._paused = True
        self._throttled_at, self._denied_calls = now, self._cycle_calls
        longest = min(max(MAX_PAUSE, (now - self._spell_at) // _PAUSE_PART), MAX_SPELL_PAUSE)
        return Duration(min(MIN_PAUSE << min(2 * (self.denials - 1), 16), longest))

    @property
    def speed(self) -> float:
        """The calls per second that may be sent, as far as they are within the window."""
        return self.rate if self._probing else max(self.rate, self.pace)

    def accepted(self, now: Instant) -> tuple[int, ...]:
        """The calls that were accepted in each of the `SPANS` of a window, including those that are not denied yet."""
        return self.window.used(now)

    def forgets_at(self) -> Instant:
        """When the last denial no longer matters; 0 if there was none."""
        if self._curve is None:
            return Instant(0)
        flats = math.ceil(_FORGET_FLATS * self._curve.flat_after * SECOND)
        return Instant(self._throttled_at + max(FORGET_AFTER, flats))

    def _react(self, now: Instant, grant: Grant, *, sent: float, wait: Duration | None, limit: int | None) -> None:
        """A denial that is the first after accepted calls: the rate was too much, or a window is spent."""
        if self._in_spell:
            self._recovered(self._throttled_at)
        rate, beta = self._too_much(now, grant, sent=sent, wait=wait)
        steady = self._curve is not None and now - self._spell_at >= self._curve.flat_after * SECOND / 2
        if steady:
            self._probe_every = min(2 * self._probe_every, MAX_PROBE_EVERY)
        elif self._curve is None or rate < STEADY * self._curve.peak:
            self._probe_every = PROBE_EVERY  # Otherwise it is the same limit, of which jitter took a part.
        # Denied soon again, although the calls of the span were held back: the span is longer.
        span = self.window.span
        least = rate if steady else 0.0
        longer = not steady and span is not None
        known = self.window.deny(now, wait, again=longer, least=least, rate=self._measured.rate, limit=limit)
        if known is not None and self.window.span != span:
            rate = known  # What was sent of late was bounded by another span, or by none.
        elif known is not None:
            rate = min(rate, known)
        # What is sent in one part of such a window has no bearing on its limit.
        self.pace = max(self.pace, self.window.fastest()) if self.window.is_fixed else 0.0
        is_found = steady or self.window.is_stated or self.window.is_fixed
        self._restart(now, rate, STEADY if is_found else beta, wait or 0)

    def _too_much(self, now: Instant, grant: Grant, *, sent: float, wait: Duration | None) -> tuple[float, float]:
        """The rate at which a call was denied, and the part of it that is left."""
        rate = self._measured.rate or (sent if self._curve is None else 0.0) or self.rate
        rate = min(max(rate, self.window.mean(now)), self.rate)
        is_rate = wait is not None and wait <= SHORT
        if self._curve is not None and is_rate and self.window.has_begun(now):
            # What a bucket held at first is spent: from one denial to the next it has gained what was accepted.
            count = self.window.since(self._throttled_at)
            rate = rate if count >= _TELLING_SECOND else min(rate, count * SECOND / (now - self._throttled_at))
        if is_rate and not grant.ahead and grant.granted_at - self._throttled_at > SHORT + SECOND:
            # Calls that were sent after the denied one may be denied as well. In a pause none are sent.
            latest = self.window.sent_before(grant.granted_at)
            rate = min(rate, latest) if latest >= _TELLING_SECOND else rate
        if self._curve is not None and is_rate:
            # The end of a growing rate spends what a bucket holds; what it gains is what was accepted for longer.
            count = self.window.used(now)[0]
            longer = count * SECOND / SPANS[0]
            rate = longer if count >= _TELLING and _USED * rate <= longer < rate else rate
        if self._curve is not None or not self.gentle or self.rate <= FIRST_RATE:
            return rate, BETA
        # It has grown since it was last found not to be too much. A limit of a rate is between the two.
        before = min(rate, self._before)
        held = self.window.used(now)[0] * SECOND / SPANS[0]
        if is_rate and held > (before + rate) / 2:
            return min(held, rate), BETA  # So much was accepted for longer than the rate took to grow.
        rate = (before + rate) / 2 if is_rate else before
        return rate, BETA * before / rate

    def _restart(self, now: Instant, rate: float, beta: float, wait: int = 0) -> None:
        """The curve begins anew at a rate that was too much, of which a part `beta` is left.

        At the end of the `wait` that the server asks for, it is half way back at that rate at most: nothing was found out.
        """
        rate = max(rate, MIN_RATE)
        flat = max(self._flat, self._probe_every / rate, PROBE_WAITS * _seconds(wait), _seconds(MIN_FLAT))
        flat = min(flat, _seconds(MAX_FLAT))
        self._curve = Cubic(beta=beta)
        begins = _seconds(now) + max(0.0, _seconds(wait) - flat / 2)
        self.rate = max(MIN_RATE, self._curve.throttled(begins, rate, flat))

    def _recovered(self, now: Instant) -> None:
        """The provider answers again after a spell of denials. After a long one, what got through is its rate."""
        assert self._curve is not None
        spell, cycle = now - self._spell_at, now - self._cycle_at
        if self.denials > 1 and self.window.span is None:
            # All calls may have been in a window that ends now.
            self._restart(now, min(self._curve.peak, self.window.through(now)), STEADY)
        if spell > MINUTE and 0 < cycle < spell * _WINDOW_PART:
            through = self._cycle_calls * SECOND / cycle
            self._flat = _WINDOW_FLATS * _seconds(cycle)
            self._restart(now, min(self._curve.peak, through), BETA)
        self._in_spell = False
        self._cycle_at = now
        self._cycle_calls -= self._denied_calls


def _seconds(span: int) -> float:
    return span / SECOND
