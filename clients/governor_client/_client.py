"""`TrafficControlledHttpClient`: an HTTP client for one provider, with blocking calls, async calls and streams."""

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager, suppress
from functools import partial, wraps
from importlib import import_module
from inspect import isawaitable
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Self, Unpack, cast, final

from governor import ConfigError, Governor, Priority
from governor.clock import system_clock
from governor.instrumentation import Hook
from governor.one_use import AsyncOneUse, OneUse
from governor_client import _calls
from governor_client._call import Call
from governor_client._httpx_library import HttpxLibrary, library_of
from governor_client._keys import Key
from governor_client._library_clients import AsyncClients, BlockingClient
from governor_client._options import CallOptions, ClientOptions, request_options
from governor_client._status_error import status_error
from governor_client._terms import Terms
from governor_client._wait import Wait, check_wait

if TYPE_CHECKING:
    import httpx2

#: An event hook of the library: called with a request or a response.
EventHook = Callable[..., object]


@final
class TrafficControlledHttpClient:
    """An HTTP client for one provider, governed, with retries: `get` and so on, `aget` and so on for async code.

    It is used in a `with` or `async with` block, or without one and closed by `close` or `aclose`, by any threads and event
    loops. `timeout` is in seconds, for each phase of an attempt (connect, write, read); None for no bound. `wait` bounds all
    waiting of a call together, for permits and between attempts, over its redirects and rounds of authentication: seconds, None
    for no bound, or "timeout" (the default) for as long as the timeout of the call, 30 seconds at most. With 0, a call that
    would have to wait is denied at once.

    Every call takes the keyword arguments of httpx2 and six more: `wait`; `raise_for_status=False` returns answers of 400 or
    more instead of raising `HTTPStatusError`, and retries only those that say that the request was not processed (429, and 503
    with `Retry-After`); `retry=True` retries all of them; `disable_retry=True` sends once; `caller` is the label of the caller,
    as the header `x-governor-caller`, which is not sent (see `governor.caller`); `priority` goes before that of the client.
    Calls raise a subclass of `PermitDenied` that is a `TransportError` of the library too, with reason and `retry_after`, if
    the permit is denied, and `UsageError` after the client is closed.

    Each request is built and signed after its wait. The answer is read within the attempt, so that an answer that breaks off is
    retried; `stream` and `astream` return it when it begins, and retry only before that. `GovernedTransport` describes what is
    retried, and the arguments `governor`, `govern_loopback`, `ungoverned`, `on_event`, `key` and `priority`. Redirects are
    followed by default, each with a permit of its own.

    All other arguments are those of `httpx2.Client`. Those that differ for async code have a twin: `transport` and
    `async_transport`, `mounts` and `async_mounts`. Event hooks may be plain functions for both. `library` is httpx2, or httpx,
    whose types the answers and errors have then; by default that of the transport, mounts or authentication that is passed, and
    else httpx2. Raises `ConfigError`.
    """

    def __init__(
        self,
        provider: str,
        base_url: "httpx2.URL | str | None" = None,
        timeout: "float | httpx2.Timeout | None" = 30.0,
        *,
        governor: Governor | None = None,
        wait: Wait = "timeout",
        govern_loopback: bool = False,
        ungoverned: Collection[str] = (),
        on_event: Hook | None = None,
        key: Key | None = None,
        priority: Priority = "interactive",
        follow_redirects: bool = True,
        library: ModuleType | None = None,
        transport: "httpx2.BaseTransport | None" = None,
        async_transport: "httpx2.AsyncBaseTransport | None" = None,
        mounts: "Mapping[str, httpx2.BaseTransport | None] | None" = None,
        async_mounts: "Mapping[str, httpx2.AsyncBaseTransport | None] | None" = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        # Validates the arguments now, and not at the first call.
        self._terms = Terms(
            provider,
            governor,
            wait=wait,
            govern_loopback=govern_loopback,
            ungoverned=ungoverned,
            on_event=on_event,
            key=key,
            priority=priority,
            clock=system_clock,
        )
        given = {"transport": transport, "async_transport": async_transport, "timeout": timeout, **options}
        given |= {f"mounts[{pattern!r}]": mount for pattern, mount in {**(mounts or {}), **(async_mounts or {})}.items()}
        if base_url and "://" not in str(base_url):
            raise ConfigError("base_url", str(base_url), "a URL such as 'https://api.github.com', or None")
        self._library = httpx_library = _httpx_library(library, given.values())
        for field, value in given.items():
            httpx_library.reject_foreign(field, value)
        if not options.keys() <= ClientOptions.__annotations__.keys():
            httpx_library.reject_unknown(options)
        self.provider = self._terms.provider
        self.base_url = str(base_url or "")
        self.timeout = timeout
        self._follow_redirects = follow_redirects
        #: Whether calls are sent without authentication and without hooks of the program: see `_calls.send_direct`.
        self._is_direct = not options.get("auth") and not options.get("event_hooks")
        hooks = options.pop("event_hooks", None) or {}
        settings: dict[str, object] = {
            "base_url": base_url or "",
            "timeout": timeout,
            "follow_redirects": follow_redirects,
            "limits": httpx_library.limits,
            **options,
        }
        blocking = {**settings, "transport": transport, "mounts": mounts, "event_hooks": _hooks(hooks)}
        asynchronous = {
            **settings,
            "transport": async_transport,
            "mounts": async_mounts,
            "event_hooks": _async_hooks(hooks),
        }
        self._blocking = BlockingClient(self.provider, partial(httpx_library.client, **blocking))
        self._async = AsyncClients(self.provider, partial(httpx_library.async_client, **asynchronous))

    # Blocking.

    def __enter__(self) -> Self:
        self._blocking.enter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections of the blocking calls. Later ones raise `UsageError`, except in another `with` block."""
        client = self._blocking.leave()
        if client is not None:
            client.close()

    def request(self, method: str, url: "httpx2.URL | str", **options: Unpack[CallOptions]) -> "httpx2.Response":
        """Makes a call and returns the complete answer."""
        client = self._blocking.client()
        begin = partial(self._call, client, method, url, options)
        request = client.build_request(method, url, **(request_options(options) if options else {}))
        if self._is_direct and (not options or _is_direct(options)):
            response = _calls.send_direct(self._library, self._terms, client, request, begin)
        else:
            response = _calls.send(begin(request), client)
        if response.status_code >= 400 and _is_to_raise(response, options):
            raise status_error(self._library, self.provider, response)
        return response

    def get(self, url: "httpx2.URL | str", **options: Unpack[CallOptions]) -> "httpx2.Response":
        """`request` with the method GET."""
        return self.request("GET", url, **options)

    def post(self, url: "httpx2.URL | str", **options: Unpack[CallOptions]) -> "httpx2.Response":
        """`request` with the method POST."""
        return self.request("POST", url, **options)

    def put(self, url: "httpx2.URL | str", **options: Unpack[CallOptions]) -> "httpx2.Response":
        """`request` with the method PUT."""
        return self.request("PUT", url, **options)

    def delete(self, url: "httpx2.URL | str", **options: Unpack[CallOptions]) -> "httpx2.Response":
        """`request` with the method DELETE."""
        return self.request("DELETE", url, **options)

    def patch(self, url: "httpx2.URL | str", **options: Unpack[CallOptions]) -> "httpx2.Response":
        """`request` with the method PATCH."""
        return self.request("PATCH", url, **options)

    def stream(
        self, method: str, url: "httpx2.URL | str", **options: Unpack[CallOptions]
    ) -> "AbstractContextManager[httpx2.Response, bool | None]":
        """Makes a call and returns the answer when it begins: `with client.stream("GET", url) as response:`, once."""
        return OneUse(self._stream(method, url, options), _again("stream", method))

    @contextmanager
    def _stream(self, method: str, url: "httpx2.URL | str", options: CallOptions) -> "Iterator[httpx2.Response]":
        client = self._blocking.client()
        request = client.build_request(method, url, **request_options(options))
        response = _calls.send(self._call(client, method, url, options, request, buffered=False), client)
        try:
            if _is_to_raise(response, options):
                with suppress(self._library.http_error):
                    response.read()  # The error carries the body of the answer.
                raise status_error(self._library, self.provider, response)
            yield response
        finally:
            response.close()

    # Async.

    async def __aenter__(self) -> Self:
        self._async.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections of the async calls. Later ones raise `UsageError`, except in another `async with` block."""
        ending = self._async.leave()
        if ending is not None:
            await ending.aclose()

    async def arequest(self, method: str, url: "httpx2.URL | str", **options: Unpack[CallOptions]) -> "httpx2.Response":
        """Makes a call and returns the complete answer."""
        client = self._async.client()
        begin = partial(self._call, client, method, url, options)
        request = client.build_request(method, url, **(request_options(options) if options else {}))
        if self._is_direct and (not options or _is_direct(options)):
            response = await _calls.asend_direct(self._library, self._terms, client, request, begin)
        else:
            response = await _calls.asend(begin(request), client)
        if response.status_code >= 400 and _is_to_raise(response, options):
            raise status_error(self._library, self.provider, response)
        return response

    async def aget(self, url: "httpx2.URL | str", **options: Unpack[CallOptions]) -> "httpx2.Response":
        """`arequest` with the method GET."""
        return await self.arequest("GET", url, **options)

    async def apost(self, url: "httpx2.URL | str", **options: Unpack[CallOptions]) -> "httpx2.Response":
        """`arequest` with the method POST."""
        return await self.arequest("POST", url, **options)

    async def aput(self, url: "httpx2.URL | str", **options: Unpack[CallOptions]) -> "httpx2.Response":
        """`arequest` with the method PUT."""
        return await self.arequest("PUT", url, **options)

    async def adelete(self, url: "httpx2.URL | str", **options: Unpack[CallOptions]) -> "httpx2.Response":
        """`arequest` with the method DELETE."""
        return await self.arequest("DELETE", url, **options)

    async def apatch(self, url: "httpx2.URL | str", **options: Unpack[CallOptions]) -> "httpx2.Response":
        """`arequest` with the method PATCH."""
        return await self.arequest("PATCH", url, **options)

    def astream(
        self, method: str, url: "httpx2.URL | str", **options: Unpack[CallOptions]
    ) -> "AbstractAsyncContextManager[httpx2.Response, bool | None]":
        """Makes a call and returns the answer when it begins: `async with client.astream("GET", url) as response:`, once."""
        return AsyncOneUse(self._astream(method, url, options), _again("astream", method))

    @asynccontextmanager
    async def _astream(self, method: str, url: "httpx2.URL | str", options: CallOptions) -> "AsyncIterator[httpx2.Response]":
        client = self._async.client()
        request = client.build_request(method, url, **request_options(options))
        response = await _calls.asend(self._call(client, method, url, options, request, buffered=False), client)
        try:
            if _is_to_raise(response, options):
                with suppress(self._library.http_error):
                    await response.aread()  # The error carries the body of the answer.
                raise status_error(self._library, self.provider, response)
            yield response
        finally:
            await response.aclose()

    # Both.

    def _call(
        self,
        client: "httpx2.Client | httpx2.AsyncClient",
        method: str,
        url: "httpx2.URL | str",
        options: CallOptions,
        request: "httpx2.Request",
        *,
        buffered: bool = True,
    ) -> Call:
        call = Call(
            self._library,
            self._terms,
            partial(client.build_request, method, url, **request_options(options)),
            request,
            options.get("follow_redirects", self._follow_redirects),
            options.get("auth", self._library.use_client_default),
            buffered,
            retry=not options.get("disable_retry", False),
            retry_answers=options.get("raise_for_status", True) or options.get("retry", False),
        )
        if "wait" in options:
            call.wait = check_wait(options["wait"])
        return call

    def __repr__(self) -> str:
        return f"<TrafficControlledHttpClient for {self.provider}, {self._blocking.state} and async {self._async.state}>"


def _httpx_library(library: ModuleType | None, given: "Collection[object]") -> HttpxLibrary:
    name = next(filter(None, map(library_of, given)), "httpx2") if library is None else library.__name__
    if name not in ("httpx", "httpx2"):
        raise ConfigError("library", library, "the module httpx2, or the module httpx")
    # Loaded here so that a program with one of the libraries does not load the other.
    return cast("HttpxLibrary", import_module(f"governor_client.{name}").LIBRARY)


def _hooks(hooks: "Mapping[str, list[EventHook]]") -> "dict[str, list[EventHook]]":
    """The hooks of the program, and those that tie permits to requests: next to the wire."""
    return {
        **hooks,
        "request": [*hooks.get("request", ()), _calls.before_request],
        "response": [_calls.after_head, *hooks.get("response", ())],
    }


def _async_hooks(hooks: "Mapping[str, list[EventHook]]") -> "dict[str, list[EventHook]]":
    plain = {name: [_awaited(hook) for hook in each] for name, each in hooks.items()}
    return {
        **plain,
        "request": [*plain.get("request", ()), _calls.abefore_request],
        "response": [_calls.aafter_head, *plain.get("response", ())],
    }


def _awaited(hook: EventHook) -> EventHook:
    @wraps(hook)
    async def awaited(message: object) -> None:
        result = hook(message)
        if isawaitable(result):
            await result

    return awaited


def _again(name: str, method: str) -> str:
    return f"the result of `{name}` was entered before, and makes one call; write `{name}({method!r}, ...)` for each call"


def _is_direct(options: CallOptions) -> bool:
    """Whether these arguments put nothing between the call and its requests, and let it be retried."""
    if "wait" in options:
        check_wait(options["wait"])
    return "auth" not in options and not options.get("disable_retry", False)


def _is_to_raise(response: "httpx2.Response", options: CallOptions) -> bool:
    return 400 <= response.status_code <= 599 and options.get("raise_for_status", True)
