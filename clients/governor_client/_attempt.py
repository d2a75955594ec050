"""The outcome of one permit, reported to the governor once.

The governor classifies exceptions, by its rules or by the program's `classify`. An exception from a transport is not always the
provider's: the transport reads the body of the request, which may fail because of a bug in the program.
"""

import logging
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple, final

import msgspec

from governor import CallFailure, Permit, PermitDenied, Rejection, UsageError
from governor.clock import to_seconds
from governor.hints import MIN_WAIT, Hint, Severity, counts_toward_ban
from governor_client._observed import Observation, Observer
from governor_client._server_wait import Headers

_log: Final = logging.getLogger("governor")

#: Called with the status and the headers of an answer; returns what is to see its body, if anything is.
Observing = Callable[[int, Headers], Observer | None]

#: The status that says "rate limited".
TOO_MANY: Final = 429
#: What it says without a header.
_BARE: Final = Hint("requests", retry_after=MIN_WAIT, severity=Severity.THROTTLED, assumed=True)


class Fault(NamedTuple):
    """What an exception of an HTTP library says about a request.

    `failure` says how the request failed if another attempt may succeed, and is None otherwise. `unused` says that the request
    was not sent for a reason on this side, such as a full connection pool: its permit is given back. `ours` says that the body
    of the request could not be read, which is neutral: the error may be one of another provider, whose answer is that body.
    `undecodable` says that the body of the answer cannot be decoded, as from gzip: its status counts. Libraries that decode
    above the adapter do not show it that error. `throttled` says that the server ended the call because there are too many: it
    counts as a 429 that names no wait.
    """

    failure: CallFailure | None
    unused: bool = False
    ours: bool = False
    undecodable: bool = False
    throttled: bool = False


def fault_of_system(error: BaseException) -> Fault:
    """The fault of an exception of the operating system or the standard library, which every HTTP library may let through."""
    match error:
        case PermitDenied():
            return Fault(None, unused=True)
        case TimeoutError():
            return Fault(CallFailure.TIMEOUT)
        case ConnectionRefusedError() | socket.gaierror() | ssl.SSLCertVerificationError():
            return Fault(CallFailure.UNSENT)
        case OSError():
            return Fault(CallFailure.BROKEN)
        case _:
            return Fault(None)


def rejection_in(provider: str, status: int, headers: Headers, *, throttled: bool) -> Rejection | None:
    """What an answer of at least 400 says about a ban, in the dialect of the provider; None if nothing.

    `throttled` says whether it denies the call as rate limited.
    """
    if counts_toward_ban(provider, status, headers):
        return Rejection.LIMITED if throttled else Rejection.FORBIDDEN
    return Rejection.NONE if status < 500 else None


@final
class Attempt(msgspec.Struct, eq=False):
    """A permit in use. The first report counts; later ones do nothing."""

    permit: Permit
    #: The status of the answer, once it has begun.
    status: int | None = None
    _heard: frozenset[tuple[str, str | None, int | None]] = frozenset()
    #: The wait of the denial that has been passed on; -1 if none has been.
    _denied: int = -1
    #: Whether the answer denies the call as rate limited, as the dialect of the provider says. It counts as a 429 then,
    #: whatever its status: it says nothing about the health of the provider.
    throttled: bool = False
    #: Whether the head of the answer has been read for hints.
    is_heard: bool = False
    #: The longest pause in seconds that it asks for; None if it asks for none.
    pause: float | None = None
    #: What sees the body of the answer; None if nothing asks for it. Adapters pass the body on to it as they read.
    observation: Observation | None = None
    #: What the loop guard compares; None if it does not watch the call.
    answer: bytes | None = None

    def answered(self, status: int, rejection: Rejection | None = None, *, throttled: bool = False) -> None:
        """The answer has begun, which decides a probe of the circuit breaker. The outcome is known when it ends."""
        if self.status is not None:
            return
        self.throttled = self.throttled or throttled
        self.status = TOO_MANY if self.throttled else status
        self.permit.answered(status=self.status, rejection=rejection)

    def hint(self, hints: tuple[Hint, ...]) -> float | None:
        """Passes on what the answer says. Returns the longest pause in seconds that it asks for, if any."""
        # The headers and the body may say the same, which counts once for each answer.
        self.permit.hints(tuple([new for hint in hints if (new := self._news(hint)) is not None]))
        states = {(hint.dimension, hint.name, hint.remaining) for hint in hints if hint.remaining is not None}
        self._heard = self._heard | states
        denials = [hint.retry_after or 0 for hint in hints if hint.severity is Severity.THROTTLED]
        if denials:
            self._denied = max(self._denied, *denials)
            self.throttled = True
            if self.status is not None:
                self.status = TOO_MANY
        pauses = [hint.retry_after for hint in hints if hint.retry_after]
        return to_seconds(max(pauses)) if pauses else None

    def _news(self, hint: Hint) -> Hint | None:
        """What of a hint has not been passed on; None if all of it has been.

        A second report of a denial would look like another denial, without the limit that the headers state. What
        the body adds to it is a longer wait.
        """
        if hint.severity is Severity.THROTTLED and self._denied >= 0:
            longer = hint.retry_after is not None and hint.retry_after > self._denied
            return hint._replace(severity=Severity.PAUSE) if longer else None
        return None if (hint.dimension, hint.name, hint.remaining) in self._heard else hint

    def observe(self, observing: Iterable[Observing], status: int, headers: Headers) -> None:
        """The answer has begun: lets it be observed."""
        observers = []
        for begin in observing:
            try:
                observer = begin(status, headers)
            except Exception as error:
                _log.error("An observer of answers failed, and the answer goes on.", exc_info=error)
            else:
                if observer is not None:
                    observers.append(observer)
        if observers:
            self.observation = Observation(observers, headers.get("content-encoding"))

    def settle(self, used: Mapping[str, float]) -> None:
        """Says what the call has used, by unit, unless its outcome has been reported."""
        if not self.permit.reported:
            self.permit.settle(**used)

    def give_up_retry(self) -> None:
        """The retry that was planned after this attempt will not be made."""
        self.permit.give_up_retry()

    def ended(self, *, whole: bool = False) -> None:
        """The answer has ended (`whole`), or its reader has closed it: the status is the outcome."""
        if self.observation is not None:
            self.observation.end(whole=whole)
        if not self.permit.reported:
            self.permit.record(status=self.status, answer=self.answer)

    def broke(self, error: BaseException, fault: Fault) -> None:
        """An error ended the attempt before the answer was complete."""
        if self.observation is not None:
            self.observation.end(whole=False)
        if self.permit.reported:
            return
        if fault.throttled:
            self.hint((_BARE,))
            self.answered(TOO_MANY)
        if fault.ours:
            self.permit.record(error=UsageError(f"the body of the request could not be read: {type(error).__name__}"))
        elif fault.unused and self.status is None:
            self.permit.give_back()
        elif fault.undecodable or fault.throttled:
            self.permit.record(status=self.status)
        else:
            self.permit.record(error=error)

    def unused(self) -> None:
        """Gives the permit back unless an outcome was reported: no request was sent with it."""
        if not self.permit.reported:
            self.permit.give_back()
