"""Owners of the permits of a member: where their outcomes go.

A permit from the lease has the stand-in of its scope for an owner, and a success of its call is only counted. A permit that was
asked for has an owner of its own, which knows under which number.
"""

from collections import deque
from collections.abc import Sized
from typing import Final, Protocol, Self, final

from governor._actors.actor import ScopeActor
from governor._actors.counters import Counters
from governor._actors.loop_watch import LoopWatch
from governor._actors.mailbox import comes_first
from governor._actors.permit import Permit
from governor._failures import Classifier
from governor._fields import FailureRun
from governor._units import Instant
from governor.messages import Acquire, Leave, Outcome

#: No thread has this number: outcomes of a member are always left for the thread of its connection.
NOWHERE = 0


@final
class Healthy(FailureRun):
    """Degraded mode, as permits of a member know it: the daemon ends a run of failures when a success is reported."""

    __slots__ = ()

    def __init__(self) -> None:
        self.failures = 0


HEALTHY: Final = Healthy()


@final
class UnreadFailures(deque[None]):
    """One entry for each failure that the owner of the limits has not read.

    Threads append theirs before they leave the outcome, so that there may be entries for which none is left.
    """

    __slots__ = ("_found",)

    def __init__(self) -> None:
        super().__init__()
        #: Whether there were entries at the last look.
        self._found = False

    def look(self) -> None:
        """No outcome is left or on its way. Drops what the last look has found as well: those threads were interrupted.

        The first look drops nothing: a thread may be about to leave its outcome.
        """
        if self._found:
            self.clear()
        self._found = bool(self)


class Outbox(Protocol):
    """What is left for the thread of the connection, from any thread, in order."""

    @property
    def entries(self) -> "deque[Entry]":
        """What is left."""

    @property
    def failures(self) -> UnreadFailures:
        """The failures that the owner of the limits has not read."""

    @property
    def prompt(self) -> Sized:
        """The asks that the daemon answers at once. While there are any, the entries are read soon."""

    def notify(self) -> None:
        """Has the entries read soon, by the thread of the connection."""

    def hand_over(self) -> None:
        """Has the entries read at once, by this thread, or else soon."""


class OutcomeLeaver:
    """An owner whose `outcomes` are those that it leaves for the thread of the connection."""

    __slots__ = ()

    scope: str
    _outbox: Outbox

    def succeed(self, permit: Permit, granted_at: Instant, generation: int, status: int | None) -> bool:
        """Not called: it has no thread of its own."""
        return False

    def wake(self) -> None:
        """Not called: it does not gather successes."""

    def prepare(self) -> None:
        """Not called: its list is there from the start."""

    @property
    def outcomes(self) -> Self:
        """Where outcomes are left."""
        return self

    def append(self, outcome: Outcome) -> None:
        """Leaves an outcome. While a failure is unread, nothing is taken from any lease."""
        outbox = self._outbox
        if comes_first(outcome):
            # First: it may be read before this thread goes on.
            outbox.failures.append(None)
        outbox.entries.append((self, outcome, None))

    def deliver(self, outcome: Outcome, *, later: bool = False) -> None:
        """An outcome has been left: has it sent; from a finalizer, `later`, by another thread.

        While the daemon is about to answer another call, what need not be read first goes with the next message, or once that
        answer is read: a system call less for this process and for the daemon.
        """
        outbox = self._outbox
        if later:
            outbox.notify()
        elif not outbox.prompt or comes_first(outcome):
            outbox.hand_over()


@final
class AskedOwner(OutcomeLeaver):
    """The owner of one permit that was asked for. `connection` is the number of that by which it was granted, 0 for none.

    `behind` is the actor that has granted it, if this process has; `caller` is the label of the call, and `cost` what it takes
    of limits on requests.
    """

    __slots__ = ("_outbox", "behind", "caller", "classifier", "connection", "cost", "kept_at", "number", "scope", "watch")

    thread = NOWHERE
    listens = True
    gathers = False
    awaits_answers = True
    counters = Counters()
    degraded = HEALTHY
    answered = None
    successes: Final[deque[int | None]] = deque()

    def __init__(
        self,
        scope: str,
        outbox: Outbox,
        classifier: Classifier,
        watch: LoopWatch | None,
        *,
        connection: int = 0,
        number: int = 0,
        behind: ScopeActor | None = None,
        caller: str | None = None,
        cost: int = 1,
    ) -> None:
        self.scope = scope
        self.classifier = classifier
        self.watch = watch
        self.connection = connection
        self.number = number
        self.behind = behind
        self.caller = caller
        self.cost = cost
        #: Since when its place has been kept in this process as well, for a call that the daemon has granted.
        self.kept_at: Instant | None = None
        self._outbox = outbox

    @property
    def failures(self) -> deque[None]:
        """See `Outbox.failures`."""
        return self._outbox.failures


class LeaseOwner(Protocol):
    """The owner of permits from a lease."""

    @property
    def scope(self) -> str:
        """The name of the scope."""


#: Who leaves what: an outcome of a permit, or a message of a waiter.
Entry = tuple[AskedOwner | LeaseOwner, "Outcome | Acquire | Leave", object]


def taken_over(permit: Permit, owner: AskedOwner) -> Permit:
    """The same permit under another owner. The given one is of no use then."""
    grant = permit.grant()
    permit.reported = True
    return type(permit)(owner, grant.granted_at, grant.generation, grant)
