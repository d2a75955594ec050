"""What an actor does in steps. At rest it is a record: what its steps need is made with the first of them, on any thread.

That is the mailbox, the alarm, the lease, the queue and the decisions. Until then the actor grants plain requests and counts
their successes, as it always does, without a step.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from governor._actors.in_place import InPlace
from governor._actors.leases.leasing import Leasing
from governor._actors.lifecycle import Event
from governor._actors.permit import Permit
from governor._actors.queue import Waiter
from governor._actors.scope import ScopeLogic
from governor._actors.steps import Steps
from governor._threads import has_interpreter_lock
from governor._units import Duration, Instant, to_seconds
from governor.errors import Reason
from governor.messages import Acquire, Denied, Leave, Outcome
from governor.policies.loops import Loops
from governor.policies.retry import Retry
from governor.statistics import LoopStatistics

if TYPE_CHECKING:
    from governor._actors.actor import ScopeActor


class Seen(NamedTuple):
    """The calls in the queue, the permits granted ahead, leased places that no call has, and the loops that are stopped."""

    waiting: int = 0
    leased: int = 0
    free_places: int = 0
    loops: LoopStatistics | None = None


#: What is seen of an actor without steps.
AT_REST: Final = Seen()


class Stepped(InPlace):
    """See the methods of `Steps` of the same names."""

    __slots__ = ("deposits", "loops", "retry")

    #: Where calls leave what they pay into the retry budget.
    deposits: list[None]
    #: The parameters of the loop guard, and of retries.
    loops: Loops
    retry: Retry
    #: Copies what calls read without a step.
    copy: Callable[[], None]

    def steps(self) -> Steps:
        """The steps of the actor, from any thread."""
        return self._steps or self._make_steps()

    def _make_steps(self) -> Steps:
        # Several threads may get here at once. The first to enter its own has made them, and each of them publishes those, the
        # last field last. One that enters its own after they were published, and so taken out again, finds that they are.
        making, owner = self._common.making, cast("ScopeActor", self)
        made = making.setdefault(owner, Steps(self.ledger, self.life, owner=owner, common=self._common, retry=self.retry))
        if self._steps is None:
            mailbox = made.mailbox
            self.inbox, self.large, self.unread = mailbox.inbox, mailbox.large, mailbox.outcomes
            self._leasing = made.logic.leasing
            holder = self._leasing.holder
            # Without the lock of the interpreter two threads could count one and the same success: they leave them one by one.
            self.answered = holder.answered if has_interpreter_lock() else None
            self.successes, self.deposits = holder.successes, holder.deposits
            self._steps = made
        making.pop(owner, None)
        if self.life.closed:
            # `close` leaves its mark first and then looks for steps, so one of the two closes the mailbox.
            self._steps.mailbox.close(self._denied(Reason.SHUTTING_DOWN, None))
        return self._steps

    # Parts of the steps.

    @property
    def logic(self) -> ScopeLogic:
        """The decisions."""
        return self.steps().logic

    @property
    def leasing(self) -> Leasing:
        """The leases."""
        return self.steps().logic.leasing

    @property
    def outcomes(self) -> list[Outcome]:
        """Where outcomes are left, from any thread; then call `deliver`."""
        return self.steps().mailbox.outcomes

    @property
    def waiting(self) -> int:
        """The calls in the queue."""
        return 0 if self._steps is None else len(self._steps.logic.queue)

    @property
    def outstanding(self) -> int:
        """Permits granted ahead that are, as far as is known, not used."""
        return 0 if self._leasing is None else self._leasing.outstanding

    @property
    def free_places(self) -> int:
        """Places in flight that are leased, and that no call has."""
        return 0 if self._leasing is None else self._leasing.holder.free_places

    @property
    def leased_elsewhere(self) -> int:
        """Those of them that other processes have."""
        return 0 if self._leasing is None else self._leasing.leased_elsewhere

    def seen(self, now: Instant) -> Seen:
        """What a status shows of the steps."""
        steps = self._steps
        if steps is None:
            return AT_REST
        leasing = steps.logic.leasing
        return Seen(
            len(steps.logic.queue), leasing.outstanding, leasing.holder.free_places, steps.logic.stopped.statistics(now)
        )

    # What is passed on.

    def acquire(self, acquire: Acquire, waiter: Waiter | None) -> Permit | Denied | None:
        """An ask on the actor's own loop. None means that the waiter has joined the queue and will be woken."""
        return self.steps().acquire(acquire, waiter)

    def acquire_all(self, asks: Iterable[tuple[Acquire, Waiter]]) -> None:
        """Asks that have come together, on the actor's own loop. Each waiter is woken, at once or later."""
        self.steps().acquire_all(asks)

    def send(self, message: Acquire | Leave, waiter: Waiter | None = None) -> None:
        """Leaves a message, on any thread: see `Mailbox.send`."""
        self.steps().mailbox.send(message, waiter)

    def prepare(self) -> None:
        """Makes the list of successes, on any thread."""
        self.steps()

    def wake(self) -> None:
        """Has the successes read soon that were left, on any thread."""
        self.steps().mailbox.notify()

    def leave(self, waiter: Waiter) -> None:
        """The waiter no longer waits."""
        steps = self.steps()
        steps.mailbox.inbox.append((Leave(), waiter))
        steps.read_soon()

    def change(self, part: Callable[[], object]) -> None:
        """Reads the mailbox, changes the policies, and serves the queue by them: soon, if a step runs."""
        self.steps().change(part)

    def within(self, part: Callable[[], object]) -> None:
        """Runs a part of a step: within the step that runs, or else as a step of its own."""
        self.steps().within(part)

    # The life of the actor. At rest nothing waits and nothing is granted ahead.

    def passivate(self) -> None:
        """Puts the actor to rest. The next ask resumes it as it is now."""
        self._common.portal.check_thread()
        self.life.apply(Event.PASSIVATE)
        if self._steps is None:
            self.copy()
        else:
            self._steps.halt()

    def stop(self, reason: Reason, retry_after: Duration | None, *, until: Instant | None = None) -> None:
        """Takes the actor down: until it is reopened every ask is denied for this reason."""
        answer = self._denied(reason, retry_after)
        if self._steps is not None:
            self._steps.stop(answer, until=until)
            return
        self.life.stop(answer, until=until)
        self.copy()

    def close(self) -> None:
        """Closes the actor for good: every ask is denied as `shutting_down`."""
        answer = self._denied(Reason.SHUTTING_DOWN, None)
        self.life.stop(answer, closed=True)
        if self._steps is None:
            self.copy()
        if self._steps is not None:  # Another thread may have made them meanwhile, for a message.
            self._steps.close(answer)

    def _denied(self, reason: Reason, retry_after: Duration | None) -> Denied:
        return Denied(self.scope, reason, None if retry_after is None else to_seconds(retry_after))
