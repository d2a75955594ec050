"""Failures and cooldowns reported on other threads and not read yet, over all scopes of a governor.

While there is one, no permit that was granted ahead can be taken, in any scope: reading it may pause all traffic. So a thread
that has reported one gets no permit that it would have denied.
"""

from collections import deque
from typing import Protocol, final


class Reader(Protocol):
    """An actor with unread outcomes."""

    def hear(self) -> bool:
        """Reads its outcomes, on the actors' thread. False if it runs a step, and reads them when that has ended."""


@final
class Failures(deque[Reader]):
    """The actors with unread failures, once for each failure. Bounded like the outcomes: two for each permit.

    A `deque`, so that the hot path tests it for being empty without a Python call.
    """

    #: How many have been removed so far.
    removed = 0

    def read(self) -> None:
        """Has every failure read that was reported until now. A step that this begins may call it again."""
        for _ in range(len(self)):
            before = self.removed
            if not self or not self[0].hear():
                return  # Its own step reads them; what it was sent has been posted.
            if self.removed == before:
                # Removed only now: a thread that finds the list empty takes a permit at once.
                self.removed += 1
                self.popleft()
