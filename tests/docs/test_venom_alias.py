"""The alias of the page for users of Venom: imports by the old paths, and calls through them to a server on this machine."""

import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any, Final
from unittest.mock import patch

import anyio
import fastapi  # noqa: F401 - loaded once, and not by the alias in each test
import httpx
import pytest

from governor import Config, Governor, PermitDenied
from governor.asgi import TrafficControlMiddleware
from governor.daemon import routes  # noqa: F401 - as above
from tests.docs.run_page import blocks

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "coming-from-venom.md"
OLD: Final = "venom_core.infrastructure.traffic_control"
SETTINGS: Final = {"outbound": {"github": {"limits": ["8 per hour strict"]}}}


class Server(BaseHTTPRequestHandler):
    """Answers with the status in the path, and the method."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(int(self.path[1:]))
        self.end_headers()
        self.wfile.write(self.command.encode())

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815 - names of the standard library

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    """A server on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.fixture(params=["with Venom", "without Venom"])
def governor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Governor]:
    """The governor of the process, and the alias beside a package like Venom's, or alone."""
    if request.param == "with Venom":
        for package in ("", "core", "infrastructure", "infrastructure/traffic_control", "api", "api/middleware", "api/routes"):
            folder = tmp_path / "venom_core" / package
            folder.mkdir()
            (folder / "__init__.py").touch()
        (tmp_path / "venom_core/core/connector.py").write_text(f"from {OLD} import TrafficControlledHttpClient\n")
    (alias,) = (block.text for block in blocks(PAGE.read_text(encoding="utf-8")) if block.text.startswith("# venom_alias.py"))
    with (
        patch.object(sys, "path", [str(tmp_path), *sys.path]),
        Governor(Config.from_mapping(SETTINGS)) as governor,
    ):
        exec(compile(alias, "venom_alias.py", "exec"), {"__name__": "venom_alias"})
        yield governor
    # Only these: a library that is loaded by then, and once more later, raises errors that are not those of its name.
    for name in [name for name in sys.modules if name.partition(".")[0] == "venom_core"]:
        del sys.modules[name]


def client(url: str, **arguments: Any) -> Any:
    """A client that is imported by the old path."""
    old = import_module(f"{OLD}.http_client")
    return old.TrafficControlledHttpClient("github", url, 5.0, govern_loopback=True, **arguments)


@pytest.mark.promise("R50")
def test_every_call_through_the_old_path_is_governed_and_answers_as_httpx_does(governor: Governor, url: str) -> None:
    verbs = ["get", "post", "put", "delete", "patch"]

    async def acalls() -> list[str]:
        async with client(url) as asynchronous:
            texts = [(await getattr(asynchronous, f"a{verb}")("/200")).text for verb in verbs]
            async with asynchronous.astream("GET", "/200") as response:
                return [*texts, *[line async for line in response.aiter_lines()]]

    with client(url) as blocking:
        answers = [getattr(blocking, verb)("/200") for verb in verbs]
        with blocking.stream("GET", "/200") as response:
            texts = [*(answer.text for answer in answers), *response.iter_lines()]

    assert {httpx.Response} == {type(answer) for answer in answers}
    assert [*map(str.upper, verbs), "GET"] == texts == anyio.run(acalls)
    assert {"github:get": 4} | {f"github:{verb}": 2 for verb in verbs[1:]} == {
        name: scope.counters.answered_2xx for name, scope in governor.statistics().scopes.items()
    }


def test_errors_and_denials_are_those_that_handlers_of_the_old_client_catch(governor: Governor, url: str) -> None:
    with client(url, wait=0) as blocking:
        assert 404 == blocking.get("/404", raise_for_status=False).status_code
        with pytest.raises(httpx.HTTPStatusError):
            blocking.get("/404", disable_retry=True)
        for _ in range(6):
            blocking.get("/200")
        with pytest.raises(RuntimeError) as denied:
            blocking.get("/200")

    assert (True, True) == (isinstance(denied.value, PermitDenied), isinstance(denied.value, httpx.HTTPError))


def test_the_old_paths_of_the_controller_the_middleware_and_the_status_lead_to_ours(governor: Governor, url: str) -> None:
    assert governor is import_module(OLD).get_traffic_controller()
    assert TrafficControlMiddleware is import_module("venom_core.api.middleware.traffic_control").TrafficControlMiddleware
    assert {"status", "metrics", "history", "events"} == {
        route.path.split("/")[4] for route in import_module("venom_core.api.routes.traffic_control").router.routes
    }


@pytest.mark.parametrize("governor", ["with Venom"], indirect=True)
def test_modules_of_venom_itself_get_the_client_of_the_alias(governor: Governor, url: str) -> None:
    connector = import_module("venom_core.core.connector")

    assert connector.TrafficControlledHttpClient is import_module(OLD).TrafficControlledHttpClient


def test_a_name_that_the_alias_does_not_have_is_an_import_error(governor: Governor) -> None:
    with pytest.raises(ImportError, match="TokenBucket"):
        exec(f"from {OLD} import TokenBucket")
    with pytest.raises(ModuleNotFoundError, match="token_bucket"):
        import_module(f"{OLD}.token_bucket")
