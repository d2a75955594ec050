"""Mailbox of an actor: asks, outcomes, and the wake-up of the actor's loop.

Any thread may leave messages. Outcomes have a queue of their own and are read before every ask, so that a caller finds its own
reports taken into account. A message is appended first and the loop is woken afterwards: the actor never misses one.

Bounds: an inbox that holds `max_waiting` asks answers the next one `overloaded`. Outcomes are always accepted; there are at
most four for each permit: the response has begun, what the server asks for, the outcome, and a planned retry that is given up.

The queues are lists, whose `append` and `pop` are as safe on any thread as those of a deque. An empty deque takes 760 bytes,
and most scopes never get a message. To remove the first of 10,000 entries takes 2 µs, and 40 µs at the bound of 65,536.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol, final

from governor._actors.failures import Failures, Reader
from governor._actors.notifier import Notifier
from governor._actors.portal import Portal
from governor._actors.queue import Waiter
from governor._units import SECOND, to_seconds
from governor.errors import Reason
from governor.messages import Acquire, Answered, Denied, Hinted, Leave, Outcome, Report
from governor.policies.ban_guard import REJECTED, Rejection
from governor.policies.contract import PLAIN, Result

#: `retry_after` where the true wait is unknown.
NOMINAL_WAIT: Final = SECOND
_REJECTIONS: Final = (Rejection.LIMITED, Rejection.FORBIDDEN)


class Recipient(Reader, Protocol):
    """The actor of a mailbox."""

    def read(self) -> None:
        """Reads its messages, as a callback of the loop."""


@final
class Mailbox(Notifier):
    """The messages for one actor. `send`, `deliver` and `notify` may be called on any thread, the rest on the actor's.

    The `reader` is the actor. It reads on its loop, soon after a message has been left.
    """

    __slots__ = (
        "_closed",
        "_failures",
        "_reader",
        "_scope",
        "inbox",
        "large",
        "max_waiting",
        "outcomes",
    )

    def __init__(self, scope: str, *, portal: Portal, failures: Failures, max_waiting: int, reader: Recipient) -> None:
        super().__init__(portal)
        self.max_waiting = max_waiting
        #: Asks, and messages of waiters that have left, in order.
        self.inbox: list[tuple[Acquire | Leave, Waiter | None]] = []
        #: One entry for each of those asks that is for anything but one request. While there is one, no thread may take a
        #: permit that was granted ahead: that would overtake the ask.
        self.large: list[None] = []
        #: Outcomes, in order. Code that appends one calls `deliver` afterwards.
        self.outcomes: list[Outcome] = []
        self._scope = scope
        self._failures = failures
        self._reader = reader
        #: The answer to every ask once the actor is closed for good.
        self._closed: Denied | None = None

    def send(self, message: Acquire | Leave, waiter: Waiter | None = None) -> None:
        """Leaves a message. An ask that finds the inbox full or closed is answered here."""
        if isinstance(message, Acquire) and len(self.inbox) >= self.max_waiting:
            if waiter is not None:
                waiter.give(Denied(self._scope, Reason.OVERLOADED, to_seconds(NOMINAL_WAIT)))
            return
        try:
            if isinstance(message, Acquire) and message.request is not PLAIN:
                self.large.append(None)
            self.inbox.append((message, waiter))
        finally:
            # Interrupted or not: the message may be there, and must be read.
            self.notify()
        self._empty_if_closed()

    def deliver(self, outcome: Outcome) -> None:
        """Has an outcome read soon that lies in `outcomes`."""
        try:
            if comes_first(outcome):
                # Only after the outcome has been left: the failures are read by reading the outcomes of their readers.
                self._failures.append(self._reader)
        finally:
            self.notify()
        self._empty_if_closed()

    def _on_notified(self) -> None:
        self._notified = False
        self._portal.check_thread()
        self._failures.read()
        self._reader.read()

    def _on_gone(self) -> None:
        self._empty(Denied(self._scope, Reason.SHUTTING_DOWN, None))
        self.outcomes.clear()

    def hear(self, learn: Callable[[Outcome], object]) -> None:
        """Passes on the outcomes that are there now."""
        for _ in range(len(self.outcomes)):
            try:
                outcome = self.outcomes.pop(0)
            except IndexError:
                return  # Another thread has found the actor closed, and dropped them.
            learn(outcome)

    def drain(self, ask: Callable[[Acquire, Waiter | None], object], leave: Callable[[Waiter], object]) -> None:
        """Passes on the messages of the inbox that are there now. Later ones have notified the loop again."""
        for _ in range(len(self.inbox)):
            try:
                message, waiter = self.inbox.pop(0)
            except IndexError:
                return  # Another thread has found the actor closed, and answered them.
            if isinstance(message, Acquire):
                try:
                    ask(message, waiter)
                finally:
                    # Only now: while the ask is decided, a thread that takes a permit granted ahead would overtake it.
                    if message.request is not PLAIN and self.large:
                        self.large.pop()
            elif waiter is not None:
                leave(waiter)

    def deny_all(self, answer: Denied) -> None:
        """Answers the asks that are there. Outcomes are kept: the actor may be reopened."""
        self._empty(answer)

    def close(self, answer: Denied) -> None:
        """Answers the asks that are there, and every later one. Outcomes are dropped, now and later."""
        self._closed = answer
        self._empty_if_closed()

    def _empty_if_closed(self) -> None:
        # A sender and the closing actor may pass each other: each first leaves its mark and then looks, so one of them finds
        # the message.
        if self._closed is not None:
            self._empty(self._closed)
            self.outcomes.clear()

    def _empty(self, answer: Denied) -> None:
        with suppress(IndexError):
            while True:
                message, waiter = self.inbox.pop(0)
                if isinstance(message, Acquire) and waiter is not None:
                    waiter.give(answer)
        self.large.clear()


def comes_first(outcome: Outcome) -> bool:
    """Whether it must be read before any further permit is granted: a failure, a hint, a rejected call."""
    if isinstance(outcome, Report):
        return outcome.result is Result.FAILURE or outcome.status in REJECTED
    if isinstance(outcome, Hinted):
        return True
    return isinstance(outcome, Answered) and (outcome.rejection in _REJECTIONS or outcome.status in REJECTED)
