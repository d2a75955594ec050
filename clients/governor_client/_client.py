"""`TrafficControlledHttpClient`: an HTTP client for one provider, with blocking calls, async calls and streams."""

from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypedDict, Unpack, final

import httpx

from governor import Governor, UsageError
from governor.clock import system_clock
from governor.instrumentation import Hook
from governor.one_use import AsyncOneUse, OneUse
from governor_client._operation import Terms, longest_wait
from governor_client._options import CallOptions, for_httpx
from governor_client._transport import AsyncGovernedTransport, GovernedTransport

if TYPE_CHECKING:
    from httpx._types import AuthTypes, HeaderTypes


class _Governing(TypedDict):
    provider: str
    governor: Governor | None
    govern_loopback: bool
    ungoverned: tuple[str, ...]
    on_event: Hook | None


class _Settings(TypedDict):
    base_url: httpx.URL | str
    timeout: float | httpx.Timeout | None
    headers: "HeaderTypes | None"
    auth: "AuthTypes | None"
    follow_redirects: bool


@final
class TrafficControlledHttpClient:
    """An HTTP client for one provider, governed, with retries: `with` for `get` and so on, `async with` for `aget` and so on.

    `timeout` is in seconds, for each phase of an attempt (connect, write, read) and for all waiting of an operation together,
    for permits and between attempts; None waits without a bound. Every call takes the keyword arguments of httpx and two more:
    `raise_for_status=False` returns answers of 400 or more instead of raising `httpx.HTTPStatusError`, and `disable_retry=True`
    sends once. Calls raise a subclass of `PermitDenied`, with reason and `retry_after`, if the permit is denied, and
    `UsageError` outside their block.

    The answer is read within the attempt, so that an answer that breaks off is retried; `stream` and `astream` return it when
    it begins, and retry only before that. `GovernedTransport` describes what is retried, and the arguments `governor`,
    `govern_loopback`, `ungoverned` and `on_event`. Redirects are followed by default, each with a permit of its own.
    `transport` and `async_transport` send the requests; pass one for a proxy or custom certificates, because proxies from the
    environment are not used. Raises `ConfigError`.
    """

    def __init__(
        self,
        provider: str,
        base_url: httpx.URL | str | None = None,
        timeout: float | httpx.Timeout | None = 30.0,
        *,
        governor: Governor | None = None,
        govern_loopback: bool = False,
        ungoverned: Collection[str] = (),
        on_event: Hook | None = None,
        headers: "HeaderTypes | None" = None,
        auth: "AuthTypes | None" = None,
        follow_redirects: bool = True,
        transport: httpx.BaseTransport | None = None,
        async_transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        # Validates the arguments now, and not at the first call.
        Terms(provider, governor, govern_loopback=govern_loopback, ungoverned=ungoverned, clock=system_clock, on_event=on_event)
        longest_wait(httpx.Timeout(timeout).pool)
        self._govern: _Governing = {
            "provider": provider,
            "governor": governor,
            "govern_loopback": govern_loopback,
            "ungoverned": tuple(ungoverned),
            "on_event": on_event,
        }
        self._settings: _Settings = {
            "base_url": base_url or "",
            "timeout": timeout,
            "headers": headers,
            "auth": auth,
            "follow_redirects": follow_redirects,
        }
        self._transport = transport
        self._async_transport = async_transport
        self._blocking: httpx.Client | None = None
        self._async: httpx.AsyncClient | None = None
        #: Whether the `with` or `async with` block is entered, or being entered: creating a client takes a while.
        self._in_with = False
        self._in_async_with = False

    # Blocking.

    def __enter__(self) -> Self:
        if self._in_with:
            raise UsageError(f"the client for {self._govern['provider']} is in a `with` block already; create another one")
        self._in_with = True
        try:
            transport = GovernedTransport(**self._govern, transport=self._transport)
            client = httpx.Client(**self._settings, transport=transport)
            client.__enter__()
        except BaseException:
            self._in_with = False
            raise
        self._blocking = client
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        client, self._blocking = self._blocking, None
        if client is not None:
            try:
                client.__exit__(kind, error, traceback)
            finally:
                self._in_with = False

    def request(self, method: str, url: httpx.URL | str, **options: Unpack[CallOptions]) -> httpx.Response:
        """Makes a call and returns the complete answer."""
        response = self._entered().request(method, url, **for_httpx(options, buffered=True))
        if _is_to_raise(response, options):
            raise _status_error(response)
        return response

    def get(self, url: httpx.URL | str, **options: Unpack[CallOptions]) -> httpx.Response:
        """`request` with the method GET."""
        return self.request("GET", url, **options)

    def post(self, url: httpx.URL | str, **options: Unpack[CallOptions]) -> httpx.Response:
        """`request` with the method POST."""
        return self.request("POST", url, **options)

    def put(self, url: httpx.URL | str, **options: Unpack[CallOptions]) -> httpx.Response:
        """`request` with the method PUT."""
        return self.request("PUT", url, **options)

    def delete(self, url: httpx.URL | str, **options: Unpack[CallOptions]) -> httpx.Response:
        """`request` with the method DELETE."""
        return self.request("DELETE", url, **options)

    def patch(self, url: httpx.URL | str, **options: Unpack[CallOptions]) -> httpx.Response:
        """`request` with the method PATCH."""
        return self.request("PATCH", url, **options)

    def stream(
        self, method: str, url: httpx.URL | str, **options: Unpack[CallOptions]
    ) -> AbstractContextManager[httpx.Response, bool | None]:
        """Makes a call and returns the answer when it begins: `with client.stream("GET", url) as response:`, once."""
        return OneUse(self._stream(method, url, options), _again("stream", method))

    @contextmanager
    def _stream(self, method: str, url: httpx.URL | str, options: CallOptions) -> Iterator[httpx.Response]:
        with self._entered().stream(method, url, **for_httpx(options, buffered=False)) as response:
            if _is_to_raise(response, options):
                with suppress(httpx.HTTPError):
                    response.read()  # The error carries the body of the answer.
                raise _status_error(response)
            yield response

    # Async.

    async def __aenter__(self) -> Self:
        if self._in_async_with:
            raise UsageError(
                f"the client for {self._govern['provider']} is in an `async with` block already; create another one"
            )
        self._in_async_with = True
        try:
            transport = AsyncGovernedTransport(**self._govern, transport=self._async_transport)
            client = httpx.AsyncClient(**self._settings, transport=transport)
            await client.__aenter__()
        except BaseException:
            self._in_async_with = False
            raise
        self._async = client
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        client, self._async = self._async, None
        if client is not None:
            try:
                await client.__aexit__(kind, error, traceback)
            finally:
                self._in_async_with = False

    async def arequest(self, method: str, url: httpx.URL | str, **options: Unpack[CallOptions]) -> httpx.Response:
        """Makes a call and returns the complete answer."""
        response = await self._aentered().request(method, url, **for_httpx(options, buffered=True))
        if _is_to_raise(response, options):
            raise _status_error(response)
        return response

    async def aget(self, url: httpx.URL | str, **options: Unpack[CallOptions]) -> httpx.Response:
        """`arequest` with the method GET."""
        return await self.arequest("GET", url, **options)

    async def apost(self, url: httpx.URL | str, **options: Unpack[CallOptions]) -> httpx.Response:
        """`arequest` with the method POST."""
        return await self.arequest("POST", url, **options)

    async def aput(self, url: httpx.URL | str, **options: Unpack[CallOptions]) -> httpx.Response:
        """`arequest` with the method PUT."""
        return await self.arequest("PUT", url, **options)

    async def adelete(self, url: httpx.URL | str, **options: Unpack[CallOptions]) -> httpx.Response:
        """`arequest` with the method DELETE."""
        return await self.arequest("DELETE", url, **options)

    async def apatch(self, url: httpx.URL | str, **options: Unpack[CallOptions]) -> httpx.Response:
        """`arequest` with the method PATCH."""
        return await self.arequest("PATCH", url, **options)

    def astream(
        self, method: str, url: httpx.URL | str, **options: Unpack[CallOptions]
    ) -> AbstractAsyncContextManager[httpx.Response, bool | None]:
        """Makes a call and returns the answer when it begins: `async with client.astream("GET", url) as response:`, once."""
        return AsyncOneUse(self._astream(method, url, options), _again("astream", method))

    @asynccontextmanager
    async def _astream(self, method: str, url: httpx.URL | str, options: CallOptions) -> AsyncIterator[httpx.Response]:
        async with self._aentered().stream(method, url, **for_httpx(options, buffered=False)) as response:
            if _is_to_raise(response, options):
                with suppress(httpx.HTTPError):
                    await response.aread()  # The error carries the body of the answer.
                raise _status_error(response)
            yield response

    # Both.

    def _entered(self) -> httpx.Client:
        if self._blocking is None:
            raise UsageError(
                f"the client for {self._govern['provider']} is not in a `with` block: request, get, post, put, delete, patch "
                "and stream need one; inside `async with` call arequest, aget, apost, aput, adelete, apatch and astream"
            )
        return self._blocking

    def _aentered(self) -> httpx.AsyncClient:
        if self._async is None:
            raise UsageError(
                f"the client for {self._govern['provider']} is not in an `async with` block: arequest, aget, apost, aput, "
                "adelete, apatch and astream need one; inside `with` call request, get, post, put, delete, patch and stream"
            )
        return self._async

    def __repr__(self) -> str:
        uses = [name for name, half in (("with", self._blocking), ("async with", self._async)) if half is not None]
        return f"<TrafficControlledHttpClient for {self._govern['provider']}, {' and '.join(uses) or 'not entered'}>"


def _again(name: str, method: str) -> str:
    return f"the result of `{name}` was entered before, and makes one call; write `{name}({method!r}, ...)` for each call"


def _is_to_raise(response: httpx.Response, options: CallOptions) -> bool:
    return response.is_error and options.get("raise_for_status", True)


def _status_error(response: httpx.Response) -> httpx.HTTPStatusError:
    """The error of httpx with another message: that of httpx has the whole URL, and its path and query may be private."""
    request, status = response.request, response.status_code
    where = f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"
    words = f"{request.method} to {where} was answered {status} {httpx.codes.get_reason_phrase(status)}"
    return httpx.HTTPStatusError(words.rstrip(), request=request, response=response)
