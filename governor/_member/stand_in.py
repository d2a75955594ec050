"""Stand-in of a scope at a member: the address that calls know, in front of the daemon that owns the limits of the scope.

Permits come from the lease, without a message. Everything else is left for the thread of the connection, which asks the daemon,
or decides by itself while the daemon is away.
"""

from collections import deque
from itertools import repeat, starmap
from typing import Final, Protocol, final

from governor._actors.address import PlanToCome
from governor._actors.asking import overloaded
from governor._actors.counters import Counters
from governor._actors.leases.permits_ahead import PermitsAhead
from governor._actors.loop_watch import LoopWatch
from governor._actors.permit import Permit
from governor._actors.queue import Waiter
from governor._actors.stopped_loops import StoppedLoops
from governor._failures import Classifier
from governor._fields import PermitSource
from governor._member.lease import MemberLease
from governor._member.permits import HEALTHY, NOWHERE, Outbox, OutcomeLeaver
from governor._threads import has_interpreter_lock
from governor._units import Instant
from governor.errors import UsageError
from governor.messages import Acquire, Denied, Leave, PlanRetry, RetryPlan
from governor.policies.contract import PLAIN
from governor.policies.loops import Loops


class Parent(Outbox, Protocol):
    """The member, as its stand-ins know it. Belongs to the thread of the connection, but for what an `Outbox` has."""

    @property
    def classifier(self) -> Classifier:
        """What an exception says about a provider."""

    @property
    def watch(self) -> LoopWatch | None:
        """The loop guard."""

    def plan(self, scope: str, message: PlanRetry) -> RetryPlan | PlanToCome:
        """Plans a retry."""


class _NoBudget:
    def deposit(self, now: Instant) -> None:
        raise UsageError("the retry budget belongs to the daemon")


class _NoLedger:
    budget = _NoBudget()


#: What permits of a lease are counted with here: nothing reads it.
_COUNTERS: Final = Counters()


@final
class StandIn(PermitSource, OutcomeLeaver):
    """The address of one scope, and the owner of the permits that its lease holds.

    Bound: `max_waiting` asks may wait; one more is denied as `overloaded`.
    """

    __slots__ = (
        "_outbox",
        "classifier",
        "deposits",
        "idle_looks",
        "lease",
        "loops",
        "max_waiting",
        "scope",
        "stopped",
        "waiting",
        "watch",
    )

    #: As the owner of permits from the lease: a success of theirs is only counted.
    awaits_answers = False
    ledger = _NoLedger()

    counters: Counters
    _outbox: Parent

    def __init__(self, scope: str, parent: Parent, lease: MemberLease, loops: Loops, max_waiting: int) -> None:
        self.scope = scope
        self._outbox = parent
        self.lease = lease
        self.thread = NOWHERE
        self.listens = self.gathers = False
        self.counters, self.degraded = _COUNTERS, HEALTHY
        self.leased = starmap(lease.pop, repeat(()))
        self.answered, self.successes = lease.answered if has_interpreter_lock() else None, lease.successes
        self.deposits = lease.deposits
        self.classifier = parent.classifier
        self.watch = parent.watch
        self.failures = parent.failures
        #: The parameters of the loop guard, and what it has stopped.
        self.loops, self.stopped = loops, StoppedLoops()
        self.max_waiting = max_waiting
        #: One for each ask for more than one request that has no answer yet.
        self.large: deque[None] = deque()
        #: Asks without an answer.
        self.waiting = 0
        #: Looks in a row at which no leased permit was used.
        self.idle_looks = 0

    # The lease.

    def permits(self, count: int, granted_at: Instant, breaker: int) -> PermitsAhead:
        """So many permits for the lease."""
        return PermitsAhead(self, granted_at, breaker, count)

    # Asks.

    def try_acquire(self) -> Permit | Denied:
        """Denied: no call runs on the thread of the connection, which cannot wait for an answer of the daemon."""
        return overloaded(self.scope)

    def acquire(self, acquire: Acquire, waiter: Waiter | None) -> Permit | Denied | None:
        """An ask on the thread of the connection."""
        if waiter is None:
            return overloaded(self.scope)
        self.send(acquire, waiter)
        return None

    def send(self, message: Acquire | Leave, waiter: Waiter | None = None) -> None:
        """Leaves a message, from any thread."""
        if isinstance(message, Acquire):
            if waiter is not None and self.waiting >= self.max_waiting:
                waiter.give(overloaded(self.scope))
                return
            if message.request is not PLAIN:
                # First: it may be read before this thread goes on.
                self.large.append(None)
        try:
            self._outbox.entries.append((self, message, waiter))
        finally:
            self._outbox.hand_over()

    def leave(self, waiter: Waiter) -> None:
        """The waiter no longer waits."""
        self.send(Leave(), waiter)

    def plan_retry(self, message: PlanRetry) -> RetryPlan | PlanToCome:
        """Plans the next attempt of an operation whose latest one has failed."""
        return self._outbox.plan(self.scope, message)

    def forget_loops(self) -> None:
        """Forgets which calls were repeated. On the thread of the connection."""
        if self.watch is not None:
            self.watch.forget(self.scope)
        self.stopped.forget()

    def __repr__(self) -> str:
        return f"<StandIn {self.scope}, {len(self.lease)} permits>"


def from_the_lease(acquire: Acquire) -> bool:
    """Whether a lease could serve this ask."""
    return acquire.suits_lease and acquire.caller is None
