"""Exchanges of aiohttp: requests that a middleware hands on, and calls of a session.

A call of a session goes through its middlewares once for each request that leaves: for redirects, and for rounds of
authentication. `Call` tells them apart.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol, final
from weakref import ref

import msgspec
from aiohttp import (
    ClientError,
    ClientHandlerType,
    ClientOSError,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ServerDisconnectedError,
)
from multidict import CIMultiDict

from governor import Permit, PermitDenied
from governor_client import _aiohttp_answers as answers
from governor_client._aiohttp_bodies import READING_OF_REQUEST, is_repeatable, watch
from governor_client._attempt import Attempt, Fault
from governor_client._denials import DeniedResponse, as_error_of
from governor_client._headers import LazyHeaders
from governor_client._observed import Observation
from governor_client._operation import Operation
from governor_client._request import Request
from governor_client._terms import Terms
from governor_client._wait import WaitBudget

if TYPE_CHECKING:
    from yarl import URL

#: Errors after which aiohttp sends a request with one of these methods once more by itself.
REPEATED: Final = (ClientOSError, ServerDisconnectedError)
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
#: The call that this task makes.
current: Final[ContextVar["Call | None"]] = ContextVar("governor_client_aiohttp", default=None)


def _none() -> None:
    return None


class Called(Protocol):
    """A call of a session whose first request is plain."""

    #: The permit, until a request uses it.
    unused: Permit | None

    async def first(self, request: ClientRequest, handler: ClientHandlerType, /) -> ClientResponse:
        """Sends the first request, with that permit."""
        ...

    def exchange(self) -> "Calling":
        """The exchange of the call, from now on: it needs more than a plain request."""
        ...


@final
class Call(msgspec.Struct, eq=False):
    """One call of the program, as aiohttp makes it: its redirects and rounds of authentication share one wait.

    The requests of a call are known by their timer, which aiohttp makes for each call.
    """

    _owner: object
    _make: Callable[[ClientRequest | None], WaitBudget]
    _budget: WaitBudget | None = None
    _timer: object = None
    # Weak, because the call of a middleware is kept until its task makes another one.
    _request: Callable[[], ClientRequest | None] = _none
    #: The exchange whose attempt is being made.
    attempting: "_Exchange | None" = None
    #: The plain request that is being sent, from which an exchange can be made, with its permit.
    plain: "tuple[Terms, Call, ClientRequest, ClientHandlerType, Permit] | None" = None
    #: The call of a session whose first request is plain, unless it has an exchange.
    called: "Called | None" = None
    #: The error in which the latest request ended, if aiohttp repeats it after that.
    repeated: Exception | None = None
    #: Whether an error has come through other middlewares of the session, where its requests begin.
    interrupted: bool = False

    def budget(self) -> WaitBudget:
        """The wait of the call, the same each time. Most calls never wait, and need none."""
        if self._budget is None:
            self._budget = self._make(self._request())
        return self._budget

    def includes(self, owner: object, request: ClientRequest) -> bool:
        """Whether this request is one of this call."""
        return self._owner is owner and (self._timer is None or self._timer is request._timer)

    def is_round(self, request: ClientRequest) -> bool:
        """Whether this is the request of the attempt, for the first time or again, and not that of a redirect."""
        return self._timer is None or self._request() is request

    def begin(self, request: ClientRequest) -> None:
        """Remembers the latest request."""
        self._timer, self._request, self.repeated = request._timer, ref(request), None

    def ended_in(self, error: Exception, request: ClientRequest) -> None:
        """Remembers an error after which aiohttp repeats the request."""
        if request.method in _IDEMPOTENT:
            self.repeated = error

    def reset(self, attempting: "_Exchange | None") -> None:
        """Begins an attempt that aiohttp makes as a call of its own."""
        self._timer, self._request, self.repeated, self.interrupted = None, _none, None, False
        self.attempting = attempting


class _Exchange(msgspec.Struct, eq=False, kw_only=True):
    """One request that may be sent several times."""

    call: Call
    operation: "Operation[ClientResponse] | None"
    #: Whether this request was answered by a redirect, which has been followed: what comes then is not its outcome.
    redirected: bool = False
    #: The attempt whose permit no request has used yet.
    _unused: Attempt | None = None

    async def forward(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Sends a request of the attempt: the first with its permit, others, such as rounds of authentication, with another."""
        operation, attempt = self.operation, self._unused
        self._unused = None
        if attempt is None:
            url = request.url
            if operation is None or not operation.terms.governs(url.host or "", url.path):
                return await handler(request)
            permit = await operation.governor.acquire(operation.provider, request.method, **operation.ask_further())
            attempt = operation.granted_further(permit)
        if operation is None or not operation.request.repeatable:
            watch(request)
        try:
            response = await handler(request)
        except BaseException as error:
            self.broke(attempt, error, request)
            raise
        self.began(attempt, response)
        return response

    def broke(self, attempt: Attempt, error: BaseException, request: ClientRequest) -> None:
        """A request of the attempt has ended in an error before its answer began."""
        answers.report(attempt, error, request)
        if isinstance(error, REPEATED):
            self.call.ended_in(error, request)

    def began(self, attempt: Attempt, response: ClientResponse) -> None:
        """The answer to a request of the attempt has begun."""
        operation = self.operation
        if operation is None:
            attempt.answered(response.status)
        else:
            operation.begun(attempt, response.status, LazyHeaders(response.headers, tuple(response.headers)))
        answers.follow(response, attempt)

    def head(self, response: ClientResponse) -> tuple[int, LazyHeaders]:
        if self.redirected:
            return 302, LazyHeaders({})
        headers = response.headers
        return response.status, LazyHeaders(headers, tuple(headers))

    def fault(self, error: BaseException) -> Fault:
        if self.redirected:
            return Fault(None)
        fault = answers.fault_of(error)
        known = self._unused is None or fault.failure is not None or fault.undecodable
        return fault if known else Fault(None, unused=True)

    async def read(self, response: ClientResponse, most: float) -> bool:
        if self.operation is not None and self._unused is None:
            self._observe(response, self.operation.attempt)
        return await answers.take_in(response, most)

    def show(self, response: ClientResponse, observation: Observation) -> None:
        if self.operation is not None and self._unused is not None:  # Otherwise it was shown while it was read.
            self._observe(response, self.operation.attempt)

    def stream(self, response: ClientResponse, attempt: Attempt) -> ClientResponse:
        if self._unused is not None:  # Otherwise the answer reports already.
            answers.follow(response, attempt)
        self._observe(response, attempt)
        return response

    def _observe(self, response: ClientResponse, attempt: Attempt) -> None:
        if attempt.observation is not None and not self.redirected:
            answers.observe(response, attempt)

    async def close(self, response: ClientResponse) -> None:
        response.close()

    def mark_final(self, response: ClientResponse) -> None:
        answers.mark_final(response)

    def error(self, denial: PermitDenied) -> Exception:
        return denial if isinstance(denial, ClientError) else as_error_of(ClientError, denial)


@final
class Sending(_Exchange, kw_only=True):
    """A request that a middleware hands on."""

    operation: "Operation[ClientResponse]"
    request: ClientRequest
    handler: ClientHandlerType

    def took(self, attempt: Attempt) -> None:
        """The first attempt is made without the operation, as that of a plain request."""
        self._unused = attempt
        self.operation.made(attempt)

    def report(self, error: BaseException) -> None:
        """The attempt has ended in an error: reports it, unless that was done when a request used the permit."""
        if self._unused is not None:
            answers.report(self._unused, error, self.request)

    async def send(self, attempt: Attempt) -> ClientResponse:
        call, self._unused = self.call, attempt
        outer, call.attempting = call.attempting, self
        try:
            return await self.handler(self.request)
        except PermitDenied as denial:
            raise self.error(denial) from None
        except BaseException as error:
            self.report(error)
            raise
        finally:
            call.attempting = outer

    def fault(self, error: BaseException) -> Fault:
        # The total timeout is that of the whole call, so another attempt would end at once.
        return Fault(None) if answers.is_timed_out(self.request) else super().fault(error)

    def answer(self, denied: DeniedResponse) -> ClientResponse:
        request = self.request
        return answers.synthetic(
            denied, request.method, request.original_url, request.headers, request.response_class, request.session
        )


@final
class Calling(_Exchange, kw_only=True):
    """A call of a session, with its redirects, which are operations of their own."""

    #: Makes the call as the session would do it.
    forward_call: Callable[[], Awaitable[ClientResponse]]
    session: ClientSession
    method: str
    url: "URL | None"
    options: dict[str, Any]

    def took(self, attempt: Attempt, *, unused: bool) -> None:
        """The first attempt is made without the operation, as that of a plain request."""
        self._unused = attempt if unused else None
        if self.operation is not None:
            self.operation.made(attempt)

    async def send(self, attempt: Attempt) -> ClientResponse:
        self._unused = attempt
        self.call.reset(self)
        try:
            return await self.forward_call()
        except PermitDenied as denial:
            raise self.error(denial) from None
        finally:
            self.call.attempting = None

    def fault(self, error: BaseException) -> Fault:
        # A middleware of the program has failed before the request was sent, perhaps in asking another provider for a token.
        own = self._unused is not None and self.call.interrupted
        return Fault(None, unused=True) if own else super().fault(error)

    def answer(self, denied: DeniedResponse) -> ClientResponse:
        session, url = self.session, self.url
        assert url is not None
        headers = CIMultiDict({**session.headers, **CIMultiDict(self.options.get("headers") or {})})
        return answers.synthetic(denied, self.method, url, headers, session._response_class, session)


def describe(
    terms: Terms,
    call: Call,
    request: ClientRequest,
    handler: ClientHandlerType,
    permit: Permit | None = None,
    *,
    caller: str | None = None,
    buffered: bool = False,
) -> Sending:
    """The exchange of a request, with its operation. `permit` is that of the first attempt of a plain request."""
    url, body = request.url, request.body
    repeatable = not body or is_repeatable(body)
    if not repeatable:
        watch(request)
    description = Request(
        request.method,
        url.host or "",
        url.path,
        request.headers,
        repeatable=repeatable,
        buffered=buffered and request.headers.get("upgrade") is None,
        caller=caller,
        original=request,
        reading=READING_OF_REQUEST,
    )
    operation: Operation[ClientResponse] = Operation(terms, description, call.budget)
    exchange = Sending(call=call, operation=operation, request=request, handler=handler)
    if permit is not None:
        exchange.took(Attempt(permit))
    return exchange
