"""Faults that a machine of several processes invites, each in place of the function that does it right."""

from collections.abc import Mapping

from governor._actors.lender import Lender
from governor._actors.permit import HeldPermit
from governor._actors.remote_holder import RemoteHolder
from governor._member.calls import Calls
from governor._owner.places import Places
from governor._owner.session import Session, _drop
from governor._units import Duration, Instant
from governor.policies.account import Account


def return_without_counting(self: RemoteHolder, generation: int, used: int, back: int) -> tuple[int, int]:
    if generation != self.generation:
        return 0, 0
    back = min(used + back, self.outstanding)
    self.outstanding -= back
    if not self.outstanding and self.recalled_at is not None:
        self.generation += 1
        self.recalled_at = None
    return 0, back


def old_generation_accepted(self: RemoteHolder, generation: int, used: int, back: int) -> tuple[int, int]:
    used = min(used, self.outstanding)
    back = min(back, self.outstanding - used)
    self.outstanding -= used + back
    if not self.outstanding and self.recalled_at is not None:
        self.generation += 1
        self.recalled_at = None
    return used, back


def recall_settled_at_once(self: Lender) -> bool:
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
    for permit in (*self._held.values(), *(one for some in self._adopted.values() for one in some)):
        permit.reported = True
    self._held.clear()
    self._adopted.clear()


def waiter_left_in_the_queue(self: Session) -> None:
    self.connected = False
    self._gone_at = Instant(self._machine.clock() + self.leases.lasts)
    self._send = _drop
    self._early.clear()
    self._waiting.clear()


def use_not_told(self: Calls) -> Mapping[str, Mapping[str, int]]:
    self._used.clear()
    return {}


def place_freed_twice(self: Places, number: int, scope: str, *, ended: bool) -> HeldPermit | None:
    return None
