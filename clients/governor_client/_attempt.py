"""What became of one permit? Told to the governor once, by whoever knows it first.

Exceptions are sorted here, by type and by nothing else. What happened on the way to the provider is a failure of the provider;
what the caller got wrong, and what was cancelled, is not.
"""

from typing import Final, final

import httpx

from governor import Permit, UsageError

#: The provider, or the way to it, failed, and a later attempt may fare better. `OSError` is what other transports raise.
_TRANSIENT: Final = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, OSError)
#: Nothing has left the machine: our own pool had no connection to spare, or the address is none that can be called.
_UNSENT: Final = (httpx.PoolTimeout, httpx.UnsupportedProtocol)
#: The request cannot be written, or its body cannot be read: the caller's mistake.
_CALLERS: Final = (httpx.LocalProtocolError, httpx.StreamError, httpx.InvalidURL)


def is_transient(error: BaseException) -> bool:
    """Is this a failure after which another attempt makes sense?"""
    return isinstance(error, _TRANSIENT) and not isinstance(error, _UNSENT)


@final
class Attempt:
    """A permit in use. Every method but the first to be called does nothing."""

    __slots__ = ("_permit", "_status")

    def __init__(self, permit: Permit) -> None:
        self._permit = permit
        self._status: int | None = None

    def answered(self, status: int) -> None:
        """The answer has begun, which a circuit breaker may wait for. What came of it is known when it ends."""
        self._status = status
        self._permit.answered(status=status)

    def ended(self) -> None:
        """The answer came to its end, or its reader has had enough of it: what counts is the status."""
        if not self._permit.reported:
            self._permit.record(status=self._status)

    def broke(self, error: BaseException) -> None:
        """An error took the place of the answer, or of the rest of it."""
        if self._permit.reported:
            return
        if isinstance(error, _UNSENT) and self._status is None:
            self._permit.give_back()
        elif isinstance(error, _CALLERS):
            self._permit.record(error=UsageError(str(error)))  # Neutral: what is misused is not the provider's failure.
        else:
            self._permit.record(error=error)
