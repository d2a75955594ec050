"""Limit on concurrency: a maximum number of requests in flight."""

import re
from math import inf
from typing import ClassVar, Final, Self

import msgspec

from governor._units import AFTER_OUTCOME, NEVER, WHOLE, Instant
from governor.errors import Reason
from governor.policies import _checks
from governor.policies.contract import Grant, Limit, LimitPolicy, Request, Result

_TEXT: Final = re.compile(rf"({WHOLE})\s+in\s+flight")


class InFlight(Limit, frozen=True):
    """At most `amount` requests in flight at once: `30 in flight`. `amount` is at least 1. Raises `ConfigError`."""

    amount: int

    examples: ClassVar[tuple[str, ...]] = ("30 in flight",)

    def __post_init__(self) -> None:
        _checks.integers(self)
        _checks.whole("amount", self.amount)

    @property
    def capacity(self) -> int:
        """Requests that may be in flight at once."""
        return self.amount

    @classmethod
    def parse(cls, words: str) -> Self | None:
        """See `Limit.parse`."""
        said = _TEXT.fullmatch(words)
        return cls(int(said[1])) if said else None

    def describe(self) -> str:
        """See `Limit.describe`."""
        return f"{self.amount} in flight"


class InFlightState(msgspec.Struct, frozen=True, tag="in_flight"):
    """The number of requests in flight."""

    under_way: int


class InFlightPolicy(LimitPolicy):
    """The state machine: a count that outcomes decrease."""

    __slots__ = ("_under_way",)

    state_type = InFlightState
    reason = Reason.CONCURRENCY
    needs_outcome = True

    parameters: InFlight

    def __init__(self, parameters: InFlight, max_debt: float = inf) -> None:
        super().__init__(parameters, max_debt)
        self._under_way = 0

    @property
    def memory(self) -> int:
        """The same requests are in flight for every limit, and no date matters."""
        return 0

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """`now`, or `AFTER_OUTCOME`: the end of a call is not known in advance."""
        if request.cost > self.parameters.amount:
            return NEVER
        queued = request.cost if ahead is None else request.cost + ahead.cost
        return now if self._under_way + queued <= self.parameters.amount else AFTER_OUTCOME

    def commit(self, now: Instant, request: Request) -> int:
        """The requests are in flight from now on."""
        self._move(request.cost)
        return 0

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """The requests have ended."""
        self._move(-grant.request.cost)

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """The requests were never made."""
        self._move(-grant.request.cost)

    def forecast(self, now: Instant) -> "InFlightPolicy":
        """A copy in which no call ends."""
        copy = InFlightPolicy(self.parameters)
        copy._move(self._under_way)
        return copy

    def max_hold(self, now: Instant, queued: Request, largest: Request) -> int:
        """0 if there is room for all of them, else `AFTER_OUTCOME`."""
        return 0 if self._under_way + queued.cost <= self.parameters.amount else AFTER_OUTCOME

    def settle(self, now: Instant, grant: Grant, receipt: int | None, change: int) -> int:
        """Corrects the number of requests in flight. The outcome that follows has the corrected number: there is no debt."""
        self._move(change)
        return 0

    def _move(self, change: int) -> None:
        self._under_way += change
        self.ready = 0 if self._under_way < self.parameters.amount else NEVER

    def available(self, now: Instant) -> int:
        """Requests that may begin."""
        return max(0, self.parameters.amount - self._under_way)

    def rests_at(self) -> Instant:
        """0 if nothing is in flight, else `NEVER`."""
        return NEVER if self._under_way else Instant(0)

    def carry_over(self, now: Instant, before: Self) -> None:
        """The same requests are in flight."""
        self.restore(before.state())

    def state(self) -> InFlightState:
        """The number of requests in flight."""
        return InFlightState(self._under_way)

    def restore(self, state: InFlightState) -> None:
        """See `LimitPolicy.restore`."""
        self._move(state.under_way - self._under_way)
