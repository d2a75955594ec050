"""The interface of a client that takes part in the demo."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Final, Protocol

import httpx2
import msgspec

from demo.traffic import Call

#: How a call ends that was answered with 2xx. Any other ending is the word for why it was given up: the last status, the
#: governor's reason, or the kind of error.
DONE: Final = "done"

#: Seconds for an answer: far more than the provider needs, even on a slow machine.
_ANSWER: Final = 15.0

#: Makes one call, retries included, and answers how it ended. The number is the seconds that it may wait until it is sent.
Caller = Callable[[Call, float], str]
AsyncCaller = Callable[[Call, float], Awaitable[str]]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a client itself has counted so far: requests sent, answers by class, errors in place of an answer, retries."""

    sent: int = 0
    answered_2xx: int = 0
    answered_4xx: int = 0
    answered_5xx: int = 0
    errors: int = 0
    retries: int = 0
    governor: "GovernorFigures | None" = None


class GovernorFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What only a governor counts: breaker openings, degraded spells, and permits denied, by reason."""

    openings: int
    degraded_spells: int
    denied: Mapping[str, int]


class Contender(Protocol):
    """A client under test, for one run."""

    @property
    def title(self) -> str:
        """What it is, for a heading."""

    def tasks(self) -> AbstractAsyncContextManager[AsyncCaller]:
        """Opens it for the length of a run; what is yielded serves all tasks."""

    def thread(self) -> AbstractContextManager[Caller]:
        """Opens a client for one thread, while the run lasts. Called on that thread."""

    def figures(self) -> Figures:
        """What has been counted. Called on the event loop, while the run lasts."""


def waits(wait: float) -> httpx2.Timeout:
    """The timeouts of a call that may wait so many seconds until it is sent."""
    return httpx2.Timeout(_ANSWER, pool=wait)
