"""What is a caller told, who may not go on, and what one who may?

A refusal is a 429 with a problem document (RFC 9457), or a 503 while we shut down. What is left of a quota stands in the fields
of draft-ietf-httpapi-ratelimit-headers-11, which are structured fields (RFC 9651). The partition key `pk` is the short
pseudonym of whom the limit counts, as it stands in logs and figures.
"""

from functools import lru_cache
from math import ceil
from typing import Final, NamedTuple

import msgspec
from http_sf import ListType, ser
from http_sf.types import BareItemType

from governor._actors.group import Left
from governor._actors.pseudonyms import shown
from governor.errors import Reason
from governor.messages import Turned, Visit
from governor.policies.gcra import TokenBucket
from governor_client._asgi import Headers, Scope, Send

_TYPES: Final = "https://iana.org/assignments/http-problem-types"
#: Whose limit it is, in words.
_WHOSE: Final = {"caller": "this caller", "address": "this address", "total": "all callers together"}
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


class Answer(NamedTuple):
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
        kind = "http.response" if scope["type"] == "http" else "websocket.http.response"
        # A list of its own for each: whoever stands around us may add to it.
        await send({"type": f"{kind}.start", "status": self.status, "headers": list(self.headers)})
        await send({"type": f"{kind}.body", "body": self.body})


class _Problem(msgspec.Struct, omit_defaults=True):
    type: str
    title: str
    status: int
    error: str
    message: str
    retry_after_seconds: int
    violated_policies: tuple[str, ...] = msgspec.field(name="violated-policies", default=())


def refusal(turned: Turned, visit: Visit) -> Answer:
    """The answer to somebody over a limit."""
    return _refusal(turned.group, turned.limit, turned.bucket, _seconds(turned.retry_after), _partition(turned.limit, visit))


def shutting_down() -> Answer:
    """The answer to everybody, once we take no more requests."""
    return _unavailable(Reason.SHUTTING_DOWN, f"This server is shutting down; try again in {_BACK_IN} s.", _BACK_IN)


def overloaded() -> Answer:
    """The answer when the governor does not answer in time, in a group that denies then."""
    return _unavailable(Reason.OVERLOADED, "This server is overloaded; try again in 1 s.", 1)


def _unavailable(reason: Reason, message: str, seconds: int) -> Answer:
    problem = _Problem(
        type=f"{_TYPES}#temporary-reduced-capacity",
        title="Request cannot be satisfied due to temporary server capacity constraints",
        status=503,
        error=reason.value,
        message=message,
        retry_after_seconds=seconds,
    )
    return _answer(problem, ())


def over(turned: Turned, visit: Visit) -> Headers:
    """The fields for somebody who is over a limit, and goes on all the same."""
    partition = _partition(turned.limit, visit)
    return list(_fields(turned.limit, turned.bucket, 0, _seconds(turned.retry_after), partition))


def left(least: Left, visit: Visit) -> Headers:
    """The fields that say what is left of the limit of which least is left, and when all of it will be again."""
    limit, number, bucket = least
    seconds = -(-(bucket.burst - number) * bucket.per // (bucket.amount * 1_000_000))
    return list(_fields(limit, bucket, number, seconds, _partition(limit, visit)))


@lru_cache(_REMEMBERED)
def _refusal(group: str, limit: str, bucket: TokenBucket, seconds: int, partition: bytes) -> Answer:
    problem = _Problem(
        type=f"{_TYPES}#quota-exceeded",
        title="Request cannot be satisfied as assigned quota has been exceeded",
        status=429,
        error=Reason.RATE_LIMIT.value,
        message=f"Too many requests of {_WHOSE[limit]} in {group}; try again in {seconds} s.",
        retry_after_seconds=seconds,
        violated_policies=(limit,),
    )
    return _answer(problem, _fields(limit, bucket, 0, seconds, partition))


def _answer(problem: _Problem, fields: tuple[tuple[bytes, bytes], ...]) -> Answer:
    body = msgspec.json.encode(problem)
    headers = (
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(problem.retry_after_seconds).encode()),
    )
    return Answer(problem.status, headers + fields, body, problem.message)


def _fields(limit: str, bucket: TokenBucket, number: int, seconds: int, partition: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return (b"ratelimit-policy", _policy(limit, bucket, partition)), (b"ratelimit", _state(limit, number, seconds))


@lru_cache(_REMEMBERED)
def _policy(limit: str, bucket: TokenBucket, partition: bytes) -> bytes:
    """So many requests at once, which come back within so many seconds."""
    window = -(-bucket.burst * bucket.per // (bucket.amount * 1_000_000))
    parameters: dict[str, BareItemType] = {"q": bucket.burst, "w": min(window, _LARGEST)}
    if partition:
        parameters["pk"] = partition
    return _item(limit, parameters)


@lru_cache(_REMEMBERED)
def _state(limit: str, number: int, seconds: int) -> bytes:
    return _item(limit, {"r": number, "t": min(seconds, _LARGEST)})


def _item(name: str, parameters: dict[str, BareItemType]) -> bytes:
    items: ListType = [(name, parameters)]
    return ser(items).encode()


def _partition(limit: str, visit: Visit) -> bytes:
    """Whom the limit counts; nothing for everybody together."""
    return b"" if limit == "total" else shown(visit.caller if limit == "caller" else visit.address)


def _seconds(span: float) -> int:
    return max(1, ceil(span))
