"""The outcome of one permit, reported to the governor once.

The governor classifies exceptions, by its rules or by the program's `classify`. An exception from a transport is not always the
provider's: the transport reads the body of the request, which may fail because of a bug in the program.
"""

import socket
from typing import Final, final

import httpx

from governor import CallFailure, Permit, UsageError

#: Failures of the provider or the network, after which a later attempt may succeed. Other transports raise `OSError`.
_TRANSIENT: Final = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, OSError)
#: The request was not sent: the connection pool is full, or the URL has an unsupported scheme.
_UNSENT: Final = (httpx.PoolTimeout, httpx.UnsupportedProtocol)
#: There was no connection to send the request on.
_UNCONNECTED: Final = (httpx.ConnectError, httpx.ConnectTimeout, ConnectionRefusedError, socket.gaierror)


def failure_of(error: BaseException) -> CallFailure | None:
    """How the call failed, if another attempt may succeed after this error; else None."""
    if not isinstance(error, _TRANSIENT) or isinstance(error, _UNSENT):
        return None
    if isinstance(error, _UNCONNECTED):
        return CallFailure.UNSENT
    return CallFailure.TIMEOUT if isinstance(error, (httpx.TimeoutException, TimeoutError)) else CallFailure.BROKEN


@final
class Attempt:
    """A permit in use. The first report counts; later ones do nothing."""

    __slots__ = ("_permit", "_status")

    def __init__(self, permit: Permit) -> None:
        self._permit = permit
        self._status: int | None = None

    def answered(self, status: int) -> None:
        """The answer has begun, which decides a probe of the circuit breaker. The outcome is known when it ends."""
        self._status = status
        self._permit.answered(status=status)

    def ended(self) -> None:
        """The answer has ended, or its reader has closed it: the status is the outcome."""
        if not self._permit.reported:
            self._permit.record(status=self._status)

    def broke(self, error: BaseException, *, ours: bool = False) -> None:
        """An error ended the attempt before the answer was complete. `ours`: it comes from the body of the request."""
        if self._permit.reported:
            return
        if ours:
            # Always neutral: it may be a network error of another provider, whose answer is the body of this request.
            self._permit.record(error=UsageError(f"the body of the request could not be read: {type(error).__name__}"))
        elif isinstance(error, _UNSENT) and self._status is None:
            self._permit.give_back()
        else:
            self._permit.record(error=error)
