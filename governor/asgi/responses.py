"""What is a caller told, who may not go on, and what one who may?

A refusal is a 429 with a problem document (RFC 9457), or a 503 while we shut down. What is left of a quota stands in the fields
of draft-ietf-httpapi-ratelimit-headers-11, which are structured fields (RFC 9651). The partition key `pk` is the short
pseudonym of whom the limit counts, as it stands in logs and figures.
"""

from functools import lru_cache
from math import ceil
from typing import Final, NamedTuple, assert_never

import msgspec
from http_sf import ListType, ser
from http_sf.types import BareItemType

from governor._actors.group import Left
from governor._actors.pseudonyms import shown
from governor.asgi.types import Headers, Scope, Send
from governor.errors import Reason
from governor.messages import InboundDenied, InboundRequest
from governor.policies.gcra import TokenBucket
from governor.policies.in_flight import InFlight
from governor.policies.limits import Limit
from governor.policies.window import StrictWindow

_TYPES: Final = "https://iana.org/assignments/http-problem-types"
#: Whose limit it is, in words.
_WHOSE: Final = {
    "caller": "this caller",
    "address": "this address",
    "total": "all callers together",
    "route": "this caller for this route",
}
#: Seconds after which to try again when we shut down: another instance, or this one started again.
_BACK_IN: Final = 5
#: RFC 6455, section 7.4.1, and its registry: try again later.
_TRY_AGAIN_LATER: Final = 1013
#: The largest number that a structured field can hold.
_LARGEST: Final = 999_999_999_999_999
#: Bytes of the reason for closing a WebSocket, in a frame of which the code has two (RFC 6455, section 5.5).
_LONGEST_REASON: Final = 123
#: So many answers are remembered, for those who do not stop asking.
_REMEMBERED: Final = 1024


class Response(NamedTuple):
    """A whole answer, and its message for those who get no answer of HTTP."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    message: str

    async def send(self, scope: Scope, send: Send) -> None:
        """Gives it, in the way that the kind of the request allows."""
        if scope["type"] == "websocket" and "websocket.http.response" not in (scope.get("extensions") or ()):
            await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER, "reason": self.message[:_LONGEST_REASON]})
            return
        # A list of its own for each: a middleware around us may add to it.
        headers = list(self.headers)
        kind = "http.response"
        if scope["type"] == "websocket":
            # uvicorn before 0.53 adds a length of its own, and clients reject an answer with two.
            headers = [(name, value) for name, value in headers if name != b"content-length"]
            kind = "websocket.http.response"
        await send({"type": f"{kind}.start", "status": self.status, "headers": headers})
        await send({"type": f"{kind}.body", "body": self.body})


class _Problem(msgspec.Struct, omit_defaults=True):
    type: str
    title: str
    status: int
    error: str
    message: str
    retry_after_seconds: int
    violated_policies: tuple[str, ...] = msgspec.field(name="violated-policies", default=())


def refusal(denied: InboundDenied, request: InboundRequest) -> Response:
    """The answer to somebody over a limit."""
    return _refusal(
        msgspec.structs.replace(denied, retry_after=_seconds(denied.retry_after)), _partition(denied.limit, request)
    )


def shutting_down() -> Response:
    """The answer to everybody, once we take no more requests."""
    return _unavailable(Reason.SHUTTING_DOWN, f"This server is shutting down; try again in {_BACK_IN} s.", _BACK_IN)


def overloaded() -> Response:
    """The answer when the governor does not answer in time, in a group that denies then."""
    return _unavailable(Reason.OVERLOADED, "This server is overloaded; try again in 1 s.", 1)


def _unavailable(reason: Reason, message: str, seconds: int) -> Response:
    problem = _Problem(
        type=f"{_TYPES}#temporary-reduced-capacity",
        title="Request cannot be satisfied due to temporary server capacity constraints",
        status=503,
        error=reason.value,
        message=message,
        retry_after_seconds=seconds,
    )
    return _answer(problem, ())


def over(denied: InboundDenied, request: InboundRequest) -> Headers:
    """The fields for somebody who is over a limit, and goes on all the same."""
    partition = _partition(denied.limit, request)
    return list(_fields(denied.name or denied.limit, denied.bucket, 0, _seconds(denied.retry_after), partition))


def left(least: Left, request: InboundRequest) -> Headers:
    """The fields that say what is left of the limit of which least is left, and when all of it will be again."""
    name, number, limit = least
    seconds: int | None
    match limit:
        case TokenBucket():
            seconds = -(-(limit.burst - number) * limit.per // (limit.amount * 1_000_000))
        case StrictWindow():
            seconds = -(-limit.per // 1_000_000) if number < limit.amount else 0
        case InFlight():
            seconds = None
        case _:
            assert_never(limit)
    return list(_fields(name, limit, number, seconds, _partition(name, request)))


@lru_cache(_REMEMBERED)
def _refusal(denied: InboundDenied, partition: bytes) -> Response:
    seconds = int(denied.retry_after)
    whose, when = f"{_WHOSE[denied.limit]} in {denied.group}", f"try again in {seconds} s."
    match denied.reason:
        case Reason.CONCURRENCY:
            message = f"Too many requests of {whose} at the same time; {when}"
        case Reason.COST:
            message = f"This request costs more than the limit of {whose} can hold."
        case _:
            message = f"Too many requests of {whose}; {when}"
    name = denied.name or denied.limit
    problem = _Problem(
        type=f"{_TYPES}#quota-exceeded",
        title="Request cannot be satisfied as assigned quota has been exceeded",
        status=429,
        error=denied.reason.value,
        message=message,
        retry_after_seconds=seconds,
        violated_policies=(name,),
    )
    return _answer(problem, _fields(name, denied.bucket, 0, seconds, partition))


def _answer(problem: _Problem, fields: tuple[tuple[bytes, bytes], ...]) -> Response:
    body = msgspec.json.encode(problem)
    headers = (
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(problem.retry_after_seconds).encode()),
    )
    return Response(problem.status, headers + fields, body, problem.message)


def _fields(
    name: str, limit: Limit, number: int, seconds: int | None, partition: bytes
) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
    return (b"ratelimit-policy", _policy(name, limit, partition)), (b"ratelimit", _state(name, number, seconds))


@lru_cache(_REMEMBERED)
def _policy(name: str, limit: Limit, partition: bytes) -> bytes:
    """So many requests at once, which come back within so many seconds; or so many at the same time."""
    parameters: dict[str, BareItemType]
    match limit:
        case TokenBucket():
            window = -(-limit.burst * limit.per // (limit.amount * 1_000_000))
            parameters = {"q": limit.burst, "w": min(window, _LARGEST)}
        case StrictWindow():
            parameters = {"q": limit.amount, "w": -(-limit.per // 1_000_000)}
        case InFlight():
            parameters = {"q": limit.amount, "qu": "concurrent-requests"}
        case _:
            assert_never(limit)
    if partition:
        parameters["pk"] = partition
    return _item(name, parameters)


@lru_cache(_REMEMBERED)
def _state(name: str, number: int, seconds: int | None) -> bytes:
    return _item(name, {"r": number} if seconds is None else {"r": number, "t": min(seconds, _LARGEST)})


def _item(name: str, parameters: dict[str, BareItemType]) -> bytes:
    items: ListType = [(name, parameters)]
    return ser(items).encode()


def _partition(limit: str, request: InboundRequest) -> bytes:
    """Whom the limit counts; nothing for everybody together."""
    return b"" if limit == "total" else shown(request.address if limit == "address" else request.client)


def _seconds(span: float) -> int:
    return max(1, ceil(span))
