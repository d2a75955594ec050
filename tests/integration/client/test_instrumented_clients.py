"""No client, session or pool of an instrumented process bypasses the governor, and none takes two permits."""

import asyncio
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import httpx2
import pytest
import requests
import requests.adapters
import urllib3
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

import governor_client.aiohttp
import governor_client.httpx
import governor_client.httpx2
import governor_client.requests
import governor_client.urllib3
from governor import Governor
from governor_client import AsyncGovernedTransport, GovernedTransport, TrafficControlledHttpClient, instrument
from tests.support.http_calls import CALLS, httpx_async_call, httpx_call, permits
from tests.support.provider import Provider

if TYPE_CHECKING:
    from tests.integration.client.conftest import Site

HOSTS = {"127.0.0.1": "mapped"}
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
URL = "http://api.example/"


@pytest.fixture(params=[httpx2, httpx], ids=["httpx2", "httpx"])
def library(request: pytest.FixtureRequest) -> ModuleType:
    found: ModuleType = request.param
    return found


@pytest.mark.promise("R56")
@pytest.mark.parametrize("way", ["proxy", "mount", "environment", "transport", "transport of another kind"])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["blocking", "async"])
def test_no_way_out_of_a_client_bypasses_it(
    way: str,
    asynchronous: bool,
    library: ModuleType,
    break_off: Callable[..., Provider],
    background: Governor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = break_off(OK)
    transport = getattr(library, "AsyncHTTPTransport" if asynchronous else "HTTPTransport")

    class Other(getattr(library, "AsyncBaseTransport" if asynchronous else "BaseTransport")):  # type: ignore[misc] # either
        def __init__(self) -> None:
            self._inner = transport(proxy=server.url)

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

        def handle_request(self, request: Any) -> Any:
            return self._inner.handle_request(request)

        def handle_async_request(self, request: Any) -> Any:
            return self._inner.handle_async_request(request)

    ways: dict[str, dict[str, object]] = {
        "proxy": {"proxy": server.url},
        "mount": {"mounts": {"http://api.example": transport(proxy=server.url)}},
        "environment": {},
        "transport": {"transport": transport(proxy=server.url)},
        "transport of another kind": {"transport": Other()},
    }
    if way == "environment":
        monkeypatch.setenv("HTTP_PROXY", server.url)
    call = httpx_async_call(library) if asynchronous else httpx_call(library)

    with instrument({"api.example": "w"}, governor=background):
        status = call("http://api.example/", **ways[way])

    assert (200, 1, {"w:get": 1}) == (status, len(server.requests), permits(background))


@pytest.mark.promise("R56")
@pytest.mark.parametrize(
    "way",
    ["requests", "requests, environment", "urllib3", "urllib3, pool", "urllib3, pools of an SDK", "aiohttp", "aiohttp, base"],
)
def test_no_session_or_pool_bypasses_it(
    way: str, break_off: Callable[..., Provider], background: Governor, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = break_off(OK)

    async def aiohttp_get(url: str, base: str | None = None, **options: Any) -> int:
        async with aiohttp.ClientSession(base) as session, session.get(url, **options) as response:
            return response.status

    def environment() -> int:
        monkeypatch.setenv("HTTP_PROXY", server.url)
        return requests.get("http://api.example/", timeout=30).status_code

    def pools_of_an_sdk() -> int:
        class Pool(urllib3.HTTPConnectionPool):
            pass

        manager = urllib3.ProxyManager(server.url)
        manager.pool_classes_by_scheme = {"http": Pool}  # As botocore does it.
        return manager.connection_from_url("http://api.example").urlopen("GET", URL, assert_same_host=False).status

    ways: dict[str, Callable[[], int]] = {
        "requests": lambda: requests.get("http://api.example/", proxies={"http": server.url}, timeout=30).status_code,
        "requests, environment": environment,
        "urllib3": lambda: urllib3.ProxyManager(server.url).request("GET", "http://api.example/").status,
        "urllib3, pool": lambda: urllib3.HTTPConnectionPool("127.0.0.1", server.port).request("GET", "/").status,
        "urllib3, pools of an SDK": pools_of_an_sdk,
        "aiohttp": lambda: asyncio.run(aiohttp_get("http://api.example/", proxy=server.url)),
        "aiohttp, base": lambda: asyncio.run(aiohttp_get("/", server.url)),
    }

    with instrument({"api.example": "w", "127.0.0.1": "w"}, governor=background):
        status = ways[way]()

    assert (200, 1, {"w:get": 1}) == (status, len(server.requests), permits(background))


@pytest.mark.promise("R56")
def test_retries_of_requests_and_urllib3_are_those_of_the_governor_and_no_adapter_is_changed(
    site: "Site", background: Governor
) -> None:
    url = site.at("/", 503)
    retries = urllib3.Retry(5, status_forcelist=[503], backoff_factor=0)
    sent: list[str | None] = []

    class Adapter(requests.adapters.HTTPAdapter):
        def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
            sent.append(request.url)
            return super().send(request, *args, **options)

    with requests.Session() as session:
        session.mount("http://", Adapter(max_retries=retries))
        with instrument(HOSTS, governor=background):
            statuses = [session.get(url).status_code, urllib3.PoolManager().request("GET", url, retries=retries).status]
        adapter = session.get_adapter(url)

    assert ([503, 503], 2 * 3, {"mapped:get": 2 * 3}, [url]) == (statuses, len(site.hits), permits(background), sent)
    assert isinstance(adapter, Adapter)
    assert retries is adapter.max_retries


@pytest.mark.promise("R56", "R59")
def test_sessions_of_requests_sign_each_attempt_that_had_to_wait(site: "Site", background: Governor) -> None:
    url = site.at("/", 503, 503, 200)
    signed: set[int] = set()

    def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
        signed.add(len(site.hits))
        return request

    with instrument(HOSTS, governor=background):
        status = requests.get(url, auth=sign, timeout=30).status_code

    assert (200, {0, 1, 2}) == (status, signed)


@pytest.mark.promise("R56")
def test_what_governs_sessions_already_keeps_its_provider_and_takes_one_permit(site: "Site", background: Governor) -> None:
    url = site.at("/", 200)
    options: dict[str, Any] = {"governor": background, "govern_loopback": True}

    async def by_aiohttp() -> None:
        middleware = governor_client.aiohttp.GovernedMiddleware("own", **options)
        async with (
            governor_client.aiohttp.govern(aiohttp.ClientSession(), "own", **options) as governed,
            aiohttp.ClientSession(middlewares=[middleware]) as with_middleware,
            aiohttp.ClientSession() as bare,
        ):
            await governed.get(url)
            await with_middleware.get(url)
            await bare.get(url, middlewares=[middleware])

    with instrument(HOSTS, governor=background):
        with governor_client.requests.govern(requests.Session(), "own", **options) as session:
            session.get(url)
        governor_client.urllib3.govern(urllib3.PoolManager(), "own", **options).request("GET", url)
        asyncio.run(by_aiohttp())

    assert (5, {"own:get": 5}) == (len(site.hits), permits(background))


@pytest.mark.promise("R56")
def test_redirects_of_aiohttp_take_permits_of_their_own(site: "Site", background: Governor) -> None:
    def redirect(url: str) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return RedirectResponse(url)

        return answer

    end = site.at("/end", 200)
    middle = site.at("/middle", redirect(end))
    begin = site.at("/begin", redirect(middle)).replace("127.0.0.1", "localhost")

    with instrument(HOSTS, governor=background):
        CALLS["aiohttp"](begin)
        of_another_host = permits(background)
        CALLS["aiohttp"](middle)

    assert ({"mapped:get": 2}, {"mapped:get": 4}, 5) == (of_another_host, permits(background), len(site.hits))


@pytest.mark.promise("R56")
def test_what_is_governed_already_keeps_its_provider_and_takes_one_permit(site: "Site", background: Governor) -> None:
    url = site.at("/", 200)

    async def call_async(transport: httpx2.AsyncBaseTransport) -> None:
        async with httpx2.AsyncClient(transport=transport) as client:
            await client.get(url)
        async with TrafficControlledHttpClient("own", governor=background, govern_loopback=True) as ours:
            await ours.aget(url)

    with instrument(HOSTS, governor=background):
        with httpx2.Client(transport=GovernedTransport("own", governor=background, govern_loopback=True)) as client:
            client.get(url)
        with httpx.Client(
            transport=governor_client.httpx.GovernedTransport("own", governor=background, govern_loopback=True)
        ) as old:
            old.get(url)
        with TrafficControlledHttpClient("own", governor=background, govern_loopback=True) as ours:
            ours.get(url)
        with TrafficControlledHttpClient("own", governor=background) as ours:
            ours.get(url)  # To this machine, which this client declares to need no permit.
        asyncio.run(call_async(AsyncGovernedTransport("own", governor=background, govern_loopback=True)))

    assert (6, {"own:get": 5}) == (len(site.hits), permits(background))


class Cache(httpx2.BaseTransport):
    """A transport around another one, behind which a governed one cannot be seen."""

    def __init__(self, inner: httpx2.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


@pytest.mark.promise("R56")
def test_a_request_takes_one_permit_through_any_number_of_governed_transports(site: "Site", background: Governor) -> None:
    url = site.at("/", 200)

    def behind() -> httpx2.Client:
        return httpx2.Client(transport=Cache(GovernedTransport("own", governor=background, govern_loopback=True)))

    with instrument(HOSTS, governor=background):
        with behind() as client:
            client.get(url)
        with httpx2.Client() as inner:
            forwarding = httpx2.MockTransport(lambda request: inner.get(request.url))
            with httpx2.Client(transport=forwarding) as client:
                client.get(url)
    with behind() as client:
        client.get(url)

    assert (3, {"mapped:get": 2, "own:get": 1}) == (len(site.hits), permits(background))


@pytest.mark.promise("R56")
def test_a_task_that_a_request_has_started_takes_permits_for_requests_of_its_own(site: "Site", background: Governor) -> None:
    url = site.at("/", 200)

    class Refreshing(httpx2.AsyncBaseTransport):
        def __init__(self) -> None:
            self.answered = asyncio.Event()
            self.refreshing: asyncio.Task[int] | None = None

        async def refresh(self) -> int:
            await self.answered.wait()
            async with httpx2.AsyncClient() as client:
                return (await client.get(url)).status_code

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            self.refreshing = asyncio.create_task(self.refresh())
            return httpx2.Response(200)

    async def call() -> int:
        transport = Refreshing()
        async with httpx2.AsyncClient(transport=transport) as client:
            await client.get(url)
        transport.answered.set()
        assert transport.refreshing is not None
        return await transport.refreshing

    with instrument(HOSTS, governor=background):
        status = asyncio.run(call())

    assert (200, 1, {"mapped:get": 2}) == (status, len(site.hits), permits(background))


@pytest.mark.promise("R56")
def test_clients_made_before_are_governed_meanwhile_and_clients_made_meanwhile_are_free_afterwards(
    site: "Site", library: ModuleType, background: Governor
) -> None:
    url = site.at("/", 200)

    with library.Client() as before:
        with instrument(HOSTS, governor=background), library.Client() as meanwhile:
            before.get(url)
            meanwhile.get(url)
            counted = permits(background)
        before.get(url)
    with library.Client() as after:
        after.get(url)

    assert ({"mapped:get": 2}, {"mapped:get": 2}, 4) == (counted, permits(background), len(site.hits))


@pytest.mark.promise("R56")
def test_sessions_made_before_are_governed_meanwhile(site: "Site", background: Governor) -> None:
    url = site.at("/", 200)

    async def by_aiohttp() -> None:
        async with aiohttp.ClientSession() as session:
            with instrument(HOSTS, governor=background):
                await session.get(url)
            await session.get(url)

    asyncio.run(by_aiohttp())
    with requests.Session() as session, urllib3.PoolManager() as manager:
        with instrument(HOSTS, governor=background):
            session.get(url)
            manager.request("GET", url)
        session.get(url)
        manager.request("GET", url)

    assert (6, {"mapped:get": 3}) == (len(site.hits), permits(background))
