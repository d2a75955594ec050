"""Daily quota: a kind of limit that a user adds, in one file, as an example. `1000 per calendar day`.

All units return at once, when a day of the governor's clock ends.
"""

import re
from math import inf
from typing import ClassVar, Final, Self

import msgspec

from governor import Grant, Instant, Limit, LimitPolicy, Request, Result, register_limit

DAY: Final = 86_400_000_000
_NEVER: Final = Instant(2**63 - 1)
_TEXT: Final = re.compile(r"(\d+) per calendar day")


class DailyQuota(Limit, frozen=True):
    """At most `amount` requests in a day of the clock."""

    amount: int
    examples: ClassVar[tuple[str, ...]] = ("1000 per calendar day",)

    @property
    def capacity(self) -> int:
        return self.amount

    @property
    def refill_rate(self) -> float:
        return self.amount * 1_000_000 / DAY

    def scaled(self, share: float) -> Self:
        return msgspec.structs.replace(self, amount=max(1, int(self.amount * share)))

    def refill_time(self, units: int) -> int:
        return DAY if units > 0 else 0

    @classmethod
    def parse(cls, words: str) -> Self | None:
        said = _TEXT.fullmatch(words)
        return cls(int(said[1])) if said else None

    def describe(self) -> str:
        return f"{self.amount} per calendar day"


class DailyQuotaState(msgspec.Struct, frozen=True, tag="daily_quota"):
    """The day of the latest grant, and the requests that were granted in it."""

    day: int
    used: int


class DailyQuotaPolicy(LimitPolicy):
    """The state machine: a count for one day."""

    __slots__ = ("_day", "_used")

    state_type = DailyQuotaState
    parameters: DailyQuota

    def __init__(self, parameters: DailyQuota, max_debt: float = inf) -> None:
        super().__init__(parameters, max_debt)
        self._day = self._used = 0
        # `earliest` is always asked: the cached instant would move at midnight.
        self.ready = _NEVER

    def _used_at(self, now: int) -> int:
        return self._used if now // DAY <= self._day else 0

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        if request.cost > self.parameters.amount:
            return _NEVER
        day, used = max(self._day, now // DAY), self._used_at(now)
        behind = 0 if ahead is None else ahead.cost
        while behind or used + request.cost > self.parameters.amount:
            # Of those ahead, as many as fit into the day, in requests like this one.
            fit = min(behind, (self.parameters.amount - used) // request.cost * request.cost)
            behind, used = behind - fit, used + fit
            if behind or used + request.cost > self.parameters.amount:
                day, used = day + 1, 0
        return Instant(max(now, day * DAY))

    def commit(self, now: Instant, request: Request) -> int:
        self._used = self._used_at(now) + request.cost
        self._day = max(self._day, now // DAY)
        return self._day

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        pass

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        if grant.granted_at // DAY == self._day:
            self._used = max(0, self._used - grant.request.cost)

    def settle(self, now: Instant, grant: Grant, receipt: int | None, change: int) -> int:
        self._used = max(0, self._used + change)
        return 0

    def available(self, now: Instant) -> int:
        return max(0, self.parameters.amount - self._used_at(now))

    def forecast(self, now: Instant) -> "DailyQuotaPolicy":
        copy = DailyQuotaPolicy(self.parameters)
        copy.restore(self.state())
        return copy

    def max_hold(self, now: Instant, queued: Request, largest: Request) -> int:
        days = -(-queued.cost // max(1, self.parameters.amount - largest.cost + 1))
        return 0 if queued.cost <= self.available(now) else (1 + days) * DAY

    def rests_at(self) -> Instant:
        return Instant((self._day + 1) * DAY if self._used else 0)

    def carry_over(self, now: Instant, before: Self) -> None:
        self.restore(before.state())

    def state(self) -> DailyQuotaState:
        return DailyQuotaState(self._day, self._used)

    def restore(self, state: DailyQuotaState) -> None:
        self._day, self._used = state.day, state.used


def register() -> None:
    """The one line, which an entry point of the group `governor.limits` may name."""
    register_limit(DailyQuota, DailyQuotaPolicy)
