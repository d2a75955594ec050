"""Libraries are governed when they are loaded, and none is loaded because of that."""

from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import httpx
import pytest
import urllib3

from governor_client import instrument
from tests.support.programs import run

if TYPE_CHECKING:
    from tests.integration.client.conftest import Site

HOSTS = {"127.0.0.1": "mapped"}

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
    url = site.at("/", 200)
    program = f"""
        import httpx2
        assert {{"httpx2"}} == LIBRARIES & sys.modules.keys()
        loaders = httpx2.__loader__, httpx2.__spec__.loader
        with Governor(unlimited()) as governor:
            httpx2.get({url!r})
            assert {{"httpx2"}} == LIBRARIES & sys.modules.keys()
            print(governor.statistics().counters.requests)
            import requests
            requests.get({url!r})
            assert {{"httpx2", "requests", "urllib3"}} == LIBRARIES & sys.modules.keys()
            print(governor.statistics().counters.requests)
            handle.uninstrument()
            httpx2.get({url!r})
            print(governor.statistics().counters.requests)
        print(*{{type(loader).__name__ for loader in loaders}})
        import aiohttp
        print(aiohttp.ClientSession._request.__code__.co_filename.rpartition("/")[2])
    """

    printed = run(program, setup=LATER, fresh=True)

    assert ["1", "2", "2", "SourceFileLoader", "client.py"] == printed.split()


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

    assert "_instrument.py" == run(program, fresh=True).strip()


@pytest.mark.promise("R56")
@pytest.mark.parametrize(
    ("library", "owner", "name", "missing"),
    [
        ("httpx", httpx.AsyncClient, "_transport_for_url", "AsyncClient._transport_for_url"),
        ("aiohttp", aiohttp, "ClientHandlerType", "aiohttp.ClientHandlerType"),
        ("requests", urllib3, "BaseHTTPResponse", "urllib3.BaseHTTPResponse"),
    ],
)
def test_a_version_that_it_does_not_know_is_reported_and_left_alone(
    library: str, owner: object, name: str, missing: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(owner, name)
        with pytest.warns(RuntimeWarning, match=f"this version of {library} has no {missing}"):
            handle = instrument(HOSTS, libraries=[library])
        handle.uninstrument()
