"""What an actor passes on to its steps: methods, because each bound method that an actor keeps takes 64 bytes."""

from collections.abc import Callable

from governor._actors.queue import Waiter
from governor._actors.steps import Steps
from governor._units import Duration, Instant
from governor.errors import Reason
from governor.messages import Acquire, Leave


class Stepped:
    """See the methods of `Steps` of the same names."""

    __slots__ = ()

    _steps: Steps

    def send(self, message: Acquire | Leave, waiter: Waiter | None = None) -> None:
        """Leaves a message, on any thread: see `Mailbox.send`."""
        self._steps.mailbox.send(message, waiter)

    def wake(self) -> None:
        """Has the successes read soon that were left, on any thread."""
        self._steps.mailbox.notify()

    def leave(self, waiter: Waiter) -> None:
        """The waiter no longer waits."""
        self._steps.mailbox.inbox.append((Leave(), waiter))
        self._steps.read_soon()

    def change(self, part: Callable[[], object]) -> None:
        """Reads the mailbox, changes the policies, and serves the queue by them: soon, if a step runs."""
        self._steps.change(part)

    def within(self, part: Callable[[], object]) -> None:
        """Runs a part of a step: within the step that runs, or else as a step of its own."""
        self._steps.within(part)

    def passivate(self) -> None:
        """Puts the actor to rest. The next ask resumes it as it is now."""
        self._steps.passivate()

    def stop(self, reason: Reason, retry_after: Duration | None, *, until: Instant | None = None) -> None:
        """Takes the actor down: until it is reopened every ask is denied for this reason."""
        self._steps.stop(reason, retry_after, until=until)

    def close(self) -> None:
        """Closes the actor for good: every ask is denied as `shutting_down`."""
        self._steps.close()
