"""Parameters of a strict window, and its text."""

from math import ceil
from typing import TYPE_CHECKING, ClassVar, Self

from msgspec.structs import replace

from governor._units import MAX_DURATION, Duration, DurationLike
from governor.errors import ConfigError
from governor.policies import _checks
from governor.policies._rate_text import parse_rate, period_text, unit_text
from governor.policies.contract import REQUESTS, Limit


class StrictWindow(Limit, frozen=True):
    """At most `amount` units in any window of length `per`: `60 per minute strict`.

    `amount` is at least 1. `per` is text or a `timedelta`, from 1 microsecond to 366 days. Raises `ConfigError`.
    """

    amount: int
    per: Duration
    unit: str = REQUESTS

    examples: ClassVar[tuple[str, ...]] = ("60 per minute strict", "90000 tokens per minute strict")

    if TYPE_CHECKING:

        def __init__(self, amount: int, per: DurationLike, unit: str = REQUESTS) -> None: ...

    def __post_init__(self) -> None:
        _checks.integers(self)
        _checks.whole("amount", self.amount)
        _checks.span(self, "per")
        _checks.unit_name("unit", self.unit)

    @property
    def capacity(self) -> int:
        """Units in one window."""
        return self.amount

    @property
    def refill_rate(self) -> float:
        """Units per second in the long run, for calls that take no time."""
        return self.amount * 1_000_000 / self.per

    def refill_time(self, units: int) -> int:
        """One window, unless nothing is missing."""
        return int(self.per) if units > 0 else 0

    def scaled(self, share: float) -> Self:
        """See `Limit.scaled`."""
        amount = int(self.amount * share)
        if amount:
            return replace(self, amount=amount)
        return replace(self, amount=1, per=Duration(min(ceil(self.per / (self.amount * share)), MAX_DURATION)))

    @classmethod
    def parse(cls, words: str) -> Self | None:
        """See `Limit.parse`."""
        rate = parse_rate(words)
        if rate is None or not rate.strict:
            return None
        if rate.parts > 1:
            # 8.33 in each second and 833 in 100 seconds are different limits, and only one of them is meant.
            raise ConfigError("amount", rate.amount / rate.parts, "a whole number, as every strict window needs")
        return cls(rate.amount, rate.period, rate.unit)

    def describe(self) -> str:
        """See `Limit.describe`."""
        return f"{self.amount}{unit_text(self.unit)} per {period_text(self.per)} strict"
