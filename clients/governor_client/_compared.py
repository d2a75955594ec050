"""Requests that the loop guard watches, and the bodies of their answers, kept up to a bound for it to compare."""

from functools import partial
from typing import Final, Protocol, final

from governor import Fingerprint, Governor
from governor_client._attempt import Attempt, Observing
from governor_client._request import Request
from governor_client._server_wait import Headers

#: The number of bytes of an answer that are compared. Of a longer one its length is compared too.
MAX_COMPARED: Final = 16_384

#: Headers that say what is asked for beside the address and the body: which operation, and which part.
_ASKING: Final = ("content-range", "soapaction", "upload-offset", "x-amz-target")


@final
class ComparedAnswer:
    """The observer of one answer.

    `otherwise` stands for a body that was not read whole; without it there is no comparison. `empty` stands for no body.
    """

    __slots__ = ("_attempt", "_empty", "_otherwise", "_parts", "_size")

    def __init__(self, attempt: Attempt, otherwise: str | None, empty: str) -> None:
        self._attempt = attempt
        self._otherwise = otherwise
        self._empty = empty
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        """A part of the body."""
        if self._size < MAX_COMPARED:
            self._parts.append(data[: MAX_COMPARED - self._size])
        self._size += len(data)

    def end(self, *, whole: bool) -> None:
        """The body has ended."""
        if whole and not self._size:
            self._attempt.answer = self._empty.encode("latin-1", "replace")
        elif whole:
            length = b" of %d bytes" % self._size if self._size > MAX_COMPARED else b""
            self._attempt.answer = b"".join(self._parts) + length
        elif self._otherwise is not None:
            self._attempt.answer = self._otherwise.encode("latin-1", "replace")


class _Operation(Protocol):
    """A call whose requests may be watched. `attempt` is the latest."""

    governor: Governor
    provider: str
    request: Request
    fingerprint: Fingerprint | None
    observing: tuple[Observing, ...]
    attempt: Attempt


def watch(operation: _Operation) -> Fingerprint | None:
    """Has the loop guard watch for a repetition of the request, unless its body is read while it is sent."""
    governor, request = operation.governor, operation.request
    if operation.fingerprint is not None or not governor.leases.watches(operation.provider, request.method):
        return operation.fingerprint
    body = request.body
    if body is not None or request.repeatable:
        url = f"{request.host} {request.port or ''}{request.path}?{request.query}"
        get = request.headers.get
        for name in _ASKING:
            if (value := get(name)) is not None:
                url += f"&{name}={value}"
        operation.fingerprint = governor.fingerprint(request.method, url, body)
        operation.observing += (partial(_compare, operation),)
    return operation.fingerprint


def _compare(operation: _Operation, status: int, headers: Headers) -> ComparedAnswer:
    length, etag = headers.get("content-length"), headers.get("etag")
    # What an answer without a body says: which version there is, and where the thing is that was made. After a `PUT` the
    # version is the one that was put, however often.
    said = headers.get("location"), *(() if operation.request.method == "PUT" else (etag, headers.get("last-modified")))
    empty = "".join(filter(None, said))
    return ComparedAnswer(operation.attempt, etag or (None if length == "0" else length), empty)
