"""Python calls that an adapter adds to a call of its library: most of what a governed call costs."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from io import BytesIO
from types import FrameType
from typing import Any

import httpx
import httpx2
import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter

import governor_client.httpx
import governor_client.httpx2
import governor_client.requests
import governor_client.urllib3
from governor import Governor
from governor_client import TrafficControlledHttpClient
from governor_client._terms import Terms
from governor_client._urllib3_family import lower_names
from tests.support.leases import PLENTY, governed

pytestmark = pytest.mark.promise("R51")

URL = "http://w.example/forecast"
FIELDS = [(b"Date", b"Fri, 27 Nov 2026 06:00:00 GMT"), (b"Content-Type", b"text/plain"), (b"Content-Length", b"2")]
HEADERS = {name.decode(): value.decode() for name, value in FIELDS}
ATTEMPTS = 50

Opens = Callable[[Governor | None], Callable[[], object]]


@pytest.fixture(autouse=True)
def _not_instrumented(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process in which `instrument` has not been called."""
    monkeypatch.setattr(Terms, "any_by_host", False)


def fewest_calls(function: Callable[[], object]) -> int:
    """Of Python functions, in this thread: with a permit granted ahead, which not every call finds."""
    counts = []
    for _ in range(ATTEMPTS):
        calls = 0

        def note(frame: FrameType, event: str, _: object) -> None:
            nonlocal calls
            calls += event == "call"

        sys.setprofile(note)
        try:
            function()
        finally:
            sys.setprofile(None)
        counts.append(calls)
    return min(counts)


def transport(library: Any) -> Any:
    class Body(library.SyncByteStream):  # type: ignore[misc] # of either library
        def __iter__(self) -> Iterator[bytes]:
            yield b"ok"

    class Transport(library.BaseTransport):  # type: ignore[misc] # of either library
        def handle_request(self, request: object) -> object:
            return library.Response(200, headers=FIELDS, stream=Body())

    return Transport()


class AsyncBody(httpx2.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"ok"


class AsyncTransport(httpx2.AsyncBaseTransport):
    async def handle_async_request(self, request: object) -> httpx2.Response:
        return httpx2.Response(200, headers=FIELDS, stream=AsyncBody())


def answer(**options: Any) -> urllib3.HTTPResponse:
    return urllib3.HTTPResponse(BytesIO(b"ok"), HEADERS, 200, version=11, reason="OK", **options)


class Adapter(HTTPAdapter):
    def send(self, request: requests.PreparedRequest, *args: object, **options: object) -> requests.Response:
        return self.build_response(request, answer(preload_content=False))


class Pool(urllib3.HTTPConnectionPool):
    def urlopen(self, method: str, url: str, *args: object, **options: Any) -> urllib3.HTTPResponse:
        return answer()


def through(library: Any, adapter: Any) -> Opens:
    def opens(governor: Governor | None) -> Callable[[], object]:
        inner = transport(library)
        client = library.Client(
            transport=inner if governor is None else adapter.GovernedTransport("weather", governor=governor, transport=inner)
        )
        return lambda: client.get(URL)

    return opens


def client(governor: Governor | None) -> Callable[[], object]:
    inner = transport(httpx2)
    if governor is None:
        bare = httpx2.Client(transport=inner)
        return lambda: bare.get(URL)
    governed = TrafficControlledHttpClient("weather", governor=governor, transport=inner)
    return lambda: governed.get(URL)


def session(governor: Governor | None) -> Callable[[], object]:
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", Adapter())
    if governor is not None:
        governor_client.requests.govern(session, "weather", governor=governor)
    return lambda: session.get(URL)


def manager(governor: Governor | None) -> Callable[[], object]:
    manager = urllib3.PoolManager()
    manager.pool_classes_by_scheme = {"http": Pool}
    if governor is not None:
        governor_client.urllib3.govern(manager, "weather", governor=governor)
    return lambda: manager.request("GET", URL)


@pytest.mark.parametrize(
    ("opens", "most"),
    [
        (through(httpx2, governor_client.httpx2), 10),
        (through(httpx, governor_client.httpx), 10),
        (client, 9),
        (session, 9),
        (manager, 12),
    ],
    ids=["httpx2", "httpx", "client", "requests", "urllib3"],
)
def test_a_blocking_call_with_a_permit_at_hand_is_a_few_python_calls_more(opens: Opens, most: int) -> None:
    with governed(PLENTY) as governor:
        bare, ours = fewest_calls(opens(None)), fewest_calls(opens(governor))

    assert ours - bare <= most


def fewest_calls_of_a_task(make: Callable[[], Awaitable[object]]) -> int:
    """The library answers at once, so that one step is the whole call."""

    def step() -> None:
        with pytest.raises(StopIteration):
            make().__await__().send(None)

    return fewest_calls(step)


@pytest.mark.parametrize("ours", ["transport", "client"])
def test_a_call_on_the_loop_of_the_governor_is_a_few_python_calls_more(ours: str) -> None:
    async def main() -> int:
        async with governed(PLENTY) as governor:
            bare = httpx2.AsyncClient(transport=AsyncTransport())
            if ours == "client":
                client = TrafficControlledHttpClient("weather", governor=governor, async_transport=AsyncTransport())
                await client.aget(URL)
                return fewest_calls_of_a_task(lambda: client.aget(URL)) - fewest_calls_of_a_task(lambda: bare.get(URL))
            inner = governor_client.httpx2.AsyncGovernedTransport("weather", governor=governor, transport=AsyncTransport())
            governed_one = httpx2.AsyncClient(transport=inner)
            await governed_one.get(URL)
            return fewest_calls_of_a_task(lambda: governed_one.get(URL)) - fewest_calls_of_a_task(lambda: bare.get(URL))

    assert asyncio.run(main()) <= {"transport": 17, "client": 14}[ours]


def test_the_names_of_headers_and_the_parts_of_urls_are_read_without_a_python_call_for_each() -> None:
    """From attributes that are private to the libraries: without one of them, calls would be slower, and as right."""
    headers = [requests.structures.CaseInsensitiveDict(HEADERS), urllib3.HTTPHeaderDict(HEADERS)]
    names = [[name.lower() for name in HEADERS]] * 2

    assert names == [list(lower_names(each)) for each in headers]
    assert [2, 2] == [fewest_calls(lambda each=each: lower_names(each)) for each in headers]  # type: ignore[misc] # a default
    for library in (httpx, httpx2):
        fields = library.Headers(FIELDS)
        assert [(name, name.lower(), value) for name, value in fields.raw] == fields._list
        parts = library.URL(URL)._uri_reference
        assert ("w.example", "/forecast") == (parts.host, parts.path)
