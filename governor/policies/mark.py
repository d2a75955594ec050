"""Marks ahead: how much may be granted before a store has written it down.

What a governor has granted survives its death only if it was written before it was granted. Writing each grant would cost more
than the grant, so an account has a record that is ahead of it: the state of its policies, and how much may have been granted
since. Until the next record is durable no more than that is granted. After a death all of it counts as used.

Amounts are counted in points, the same for all limits of an account: a request, or a 1024th of what a limit of another unit
holds. A call costs the most points that any of these limits says.

An account begins with credit for one point without a record; a reader of the store after a death assumes that it was granted.
The first record gives none. From then on credit grows while it is used up quickly, and shrinks while it is not, so that writes
are rare and a death costs little.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, final

import msgspec

from governor._units import SECOND, Instant
from governor.errors import Reason
from governor.policies.contract import PLAIN, REQUESTS, LimitPolicy, Request
from governor.policies.in_flight import InFlightPolicy
from governor.policies.remaining import RemainingPolicy

#: Points in one capacity of a limit of units other than requests.
PARTS: Final = 1024
#: The credit without a record. A process that dies often must not use up its limits with it.
FIRST: Final = 1
#: The largest credit is at most the units of a second, or, if that is more, one in so many of all units, up to a few. It is no
#: more than half of all units, so that a death leaves the other half to the next life.
_LARGEST_PART: Final = 8
_FEW: Final = 64
#: A credit that was used up within a second grows by this factor; one that has lasted longer than a few seconds shrinks by it.
_GROWTH: Final = 4
_SHRINKS_AFTER: Final = 4 * SECOND
#: A slice of a credit is at most one in so many of its points, so that several scopes find some.
_SLICE: Final = 4
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


def limits_of(policies: Iterable[LimitPolicy]) -> list[tuple[str, int, float]]:
    """Unit, capacity and rate of limits, without those for which a death says how much is used, or a server does."""
    return [
        (policy.unit, policy.capacity(), policy.refill_rate())
        for policy in policies
        if not isinstance(policy, (InFlightPolicy, RemainingPolicy))
    ]


def excess(asked: Request, used: Mapping[str, int]) -> Request:
    """What was used beyond what was asked for."""
    units = {unit: max(0, amount - asked.amount(unit)) for unit, amount in used.items() if unit != REQUESTS}
    return Request(max(0, used.get(REQUESTS, asked.cost) - asked.cost), units)


@final
class Account:
    """The credit of one record: what may be granted before it is written again.

    `write` asks for a record, in which case `begin` and later `written` are called; `hurry` says that a call waits for one that
    is being written. All but `written` belongs to the actors' thread.
    """

    __slots__ = (
        "_asked_at",
        "_begun",
        "_mark",
        "_need",
        "credit",
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
    ) -> None:
        self.key = key
        self.hurry = hurry
        self.tariff = tariff
        self.write = write
        #: Points granted, or handed out to be granted, in this life.
        self.granted = 0
        #: Of these, the points that have been handed out, and that no policy may know of as used.
        self.out = 0
        #: Points that may be granted. Set by the writer's thread while a record is being written, else by the actors'.
        self.limit = FIRST
        self.credit = FIRST
        #: The marks with points handed out.
        self.open: dict[Mark, None] = {}
        #: Whether a record is to be written, whether one is being written, and whether a call waits for it.
        self.wants = False
        self.writing = False
        self.waiting = False
        #: Whether a record of this life has been written.
        self.recorded = False
        self._need = 0
        self._begun = False
        self._mark = self.limit
        self._asked_at = Instant(-_SHRINKS_AFTER)

    @property
    def room(self) -> int:
        """Points that may be granted now."""
        return self.limit - self.granted

    def spend(self, points: int) -> None:
        """So many points are granted."""
        self.granted += points
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
        self.spend(points)
        self.out += points

    def used(self, points: int) -> None:
        """So many of the points handed out have been used."""
        self.out -= points

    def returned(self, points: int) -> None:
        """So many of the points handed out will not be used."""
        self.out -= points
        self.granted -= points

    def close(self) -> None:
        """Has the points returned that marks have left."""
        for mark in tuple(self.open):
            mark.close()

    # Records.

    def begin(self, now: Instant, *, lower: bool = False) -> int:
        """A record of the policies as they are now is going to be written. Returns how much may be granted since.

        With `lower` the credit falls back to the first one, because nothing is granted at the moment.
        """
        self.close()
        most = self.tariff.most
        begins, self._begun = not self._begun, True
        if lower:
            self.credit = FIRST
        elif self.wants:
            since = now - self._asked_at
            if since < SECOND:
                self.credit = min(most, self.credit * _GROWTH)
            elif since > _SHRINKS_AFTER:
                self.credit = max(FIRST, self.credit // _GROWTH)
            self._asked_at = now
        # The first record gives no credit, so that a process that calls once and dies, again and again, loses nothing.
        target = self.granted + max(0 if begins else self.credit, self._need)
        if not lower:
            target = max(target, min(self.limit, self.granted + most))
        # Until the record is durable, what both of them cover may be granted.
        self.limit = min(self.limit, target)
        self._mark = target
        self._need = 0
        self.wants = False
        self.writing = True
        return target - self.granted + self.out

    def end(self) -> None:
        """The policies have been written for good: nothing more is granted."""
        self.close()
        self.limit = self._mark = self.granted

    def written(self) -> bool:
        """The record is durable. On any thread. True if a call waits for it."""
        self.limit = self._mark
        self.recorded = True
        self.writing = False
        waits, self.waiting = self.waiting, False
        return waits

    def give_up(self) -> None:
        """Nothing is written any more: everything may be granted."""
        self.limit = self._mark = UNBOUNDED
        self.writing = self.waiting = self.wants = False


class Charge(NamedTuple):
    """An account that a call of a scope is charged to: with its points for a plain request, and for any other one."""

    account: Account
    plain: int
    points: Callable[[Request], int]


@final
class Mark:
    """The marks ahead of one scope, over its accounts: its own, and those that it shares with other scopes.

    `left` plain requests may be granted without a look at any account; the hot path counts them down.
    """

    __slots__ = ("_charges", "_slice", "left")

    #: The reason of a denial while a record is being written.
    reason = Reason.OVERLOADED

    def __init__(self, charges: Sequence[Charge]) -> None:
        self._charges = tuple(charges)
        self.left = 0
        #: The requests that `left` began with.
        self._slice = 0

    def short(self, request: Request) -> bool:
        """Whether a request has to wait for a record."""
        if request is PLAIN:
            if self.left:
                return False
            found = [account.short(plain) for account, plain, _ in self._charges if plain]
        else:
            self.close()
            found = [account.short(points(request)) for account, _, points in self._charges]
        return any(found)

    def commit(self, request: Request) -> None:
        """Charges a request, after `short` has returned False."""
        if request is not PLAIN:
            for account, _, points in self._charges:
                account.spend(points(request))
        elif self.left:
            self.left -= 1
        else:
            for account, plain, _ in self._charges:
                account.spend(plain)
            self._draw()

    def settled(self, more: Request) -> None:
        """A call has used this much more than its permit allowed. What it used less stays charged."""
        self.commit(more)

    def flush(self) -> None:
        """Asks for the records that are wanted. To be called when no policy is in the middle of a grant."""
        for account, _, _ in self._charges:
            if account.wants and not account.writing:
                account.write(account)

    def close(self) -> None:
        """Returns what is left to the accounts."""
        begun, left = self._slice, self.left
        if begun:
            self._slice = self.left = 0
            for account, plain, _ in self._charges:
                account.used(plain * (begun - left))
                account.returned(plain * left)
                account.open.pop(self, None)

    def _draw(self) -> None:
        """Has requests handed out to be granted without a look."""
        self.close()
        rooms = [account.room // plain for account, plain, _ in self._charges if plain]
        count = min(rooms, default=0) // _SLICE
        if count > 0:
            for account, plain, _ in self._charges:
                account.hand_out(plain * count)
                account.open[self] = None
            self._slice = self.left = count

    # Granting ahead.

    def lendable(self) -> int:
        """The requests that all accounts have room for. A larger credit is wanted while that is little."""
        self.close()
        for account, plain, _ in self._charges:
            if plain and account.credit < account.tariff.most and 2 * account.room < account.tariff.most:
                account.wants = True
        return max(0, min((account.room // plain for account, plain, _ in self._charges if plain), default=UNBOUNDED))

    def lend(self, count: int) -> None:
        """Hands out requests."""
        for account, plain, _ in self._charges:
            account.hand_out(plain * count)

    def collect(self, used: int) -> None:
        """So many have been used."""
        for account, plain, _ in self._charges:
            account.used(plain * used)

    def reclaim(self, count: int) -> None:
        """So many will not be used."""
        for account, plain, _ in self._charges:
            account.returned(plain * count)
