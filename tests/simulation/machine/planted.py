"""Faults that a machine of several processes invites, each in place of the function that does it right."""

from governor._actors.leases.leasing import Leasing
from governor._actors.leases.remote_holder import RemoteHolder
from governor._actors.permit import HeldPermit
from governor._member.calls import Calls, Used
from governor._owner.places import Places
from governor._owner.session import Session
from governor._units import Duration, Instant
from governor.policies.account import Account

#: As they are before a fault stands in their place.
_settled = RemoteHolder.settled
_lost = Session.lost


def return_without_counting(self: RemoteHolder, generation: int, used: int, back: int) -> tuple[int, int]:
    return _settled(self, generation, 0, used + back)


def old_generation_accepted(self: RemoteHolder, generation: int, used: int, back: int) -> tuple[int, int]:
    return _settled(self, self.generation, used, back)


def recall_settled_at_once(self: Leasing) -> bool:
    now = self._ledger.clock()
    for holder in tuple(self.remote):
        holder.recall(now)
        self.returned(holder, holder.generation, 0, holder.outstanding)
    return self.recall_here()


def no_margin_for_drift(ttl: Duration) -> Duration:
    return ttl


def grant_not_in_the_journal(self: Account, now: Instant, points: int) -> None:
    self.granted += points
    self.wants = self.wants or 2 * self.room < self.credit


def place_lost(self: Places) -> None:
    for permit in (*self._held.values(), *(some.take(some.left) for some in self._adopted.values())):
        permit.reported = True
    self._held.clear()
    self._adopted.clear()


def waiter_left_in_the_queue(self: Session) -> None:
    self._waiting.clear()
    _lost(self)


def use_not_told(self: Calls) -> Used:
    self._used.clear()
    return Used({}, {})


def place_freed_twice(self: Places, number: int, scope: str, *, ended: bool, cost: int) -> HeldPermit | None:
    return None
