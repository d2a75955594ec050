"""What became of one permit? Told to the governor once, by whoever knows it first.

What an exception says about the provider is the governor's to say, by its rules or the program's `classify`. What a transport
lets through is not always its own: the body of a request is read by the transport, and fails by the mistakes of its author.
"""

from typing import Final, final

import httpx

from governor import Permit, UsageError

#: The provider, or the way to it, failed, and a later attempt may fare better. `OSError` is what other transports raise.
_TRANSIENT: Final = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, OSError)
#: Nothing has left the machine: our own pool had no connection to spare, or the address is none that can be called.
_UNSENT: Final = (httpx.PoolTimeout, httpx.UnsupportedProtocol)


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

    def broke(self, error: BaseException, *, ours: bool = False) -> None:
        """An error took the place of the answer, or of the rest of it. `ours`: it comes from the body of the request."""
        if self._permit.reported:
            return
        if ours:
            # Neutral, whatever it is: it may be the network error of another provider, whose answer is sent on to this one.
            self._permit.record(error=UsageError(f"the body of the request could not be read: {type(error).__name__}"))
        elif isinstance(error, _UNSENT) and self._status is None:
            self._permit.give_back()
        else:
            self._permit.record(error=error)
