"""A whole process is governed by a map of hosts: every client of each library, once, and as before when it ends."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

import governor_client.httpx
import governor_client.httpx2
from governor import Governor, PermitDenied, Reason, UsageError
from governor.testing import denying
from governor_client import AsyncGovernedTransport, GovernedTransport, TrafficControlledHttpClient, instrument
from tests.support.programs import run
from tests.support.provider import Provider

if TYPE_CHECKING:
    from tests.integration.client.conftest import Site

HOSTS = {"127.0.0.1": "mapped"}
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"

Get = Callable[..., int]


def _httpx(library: ModuleType) -> Get:
    def get(url: str, **options: Any) -> int:
        with library.Client(**options) as client:
            return int(client.get(url).status_code)

    return get


def _httpx_async(library: ModuleType) -> Get:
    def get(url: str, **options: Any) -> int:
        async def aget() -> int:
            async with library.AsyncClient(**options) as client:
                return int((await client.get(url)).status_code)

        return asyncio.run(aget())

    return get


#: One call by a new client of each library.
CALLS: dict[str, Get] = {
    "httpx2": _httpx(httpx2),
    "httpx2, async": _httpx_async(httpx2),
    "httpx": _httpx(httpx),
    "httpx, async": _httpx_async(httpx),
}
#: The methods that are replaced.
METHODS = [(client, "_transport_for_url") for client in (httpx2.Client, httpx2.AsyncClient, httpx.Client, httpx.AsyncClient)]
Methods = list[object]


@pytest.fixture(params=CALLS)
def get(request: pytest.FixtureRequest) -> Get:
    return CALLS[request.param]


@pytest.fixture(params=[httpx2, httpx], ids=["httpx2", "httpx"])
def library(request: pytest.FixtureRequest) -> ModuleType:
    found: ModuleType = request.param
    return found


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Every test must leave the process as it was."""
    before = methods(), list(sys.meta_path)
    yield
    assert before == (methods(), sys.meta_path)


def methods() -> Methods:
    return [vars(owner)[name] for owner, name in METHODS]


def requests(governor: Governor) -> dict[str, int]:
    """How many permits were taken, by scope."""
    scopes = governor.statistics().scopes
    return {name: scope.counters.requests for name, scope in scopes.items() if scope.counters.requests}


@pytest.mark.promise("R56")
def test_new_clients_take_a_permit_and_retry_under_the_provider_of_the_host(
    get: Get, site: "Site", background: Governor
) -> None:
    url = site.at("/", 503, 200)

    with instrument(HOSTS, governor=background):
        status = get(url)

    assert (200, 2) == (status, len(site.hits))
    assert {"mapped:get": 2} == requests(background)
    assert (1, 1) == (background.statistics().counters.answered_5xx, background.statistics().counters.answered_2xx)


@pytest.mark.promise("R52", "R56")
def test_this_machine_and_hosts_without_an_entry_need_no_permit(get: Get, site: "Site", background: Governor) -> None:
    url = site.at("/", 200)

    with instrument({"127.0.0.1:1": "other-port", "api.example": "w"}, default="other", governor=background):
        get(url)

    assert (1, {}) == (len(site.hits), requests(background))


@pytest.mark.promise("R56", "R58")
def test_a_denial_is_raised_or_answered_as_with_a_transport(get: Get, site: "Site", background: Governor) -> None:
    url = site.at("/", 200)

    with denying(background, "mapped", "GET", retry_after=30.0):
        with instrument(HOSTS, governor=background), pytest.raises(PermitDenied) as caught:
            get(url)
        with instrument(HOSTS, governor=background, on_refusal="response"):
            answered = get(url)

    assert (Reason.RATE_LIMIT, 429, 0) == (caught.value.reason, answered, len(site.hits))
    assert any(kind.__name__ == "TransportError" for kind in caught.type.__mro__)


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
    call = _httpx_async(library) if asynchronous else _httpx(library)

    with instrument({"api.example": "w"}, governor=background):
        status = call("http://api.example/", **ways[way])

    assert (200, 1, {"w:get": 1}) == (status, len(server.requests), requests(background))


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

    assert (6, {"own:get": 5}) == (len(site.hits), requests(background))


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

    assert (3, {"mapped:get": 2, "own:get": 1}) == (len(site.hits), requests(background))


@pytest.mark.promise("R56")
def test_clients_made_before_are_governed_meanwhile_and_clients_made_meanwhile_are_free_afterwards(
    site: "Site", library: ModuleType, background: Governor
) -> None:
    url = site.at("/", 200)

    with library.Client() as before:
        with instrument(HOSTS, governor=background), library.Client() as meanwhile:
            before.get(url)
            meanwhile.get(url)
            counted = requests(background)
        before.get(url)
    with library.Client() as after:
        after.get(url)

    assert ({"mapped:get": 2}, {"mapped:get": 2}, 4) == (counted, requests(background), len(site.hits))


@pytest.mark.promise("R56")
def test_each_redirect_is_that_of_its_own_host(site: "Site", get: Get, background: Governor) -> None:
    there = site.at("/there", 200).replace("127.0.0.1", "localhost")

    async def redirect(request: Request) -> Response:
        return RedirectResponse(there)

    here = site.at("/here", redirect)

    with instrument({"127.0.0.1": "here", "localhost": "there"}, governor=background):
        status = get(here, follow_redirects=True)

    assert (200, {"here:get": 1, "there:get": 1}) == (status, requests(background))


@pytest.mark.promise("R56")
def test_a_second_call_with_the_same_arguments_changes_nothing_until_both_have_ended(
    get: Get, site: "Site", background: Governor
) -> None:
    url = site.at("/", 200)

    first = instrument(HOSTS, governor=background)
    patched = methods()
    second = instrument(dict(HOSTS), governor=background)
    again = methods()
    first.uninstrument()
    first.uninstrument()
    states = first.active, second.active
    get(url)
    second.uninstrument()
    get(url)

    assert (patched, (False, True)) == (again, states)
    assert {"mapped:get": 1} == requests(background)


@pytest.mark.promise("R56")
def test_a_second_call_with_other_arguments_is_rejected_and_the_first_goes_on(
    get: Get, site: "Site", background: Governor
) -> None:
    url = site.at("/", 200)

    with instrument(HOSTS, governor=background):
        for other in ({"hosts": {"127.0.0.1": "other"}}, {"wait": 1.0}, {"libraries": ["httpx"]}, {"default": "other"}):
            with pytest.raises(UsageError, match="instrumented already"):
                instrument(**{"hosts": HOSTS, "governor": background, **other})  # type: ignore[arg-type] # of several types
        get(url)

    assert {"mapped:get": 1} == requests(background)


@pytest.mark.promise("R56")
def test_only_the_named_libraries_are_governed(site: "Site", background: Governor) -> None:
    url = site.at("/", 200)

    with instrument(HOSTS, libraries=["httpx"], governor=background):
        CALLS["httpx2"](url)
        counted = requests(background)
        CALLS["httpx"](url)

    assert ({}, {"mapped:get": 1}) == (counted, requests(background))


@pytest.mark.promise("R56")
def test_a_patch_made_by_other_code_meanwhile_stays_and_works(site: "Site", background: Governor) -> None:
    url = site.at("/", 200)
    original = httpx2.Client._transport_for_url
    seen: list[str] = []

    handle = instrument(HOSTS, governor=background)
    ours = httpx2.Client._transport_for_url

    def traced(self: httpx2.Client, url: httpx2.URL) -> httpx2.BaseTransport:
        seen.append(url.path)
        return ours(self, url)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx2.Client, "_transport_for_url", traced)
        CALLS["httpx2"](url)
        with pytest.warns(RuntimeWarning, match=r"other code has patched httpx2\S*\.Client\._transport_for_url") as caught:
            handle.uninstrument()
        CALLS["httpx2"](url)
        counted = requests(background)
        with instrument(HOSTS, governor=background):
            CALLS["httpx2"](url)
    # The other code restores what it has found, which has no effect any more.
    CALLS["httpx2"](url)
    httpx2.Client._transport_for_url = original  # type: ignore[method-assign] # as it was before this test

    assert __file__ == caught[0].filename
    assert ({"mapped:get": 1}, {"mapped:get": 2}, 3, 4) == (counted, requests(background), len(seen), len(site.hits))


@pytest.mark.promise("R56")
def test_threads_may_begin_and_end_it_at_any_time(site: "Site", background: Governor) -> None:
    url = site.at("/", 200)
    calls = 10

    def work() -> None:
        for _ in range(calls):
            with instrument(HOSTS, governor=background):
                CALLS["httpx2"](url)

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (8 * calls, {"mapped:get": 8 * calls}) == (len(site.hits), requests(background))


LATER = """
import sys
import governor_client
from governor import Governor
from governor.testing import unlimited

LIBRARIES = {"aiohttp", "httpx", "httpx2", "requests", "urllib3"}
handle = governor_client.instrument({"127.0.0.1": "mapped"})
assert not LIBRARIES & sys.modules.keys()
"""


@pytest.mark.promise("R56")
def test_it_loads_no_library_and_governs_those_that_are_loaded_later(site: "Site") -> None:
    program = f"""
        import httpx2
        assert {{"httpx2"}} == LIBRARIES & sys.modules.keys()
        loaders = httpx2.__loader__, httpx2.__spec__.loader
        with Governor(unlimited()) as governor:
            httpx2.get({site.at("/", 200)!r})
            assert {{"httpx2"}} == LIBRARIES & sys.modules.keys()
            print(governor.statistics().counters.requests)
            handle.uninstrument()
            httpx2.get({site.at("/", 200)!r})
            print(governor.statistics().counters.requests)
        print(*{{type(loader).__name__ for loader in loaders}})
        import httpx
        print(httpx.Client._transport_for_url.__module__)
    """

    printed = run(program, setup=LATER)

    assert ["1", "1", "SourceFileLoader", "httpx._client"] == printed.split()


@pytest.mark.promise("R56")
def test_a_library_that_another_thread_is_loading_is_governed(tmp_path: Path) -> None:
    package = tmp_path / "httpx"
    package.mkdir()
    (package / "__init__.py").write_text("import steps\nsteps.begun.set()\nsteps.go_on.wait()\nfrom httpx._client import *\n")
    (package / "_client.py").write_text(
        "class Client:\n    def _transport_for_url(self, url): ...\n\nclass AsyncClient(Client):\n"
        "    def _transport_for_url(self, url): ...\n"
    )
    (tmp_path / "steps.py").write_text("from threading import Event\nbegun, go_on = Event(), Event()\n")
    program = f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import steps
        from threading import Thread
        from governor_client import instrument

        loading = Thread(target=lambda: __import__("httpx"))
        loading.start()
        steps.begun.wait()
        instrumenting = Thread(target=lambda: instrument({{"a.example": "w"}}, libraries=["httpx"]))
        instrumenting.start()
        while not any(type(finder).__name__ == "ImportHook" for finder in sys.meta_path):
            pass
        steps.go_on.set()
        instrumenting.join()
        loading.join()
        import httpx
        print(httpx.Client._transport_for_url.__code__.co_filename.rpartition("/")[2])
    """

    assert "_instrument.py" == run(program).strip()


@pytest.mark.promise("R56")
def test_a_version_that_it_does_not_know_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(httpx.AsyncClient, "_transport_for_url")

    with pytest.warns(RuntimeWarning, match=r"httpx has no AsyncClient\._transport_for_url"), suppress(PermitDenied):
        handle = instrument(HOSTS, libraries=["httpx"])

    handle.uninstrument()
    monkeypatch.undo()
