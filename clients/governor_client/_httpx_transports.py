"""The transports that the adapters for httpx2 and for httpx share, written with the types of httpx2: see `_httpx_library`."""

import sys
import warnings
from collections.abc import Callable, Collection
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Final, Generic, Self, TypeVar, cast, final

from governor import Governor, Priority, UsageError
from governor.clock import Clock, system_clock
from governor.instrumentation import Hook
from governor_client._attempt import Attempt
from governor_client._denials import OnRefusal
from governor_client._exchange import ago_on, arepeats, arun, go_on, repeats, run
from governor_client._hosts import TermsOf
from governor_client._httpx_library import LIBRARIES, OURS, PORTS, HttpxExchange, HttpxLibrary, library_of
from governor_client._keys import Key
from governor_client._operation import Operation
from governor_client._options import BUDGET, BUFFERED, RETRY, WAIT
from governor_client._request import Request
from governor_client._streams import async_take_in, take_in
from governor_client._terms import Terms, Within
from governor_client._wait import Wait, WaitBudget, check_wait, longest, shared_budget

if TYPE_CHECKING:
    import httpx2

#: The transport of the library that sends.
Inner = TypeVar("Inner")

#: The libraries whose clients warn already.
_warning: Final[set[str]] = set()


class _AnySending(HttpxExchange, kw_only=True):
    """A request that a transport sends."""

    is_async: ClassVar[bool] = False

    terms: Terms
    _budget: WaitBudget | None = None

    def budget(self) -> WaitBudget:
        """The wait of the call, the same each time."""
        if self._budget is None:
            extensions = self.request.extensions
            wait, timeout = extensions.get(WAIT, ...), extensions.get("timeout", {})
            self._budget = shared_budget(
                extensions, BUDGET, self.request, lambda: self.terms.budget(wait, longest(timeout.values()))
            )
        return self._budget

    def stream(self, response: "httpx2.Response", attempt: Attempt) -> "httpx2.Response":
        if response.is_closed:
            if attempt.observation is not None:
                self.show(response, attempt.observation)
            attempt.ended(whole=True)
        else:
            reporting = self.library.areporting if self.is_async else self.library.reporting
            response.stream = reporting(response.stream, attempt, self.library.fault)
        return response


@final
class _Sending(_AnySending, kw_only=True):
    """A request that a blocking transport sends."""

    inner: "httpx2.BaseTransport"

    def send(self, attempt: Attempt) -> "httpx2.Response":
        if isinstance(self.request.stream, self.library.byte_stream):
            return self.inner.handle_request(self.request)
        self.body = self.library.watch(self.request)
        try:
            return self.inner.handle_request(self.request)
        finally:
            self.unwatch()

    def read(self, response: "httpx2.Response", most: float) -> bool:
        if response.is_closed:
            return True  # In memory already, as the answers of `MockTransport` are.
        body = take_in(cast("httpx2.SyncByteStream", response.stream), most)
        response.stream = self.library.byte_stream(body or b"")
        return body is not None


@final
class _AsyncSending(_AnySending, kw_only=True):
    """`_Sending` for async code."""

    is_async: ClassVar[bool] = True

    inner: "httpx2.AsyncBaseTransport"

    async def send(self, attempt: Attempt) -> "httpx2.Response":
        if isinstance(self.request.stream, self.library.byte_stream):
            return await self.inner.handle_async_request(self.request)
        self.body = self.library.watch(self.request)
        try:
            return await self.inner.handle_async_request(self.request)
        finally:
            self.unwatch()

    async def read(self, response: "httpx2.Response", most: float) -> bool:
        if response.is_closed:
            return True
        body = await async_take_in(cast("httpx2.AsyncByteStream", response.stream), most)
        response.stream = self.library.byte_stream(body or b"")
        return body is not None

    async def close(self, response: "httpx2.Response") -> None:
        await response.aclose()


class _AnyTransport(Generic[Inner]):
    """What the blocking and the async transport have in common."""

    library: ClassVar[HttpxLibrary]
    _is_async: ClassVar[bool] = False

    #: A request with a body has one of these headers.
    _BODY: ClassVar[frozenset[str]] = frozenset({"content-length", "transfer-encoding"})

    _terms: TermsOf
    #: The terms of plain requests; None if they are chosen by the host.
    _plain: Terms | None = None
    #: What sends.
    _inner: object

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
        key: Key | None = None,
        priority: Priority = "interactive",
        clock: Clock = system_clock,
    ) -> None:
        self._terms = self._plain = Terms(
            provider,
            governor,
            wait=wait,
            on_refusal=on_refusal,
            govern_loopback=govern_loopback,
            ungoverned=ungoverned,
            on_event=on_event,
            key=key,
            priority=priority,
            clock=clock,
        )
        self.library.reject_foreign("transport", transport)
        warn_of_bypass()
        made = self.library.async_transport if self._is_async else self.library.transport
        self._inner = made() if transport is None else transport

    def _terms_of(self, request: "httpx2.Request") -> Terms | None:
        """The terms of this request; None if it is not governed."""
        if not isinstance(request, self.library.request):
            raise UsageError(
                f"this transport is for {self.library.name}, and the request comes from {library_of(request)}; "
                f"use the one of governor_client.{library_of(request)}"
            )
        url, terms_of = request.url, self._terms
        # Terms of one provider hold for all ports.
        port = None if isinstance(terms_of, Terms) else url.port or PORTS.get(url.scheme)
        return terms_of.of(url.host, url.path, port)

    def _describe(self, request: "httpx2.Request") -> Request:
        """What the decisions need of a request."""
        url, extensions = request.url, request.extensions
        if not isinstance(request.stream, self.library.byte_stream) and not self._BODY.intersection(request.headers):
            # It has no body (RFC 9112, section 6.3), although a cache, for instance, has made an iterator of that.
            request.stream = self.library.byte_stream(b"")
        if WAIT in extensions:
            check_wait(extensions[WAIT])
        return self.library.request_of(
            request,
            url.host,
            url.path,
            retry=extensions.get(RETRY) is not False,
            retry_answers=True,
            buffered=extensions.get(BUFFERED) is True,
        )


class Transport(_AnyTransport[Inner]):
    """A transport that takes a permit for each request: `Client(transport=GovernedTransport("openai"))`.

    A request is an operation in the scope `provider:method`. It waits for its permit, and is retried as the settings of the
    scope say, each attempt with a permit of its own.

    `wait` bounds all waiting, for permits and between attempts, of a request and of the redirects that follow from it: seconds,
    None for no bound, or "timeout" (the default) for the longest timeout of the request, 30 seconds at most. With 0, a request
    that would have to wait is denied at once. `extensions={"governor.wait": 5.0}` sets it for one request. If the first
    attempt gets no permit, `on_refusal="raise"` raises a subclass of `PermitDenied` that is a `TransportError` too, with reason
    and `retry_after`; `on_refusal="response"` answers 429, or 503 while the provider is unavailable as a whole, with
    `retry-after`, `x-should-retry: false` and the reason as JSON. If a later attempt gets none, the last answer is returned, or
    the last error is raised with a note. An answer of more than 64 KiB that was to be retried is not kept.

    Idempotent methods, and others with an `Idempotency-Key` header, are retried after the statuses in the settings, timeouts,
    network errors and answers that break off; any method is retried if the request was not sent, or not processed (429, 503
    with `Retry-After`, a rejected stream of HTTP/2). A body from an iterator or a file is sent once. An answer that has been
    returned is not retried, and its outcome is reported when it ends, breaks off or is closed. With
    `extensions={"governor.buffered": True}` the attempt includes the whole body of the answer, so that an answer that breaks
    off is retried; with `"governor.retry": False` the request is sent once. The header `x-governor-caller`, which is not sent,
    or `"governor.caller"` is the label of the caller: see `governor.caller`.

    A transport is beneath authentication: a request is signed before it waits, and a retry sends the same signature again.
    `TrafficControlledHttpClient` signs each attempt.

    `key` is called with each request (`governor_client.Request`), and returns its key, such as a model, or None: the scope is
    then `provider/key:method`. `model_of` is such a function. Requests with `priority="batch"` wait behind those with
    "interactive"; `extensions={"governor.priority": "batch"}` sets it for one request.

    The default `governor` is that of the process, looked up with each request. `transport` sends the requests. Requests to
    this machine need no permit unless `govern_loopback`, and neither do those to `ungoverned` paths (`/health` covers itself
    and everything beneath) and hosts. `on_event` is called at once, in the task or thread of the request, if a permit took a
    millisecond or more (`Granted`), when an attempt after the first begins (`Retried`), and for a denial (`CallDenied`); for
    instance for OpenTelemetry spans. `clock` is for tests and simulations. Raises `ConfigError`.
    """

    _inner: "httpx2.BaseTransport"

    def handle_request(self, request: "httpx2.Request") -> "httpx2.Response":
        """Sends one request, with a permit for each attempt."""
        terms = self._plain
        permit = None if terms is None else self.library.take(terms, request)
        if terms is None or permit is None:
            terms = self._terms_of(request)
            return self._inner.handle_request(request) if terms is None else run(*self._begin(terms, request))
        try:
            if Terms.any_by_host:
                with Within(terms, request.url.host):
                    response = self._inner.handle_request(request)
            else:
                response = self._inner.handle_request(request)
        except BaseException as error:
            begun = self._begin(terms, request)
            if not repeats(*begun, error, Attempt(permit)):
                raise
            return run(*begun)
        if response.is_closed or not self.library.passes(terms, permit, request, response):
            return go_on(*self._begin(terms, request), Attempt(permit), response)
        response.stream = self.library.plain(response.stream, permit, response.status_code)
        return response

    def _begin(self, terms: Terms, request: "httpx2.Request") -> "tuple[Operation[httpx2.Response], _Sending]":
        description = self._describe(request)
        exchange = _Sending(library=self.library, request=request, terms=terms, inner=self._inner)
        return Operation(terms, description, exchange.budget), exchange

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


class AsyncTransport(_AnyTransport[Inner]):
    """`GovernedTransport` for async programs: `AsyncClient(transport=AsyncGovernedTransport("openai"))`.

    The governor may run in this event loop, in another one, or on a thread of its own.
    """

    _is_async: ClassVar[bool] = True

    _inner: "httpx2.AsyncBaseTransport"

    async def handle_async_request(self, request: "httpx2.Request") -> "httpx2.Response":
        """Sends one request, with a permit for each attempt."""
        terms = self._plain
        permit = None if terms is None else self.library.take(terms, request)
        if terms is None or permit is None:
            terms = self._terms_of(request)
            return await (self._inner.handle_async_request(request) if terms is None else arun(*self._begin(terms, request)))
        try:
            if Terms.any_by_host:
                with Within(terms, request.url.host):
                    response = await self._inner.handle_async_request(request)
            else:
                response = await self._inner.handle_async_request(request)
        except BaseException as error:
            begun = self._begin(terms, request)
            if not await arepeats(*begun, error, Attempt(permit)):
                raise
            return await arun(*begun)
        if response.is_closed or not self.library.passes(terms, permit, request, response):
            return await ago_on(*self._begin(terms, request), Attempt(permit), response)
        response.stream = self.library.aplain(response.stream, permit, response.status_code)
        return response

    def _begin(self, terms: Terms, request: "httpx2.Request") -> "tuple[Operation[httpx2.Response], _AsyncSending]":
        description = self._describe(request)
        exchange = _AsyncSending(library=self.library, request=request, terms=terms, inner=self._inner)
        return Operation(terms, description, exchange.budget), exchange

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


def above(kind: type[_AnyTransport[object]], client: object, inner: object, terms: TermsOf, url: "httpx2.URL") -> object:
    """A governed transport that sends a request to this URL through `inner` of a client; `inner` itself if no permit is needed.

    None is needed if the client takes permits already, and if the host has no provider.
    """
    if isinstance(inner, _AnyTransport) or OURS in vars(client):
        return inner
    found = terms.of(url.host, url.path, url.port or PORTS.get(url.scheme))
    if found is None:
        return inner
    transport = kind.__new__(kind)
    vars(transport).update(_terms=terms, _plain=found, _inner=inner)
    return transport


def warn_of_bypass() -> None:
    """Makes the clients of the libraries that are loaded warn if a proxy or a mount leads around their governed transport.

    A client sends what its `proxy=` and `mounts=` cover by other transports, so the governed one does not see those requests.
    """
    for name in LIBRARIES & sys.modules.keys() - _warning:
        _warning.add(name)
        for client in (sys.modules[name].Client, sys.modules[name].AsyncClient):
            client.__init__ = _checked(client.__init__)


def _checked(construct: Callable[..., None]) -> Callable[..., None]:
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
