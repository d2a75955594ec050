"""How does any program built on httpx get its calls governed? By one of these transports.

Both are the same loop: ask for a permit, send, pause, again. What is decided on the way stands in `_operation`.
"""

from collections.abc import Collection
from threading import Event
from types import TracebackType
from typing import Final, Self, final

import anyio
import httpx

from governor import Governor, PermitDenied
from governor.clock import Clock, system_clock
from governor.instrumentation import Hook
from governor_client._operation import Operation, Question, Terms
from governor_client._streams import (
    CLOSING,
    AsyncReportingStream,
    AsyncRequestBody,
    ReportingStream,
    RequestBody,
    async_take_in,
    take_in,
)

#: Who may send is the governor's decision, so the pool is wide enough not to become a second waiting line behind it.
LIMITS: Final = httpx.Limits(max_connections=1000, max_keepalive_connections=100)


@final
class GovernedTransport(httpx.BaseTransport):
    """Every request asks the governor first: `httpx.Client(transport=GovernedTransport("openai"))`.

    A request is an operation in the scope `provider:method`. It waits for its permit, and is tried again as the scope's retry
    policy says, each attempt with a permit of its own. All this waiting together takes no longer than the request's pool
    timeout (None: as long as it takes). Raises a leaf of `PermitDenied`, with reason and `retry_after`, if the first attempt
    gets no permit. If a later one gets none, the last answer is returned, or the last error raised with a note that says so;
    an answer of more than 64 KiB that was to be tried again is not kept, and the refusal is raised instead.

    Tried again are idempotent methods, and others with an `Idempotency-Key` header, after the statuses of the policy and after
    timeouts, network errors and broken answers: decided by status and type of exception alone. A body that comes from an
    iterator or a file is sent once. What has been handed out is not tried again, and its outcome is reported when the answer
    ends, breaks or is closed. With `extensions={"governor.buffered": True}` the whole body of the answer belongs to the
    attempt, so that one that breaks off is tried again as well; with `"governor.retry": False` a request is sent once.

    `governor` is the one of the process if none is given, looked up when a request is made. `transport` does the sending.
    Unless `govern_loopback`, requests to this machine pass without a permit, and so do those to `ungoverned` paths (`/health`
    is itself and everything beneath) and hosts. `on_event` is told at once, in the caller's own task or thread, when a permit
    took a millisecond or more (`Granted`), when an attempt after the first begins (`Retried`), and of a refusal (`CallDenied`):
    for the spans of OpenTelemetry, for instance. `clock` is for tests and simulations. Raises `ConfigError`.
    """

    def __init__(
        self,
        provider: str,
        *,
        governor: Governor | None = None,
        transport: httpx.BaseTransport | None = None,
        govern_loopback: bool = False,
        ungoverned: Collection[str] = (),
        on_event: Hook | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._terms = Terms(
            provider, governor, govern_loopback=govern_loopback, ungoverned=ungoverned, clock=clock, on_event=on_event
        )
        self._inner = httpx.HTTPTransport(limits=LIMITS) if transport is None else transport

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends one request, when the governor allows it and as often as need be."""
        operation = self._terms.begin(request)
        if operation is None:
            return self._inner.handle_request(request)
        while True:
            try:
                permit = operation.governor.acquire_blocking(operation.provider, operation.method, operation.ask())
            except PermitDenied as refusal:
                return operation.refused(refusal)
            attempt = operation.granted(permit)
            body = _watched(request)
            try:
                response = self._inner.handle_request(request)
                assert isinstance(response.stream, httpx.SyncByteStream)
                _plan(operation, operation.answered(attempt, response))
                if most := operation.most(response):
                    operation.kept(attempt, response, whole=take_in(response, response.stream, most))
                else:
                    response.stream = ReportingStream(response.stream, attempt)
            except BaseException as error:
                _plan(operation, operation.failed(attempt, error, ours=body is not None and body.failed))
                if operation.pause is None:
                    raise
            else:
                if operation.pause is None:
                    return response
            finally:
                _unwatched(request, body)
            Event().wait(operation.pause)

    def close(self) -> None:
        """Closes the transport beneath."""
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


@final
class AsyncGovernedTransport(httpx.AsyncBaseTransport):
    """The same for async programs: `httpx.AsyncClient(transport=AsyncGovernedTransport("openai"))`.

    Everything is as in `GovernedTransport`. The governor may run in this event loop, in another one, or on a thread of its own.
    """

    def __init__(
        self,
        provider: str,
        *,
        governor: Governor | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        govern_loopback: bool = False,
        ungoverned: Collection[str] = (),
        on_event: Hook | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._terms = Terms(
            provider, governor, govern_loopback=govern_loopback, ungoverned=ungoverned, clock=clock, on_event=on_event
        )
        self._inner = httpx.AsyncHTTPTransport(limits=LIMITS) if transport is None else transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends one request, when the governor allows it and as often as need be."""
        operation = self._terms.begin(request)
        if operation is None:
            return await self._inner.handle_async_request(request)
        while True:
            try:
                permit = await operation.governor.acquire(operation.provider, operation.method, operation.ask())
            except PermitDenied as refusal:
                return operation.refused(refusal)
            attempt = operation.granted(permit)
            body = _async_watched(request)
            try:
                response = await self._inner.handle_async_request(request)
                assert isinstance(response.stream, httpx.AsyncByteStream)
                await _aplan(operation, operation.answered(attempt, response), response)
                if most := operation.most(response):
                    operation.kept(attempt, response, whole=await async_take_in(response, response.stream, most))
                else:
                    response.stream = AsyncReportingStream(response.stream, attempt)
            except BaseException as error:
                await _aplan(operation, operation.failed(attempt, error, ours=body is not None and body.failed), None)
                if operation.pause is None:
                    raise
            else:
                if operation.pause is None:
                    return response
            finally:
                _unwatched(request, body)
            await anyio.sleep(operation.pause)

    async def aclose(self) -> None:
        """Closes the transport beneath."""
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


def _watched(request: httpx.Request) -> RequestBody | None:
    """Puts a watch on a body that is read while it is sent; None if it is in memory, and cannot fail."""
    stream = request.stream
    if isinstance(stream, httpx.ByteStream) or not isinstance(stream, httpx.SyncByteStream):
        return None
    request.stream = body = RequestBody(stream)
    return body


def _async_watched(request: httpx.Request) -> AsyncRequestBody | None:
    stream = request.stream
    if isinstance(stream, httpx.ByteStream) or not isinstance(stream, httpx.AsyncByteStream):
        return None
    request.stream = body = AsyncRequestBody(stream)
    return body


def _unwatched(request: httpx.Request, body: RequestBody | AsyncRequestBody | None) -> None:
    """The request has been sent, or not, and is again as it was, unless it has got another body meanwhile."""
    if body is not None and request.stream is body:
        request.stream = body.stream


def _plan(operation: Operation, question: Question | None) -> None:
    if question is not None:
        operation.planned(operation.governor.plan_retry(**question))


async def _aplan(operation: Operation, question: Question | None, response: httpx.Response | None) -> None:
    if question is None:
        return
    try:
        operation.planned(await operation.governor.aplan_retry(**question))
    except BaseException:
        # Cancelled with an answer in hand that nobody will read: its connection must not stay open.
        if response is not None:
            with anyio.move_on_after(CLOSING, shield=True):
                await response.aclose()
        raise
