"""Are fewer calls under way than allowed? A limit on concurrency."""

import msgspec

from governor._units import AFTER_OUTCOME, NEVER, Instant
from governor.errors import Reason
from governor.policies import _checks
from governor.policies.contract import REQUESTS, Grant, Request, Result


class InFlight(msgspec.Struct, frozen=True):
    """At most `amount` requests under way at once: `30 in flight`. `amount` is at least 1. Raises `ConfigError`."""

    amount: int

    def __post_init__(self) -> None:
        _checks.integers(self)
        _checks.whole("amount", self.amount)


class InFlightState(msgspec.Struct, frozen=True, tag="in_flight"):
    """How many requests are under way."""

    under_way: int


class InFlightPolicy:
    """The machine: a count that outcomes bring down."""

    __slots__ = ("_under_way", "parameters", "ready")

    reason = Reason.CONCURRENCY
    unit = REQUESTS

    def __init__(self, parameters: InFlight) -> None:
        self.parameters = parameters
        self._under_way = 0
        self.ready = 0

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """Now, or after an outcome: no clock knows when a call ends."""
        if request.cost > self.parameters.amount:
            return NEVER
        queued = request.cost if ahead is None else request.cost + ahead.cost
        return now if self._under_way + queued <= self.parameters.amount else AFTER_OUTCOME

    def commit(self, now: Instant, request: Request) -> int:
        """From now on the requests are under way."""
        self._move(request.cost)
        return 0

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """They have ended, in whatever way."""
        self._move(-grant.request.cost)

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """They never began."""
        self._move(-grant.request.cost)

    def forecast(self, now: Instant) -> "InFlightPolicy":
        """A copy in which no call ends."""
        copy = InFlightPolicy(self.parameters)
        copy._move(self._under_way)
        return copy

    def longest_hold(self, now: Instant, queued: Request, largest: Request) -> int:
        """Not at all if there is room for all of them; else until an outcome."""
        return 0 if self._under_way + queued.cost <= self.parameters.amount else AFTER_OUTCOME

    def settle(self, now: Instant, grant: Grant, receipt: int | None, change: int) -> int:
        """Corrects the requests under way; the outcome that follows names the corrected number, so there is never a debt."""
        self._move(change)
        return 0

    def _move(self, change: int) -> None:
        self._under_way += change
        self.ready = 0 if self._under_way < self.parameters.amount else NEVER

    def available(self, now: Instant) -> int:
        """Requests that may begin."""
        return max(0, self.parameters.amount - self._under_way)

    def capacity(self) -> int:
        """Requests that may be under way at once."""
        return self.parameters.amount

    def refill_rate(self) -> float:
        """Time alone gives nothing back."""
        return 0.0

    def rests_at(self) -> Instant:
        """At once, if nothing is under way."""
        return NEVER if self._under_way else Instant(0)

    def state(self) -> InFlightState:
        """What `restore` needs to go on from here."""
        return InFlightState(self._under_way)

    def restore(self, state: InFlightState) -> None:
        """Goes on from a state taken earlier under the same parameters."""
        self._move(state.under_way - self._under_way)
