"""Hints in the bodies of answers: of error answers, and of APIs that say "rate limited" with status 200.

Those are GraphQL APIs, and providers whose dialect says so, such as Kraken.
"""

from functools import partial
from typing import Final, Protocol, final

from governor.clock import MAX_DURATION, wall_clock
from governor.hints import Headers, dialect_of, is_throttled, read_hints
from governor.hints.body import MAX_BODY
from governor_client._attempt import Attempt, Observing, rejection_in
from governor_client._request import Request

#: Answers of APIs with this in the path may deny a call with status 200.
GRAPHQL: Final = "graphql"
#: Bytes of an answer 200 of a provider whose failures are answered so: what says that a call has failed is short.
MAX_FAILURE: Final = 4_096


class _Operation(Protocol):
    observing: tuple[Observing, ...]

    @property
    def provider(self) -> str: ...

    @property
    def request(self) -> Request: ...


def begin(operation: _Operation, attempt: Attempt, status: int, headers: Headers) -> None:
    """The answer has begun: says whether it is rate limited, and lets its body be observed."""
    provider, most = operation.provider, MAX_BODY
    if status < 400 and GRAPHQL not in operation.request.path:
        most = MAX_FAILURE if dialect_of(provider).fails_with_200 else 0
        if not most and not operation.observing:
            attempt.answered(status)
            return  # As nearly always.
    throttled = is_throttled(provider, status, headers)
    rejection = rejection_in(provider, status, headers, throttled=throttled) if status >= 400 else None
    attempt.answered(status, rejection, throttled=throttled)
    reading = (partial(HintBody, attempt, provider, most),) if most else ()
    attempt.observe((*operation.observing, *reading), status, headers)


@final
class HintBody:
    """Keeps a small body, and passes on the hints in it when it has ended."""

    __slots__ = ("_attempt", "_headers", "_most", "_parts", "_provider", "_size", "_status")

    def __init__(self, attempt: Attempt, provider: str, most: int, status: int, headers: Headers) -> None:
        self._attempt = attempt
        self._provider = provider
        self._most = most
        self._status = status
        self._headers = headers
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes, /) -> None:
        """A part of the body, decoded. A body of more bytes than may be read is not kept."""
        self._size += len(data)
        if self._size <= self._most:
            self._parts.append(data)
        else:
            self._parts.clear()

    def end(self, *, whole: bool) -> None:
        """The body has ended."""
        if not whole or not self._parts:
            return
        body = b"".join(self._parts)
        self._attempt.hint(
            read_hints(self._provider, self._status, self._headers, now=wall_clock(), body=body, max_hint=MAX_DURATION)
        )
