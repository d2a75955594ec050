"""The decisions of the transports: permit, attempt, wait, retry or end.

Decisions without I/O. The two transports take permits, send and wait; this module says what for and how long, so that both
behave alike.
"""

import logging
import math
from collections.abc import Collection
from typing import Final, TypedDict, final

import httpx

from governor import CallFailure, Duration, Governor, Instant, Permit, PermitDenied
from governor.clock import MAX_DURATION, Clock, from_seconds, to_seconds, wall_clock
from governor.config import provider_name
from governor.instrumentation import AnyEvent, CallDenied, Granted, Hook, Retried
from governor_client._attempt import Attempt, failure_of
from governor_client._options import BUFFERED, RETRY
from governor_client._permits import GovernorClient
from governor_client._server_wait import server_wait
from governor_client._ungoverned import Ungoverned

_log: Final = logging.getLogger("governor")

#: The maximum size, in bytes, of an answer that is kept while the request is retried: error pages are short.
KEPT: Final = 65_536
#: Waits of this many microseconds or more are reported.
_REPORTED: Final = 1_000


class Ask(TypedDict):
    """The parameters of a permit: see `Governor.acquire`."""

    timeout: float | None
    attempt: int | None


class Question(TypedDict):
    """The arguments of `plan_retry` after a failed attempt."""

    provider: str
    method: str
    attempt: int
    remaining: float | None
    status: int | None
    server_wait: float | None
    idempotency_key: bool
    failure: CallFailure | None


@final
class Terms:
    """The settings of a transport: provider, governor, and ungoverned requests. Raises `ConfigError`."""

    __slots__ = ("_client", "_clock", "_on_event", "_provider", "_ungoverned")

    def __init__(
        self,
        provider: str,
        governor: Governor | None,
        *,
        govern_loopback: bool,
        ungoverned: Collection[str],
        clock: Clock,
        on_event: Hook | None,
    ) -> None:
        self._provider = provider_name(provider)
        self._client = GovernorClient(governor)
        self._ungoverned = Ungoverned(ungoverned, govern_loopback=govern_loopback)
        self._clock = clock
        self._on_event = on_event

    def begin(self, request: httpx.Request) -> "Operation | None":
        """A new operation for this request; None if it is not governed."""
        if self._ungoverned.covers(request.url):
            return None
        return Operation(self._provider, request, self._client.governor, self._clock, self._on_event)


@final
class Operation:
    """One request and its attempts, each with a permit of its own.

    The pool timeout of the request bounds all waiting together, for permits and between attempts. The time of the attempts
    does not count: httpx bounds each of their phases.
    """

    __slots__ = (
        "_asked_at",
        "_buffered",
        "_clock",
        "_in_hand",
        "_key",
        "_left",
        "_on_event",
        "_repeatable",
        "_tries",
        "governor",
        "method",
        "pause",
        "provider",
    )

    def __init__(self, provider: str, request: httpx.Request, governor: Governor, clock: Clock, on_event: Hook | None) -> None:
        self.provider = provider
        self.method = request.method
        self.governor = governor
        #: Seconds to wait before the next attempt; None for no further attempt.
        self.pause: float | None = None
        self._buffered = request.extensions.get(BUFFERED) is True
        # A body from a file or an iterator can be sent only once.
        self._repeatable = isinstance(request.stream, httpx.ByteStream) and request.extensions.get(RETRY) is not False
        self._key = bool(request.headers.get("idempotency-key"))
        self._left = longest_wait(request.extensions.get("timeout", {}).get("pool"))
        self._clock = clock
        self._on_event = on_event
        self._asked_at = Instant(0)
        self._tries = 0
        self._in_hand: httpx.Response | Exception | None = None

    def ask(self) -> Ask:
        """The parameters of the permit for the next attempt."""
        self._tries += 1
        self._asked_at = self._clock()
        timeout = None if self._left is None else to_seconds(self._left)
        return Ask(timeout=timeout, attempt=self._tries if self._repeatable else None)

    def denied(self, denial: PermitDenied) -> httpx.Response:
        """Ends an operation without a permit: returns the last answer, else raises the last error, else the denial."""
        if self._on_event is not None:
            self._tell(CallDenied(at=wall_clock(), scope=denial.scope, reason=denial.reason, retry_after=denial.retry_after))
        if isinstance(self._in_hand, httpx.Response):
            return self._in_hand
        if self._in_hand is None:
            raise denial
        self._in_hand.add_note(f"It was not retried: {denial}")
        raise self._in_hand

    def granted(self, permit: Permit) -> Attempt:
        """Begins an attempt with this permit."""
        waited = Duration(self._clock() - self._asked_at)
        self._spend(waited)
        self.pause = None
        self._in_hand = None
        if self._on_event is not None:
            self._tell_of(permit, waited)
        return Attempt(permit)

    def answered(self, attempt: Attempt, response: httpx.Response) -> Question | None:
        """The answer has begun. Returns the question for `plan_retry` if a retry may be useful."""
        attempt.answered(response.status_code)
        if response.status_code < 400:
            return None
        return self._question(status=response.status_code, wait=server_wait(response.headers))

    def failed(self, attempt: Attempt, error: BaseException, *, ours: bool = False) -> Question | None:
        """The attempt has ended in an error, possibly while the answer was read. Returns the question, as `answered` does.

        `ours` says that the body of the request could not be read.
        """
        attempt.broke(error, ours=ours)
        if not isinstance(error, Exception):
            self.pause = None
            return None
        self._in_hand = error
        failure = failure_of(error)
        return None if failure is None or self.pause is not None else self._question(failure=failure)

    def planned(self, pause: float | None) -> None:
        """Stores the result of `plan_retry`."""
        self.pause = pause
        if pause is not None:
            self._spend(from_seconds(pause, field="pause"))

    def most(self, response: httpx.Response) -> float:
        """The number of bytes of the answer to read before continuing; 0 to return it as a stream.

        An answer that is to be retried is read as well, up to a bound, so that its connection is free again, and so that it
        can be returned if the next attempt gets no permit. An answer that is in memory already, as those of
        `httpx.MockTransport` are, would never be read from its stream.
        """
        return math.inf if self._buffered or response.is_closed else 0 if self.pause is None else KEPT

    def kept(self, attempt: Attempt, response: httpx.Response, *, whole: bool) -> None:
        """The answer has been read: all of it (`whole`), or the first bytes."""
        attempt.ended()
        if whole:
            self._in_hand = response

    def _question(
        self, *, status: int | None = None, wait: float | None = None, failure: CallFailure | None = None
    ) -> Question | None:
        if not self._repeatable:
            return None
        return {
            "provider": self.provider,
            "method": self.method,
            "attempt": self._tries,
            "remaining": None if self._left is None else to_seconds(self._left),
            "status": status,
            "server_wait": wait,
            "idempotency_key": self._key,
            "failure": failure,
        }

    def _tell_of(self, permit: Permit, waited: Duration) -> None:
        if waited >= _REPORTED:
            self._tell(Granted(at=wall_clock(), scope=permit.scope, waited=to_seconds(waited)))
        if self._tries > 1:
            self._tell(Retried(at=wall_clock(), scope=permit.scope, attempt=self._tries))

    def _tell(self, event: AnyEvent) -> None:
        assert self._on_event is not None
        try:
            self._on_event(event)
        except Exception as error:
            _log.error("`on_event` failed on %s, and the request goes on.", type(event).__name__, exc_info=error)

    def _spend(self, wait: Duration) -> None:
        if self._left is not None:
            self._left = Duration(max(0, self._left - wait))


def longest_wait(pool_timeout: float | None) -> Duration | None:
    """The bound of all waiting, from the pool timeout of httpx in seconds; None, or more than 366 days, is no bound.

    Raises `ConfigError` for a negative timeout, and for a value that is not a number.
    """
    if pool_timeout is None or (isinstance(pool_timeout, (int, float)) and pool_timeout > to_seconds(MAX_DURATION)):
        return None
    return from_seconds(pool_timeout, field="timeout.pool")
