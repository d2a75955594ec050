"""Arithmetic of token buckets as GCRA, shared by buckets for scopes and by tables of buckets for clients.

The state of a bucket is its theoretical arrival time (TAT) in ticks of 1/amount microsecond, with common factors removed.
"""

from functools import lru_cache
from math import gcd


class BucketArithmetic:
    """The parameters of a bucket in ticks: `ticks` per microsecond, `step` per token, `tolerance` for the burst. Immutable."""

    __slots__ = ("slack", "step", "ticks", "tolerance")

    def __init__(self, amount: int, per: int, burst: int) -> None:
        divisor = gcd(amount, per)
        self.ticks = amount // divisor
        # A plain integer: arithmetic with a subclass such as `Duration` is slower.
        self.step = int(per) // divisor
        self.tolerance = burst * self.step
        #: By how much the TAT may be ahead of now while one more token is available.
        self.slack = self.tolerance - self.step

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, amount: int, per: int, burst: int) -> "BucketArithmetic":
        """The same: one object for all buckets of these parameters."""
        return cls(amount, per, burst)

    def carried_over(self, now: int, tat: int, before: "BucketArithmetic") -> int:
        """The TAT of this bucket that leaves the same share of the burst as `tat` leaves in the bucket `before`.

        Rounded up, so that a change of parameters never adds tokens.
        """
        spent = max(0, tat - now * before.ticks)
        return now * self.ticks - (-spent * self.tolerance // before.tolerance)
