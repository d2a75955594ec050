"""Adapter for aiohttp: a client middleware, and `govern` for sessions, which take a permit for each request.

The extra `aiohttp` installs what is needed: aiohttp 3.12.15 or later.
"""

from collections import ChainMap
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast, final
from weakref import ref

from governor import Governor, Priority, UsageError
from governor.clock import Clock, system_clock
from governor.extras import missing
from governor.instrumentation import Hook
from governor_client._denials import OnRefusal
from governor_client._exchange import arun
from governor_client._headers import CALLER, SDK_RETRY_COUNT, SDK_WITH_KEYS
from governor_client._hosts import TermsOf
from governor_client._keys import Key
from governor_client._operation import Operation
from governor_client._request import Request
from governor_client._server_wait import Headers
from governor_client._terms import Terms
from governor_client._wait import Wait, WaitBudget, longest

try:
    from aiohttp import (
        ClientHandlerType,
        ClientMiddlewareType,
        ClientRequest,
        ClientResponse,
        ClientSession,
        ClientTimeout,
        FormData,
        TraceConfig,
    )
    from multidict import CIMultiDict
except ModuleNotFoundError as error:
    raise missing("aiohttp", error) from None

from governor_client._aiohttp_bodies import READING_OF_CALL, is_repeatable, is_repeatable_call
from governor_client._aiohttp_exchanges import REPEATED, Call, Calling, current, describe
from governor_client._aiohttp_plain import PlainCall, send_plain

if TYPE_CHECKING:
    from yarl import URL

    Send = Callable[..., Awaitable[ClientResponse]]

S = TypeVar("S", bound=ClientSession)


@final
class GovernedMiddleware:
    """A client middleware that takes a permit for each request: `ClientSession(middlewares=(GovernedMiddleware("discord"),))`.

    Each request is an operation in the scope `provider:method`, redirects included. It waits for its permit, and is retried as
    the settings of the scope say, each attempt with a permit of its own. That aiohttp itself repeats a request whose connection
    was closed is switched off. A body from a file, a generator, or a form with files is sent once.

    `wait` bounds all waiting, for permits and between attempts, of a call with its redirects: seconds, None for no bound, or
    "timeout" (the default) for as long as the timeout of the session, 30 seconds at most. With 0, a request that would have to
    wait is denied at once. If the first attempt gets no permit, `on_refusal="raise"` raises a subclass of `PermitDenied` that
    is a `ClientError` too, with reason and `retry_after`; `on_refusal="response"` answers 429, or 503 while the provider is
    unavailable as a whole, with `retry-after` and the reason as JSON. If a later attempt gets none, the last answer is
    returned, or the last error is raised with a note.

    The outcome is reported when the body of the answer ends, breaks off or is closed, and that of a WebSocket when it is
    closed. With `buffered` an attempt includes the whole body, so that an answer that breaks off is retried.

    A middleware works inside a call: aiohttp counts the waits in `ClientTimeout(total=...)`, and middlewares before this one
    sign a request before it waits. Those after it sign each attempt; if they send requests of their own, as
    `DigestAuthMiddleware` does, list the same middleware once more after them. `govern` has none of these limits.

    `key` is called with each request (`governor_client.Request`), and returns its key, such as a model, or None: the scope is
    then `provider/key:method`. `governor_client.model_of` is such a function. Calls with `priority="batch"` wait behind those
    with "interactive".

    The default `governor` is that of the process, looked up with each request. Requests to this machine need no permit unless
    `govern_loopback`, and neither do those to `ungoverned` paths (`/health` covers itself and everything beneath) and hosts.
    `on_event` is called at once, in the task of the request, if a permit took a millisecond or more (`Granted`), when an
    attempt after the first begins (`Retried`), and for a denial (`CallDenied`). `clock` is for tests. Raises `ConfigError`.
    """

    def __init__(
        self,
        provider: str,
        *,
        governor: Governor | None = None,
        wait: Wait = "timeout",
        on_refusal: OnRefusal = "raise",
        buffered: bool = False,
        govern_loopback: bool = False,
        ungoverned: Collection[str] = (),
        on_event: Hook | None = None,
        key: Key | None = None,
        priority: Priority = "interactive",
        clock: Clock = system_clock,
    ) -> None:
        self._terms: TermsOf = Terms(
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
        self._buffered = buffered

    async def __call__(  # noqa: C901 - what nearly every call costs, written out
        self, request: ClientRequest, handler: ClientHandlerType
    ) -> ClientResponse:
        """Sends one request, with a permit for each attempt."""
        headers = request.headers
        caller = headers.pop(CALLER, None)
        call = current.get()
        if call is None or not call.includes(self, request):
            call = Call(self, self._budget_of)
            current.set(call)
        else:
            called = call.called
            if called is not None:
                if called.unused is not None:
                    call.begin(request)
                    return await called.first(request, handler)
                called.exchange()  # A redirect, or another round of authentication.
            if call.is_round(request):
                if call.plain is not None:
                    call.attempting, call.plain = describe(*call.plain), None
                if call.attempting is not None:
                    call.begin(request)
                    return await call.attempting.forward(request, handler)
            elif call.repeated is not None:
                # Not a redirect: aiohttp repeats a request by itself. That is for the governor to decide, and it has.
                error, call.repeated = call.repeated, None
                raise error
        call.begin(request)
        url, attempting, terms_of = request.url, call.attempting, self._terms
        if attempting is None and caller is None and not self._buffered and isinstance(terms_of, Terms):
            permit = None
            if not (
                SDK_RETRY_COUNT in headers or SDK_WITH_KEYS in headers or ((body := request.body) and not is_repeatable(body))
            ):
                permit = terms_of.take(url.host or "", request.method)
            if permit is not None:
                return await send_plain(terms_of, permit, call, request, handler)
        within = None if attempting is None else attempting.operation
        terms = terms_of.of(url.host or "", url.path, url.port, within=within)
        if terms is None:
            return await handler(request)
        if attempting is not None:
            attempting.redirected = True
        exchange = describe(terms, call, request, handler, caller=caller, buffered=self._buffered)
        try:
            return await arun(exchange.operation, exchange)
        except REPEATED as error:
            call.ended_in(error, request)
            raise

    def _budget_of(self, request: ClientRequest | None) -> WaitBudget:
        assert request is not None, "a request that waits is kept"
        return self._terms.budget(..., _longest(request.session.timeout))

    def _around(self, others: Sequence[ClientMiddlewareType]) -> tuple[ClientMiddlewareType, ...]:
        """The middlewares of a governed call with these others: the last one takes the permits."""
        return (_first, *others, self) if others else (self,)

    async def _call(
        self,
        session: ClientSession,
        method: str,
        str_or_url: "URL | str",
        options: dict[str, Any],
        send: "Send | None" = None,
    ) -> ClientResponse:
        """Makes a call of a session, above redirects, authentication and cookies. `send` does it without the governor."""
        check = options.get("raise_for_status")
        if check is None:
            check = session._raise_for_status
        if check:
            options["raise_for_status"] = False
        if options.get("middlewares") is not None:
            options["middlewares"] = self._around(options["middlewares"])
        if isinstance(options.get("data"), FormData):
            options["data"] = options["data"]()  # A form can be read once, and what comes of it again.
        # That of the class, so that it can be replaced, as aioresponses does.
        send, method = send or type(session)._request, method.upper()
        call = Call(self, lambda _: self._terms.budget(..., _longest(_timeout_of(session, options))))
        forward = partial(send, session, method, str_or_url, **options)
        url: URL | None
        try:
            url = session._build_url(str_or_url)
        except (TypeError, ValueError):
            url = None  # aiohttp says what is wrong with it.
        make = partial(self._calling, call, forward, session, method, url, options)
        token = current.set(call)
        try:
            plain = None if url is None else self._plain(call, make, session, method, url, options)
            if plain is not None:
                response = await plain.run(forward)
            elif (calling := make()).operation is None:
                response = await forward()
            else:
                response = await arun(calling.operation, calling)
        finally:
            current.reset(token)
        if check:
            await _check(response, check)
        return response

    def _plain(
        self, call: Call, make: Callable[[], Calling], session: ClientSession, method: str, url: "URL", options: dict[str, Any]
    ) -> PlainCall | None:
        """A call whose first request is plain, if it gets its permit at once: see `Terms.take`."""
        terms = self._terms
        if self._buffered or not isinstance(terms, Terms) or not is_repeatable_call(options):
            return None
        own, host = options.get("headers"), url.host or ""
        if (own and _is_marked(CIMultiDict(own))) or (session.headers and _is_marked(session.headers)):
            return None
        permit = terms.take(host, method)
        return None if permit is None else PlainCall(call, terms, host, permit, make)

    def _calling(
        self,
        call: Call,
        forward: Callable[[], Awaitable[ClientResponse]],
        session: ClientSession,
        method: str,
        url: "URL | None",
        options: dict[str, Any],
    ) -> Calling:
        terms = None if url is None else self._terms.of(url.host or "", url.path, url.port)
        operation: Operation[ClientResponse] | None = None
        if url is not None and terms is not None:
            own: Any = options.get("headers")
            headers = cast("Headers", ChainMap(CIMultiDict(own), session.headers) if own else session.headers)
            description = Request(
                method,
                url.host or "",
                url.path,
                headers,
                repeatable=is_repeatable_call(options),
                buffered=self._buffered and headers.get("upgrade") is None,
                caller=headers.get(CALLER),
                original=(session, url, options),
                reading=READING_OF_CALL,
            )
            operation = Operation(terms, description, call.budget)
        return Calling(
            call=call, operation=operation, forward_call=forward, session=session, method=method, url=url, options=options
        )


async def _first(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """The first middleware of a governed call with others: tells their errors from those of a stub in place of the session."""
    try:
        return await handler(request)
    except BaseException:
        call = current.get()
        if call is not None:
            call.interrupted = True
        raise


def govern(
    session: S,
    provider: str,
    *,
    governor: Governor | None = None,
    wait: Wait = "timeout",
    on_refusal: OnRefusal = "raise",
    buffered: bool = False,
    govern_loopback: bool = False,
    ungoverned: Collection[str] = (),
    on_event: Hook | None = None,
    key: Key | None = None,
    priority: Priority = "interactive",
    clock: Clock = system_clock,
) -> S:
    """Makes a session take a permit for each request, and returns it.

    `session = govern(ClientSession(), "discord")`, or a session that a library has made, with any connector. Everything is as
    with `GovernedMiddleware`, except that waits are above the call: each attempt has the timeouts of the call for itself, its
    cookies and its authentication are those of the moment, and "timeout" is that of the call. `wait_at_most` bounds the wait
    of single calls. Redirects are beneath the call: their waits count in its total timeout.

    It replaces `_request` of the session and adds to its `_middlewares`, which are private to aiohttp and the same in 3.12 to
    3.14. Raises `ConfigError`, and `UsageError` for a session that is governed already.
    """
    if is_governed(session):
        raise UsageError("this session is governed already; make one session for each provider")
    middleware = GovernedMiddleware(
        provider,
        governor=governor,
        wait=wait,
        on_refusal=on_refusal,
        buffered=buffered,
        govern_loopback=govern_loopback,
        ungoverned=ungoverned,
        on_event=on_event,
        key=key,
        priority=priority,
        clock=clock,
    )
    # Weak, because a session in a reference cycle would not warn at once that it was not closed.
    weak = ref(session)

    def request(method: str, str_or_url: "URL | str", **options: Any) -> Awaitable[ClientResponse]:
        governed = weak()
        assert governed is not None
        return middleware._call(governed, method, str_or_url, options)

    # Not by assignment: in development mode aiohttp warns of attributes that it does not know.
    vars(session).update(_request=request, _middlewares=middleware._around(session._middlewares))
    return session


def governing_trace(provider: str, **options: Any) -> TraceConfig:
    """A trace configuration that governs each session it is given to, for libraries that take only that.

    `discord.Client(http_trace=governing_trace("discord"))`. The `options` are those of `govern`. The first call of a session is
    governed as by a middleware.
    """
    GovernedMiddleware(provider, **options)  # Validates the arguments now, and not at the first request.
    config = TraceConfig()

    async def begin(session: ClientSession, context: object, params: object) -> None:
        if not is_governed(session):
            govern(session, provider, **options)

    config.on_request_start.append(begin)
    return config


async def call_by_host(
    terms: TermsOf, send: "Send", session: ClientSession, method: str, str_or_url: "URL | str", **options: Any
) -> ClientResponse:
    """Makes a call of any session, for `instrument`. `send` does it without the governor."""
    own = options.get("middlewares")
    middlewares = session._middlewares if own is None else own
    if any(isinstance(middleware, GovernedMiddleware) for middleware in middlewares):
        return await send(session, method, str_or_url, **options)
    governed = GovernedMiddleware.__new__(GovernedMiddleware)
    governed._terms, governed._buffered = terms, False
    return await governed._call(session, method, str_or_url, {**options, "middlewares": middlewares}, send)


def is_governed(session: ClientSession) -> bool:
    """Whether `govern` has been called with this session, or a governed middleware is among its own."""
    return any(isinstance(middleware, GovernedMiddleware) for middleware in session._middlewares)


def _is_marked(headers: Mapping[str, str]) -> bool:
    """Whether headers say how a call is governed."""
    return CALLER in headers or SDK_RETRY_COUNT in headers or SDK_WITH_KEYS in headers


def _timeout_of(session: ClientSession, options: Mapping[str, Any]) -> ClientTimeout:
    timeout = options.get("timeout", ...)
    if timeout is None or isinstance(timeout, (int, float)):
        return ClientTimeout(total=timeout)
    return timeout if isinstance(timeout, ClientTimeout) else session.timeout


def _longest(timeout: ClientTimeout) -> float | None:
    """The timeout of a call in seconds: `total`, else its longest phase; None if it has no bound. 0 means none in aiohttp."""
    if timeout.total:
        return timeout.total
    return longest((timeout.connect or timeout.sock_connect or None, timeout.sock_read or None))


async def _check(response: ClientResponse, check: Any) -> None:
    """What aiohttp does for `raise_for_status`: a flag, or a coroutine function."""
    try:
        if callable(check):
            await check(response)
        else:
            response.raise_for_status()
    except BaseException:
        response.close()
        raise


__all__ = ["GovernedMiddleware", "govern", "governing_trace", "is_governed"]
