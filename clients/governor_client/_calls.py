"""Calls of the client: a permit for each request, above authentication, redirects and cookies.

A call waits for its permit first, and builds and signs the request afterwards, for each attempt. Permits are tied to the
requests as they leave by the event hooks of the library: a round of authentication is a request of its own.
"""

import math
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, cast, final

import anyio

from governor import PermitDenied
from governor_client._attempt import Attempt, Fault
from governor_client._call import Call
from governor_client._denials import as_error_of
from governor_client._exchange import CLOSING, ago_on, arepeats, arun, go_on, repeats, run
from governor_client._headers import CALLER
from governor_client._httpx_library import HttpxExchange, HttpxLibrary
from governor_client._observed import Observation
from governor_client._operation import Operation
from governor_client._options import CALLER_LABEL
from governor_client._streams import AsyncReportingStream, ReportingStream, TooLong
from governor_client._terms import Terms, Within

if TYPE_CHECKING:
    import httpx2

    from governor_client._httpx_library import Reporting

#: Makes the call of a request: that of a plain request needs none while nothing goes wrong.
Begin = Callable[["httpx2.Request"], Call]

#: The exchange whose request is being sent by this thread or task.
_current: Final[ContextVar["_ClientExchange | None"]] = ContextVar("governor_client_exchange", default=None)


def send(call: Call, client: "httpx2.Client") -> "httpx2.Response":
    """Makes the call and returns the answer when it begins, or when it is complete for a buffered call."""
    return _followed(call, client, _send(call, client))


def send_direct(
    library: HttpxLibrary, terms: Terms, client: "httpx2.Client", request: "httpx2.Request", begin: Begin
) -> "httpx2.Response":
    """Makes a buffered call whose requests nothing comes between: no authentication, and no event hooks of the program.

    A plain request with a permit at hand is sent directly: see `Terms.take`.
    """
    permit = library.take(terms, request) if _current.get() is None else None
    if permit is None:
        return send(begin(request), client)
    try:
        if Terms.any_by_host:
            with Within(terms, request.url.host):
                response = client.send(request, stream=True, follow_redirects=False)
        else:
            response = client.send(request, stream=True, follow_redirects=False)
    except PermitDenied as denial:
        Attempt(permit).unused()
        raise as_error_of(library.transport_error, denial, _request=request) from None
    except BaseException as error:
        answer = _again(begin(request), client, Attempt(permit), error)
        if answer is None:
            raise
        return answer
    status = response.status_code
    if response.next_request is not None or not library.passes(terms, permit, request, response):
        return _go_on(begin(request), client, Attempt(permit), response)
    try:
        response.read()
    except BaseException as error:
        response.close()
        answer = _again(begin(request), client, Attempt(permit, status), error)
        if answer is None:
            raise
        return answer
    permit.record(status=status)
    return response


def _again(call: Call, client: "httpx2.Client", attempt: Attempt, error: BaseException) -> "httpx2.Response | None":
    """The answer to a plain request that is sent again after an error; None if it is not, for the caller to raise the error."""
    operation = call.operation()
    exchange = _Exchange(library=call.library, request=call.request, call=call, operation=operation, client=client)
    return _followed(call, client, run(operation, exchange)) if repeats(operation, exchange, error, attempt) else None


def _go_on(call: Call, client: "httpx2.Client", attempt: Attempt, response: "httpx2.Response") -> "httpx2.Response":
    """The answer to a plain request whose first answer says more than most."""
    operation = call.operation()
    exchange = _Exchange(
        library=call.library, request=call.request, call=call, operation=operation, client=client, attempt=attempt
    )
    exchange.begun(response, call.library.reporting)
    return _followed(call, client, go_on(operation, exchange, attempt, response))


def _followed(call: Call, client: "httpx2.Client", response: "httpx2.Response") -> "httpx2.Response":
    """The answer after the redirects to which this one leads."""
    while True:
        try:
            if not call.redirected(response, client.max_redirects):
                return response
            response.read()
        except BaseException:
            response.close()
            raise
        response = _send(call, client)


def _send(call: Call, client: "httpx2.Client") -> "httpx2.Response":
    """Makes the next request of the call."""
    operation = call.begin()
    exchange = _Exchange(library=call.library, request=call.request, call=call, operation=operation, client=client)
    if operation is not None:
        return run(operation, exchange)
    response = exchange.send(None)
    if call.buffered:
        exchange.read(response, math.inf)
    return response


async def asend(call: Call, client: "httpx2.AsyncClient") -> "httpx2.Response":
    """`send` for a task."""
    return await _afollowed(call, client, await _asend(call, client))


async def asend_direct(
    library: HttpxLibrary, terms: Terms, client: "httpx2.AsyncClient", request: "httpx2.Request", begin: Begin
) -> "httpx2.Response":
    """`send_direct` for a task."""
    permit = library.take(terms, request) if _current.get() is None else None
    if permit is None:
        return await asend(begin(request), client)
    try:
        if Terms.any_by_host:
            with Within(terms, request.url.host):
                response = await client.send(request, stream=True, follow_redirects=False)
        else:
            response = await client.send(request, stream=True, follow_redirects=False)
    except PermitDenied as denial:
        Attempt(permit).unused()
        raise as_error_of(library.transport_error, denial, _request=request) from None
    except BaseException as error:
        answer = await _aagain(begin(request), client, Attempt(permit), error)
        if answer is None:
            raise
        return answer
    status = response.status_code
    if response.next_request is not None or not library.passes(terms, permit, request, response):
        return await _ago_on(begin(request), client, Attempt(permit), response)
    try:
        await response.aread()
    except BaseException as error:
        await _close(response, cut=not isinstance(error, Exception))
        answer = await _aagain(begin(request), client, Attempt(permit, status), error)
        if answer is None:
            raise
        return answer
    permit.record(status=status)
    return response


async def _aagain(call: Call, client: "httpx2.AsyncClient", attempt: Attempt, error: BaseException) -> "httpx2.Response | None":
    operation = call.operation()
    exchange = _AsyncExchange(library=call.library, request=call.request, call=call, operation=operation, client=client)
    if not await arepeats(operation, exchange, error, attempt):
        return None
    return await _afollowed(call, client, await arun(operation, exchange))


async def _ago_on(call: Call, client: "httpx2.AsyncClient", attempt: Attempt, response: "httpx2.Response") -> "httpx2.Response":
    operation = call.operation()
    exchange = _AsyncExchange(
        library=call.library, request=call.request, call=call, operation=operation, client=client, attempt=attempt
    )
    exchange.begun(response, call.library.areporting)
    return await _afollowed(call, client, await ago_on(operation, exchange, attempt, response))


async def _afollowed(call: Call, client: "httpx2.AsyncClient", response: "httpx2.Response") -> "httpx2.Response":
    while True:
        try:
            if not call.redirected(response, client.max_redirects):
                return response
            await response.aread()
        except BaseException:
            await response.aclose()
            raise
        response = await _asend(call, client)


async def _asend(call: Call, client: "httpx2.AsyncClient") -> "httpx2.Response":
    operation = call.begin()
    exchange = _AsyncExchange(library=call.library, request=call.request, call=call, operation=operation, client=client)
    if operation is not None:
        return await arun(operation, exchange)
    response = await exchange.send(None)
    if call.buffered:
        await exchange.read(response, math.inf)
    return response


class _ClientExchange(HttpxExchange, kw_only=True):
    """One request of a call, with its rounds of authentication."""

    call: Call
    operation: "Operation[httpx2.Response] | None"
    #: The attempt whose permit no request has used yet.
    _unused: Attempt | None = None
    #: The attempt of the request that is on its way; None if that needs no permit.
    attempt: Attempt | None = None
    #: The body of the latest answer, while it reports to its attempt.
    reporting: ReportingStream | AsyncReportingStream | None = None

    def _prepare(self, attempt: Attempt) -> None:
        """Makes the request for this attempt: anew if time has passed since the call began."""
        assert self.operation is not None
        self._unused, self.attempt, self.reporting = attempt, None, None
        if self.operation.waited:
            self.request = self.call.build()
            caller = self.operation.request.caller
            if caller is not None:
                self.request.headers.pop(CALLER, None)
                self.request.extensions[CALLER_LABEL] = caller

    def take(self, request: "httpx2.Request") -> "Operation[httpx2.Response] | None":
        """Ties the unused permit to a request that leaves now. Returns the operation that must take another permit for it."""
        self.body = None if isinstance(request.stream, self.library.byte_stream) else self.library.watch(request)
        self.attempt = None
        # Authentication may ask other hosts, for a token for instance.
        if self.operation is None:
            return None
        if request is not self.request and not self.call.terms.governs(request.url.host, request.url.path):
            return None
        self.attempt, self._unused = self._unused, None
        return self.operation if self.attempt is None else None

    def fault(self, error: BaseException) -> Fault:
        if self._unused is not None:
            return Fault(None, unused=True)  # Of authentication or an event hook, before the request was sent.
        answered = self.attempt is not None and self.attempt.status is not None
        if answered and not isinstance(error, self.library.transport_error):
            return Fault(None)  # Of an event hook of the program: the provider has answered.
        return super().fault(error)

    def begun(self, response: "httpx2.Response", reporting: "Reporting") -> None:
        """The answer has begun: lets its body report to the attempt, unless it is complete already."""
        attempt = self.attempt
        if attempt is None:
            return
        assert self.operation is not None
        self.operation.begun(attempt, *self.head(response))
        if response.is_closed:
            attempt.ended(whole=True)
        else:
            self.reporting = response.stream = reporting(response.stream, attempt, self.fault)

    def show(self, response: "httpx2.Response", observation: Observation) -> None:
        if self.reporting is None:
            super().show(response, observation)

    def stream(self, response: "httpx2.Response", attempt: Attempt) -> "httpx2.Response":
        if attempt.observation is not None and self.reporting is None:
            self.show(response, attempt.observation)
            attempt.observation.end(whole=True)
        return response  # Its body reports already.


@final
class _Exchange(_ClientExchange, kw_only=True):
    client: "httpx2.Client"

    def send(self, attempt: Attempt | None) -> "httpx2.Response":
        if attempt is not None:
            self._prepare(attempt)
        token = _current.set(self)
        try:
            return self.client.send(self.request, auth=self.call.auth, stream=True, follow_redirects=False)
        except PermitDenied as denial:
            if attempt is None:
                raise
            raise self.error(denial) from None
        finally:
            _current.reset(token)
            if self._unused is not None:  # No request has used it.
                self._unused.unused()

    def read(self, response: "httpx2.Response", most: float) -> bool:
        if self.reporting is not None:
            self.reporting.most = most
        try:
            response.read()
        except BaseException as error:
            response.close()
            if isinstance(error, TooLong):
                return False
            raise
        return True


@final
class _AsyncExchange(_ClientExchange, kw_only=True):
    client: "httpx2.AsyncClient"

    async def send(self, attempt: Attempt | None) -> "httpx2.Response":
        if attempt is not None:
            self._prepare(attempt)
        token = _current.set(self)
        try:
            return await self.client.send(self.request, auth=self.call.auth, stream=True, follow_redirects=False)
        except PermitDenied as denial:
            if attempt is None:
                raise
            raise self.error(denial) from None
        finally:
            _current.reset(token)
            if self._unused is not None:  # No request has used it.
                self._unused.unused()

    async def read(self, response: "httpx2.Response", most: float) -> bool:
        if self.reporting is not None:
            self.reporting.most = most
        try:
            await response.aread()
        except BaseException as error:
            await self.close(response)
            if isinstance(error, TooLong):
                return False
            raise
        return True

    async def close(self, response: "httpx2.Response") -> None:
        await _close(response)


async def _close(response: "httpx2.Response", *, cut: bool = False) -> None:
    """Closes an answer. `cut` says that its reader was cancelled, and that its body does not close itself regardless."""
    with anyio.move_on_after(CLOSING, shield=True):
        await response.aclose()
        if cut:
            # httpx2 began to close it inside the cancelled scope, where that ends at the first wait, and takes it for closed.
            await cast("httpx2.AsyncByteStream", response.stream).aclose()


def before_request(request: "httpx2.Request") -> None:
    """Event hook of a blocking client: ties a permit to the request."""
    exchange = _current.get()
    operation = None if exchange is None else exchange.take(request)
    if exchange is not None and operation is not None:
        permit = operation.governor.acquire_blocking(operation.provider, request.method, **operation.ask_further())
        exchange.attempt = operation.granted_further(permit)


def after_head(response: "httpx2.Response") -> None:
    """Event hook of a blocking client: lets the body of the answer report to the attempt."""
    exchange = _current.get()
    if exchange is not None:
        exchange.begun(response, exchange.library.reporting)


async def abefore_request(request: "httpx2.Request") -> None:
    """Event hook of an async client: ties a permit to the request."""
    exchange = _current.get()
    operation = None if exchange is None else exchange.take(request)
    if exchange is not None and operation is not None:
        permit = await operation.governor.acquire(operation.provider, request.method, **operation.ask_further())
        exchange.attempt = operation.granted_further(permit)


async def aafter_head(response: "httpx2.Response") -> None:
    """Event hook of an async client: lets the body of the answer report to the attempt."""
    exchange = _current.get()
    if exchange is not None:
        exchange.begun(response, exchange.library.areporting)
