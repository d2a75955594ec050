"""Daily quota: a kind of limit that a user adds, in one file, as an example. `1000 per calendar day`.

All units return at once, when a day of the governor's clock ends; a small share of a quota is one unit in several days.
"""

import re
from math import ceil, inf
from typing import ClassVar, Final, Self

import msgspec

from governor import Grant, Instant, Limit, LimitPolicy, Request, Result, register_limit

DAY: Final = 86_400_000_000
_NEVER: Final = Instant(2**63 - 1)
_TEXT: Final = re.compile(r"(\d+) per (?:(\d+) )?calendar days?")


class DailyQuota(Limit, frozen=True):
    """At most `amount` requests in a day of the clock, or in so many `days`."""

    amount: int
    days: int = 1
    examples: ClassVar[tuple[str, ...]] = ("1000 per calendar day",)

    @property
    def capacity(self) -> int:
        return self.amount

    @property
    def refill_rate(self) -> float:
        return self.amount * 1_000_000 / (self.days * DAY)

    def scaled(self, share: float) -> Self:
        amount = int(self.amount * share)
        if amount:
            return msgspec.structs.replace(self, amount=amount)
        return msgspec.structs.replace(self, amount=1, days=ceil(self.days / (self.amount * share)))

    def refill_time(self, units: int) -> int:
        return self.days * DAY if units > 0 else 0

    @classmethod
    def parse(cls, words: str) -> Self | None:
        said = _TEXT.fullmatch(words)
        return cls(int(said[1]), int(said[2] or 1)) if said else None

    def describe(self) -> str:
        return f"{self.amount} per calendar day" if self.days == 1 else f"{self.amount} per {self.days} calendar days"


class DailyQuotaState(msgspec.Struct, frozen=True, tag="daily_quota"):
    """The day of the latest grant, or the number of its span of days, and the requests that were granted in it."""

    day: int
    used: int


class DailyQuotaPolicy(LimitPolicy):
    """The state machine: a count for one day."""

    __slots__ = ("_day", "_length", "_used")

    state_type = DailyQuotaState
    parameters: DailyQuota

    def __init__(self, parameters: DailyQuota, max_debt: float = inf) -> None:
        super().__init__(parameters, max_debt)
        self._length = parameters.days * DAY
        self._day = self._used = 0

    def _used_at(self, now: int) -> int:
        return self._used if now // self._length <= self._day else 0

    def _set(self, day: int, used: int) -> None:
        self._day, self._used = day, used
        # A plain request is granted at once while there is room, and from the end of the day on when there is none.
        self.ready = 0 if used < self.parameters.amount else (day + 1) * self._length

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        amount, cost = self.parameters.amount, request.cost
        if cost > amount:
            return _NEVER
        day, used = max(self._day, now // self._length), self._used_at(now)
        behind = 0 if ahead is None else ahead.cost
        while cost and (behind or used + cost > amount):
            # Of those ahead, as many as fit into the day, in requests like this one.
            fit = min(behind, max(0, amount - used) // cost * cost)
            behind, used = behind - fit, used + fit
            if behind or used + cost > amount:
                day, used = day + 1, 0
        return Instant(max(now, day * self._length)) if cost else now

    def commit(self, now: Instant, request: Request) -> int:
        self._set(max(self._day, now // self._length), self._used_at(now) + request.cost)
        return self._day

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        pass

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        if grant.granted_at // self._length == self._day:
            self._set(self._day, max(0, self._used - grant.request.cost))

    def settle(self, now: Instant, grant: Grant, receipt: int | None, change: int) -> int:
        self._set(max(self._day, now // self._length), max(0, self._used_at(now) + change))
        return 0

    def available(self, now: Instant) -> int:
        return max(0, self.parameters.amount - self._used_at(now))

    def forecast(self, now: Instant) -> "DailyQuotaPolicy":
        copy = DailyQuotaPolicy(self.parameters)
        copy.restore(self.state())
        return copy

    def max_hold(self, now: Instant, queued: Request, largest: Request) -> int:
        if queued.cost <= self.available(now):
            return 0
        # What is left of the day, and whole days, each but the last full of requests of the queue.
        days = -(-queued.cost // max(1, self.parameters.amount - largest.cost + 1))
        return (max(self._day, now // self._length) + days) * self._length - now

    def rests_at(self) -> Instant:
        return Instant((self._day + 1) * self._length if self._used else 0)

    def carry_over(self, now: Instant, before: Self) -> None:
        if self._length == before._length:
            self._set(before._day, before._used)
        else:
            self._set(now // self._length, before._used_at(now))

    def state(self) -> DailyQuotaState:
        return DailyQuotaState(self._day, self._used)

    def restore(self, state: DailyQuotaState) -> None:
        self._set(state.day, state.used)


def register() -> None:
    """The one line, which an entry point of the group `governor.limits` may name."""
    register_limit(DailyQuota, DailyQuotaPolicy)
