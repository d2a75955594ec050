"""Asks of a process: each without an answer yet, and who decides on it, the daemon or this process."""

import math
from collections.abc import Callable
from functools import partial
from typing import Protocol, final

import msgspec

from governor._actors.actor import ScopeActor
from governor._actors.asking import overloaded
from governor._actors.permit import Permit
from governor._actors.queue import Waiter
from governor._member.away import FIRST_TTL, Away
from governor._member.session import Session
from governor._member.stand_in import StandIn, from_the_lease
from governor._units import Instant
from governor.errors import Reason
from governor.messages import Acquire, Denied
from governor.policies.contract import PLAIN, Grant


class Permits(Protocol):
    """Makes the permits of calls, and counts what is granted here."""

    def granted(self, stand_in: StandIn, grant: Grant, number: int, *, held: bool) -> Permit:
        """A permit that the daemon has granted under this number."""

    def granted_here(self, stand_in: StandIn, permit: Permit, actor: ScopeActor, caller: str | None) -> Permit:
        """A permit that an actor of this process has granted to a call with this label."""

    def give_back(self, permit: Permit) -> None:
        """A permit whose caller has gone."""


@final
class _Asked(msgspec.Struct, eq=False):
    """An ask without an answer: its number at the daemon, or the waiter that stands for it at an actor of this process."""

    stand_in: StandIn
    acquire: Acquire
    waiter: Waiter
    deadline: float
    forwarded: bool = False
    again: bool = False
    number: int = 0
    local: tuple[ScopeActor, Waiter] | None = None

    def remaining(self, now: float) -> Acquire:
        """What is asked for now: without what concerns this process only, and with the time that is left."""
        acquire = self.acquire
        left = acquire.timeout
        if left is not None and self.forwarded:
            left = max(0.0, self.deadline - now)
        return msgspec.structs.replace(acquire, watched=None, timeout=left)


@final
class Asks:
    """Belongs to the thread of the connection. `time` reads the clock of its event loop, and `now` that of the governor.

    While there is neither a session nor `is_away`, asks are kept until it is known which of them it is.
    """

    def __init__(self, away: Away, permits: Permits, *, time: Callable[[], float], now: Callable[[], Instant]) -> None:
        self._away = away
        self._permits = permits
        self._time = time
        self._now = now
        self._asked: dict[Waiter, _Asked] = {}
        self._by_number: dict[int, _Asked] = {}
        #: The numbers of those that the daemon answers at once.
        self.prompt: set[int] = set()
        #: The daemon decides.
        self.session: Session | None = None
        #: This process decides.
        self.is_away = False
        self.closed = False
        #: A grant that is read later than this is given back: it is worth no more than a lease.
        self.stale_after = FIRST_TTL
        #: By how much its clock is ahead of that of this process, in microseconds.
        self.owner_is_ahead = 0

    def __len__(self) -> int:
        """Asks without an answer."""
        return len(self._asked)

    def ask(self, stand_in: StandIn, acquire: Acquire, waiter: Waiter) -> None:
        """Asks for a permit. The waiter is answered later, or at once. Once for each: a second time changes nothing."""
        if waiter in self._asked:
            return
        timeout = acquire.timeout
        deadline = math.inf if timeout is None else timeout and self._time() + timeout
        self._asked[waiter] = asked = _Asked(stand_in, acquire, waiter, deadline)
        stand_in.waiting += 1
        denied: Denied | None = None
        if self.closed:
            denied = _shutting_down(asked)
        elif acquire.watched is not None and stand_in.watch is not None:
            denied = stand_in.watch.denial(self._now(), stand_in.scope, stand_in.loops, acquire, stand_in.stopped)
        if denied is None:
            self._forward(asked)
        else:
            self._answer(asked, denied)

    def _forward(self, asked: _Asked) -> None:
        acquire, stand_in = asked.acquire, asked.stand_in
        if asked.forwarded or acquire.watched is not None:
            acquire = asked.remaining(self._time())
        if self.session is not None:
            if stand_in.lease.unread and from_the_lease(acquire):
                # What was used, and how much more of it would be: permits may be leased with the answer.
                self.session.report((stand_in,))
            asked.number = self.session.ask(stand_in.scope, acquire)
            self._by_number[asked.number] = asked
            if acquire.timeout == 0:
                self.prompt.add(asked.number)
        elif self.is_away:
            self._decide(asked, acquire)
        asked.forwarded = True

    def forward_all(self) -> None:
        """Another one decides from now on."""
        for asked in list(self._asked.values()):
            if asked.waiter in self._asked:
                self._forward(asked)

    def keep_all(self) -> None:
        """Takes all asks back from the actors of this process."""
        self.is_away = False
        # A copy: where one leaves its queue, those behind it may be answered.
        for asked in tuple(self._asked.values()):
            if asked.local is not None:
                (actor, inner), asked.local = asked.local, None
                actor.leave(inner)

    def lose(self) -> None:
        """The session has ended."""
        self.session = None
        self._by_number.clear()
        self.prompt.clear()
        for asked in self._asked.values():
            asked.number = 0

    def decided(self, number: int, answer: Grant | Denied, *, held: bool) -> None:
        """The daemon has answered."""
        asked = self._by_number.pop(number, None)
        self.prompt.discard(number)
        if asked is not None and isinstance(answer, Denied):
            self._answer(asked, answer)
        elif asked is not None and isinstance(answer, Grant):
            permit = self._permits.granted(asked.stand_in, answer, number, held=held)
            if self._is_stale(asked, answer):
                self._permits.give_back(permit)
                asked.again = True
                self._forward(asked)
            else:
                self._answer(asked, permit)

    def _is_stale(self, asked: _Asked, grant: Grant) -> bool:
        """Whether this process stood still after the daemon had granted: the call would come later than limits assume.

        Each ask is repeated once only, should the clocks of both drift apart.
        """
        return not asked.again and self._now() + self.owner_is_ahead - grant.granted_at > self.stale_after

    def withdraw(self, waiter: Waiter) -> None:
        """The waiter no longer waits. A permit that it was given meanwhile is given back."""
        asked = self._asked.get(waiter)
        if asked is None:
            if isinstance(waiter.answer, Permit):
                self._permits.give_back(waiter.answer)
            return
        self._forget(asked)
        if asked.local is not None:
            asked.local[0].leave(asked.local[1])
        elif asked.number and self.session is not None:
            del self._by_number[asked.number]
            self.prompt.discard(asked.number)
            self.session.withdraw(asked.number, asked.stand_in.scope)

    def close(self) -> None:
        """Denies all asks, now and later."""
        self.closed = True
        for asked in list(self._asked.values()):
            if asked.waiter in self._asked:
                self.withdraw(asked.waiter)
                asked.waiter.give(_shutting_down(asked))

    def _answer(self, asked: _Asked, answer: Permit | Denied) -> None:
        self._forget(asked)
        if isinstance(answer, Permit):
            answer.watched = asked.acquire.watched
        if not asked.waiter.give(answer) and isinstance(answer, Permit):
            self._permits.give_back(answer)

    def _forget(self, asked: _Asked) -> None:
        del self._asked[asked.waiter]
        stand_in = asked.stand_in
        stand_in.waiting -= 1
        if asked.acquire.request is not PLAIN and stand_in.large:
            stand_in.large.popleft()

    # Decisions of this process.

    def _decide(self, asked: _Asked, acquire: Acquire) -> None:
        scope = asked.stand_in.scope
        actor = self._away.actor(scope) if self._away.decides else None
        if actor is None:
            self._answer(asked, overloaded(scope))
            return
        if acquire.timeout != 0 and self._away.exceeds_share(actor, acquire):
            return  # The daemon decides once it is back. Not asked here, where it would count as denied.
        inner = Waiter(acquire, partial(self._woken, asked), asked.waiter.thread)
        # Before it asks: it may be answered as one that waits, at once.
        asked.local = actor, inner
        answer = actor.acquire(acquire, inner)
        if answer is not None:
            self._decided_here(asked, actor, answer)

    def _woken(self, asked: _Asked) -> None:
        if asked.local is not None:
            actor, inner = asked.local
            answer = inner.take()
            if answer is not None:
                self._decided_here(asked, actor, answer)

    def _decided_here(self, asked: _Asked, actor: ScopeActor, answer: Permit | Denied) -> None:
        asked.local = None
        if isinstance(answer, Permit):
            answer = self._permits.granted_here(asked.stand_in, answer, actor, asked.acquire.caller)
        elif answer.reason is Reason.COST:
            # More than the share can ever hold. The daemon, whose limits may hold it, decides once it is back.
            if asked.acquire.timeout != 0:
                return
            answer = overloaded(answer.scope)
        self._answer(asked, answer)


def _shutting_down(asked: _Asked) -> Denied:
    return Denied(asked.stand_in.scope, Reason.SHUTTING_DOWN, None)
