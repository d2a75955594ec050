"""Accounts: how much may be granted before a store has written it down.

What a governor has granted survives its death only if it was written before it was granted. Writing each grant would cost more
than the grant, so an account has a record that is ahead of it: the state of its policies, and how much may have been granted
since. Until the next record is durable no more than that is granted. After a death all of it counts as used.

Amounts are counted in points, the same for all limits of an account: a request, or a 1024th of what a limit of another unit
holds. A call costs the most points that any of these limits says.

Beside its record an account has cells in a journal, which survive the death of the process and not that of the system. They say
how many points it has granted, when it granted the last of them, and how many calls may be on their way. After the death of the
process these points count as used. After the death of the system all of the mark ahead does.

An account begins with a credit without a record; a reader of the store after the death of the system assumes that it was
granted. With a journal, credit is the largest one from the first record on. Without one, the first record gives none, and from
then on credit grows while it is used up quickly, and shrinks while it is not, so that any death costs little.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Protocol, final

import msgspec

from governor._exports import Later
from governor._units import SECOND, Instant
from governor.policies.contract import PLAIN, REQUESTS, LimitPolicy, Request
from governor.policies.in_flight import InFlightPolicy
from governor.policies.windows.window import StrictWindowPolicy

if TYPE_CHECKING:
    from governor.policies.learning import remaining
else:
    remaining = Later("governor.policies.learning.remaining")

#: Points in one capacity of a limit of units other than requests.
PARTS: Final = 1024
#: The credit without a record. Without a journal, a process that dies often must not use up its limits with it.
FIRST: Final = 1
FIRST_WITH_JOURNAL: Final = 8
#: The largest credit is at most the units of a second, or, if that is more, one in so many of all units, up to a few. It is no
#: more than half of all units, so that a death leaves the other half to the next life.
_LARGEST_PART: Final = 8
_FEW: Final = 64
#: A credit that was used up within a second grows by this factor; one that has lasted longer than a few seconds shrinks by it.
_GROWTH: Final = 4
_SHRINKS_AFTER: Final = 4 * SECOND
#: Of the cells of an account: what it has granted, when the latest of it, and what was handed out to be granted later.
GRANTED: Final = 1
AT: Final = 2
OUT: Final = 3
#: What was known of calls when `THEN` points had been granted, at the instant `SEEN`: the points on their way; one more than
#: the calls under way, or 0 if nothing is known; the calls given up that take places, and until when.
MOVING: Final = 4
UNDER_WAY: Final = 5
THEN: Final = 6
SEEN: Final = 7
HELD: Final = 8
UNTIL: Final = 9
#: What the account began with.
BASE: Final = 10
#: A high estimate of how long calls take; 0 if none has been measured.
USUAL: Final = 11
#: The cells of an account; the first one is the number of its key.
CELLS: Final = 12
#: Each other cell holds its number times this prime, plus the remainder of the key: an AN code (D. T. Brown, 1960). A reader
#: finds out that up to 9 bits in a row, or any two bits of a cell, have changed, and misses other changes once in 1,021 times.
#: So each store is whole in itself, which one checksum for all cells would not be. Numbers have up to 53 bits.
PRIME: Final = 1021
Cells = memoryview


def new_cells() -> Cells:
    """Cells that nothing survives in."""
    return memoryview(bytearray(8 * CELLS)).cast("q")


#: More points than are ever granted.
UNBOUNDED: Final = 2**62


class Tariff(msgspec.Struct, frozen=True):
    """What one point is worth in each unit, and the largest credit of an account with these limits, in points."""

    quanta: dict[str, int]
    most: int

    def points(self, request: Request) -> int:
        """The points that a request costs."""
        if request is PLAIN:
            return 1 if REQUESTS in self.quanta else 0
        return max(
            (-(-request.amount(None if unit == REQUESTS else unit) // one) for unit, one in self.quanta.items()), default=0
        )

    def units(self, unit: str, points: int) -> int:
        """The units that so many points stand for."""
        return points * self.quanta.get(unit, 0)


def tariff_of(limits: Iterable[tuple[str, int, float]]) -> Tariff | None:
    """The tariff of limits, each by its unit, its capacity and its units per second; None if there is none."""
    known = [(unit, max(1, capacity), rate) for unit, capacity, rate in limits]
    if not known:
        return None
    quanta: dict[str, int] = {}
    for unit, capacity, _ in known:
        one = 1 if unit == REQUESTS else -(-capacity // PARTS)
        quanta[unit] = min(one, quanta.get(unit, one))
    most = []
    for unit, capacity, rate in known:
        points, second = capacity // quanta[unit], int(rate / quanta[unit])
        most.append(max(FIRST, min(points // 2, max(second, min(points // _LARGEST_PART, _FEW)))))
    return Tariff(quanta, min(most))


def flight_tariff(limits: Iterable[LimitPolicy]) -> Tariff | None:
    """The tariff of limits of which only places in flight count: a journal counts the calls, and no record is waited for."""
    flights = any(isinstance(limit, InFlightPolicy) for limit in limits)
    return Tariff({REQUESTS: 1}, UNBOUNDED) if flights else None


def limits_of(policies: Iterable[LimitPolicy]) -> list[tuple[str, int, float]]:
    """Unit, capacity and rate of limits, without those for which a death says how much is used, or a server does."""
    return [
        (policy.unit, policy.capacity(), policy.refill_rate())
        for policy in policies
        if not isinstance(policy, (InFlightPolicy, remaining.RemainingPolicy))
    ]


class Slice(Protocol):
    """Points that were handed out at once."""

    def close(self, now: Instant) -> None:
        """Returns what is left."""


@final
class Account:
    """The credit of one record: what may be granted before it is written again.

    `write` asks for a record, in which case `begin` and later `written` are called; `hurry` says that a call waits for one that
    is being written. All but `written` belongs to the actors' thread.
    """

    __slots__ = (
        "_asked_at",
        "_begun",
        "_late",
        "_mark",
        "_need",
        "_wait",
        "base",
        "cells",
        "check",
        "covered",
        "credit",
        "exact",
        "granted",
        "hurry",
        "key",
        "limit",
        "open",
        "out",
        "recorded",
        "tariff",
        "waiting",
        "wants",
        "write",
        "writing",
    )

    def __init__(
        self,
        key: str,
        tariff: Tariff,
        *,
        write: Callable[["Account"], object],
        hurry: Callable[[], object] = bool,
        cells: Cells | None = None,
        base: int = 0,
        wait: Callable[[Callable[[], bool]], bool] = lambda _: False,
    ) -> None:
        self.key = key
        self.hurry = hurry
        self.tariff = tariff
        self.write = write
        #: Where it is written down at once what has been granted, and whether that outlives the process.
        self.exact = cells is not None
        self.cells = new_cells() if cells is None else cells
        self.check = self.cells[0] % PRIME
        #: Points granted, or handed out to be granted, in this life, from `base` on, above which no earlier account with this
        #: key has come; and as many as the latest record knows of.
        self.base = self.granted = self.covered = base
        #: Of these, the points that have been handed out, and that no policy may know of as used.
        self.out = 0
        #: Points that may be granted. Set by the writer's thread while a record is being written, else by the actors'.
        self.credit = FIRST if cells is None else min(FIRST_WITH_JOURNAL, tariff.most)
        if tariff.most == UNBOUNDED:
            self.credit = UNBOUNDED
        self.limit = base + self.credit
        #: Of the points handed out, those that return when they are closed.
        self.open: dict[Slice, None] = {}
        #: Whether a record is to be written, whether one is being written, and whether a call waits for it.
        self.wants = False
        self.writing = False
        self.waiting = False
        #: Whether a record of this life has been written.
        self.recorded = False
        self._wait = wait
        #: Whether a call has waited in vain for the record that is being written.
        self._late = False
        self._need = 0
        self._begun = False
        self._mark = self.limit
        self._asked_at = Instant(-_SHRINKS_AFTER)

    @property
    def room(self) -> int:
        """Points that may be granted now."""
        return self.limit - self.granted

    def spend(self, now: Instant, points: int) -> None:
        """So many points are granted."""
        cells, check = self.cells, self.check
        self.granted += points
        # In this order: what is counted is dated no earlier than it was granted.
        cells[AT] = now * PRIME + check
        cells[GRANTED] = self.granted * PRIME + check
        if 2 * self.room < self.credit:
            self.wants = True

    def short(self, points: int) -> bool:
        """Whether there is no room for so many points; then a record is wanted, and a call waits for it."""
        if points <= self.limit - self.granted:
            return False
        self._need = max(self._need, points)
        self.wants = self.waiting = True
        self.hurry()
        # Looked at again after it has said so: the writer raises the limit before it asks whether a call waits.
        return points > self.limit - self.granted

    def wait_written(self) -> bool:
        """Blocks until the record that is being written is durable, within a bound. False if that has not sufficed."""
        if self.writing and not self._late:
            self._late = not self._wait(lambda: not self.writing)
        return not self.writing

    def follow(self, tariff: Tariff) -> None:
        """Other limits from now on: what was granted by the old ones is to be written down before more is."""
        if tariff != self.tariff:
            self.tariff = tariff
            # In this order: the writer may set the one from the other in between.
            self._mark = self.granted
            self.limit = self.granted
            self.wants = True

    def hand_out(self, points: int) -> None:
        """So many points may be granted from now on without a look."""
        self.out += points
        self.granted += points
        self.cells[OUT] = self.out * PRIME + self.check
        self.cells[GRANTED] = self.granted * PRIME + self.check
        if 2 * self.room < self.credit:
            self.wants = True

    def used(self, now: Instant, points: int) -> None:
        """So many of the points handed out have been used."""
        self.out -= points
        self.cells[AT] = now * PRIME + self.check
        self.cells[OUT] = self.out * PRIME + self.check

    def returned(self, points: int) -> None:
        """So many of the points handed out will not be used."""
        self.out -= points
        self.granted -= points
        # In this order, so that at no instant anything is missing that was used.
        self.cells[OUT] = self.out * PRIME + self.check
        self.cells[GRANTED] = self.granted * PRIME + self.check

    def close(self, now: Instant) -> None:
        """Has the points returned that are left of slices."""
        for drawn in tuple(self.open):
            drawn.close(now)

    # Records.

    def begin(self, now: Instant, *, lower: bool = False) -> int:
        """A record of the policies as they are now is going to be written. Returns how much may be granted since.

        With `lower` the credit falls back to the first one, because nothing is granted at the moment.
        """
        self.close(now)
        most = self.tariff.most
        begins, self._begun = not self._begun, True
        if lower and most < UNBOUNDED:
            self.credit = FIRST
        elif self.exact:
            self.credit = most
        elif self.wants:
            since = now - self._asked_at
            if since < SECOND:
                self.credit = min(most, self.credit * _GROWTH)
            elif since > _SHRINKS_AFTER:
                self.credit = max(FIRST, self.credit // _GROWTH)
            self._asked_at = now
        # Without a journal, so that a process that calls once and dies, again and again, loses nothing.
        none = begins and not self.exact
        target = self.granted + max(0 if none else self.credit, self._need)
        if not lower:
            target = max(target, min(self.limit, self.granted + most))
        # Until the record is durable, what both of them cover may be granted.
        self.limit = min(self.limit, target)
        self._mark = target
        self._need = 0
        self.wants = False
        self.writing = True
        self.covered = self.granted - self.out
        return target - self.covered

    def end(self, now: Instant) -> None:
        """The policies have been written for good: nothing more is granted."""
        self.close(now)
        self.limit = self._mark = self.granted

    def written(self) -> bool:
        """The record is durable. On any thread. True if a call waits for it."""
        self.limit = self._mark
        self.recorded = True
        self._late = False
        self.writing = False
        waits, self.waiting = self.waiting, False
        return waits

    def give_up(self) -> None:
        """Nothing is written any more: everything may be granted."""
        self.limit = self._mark = UNBOUNDED
        self.writing = self.waiting = self.wants = False


#: As `InFlightPolicy.places`, of an account without one.
_NO_PLACES: Final = 0, 0, Instant(0), 0


@final
class Tracker:
    """Writes down which calls of an account may still be on their way, or take places."""

    __slots__ = ("_account", "_flights", "_seen", "_windows")

    def __init__(self, account: Account, limits: Iterable[StrictWindowPolicy | InFlightPolicy]) -> None:
        self._account = account
        known = tuple(limits)
        self._flights = tuple(limit for limit in known if isinstance(limit, InFlightPolicy))
        self._windows = tuple((limit, limit.unit) for limit in known if isinstance(limit, StrictWindowPolicy))
        self._seen: object = None

    def look(self, now: Instant) -> None:
        """To be called at the end of a step, and after an outcome that takes none."""
        account, moving = self._account, 0
        quanta = account.tariff.quanta
        for window, unit in self._windows:
            moving = max(moving, -(-window.moving // quanta.get(unit, 1)))
        under_way, held, until, usual = _NO_PLACES
        if self._flights:
            places = [flight.places(now) for flight in self._flights]
            under_way, held, until, usual = places[0] if len(places) == 1 else map(max, *places)
        seen = moving, under_way, held, until, usual, account.granted, account.out
        if seen != self._seen:
            self._seen, cells, check = seen, account.cells, account.check
            # In this order: whatever of it a reader finds, no call is missing.
            cells[SEEN], cells[UNTIL] = now * PRIME + check, until * PRIME + check
            cells[HELD], cells[USUAL] = held * PRIME + check, usual * PRIME + check
            cells[MOVING], cells[UNDER_WAY] = moving * PRIME + check, (under_way + 1) * PRIME + check
            # Not what was handed out, which may be used before the next step.
            cells[THEN] = (account.granted - account.out) * PRIME + check


def tracker_of(account: Account, limits: Iterable[LimitPolicy]) -> Tracker | None:
    """What writes down how the calls of an account stand; None if that matters to no limit, or would not survive."""
    tracking = [limit for limit in limits if isinstance(limit, StrictWindowPolicy | InFlightPolicy)]
    return Tracker(account, tracking) if tracking and account.exact else None
