"""Learned rate: how fast a provider is asked that denies calls without saying what its limits are.

After a denial the rate falls to 0.7 of what was sent, and then follows a cubic curve back up and beyond (`cubic`). The curve
is stretched so that it takes at least `PROBE_EVERY` calls until it passes the rate of the last denial: probing costs denials,
and providers count those. A provider that denies call after call is given a pause that doubles, up to a minute, or an eighth
of the time for which it has denied.

A provider with a window lets a fast client spend it in a moment and denies the rest of it. What was sent just before the
denial says nothing then. If calls were denied for more than a quarter of the time since the denials before ended, what got
through in that time is the rate of the window, and counts instead.

An unknown provider begins at `FIRST_RATE`, and the rate doubles for every `DOUBLE_AFTER` in which it is used, until a denial.
"""

import math
from typing import Final

import msgspec

from governor._units import MINUTE, SECOND, Duration, Instant
from governor.policies.contract import Grant, Limit, LimitPolicy, Request, Result
from governor.policies.cubic import BETA, Cubic, MeasuredRate

#: The least rate, in requests per second.
MIN_RATE: Final = 0.1
#: The rate of single calls that find out whether a provider still denies.
PROBE_RATE: Final = 0.5
#: The rate at which an unknown provider is asked at first, and how long it is used before the rate doubles.
FIRST_RATE: Final = 2.0
DOUBLE_AFTER: Final = Duration(10 * SECOND)
#: Calls for each time that the rate of the last denial is tried again, and the longest time until it is.
PROBE_EVERY: Final = 200
MAX_FLAT: Final = Duration(10 * MINUTE)
#: The pause after a denial that names none, the longest to which it doubles, and the longest after long denials.
MIN_PAUSE: Final = SECOND
MAX_PAUSE: Final = MINUTE
MAX_SPELL_PAUSE: Final = Duration(5 * MINUTE)
#: A denial is forgotten after so long, and not before four times the time that the curve needs to be back at its peak.
FORGET_AFTER: Final = Duration(10 * MINUTE)

_FORGET_FLATS: Final = 4
#: The rate of a window is passed after this many windows at the earliest: a window is spent before it denies.
_WINDOW_FLATS: Final = 2
_PAUSE_PART: Final = 8
#: At least one part in so many of the time in which calls were denied makes a window.
_WINDOW_PART: Final = 4
#: A rate that holds nothing up.
_NO_RATE: Final = 1e6
#: The part of a token that rounding may take.
_ROUNDING: Final = 1e-9


class RateLearner:
    """What denials, and their absence, say about the rate of a provider.

    With `gentle`, the rate begins at `FIRST_RATE`; otherwise it holds nothing up before the first denial. Instants must not go
    back.
    """

    __slots__ = (
        "_curve",
        "_cycle_at",
        "_cycle_calls",
        "_flat",
        "_in_spell",
        "_measured",
        "_moved_at",
        "_probing",
        "_throttled_at",
        "_spell_at",
        "gentle",
        "rate",
        "denials",
    )

    def __init__(self, now: Instant, *, gentle: bool) -> None:
        self.gentle = gentle
        #: Requests per second.
        self.rate = FIRST_RATE if gentle else _NO_RATE
        #: Denials in a row, of which each shows that the reaction to the one before was too little.
        self.denials = 0
        self._measured = MeasuredRate(_seconds(now))
        #: The curve since the last denial that matters.
        self._curve: Cubic | None = None
        self._throttled_at = Instant(-1)
        #: When a gentle rate last changed.
        self._moved_at = now
        #: The end of the latest spell of denials, and the calls granted since; the beginning of the latest one.
        self._cycle_at = now
        self._cycle_calls = 0
        self._spell_at = now
        self._in_spell = False
        #: Whether the next call is alone: it finds out whether the provider still denies.
        self._probing = False
        #: The least seconds until the curve is back at its peak, for a provider with a window.
        self._flat = 0.0

    def granted(self, now: Instant, count: int, *, scarce: bool) -> None:
        """Moves the rate as of a grant. `scarce` says whether the rate is in use: only then a gentle one grows."""
        self._measured.add(_seconds(now), count)
        self._cycle_calls += count
        if self._probing:
            self._probing = False
            return
        if self._in_spell and self.denials > 1:
            self._recovered(now)
        if self._curve is not None and now >= self.forgets_at():
            self._curve, self._moved_at, self._flat, self._in_spell = None, now, 0.0, False
            self.rate = self.rate if self.gentle else _NO_RATE
        if self._curve is not None:
            # What was sent lately bounds the growth, so that a quiet time does not raise the rate.
            sent, curve = self._measured.rate, self._curve
            self.rate = max(MIN_RATE, min(curve.rate(_seconds(now)), max(2 * sent, BETA * curve.peak)))
        elif self.gentle and now - self._moved_at >= DOUBLE_AFTER:
            self.rate = min(2 * self.rate, _NO_RATE) if scarce else self.rate
            self._moved_at = now

    def throttled(self, now: Instant, granted_at: Instant, *, sent: float, succeeded: bool) -> Duration | None:
        """See `LearnedRatePolicy.throttled`."""
        if granted_at <= self._throttled_at:
            return None
        if succeeded or self._curve is None:
            if self._in_spell:
                self._recovered(self._throttled_at)
            self._restart(now, min(self._measured.rate or sent or self.rate, self.rate))
            self.denials = 1
            self._spell_at = now
        else:
            self.denials += 1
            self._probing = True
            self._curve.throttled_at = _seconds(now)
            self.rate = min(self.rate, PROBE_RATE)
        self._in_spell = True
        self._throttled_at = now
        longest = min(max(MAX_PAUSE, (now - self._spell_at) // _PAUSE_PART), MAX_SPELL_PAUSE)
        return Duration(min(MIN_PAUSE << min(self.denials - 1, 16), longest))

    def forgets_at(self) -> Instant:
        """When the last denial no longer matters; 0 if there was none."""
        if self._curve is None:
            return Instant(0)
        flats = math.ceil(_FORGET_FLATS * self._curve.flat_after * SECOND)
        return Instant(self._throttled_at + max(FORGET_AFTER, flats))

    def _restart(self, now: Instant, rate: float) -> None:
        """The curve begins anew at a rate that was too much."""
        rate = max(rate, MIN_RATE)
        self._curve = self._curve or Cubic()
        flat = min(max(self._flat, PROBE_EVERY / rate), _seconds(MAX_FLAT))
        self.rate = max(MIN_RATE, self._curve.throttled(_seconds(now), rate, flat))

    def _recovered(self, now: Instant) -> None:
        """The provider answers again after a spell of denials."""
        assert self._curve is not None
        spell, cycle = now - self._spell_at, now - self._cycle_at
        if spell * _WINDOW_PART > cycle:
            through = self._cycle_calls * SECOND / cycle
            self._flat = _WINDOW_FLATS * _seconds(cycle)
            self._restart(now, min(self._curve.peak, through))
        self._in_spell = False
        self._cycle_at = now
        self._cycle_calls = 0


class LearnedRate(Limit, frozen=True):
    """The parameters of a learned rate. No policy file has such a limit: denials reveal it."""

    gentle: bool = False

    @property
    def capacity(self) -> int:
        """A rate that is not known holds nothing up."""
        return int(_NO_RATE)

    def describe(self) -> str:
        """For statistics and messages."""
        return "learned rate"


class LearnedRateState(msgspec.Struct, frozen=True, tag="learned_rate"):
    """The rate and the tokens."""

    rate: float
    tokens: float
    filled_at: Instant


class LearnedRatePolicy(LimitPolicy):
    """The state machine, one for each provider: a token bucket of one second, whose rate is learned.

    `gentle` is for a provider about which nothing is known. A `now` earlier than the latest one counts as the latest one.
    """

    __slots__ = ("_filled_at", "_learner", "_lent", "_tokens")

    state_type = LearnedRateState
    is_exact = False
    lends = True

    def __init__(self, now: Instant, *, gentle: bool = False) -> None:
        super().__init__(LearnedRate(gentle))
        self._learner = RateLearner(now, gentle=gentle)
        self._filled_at = now
        self._tokens = self._burst()
        self._lent = 0

    @property
    def rate(self) -> float:
        """Requests per second as of the latest grant."""
        return self._learner.rate

    def throttled(self, now: Instant, grant: Grant, *, sent: float = 0.0, succeeded: bool = True) -> Duration | None:
        """The provider has denied a call without saying for how long. Returns the pause that is due.

        None, and nothing changes, for a call that was granted before the last reaction: it says nothing new. `sent` is the rate
        so far, where this policy has not measured it; `succeeded` tells whether a call has succeeded since the last denial.
        """
        self._fill(now)
        pause = self._learner.throttled(self._filled_at, grant.granted_at, sent=sent, succeeded=succeeded)
        if pause is not None:
            self._tokens = min(self._tokens, 1.0)
            self._look()
        return pause

    # The admission contract.

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """When the bucket has a token for it; a request of more than fits waits for a full bucket, and leaves a debt."""
        needed = min(request.cost, self._burst()) + (0 if ahead is None else ahead.cost) + self._lent
        return self._when(max(now, self._filled_at), needed)

    def commit(self, now: Instant, request: Request) -> int:
        """Takes the tokens."""
        self._spend(now, request.cost)
        return 0

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """Outcomes do not change it: only denials do."""

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """Returns the tokens."""
        self.settle(now, grant, receipt, -grant.request.cost)

    def settle(self, now: Instant, grant: Grant, receipt: int | None, change: int) -> int:
        """Takes what was used beyond the permit, or returns what was not used."""
        self._fill(now)
        self._tokens = min(self._tokens - change, self._burst())
        self._look()
        return 0

    def forecast(self, now: Instant) -> "LearnedRatePolicy":
        """A copy in which the rate stays as it is."""
        copy = LearnedRatePolicy(now)
        copy._learner.rate = self._learner.rate
        copy._tokens, copy._filled_at, copy._lent = self._tokens, self._filled_at, self._lent
        return copy

    def max_hold(self, now: Instant, queued: Request, largest: Request) -> int:
        """At the rate of the moment, which does not fall without a denial."""
        return max(0, self._when(max(now, self._filled_at), queued.cost + self._lent) - now)

    def available(self, now: Instant) -> int:
        """Tokens in the bucket that are not lent."""
        return max(0, int(self._tokens_at(max(now, self._filled_at)) + _ROUNDING) - self._lent)

    def lendable(self, now: Instant) -> int:
        """The same."""
        return self.available(now)

    def lend(self, now: Instant, count: int) -> None:
        """Reserves their tokens."""
        self._lent += count
        self._look()

    def collect(self, now: Instant, used: int) -> None:
        """Takes their tokens."""
        self._lent -= used
        if used:
            self._spend(now, used)

    def reclaim(self, now: Instant, count: int) -> None:
        """Frees their tokens."""
        self._lent -= count
        self._look()

    def rests_at(self) -> Instant:
        """When what was denied no longer matters."""
        return self._learner.forgets_at()

    def carry_over(self, now: Instant, before: "LearnedRatePolicy") -> None:
        """The same is known."""
        self._learner = before._learner
        self.restore(before.state())

    def state(self) -> LearnedRateState:
        """The state as a frozen record, for `restore`. What denials have taught is none of it."""
        return LearnedRateState(self._learner.rate, self._tokens, self._filled_at)

    def restore(self, state: LearnedRateState) -> None:
        """Continues from a state that `state` returned."""
        self._learner.rate, self._tokens, self._filled_at = state.rate, state.tokens, state.filled_at
        self._look()

    # The bucket.

    def _burst(self) -> float:
        """Tokens that fit: those of a second, and at least one."""
        return max(1.0, self._learner.rate)

    def _tokens_at(self, at: Instant) -> float:
        return min(self._burst(), self._tokens + (at - self._filled_at) * self._learner.rate / SECOND)

    def _when(self, now: Instant, needed: float) -> Instant:
        missing = needed - self._tokens_at(now)
        rate = self._learner.rate
        return now if missing < _ROUNDING else Instant(now + math.ceil((missing - _ROUNDING) * SECOND / rate))

    def _fill(self, now: Instant) -> None:
        if now > self._filled_at:
            self._tokens = self._tokens_at(now)
            self._filled_at = now

    def _spend(self, now: Instant, count: int) -> None:
        self._fill(now)
        self._tokens -= count
        learner = self._learner
        learner.granted(self._filled_at, count, scarce=self._tokens < self._burst() / 2)
        if learner.rate == _NO_RATE:
            self._tokens = _NO_RATE
        self._look()

    def _look(self) -> None:
        """Updates `ready`: when there is a token for one request."""
        self.ready = 0 if self._tokens - self._lent >= 1 - _ROUNDING else self._when(self._filled_at, 1 + self._lent)


def _seconds(span: int) -> float:
    return span / SECOND
