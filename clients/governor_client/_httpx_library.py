"""The types of httpx2 or httpx, what is derived from them, and the base of the exchanges that use them.

httpx2 continues httpx, and the parts that are used here are the same in both. So this package is written with the types of
httpx2, which stand for those of either library; an `HttpxLibrary` holds those of the one in use.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from inspect import signature
from operator import itemgetter
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast, final

import msgspec

from governor import CallFailure, ConfigError, Permit, PermitDenied
from governor_client._attempt import Attempt, Fault, fault_of_system
from governor_client._denials import DO_NOT_REPEAT, DeniedResponse, as_error_of
from governor_client._headers import CALLER, MARKS, LazyHeaders
from governor_client._hint_bodies import GRAPHQL
from governor_client._observed import Observation
from governor_client._options import CALLER_LABEL, PRIORITY
from governor_client._questions import check_priority
from governor_client._request import Reading, Request
from governor_client._streams import (
    AsyncPlainStream,
    AsyncReportingStream,
    PlainStream,
    ReportingStream,
    RequestBody,
)
from governor_client._terms import Terms
from governor_client._wait import longest

if TYPE_CHECKING:
    import httpx2

    # The result is also a stream of the library, which no type says.
    Reporting = Callable[[object, Attempt, Callable[[BaseException], Fault]], Any]
    Plain = Callable[[object, Permit, int], Any]

#: Both libraries, each of which may be given objects of the other by mistake.
LIBRARIES: Final = frozenset({"httpx", "httpx2"})
#: The ports that a URL need not name.
PORTS: Final = {"http": 80, "https": 443}
_MARKS: Final = frozenset(name.encode() for name in MARKS)
#: Error codes of HTTP/2 (RFC 9113, section 7).
_REFUSED_STREAM: Final = 7
_ENHANCE_YOUR_CALM: Final = 11
#: The extensions of a request that do not say how it is governed.
_PLAIN: Final = frozenset({"timeout", "sni_hostname", "trace"})
#: Of an entry of the headers, as the libraries keep them in the private `_list`.
_lower_name: Final[Callable[[tuple[bytes, bytes, bytes]], bytes]] = itemgetter(1)
#: An attribute of the clients of `TrafficControlledHttpClient`, which takes the permits for their requests.
OURS: Final = "_governor_client"


@final
class HttpxLibrary:
    """The types of one library, httpx2 or httpx, and what is derived from them."""

    def __init__(self, module: ModuleType) -> None:
        self.name = module.__name__
        self._module = module
        self.transport_error: type[Exception] = module.TransportError
        self.http_error: type[Exception] = module.HTTPError
        self.use_client_default: object = module.USE_CLIENT_DEFAULT
        self.status_error: type[Exception] = module.HTTPStatusError
        self.too_many_redirects: Callable[..., Exception] = module.TooManyRedirects
        self.request: type = module.Request
        self.response: Callable[..., httpx2.Response] = module.Response
        self.byte_stream: type = module.ByteStream
        self.reporting = cast("Reporting", _derived(ReportingStream, module.SyncByteStream))
        self.areporting = cast("Reporting", _derived(AsyncReportingStream, module.AsyncByteStream))
        self.plain = cast("Plain", _derived(PlainStream, module.SyncByteStream))
        self.aplain = cast("Plain", _derived(AsyncPlainStream, module.AsyncByteStream))
        self._stream_kinds = (module.SyncByteStream, module.AsyncByteStream)
        #: By the kinds of streams that the body of a request is: a form with files is both.
        self._request_bodies = {
            kinds: _derived(RequestBody, *kinds)
            for kinds in ((), self._stream_kinds[:1], self._stream_kinds[1:], self._stream_kinds)
        }
        #: Whether headers and URLs have the private attributes that plain requests are known by, as in all versions so far.
        self._is_known = hasattr(module.Headers(), "_list") and hasattr(module.URL(), "_uri_reference")
        self._reading = Reading(query=_query, body=self._body, port=_port)
        self._decoding_error: type[Exception] = module.DecodingError
        self._faults: tuple[tuple[tuple[type[Exception], ...], Fault], ...] = (
            ((module.PoolTimeout,), Fault(CallFailure.UNSENT, unused=True)),
            ((module.UnsupportedProtocol,), Fault(None, unused=True)),
            ((module.ConnectError, module.ConnectTimeout, module.ProxyError), Fault(CallFailure.UNSENT)),
            ((module.TimeoutException,), Fault(CallFailure.TIMEOUT)),
            ((module.NetworkError, module.RemoteProtocolError), Fault(CallFailure.BROKEN)),
        )

    @cached_property
    def limits(self) -> "httpx2.Limits":
        """The limits of a pool that does not become a second queue: the governor decides how many requests are sent."""
        return cast("httpx2.Limits", self._module.Limits(max_connections=1000, max_keepalive_connections=100))

    def transport(self) -> "httpx2.BaseTransport":
        """The default transport of the library, with these limits."""
        return cast("httpx2.BaseTransport", self._module.HTTPTransport(limits=self.limits))

    def async_transport(self) -> "httpx2.AsyncBaseTransport":
        """`transport` for async code."""
        return cast("httpx2.AsyncBaseTransport", self._module.AsyncHTTPTransport(limits=self.limits))

    def client(self, **options: object) -> "httpx2.Client":
        """A client of the library, which `instrument` leaves alone."""
        client = cast("httpx2.Client", self._module.Client(**options))
        vars(client)[OURS] = True
        return client

    def reject_unknown(self, options: "Mapping[str, object]") -> None:
        """Raises `TypeError` for arguments that a client of the library does not have: the client itself is made later."""
        signature(self._module.Client).bind_partial(**options)

    def async_client(self, **options: object) -> "httpx2.AsyncClient":
        """An async client of the library, which `instrument` leaves alone."""
        client = cast("httpx2.AsyncClient", self._module.AsyncClient(**options))
        vars(client)[OURS] = True
        return client

    def reason_phrase(self, status: int) -> str:
        """The reason phrase of a status; empty for an unknown one."""
        return cast("str", self._module.codes.get_reason_phrase(status))

    def fault(self, error: BaseException) -> Fault:
        """What an exception that a transport raises says about the request."""
        if isinstance(error, self.transport_error) and not isinstance(error, PermitDenied):
            said = _fault_of_http2(error.__cause__)
            return said or next((fault for kinds, fault in self._faults if isinstance(error, kinds)), Fault(None))
        return Fault(None, undecodable=True) if isinstance(error, self._decoding_error) else fault_of_system(error)

    def take(self, terms: Terms, request: "httpx2.Request") -> Permit | None:
        """A permit for the first attempt of a plain request: see `Terms.take`."""
        if (
            not self._is_known
            or not isinstance(request.stream, self.byte_stream)
            or not request.extensions.keys() <= _PLAIN
            or not _MARKS.isdisjoint(map(_lower_name, request.headers._list))
        ):
            return None
        # `terms.take`, without its call where the host and the method are known.
        governor, (config, calls) = terms.given or terms.governor, terms.known
        host, method = request.url._uri_reference.host, request.method
        if config is not governor.config or (host, method) not in calls or Terms.any_by_host:
            return terms.take(host, method)
        return governor.leases.take(terms.provider, method, 1, unwatched=True)

    def passes(self, terms: Terms, permit: Permit, request: "httpx2.Request", response: "httpx2.Response") -> bool:
        """Whether the answer to a plain request needs nothing else: see `Terms.lets_pass`."""
        names, status = tuple(map(_lower_name, response.headers._list)), response.status_code
        path = request.url._uri_reference.path
        if status >= 400 or names != terms.silent or GRAPHQL in path:
            return terms.lets_pass(permit, status, names, path)
        permit.answered(status=status)  # `terms.lets_pass`, without its call.
        return True

    def watch(self, request: "httpx2.Request") -> RequestBody | None:
        """Wraps a body that is read while it is sent; None if it is in memory, and cannot fail."""
        stream = request.stream
        if isinstance(stream, self.byte_stream):
            return None
        kinds = tuple(kind for kind in self._stream_kinds if isinstance(stream, kind))
        body = cast("RequestBody", self._request_bodies[kinds](stream))
        request.stream = cast("httpx2.SyncByteStream", body)
        return body

    def request_of(
        self, request: "httpx2.Request", host: str, path: str, *, retry: bool, retry_answers: bool, buffered: bool
    ) -> Request:
        """The request as the decisions see it. A body from a file or an iterator can be sent only once.

        The label of the caller moves from the headers to the extensions, which the libraries copy into redirects.
        """
        fields, extensions = getattr(request.headers, "_list", None), request.extensions
        # A copy, because the request may get other headers.
        fields = _fields(request.headers) if fields is None else tuple(fields)
        headers = LazyHeaders(fields)
        marked = bool(fields) and not _MARKS.isdisjoint([*zip(*fields, strict=True)][1])
        if marked and (caller := headers.get(CALLER)) is not None:
            extensions[CALLER_LABEL] = caller
            del request.headers[CALLER]
        priority = extensions.get(PRIORITY)
        return Request(
            request.method,
            host,
            path,
            headers,
            repeatable=retry and isinstance(request.stream, self.byte_stream),
            retry_answers=retry_answers,
            buffered=buffered,
            caller=extensions.get(CALLER_LABEL),
            priority=None if priority is None else check_priority(priority),
            original=request,
            reading=self._reading,
            marked=marked,
        )

    def _body(self, request: "httpx2.Request") -> bytes | None:
        stream = request.stream
        return b"".join(cast("Iterable[bytes]", stream)) if isinstance(stream, self.byte_stream) else None

    def reject_foreign(self, field: str, value: object) -> None:
        """Raises `ConfigError` for an object of the other library: neither knows the streams and errors of the other."""
        other = library_of(value)
        if other is not None and other != self.name:
            raise ConfigError(
                field,
                value,
                f"an object of {self.name}",
                message=f"{field} is an object of {other}, but this is for {self.name}; use governor_client.{other}",
            )


def _fault_of_http2(error: BaseException | None) -> Fault | None:
    """What a server that speaks HTTP/2 says of a request whose stream or connection it ends; None if no more than that.

    It did not process the request if it refuses the stream, or ends the connection before the first one (RFC 9113, section
    8.7); the connection pool sees to later streams itself. With ENHANCE_YOUR_CALM it says that there are too many.
    """
    event = error.args[0] if error is not None and error.args else None
    code = getattr(event, "error_code", None)
    match type(event).__name__:
        case "StreamReset":
            unprocessed = code == _REFUSED_STREAM
        case "ConnectionTerminated":
            unprocessed = getattr(event, "last_stream_id", None) == 0
        case _:
            return None
    throttled = code == _ENHANCE_YOUR_CALM
    failure = CallFailure.UNSENT if unprocessed else CallFailure.BROKEN
    return Fault(failure, throttled=throttled) if unprocessed or throttled else None


def library_of(value: object) -> str | None:
    """The name of the library, httpx or httpx2, that this object or one of its base classes belongs to."""
    packages = (cls.__module__.partition(".")[0] for cls in type(value).__mro__)
    return next((package for package in packages if package in LIBRARIES), None)


def _fields(headers: "httpx2.Headers") -> tuple[tuple[bytes, bytes, bytes], ...]:
    """Headers as `LazyHeaders` takes them.

    The libraries keep them like that in the private `_list`, which is read where it is there: `raw` costs two Python calls.
    """
    return tuple((name, name.lower(), value) for name, value in headers.raw)


def _query(request: "httpx2.Request") -> str:
    return request.url.query.decode("ascii")


def _port(request: "httpx2.Request") -> int | None:
    return request.url._uri_reference.port


def _derived(body: type, *bases: type) -> Callable[..., object]:
    return type(body.__name__, (body, *bases), {"__doc__": body.__doc__})


class HttpxExchange(msgspec.Struct, eq=False, kw_only=True):
    """One request of an httpx library. The base of the exchanges of the transports and of the client."""

    library: HttpxLibrary
    request: "httpx2.Request"
    #: The body of the request while it is sent, if it is not in memory.
    body: RequestBody | None = None

    def head(self, response: "httpx2.Response") -> tuple[int, LazyHeaders]:
        fields = getattr(response.headers, "_list", None)
        fields = _fields(response.headers) if fields is None else tuple(fields)
        return response.status_code, LazyHeaders(fields, [*zip(*fields, strict=True)][1] if fields else ())

    def fault(self, error: BaseException) -> Fault:
        return Fault(None, ours=True) if self.body is not None and self.body.failed else self.library.fault(error)

    def show(self, response: "httpx2.Response", observation: Observation) -> None:
        stream = response.stream
        if isinstance(stream, self.library.byte_stream):
            observation.saw(b"".join(cast("Iterable[bytes]", stream)))
        else:
            observation.saw(response.content, decoded=True)

    def mark_final(self, response: "httpx2.Response") -> None:
        response.headers.update(DO_NOT_REPEAT)

    def answer(self, response: DeniedResponse) -> "httpx2.Response":
        stream = self.library.byte_stream(response.body)  # Not `content`, which the library would have read already.
        return self.library.response(response.status, headers=response.headers, stream=stream, request=self.request)

    def error(self, denial: PermitDenied) -> Exception:
        return as_error_of(self.library.transport_error, denial, _request=self.request)

    def unwatch(self) -> None:
        """Restores the body of the request, unless it was replaced meanwhile."""
        stream: object = self.request.stream
        if isinstance(stream, RequestBody):
            self.request.stream = stream.stream


def timeout_of(request: "httpx2.Request") -> float | None:
    """The timeout of a request: its longest phase in seconds; None if a phase has no bound."""
    return longest(request.extensions.get("timeout", {}).values())


def same_origin(url: "httpx2.URL", other: "httpx2.URL") -> bool:
    """Whether credentials for one URL may be sent to the other: the same origin, or its upgrade to https on default ports."""
    if url.host != other.host:
        return False
    origin, target = ((each.scheme, each.port or PORTS.get(each.scheme)) for each in (url, other))
    return origin == target or (origin == ("http", 80) and target == ("https", 443))
