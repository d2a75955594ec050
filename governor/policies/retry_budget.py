"""Retry budget of a provider: bounds the extra traffic of retries during an outage.

Every request adds a share of a retry to the budget, and every retry takes a whole one, so that an outage of the provider
multiplies the traffic by at most 1 + share; a floor lets programs with little traffic retry at all. Both the shape and the
defaults of share and window come from Finagle's `RetryBudget` (twitter/finagle, `com.twitter.finagle.service.RetryBudget`); the
reasons are in Beyer et al., "Site Reliability Engineering" (O'Reilly, 2016), chapter 21 "Handling Overload", which grants 10 %,
and chapter 22 "Addressing Cascading Failures".

The law, in whole numbers: in the window that ends at a retry, retries <= floor + share * requests. Hence in a window that ends
anywhere, retries <= floor + share * (requests in it and in the window before). A retry counts when it is sent: a server may ask
for a wait that is longer than the window, and what was earned before the wait does not pay for all that return after it.

A planned retry is a reservation, so that no more retries are planned than the budget has at that time. It ends when the retry
is sent, denied or given up, or at the latest at its expiry, which bounds what a forgotten plan costs.

Finagle counts in 10 slices of the window. Here dates are exact until two events fall into the same 1/256 of the window. A slot
of requests is then dated by its oldest member and a slot of retries by its newest, so that merging can only cost a retry, and
never add one.
"""

from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from governor._lazy import NOTHING, always, part, plain
from governor._units import HOUR, NEVER, SECOND, Duration, DurationLike, Instant
from governor.policies import _checks

#: The most slots of requests and of reservations; of retries, one more or less.
SLOTS: Final = 256

_MILLION: Final = 1_000_000


class RetryBudget(msgspec.Struct, frozen=True, kw_only=True):
    """Retries in one `window`: `floor`, and a `share` of the requests in it.

    `share` is 0 to 1000, rounded to the nearest millionth; `floor` is at least 0; `window` is text or a `timedelta`, from 1
    second to 1 hour. A budget with neither share nor floor allows no retries. Raises `ConfigError`.
    """

    share: float = 0.2
    floor: int = 10
    window: Duration = Duration(10 * SECOND)

    if TYPE_CHECKING:

        def __init__(self, *, share: float = 0.2, floor: int = 10, window: DurationLike = "10s") -> None: ...

    def __post_init__(self) -> None:
        _checks.integers(self)
        _checks.multiple("share", self.share, maximum=1000)
        _checks.whole("floor", self.floor, minimum=0)
        _checks.span(self, "window", minimum=SECOND, maximum=HOUR)

    @property
    def parts_per_million(self) -> int:
        """The share in whole millionths."""
        return round(self.share * _MILLION)


class RetryBudgetState(msgspec.Struct, frozen=True, tag="retry_budget"):
    """Deposits and withdrawals, as (oldest, newest, count), oldest first; and the latest instant so far.

    Reservations are (expiry, count), the first to expire first.
    """

    latest: Instant
    deposits: tuple[tuple[Instant, Instant, int], ...]
    withdrawals: tuple[tuple[Instant, Instant, int], ...]
    reservations: tuple[tuple[Instant, int], ...] = ()


# The fields of a slot; the first two are also the two ways of dating it.
_OLDEST: Final = 0
_NEWEST: Final = 1
_COUNT: Final = 2


def _expiry(slot: tuple[Instant, int]) -> Instant:
    return slot[0]


class _Tally(msgspec.Struct, eq=False, gc=False):
    """Counts that expire after a window, in slots that span less than 1/256 of it. Instants never go back."""

    _window: int
    #: Events that are closer than this share a slot.
    grain: int
    _date: int
    _slots: deque[list[int]] = NOTHING
    # The sum of all slots but the newest, including counts that have left the window since that was begun.
    _total: int = 0

    def add(self, now: Instant, count: int) -> list[int]:
        """Adds `count` at `now`. Returns the newest slot; those that have left the window are dropped when it is begun."""
        slots = self._slots
        if slots and now - (last := slots[-1])[_OLDEST] < self.grain:
            last[_NEWEST] = now
            last[_COUNT] += count
            return last
        if slots:
            self._total += slots[-1][_COUNT]
        gone = now - self._window
        while slots and slots[0][self._date] <= gone:
            self._total -= slots.popleft()[_COUNT]
        if slots is NOTHING:
            self._slots = slots = deque()
        newest: list[int] = [now, now, count]
        slots.append(newest)
        return newest

    def inside(self, now: Instant) -> int:
        """The sum of the counts inside the window that ends at `now`."""
        if not self._slots:
            return 0
        gone = now - self._window
        stale = 0
        for slot in self._slots:
            if slot[self._date] > gone:
                break
            stale += slot[_COUNT]
        return self._total + self._slots[-1][_COUNT] - stale

    def empty_at(self) -> Instant:
        """The instant from which on no count is inside the window, if none is added; 0 if there are none."""
        return Instant(self._slots[-1][self._date] + self._window if self._slots else 0)

    def live(self, now: Instant) -> list[list[int]]:
        """The slots inside the window that ends at `now`."""
        return [slot for slot in self._slots if slot[self._date] > now - self._window]

    def state(self) -> tuple[tuple[Instant, Instant, int], ...]:
        """The slots as frozen records."""
        return tuple((Instant(oldest), Instant(newest), count) for oldest, newest, count in self._slots)

    def restore(self, slots: tuple[tuple[Instant, Instant, int], ...]) -> None:
        """Replaces all slots."""
        self._slots = deque([oldest, newest, count] for oldest, newest, count in slots) if slots else NOTHING
        self._total = sum(count for _, _, count in slots[:-1])


#: Of a budget with nothing to count: never added to.
_NO_TALLY: Final = _Tally(1, 1, _OLDEST)


class RetryBudgetPolicy(msgspec.Struct, eq=False, gc=False):
    """The state machine, one for each provider. A `now` earlier than the latest one so far counts as the latest one."""

    parameters: RetryBudget
    _latest: Instant = Instant(0)
    # Made when there is something to count.
    _deposits: _Tally = msgspec.field(default_factory=always(_NO_TALLY))
    # The newest slot of deposits, and the instant before which they join it.
    _open: list[int] = NOTHING
    _open_until: int = 0
    _withdrawals: _Tally = msgspec.field(default_factory=always(_NO_TALLY))
    _reservations: list[tuple[Instant, int]] = NOTHING

    def deposit(self, now: Instant, n: int = 1) -> None:
        """Records `n` requests, without retries. They count for one window."""
        if self._latest <= now < self._open_until:
            # Each call of an adapter on the governor's loop comes by here, so this is `_Tally.add`, written out for most.
            self._latest = now
            newest = self._open
            newest[_NEWEST] = now
            newest[_COUNT] += n
            return
        if self._deposits is _NO_TALLY:
            self._deposits = self._tally(_OLDEST)
        self._open = newest = self._deposits.add(self._at(now), n)
        self._open_until = newest[_OLDEST] + self._deposits.grain

    def reserve(self, now: Instant, expiry: Instant) -> bool:
        """Plans one retry, until `expiry` at the latest. False if the budget has none beyond those that are planned already.

        At the bound on slots, and within 1/256 of the window, reservations expire with the next one to expire after them.
        """
        at, slots = self._at(now), self._reservations
        self._expire(at)
        if self.balance(at) <= sum(count for _, count in slots):
            return False
        if slots is NOTHING:
            self._reservations = slots = []
        index = bisect_left(slots, expiry, key=_expiry)
        full = len(slots) >= SLOTS
        if index < len(slots) and (full or slots[index][0] - expiry < part(self.parameters.window, SLOTS)):
            slots[index] = (slots[index][0], slots[index][1] + 1)
        elif full:
            slots[-1] = (expiry, slots[-1][1] + 1)
        else:
            slots.insert(index, (expiry, 1))
        return True

    def release(self, now: Instant) -> None:
        """Ends the reservation that expires first: its retry is sent, denied or given up. Without one, nothing happens."""
        self._expire(self._at(now))
        if self._reservations:
            expiry, count = self._reservations[0]
            self._reservations[:1] = [(expiry, count - 1)] if count > 1 else []

    def reserved(self, now: Instant) -> int:
        """The number of retries that are planned."""
        at = max(now, self._latest)
        return sum(count for expiry, count in self._reservations if expiry > at)

    def withdraw(self, now: Instant, n: int = 1) -> bool:
        """Pays for `n` retries, at least 1, that are sent. If the budget has fewer, takes none and returns False."""
        at = self._at(now)
        if self.balance(at) < n:
            return False
        if self._withdrawals is _NO_TALLY:
            self._withdrawals = self._tally(_NEWEST)
        self._withdrawals.add(at, n)
        return True

    def balance(self, now: Instant) -> int:
        """The number of retries that can be taken out at `now`; never negative. Changes nothing."""
        at = max(now, self._latest)
        earned = self._deposits.inside(at) * self.parameters.parts_per_million // _MILLION
        return max(0, self.parameters.floor + earned - self._withdrawals.inside(at))

    def rests_at(self) -> Instant:
        """The instant from which on no retry counts any more, and none is planned.

        Requests are not considered: they only add to the budget.
        """
        planned = self._reservations[-1][0] if self._reservations else Instant(0)
        return max(self._withdrawals.empty_at(), planned)

    def available_at(self, now: Instant) -> Instant:
        """When the budget has a retry if nothing else happens; `NEVER` if time alone does not lead there."""
        at = max(now, self._latest)
        if self.balance(at):
            return at
        window, floor, parts = self.parameters.window, self.parameters.floor, self.parameters.parts_per_million
        deposits, withdrawals = deque(self._deposits.live(at)), self._withdrawals.live(at)
        earned, spent = sum(slot[_COUNT] for slot in deposits), sum(slot[_COUNT] for slot in withdrawals)
        for _, newest, count in withdrawals:
            spent -= count
            while deposits and deposits[0][_OLDEST] <= newest:
                earned -= deposits.popleft()[_COUNT]
            if floor + earned * parts // _MILLION > spent:
                return Instant(newest + window)
        return NEVER

    def carry_over(self, now: Instant, before: "RetryBudgetPolicy") -> None:
        """Continues from the state of a budget whose parameters may differ: its deposits and withdrawals count."""
        self.restore(before.state())

    def state(self) -> RetryBudgetState:
        """The state as a frozen record, for `restore`."""
        return RetryBudgetState(self._latest, self._deposits.state(), self._withdrawals.state(), tuple(self._reservations))

    def restore(self, state: RetryBudgetState) -> None:
        """Continues from a state that `state` returned under the same parameters."""
        self._latest, self._open_until = state.latest, 0
        self._deposits, self._withdrawals = self._tally(_OLDEST), self._tally(_NEWEST)
        self._deposits.restore(state.deposits)
        self._withdrawals.restore(state.withdrawals)
        self._reservations = list(state.reservations) or NOTHING

    def _tally(self, date: int) -> _Tally:
        return _Tally(plain(self.parameters.window), part(self.parameters.window, SLOTS), date)

    def _expire(self, at: Instant) -> None:
        slots = self._reservations
        while slots and slots[0][0] <= at:
            del slots[0]

    def _at(self, now: Instant) -> Instant:
        self._latest = max(self._latest, now)
        return self._latest
