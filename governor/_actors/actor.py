"""How does an actor live? A mailbox, one message at a time, a task that sleeps until the next alarm, rest, crash and end.

Handlers are synchronous and run to the end. On the actor's own thread a message is handed over directly, provided that no
handler is at work; from other threads asks go through the inbox, and outcomes through a queue of their own, which is read
before every ask. An actor ends in this order: it says why, closes the inbox, and answers whoever is left.

At its bounds: a full inbox answers asks with `overloaded`. Outcomes are always taken; there is at most one for each permit,
and before it word that its answer has begun.
"""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import get_ident
from typing import Final

import anyio

from governor._actors.event_loop import running_loop
from governor._actors.permit import Permit
from governor._actors.portal import Portal
from governor._actors.queue import Waiter
from governor._units import SECOND, Duration, Instant, to_seconds
from governor.errors import Reason
from governor.messages import Acquire, Answered, Denied, Leave, Report
from governor.policies.contract import PLAIN, Grant, Result

#: How long to wait before asking again when nobody knows how long it will take.
NOMINAL_WAIT: Final = SECOND

Outcome = Answered | Report | Grant


class Actor(ABC):
    """The life of an actor; what it decides is its subclass's. Everything but `send` belongs to the thread of `portal`."""

    __slots__ = (
        "_alarm",
        "_between",
        "_busy",
        "_closed",
        "_crash",
        "_down_until",
        "_portal",
        "_notified",
        "_loop",
        "_max_waiting",
        "_now",
        "_passive",
        "_timer",
        "_wake",
        "inbox",
        "large",
        "outcomes",
        "scope",
        "thread",
    )

    def __init__(self, scope: str, *, portal: Portal, now: Callable[[], Instant], max_waiting: int) -> None:
        self.scope = scope
        self.thread = portal.thread
        self._portal = portal
        self._now = now
        self._max_waiting = max_waiting
        #: Asks, and word from those who no longer wait, that the actor has not read yet.
        self.inbox: deque[tuple[Acquire | Leave, Waiter | None]] = deque()
        #: One for each of those asks that is for more than one request.
        self.large: deque[None] = deque()
        #: Outcomes that it has not read yet.
        self.outcomes: deque[Outcome] = deque()
        self._notified = False
        self._busy = False
        #: Whether it is at work, but between two messages.
        self._between = False
        self._passive = False
        self._closed: Denied | None = None
        self._down_until: Instant | None = None
        self._crash: Exception | None = None
        self._wake = anyio.Event()
        self._timer: anyio.CancelScope | None = None
        #: The loop of the timer, which cannot be set anywhere else.
        self._loop: object = None
        self._alarm = math.inf

    # What an actor decides.

    @abstractmethod
    def _decide(self, acquire: Acquire, waiter: Waiter | None) -> Permit | Denied | None:
        """An ask. None if the waiter is kept waiting."""

    @abstractmethod
    def _learn(self, message: Outcome) -> None:
        """The beginning of an answer, an outcome, or a grant that was never used."""

    @abstractmethod
    def _leave(self, waiter: Waiter) -> None:
        """The waiter no longer waits."""

    @abstractmethod
    def _serve(self) -> None:
        """Something may have changed: serve whoever waits, and set the alarm for the rest."""

    @abstractmethod
    def _on_alarm(self) -> None:
        """The alarm has rung."""

    @abstractmethod
    def _halt(self) -> None:
        """The actor rests or is down: nobody must take the short way."""

    @abstractmethod
    def _resume(self) -> None:
        """Somebody asks an actor at rest: live again, with a task."""

    @abstractmethod
    def _dismiss(self, answer: Denied) -> None:
        """Answer everybody who waits."""

    @abstractmethod
    def _count(self, denied: Denied) -> Denied:
        """Somebody is refused."""

    # The mailbox.

    def send(self, message: Acquire | Leave, waiter: Waiter | None = None) -> None:
        """Leaves a message, from any thread. An ask that cannot be taken is answered here and now."""
        if isinstance(message, Acquire) and len(self.inbox) >= self._max_waiting:
            self._answer(waiter, self._denied(Reason.OVERLOADED, NOMINAL_WAIT))
            return
        self._leave_ask(message, waiter)
        self._look_whether_closed()

    def deliver(self, outcome: Outcome, *, later: bool = False) -> None:
        """An outcome lies among the outcomes, left by any thread: has it read, at once on the actor's own, unless `later`."""
        if get_ident() == self.thread and not later:
            self._run_soon()
            return
        try:
            if isinstance(outcome, Report) and outcome.result is Result.FAILURE:
                # In this order: whoever goes through the failures finds it among the outcomes.
                self._portal.failures.append(self)
        finally:
            # Interrupted or not: what lies there must be read.
            self._notify()
        self._look_whether_closed()

    def _look_whether_closed(self) -> None:
        # The actor may have closed its inbox between the look and the append: whoever comes last empties it.
        if self._closed is not None and self._closed.reason is Reason.SHUTTING_DOWN:
            self._close_inbox(self._closed)

    def _leave_ask(self, message: Acquire | Leave, waiter: Waiter | None) -> None:
        try:
            if isinstance(message, Acquire) and message.request is not PLAIN:
                self.large.append(None)
            self.inbox.append((message, waiter))
        finally:
            self._notify()

    def tell_leave(self, waiter: Waiter) -> None:
        """The waiter no longer waits, said on the actor's own thread."""
        self.inbox.append((Leave(), waiter))
        self._run_soon()

    def _run_soon(self) -> None:
        if self._busy or self._portal.must_post():
            # Told from inside a handler (a finalizer, a signal handler): the knock makes sure that it is read.
            self._portal.post(self._on_notified)
        else:
            self._run(self._serve)

    def _notify(self) -> None:
        if self._notified:
            return
        try:
            self._notified = True
            is_open = self._portal.post(self._on_notified)
        except BaseException:
            # Interrupted before it was heard: the next message must knock again.
            self._notified = False
            raise
        if not is_open:
            self._notified = False
            self._close_inbox(self._denied(Reason.SHUTTING_DOWN, None))

    def _on_notified(self) -> None:
        # Before draining: a message that arrives from here on posts again, so none is left lying.
        self._notified = False
        self._portal.hear_failures()
        self._run(self._serve)

    def hear(self) -> bool:
        """Reads the outcomes there are, and no asks, on the actor's own thread. False if a handler is at work."""
        if self._between:
            self._between = False
            self._hear()
            self._between = True
            return True
        if self._busy:
            return False
        self._busy = True
        try:
            self._hear()
        except Exception as error:
            self._crashed(error)
        finally:
            self._busy = False
        return True

    def _hear(self) -> None:
        for _ in range(len(self.outcomes)):
            try:
                outcome = self.outcomes.popleft()
            except IndexError:
                return  # Another thread has found the governor closed, and thrown them away.
            self._learn(outcome)

    def _run(self, step: Callable[[], object]) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            self._drain()
            step()
        except Exception as error:
            self._crashed(error)
        finally:
            self._busy = False

    def _drain(self) -> None:
        self._hear()
        # No more than there are now: whoever comes meanwhile has posted, and what follows must have its turn.
        for _ in range(len(self.inbox)):
            try:
                message, waiter = self.inbox.popleft()
            except IndexError:
                return  # Another thread has found the mailbox closed, and emptied it.
            if isinstance(message, Acquire):
                self._take_ask(message, waiter)
            elif waiter is not None:
                self._leave(waiter)

    def _take_ask(self, acquire: Acquire, waiter: Waiter | None) -> None:
        try:
            self._hear_failures()
            answer = self._ask(acquire, waiter)
        except Exception:
            # It has left the inbox, and whoever is in the queue will be answered there: once, and nobody forgotten in between.
            if waiter is not None:
                self._leave(waiter)
            self._answer(waiter, self._count(self._denied(Reason.OVERLOADED, NOMINAL_WAIT)))
            raise
        finally:
            # Only now: while this ask is decided, a thread that takes a permit granted ahead would get in front of it.
            if acquire.request is not PLAIN and self.large:
                self.large.popleft()
        if answer is not None:
            self._answer(waiter, answer)

    def _hear_failures(self) -> None:
        """Whoever asks here may have reported before: to this actor, or a failure to another one."""
        self._hear()
        if not self._portal.failures:
            return
        self._between = True
        try:
            self._portal.hear_failures()
        finally:
            self._between = False

    def _ask(self, acquire: Acquire, waiter: Waiter | None) -> Permit | Denied | None:
        if self._closed is not None:
            if self._down_until is not None:
                left = max(1, self._down_until - self._now())
                self._closed = self._denied(self._closed.reason, left)
            return self._count(self._closed)
        if self._passive:
            self._resume()
        return self._decide(acquire, waiter)

    def _answer(self, waiter: Waiter | None, answer: Permit | Denied) -> None:
        if waiter is None:
            return
        waiter.answer = answer
        try:
            waiter.wake()
        except RuntimeError:
            # The loop of a foreign caller has ended: nobody is there to take it.
            self._leave(waiter)

    def _denied(self, reason: Reason, retry_after: int | None) -> Denied:
        return Denied(self.scope, reason, None if retry_after is None else to_seconds(retry_after))

    def _close_inbox(self, answer: Denied) -> None:
        """Answers the asks that are left. Outcomes are kept for a restart; after the end nobody reads them."""
        with suppress(IndexError):
            while True:
                message, waiter = self.inbox.popleft()
                if isinstance(message, Acquire):
                    self._answer(waiter, answer)
        self.large.clear()
        if answer.reason is Reason.SHUTTING_DOWN:
            self.outcomes.clear()

    # The task.

    async def run(self) -> None:
        """Sleeps until the alarm, and serves whoever waits when it rings.

        Ends when the actor rests or is closed; raises what made it crash.
        """
        wake = self._wake  # A later life of this actor has an event of its own.
        self._loop = running_loop()
        while not wake.is_set():
            with anyio.CancelScope(deadline=self._alarm) as timer:
                self._timer = timer
                await wake.wait()
            if self._timer is timer:
                self._timer = None
            if not wake.is_set():
                self._alarm = math.inf
                self._run(self._on_alarm)
        if self._crash is not None:
            crash, self._crash = self._crash, None
            raise crash

    def passivate(self) -> None:
        """Ends the task of an actor that nobody has asked for a while. The next ask wakes it up as it was."""
        self._passive = True
        self._halt()
        self._wake.set()

    def close(self, reason: Reason, retry_after: Duration | None, *, until: Instant | None = None) -> None:
        """Tears down: says why, closes the mailbox, answers whoever is left, in this order.

        Who asks later is told the same, or, with `until`, what is left of the time until then.
        """
        self._closed = self._denied(reason, retry_after)
        self._down_until = until
        self._halt()
        self._wake.set()
        self._close_inbox(self._closed)
        self._dismiss(self._closed)

    def _live_again(self) -> None:
        self._passive = False
        self._closed = None
        self._down_until = None
        self._crash = None
        self._wake = anyio.Event()
        self._alarm = math.inf

    def _crashed(self, error: Exception) -> Denied:
        """A handler raised: whoever waits is answered now, and the task ends with the error for the supervisor to see."""
        if self._closed is not None:
            # Down already, or closed for good: what has been said of that stands.
            return self._count(self._closed)
        if self._passive:
            self._resume()
        self._crash = error
        self.close(Reason.OVERLOADED, NOMINAL_WAIT)
        return self._count(self._denied(Reason.OVERLOADED, NOMINAL_WAIT))

    def _ring_at(self, alarm: float) -> None:
        """Sets the alarm, in seconds on the clock of the event loop."""
        self._alarm = alarm
        if self._timer is not None:
            if running_loop() is self._loop:
                self._timer.deadline = alarm
            else:
                self._portal.post(self._set_timer)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.deadline = self._alarm
