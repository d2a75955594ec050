"""Token bucket, implemented as GCRA: one integer of state.

GCRA is the virtual scheduling algorithm of ITU-T I.371 (2004), section A.1: instead of counting tokens it keeps the theoretical
arrival time (TAT), the instant at which the bucket is full again. This implementation departs from it in one point: it counts
time in units of 1/amount microsecond, so that every rate that can be written as amount per duration is exact.

Law: in every window of length w, admitted cost <= burst + rate * w.

A provider that keeps the same bucket counts requests when they *arrive*. If they arrive between 0 and m later than they were
granted, then what arrives within w was granted within w + m, which is at most burst + rate * w if the burst is smaller by
rate * m here. Where nothing would be left of the burst, it is one token, and each token takes (1/rate + m) / burst. Both are
the smallest reductions, and `assume` makes them.

Leased tokens may be used at any instant, which is not known in advance. So the bucket holds that many less while they are
outstanding, and they are spent when their use is reported: until then their place is not refilled.
"""

from math import ceil, inf
from typing import TYPE_CHECKING, ClassVar, Final, Self

import msgspec
from msgspec.structs import replace

from governor._fields import BucketFields
from governor._units import AFTER_OUTCOME, MAX_DURATION, NEVER, Duration, DurationLike, Instant
from governor.policies import _checks
from governor.policies._arithmetic import BucketArithmetic
from governor.policies._backlog import Backlog, BacklogState
from governor.policies._rate_text import parse_rate, rate_text
from governor.policies.arrivals import Arrivals
from governor.policies.contract import PLAIN, REQUESTS, Grant, Limit, LimitPolicy, Request, Result

#: Before every grant.
_NOT_YET: Final = Instant(-1)


class TokenBucket(Limit, frozen=True):
    """`amount` units per `per`, and at most `burst` of them at once: `60/minute burst 10`.

    `amount` and `burst` are at least 1. `per` is text or a `timedelta`, from 1 microsecond to 366 days. Raises `ConfigError`.
    """

    amount: int
    per: Duration
    burst: int
    unit: str = REQUESTS

    examples: ClassVar[tuple[str, ...]] = ("60/minute burst 10", "8.33/s burst 500")

    if TYPE_CHECKING:

        def __init__(self, amount: int, per: DurationLike, burst: int, unit: str = REQUESTS) -> None: ...

    def __post_init__(self) -> None:
        _checks.integers(self)
        _checks.whole("amount", self.amount)
        _checks.span(self, "per")
        _checks.whole("burst", self.burst)
        _checks.unit_name("unit", self.unit)

    @property
    def capacity(self) -> int:
        """The burst."""
        return self.burst

    @property
    def refill_rate(self) -> float:
        """Tokens per second."""
        return self.amount * 1_000_000 / self.per

    def refill_time(self, units: int) -> int:
        """Microseconds, rounded up, in which so many tokens are refilled."""
        return -(-units * int(self.per) // self.amount)

    def scaled(self, share: float) -> Self:
        """See `Limit.scaled`."""
        per = Duration(min(ceil(self.per / share), MAX_DURATION))
        return replace(self, per=per, burst=max(1, int(self.burst * share)))

    @classmethod
    def parse(cls, words: str) -> Self | None:
        """See `Limit.parse`."""
        rate = parse_rate(words)
        if rate is None or rate.strict:
            return None
        burst = max(1, rate.amount // rate.parts) if rate.burst is None else rate.burst
        return cls(rate.amount, Duration(rate.period * rate.parts), burst, rate.unit)

    def describe(self) -> str:
        """See `Limit.describe`."""
        return f"{rate_text(self.amount, self.per, self.unit)} burst {self.burst}"


class TokenBucketState(msgspec.Struct, frozen=True, tag="token_bucket"):
    """The state of a bucket, in ticks of 1/amount microsecond. It does not include leased tokens: recall them first."""

    tat: int
    refunded: int
    changed_at: Instant = _NOT_YET
    backlog: BacklogState | None = None


class TokenBucketPolicy(LimitPolicy, BucketFields):
    """The state machine: full at first, refilled continuously up to the burst, and at most `max_debt` bursts in debt."""

    __slots__ = (
        "_arithmetic",
        "_backlog",
        "_burst",
        "_changed_at",
        "_debt",
        "_leased",
        "_refunded",
        "_step",
        "_tolerance",
        "_unit",
        "leases_elsewhere",
    )

    state_type = TokenBucketState
    leases = True

    parameters: TokenBucket

    def __init__(self, parameters: TokenBucket, max_debt: float = inf) -> None:
        self.parameters, self.ready = parameters, 0  # What the base class does.
        self._debt = max_debt
        self._unit = None if parameters.unit == REQUESTS else parameters.unit
        self.leases_elsewhere = self._unit is None
        self._keep(parameters.amount, parameters.per, parameters.burst)
        #: The theoretical arrival time, in ticks.
        self.tat = 0
        self._refunded = 0
        #: For units whose calls often use fewer than they were granted; None for requests.
        self._backlog = None if self._unit is None else Backlog()
        # When it continued from a bucket with other parameters, which charged the grants until then.
        self._changed_at = _NOT_YET
        # Leased tokens in ticks; tolerance and slack are smaller by this.
        self._leased = 0

    def _keep(self, amount: int, per: int, burst: int) -> None:
        self._arithmetic = arithmetic = BucketArithmetic.of(amount, per, burst)
        # Copies, because `commit` and `earliest` are written out here: they run for every permit, and a call costs more.
        #: Ticks in a microsecond.
        self.ticks = arithmetic.ticks
        self._step = arithmetic.step
        #: Ticks that a plain request takes.
        self.plain = arithmetic.step if self._unit is None else 0
        self._burst = burst
        self._tolerance = arithmetic.tolerance
        #: By how much the TAT may be ahead of now, in ticks, while one more token is available.
        self.slack = arithmetic.slack

    def assume(self, arrivals: Arrivals) -> None:
        """Reduces the bucket for requests that arrive up to `bucket_margin` late."""
        limit, margin = self.parameters, int(arrivals.bucket_margin)
        burst = limit.burst - -(-limit.amount * margin // limit.per)
        if burst == limit.burst:
            return
        if burst >= 1:
            self._keep(limit.amount, limit.per, burst)
        else:
            self._keep(limit.amount * limit.burst, int(limit.per) + limit.amount * margin, 1)

    def capacity(self) -> int:
        """The burst, reduced for late arrivals."""
        return self._burst

    def refill_rate(self) -> float:
        """Tokens per second, reduced for late arrivals."""
        return self.ticks * 1_000_000 / self._step

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """The first instant at which the bucket holds the cost, after everything ahead has been granted."""
        cost = request.cost if self._unit is None else request.amount(self._unit)
        queued = cost if ahead is None else cost + ahead.amount(self._unit)
        full = now * self.ticks
        due = max(self.tat, full) + queued * self._step - self._tolerance
        if due <= full or cost == 0:
            return now
        if cost > self._burst:
            return NEVER
        if cost * self._step > self._tolerance:
            return AFTER_OUTCOME
        return min(Instant(-(-due // self.ticks)), NEVER)

    def commit(self, now: Instant, request: Request) -> int:
        """Takes the cost out. The receipt is the TAT afterwards, on a scale that refunds do not shift."""
        ticks = self.plain if request is PLAIN else request.amount(self._unit) * self._step
        tat = self.tat
        full = now * self.ticks
        if ticks and self._backlog is not None:
            self._backlog.note(now, tat - full)
        self.tat = tat = (tat if tat > full else full) + ticks
        if tat - full > self.slack:
            self.move(tat)
        return tat + self._refunded

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """Outcomes do not change a bucket."""

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """Puts the cost back, except for tokens that were refilled meanwhile."""
        self.settle(now, grant, receipt, -grant.request.amount(self._unit))

    def settle(self, now: Instant, grant: Grant, receipt: int | None, change: int) -> int:
        """Charges what was used beyond the permit, possibly as debt, or puts back what was not used.

        All debts together are at most `max_debt` bursts; the rest is dropped, and returned.

        Tokens taken at the grant are refilled as time passes, and refilled tokens must not be put back a second time: see
        `Backlog`. Where it knows nothing, at most the distance from now to the TAT just after the grant is put back, less
        every refund since; nothing for a grant from before the parameters changed.
        """
        full, backlog = now * self.ticks, self._backlog
        if change >= 0:
            if change and backlog is not None:
                backlog.note(now, self.tat - full)
            tat = max(self.tat, full)
            # By how much the TAT may be ahead of now because of what calls have used beyond their permits.
            max_debt = (self._burst + _checks.units_of(self._debt, self._burst)) * self._step
            kept = min(change, max(0, (full + max_debt - tat) // self._step))
            self.move(tat + kept * self._step)
            return change - kept
        if grant.granted_at <= self._changed_at:
            return 0
        if backlog is not None and grant.granted_at >= backlog.since:
            self._put_back(backlog.put_back(grant.granted_at, -change * self._step))
            return 0
        taken_until = grant.granted_at * self.ticks + grant.request.amount(self._unit) * self._step
        if receipt is not None:
            taken_until = max(taken_until, receipt - self._refunded)
        self._put_back(min(-change * self._step, max(0, taken_until - full)))
        return 0

    def _put_back(self, ticks: int) -> None:
        self.move(self.tat - ticks)
        self._refunded += ticks

    @property
    def is_exact(self) -> bool:  # type: ignore[override] # a constant in the base class
        """See `LimitPolicy.is_exact`.

        A request is granted at a whole microsecond, and a bucket that is full before loses what it would refill until then.
        """
        return self._step + self.ticks <= self._tolerance + 1

    def forecast(self, now: Instant) -> "TokenBucketPolicy":
        """A copy."""
        copy = another(self)
        copy.tat, copy._backlog = self.tat, None
        copy._lease(self._leased)
        return copy

    def max_hold(self, now: Instant, queued: Request, largest: Request) -> int:
        """The time to refill what is missing: while a queue waits for the bucket, it is not full and loses nothing."""
        full = now * self.ticks
        missing = max(self.tat, full) - full + queued.amount(self._unit) * self._step - self._tolerance
        return max(0, -(-missing // self.ticks)) if queued.amount(self._unit) else 0

    def pace(self, now: Instant, largest: Request | None) -> tuple[int, int, int]:
        """The burst at once, and the rate."""
        full = now * self.ticks
        most = self._burst
        if largest is not None:
            held = max(0, self._tolerance + full - max(self.tat, full)) // self._step
            # One more for the part of the next token that has been refilled.
            most = min(most, max(held + 1, largest.amount(self._unit)))
        return most, self.ticks, self._step

    def lease(self, now: Instant, count: int) -> None:
        """See `Leasable.lease`."""
        self._lease(count * self._step)

    def collect(self, now: Instant, used: int) -> None:
        """Spends the tokens now, the latest instant at which they can have been used."""
        if used and self._backlog is not None:
            self._backlog.note(now, self.tat - now * self.ticks)
        self.tat = max(self.tat, now * self.ticks) + used * self._step
        self._lease(-used * self._step)

    def reclaim(self, now: Instant, count: int) -> None:
        """Returns the tokens to the bucket."""
        self._lease(-count * self._step)

    def _lease(self, ticks: int) -> None:
        self._leased += ticks
        self._tolerance -= ticks
        self.slack -= ticks
        self.move(self.tat)

    def move(self, tat: int) -> None:
        """Sets the TAT, and `ready` with it."""
        self.tat = tat
        if self._unit is None:
            self.ready = NEVER if self.slack < 0 else min(NEVER, -((self.slack - tat) // self.ticks))

    def available(self, now: Instant) -> int:
        """Whole tokens in the bucket that are not leased."""
        left, ahead = self._tolerance, self.tat - now * self.ticks
        if ahead > 0:
            left -= ahead
        return left // self._step if left > 0 else 0  # Without a call: a status asks every scope.

    leasable = available

    def carry_over(self, now: Instant, before: Self) -> None:
        """The same share of the burst is left as in the other bucket."""
        if (self.ticks, self._step, self._burst) == (before.ticks, before._step, before._burst):
            self.restore(before.state())
            return
        self.move(self._arithmetic.carried_over(now, before.tat, before._arithmetic))
        self._changed_at = now

    def rests_at(self) -> Instant:
        """When the bucket is full."""
        return Instant(max(0, -(-self.tat // self.ticks)))

    def state(self) -> TokenBucketState:
        """The TAT, the sum of refunds, the instant of the latest change of parameters, and what was lacking at past grants."""
        backlog = None if self._backlog is None else self._backlog.state()
        return TokenBucketState(self.tat, self._refunded, self._changed_at, backlog)

    def restore(self, state: TokenBucketState) -> None:
        """See `LimitPolicy.restore`."""
        self._lease(-self._leased)
        if self._backlog is not None:
            self._backlog.restore(state.backlog)
        self.move(state.tat)
        self._refunded = state.refunded
        self._changed_at = state.changed_at


def another(bucket: TokenBucketPolicy) -> TokenBucketPolicy:
    """A full one with the same parameters, which are not looked at again: every new scope has one."""
    new = TokenBucketPolicy.__new__(TokenBucketPolicy)
    new.parameters, new.ready = bucket.parameters, 0
    new._debt = bucket._debt
    new._unit = bucket._unit
    new.leases_elsewhere = bucket.leases_elsewhere
    new._arithmetic = arithmetic = bucket._arithmetic
    new.ticks = arithmetic.ticks
    new._step = arithmetic.step
    new.plain = bucket.plain
    new._burst = bucket._burst
    new._tolerance = arithmetic.tolerance
    new.slack = arithmetic.slack
    new.tat = new._refunded = new._leased = 0
    new._backlog = None if bucket._unit is None else Backlog()
    new._changed_at = _NOT_YET
    return new
