"""Calls of the client: a permit for each request, above authentication, redirects and cookies.

A call waits for its permit first, and builds and signs the request afterwards, for each attempt. Permits are tied to the
requests as they leave by the event hooks of the library: a round of authentication is a request of its own.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, final

import anyio

from governor import PermitDenied
from governor_client._attempt import Attempt
from governor_client._exchange import CLOSING, arun, run
from governor_client._headers import CALLER
from governor_client._hint_bodies import GRAPHQL, begin
from governor_client._httpx_kit import PORTS, HttpxExchange, Kit, timeout_of
from governor_client._observed import Observation
from governor_client._operation import Operation, Terms
from governor_client._options import CALLER_LABEL
from governor_client._streams import AsyncReportingStream, ReportingStream, TooLong
from governor_client._wait import WaitBudget, check_wait

if TYPE_CHECKING:
    import httpx2

#: The exchange whose request is being sent by this thread or task.
_current: Final[ContextVar["_ClientExchange | None"]] = ContextVar("governor_client_exchange", default=None)


@final
class Call:
    """One call of the program: its redirects, authentication and retries share one wait.

    `build` makes the request, with the cookies of the moment.
    """

    def __init__(
        self,
        kit: Kit,
        terms: Terms,
        build: "Callable[[], httpx2.Request]",
        *,
        auth: Any,
        follow_redirects: bool,
        wait: object,
        retry: bool,
        retry_answers: bool,
        buffered: bool,
    ) -> None:
        self.kit = kit
        self.terms = terms
        self.build = build
        self.auth = auth
        self.follow_redirects = follow_redirects
        self.retry = retry
        self.retry_answers = retry_answers
        self.buffered = buffered
        self.request = build()
        self.history: list[httpx2.Response] = []
        self._made: WaitBudget | None = None
        self._wait = wait
        if wait is not ...:
            check_wait(wait)

    def begin(self) -> "Operation[httpx2.Response] | None":
        """The operation for the next request of this call; None if it is not governed."""
        url = self.request.url
        host, path = url.host, url.path
        if self.terms.of(host, path) is None:
            return None
        description = self.kit.request_of(
            self.request, host, path, retry=self.retry, retry_answers=self.retry_answers, buffered=self.buffered
        )
        return Operation(self.terms, description, self._budget)

    def _budget(self) -> WaitBudget:
        if self._made is None:
            self._made = self.terms.budget(self._wait, timeout_of(self.request))
        return self._made

    def redirected(self, response: "httpx2.Response", max_redirects: int) -> bool:
        """Whether the call goes on with a redirect. Raises `TooManyRedirects` of the library."""
        response.history = [*self.history, *response.history]
        request = response.next_request if self.follow_redirects else None
        if request is None:
            return False
        if len(self.history) >= max_redirects:
            raise self.kit.too_many_redirects("Exceeded maximum allowed redirects.", request=request)
        # As the library does it, credentials stay with the origin, and with its upgrade to https.
        if not _same_origin(self.request.url, request.url):
            self.auth = None
        self.request = request
        self.build = lambda: request
        self.history.append(response)
        return True


def send(call: Call, client: "httpx2.Client") -> "httpx2.Response":
    """Makes the call and returns the answer when it begins, or when it is complete for a buffered call."""
    while True:
        operation = call.begin()
        exchange = _Exchange(kit=call.kit, request=call.request, call=call, operation=operation, client=client)
        response = exchange.send(None) if operation is None else run(operation, exchange)
        try:
            if not call.redirected(response, client.max_redirects):
                if call.buffered and operation is None:  # Otherwise it has been read within the attempt.
                    response.read()
                return response
            response.read()
        except BaseException:
            response.close()
            raise


async def asend(call: Call, client: "httpx2.AsyncClient") -> "httpx2.Response":
    """`send` for a task."""
    while True:
        operation = call.begin()
        exchange = _AsyncExchange(kit=call.kit, request=call.request, call=call, operation=operation, client=client)
        response = await exchange.send(None) if operation is None else await arun(operation, exchange)
        try:
            if not call.redirected(response, client.max_redirects):
                if call.buffered and operation is None:  # Otherwise it has been read within the attempt.
                    await response.aread()
                return response
            await response.aread()
        except BaseException:
            await response.aclose()
            raise


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
        self.body = None if isinstance(request.stream, self.kit.byte_stream) else self.kit.watch(request)
        self.attempt = None
        # Authentication may ask other hosts, for a token for instance.
        if self.operation is None:
            return None
        if request is not self.request and not self.call.terms.governs(request.url.host, request.url.path):
            return None
        self.attempt, self._unused = self._unused, None
        return self.operation if self.attempt is None else None

    def begun(self, response: "httpx2.Response") -> Attempt | None:
        """The answer has begun. Returns the attempt to which its body is to report, if it is not complete already."""
        attempt = self.attempt
        if attempt is None:
            return None
        operation, status = self.operation, response.status_code
        assert operation is not None
        if status < 400 and not operation.observing and GRAPHQL not in operation.request.path and attempt.status is None:
            # As nearly always: `begin`, without its calls.
            attempt.status = status
            attempt.permit.answered(status=status)
        else:
            begin(operation, attempt, status, lambda: self.head(response)[1])
        if not response.is_closed:
            return attempt
        attempt.ended(whole=True)
        return None

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
        with anyio.move_on_after(CLOSING, shield=True):
            await response.aclose()


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
    attempt = None if exchange is None else exchange.begun(response)
    if exchange is not None and attempt is not None:
        exchange.reporting = response.stream = exchange.kit.reporting(response.stream, attempt, exchange.fault)


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
    attempt = None if exchange is None else exchange.begun(response)
    if exchange is not None and attempt is not None:
        exchange.reporting = response.stream = exchange.kit.areporting(response.stream, attempt, exchange.fault)


def _same_origin(url: "httpx2.URL", other: "httpx2.URL") -> bool:
    """Whether credentials for one URL may be sent to the other: the same origin, or its upgrade to https on default ports."""
    if url.host != other.host:
        return False
    origin, target = ((each.scheme, each.port or PORTS.get(each.scheme)) for each in (url, other))
    return origin == target or (origin == ("http", 80) and target == ("https", 443))
