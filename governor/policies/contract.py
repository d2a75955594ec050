"""What does every policy answer, and in which words?

A policy is a sans-IO state machine: frozen parameters, state owned by one actor, no clock, no I/O, no randomness of its own.
`now` is handed in. It may stand still or go back: a policy then admits no more than it would have at the latest instant that
it has seen.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final, Protocol

import msgspec

from governor._units import Duration, Instant
from governor.errors import Reason

#: The unit that a limit counts when it names none.
REQUESTS: Final = "requests"


class Request(msgspec.Struct, frozen=True, gc=False):
    """What a caller asks to spend: a number of requests, and amounts of other units by name (`{"tokens": 900}`)."""

    cost: int = 1
    units: Mapping[str, int] | None = None

    def amount(self, unit: str | None) -> int:
        """The cost in one unit; None stands for requests, and a unit that is not named costs 0."""
        if unit is None:
            return self.cost
        return 0 if self.units is None else self.units.get(unit, 0)


#: One request and nothing else: what nearly everybody asks for.
PLAIN: Final = Request()


class Result(Enum):
    """What became of a granted request, as far as the breaker cares."""

    SUCCESS = "success"
    FAILURE = "failure"
    #: Says nothing about the provider: the caller was cancelled or never sent the request.
    NEUTRAL = "neutral"


class Grant(msgspec.Struct, frozen=True, gc=False):
    """What was granted: enough to learn from its outcome, to settle it, or to take it back.

    `generation` is the breaker's at the time. `receipts`, one for each spending policy, are there only if the request named
    its own costs; they let a policy undo exactly what it spent. `answered_at` is when the answer began, if that was told.
    """

    granted_at: Instant
    generation: int
    request: Request = PLAIN
    receipts: tuple[int, ...] | None = None
    answered_at: Instant | None = None


class Forecast(Protocol):
    """A copy of a policy for stepping through what may come: grants at instants that lie ahead, and no outcomes."""

    def earliest(self, now: Instant, request: Request) -> Instant:
        """As the policy would say it then."""

    def commit(self, now: Instant, request: Request) -> object:
        """It will be granted then. Only after `earliest` said now."""


class Policy(Protocol):
    """The admission contract. Several policies compose without refunds: ask all of them, then commit to all or none."""

    @property
    def reason(self) -> Reason:
        """Why this policy refuses, when it does."""

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """When could this be granted? Changes nothing.

        At most `now` means now. A later instant is the first at which it can be, provided that nothing else is granted
        before; with `ahead`, the first after everything in `ahead` has been granted too: so many requests like this one,
        each at its own earliest instant. `NEVER` means that waiting cannot help, `AFTER_OUTCOME` that only the outcome of an
        earlier grant can.
        """

    def commit(self, now: Instant, request: Request) -> int:
        """It was granted: spend it. Only after `earliest` said now. Answers a receipt for `refund` and `settle`."""

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """The granted request has ended in this way."""

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """The granted request was never made: give back what is still there to give."""

    def forecast(self, now: Instant) -> Forecast:
        """A copy as it stands at `now`, of use until this policy changes. Calls under way in a strict window end now."""


class Spending(Policy, Protocol):
    """A policy that spends, and keeps an instant at hand that saves asking."""

    #: From this instant on, in microseconds, a `PLAIN` request is granted, provided that time has not gone back since the
    #: latest change; before it, `earliest` knows.
    ready: int

    def longest_hold(self, now: Instant, queued: Request, largest: Request) -> int:
        """For how long at most, from `now` on, a queue must wait for this policy: whatever else it waits for in between.

        The queue asks for `queued` in all, and for at most `largest` at a time. `AFTER_OUTCOME` if that hangs on an outcome.
        """


class Quota(Spending, Protocol):
    """A policy that spends amounts of a unit, and can be corrected once the true amount is known."""

    @property
    def unit(self) -> str:
        """What is counted: `requests`, or the name of another unit."""

    def settle(self, now: Instant, grant: Grant, receipt: int | None, change: int) -> int:
        """The request used `change` more (or, negative, less) than its permit said; the call has ended or is about to.

        Returns how many of those units are beyond the debt that the limit may be in: they are dropped.
        """

    def available(self, now: Instant) -> int:
        """How many units could be granted at `now`; never negative."""

    def capacity(self) -> int:
        """How many units can be available at most."""

    def refill_rate(self) -> float:
        """Units per second in the long run; 0.0 when time alone gives nothing back."""


class Lending(Spending, Protocol):
    """A policy that lets its owner grant ahead: permits are lent now, and used by somebody else at an instant not yet known.

    Nobody can tell when a lent permit is used before it has been, so it counts in full for as long as it is out, and is dated
    at the latest instant that is possible: when its owner learns of it. None of these three refuses, and none may fail.
    """

    def lendable(self, now: Instant) -> int:
        """How many plain requests could be granted at `now`, on top of what is lent; never negative."""

    def lend(self, now: Instant, count: int) -> None:
        """So many plain requests, at most `lendable`, may be used from now on, at any moment."""

    def collect(self, now: Instant, used: int) -> None:
        """So many of those that are lent have been used; when, nobody knows, but not after `now`."""

    def reclaim(self, now: Instant, count: int) -> None:
        """So many of those that are lent will never be used: they are back."""


def span(end: Instant, start: Instant) -> Duration:
    """From `start` to `end`, and never less than nothing."""
    return Duration(end - start) if end > start else Duration(0)
