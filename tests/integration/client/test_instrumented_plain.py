"""In an instrumented process, a plain request with a permit at hand takes that one, through however many governed libraries."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from contextvars import Context, copy_context
from functools import partial
from typing import Any

import aiohttp
import httpx2
import pytest
import requests
import urllib3

import governor_client.aiohttp
import governor_client.requests
import governor_client.urllib3
from governor import Governor
from governor_client import GovernedTransport, TrafficControlledHttpClient, instrument
from tests.support.governors import actor_of
from tests.support.leases import PLENTY, ahead, governed
from tests.support.provider import loopback_provider, status

pytestmark = pytest.mark.promise("R52", "R56")

Get = Callable[[str], object]


@pytest.fixture
def governor() -> Iterator[Governor]:
    """One whose permits for GET are at hand, in a process that it governs, with this machine as the provider."""
    with (
        governed(PLENTY) as governor,
        instrument({"127.0.0.1": "weather"}, governor=governor),
        ahead(governor, "weather", method="GET"),
    ):
        yield governor


@pytest.fixture
def url() -> Iterator[str]:
    with loopback_provider() as provider:
        yield provider.at("/", status(200, b"rain"))


def permits(governor: Governor) -> int:
    """The permits that are granted ahead."""
    return len(actor_of(governor, "weather", "GET").leasing.holder)


class Through(httpx2.BaseTransport):
    """Sends with another library."""

    def __init__(self, get: Get) -> None:
        self.get = get
        #: The context of each request while it is being sent.
        self.contexts: list[Context] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.contexts.append(copy_context())
        self.get(str(request.url))
        return httpx2.Response(200, stream=httpx2.ByteStream(b"rain"))


class Opened:
    """Clients and sessions of a test, which are closed in the end."""

    def __init__(self, governor: Governor, stack: ExitStack) -> None:
        self._ours: dict[str, Any] = {"governor": governor, "govern_loopback": True}
        self._stack = stack

    def of_httpx2(self, transport: httpx2.BaseTransport | None = None) -> Get:
        return self._stack.enter_context(httpx2.Client(transport=transport)).get

    def of_requests(self) -> Get:
        return self._stack.enter_context(requests.Session()).get

    def of_urllib3(self) -> Get:
        return partial(self._stack.enter_context(urllib3.PoolManager()).request, "GET")

    def adapter(self) -> Get:
        session = self._stack.enter_context(requests.Session())
        session.mount("http://", governor_client.requests.GovernedAdapter("weather", **self._ours))
        return session.get

    def manager(self) -> Get:
        manager = governor_client.urllib3.GovernedPoolManager("weather", **self._ours)
        return partial(self._stack.enter_context(manager).request, "GET")

    def transport(self, inner: httpx2.BaseTransport) -> Get:
        return self.of_httpx2(GovernedTransport("weather", transport=inner, **self._ours))

    def client(self, inner: httpx2.BaseTransport) -> Get:
        client = TrafficControlledHttpClient("weather", transport=inner, **self._ours)
        return self._stack.enter_context(client).get


@pytest.fixture
def opened(governor: Governor) -> Iterator[Opened]:
    with ExitStack() as stack:
        yield Opened(governor, stack)


WAYS: dict[str, Callable[[Opened], Get]] = {
    "httpx2": lambda opened: opened.of_httpx2(),
    "requests": lambda opened: opened.of_requests(),
    "urllib3": lambda opened: opened.of_urllib3(),
    "an adapter of its own": lambda opened: opened.adapter(),
    "a manager of its own": lambda opened: opened.manager(),
    "httpx2 over requests": lambda opened: opened.of_httpx2(Through(opened.of_requests())),
    "httpx2 over an adapter of its own": lambda opened: opened.of_httpx2(Through(opened.adapter())),
    "a transport of its own over requests": lambda opened: opened.transport(Through(opened.of_requests())),
    "a client over urllib3": lambda opened: opened.client(Through(opened.of_urllib3())),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_request_takes_one_permit(governor: Governor, opened: Opened, url: str, way: str) -> None:
    get = WAYS[way](opened)
    before = permits(governor)
    get(url)

    assert before - 1 == permits(governor)


@pytest.mark.parametrize("whole", [False, True])
def test_a_request_that_a_middleware_sends_to_the_same_host_is_part_of_it(governor: Governor, url: str, *, whole: bool) -> None:
    async def also(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        async with httpx2.AsyncClient() as client:
            await client.get(url)
        return await handler(request)

    async def main() -> None:
        ours = governor_client.aiohttp.GovernedMiddleware("weather", governor=governor, govern_loopback=True)
        async with aiohttp.ClientSession(middlewares=(also,) if whole else (ours, also)) as session:
            if whole:
                governor_client.aiohttp.govern(session, "weather", governor=governor, govern_loopback=True)
            async with session.get(url) as response:
                await response.read()

    before = permits(governor)
    asyncio.run(main())

    assert before - 1 == permits(governor)


def test_what_was_begun_while_a_request_was_sent_takes_permits_after_that(governor: Governor, opened: Opened, url: str) -> None:
    """Tasks of a connection pool, for instance, keep the context of the request that began them."""
    get = opened.of_requests()
    transport = Through(get)
    opened.of_httpx2(transport)(url)
    before = permits(governor)
    transport.contexts[0].run(get, url)

    assert before - 1 == permits(governor)
