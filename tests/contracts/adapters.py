"""One driver for each adapter: how a program makes a governed client, calls it, and reads a stream.

The drivers of async libraries have coroutine functions for the same steps. `Session` runs either kind, so that one test claims
the same of all. What a library cannot do is in `cannot`, with the reason.
"""

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field
from enum import Enum
from importlib import import_module
from importlib.util import find_spec
from inspect import iscoroutine
from types import ModuleType, TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

from governor import Governor
from governor_client import TrafficControlledHttpClient

T = TypeVar("T")

#: Seconds for whatever does not take that long in a test.
TIMEOUT: Final = 10.0


class Ability(Enum):
    """What some libraries or adapters cannot do."""

    SIGN = "sign each attempt"
    HTTP2 = "speak HTTP/2"
    ANSWER = "answer a denied request"
    ABANDON = "let go of a stream that is left without closing it"


class Answer(NamedTuple):
    """An answer with its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Open(NamedTuple):
    """An answer that is read piece by piece. `pieces` is an iterator of the library; `whole` is what is closed."""

    whole: Any
    pieces: Any


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a program sets when it makes a client."""

    governor: Governor
    provider: str = "provider"
    #: Arguments of the adapter, such as `wait`.
    terms: Mapping[str, Any] = field(default_factory=dict)
    #: Seconds that nothing may come.
    timeout: float = TIMEOUT
    #: Makes the value of the header `authorization`.
    sign: Callable[[], str] | None = None
    proxy: str | None = None
    #: The default trusts no server: loading the usual certificates would take most of the time of a test.
    trusted: ssl.SSLContext = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # noqa: RUF009 - shared by all
    http2: bool = False

    @property
    def adapter(self) -> dict[str, Any]:
        """The arguments of every adapter."""
        return {"governor": self.governor, "govern_loopback": True, **self.terms}


class Driver(ABC):
    """One adapter. A method is a coroutine function where the library is async."""

    #: Whether an attempt of `call` includes the body of the answer, so that one that breaks off is retried.
    buffered = False
    is_async = False

    def __init__(self, name: str, module: str, cannot: Mapping[Ability, str]) -> None:
        self.name = name
        self.module = module
        self.cannot = cannot

    def __str__(self) -> str:
        return self.name

    @property
    def exists(self) -> bool:
        """Whether the adapter and its library are installed."""
        return find_spec(self.module) is not None and find_spec(self.module.rpartition(".")[2]) is not None

    @property
    def adapter(self) -> Any:
        """The module of the adapter."""
        return import_module(self.module)

    @property
    def library(self) -> Any:
        """The module of the library."""
        return import_module(self.module.rpartition(".")[2])

    @property
    @abstractmethod
    def family(self) -> type[Exception]:
        """The type of all errors of the library that a denial belongs to."""

    @abstractmethod
    def make(self, setup: Setup) -> Any:
        """A governed client, as a program makes it. Is called in the event loop of an async library."""

    @abstractmethod
    def call(self, client: Any, method: str, url: str, **options: Any) -> Any:
        """Makes a call, and returns an `Answer`. Options: `headers`, and `content`, which is bytes or an iterator."""

    @abstractmethod
    def begin(self, client: Any, url: str) -> Any:
        """Makes a call with GET, and returns the answer `Open`."""

    @abstractmethod
    def piece(self, answer: Open) -> Any:
        """The next piece of a body; empty at its end."""

    @abstractmethod
    def leave(self, answer: Open) -> Any:
        """Closes an answer before its end."""

    @abstractmethod
    def close(self, client: Any) -> Any:
        """Closes the client."""

    def body(self, *pieces: bytes) -> Iterable[bytes] | AsyncIterator[bytes]:
        """A body that can be read once."""
        return _apieces(pieces) if self.is_async else iter(pieces)


class Session:
    """A client of a driver, and the event loop that an async one needs."""

    def __init__(self, driver: Driver, setup: Setup) -> None:
        self._driver = driver
        self._runner = asyncio.Runner() if driver.is_async else None
        self.governor = setup.governor
        self.client = self.run(lambda: driver.make(setup))

    def run(self, step: Callable[[], Any]) -> Any:
        """The result of a step of the driver; a coroutine runs in the event loop of the session."""
        if self._runner is None:
            return step()

        async def run() -> Any:
            result = step()
            return await result if iscoroutine(result) else result

        return self._runner.run(run(), context=copy_context())

    def call(self, method: str, url: str, **options: Any) -> Answer:
        """Makes a call."""
        answer: Answer = self.run(lambda: self._driver.call(self.client, method, url, **options))
        return answer

    def get(self, url: str, **options: Any) -> Answer:
        """Makes a call with GET."""
        return self.call("GET", url, **options)

    def begin(self, url: str) -> Open:
        """Makes a call and returns when its answer begins."""
        answer: Open = self.run(lambda: self._driver.begin(self.client, url))
        return answer

    def piece(self, answer: Open) -> bytes:
        """The next piece of a body."""
        piece: bytes = self.run(lambda: self._driver.piece(answer))
        return piece

    def drain(self, answer: Open) -> bytes:
        """The rest of a body."""
        return b"".join(iter(lambda: self.piece(answer), b""))

    def leave(self, answer: Open) -> None:
        """Closes an answer before its end."""
        self.run(lambda: self._driver.leave(answer))

    def settle(self) -> None:
        """Lets the event loop do what waits for it."""
        for _ in range(3):
            self.run(lambda: asyncio.sleep(0) if self._driver.is_async else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.run(lambda: self._driver.close(self.client))
        self.settle()
        if self._runner is not None:
            self._runner.close()


async def _apieces(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


# httpx2 and httpx.


def _auth(library: ModuleType, sign: Callable[[], str] | None) -> Any:
    class Signature(library.Auth):  # type: ignore[name-defined,misc] # of either library
        def auth_flow(self, request: Any) -> Iterator[Any]:
            assert sign is not None
            request.headers["authorization"] = sign()
            yield request

    return None if sign is None else Signature()


class _Httpx(Driver):
    @property
    def family(self) -> type[Exception]:
        return self.library.TransportError  # type: ignore[no-any-return] # of either library


class Httpx(_Httpx):
    """A blocking client of httpx2 or httpx with a governed transport."""

    def make(self, setup: Setup) -> Any:
        lib = self.library
        inner = lib.HTTPTransport(proxy=setup.proxy, verify=setup.trusted, http2=setup.http2)
        transport = self.adapter.GovernedTransport(setup.provider, transport=inner, **setup.adapter)
        return lib.Client(
            transport=transport,
            timeout=lib.Timeout(TIMEOUT, read=setup.timeout),
            follow_redirects=True,
            auth=_auth(lib, setup.sign),
        )

    def call(self, client: Any, method: str, url: str, **options: Any) -> Answer:
        response = client.request(method, url, **options)
        return Answer(response.status_code, response.headers, response.content)

    def begin(self, client: Any, url: str) -> Open:
        response = client.send(client.build_request("GET", url), stream=True)
        return Open(response, response.iter_raw())

    def piece(self, answer: Open) -> bytes:
        return next(answer.pieces, b"")

    def leave(self, answer: Open) -> None:
        answer.whole.close()

    def close(self, client: Any) -> None:
        client.close()


class AsyncHttpx(_Httpx):
    """An async client of httpx2 or httpx with a governed transport."""

    is_async = True

    def make(self, setup: Setup) -> Any:
        lib = self.library
        inner = lib.AsyncHTTPTransport(proxy=setup.proxy, verify=setup.trusted, http2=setup.http2)
        transport = self.adapter.AsyncGovernedTransport(setup.provider, transport=inner, **setup.adapter)
        return lib.AsyncClient(
            transport=transport,
            timeout=lib.Timeout(TIMEOUT, read=setup.timeout),
            follow_redirects=True,
            auth=_auth(lib, setup.sign),
        )

    async def call(self, client: Any, method: str, url: str, **options: Any) -> Answer:
        response = await client.request(method, url, **options)
        return Answer(response.status_code, response.headers, response.content)

    async def begin(self, client: Any, url: str) -> Open:
        response = await client.send(client.build_request("GET", url), stream=True)
        return Open(response, response.aiter_raw())

    async def piece(self, answer: Open) -> bytes:
        return await anext(answer.pieces, b"")

    async def leave(self, answer: Open) -> None:
        await answer.whole.aclose()

    async def close(self, client: Any) -> None:
        await client.aclose()


class _Client(_Httpx):
    buffered = True

    def make(self, setup: Setup) -> Any:
        return TrafficControlledHttpClient(
            setup.provider,
            library=self.library,
            timeout=self.library.Timeout(TIMEOUT, read=setup.timeout),
            verify=setup.trusted,
            http2=setup.http2,
            auth=_auth(self.library, setup.sign),
            proxy=setup.proxy,
            **setup.adapter,
        )


class Client(_Client):
    """The blocking calls of `TrafficControlledHttpClient`."""

    def call(self, client: Any, method: str, url: str, **options: Any) -> Answer:
        response = client.request(method, url, raise_for_status=False, retry=True, **options)
        return Answer(response.status_code, response.headers, response.content)

    def begin(self, client: Any, url: str) -> Open:
        block = client.stream("GET", url, raise_for_status=False, retry=True)
        return Open(block, block.__enter__().iter_raw())

    def piece(self, answer: Open) -> bytes:
        return next(answer.pieces, b"")

    def leave(self, answer: Open) -> None:
        answer.whole.__exit__(None, None, None)

    def close(self, client: Any) -> None:
        client.close()


class AsyncClient(_Client):
    """The async calls of `TrafficControlledHttpClient`."""

    is_async = True

    async def call(self, client: Any, method: str, url: str, **options: Any) -> Answer:
        response = await client.arequest(method, url, raise_for_status=False, retry=True, **options)
        return Answer(response.status_code, response.headers, response.content)

    async def begin(self, client: Any, url: str) -> Open:
        block = client.astream("GET", url, raise_for_status=False, retry=True)
        return Open(block, (await block.__aenter__()).aiter_raw())

    async def piece(self, answer: Open) -> bytes:
        return await anext(answer.pieces, b"")

    async def leave(self, answer: Open) -> None:
        await answer.whole.__aexit__(None, None, None)

    async def close(self, client: Any) -> None:
        await client.aclose()


# requests and urllib3.


class Requests(Driver):
    """A session of requests, governed by `govern`."""

    buffered = True

    @property
    def family(self) -> type[Exception]:
        return self.library.RequestException  # type: ignore[no-any-return] # not installed where types are checked

    def make(self, setup: Setup) -> Any:
        session = self.library.Session()
        session.governed_timeout = (TIMEOUT, setup.timeout)
        session.proxies = {"http": setup.proxy} if setup.proxy else {}
        if setup.sign is not None:
            session.auth = _header(setup.sign)
        return self.govern(session, setup)

    def govern(self, session: Any, setup: Setup) -> Any:
        """Governs a session."""
        return self.adapter.govern(session, setup.provider, **setup.adapter)

    def call(self, client: Any, method: str, url: str, *, content: Any = None, **options: Any) -> Answer:
        response = client.request(method, url, data=content, timeout=client.governed_timeout, **options)
        return Answer(response.status_code, response.headers, response.content)

    def begin(self, client: Any, url: str) -> Open:
        response = client.get(url, stream=True, timeout=client.governed_timeout)
        return Open(response, response.iter_content(None))

    def piece(self, answer: Open) -> bytes:
        return next(answer.pieces, b"")

    def leave(self, answer: Open) -> None:
        answer.whole.close()

    def close(self, client: Any) -> None:
        client.close()


class Mounted(Requests):
    """A session of requests with a `GovernedAdapter`."""

    def govern(self, session: Any, setup: Setup) -> Any:
        session.mount("http://", self.adapter.GovernedAdapter(setup.provider, **setup.adapter))
        return session


def _header(sign: Callable[[], str]) -> Callable[[Any], Any]:
    def signed(request: Any) -> Any:
        request.headers["authorization"] = sign()
        return request

    return signed


class Urllib3(Driver):
    """A pool manager of urllib3, governed by `govern`."""

    buffered = True

    @property
    def family(self) -> type[Exception]:
        return self.library.exceptions.HTTPError  # type: ignore[no-any-return] # not installed where types are checked

    def make(self, setup: Setup) -> Any:
        lib = self.library
        timeout = lib.Timeout(connect=TIMEOUT, read=setup.timeout)
        pools = lib.ProxyManager(setup.proxy) if setup.proxy else lib.PoolManager(timeout=timeout)
        return self.adapter.govern(pools, setup.provider, **setup.adapter)

    def call(self, client: Any, method: str, url: str, *, content: Any = None, **options: Any) -> Answer:
        response = client.request(method, url, body=content, **options)
        return Answer(response.status, response.headers, response.data)

    def begin(self, client: Any, url: str) -> Open:
        response = client.request("GET", url, preload_content=False)
        return Open(response, response.stream())

    def piece(self, answer: Open) -> bytes:
        return next(answer.pieces, b"")

    def leave(self, answer: Open) -> None:
        answer.whole.close()

    def close(self, client: Any) -> None:
        client.clear()


# aiohttp.


class Aiohttp(Driver):
    """A session of aiohttp, governed by `govern`."""

    is_async = True

    @property
    def family(self) -> type[Exception]:
        return self.library.ClientError  # type: ignore[no-any-return] # not installed where types are checked

    def make(self, setup: Setup) -> Any:
        return self.adapter.govern(self.session(setup, *self.signing(setup)), setup.provider, **setup.adapter)

    def session(self, setup: Setup, *middlewares: Any) -> Any:
        """A session that is not governed but by these."""
        timeout = self.library.ClientTimeout(total=None, sock_connect=TIMEOUT, sock_read=setup.timeout)
        return self.library.ClientSession(middlewares=middlewares, timeout=timeout, proxy=setup.proxy)

    def signing(self, setup: Setup) -> Iterator[Any]:
        """The middleware that signs, if there is to be one."""

        async def signed(request: Any, handler: Any) -> Any:
            assert setup.sign is not None
            request.headers["authorization"] = setup.sign()
            return await handler(request)

        if setup.sign is not None:
            yield signed

    async def call(self, client: Any, method: str, url: str, *, content: Any = None, **options: Any) -> Answer:
        async with client.request(method, url, data=content, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def begin(self, client: Any, url: str) -> Open:
        response = await client.get(url)
        return Open(response, response.content)

    async def piece(self, answer: Open) -> bytes:
        piece: bytes = await answer.pieces.readany()
        return piece

    async def leave(self, answer: Open) -> None:
        answer.whole.close()

    async def close(self, client: Any) -> None:
        await client.close()


class Middleware(Aiohttp):
    """A session of aiohttp with a `GovernedMiddleware`."""

    def make(self, setup: Setup) -> Any:
        return self.session(setup, self.adapter.GovernedMiddleware(setup.provider, **setup.adapter), *self.signing(setup))


_BENEATH: Final = {Ability.SIGN: "a transport is beneath authentication; TrafficControlledHttpClient is above it"}
_ADAPTER: Final = {Ability.SIGN: "an adapter is beneath authentication; `govern` is above it"}
_UNSIGNED: Final = {Ability.SIGN: "urllib3 has no authentication of its own"}
_RAISES: Final = {Ability.ANSWER: "calls of the client raise; `on_refusal` is for code that does not know the governor"}
_HTTP1: Final = {Ability.HTTP2: "the library speaks HTTP/1.1"}
_KEEPS: Final = _HTTP1 | {Ability.ABANDON: "the event loop keeps an answer of aiohttp until its connection ends or times out"}
_HTTPX2: Final = "governor_client.httpx2"
_HTTPX: Final = "governor_client.httpx"

DRIVERS: Final[tuple[Driver, ...]] = (
    Httpx("httpx2", _HTTPX2, _BENEATH),
    AsyncHttpx("httpx2-async", _HTTPX2, _BENEATH),
    Httpx("httpx", _HTTPX, _BENEATH),
    AsyncHttpx("httpx-async", _HTTPX, _BENEATH),
    Client("client", _HTTPX2, _RAISES),
    AsyncClient("client-async", _HTTPX2, _RAISES),
    Client("client-of-httpx", _HTTPX, _RAISES),
    AsyncClient("client-of-httpx-async", _HTTPX, _RAISES),
    Requests("requests", "governor_client.requests", _HTTP1),
    Mounted("requests-mounted", "governor_client.requests", _ADAPTER | _HTTP1),
    Urllib3("urllib3", "governor_client.urllib3", _UNSIGNED | _HTTP1),
    Aiohttp("aiohttp", "governor_client.aiohttp", _KEEPS),
    Middleware("aiohttp-middleware", "governor_client.aiohttp", _KEEPS),
)
