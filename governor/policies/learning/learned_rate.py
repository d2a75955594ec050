"""Learned rate: a token bucket whose rate is learned from denials that do not say what the limits are (`rate_learner`)."""

import math
from typing import Final

import msgspec

from governor._units import MINUTE, SECOND, Duration, Instant
from governor.policies.contract import Grant, Limit, LimitPolicy, Request, Result
from governor.policies.learning.rate_learner import NO_RATE, RateLearner

#: The bucket holds what the rate makes in one part of so many of a second: a window of a second has room for no more.
_BURST_PART: Final = 4
#: The part of a token that rounding may take.
_ROUNDING: Final = 1e-9


class LearnedRate(Limit, frozen=True):
    """The parameters of a learned rate. No policy file has such a limit: denials reveal it."""

    gentle: bool = False

    @property
    def capacity(self) -> int:
        """A rate that is not known holds nothing up."""
        return int(NO_RATE)

    def describe(self) -> str:
        """For statistics and messages."""
        return "learned rate"


class LearnedRateState(msgspec.Struct, frozen=True, tag="learned_rate"):
    """The rate and the tokens."""

    rate: float
    tokens: float
    filled_at: Instant


class LearnedRatePolicy(LimitPolicy):
    """The state machine, one for each provider: a token bucket of a quarter of a second, whose rate is learned.

    `gentle` is for a provider about which nothing is known. A `now` earlier than the latest one counts as the latest one.
    """

    __slots__ = ("_filled_at", "_leased", "_tokens", "awaits_answers", "learner")

    state_type = LearnedRateState
    is_exact = False
    leases = True

    def __init__(self, now: Instant, *, gentle: bool = False) -> None:
        super().__init__(LearnedRate(gentle))
        self.learner = RateLearner(now, gentle=gentle)
        self.awaits_answers = gentle
        self._filled_at = now
        self._tokens = self._burst()
        self._leased = 0

    @property
    def rate(self) -> float:
        """Requests per second as of the latest grant."""
        return self.learner.rate

    def throttled(
        self,
        now: Instant,
        grant: Grant,
        *,
        sent: float = 0.0,
        succeeded: bool = True,
        wait: Duration | None = None,
        limit: int | None = None,
    ) -> Duration | None:
        """The provider has denied a call without saying what its limit is. Returns the pause that is due if it names none.

        None for a call that was granted before the last reaction: it says nothing new. `sent` is the rate so far, where this
        policy has not measured it; `succeeded` tells whether a call is known to have succeeded since the last denial; `wait` is
        what the provider asks for, and `limit` what it states of requests, in a window that it does not state.
        """
        self._fill(now)
        learner = self.learner
        pause = learner.throttled(self._filled_at, grant, sent=sent, succeeded=succeeded, wait=wait, limit=limit)
        if pause is not None:
            self._tokens = min(self._tokens, 1.0)
            self._look()
        return pause

    # The admission contract.

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """When the bucket has a token for it; a request of more than fits waits for a full bucket, and leaves a debt."""
        before = (0 if ahead is None else ahead.cost) + self._leased
        at = max(now, self._filled_at)
        return max(
            self._when(at, min(request.cost, self._burst()) + before),
            self.learner.window.earliest(at, request.cost + before),
        )

    def commit(self, now: Instant, request: Request) -> int:
        """Takes the tokens."""
        self._spend(now, request.cost)
        return 0

    def answered(self, now: Instant, grant: Grant) -> None:
        """A gentle rate grows by how soon calls are answered. One that was granted ahead was sent later than it was granted."""
        if not grant.ahead:
            self.learner.answered(now - grant.granted_at)

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """Outcomes do not change it: only denials do."""

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """Returns the tokens."""
        self.learner.window.remove(grant.granted_at, grant.request.cost)
        self.settle(now, grant, receipt, -grant.request.cost)

    def settle(self, now: Instant, grant: Grant, receipt: int | None, change: int) -> int:
        """Takes what was used beyond the permit, as a debt of at most a minute, or returns what was not used."""
        self._fill(now)
        owed = max(self._tokens - change, min(self._tokens, -self.learner.rate * (MINUTE // SECOND)))
        self._tokens = min(owed, self._burst())
        self._look()
        return 0

    def forecast(self, now: Instant) -> "LearnedRatePolicy":
        """A copy in which the rate stays as it is."""
        copy = LearnedRatePolicy(now)
        copy.learner.rate = self.learner.speed
        copy.learner.window = self.learner.window.copy()
        copy._tokens, copy._filled_at, copy._leased = self._tokens, self._filled_at, self._leased
        return copy

    def max_hold(self, now: Instant, queued: Request, largest: Request) -> int:
        """At the rate of the moment, which does not fall without a denial."""
        at = max(now, self._filled_at)
        needed = queued.cost + self._leased
        return max(0, self._when(at, needed) - now, self.learner.window.earliest(at, needed) - now)

    def available(self, now: Instant) -> int:
        """Tokens in the bucket that are not leased."""
        at = max(now, self._filled_at)
        return max(0, min(int(self._tokens_at(at) + _ROUNDING), self.learner.window.available(at)) - self._leased)

    leasable = available

    def lease(self, now: Instant, count: int) -> None:
        """Reserves their tokens."""
        self._leased += count
        self._look()

    def collect(self, now: Instant, used: int) -> None:
        """Takes their tokens."""
        self._leased -= used
        if used:
            self._spend(now, used)

    def reclaim(self, now: Instant, count: int) -> None:
        """Frees their tokens."""
        self._leased -= count
        self._look()

    def rests_at(self) -> Instant:
        """When what was denied no longer matters."""
        return self.learner.forgets_at()

    def carry_over(self, now: Instant, before: "LearnedRatePolicy") -> None:
        """The same is known."""
        self.learner = before.learner
        self.restore(before.state())

    def state(self) -> LearnedRateState:
        """The state as a frozen record, for `restore`. What denials have taught is none of it."""
        return LearnedRateState(self.learner.rate, self._tokens, self._filled_at)

    def restore(self, state: LearnedRateState) -> None:
        """Continues from a state that `state` returned."""
        self.learner.rate, self._tokens, self._filled_at = state.rate, state.tokens, state.filled_at
        self._look()

    # The bucket.

    def _burst(self) -> float:
        """Tokens that fit: those of a part of a second, and at least one."""
        return max(1.0, self.learner.speed / _BURST_PART)

    def _tokens_at(self, at: Instant) -> float:
        return min(self._burst(), self._tokens + (at - self._filled_at) * self.learner.speed / SECOND)

    def _when(self, now: Instant, needed: float) -> Instant:
        missing = needed - self._tokens_at(now)
        rate = self.learner.speed
        return now if missing < _ROUNDING else Instant(now + math.ceil((missing - _ROUNDING) * SECOND / rate))

    def _fill(self, now: Instant) -> None:
        if now > self._filled_at:
            self._tokens = self._tokens_at(now)
            self._filled_at = now

    def _spend(self, now: Instant, count: int) -> None:
        self._fill(now)
        self._tokens -= count
        learner = self.learner
        learner.granted(self._filled_at, count)
        if learner.rate == NO_RATE:
            self._tokens = NO_RATE
        self._look()

    def _look(self) -> None:
        """Updates `ready`: when there is a token for one request."""
        bucket = 0 if self._tokens - self._leased >= 1 - _ROUNDING else self._when(self._filled_at, 1 + self._leased)
        self.ready = max(bucket, self.learner.window.earliest(Instant(0), 1 + self._leased))
