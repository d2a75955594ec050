"""Responses to denied requests, and header fields that say what is left of a limit.

A denied request is answered 429 with a problem document (RFC 9457), or 503 while the server shuts down. The header fields are
those of draft-ietf-httpapi-ratelimit-headers-11, which are structured fields (RFC 9651). Their partition key `pk` is the short
pseudonym of the client or address that the limit counts by, as in logs and statistics.
"""

from functools import lru_cache
from math import ceil
from typing import Final

import msgspec
from http_sf import ListType, ser
from http_sf.types import BareItemType

from governor import Admission, Limit, Reason
from governor.asgi.types import Headers, Message, Scope, Send
from governor.messages import AvailableQuota, Denied, InboundDenied, InboundRequest
from governor.pseudonyms import shown

#: Microseconds.
_SECOND: Final = 1_000_000
_TYPES: Final = "https://iana.org/assignments/http-problem-types"
#: The scope of a limit, in words.
_SCOPES: Final = {
    "client": "this client",
    "address": "this address",
    "total": "all clients together",
    "route": "this client for this route",
}
#: Seconds after which to try again during a shutdown, at another instance or at this one after its restart.
_RETRY_AFTER_SHUTDOWN: Final = 5
#: Close code of a WebSocket, "try again later" (registry of RFC 6455, section 7.4.1).
_TRY_AGAIN_LATER: Final = 1013
#: The largest integer of a structured field.
_MAX_INTEGER: Final = 999_999_999_999_999
#: Bytes of the reason in a close frame of a WebSocket, of which the code takes two (RFC 6455, section 5.5).
_MAX_CLOSE_REASON: Final = 123
#: Responses and fields that are kept, for clients that do not stop asking.
_CACHE_SIZE: Final = 1024

_Fields = tuple[tuple[bytes, bytes], ...]


class Response(msgspec.Struct, eq=False):
    """A complete response, and its message for a WebSocket that is closed instead."""

    status: int
    headers: _Fields
    body: bytes
    message: str
    #: Its messages over HTTP, to copy: clients that are denied may not stop asking.
    _start: dict[str, object] = {}
    _end: dict[str, object] = {}

    def __post_init__(self) -> None:
        self._start = {"type": "http.response.start", "status": self.status, "headers": self.headers}
        self._end = {"type": "http.response.body", "body": self.body}

    def messages(self, scope: Scope) -> tuple[Message, Message] | tuple[Message]:
        """Its messages, in the form that the type of the scope and the server allow."""
        if scope["type"] == "http":
            start = self._start.copy()
            # A new list for each: a middleware around this one may append to it.
            start["headers"] = [*self.headers]
            return start, self._end.copy()
        if "websocket.http.response" not in (scope.get("extensions") or ()):
            return ({"type": "websocket.close", "code": _TRY_AGAIN_LATER, "reason": self.message[:_MAX_CLOSE_REASON]},)
        # uvicorn before 0.53 adds a length of its own, and clients reject a response with two.
        headers = [(name, value) for name, value in self.headers if name != b"content-length"]
        start = {"type": "websocket.http.response.start", "status": self.status, "headers": headers}
        return start, {"type": "websocket.http.response.body", "body": self.body}

    async def send(self, scope: Scope, send: Send) -> None:
        """Sends them."""
        for message in self.messages(scope):
            await send(message)


class _Problem(msgspec.Struct, omit_defaults=True):
    type: str
    title: str
    status: int
    error: str
    message: str
    retry_after_seconds: int
    violated_policies: tuple[str, ...] = msgspec.field(name="violated-policies", default=())


def denial(admission: Admission, request: InboundRequest) -> Response | None:
    """The response to a request that is not granted. None for a granted one."""
    denied = admission.denied
    if denied is None:
        return None
    if isinstance(denied, Denied):
        return _unavailable(Reason.OVERLOADED, "This server is overloaded; try again in 1 s.", 1)
    return None if denied.dry_run else too_many_requests(denied, request)


def too_many_requests(denied: InboundDenied, request: InboundRequest) -> Response:
    """The response to a request that exceeds a limit."""
    limit, seconds = denied.limit, ceil(denied.retry_after) or 1
    # `_partition`, inlined: a client that is denied may not stop asking.
    key = b"" if limit == "total" else request.address if limit == "address" else request.client
    return _too_many_requests(denied.group, limit, denied.name, denied.reason, denied.bucket, seconds, key)


def shutting_down() -> Response:
    """The response to every request during a shutdown."""
    message = f"This server is shutting down; try again in {_RETRY_AFTER_SHUTDOWN} s."
    return _unavailable(Reason.SHUTTING_DOWN, message, _RETRY_AFTER_SHUTDOWN)


def quota_fields(admission: Admission, request: InboundRequest) -> Headers:
    """The fields for the response to a granted request: what is left, or in a dry run the limit that it exceeds."""
    denied, least = admission.denied, admission.least
    if isinstance(denied, InboundDenied):
        partition = _partition(denied.limit, request)
        return list(_rate_limit(denied.name or denied.limit, denied.bucket, 0, _seconds(denied.retry_after), partition))
    if least is not None:
        partition = _partition("address" if least.by_address else least.name, request)
        return list(_rate_limit(least.name, least.limit, least.requests, _reset(least), partition))
    return []


def _reset(least: AvailableQuota) -> int | None:
    """Seconds until all of the limit is there again; None if that depends on when requests end."""
    limit = least.limit
    span = limit.refill_time(limit.capacity - least.requests)
    return None if span is None else -(-span // _SECOND)


@lru_cache(_CACHE_SIZE)
def _too_many_requests(group: str, limit: str, route: str, reason: Reason, bucket: Limit, seconds: int, key: bytes) -> Response:
    scope, when = f"{_SCOPES[limit]} in {group}", f"try again in {seconds} s."
    match reason:
        case Reason.CONCURRENCY:
            message = f"Too many requests of {scope} at the same time; {when}"
        case Reason.COST:
            message = f"This request costs more than the limit of {scope} can hold."
        case _:
            message = f"Too many requests of {scope}; {when}"
    name = route or limit
    problem = _Problem(
        type=f"{_TYPES}#quota-exceeded",
        title="Request cannot be satisfied as assigned quota has been exceeded",
        status=429,
        error=reason.value,
        message=message,
        retry_after_seconds=seconds,
        violated_policies=(name,),
    )
    return _response(problem, _rate_limit(name, bucket, 0, seconds, shown(key) if key else b""))


def _unavailable(reason: Reason, message: str, seconds: int) -> Response:
    problem = _Problem(
        type=f"{_TYPES}#temporary-reduced-capacity",
        title="Request cannot be satisfied due to temporary server capacity constraints",
        status=503,
        error=reason.value,
        message=message,
        retry_after_seconds=seconds,
    )
    return _response(problem, ())


def _response(problem: _Problem, fields: _Fields) -> Response:
    body = msgspec.json.encode(problem)
    headers = (
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(problem.retry_after_seconds).encode()),
    )
    return Response(problem.status, headers + fields, body, problem.message)


def _rate_limit(name: str, limit: Limit, requests: int, reset: int | None, partition: bytes) -> _Fields:
    """The fields `RateLimit-Policy` and `RateLimit` of one limit."""
    return (b"ratelimit-policy", _policy(name, limit, partition)), (b"ratelimit", _state(name, requests, reset))


@lru_cache(_CACHE_SIZE)
def _policy(name: str, limit: Limit, partition: bytes) -> bytes:
    """The quota `q`, with the seconds `w` in which it is replenished, or with its unit `qu`."""
    parameters: dict[str, BareItemType] = {"q": limit.capacity}
    span = limit.refill_time(limit.capacity)
    if span is None:
        parameters["qu"] = "concurrent-requests"
    else:
        parameters["w"] = min(-(-span // _SECOND), _MAX_INTEGER)
    if partition:
        parameters["pk"] = partition
    return _item(name, parameters)


@lru_cache(_CACHE_SIZE)
def _state(name: str, requests: int, reset: int | None) -> bytes:
    """The remaining requests `r`, and the seconds `t` until all of the quota is there again."""
    return _item(name, {"r": requests} if reset is None else {"r": requests, "t": min(reset, _MAX_INTEGER)})


def _item(name: str, parameters: dict[str, BareItemType]) -> bytes:
    items: ListType = [(name, parameters)]
    return ser(items).encode()


def _partition(limit: str, request: InboundRequest) -> bytes:
    """The shown part of the key that a limit counts by; empty for a limit on the whole group."""
    return b"" if limit == "total" else shown(request.address if limit == "address" else request.client)


def _seconds(retry_after: float) -> int:
    return max(1, ceil(retry_after))
