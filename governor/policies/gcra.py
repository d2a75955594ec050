"""Has the token bucket a token? The bucket is kept as GCRA: one integer of state.

GCRA is the virtual scheduling algorithm of ITU-T I.371 (2004), section A.1: instead of counting tokens it keeps the theoretical
arrival time (TAT), the instant at which the bucket would be full again. We depart from it in one point: time is counted in
units of 1/amount microsecond, so that every rate that can be written as amount per duration is exact and nothing drifts.

Law: in every window of length w, admitted cost <= burst + rate * w.

Tokens that are lent may be used at any moment, and nobody knows when they are. So the bucket holds that much less for as long
as they are out, and they are spent when their use is known: whatever became of them meanwhile has left no room to refill.
"""

from math import gcd, inf
from typing import TYPE_CHECKING, Final

import msgspec

from governor._units import AFTER_OUTCOME, NEVER, Duration, DurationLike, Instant
from governor.errors import Reason
from governor.policies import _checks
from governor.policies.contract import REQUESTS, Grant, Request, Result

#: Before every grant.
_NOT_YET: Final = Instant(-1)


class TokenBucket(msgspec.Struct, frozen=True):
    """`amount` units per `per`, with `burst` of them at once at most: `60/minute burst 10`.

    `amount` and `burst` are at least 1, `per` lies between 1 microsecond and 366 days. Raises `ConfigError`.
    """

    amount: int
    per: Duration
    burst: int
    unit: str = REQUESTS

    if TYPE_CHECKING:

        def __init__(self, amount: int, per: DurationLike, burst: int, unit: str = REQUESTS) -> None: ...

    def __post_init__(self) -> None:
        _checks.integers(self)
        _checks.whole("amount", self.amount)
        _checks.span(self, "per")
        _checks.whole("burst", self.burst)
        _checks.unit_name("unit", self.unit)


class TokenBucketState(msgspec.Struct, frozen=True, tag="token_bucket"):
    """Where a bucket stands, in ticks of 1/amount microsecond: enough to go on in another actor or process.

    What is lent is not part of it: whoever lends takes back first.
    """

    tat: int
    refunded: int
    changed_at: Instant = _NOT_YET


class TokenBucketPolicy:
    """The machine: full at first, refilled continuously, never above the burst. At most `max_debt` bursts in debt."""

    __slots__ = (
        "_burst",
        "_changed_at",
        "_lent",
        "_max_debt",
        "_refunded",
        "_slack",
        "_step",
        "_tat",
        "_ticks",
        "_tolerance",
        "_unit",
        "parameters",
        "ready",
    )

    reason = Reason.RATE_LIMIT

    def __init__(self, parameters: TokenBucket, max_debt: float = inf) -> None:
        self.parameters = parameters
        divisor = gcd(parameters.amount, parameters.per)
        self._ticks = parameters.amount // divisor
        self._step = int(parameters.per) // divisor
        self._burst = parameters.burst
        self._tolerance = parameters.burst * self._step
        # By how much the TAT may be ahead of now because of what calls have used beyond their permits.
        self._max_debt = (parameters.burst + _checks.units_of(max_debt, parameters.burst)) * self._step
        # By how much the TAT may be ahead of now when one more token is to be had.
        self._slack = self._tolerance - self._step
        self._unit = None if parameters.unit == REQUESTS else parameters.unit
        self._tat = 0
        self._refunded = 0
        # When it took over from a bucket with other parameters, by whose measure the grants until then were charged.
        self._changed_at = _NOT_YET
        # What is lent, in ticks: it is missing from the tolerance and from the slack.
        self._lent = 0
        self.ready = 0

    @property
    def unit(self) -> str:
        """What is counted."""
        return self.parameters.unit

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """The first instant at which the bucket holds the cost, once everything ahead has been served."""
        cost = request.cost if self._unit is None else request.amount(self._unit)
        queued = cost if ahead is None else cost + ahead.amount(self._unit)
        full = now * self._ticks
        due = max(self._tat, full) + queued * self._step - self._tolerance
        if due <= full or cost == 0:
            return now
        if cost > self._burst:
            return NEVER
        if cost * self._step > self._tolerance:
            return AFTER_OUTCOME
        return min(Instant(-(-due // self._ticks)), NEVER)

    def commit(self, now: Instant, request: Request) -> int:
        """Takes the cost out. The receipt is the TAT afterwards, on a scale that refunds do not move."""
        cost = request.cost if self._unit is None else request.amount(self._unit)
        tat = self._tat
        full = now * self._ticks
        self._tat = tat = (tat if tat > full else full) + cost * self._step
        if tat - full > self._slack:
            self._move(tat)
        return tat + self._refunded

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """A bucket learns nothing from outcomes."""

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """Puts the cost back, except for what the bucket has re-earned meanwhile."""
        self.settle(now, grant, receipt, -grant.request.amount(self._unit))

    def settle(self, now: Instant, grant: Grant, receipt: int | None, change: int) -> int:
        """Charges what was used beyond the permit (the bucket may go into debt), or puts back what was not used.

        All debts together are at most `max_debt` bursts; what is beyond is dropped, and returned.

        Tokens taken at the grant are re-earned as time passes, and what is re-earned must not be given back a second time. What
        is left to give back is at most the distance from now to the TAT just after the grant, less every refund since. For a
        grant from before the parameters changed that is nothing.
        """
        full = now * self._ticks
        if change >= 0:
            tat = max(self._tat, full)
            kept = min(change, max(0, (full + self._max_debt - tat) // self._step))
            self._move(tat + kept * self._step)
            return change - kept
        if grant.granted_at <= self._changed_at:
            return 0
        taken_until = grant.granted_at * self._ticks + grant.request.amount(self._unit) * self._step
        if receipt is not None:
            taken_until = max(taken_until, receipt - self._refunded)
        back = min(-change * self._step, max(0, taken_until - full))
        self._move(self._tat - back)
        self._refunded += back
        return 0

    @property
    def sums_exactly(self) -> bool:
        """Is `earliest` exact for plain requests behind others? If not, it is early by less than a microsecond for each.

        A request is granted at a whole microsecond, and a bucket that is full before loses what it would refill until then.
        """
        return self._step + self._ticks <= self._tolerance + 1

    def forecast(self, now: Instant) -> "TokenBucketPolicy":
        """A copy."""
        copy = TokenBucketPolicy(self.parameters)
        copy._tat = self._tat
        copy._lend(self._lent)
        return copy

    def longest_hold(self, now: Instant, queued: Request, largest: Request) -> int:
        """What is missing, at the rate: while somebody waits for the bucket it is not full, and loses nothing."""
        full = now * self._ticks
        missing = max(self._tat, full) - full + queued.amount(self._unit) * self._step - self._tolerance
        return max(0, -(-missing // self._ticks)) if queued.amount(self._unit) else 0

    def pace(self, now: Instant, largest: Request | None) -> tuple[int, int, int]:
        """Within a span that begins at `now` or later, at most `base` units are granted, and `amount` more for each `per`.

        With `largest` it is the bucket that holds up a queue: it then holds less than the largest request, but at first.
        """
        full = now * self._ticks
        most = self._burst
        if largest is not None:
            held = max(0, self._tolerance + full - max(self._tat, full)) // self._step
            # And what of the next token is there already.
            most = min(most, max(held + 1, largest.amount(self._unit)))
        return most, self._ticks, self._step

    def lendable(self, now: Instant) -> int:
        """Whole tokens in the bucket that are not lent."""
        return self.available(now)

    def lend(self, now: Instant, count: int) -> None:
        """The bucket holds so many less."""
        self._lend(count * self._step)

    def collect(self, now: Instant, used: int) -> None:
        """Spends them now, the latest instant at which they can have been used."""
        self._tat = max(self._tat, now * self._ticks) + used * self._step
        self._lend(-used * self._step)

    def reclaim(self, now: Instant, count: int) -> None:
        """The bucket holds so many more, and what it has refilled without them."""
        self._lend(-count * self._step)

    def _lend(self, ticks: int) -> None:
        self._lent += ticks
        self._tolerance -= ticks
        self._slack -= ticks
        self._move(self._tat)

    def _move(self, tat: int) -> None:
        self._tat = tat
        if self._unit is None:
            self.ready = NEVER if self._slack < 0 else -((self._slack - tat) // self._ticks)

    def available(self, now: Instant) -> int:
        """Whole tokens in the bucket that are not lent."""
        full = now * self._ticks
        return max(0, (self._tolerance + full - max(self._tat, full)) // self._step)

    def capacity(self) -> int:
        """The burst."""
        return self._burst

    def refill_rate(self) -> float:
        """Tokens per second."""
        return self.parameters.amount * 1_000_000 / self.parameters.per

    def take_over(self, now: Instant, other: "TokenBucketPolicy") -> None:
        """Goes on from where another bucket stands that has lent nothing: as large a part of the burst is left, not more."""
        if self.parameters == other.parameters:
            self.restore(other.state())
            return
        spent = max(0, other._tat - now * other._ticks)
        # Rounded up: nobody gains by the rounding.
        self._move(now * self._ticks - (-spent * self._tolerance // other._tolerance))
        self._changed_at = now

    def rests_at(self) -> Instant:
        """From when on it is full."""
        return Instant(max(0, -(-self._tat // self._ticks)))

    def state(self) -> TokenBucketState:
        """What `restore` needs to go on from here."""
        return TokenBucketState(self._tat, self._refunded, self._changed_at)

    def restore(self, state: TokenBucketState) -> None:
        """Goes on from a state taken earlier under the same parameters."""
        self._lend(-self._lent)
        self._move(state.tat)
        self._refunded = state.refunded
        self._changed_at = state.changed_at
