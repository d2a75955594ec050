"""The contracts of the policies: what each policy answers, what a kind of limit is, and the records that they exchange.

A policy is a sans-IO state machine: frozen parameters, state owned by one actor, no clock, no I/O, no randomness of its own.
`now` is an argument. If it stands still or goes back, a policy admits no more than at the latest instant that it has seen.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import Enum
from math import inf
from typing import Any, ClassVar, Final, Protocol, Self

import msgspec

from governor._fields import LimitFields
from governor._units import NEVER, Duration, Instant
from governor.errors import Reason
from governor.policies.arrivals import Arrivals, Ending

#: The unit that a limit counts when it names none.
REQUESTS: Final = "requests"


class Request(msgspec.Struct, frozen=True, gc=False):
    """The cost of a permit: a number of requests, and amounts of other units by name (`{"tokens": 900}`)."""

    cost: int = 1
    units: Mapping[str, int] | None = None

    def amount(self, unit: str | None) -> int:
        """The cost in one unit. None stands for requests; a unit that is not named costs 0."""
        if unit is None:
            return self.cost
        return 0 if self.units is None else self.units.get(unit, 0)


#: One request and nothing else, the cost of most permits.
PLAIN: Final = Request()


class Result(Enum):
    """The result of a granted request, as the breaker counts it."""

    SUCCESS = "success"
    FAILURE = "failure"
    #: Says nothing about the provider: the call was cancelled, or the request was never sent.
    NEUTRAL = "neutral"


class Grant(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A granted request, as needed to record its outcome, to settle it or to refund it.

    `generation` is the generation of the breaker at the time. `receipts`, one for each spending policy, exist only if the
    request named its own costs; they let a policy undo exactly what it spent. `answered_at` is when the answer began, if known,
    and `ending` how the call ended, if its outcome is known.
    """

    granted_at: Instant
    generation: int
    request: Request = PLAIN
    receipts: tuple[int, ...] | None = None
    answered_at: Instant | None = None
    ending: Ending = Ending.ANSWERED
    #: The label of the caller, if budgets count the grant.
    caller: str | None = None
    #: Whether the permit was granted ahead, at `granted_at`. It was used later: at `taken_at` if it took a leased place then.
    ahead: bool = False
    taken_at: Instant | None = None

    def corrected(self, used: Mapping[str, int]) -> "Grant":
        """The same with the amounts that were really used, by unit."""
        units = {**(self.request.units or {}), **{unit: amount for unit, amount in used.items() if unit != REQUESTS}}
        return msgspec.structs.replace(self, request=Request(used.get(REQUESTS, self.request.cost), units))


class Forecast(Protocol):
    """A copy of a policy for simulating the future: grants at later instants, and no outcomes."""

    def earliest(self, now: Instant, request: Request) -> Instant:
        """The answer of the policy at that time."""

    def commit(self, now: Instant, request: Request) -> object:
        """Grants the request at that time. Call it only after `earliest` returned `now`."""


class Policy(Protocol):
    """The admission contract. Several policies compose without refunds: ask all of them, then commit to all or to none."""

    @property
    def reason(self) -> Reason:
        """The reason that a denial by this policy gives."""

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """The earliest instant at which the request can be granted if nothing else is granted before. Changes nothing.

        At most `now` means now. With `ahead`, the earliest instant after everything in `ahead` has been granted: so many
        requests like this one, each at its own earliest instant. `NEVER` means that waiting does not help, `AFTER_OUTCOME` that
        only the outcome of an earlier grant does.
        """

    def commit(self, now: Instant, request: Request) -> int:
        """Spends a granted request, after `earliest` returned `now`. Returns a receipt for `refund` and `settle`."""

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """Records how the granted request ended."""

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """Returns what a granted request spent that was never made, as far as it is not available again already."""

    def forecast(self, now: Instant) -> Forecast:
        """A copy as of `now`, valid until this policy changes. Calls in flight in a strict window are assumed to end now."""


class Spending(Policy, Protocol):
    """A policy that spends, and caches an instant that saves a call of `earliest`."""

    @property
    def ready(self) -> int:
        """The instant, in microseconds, from which on a `PLAIN` request is granted; before it, call `earliest`.

        Provided that time has not gone back since the latest change.
        """

    def max_hold(self, now: Instant, queued: Request, largest: Request) -> int:
        """The longest time from `now` on for which a queue must wait for this policy, whatever else it waits for in between.

        The queue asks for `queued` in total, and for at most `largest` at a time. `AFTER_OUTCOME` if it depends on an outcome.
        """


class Leasable(Spending, Protocol):
    """A policy that can grant ahead: units are leased now, and used at instants that are not yet known.

    A leased unit counts in full while it is outstanding, and its use is dated at the latest possible instant, when the owner
    learns of it. None of these methods denies or fails.
    """

    def leasable(self, now: Instant) -> int:
        """The number of units that can be granted at `now`, in addition to those that are leased; never negative."""

    def lease(self, now: Instant, count: int) -> None:
        """Leases `count` units, at most `leasable`. They may be used at any time from now on."""

    def collect(self, now: Instant, used: int) -> None:
        """Records that `used` of the leased units were used, at unknown instants up to `now`."""

    def reclaim(self, now: Instant, count: int) -> None:
        """Returns `count` of the leased units, which will not be used."""


def span(end: Instant, start: Instant) -> Duration:
    """The time from `start` to `end`; 0 if `end` is earlier."""
    return Duration(end - start) if end > start else Duration(0)


class Limit(msgspec.Struct, frozen=True, cache_hash=True):
    """The parameters of a limit, and the base class of every kind of limit.

    A kind of limit is a frozen subclass and a `LimitPolicy` for it, registered together by `governor.register_limit`. The
    constructor validates its fields and raises `ConfigError`. For every limit, `parse(limit.describe()) == limit`.
    """

    #: Texts that `parse` accepts, for messages and documentation.
    examples: ClassVar[tuple[str, ...]] = ()

    @property
    def unit(self) -> str:
        """The unit that is counted: `requests`, or the name of another unit."""
        return REQUESTS

    # What raises NotImplementedError is overridden by every kind. The contract suite calls it for each that is registered.

    @property
    def capacity(self) -> int:
        """The largest number of units that can be available."""
        raise NotImplementedError

    @property
    def refill_rate(self) -> float:
        """Units per second in the long run; 0.0 if units do not return with time."""
        return 0.0

    def refill_time(self, units: int) -> int | None:
        """Microseconds, rounded up, until missing units are available again; None if time alone does not return them."""
        return None

    def scaled(self, share: float) -> Self:
        """The limit that grants this share of it in the long run, above 0 and at most 1, and at least one unit at a time.

        A process keeps to it while the daemon is away that owns the limits.
        """
        raise NotImplementedError

    @classmethod
    def parse(cls, words: str) -> Self | None:
        """The limit that a text in lower case means; None if the text is not a limit of this kind.

        Raises `ConfigError` for a text that is of this kind and has an invalid value.
        """
        raise NotImplementedError

    def describe(self) -> str:
        """The text that `parse` reads as exactly this limit."""
        raise NotImplementedError


class LimitPolicy(LimitFields, ABC):
    """The state machine of one limit: a `Spending` policy of one unit, which can be corrected when the true amount is known.

    A subclass has an `__init__(parameters, max_debt=inf)` that begins with nothing spent. `max_debt` bounds what calls may use
    beyond their permits, in bursts or in amounts of one window. Declare `__slots__`: a process may have many instances.
    """

    __slots__ = ()

    parameters: Limit
    #: From this instant on a plain request is granted, as far as it depends on this limit.
    ready: int

    #: The frozen record that `state` returns, with a tag of its own.
    state_type: ClassVar[type[msgspec.Struct]]
    #: The reason that a denial by this policy gives.
    reason: Reason = Reason.RATE_LIMIT
    #: Whether the policy waits for the outcome of each grant, so that a grant must not get lost.
    needs_outcome: bool = False
    #: Whether the policy wants to know when an answer begins.
    awaits_answers: bool = False
    #: Whether units can be granted ahead; then it also has the methods of `Leasable`. Or places, which pass from call to call.
    leases: bool = False
    leases_places: bool = False
    #: Whether, if it leases, it does so to other processes too, of which no more is learned than how many units were used.
    leases_elsewhere: bool = True
    #: Whether `earliest` is exact for plain requests behind others; if not, it is early by less than a microsecond for each.
    is_exact: bool = True

    def __init__(self, parameters: Limit, max_debt: float = inf) -> None:
        self.parameters = parameters
        self.ready = 0

    def assume(self, arrivals: Arrivals) -> None:
        """Tells the policy what is assumed about the arrival of calls, once and before anything else. No effect by default."""

    @property
    def unit(self) -> str:
        """The unit that is counted."""
        return self.parameters.unit

    def follow(self, now: Instant, filled_at: Instant, used: int) -> None:
        """Of the units just collected, so many were leased then: their outcomes are reported with that instant."""

    def ended(self, now: Instant, filled_at: Instant, count: int) -> None:
        """So many of the units that were leased then belong to calls that have been answered."""

    def wakes_at(self, now: Instant) -> Instant:
        """The next instant at which units return by time alone although `earliest` is `AFTER_OUTCOME`; `NEVER` if none do."""
        return NEVER

    def answered(self, now: Instant, grant: Grant) -> None:
        """Records that the answer has begun: the request has arrived. Called at most once for each grant, before `record`."""

    @property
    def memory(self) -> int | None:
        """How many microseconds of uses the policy remembers, each with its date, so that several limits may carry them over.

        None if its state makes sense for one limit only.
        """
        return None

    @abstractmethod
    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """See `Policy.earliest`."""

    @abstractmethod
    def commit(self, now: Instant, request: Request) -> int:
        """See `Policy.commit`."""

    @abstractmethod
    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """See `Policy.record`."""

    @abstractmethod
    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """See `Policy.refund`."""

    @abstractmethod
    def settle(self, now: Instant, grant: Grant, receipt: int | None, change: int) -> int:
        """Corrects what a request spent that used `change` units more (or, negative, less) than its permit allowed.

        Called once, before `record`, whose grant has the corrected amount. Returns how many of the units are beyond the debt
        that the limit may have; they are dropped.
        """

    @abstractmethod
    def available(self, now: Instant) -> int:
        """The number of units that can be granted at `now`; never negative."""

    @abstractmethod
    def forecast(self, now: Instant) -> Forecast:
        """See `Policy.forecast`."""

    @abstractmethod
    def max_hold(self, now: Instant, queued: Request, largest: Request) -> int:
        """See `Spending.max_hold`."""

    def pace(self, now: Instant, largest: Request | None) -> tuple[int, int, int] | None:
        """The fastest grants: at most `base` units in a span that begins at `now` or later, and `amount` more for each `per`.

        With `largest`, this limit holds up a queue and then never has more than the largest request of it, except at first.
        None if no rate bounds the grants.
        """
        return None

    def never_fills(self, now: Instant, base: int, amount: int, per: int) -> bool:
        """Whether there is always room if other limits grant no faster than this pace. False if unknown."""
        return False

    @abstractmethod
    def rests_at(self) -> Instant:
        """When all units are available again if nothing is granted; `NEVER` if time alone does not return them."""

    @abstractmethod
    def carry_over(self, now: Instant, before: Self) -> None:
        """Continues from the state of another policy of this kind, whose parameters may differ and which has leased nothing."""

    def abandoned(self, now: Instant, units: int) -> None:
        """The process has died that was granted what the state says, and `units` more of which nothing else is known.

        No outcome of these grants will come. Called at most a few times, at the instants at which others have taken over, after
        `restore`. By default the units are charged at `now`, as what a call has used beyond its permit.
        """
        if units > 0:
            self.settle(now, Grant(now, 0, Request(0)), None, units)

    @abstractmethod
    def state(self) -> msgspec.Struct:
        """The state as a frozen record, for `restore`."""

    @abstractmethod
    def restore(self, state: Any) -> None:
        """Continues from a state that `state` returned under the same parameters."""

    def capacity(self) -> int:
        """The largest number of units that can be available."""
        return self.parameters.capacity

    def refill_rate(self) -> float:
        """Units per second in the long run; 0.0 if units do not return with time."""
        return self.parameters.refill_rate


class ClientTable(Protocol):
    """One inbound limit, counted for each client separately. Keys are evenly distributed bytes, such as digests.

    Several tables compose without refunds, as policies do: ask all of them, then commit to all or to none. A table has entries
    for at most `max_clients` clients, rounded up to a multiple of its parts; its module states what happens at the bound.
    """

    @property
    def reason(self) -> Reason:
        """The reason of a denial by this table."""

    @property
    def parameters(self) -> Limit:
        """The limit of each client."""

    @property
    def max_clients(self) -> int:
        """The largest number of clients with an entry."""

    @property
    def needs_release(self) -> bool:
        """Whether the end of a request gives something back, so that `release` must be called. Such a table needs no sweep."""

    @property
    def refill(self) -> Duration:
        """Microseconds without requests after which a client has its whole limit again. 0 where `needs_release` is true."""

    def __len__(self) -> int:
        """The number of clients that have an entry."""

    def earliest(self, now: Instant, key: bytes, cost: int = 1) -> Instant:
        """When `cost` requests of this client could be granted. At most `now` means now. Changes nothing.

        `NEVER` means that the limit grants no client so many at once, `AFTER_OUTCOME` that a request of theirs must end first.
        """

    def commit(self, now: Instant, key: bytes, cost: int = 1) -> None:
        """Spends granted requests. Only after `earliest` said now."""

    def release(self, key: bytes, cost: int = 1) -> None:
        """Ends committed requests. Once for each commit."""

    def available(self, now: Instant, key: bytes) -> int:
        """The number of requests of this client that could be granted at `now`; never negative."""

    def sweep(self, now: Instant) -> int:
        """Drops, from the next slice of the table, the entries of clients that have their whole limit; returns how many."""

    def carry_over(self, now: Instant, before: Any) -> None:
        """Continues from the state of another table of this kind, whose limit may differ. The other one is of no use then."""
