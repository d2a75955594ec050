"""Hints in the bodies of answers: of error answers, and of GraphQL APIs, which say "rate limited" with status 200."""

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, final

from governor.clock import MAX_DURATION, wall_clock
from governor.hints import Headers, is_throttled, read_hints
from governor.hints.body import MAX_BODY
from governor_client._attempt import Attempt, Observing, rejection_in
from governor_client._headers import LazyHeaders
from governor_client._request import Request

#: Answers of APIs with this in the path may deny a call with status 200.
GRAPHQL: Final = "graphql"


class _Operation(Protocol):
    observing: tuple[Observing, ...]

    @property
    def provider(self) -> str: ...

    @property
    def request(self) -> Request: ...


def begin(operation: _Operation, attempt: Attempt, status: int, lazy: Callable[[], LazyHeaders]) -> None:
    """The answer has begun: says whether it is rate limited, and lets its body be observed. May be called twice."""
    if status < 400 and not operation.observing and GRAPHQL not in operation.request.path:
        attempt.answered(status)
        return  # As nearly always.
    provider, headers = operation.provider, lazy().found
    throttled = is_throttled(provider, status, headers)
    rejection = rejection_in(provider, status, headers, throttled=throttled) if status >= 400 else None
    attempt.answered(status, rejection, throttled=throttled)
    reads = status >= 400 or GRAPHQL in operation.request.path
    attempt.observe((*operation.observing, *((partial(HintBody, attempt, provider),) if reads else ())), status, headers)


@final
class HintBody:
    """Keeps a small body, and passes on the hints in it when it has ended."""

    __slots__ = ("_attempt", "_headers", "_parts", "_provider", "_size", "_status")

    def __init__(self, attempt: Attempt, provider: str, status: int, headers: Headers) -> None:
        self._attempt = attempt
        self._provider = provider
        self._status = status
        self._headers = headers
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes, /) -> None:
        """A part of the body, decoded. A body that is too large is not kept."""
        self._size += len(data)
        if self._size <= MAX_BODY:
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
