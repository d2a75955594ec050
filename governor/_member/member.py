"""Member: the backend of a governor whose limits a daemon owns, in the place of a supervisor.

It belongs to the thread of its connection, which runs nothing else. All threads and tasks of the process leave what they have
to say in one queue, and what lies there goes out together. While the daemon is away, a supervisor of this process decides.

A thread that leaves something sends all that lies there itself, if no other one is at it: so a call waits for two threads, its
own and that which reads, instead of three. `_turn` is held by the thread that works with the connection and with what it knows.

Bounds: `max_scopes` stand-ins; at the bound an idle one makes room, or the call is denied as `overloaded`.
"""

import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sized
from functools import partial
from pathlib import Path
from random import Random
from threading import RLock
from typing import Final, final

import msgspec
from anyio.abc import TaskGroup

from governor._actors.inbound.groups import digest_of
from governor._actors.leases.lease import LOOK_INTERVAL
from governor._actors.loop_watch import LoopWatch
from governor._actors.notifier import Notifier
from governor._actors.operating import Operations
from governor._actors.portal import Portal
from governor._actors.queue import Waiter
from governor._failures import Classifier
from governor._member.asks import Asks
from governor._member.away import FIRST_TTL, Away
from governor._member.calls import Calls
from governor._member.connection import ConnectionLostError
from governor._member.deciding_here import DecidingHere
from governor._member.gate import Gate
from governor._member.lease import Leases
from governor._member.link import Link
from governor._member.permits import Entry, UnreadFailures
from governor._member.plans import PlanToCome
from governor._member.session import Session, SessionRejected
from governor._member.spawn import Spawner
from governor._member.stand_in import StandIn
from governor._supervisor import Supervisor
from governor._units import Duration, to_seconds
from governor.clock import Clock, nanoseconds
from governor.config import Config
from governor.error_log import ErrorLog
from governor.errors import Reason, UsageError
from governor.instrumentation import Announcer
from governor.messages import Acquire, Denied, Leave, NoRetry, PlanRetry, RetryPlan
from governor.policies.contract import Request
from governor.protocol import VERSION, FromMember, Hello, Welcome
from governor.statistics import Statistics

_log: Final = logging.getLogger("governor")

#: Seconds between looks: while permits are leased, while asks wait, and while only outcomes are to come.
_LOOK_INTERVAL: Final = to_seconds(LOOK_INTERVAL)
_WAITING_INTERVAL: Final = 0.05
_SLOW_INTERVAL: Final = 0.25
#: Nanoseconds for which the outcomes of calls are waited for that a lease has let through.
_LINGER: Final = 30 * 10**9
#: Seconds in which the daemon must answer with a document.
_DOCUMENT_TIMEOUT: Final = 5.0
#: Scopes that are looked at to make room for another one.
_MAX_LOOKED_AT: Final = 16


@final
class Member(Notifier):
    """See the module. `supervisor` decides by the settings of `config_for` while the daemon is away."""

    #: See `Backend`.
    anywhere = True

    def __init__(
        self,
        config: Config,
        socket: Path,
        *,
        supervisor: Supervisor,
        now: Clock,
        random: Random,
        portal: Portal,
        tasks: TaskGroup,
        announcer: Announcer,
        classifier: Classifier,
        on_forgotten: Callable[[StandIn], None],
    ) -> None:
        super().__init__(portal)
        # It may be taken twice: by a signal handler that asks in the middle of it.
        self._turn = RLock()
        #: Whether a thread sends what is left.
        self._sending = False
        #: Whether the connection is looked at now and then.
        self._looking = False
        self._config = config
        self._local = supervisor
        self._now = now
        self._on_forgotten = on_forgotten
        self.classifier = classifier
        self.watch = LoopWatch(clock=now, portal=portal, announcer=announcer)
        #: What is left for this thread, from any thread, in order.
        self.entries: deque[Entry] = deque()
        self.failures = UnreadFailures()
        self._stand_ins: dict[str, StandIn] = {}
        self._leases = Leases(nanoseconds)
        #: The stand-ins to look after, and until when those are that have no leased permits.
        self._leased: dict[StandIn, int] = {}
        self._away = Away(supervisor, config.machine, now, lambda: self._calls.at_the_daemon())
        self._calls = Calls(self._away, self, classifier, self.watch)
        self._asks = Asks(self._away, self._calls, time=portal.time, now=now)
        self.prompt: Sized = self._asks.prompt
        self.gate = Gate(DecidingHere(supervisor.groups, config.machine, now), notify=self.notify, time=portal.time)
        self._error_log = ErrorLog()
        self._ttl = FIRST_TTL
        #: Whether the daemon has been lost and has not said welcome since, and whether it has nearly done so.
        self._absent = self._answers = False
        #: What the last hello has said was used.
        self._said = self._calls.used()
        self._link = Link(socket, self, random, turn=self._turn, missing=Spawner(config, socket, portal.time).missing)
        tasks.start_soon(self._link.run)

    # Backend.

    @property
    def operations(self) -> Operations:
        """Raises `UsageError`: see `Backend.operations`."""
        raise UsageError("a daemon owns the limits of this process; use `governor ctl`")

    def actor(self, scope: str) -> StandIn | None:
        """The stand-in of a scope, made on first use, on any thread. None if there is no room for another scope."""
        found = self._stand_ins.get(scope)
        if found is None:
            with self._turn:
                found = self._find(scope)
        return found

    def _find(self, scope: str) -> StandIn | None:
        found = self._stand_ins.get(scope)
        if found is None and (len(self._stand_ins) < self._config.global_.max_scopes or self._make_room()):
            loops, max_waiting = self._config.for_scope(scope).loops, self._config.global_.max_waiting
            found = self._stand_ins[scope] = StandIn(scope, self, self._leases.of(scope), loops, max_waiting)
        return found

    def _make_room(self) -> bool:
        for scope, one in list(self._stand_ins.items())[:_MAX_LOOKED_AT]:
            del self._stand_ins[scope]
            if not one.waiting and not one.lease.unread:
                self._leases.by_scope.pop(scope, None)
                self._leased.pop(one, None)
                # Later, without the turn: it waits for threads that wait for the turn.
                self._portal.post(partial(self._on_forgotten, one))
                return True
            self._stand_ins[scope] = one  # Its turn comes after all others.
        return False

    def close(self) -> None:
        """Tells the daemon what there is to tell, returns the leases, and denies every ask, now and later."""
        with self._turn:
            self.dispatch()
            self.gate.batches.close()
            self._asks.close()
            if self._calls.session is not None:
                self._calls.session.give_all_back(self._leased)
            self._link.flush()
            self._leases.end()
        self._local.close()

    def moved(self) -> None:
        """The thread of the connection is the only one that runs its loop."""

    def stuck(self) -> set[int]:
        """The threads that wait for outcomes of this process only: none while a daemon decides."""
        return self._local.stuck() if self._asks.is_away else set()

    def statistics(self) -> None:
        """None: the daemon is asked, by `survey`."""

    def survey(self, also: str = "") -> Iterator[Statistics | None]:
        """The statistics of the daemon; without it, those of this process."""
        session, documents = self._asks.session, list[bytes]()
        if session is not None:
            with self._turn:
                session.query("statistics", documents.append)
                self._link.flush()
            ends = self._portal.time() + _DOCUMENT_TIMEOUT
            while not documents and session is self._asks.session and self._portal.time() < ends:
                yield None
        if not documents:
            yield from self._local.survey(also)
            return
        yield msgspec.json.decode(documents[0], type=Statistics)

    def reconfigure(self, config: Config) -> None:
        """Other settings for the time without the daemon, whose own are in force else."""
        self._config = config
        self._away.reconfigure(config)
        for scope, one in tuple(self._stand_ins.items()):
            one.loops = config.for_scope(scope).loops

    def leave_degraded(self) -> None:
        """Raises `UsageError`: see `Backend.operations`."""
        raise UsageError("a daemon owns the limits of this process; use `governor ctl`")

    # What is left by others.

    def _on_notified(self) -> None:
        self._notified = False
        with self._turn:
            self.dispatch()
            self._link.flush()
            if self._is_busy:
                self._link.is_busy()

    @property
    def _is_busy(self) -> bool:
        return bool(self._leased or len(self._asks) or self.failures or self.gate.batches.is_busy)

    def hand_over(self) -> None:
        """See `Outbox.hand_over`."""
        if self._asks.session is None or not self._turn.acquire(blocking=False):
            self.notify()
            return
        left = True
        try:
            if not self._sending and self._asks.session is not None:
                self._sending = True
                connection = self._link.connection  # Read once: it may be lost meanwhile.
                done = self.dispatch(anywhere=True) and connection is not None and connection.write()
                left = not done or (not self._looking and self._is_busy)
                self._sending = False
        except BaseException as error:
            # Interrupted halfway: the next hello says what the daemon does not know.
            self._sending = False
            self._link.break_off()
            if not isinstance(error, Exception):
                raise
            _log.error("What a call has left could not be sent.", exc_info=error)
        finally:
            self._turn.release()
        if left:
            self.notify()

    def dispatch(self, *, anywhere: bool = False) -> bool:
        """Reads what is left, within the turn. False if the rest is for the thread of the connection, and this is another."""
        entries = self.entries
        for _ in range(len(entries)):
            owner, message, waiter = entries[0]
            if anywhere and isinstance(message, Acquire) and message.watched is not None:
                return False
            try:
                if isinstance(message, Acquire):
                    assert isinstance(owner, StandIn)
                    assert isinstance(waiter, Waiter)
                    self._asks.ask(owner, message, waiter)
                elif isinstance(message, Leave):
                    assert isinstance(waiter, Waiter)
                    self._asks.withdraw(waiter)
                else:
                    self._calls.tell(owner, message)
            except Exception:
                entries.popleft()
                raise
            # Only now: what an interrupted thread has begun with is read again, for the call may be that of another one.
            entries.popleft()
        if not anywhere:
            self.gate.dispatch()
        if entries and not self.prompt:
            self.notify()  # They have been left meanwhile for the answer to an ask that has been withdrawn.
        return True

    def _on_gone(self) -> None:
        self.gate.on_gone()
        try:
            while True:
                owner, message, waiter = self.entries.popleft()
                if isinstance(message, Acquire) and isinstance(waiter, Waiter):
                    waiter.give(Denied(owner.scope, Reason.SHUTTING_DOWN, None))
        except IndexError:
            self.failures.clear()

    def plan(self, scope: str, message: PlanRetry) -> RetryPlan | PlanToCome:
        """See `Parent.plan`."""
        with self._turn:
            self.dispatch()
            if self._asks.session is not None:
                plan = PlanToCome()
                self._asks.session.plan(scope, message, plan.give)
                self._link.flush()
                return plan
        actor = self._away.actor(scope) if self._asks.is_away and self._away.decides else None
        return RetryPlan(None, NoRetry.UNAVAILABLE) if actor is None else actor.plan_retry(message)

    # The link.

    def greet(self, send: Callable[[FromMember], None]) -> tuple[Hello, Session]:
        """See `Linked.greet`. What is used here from now on is not in the hello.

        So asks are kept if the daemon is known to answer at once, or was never away. Else calls are decided here until it does.
        """
        with self._turn:
            self.dispatch()
            if self._answers or not self._absent:
                self._asks.keep_all()
            session = Session(
                send,
                self._leases,
                stand_in=self._known,
                decided=self._asks.decided,
                failure_read=self._calls.failure_read,
                leased=self._is_leased,
                admitted=self.gate.batches.admitted,
            )
            self._calls.begin(session)
            name = self._config.machine.name or os.path.basename(sys.argv[0] if sys.argv else "")
            said = self._said = self._calls.used()
            alone = self._absent and self._away.may_have_granted
            held, by_caller = self._calls.held(), said.by_caller
            return Hello(VERSION, os.getpid(), name[:64], held, said.by_scope, by_caller=by_caller, alone=alone), session

    def welcome(self, welcome: Welcome) -> None:
        """See `Linked.welcome`. Raises `ConnectionLostError` if another hello must say what was used since this one."""
        if not self._calls.told(self._said):
            self._answers = True
            raise ConnectionLostError("the daemon does not know what was used since the hello")
        self._asks.keep_all()
        self._absent = self._answers = False
        self._ttl = Duration(round(welcome.ttl * 1_000_000))
        self._leases.begin(self._ttl * 1000)
        self._asks.stale_after = self._ttl
        self._asks.owner_is_ahead = welcome.now - self._now()
        self._asks.session = session = self._calls.session
        self._asks.forward_all()
        if session is not None:
            self.gate.welcome(session, welcome.secret)
        if welcome.inbound != digest_of(self._config):
            self._error_log.warn("The daemon has other [inbound] settings than this process; its own limits are in force.")
        self._link.is_busy()

    def lose(self) -> None:
        """See `Linked.lose`. Calls are decided here from now on."""
        with self._turn:
            self._looking = False
            session, self._calls.session = self._calls.session, None
            self._asks.lose()
            self.notify()
            if session is not None:
                for scope, used in self._leases.end().items():
                    self._calls.use(scope, Request(used))
                session.end()
            self._leased.clear()
            self.failures.clear()
            if not self._asks.is_away and not self._asks.closed:
                self._asks.is_away = True
                if not self._absent:
                    # Not with each attempt to connect: the limits would be used up for ever.
                    self._absent = True
                    self._away.begin(self._ttl)
                self._asks.forward_all()
            self.gate.lose()

    def _known(self, scope: str) -> StandIn:
        found = self._find(scope)
        if found is None:
            raise SessionRejected(f"the daemon speaks of {scope}, for which there is no room")
        return found

    def _is_leased(self, stand_in: StandIn) -> None:
        self._leased[stand_in] = nanoseconds() + _LINGER
        self._link.is_busy()

    def look(self) -> float | None:
        """See `Linked.look`."""
        with self._turn:
            wait = self._look()
            # Within the turn: a thread that asks from now on knows whether it must have that looked after.
            self._looking = wait is not None
        return wait

    def _look(self) -> float | None:
        session = self._asks.session
        if session is None:
            return None
        self.dispatch()
        inbound = self.gate.look()
        session.look(self._leased)
        now = nanoseconds()
        self._leased = {one: until for one, until in self._leased.items() if one.lease.outstanding or now < until}
        if not session.failures and not self.entries:
            self.failures.look()
        if any(one.lease.outstanding for one in self._leased):
            return _LOOK_INTERVAL
        if len(self._asks) or session.failures or self.gate.batches.is_busy:
            return _WAITING_INTERVAL
        return _SLOW_INTERVAL if self._leased or inbound else None
