"""What a server leaves of a bucket: bounds that grow as the bucket refills, up to the instant at which it is full.

An answer that says "R are left" was written between the grant of its request and its reading. Whenever that was, of the units
granted since then at most R may be used, and what the bucket has gained since. So of all these instants the one counts that
allows the least.

A bound is a line: until it ends, units granted so far times `per` must not pass `total` and `amount` for each microsecond since
the epoch. All lines are as steep, so that the lowest of several is the strictest.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from governor._units import SECOND, Instant
from governor.policies.gcra import TokenBucket
from governor.policies.learning._bounds import Bound, merge_closest, strictest

#: Bounds with different ends that hold at once.
MAX_BOUNDS: Final = 16
#: A server may state the time until a bucket is full in whole seconds, rounded up or down.
_ROUNDING: Final = SECOND
#: Of a bucket that refills as fast as this, the time says nothing.
_LEAST_PER: Final = 10 * SECOND


class Rate(NamedTuple):
    """`amount` units for each `per`."""

    amount: int
    per: int


def refilled_by(buckets: Iterable[TokenBucket], unit: str, limit: int | None, remaining: int, reset: int) -> Rate | None:
    """How fast the units come back of which a server says this, if it counts as a bucket of the settings does.

    That is so if the bucket gains by the reset what is missing of the limit. A window that ends then has more or fewer left.
    """
    for bucket in buckets:
        if limit is None or bucket.unit != unit or max(bucket.amount, bucket.burst) > limit or bucket.per < _LEAST_PER:
            continue
        if abs(limit * reset - (limit - remaining) * bucket.per) <= limit * _ROUNDING:
            return Rate(bucket.amount, int(bucket.per))
    return None


#: Before the first answer.
NO_RATE: Final = Rate(1, 1)


class Refill:
    """The bounds of one unit. There are none before the first answer."""

    __slots__ = ("bounds", "rate")

    def __init__(self, rate: Rate = NO_RATE, bounds: Iterable[Bound] = ()) -> None:
        self.rate = rate
        #: In order of `until` and, strictly, of `total`.
        self.bounds = list(bounds)

    def keep(self, now: Instant, rate: Rate, bound: Bound) -> None:
        """Adds a bound, and drops what it implies and what has ended. Bounds of another rate are forgotten."""
        kept = [one for one in self.bounds if one.until > now] if rate == self.rate else []
        kept.append(bound)
        kept.sort(key=lambda one: (one.until, -one.total))
        self.rate, self.bounds = rate, strictest(kept)
        if len(self.bounds) > MAX_BOUNDS:
            merge_closest(self.bounds)

    def earliest(self, now: Instant, needed: int) -> Instant:
        """The first instant from `now` on at which so many units may have been granted in all."""
        amount, per = self.rate
        at = now
        for bound in self.bounds:
            if bound.until > at:
                due = -((bound.total - needed * per) // amount)
                if due <= at:
                    break
                at = min(bound.until, Instant(due))
        return at

    def most(self, now: Instant) -> int | None:
        """The units that may have been granted in all by now; None if no bound holds."""
        amount, per = self.rate
        return next(((bound.total + amount * now) // per for bound in self.bounds if bound.until > now), None)

    def until(self) -> Instant:
        """When the last bound ends."""
        return self.bounds[-1].until if self.bounds else Instant(0)

    def correct(self, since: Instant, change: int) -> None:
        """A grant of this instant has used fewer units than was counted, which `change` below 0 says.

        A bound that was read later may count from an instant at which that grant was counted.
        """
        change *= self.rate.per
        self.bounds = strictest(
            [msgspec.structs.replace(one, total=one.total + change) if one.since >= since else one for one in self.bounds]
        )
