"""Session of one connected process: what it asks for, what it holds, and when its leases run out. Sans-IO.

Messages go in by `handle`, and out by the function that the session was given; `finish` follows those that have arrived
together: outcomes are read before asks are decided. `look` is to be called now and then while the session is `due`.

A session ends in two steps. When the connection is lost, calls that wait leave their queues at once. What the process may still
use, the permits leased to it and the places of its calls, is kept until the process has ended for certain, or its leases have
run out, and only then counts as used, and as given up.

Bounds: `MAX_ASKS` asks that wait, `MAX_HELD` permits whose outcome a limit waits for; one more is denied as `overloaded`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple, Protocol, assert_never, final

from governor._actors.actor import ScopeActor
from governor._actors.asking import grab, overloaded
from governor._actors.inbound.group import GroupActor
from governor._actors.permit import HeldPermit, Permit
from governor._actors.queue import Waiter
from governor._owner.admissions import Admissions
from governor._owner.checks import ProtocolError, checked_acquire
from governor._owner.leases import Leases
from governor._owner.outcomes import Outcomes
from governor._owner.places import Places
from governor._units import Duration, Instant
from governor.errors import Reason
from governor.messages import Denied, NoRetry, RetryPlan
from governor.policies.budget import Budgets
from governor.policies.contract import REQUESTS, Grant, Request, Result
from governor.policies.leased import may_lease
from governor.protocol import (
    VERSION,
    Act,
    Acted,
    Admit,
    Admitted,
    Ask,
    AskDenied,
    Ended,
    FromMember,
    FromOwner,
    Granted,
    Group,
    Hello,
    LeaseReport,
    Plan,
    Planned,
    Query,
    Read,
    Readmit,
    Told,
    Welcome,
    Withdraw,
)

#: Asks of one process that wait.
MAX_ASKS: Final = 65_536


class Machine(Protocol):
    """The governor, as its sessions know it."""

    #: How long a lease lasts.
    ttl: Duration
    #: The budgets of caller labels.
    budgets: Budgets
    #: No ask is answered before this instant: processes that knew an earlier owner, or granted alone, must have come back.
    opens_at: Instant
    #: What all processes make the keys of their clients with.
    secret: bytes

    @property
    def inbound(self) -> str:
        """A digest of the settings of inbound groups."""

    def clock(self) -> Instant:
        """The clock of the governor."""

    def actor(self, scope: str) -> ScopeActor | None:
        """The actor of a scope; None if there is no room for another scope. Raises `ConfigError` for no name of a scope."""

    def group(self, group: Group) -> GroupActor | None:
        """The actor of an inbound group; None if there is no room. Raises `ConfigError` for what is no name of a group."""

    def wait_for_others(self) -> None:
        """Answers no ask until other processes that have granted without an owner are back as well."""

    def query(self, session: "Session", number: int, document: str) -> None:
        """Has the session answered with a document, in parts."""

    def act(self, message: Act) -> Acted:
        """Does what an operator asks for."""


class _Waiting(NamedTuple):
    actor: ScopeActor
    waiter: Waiter


@final
class Session:
    """One connected process. Belongs to the actors' thread. `send` neither fails nor waits.

    `has_ended` says whether the process has ended for certain.
    """

    def __init__(
        self, machine: Machine, send: Callable[[FromOwner], None], has_ended: Callable[[], bool] = lambda: False
    ) -> None:
        self._machine = machine
        self.send = send
        self._has_ended = has_ended
        self.pid = 0
        self.name = ""
        #: Whether it only looks and acts.
        self.operator = False
        self.connected = True
        #: When the process is gone for certain, once the connection is lost.
        self._gone_at = Instant(0)
        #: Whether it has said hello.
        self.greeted = False
        self._early: dict[int, Ask] = {}
        #: The asks that have arrived with what is being handled, and the actors of the outcomes that have.
        self._asks: list[Ask] = []
        #: Asks in a row of one scope, which one step decides on.
        self._together: list[_Waiting] = []
        self._told_to: dict[ScopeActor, None] = {}
        self._waiting: dict[int, _Waiting] = {}
        self.places = Places(machine.clock)
        self._outcomes = Outcomes(self.places, machine.clock)
        # What sends is another function once the connection is lost.
        self.leases = Leases(find=machine.actor, clock=machine.clock, ttl=machine.ttl, send=lambda message: self.send(message))
        self.admissions = Admissions(machine.group)
        #: Permits that were asked for and granted.
        self.granted = 0

    # How it stands.

    @property
    def waiting(self) -> int:
        """Asks that wait."""
        return len(self._waiting) + len(self._early) + len(self._asks)

    @property
    def is_process(self) -> bool:
        """Whether it is a connected process that shares the limits."""
        return self.greeted and self.connected and not self.operator

    @property
    def due(self) -> bool:
        """Whether `look` has something to do, now or later."""
        if self.connected:
            return bool(self._early) or self.leases.leased > 0
        return bool(self.places) or bool(self.admissions) or self.leases.leased > 0

    # Messages.

    def handle(self, message: FromMember) -> None:
        """Reads one message. Raises `ProtocolError`, and `ConfigError` for no name of a scope: the connection must end."""
        if isinstance(message, Hello):
            self._greet(message)
        elif not self.greeted:
            raise ProtocolError("the first message of a connection must be a hello")
        elif isinstance(message, Ask):
            self._asks.append(message)
        elif isinstance(message, Told) and not message.number:
            self._told(message)
        else:
            self._settle()  # All others keep their places between the messages around them.
            self._handle(message)

    def _handle(self, message: Withdraw | Told | LeaseReport | Plan | Admit | Readmit | Ended | Query | Act) -> None:
        match message:
            case Withdraw(number):
                self._withdraw(number)
            case Told():
                self._told(message)
                self._settle()
                self.answer(Read(message.number))
            case LeaseReport():
                self._reported(message)
            case Plan():
                self._plan(message)
            case Admit() | Readmit() | Ended():
                self._inbound(message)
            case Query(number, document):
                self._machine.query(self, number, document)
            case Act():
                self.answer(self._machine.act(message))
            case _:
                assert_never(message)

    def finish(self) -> None:
        """Decides what has arrived together, and grants ahead where asks have come in. Raises as `handle` does."""
        self._settle()
        self.leases.lease()

    def _settle(self) -> None:
        asks, self._asks = self._asks, []
        first = next(iter(self._told_to), None)
        # Where calls wait, the step that decides on an ask reads the outcomes: one step for the two of them, instead of two.
        if not (asks and len(self._told_to) == 1 and first and first.waiting and self._machine.actor(asks[0].scope) is first):
            self._read_outcomes()
        try:
            for ask in asks:
                self._ask(ask)
        finally:
            self._decide()
            self._read_outcomes()

    def _read_outcomes(self) -> None:
        told_to, self._told_to = self._told_to, {}
        for actor in told_to:
            # In a step of its own, so that they have been read before that is said.
            actor.change(bool)

    def _decide(self) -> None:
        """Decides on the asks in a row that take a step of one actor."""
        asks, self._together = self._together, []
        if asks:
            actor = asks[0].actor
            actor.acquire_all([(one.waiter.acquire, one.waiter) for one in asks])
            if self._told_to and not actor.unread:
                self._told_to.pop(actor, None)

    def answer(self, message: FromOwner) -> None:
        """Sends an answer, which refreshes the leases of the process."""
        self.leases.refresh()
        self.send(message)

    def _greet(self, hello: Hello) -> None:
        if self.greeted:
            raise ProtocolError("a connection has one hello")
        if hello.version != VERSION:
            raise ProtocolError(f"version {hello.version} of the protocol is not spoken here, but version {VERSION}")
        self.greeted = True
        self.pid, self.name, self.operator = hello.pid, hello.name, hello.operator
        if hello.alone:
            self._machine.wait_for_others()
        for scope, count in hello.held.items():
            actor = self._machine.actor(scope)
            if actor is not None and count:
                self.places.adopt(actor, count)
        for scope, used in hello.used.items():
            actor = self._machine.actor(scope)
            if actor is not None:
                actor.change(partial(self._charge, actor, used))
        machine = self._machine
        for label, used in hello.by_caller.items():
            machine.budgets.commit(machine.clock(), label, _request(used))
        self.answer(Welcome(VERSION, machine.ttl / 1_000_000, machine.clock(), machine.secret, machine.inbound))

    def _charge(self, actor: ScopeActor, used: Mapping[str, int]) -> None:
        """Counts calls that have ended: as what is used beyond a permit, so that a scope owes no more than its `max_debt`."""
        pipeline, now = actor.ledger.pipeline, self._machine.clock()
        grant = Grant(now, pipeline.breaker.generation, Request(0))
        pipeline.settle(now, grant, used)
        for limit in pipeline.all_limits:
            limit.record(now, grant.corrected(used), Result.SUCCESS)
        if used.get(REQUESTS):
            pipeline.cap.commit(now, Request(used[REQUESTS]))
        pipeline.regate()

    # Asks.

    def _ask(self, message: Ask) -> None:
        number, scope, acquire = message.number, message.scope, checked_acquire(message.acquire)
        actor = self._machine.actor(scope)
        if number in self._waiting or number in self.places or number in self._early:
            raise ProtocolError(f"the number {number} is in use")
        if self.waiting >= MAX_ASKS or self.places.full:
            self.answer(AskDenied(number, overloaded(scope)))
            return
        if self._machine.opens_at and self._machine.clock() < self._machine.opens_at:
            self._early[number] = message  # Nothing is wrong with it: later there is no connection to end.
            return
        if actor is None:
            self.answer(AskDenied(number, overloaded(scope)))
            return
        if self._together and self._together[0].actor is not actor:
            self._decide()
        plain = acquire.suits_lease and acquire.caller is None
        # None may overtake those that have come before it.
        answer = grab(actor, acquire) if plain and not self._together else None
        if answer is None:
            waiting = self._waiting[number] = _Waiting(actor, Waiter(acquire, partial(self._woken, number)))
            self._together.append(waiting)
        else:
            self._decided(number, answer)
        if plain and may_lease(actor.ledger.pipeline):
            self.leases.asked(scope)

    def _woken(self, number: int) -> None:
        waiting = self._waiting.pop(number, None)
        answer = None if waiting is None else waiting.waiter.take()
        if answer is not None:
            self._decided(number, answer)

    def _decided(self, number: int, answer: Permit | Denied) -> None:
        if isinstance(answer, Denied):
            self.answer(AskDenied(number, answer))
            return
        self.granted += 1
        held = isinstance(answer, HeldPermit)
        if isinstance(answer, HeldPermit):
            self.places.keep(number, answer)
        self.answer(Granted(number, answer.grant(), held))

    def _withdraw(self, number: int) -> None:
        early = self._early.pop(number, None)
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            waiting.actor.leave(waiting.waiter)
        if early is not None or waiting is not None:
            self.answer(Read(number))

    # Outcomes.

    def _told(self, told: Told) -> None:
        actor = self._machine.actor(told.scope)
        if actor is not None:
            actor.outcomes.append(outcome := self._outcomes.read(actor, told))
            # Without a step, which costs several times as much; but none overtakes those that wait for theirs.
            if self._told_to or not actor.read_in_place(outcome):
                self._told_to[actor] = None

    def _plan(self, message: Plan) -> None:
        actor = self._machine.actor(message.scope)
        if message.plan.attempt < 1:
            raise ProtocolError(f"attempt {message.plan.attempt} is below 1")
        plan = RetryPlan(None, NoRetry.UNAVAILABLE) if actor is None else actor.plan_retry(message.plan)
        self.answer(Planned(message.number, plan))

    def _reported(self, report: LeaseReport) -> None:
        for use in report.uses:
            self.leases.report(use)
        if report.number:
            self.answer(Read(report.number))

    def _inbound(self, message: Admit | Readmit | Ended) -> None:
        match message:
            case Admit():
                self.answer(Admitted(message.number, self.admissions.admit(message)))
            case Readmit():
                self.admissions.readmit(message)
            case Ended():
                self.admissions.ended(message)

    # Time, and the end.

    def look(self) -> None:
        """Has everything counted that has run out by now."""
        if self._early and self._machine.clock() >= self._machine.opens_at:
            early, self._early = self._early, {}
            self._asks += early.values()
            self.finish()
        gone = not self.connected and (self._machine.clock() >= self._gone_at or self._has_ended())
        self.leases.look(gone=gone)
        if gone:
            self.places.give_up()
            self.admissions.give_up()

    def lost(self) -> None:
        """The connection has ended. Calls that wait leave their queues; the rest is kept until the leases have run out."""
        self.connected = False
        self._asks.clear()
        self._settle()
        # From the loss, and not from the last answer: a process with nothing but calls in flight says nothing.
        self._gone_at = Instant(self._machine.clock() + self.leases.lasts)
        self.send = _drop
        self._early.clear()
        waiting, self._waiting = self._waiting, {}
        for one in waiting.values():
            one.actor.leave(one.waiter)

    def shut_down(self) -> None:
        """Denies every ask that waits."""
        asks, self._asks = self._asks, []
        self._settle()
        for ask in (*asks, *self._early.values()):
            self.answer(AskDenied(ask.number, Denied(ask.scope, Reason.SHUTTING_DOWN, None)))
        self._early.clear()
        waiting, self._waiting = self._waiting, {}
        for number, one in waiting.items():
            one.actor.leave(one.waiter)
            self.answer(AskDenied(number, Denied(one.actor.scope, Reason.SHUTTING_DOWN, None)))

    def __repr__(self) -> str:
        return f"<Session of process {self.pid}, {self.leases.leased} leased, {len(self.places)} held, {self.waiting} waiting>"


def _request(used: Mapping[str, int]) -> Request:
    return Request(used.get(REQUESTS, 0), {unit: amount for unit, amount in used.items() if unit != REQUESTS})


def _drop(message: FromOwner) -> None:
    """Sends to where there is no connection."""
