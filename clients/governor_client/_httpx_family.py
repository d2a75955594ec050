"""What the adapters for httpx2 and for httpx share: the transports, and the types that the client makes.

httpx2 continues httpx, and the parts that are used here are the same in both. So this module is written with the types of
httpx2, which stand for those of either library; `Kit` holds the types of the one in use.
"""

import warnings
from collections.abc import Callable, Collection
from functools import cached_property, wraps
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, ClassVar, Final, Generic, Self, TypeVar, cast, final
from weakref import ref

from governor import CallFailure, ConfigError, Governor, PermitDenied, UsageError
from governor.clock import Clock, system_clock
from governor.instrumentation import Hook
from governor_client._attempt import Attempt, Fault, fault_of_system
from governor_client._denials import OnRefusal, Refusal, as_error_of
from governor_client._exchange import arun, run
from governor_client._operation import Operation, Request, Terms
from governor_client._options import BUDGET, BUFFERED, RETRY, WAIT
from governor_client._server_wait import Headers
from governor_client._streams import (
    AsyncReportingStream,
    AsyncRequestBody,
    ReportingStream,
    RequestBody,
    async_take_in,
    take_in,
)
from governor_client._wait import Wait, WaitBudget, longest

if TYPE_CHECKING:
    import httpx2

    Reporting = Callable[["httpx2.SyncByteStream", Attempt, Callable[[BaseException], Fault]], httpx2.SyncByteStream]
    AsyncReporting = Callable[["httpx2.AsyncByteStream", Attempt, Callable[[BaseException], Fault]], httpx2.AsyncByteStream]

#: The transport of the library that sends.
Inner = TypeVar("Inner")

#: Both libraries, each of which may be given objects of the other by mistake.
_LIBRARIES: Final = frozenset({"httpx", "httpx2"})


@final
class Kit:
    """The types of one library, httpx2 or httpx, and what is derived from them."""

    def __init__(self, library: ModuleType) -> None:
        self.name = library.__name__
        self._library = library
        self.transport_error: type[Exception] = library.TransportError
        self.http_error: type[Exception] = library.HTTPError
        self.use_client_default: object = library.USE_CLIENT_DEFAULT
        self.status_error: type[Exception] = library.HTTPStatusError
        self.too_many_redirects: Callable[..., Exception] = library.TooManyRedirects
        self.request: type = library.Request
        self.response: Callable[..., httpx2.Response] = library.Response
        self.byte_stream: type = library.ByteStream
        self.sync_byte_stream: type = library.SyncByteStream
        self.reporting = cast("Reporting", _derived(ReportingStream, library.SyncByteStream))
        self.areporting = cast("AsyncReporting", _derived(AsyncReportingStream, library.AsyncByteStream))
        self._request_body = _derived(RequestBody, library.SyncByteStream)
        self._async_request_body = _derived(AsyncRequestBody, library.AsyncByteStream)
        self._faults: tuple[tuple[tuple[type[Exception], ...], Fault], ...] = (
            ((library.PoolTimeout,), Fault(CallFailure.UNSENT, unused=True)),
            ((library.UnsupportedProtocol,), Fault(None, unused=True)),
            ((library.ConnectError, library.ConnectTimeout, library.ProxyError), Fault(CallFailure.UNSENT)),
            ((library.TimeoutException,), Fault(CallFailure.TIMEOUT)),
            ((library.NetworkError, library.RemoteProtocolError), Fault(CallFailure.BROKEN)),
        )

    @cached_property
    def limits(self) -> "httpx2.Limits":
        """The limits of a pool that does not become a second queue: the governor decides how many requests are sent."""
        return cast("httpx2.Limits", self._library.Limits(max_connections=1000, max_keepalive_connections=100))

    def transport(self) -> "httpx2.BaseTransport":
        """The default transport of the library, with these limits."""
        return cast("httpx2.BaseTransport", self._library.HTTPTransport(limits=self.limits))

    def async_transport(self) -> "httpx2.AsyncBaseTransport":
        """`transport` for async code."""
        return cast("httpx2.AsyncBaseTransport", self._library.AsyncHTTPTransport(limits=self.limits))

    def client(self, **options: object) -> "httpx2.Client":
        """A client of the library."""
        return cast("httpx2.Client", self._library.Client(**options))

    def async_client(self, **options: object) -> "httpx2.AsyncClient":
        """An async client of the library."""
        return cast("httpx2.AsyncClient", self._library.AsyncClient(**options))

    def reason_phrase(self, status: int) -> str:
        """The reason phrase of a status; empty for an unknown one."""
        return cast("str", self._library.codes.get_reason_phrase(status))

    def fault(self, error: BaseException) -> Fault:
        """What an exception that a transport raises says about the request."""
        if isinstance(error, self.transport_error) and not isinstance(error, PermitDenied):
            return next((fault for kinds, fault in self._faults if isinstance(error, kinds)), Fault(None))
        return fault_of_system(error)

    def watch(self, request: "httpx2.Request") -> RequestBody | AsyncRequestBody | None:
        """Wraps a body that is read while it is sent; None if it is in memory, and cannot fail."""
        stream = request.stream
        if isinstance(stream, self.byte_stream):
            return None
        kind = self._request_body if isinstance(stream, self.sync_byte_stream) else self._async_request_body
        body = kind(stream)
        request.stream = cast("httpx2.SyncByteStream", body)
        return cast("RequestBody | AsyncRequestBody", body)

    def request_of(self, request: "httpx2.Request", *, retry: bool, retry_answers: bool, buffered: bool) -> Request:
        """The request as the decisions see it. A body from a file or an iterator can be sent only once."""
        return Request(
            request.method,
            request.url.host,
            request.url.path,
            request.headers,
            repeatable=retry and isinstance(request.stream, self.byte_stream),
            retry_answers=retry_answers,
            buffered=buffered,
        )

    def refuse_foreign(self, field: str, value: object) -> None:
        """Raises `ConfigError` for an object of the other library: neither knows the streams and errors of the other."""
        other = library_of(value)
        if other is not None and other != self.name:
            raise ConfigError(
                field,
                value,
                f"an object of {self.name}",
                message=f"{field} is an object of {other}, but this is for {self.name}; use governor_client.{other}",
            )


def library_of(value: object) -> str | None:
    """The name of the library, httpx or httpx2, that this object or one of its base classes belongs to."""
    packages = (cls.__module__.partition(".")[0] for cls in type(value).__mro__)
    return next((package for package in packages if package in _LIBRARIES), None)


def _derived(body: type, base: type) -> Callable[..., object]:
    return type(body.__name__, (body, base), {"__doc__": body.__doc__})


class HttpxExchange:
    """One request of an httpx library. The base of the exchanges of the transports and of the client."""

    def __init__(self, kit: Kit, request: "httpx2.Request") -> None:
        self.kit = kit
        self.request = request
        self.body: RequestBody | AsyncRequestBody | None = None

    def head(self, response: "httpx2.Response") -> tuple[int, Headers]:
        return response.status_code, response.headers

    def fault(self, error: BaseException) -> Fault:
        return Fault(None, ours=True) if self.body is not None and self.body.failed else self.kit.fault(error)

    def mark_final(self, response: "httpx2.Response") -> None:
        response.headers["x-should-retry"] = "false"

    def answer(self, refusal: Refusal) -> "httpx2.Response":
        return self.kit.response(refusal.status, headers=refusal.headers, content=refusal.body, request=self.request)

    def error(self, denial: PermitDenied) -> Exception:
        return as_error_of(self.kit.transport_error, denial, _request=self.request)

    def unwatch(self) -> None:
        """Restores the body of the request, unless it was replaced meanwhile."""
        stream: object = self.request.stream
        if isinstance(stream, (RequestBody, AsyncRequestBody)):
            self.request.stream = stream.stream


@final
class _Sending(HttpxExchange):
    """A request that a transport sends."""

    def __init__(self, kit: Kit, request: "httpx2.Request", inner: "httpx2.BaseTransport") -> None:
        super().__init__(kit, request)
        self._inner = inner

    def send(self, attempt: Attempt) -> "httpx2.Response":
        self.body = self.kit.watch(self.request)
        try:
            return self._inner.handle_request(self.request)
        finally:
            self.unwatch()

    def read(self, response: "httpx2.Response", most: float) -> bool:
        if response.is_closed:
            return True  # In memory already, as the answers of `MockTransport` are.
        body = take_in(cast("httpx2.SyncByteStream", response.stream), most)
        response.stream = self.kit.byte_stream(body or b"")
        return body is not None

    def stream(self, response: "httpx2.Response", attempt: Attempt) -> "httpx2.Response":
        if response.is_closed:
            attempt.ended()
        else:
            response.stream = self.kit.reporting(cast("httpx2.SyncByteStream", response.stream), attempt, self.kit.fault)
        return response


@final
class _AsyncSending(HttpxExchange):
    """`_Sending` for async code."""

    def __init__(self, kit: Kit, request: "httpx2.Request", inner: "httpx2.AsyncBaseTransport") -> None:
        super().__init__(kit, request)
        self._inner = inner

    async def send(self, attempt: Attempt) -> "httpx2.Response":
        self.body = self.kit.watch(self.request)
        try:
            return await self._inner.handle_async_request(self.request)
        finally:
            self.unwatch()

    async def read(self, response: "httpx2.Response", most: float) -> bool:
        if response.is_closed:
            return True
        body = await async_take_in(cast("httpx2.AsyncByteStream", response.stream), most)
        response.stream = self.kit.byte_stream(body or b"")
        return body is not None

    def stream(self, response: "httpx2.Response", attempt: Attempt) -> "httpx2.Response":
        if response.is_closed:
            attempt.ended()
        else:
            response.stream = self.kit.areporting(cast("httpx2.AsyncByteStream", response.stream), attempt, self.kit.fault)
        return response

    async def close(self, response: "httpx2.Response") -> None:
        await response.aclose()


class _AnyTransport:
    """What the blocking and the async transport have in common."""

    kit: ClassVar[Kit]

    def _begin(self, terms: Terms, request: "httpx2.Request") -> "Operation[httpx2.Response] | None":
        """A new operation for this request; None if it is not governed."""
        if not isinstance(request, self.kit.request):
            raise UsageError(
                f"this transport is for {self.kit.name}, and the request comes from {library_of(request)}; "
                f"use the one of governor_client.{library_of(request)}"
            )
        url, extensions = request.url, request.extensions
        if not terms.governs(url.host, url.path):
            return None
        description = self.kit.request_of(
            request,
            retry=extensions.get(RETRY) is not False,
            retry_answers=True,
            buffered=extensions.get(BUFFERED) is True,
        )
        return Operation(terms, description, _budget(terms, request))


class Transport(_AnyTransport, Generic[Inner]):
    """A transport that takes a permit for each request: `Client(transport=GovernedTransport("openai"))`.

    A request is an operation in the scope `provider:method`. It waits for its permit, and is retried as the settings of the
    scope say, each attempt with a permit of its own.

    `wait` bounds all waiting, for permits and between attempts, of a request and of the redirects that follow from it: seconds,
    None for no bound, or "timeout" (the default) for the longest timeout of the request, 30 seconds at most. With 0, a request
    that would have to wait is refused at once. `extensions={"governor.wait": 5.0}` sets it for one request. If the first
    attempt gets no permit, `on_refusal="raise"` raises a subclass of `PermitDenied` that is a `TransportError` too, with reason
    and `retry_after`; `on_refusal="response"` answers 429, or 503 while the provider is unavailable as a whole, with
    `retry-after`, `x-should-retry: false` and the reason as JSON. If a later attempt gets none, the last answer is returned, or
    the last error is raised with a note. An answer of more than 64 KiB that was to be retried is not kept.

    Idempotent methods, and others with an `Idempotency-Key` header, are retried after the statuses in the settings, timeouts,
    network errors and answers that break off; any method is retried if the request did not leave, or was refused unprocessed.
    A body from an iterator or a file is sent once. An answer that has been returned is not retried, and its outcome is reported
    when it ends, breaks off or is closed. With `extensions={"governor.buffered": True}` the attempt includes the whole body of
    the answer, so that an answer that breaks off is retried; with `"governor.retry": False` the request is sent once.

    A transport is beneath authentication: a request is signed before it waits, and a retry sends the same signature again.
    `TrafficControlledHttpClient` signs each attempt.

    The default `governor` is that of the process, looked up with each request. `transport` sends the requests. Requests to
    this machine need no permit unless `govern_loopback`, and neither do those to `ungoverned` paths (`/health` covers itself
    and everything beneath) and hosts. `on_event` is called at once, in the task or thread of the request, if a permit took a
    millisecond or more (`Granted`), when an attempt after the first begins (`Retried`), and for a denial (`CallDenied`); for
    instance for OpenTelemetry spans. `clock` is for tests and simulations. Raises `ConfigError`.
    """

    def __init__(
        self,
        provider: str,
        *,
        governor: Governor | None = None,
        transport: Inner | None = None,
        wait: Wait = "timeout",
        on_refusal: OnRefusal = "raise",
        govern_loopback: bool = False,
        ungoverned: Collection[str] = (),
        on_event: Hook | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._terms = Terms(
            provider,
            governor,
            wait=wait,
            on_refusal=on_refusal,
            govern_loopback=govern_loopback,
            ungoverned=ungoverned,
            on_event=on_event,
            clock=clock,
        )
        self.kit.refuse_foreign("transport", transport)
        self._inner = self.kit.transport() if transport is None else cast("httpx2.BaseTransport", transport)

    def handle_request(self, request: "httpx2.Request") -> "httpx2.Response":
        """Sends one request, with a permit for each attempt."""
        operation = self._begin(self._terms, request)
        if operation is None:
            return self._inner.handle_request(request)
        return run(operation, _Sending(self.kit, request, self._inner))

    def close(self) -> None:
        """Closes the transport that sends."""
        self._inner.close()

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._inner.__exit__(kind, error, traceback)


class AsyncTransport(_AnyTransport, Generic[Inner]):
    """`GovernedTransport` for async programs: `AsyncClient(transport=AsyncGovernedTransport("openai"))`.

    The governor may run in this event loop, in another one, or on a thread of its own.
    """

    def __init__(
        self,
        provider: str,
        *,
        governor: Governor | None = None,
        transport: Inner | None = None,
        wait: Wait = "timeout",
        on_refusal: OnRefusal = "raise",
        govern_loopback: bool = False,
        ungoverned: Collection[str] = (),
        on_event: Hook | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._terms = Terms(
            provider,
            governor,
            wait=wait,
            on_refusal=on_refusal,
            govern_loopback=govern_loopback,
            ungoverned=ungoverned,
            on_event=on_event,
            clock=clock,
        )
        self.kit.refuse_foreign("transport", transport)
        self._inner = self.kit.async_transport() if transport is None else cast("httpx2.AsyncBaseTransport", transport)

    async def handle_async_request(self, request: "httpx2.Request") -> "httpx2.Response":
        """Sends one request, with a permit for each attempt."""
        operation = self._begin(self._terms, request)
        if operation is None:
            return await self._inner.handle_async_request(request)
        return await arun(operation, _AsyncSending(self.kit, request, self._inner))

    async def aclose(self) -> None:
        """Closes the transport that sends."""
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._inner.__aexit__(kind, error, traceback)


@final
class _SharedBudget:
    """A budget, kept in the extensions of a request, which the libraries copy into the requests of its redirects."""

    __slots__ = ("budget", "first")

    def __init__(self, budget: WaitBudget, first: "httpx2.Request") -> None:
        self.budget = budget
        self.first = ref(first)


def _budget(terms: Terms, request: "httpx2.Request") -> WaitBudget:
    extensions = request.extensions
    shared = extensions.get(BUDGET)
    # The same request again is a new call, or a round of authentication, which a transport cannot tell from one.
    if isinstance(shared, _SharedBudget) and shared.first() is not request:
        return shared.budget
    budget = terms.budget(extensions.get(WAIT, ...), timeout_of(request))
    extensions[BUDGET] = _SharedBudget(budget, request)
    return budget


def timeout_of(request: "httpx2.Request") -> float | None:
    """The timeout of a request: its longest phase in seconds; None if a phase has no bound."""
    return longest(iter(request.extensions.get("timeout", {}).values()))


def warn_of_bypass(library: ModuleType) -> None:
    """Makes the clients of the library warn if a proxy or a mount leads around their governed transport.

    A client sends what its `proxy=` and `mounts=` cover by other transports, so the governed one does not see those requests.
    """
    for client in (library.Client, library.AsyncClient):
        client.__init__ = _warning(client.__init__)


def _warning(construct: Callable[..., None]) -> Callable[..., None]:
    @wraps(construct)
    def constructor(self: object, *args: object, **kwargs: object) -> None:
        construct(self, *args, **kwargs)
        mounts = getattr(self, "_mounts", {})
        if isinstance(getattr(self, "_transport", None), _AnyTransport) and any(
            transport is not None and not isinstance(transport, _AnyTransport) for transport in mounts.values()
        ):
            warnings.warn(
                "`proxy` or `mounts` of this client lead around its governed transport, so those requests take no permits; "
                "govern the transport that they use: transport=GovernedTransport(provider, transport=HTTPTransport(proxy=...))",
                RuntimeWarning,
                stacklevel=2,
            )

    return constructor
