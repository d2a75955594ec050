"""httpx transports that take a permit for each request.

Both run the same loop: take a permit, send, wait, retry. The decisions are in `_operation`.
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

#: The governor decides how many requests are sent, so the pool is large enough not to become a second queue.
LIMITS: Final = httpx.Limits(max_connections=1000, max_keepalive_connections=100)


@final
class GovernedTransport(httpx.BaseTransport):
    """An httpx transport that takes a permit for each request: `httpx.Client(transport=GovernedTransport("openai"))`.

    A request is an operation in the scope `provider:method`. It waits for its permit, and is retried as the settings of the
    scope say, each attempt with a permit of its own. The pool timeout of the request bounds all waiting together (None: no
    bound). Raises a subclass of `PermitDenied`, with reason and `retry_after`, if the first attempt gets no permit. If a later
    attempt gets none, the last answer is returned, or the last error is raised with a note. An answer of more than 64 KiB that
    was to be retried is not kept, and the denial is raised instead.

    Idempotent methods, and others with an `Idempotency-Key` header, are retried after the statuses in the settings, timeouts,
    network errors and answers that break off; only status and type of exception decide. A body from an iterator or a file is
    sent once. An answer that has been returned is not retried, and its outcome is reported when it ends, breaks off or is
    closed. With `extensions={"governor.buffered": True}` the attempt includes the whole body of the answer, so that an answer
    that breaks off is retried; with `"governor.retry": False` the request is sent once.

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
        """Sends one request, with a permit for each attempt."""
        operation = self._terms.begin(request)
        if operation is None:
            return self._inner.handle_request(request)
        while True:
            try:
                permit = operation.governor.acquire_blocking(operation.provider, operation.method, **operation.ask())
            except PermitDenied as denial:
                return operation.denied(denial)
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


@final
class AsyncGovernedTransport(httpx.AsyncBaseTransport):
    """`GovernedTransport` for async programs: `httpx.AsyncClient(transport=AsyncGovernedTransport("openai"))`.

    The governor may run in this event loop, in another one, or on a thread of its own.
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
        """Sends one request, with a permit for each attempt."""
        operation = self._terms.begin(request)
        if operation is None:
            return await self._inner.handle_async_request(request)
        while True:
            try:
                permit = await operation.governor.acquire(operation.provider, operation.method, **operation.ask())
            except PermitDenied as denial:
                return operation.denied(denial)
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


def _watched(request: httpx.Request) -> RequestBody | None:
    """Wraps a body that is read while it is sent; None if it is in memory, and cannot fail."""
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
    """Restores the body of the request, unless it was replaced meanwhile."""
    if body is not None and request.stream is body:
        request.stream = body.stream


def _plan(operation: Operation, question: Question | None) -> None:
    if question is not None:
        operation.planned(operation.governor.plan_retry(**question).delay)


async def _aplan(operation: Operation, question: Question | None, response: httpx.Response | None) -> None:
    if question is None:
        return
    try:
        operation.planned((await operation.governor.aplan_retry(**question)).delay)
    except BaseException:
        # Cancelled with an answer that no code will read: its connection must not stay open.
        if response is not None:
            with anyio.move_on_after(CLOSING, shield=True):
                await response.aclose()
        raise
