"""An application that mounts the governor's pages and limits its clients: the pages are not limited, and open no way around."""

import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import httpx2
import pytest

from tests.integration.daemon.daemon import API

PROGRAM = """
import sys
import uvicorn
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from governor import Config, Governor
from governor.daemon import create_app, routes
from governor_client import TrafficControlMiddleware

governor = Governor(Config.from_mapping({"inbound": {"default": {"limits": ["5/hour burst 5"]}}}))

@asynccontextmanager
async def lifespan(app):
    async with governor:
        yield

async def login(request):
    return PlainTextResponse("login")

app = Starlette(lifespan=lifespan, routes=[
    Mount("/Governor", create_app(governor)),
    Mount("/api", routes=[*routes(governor), Route("/login", login)]),
])
app.add_middleware(TrafficControlMiddleware, governor=governor)
uvicorn.run(app, fd=int(sys.argv[1]), root_path=sys.argv[2], ws="none", log_config=None)
"""


@pytest.fixture(params=["", "/svc"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(listener.fileno()), request.param]
        with subprocess.Popen(command, pass_fds=[listener.fileno()]) as process:
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                process.terminate()


@pytest.mark.promise("R23")
def test_mounted_pages_are_not_limited_and_nothing_beside_them_is_exempt(url: str) -> None:
    with httpx2.Client(base_url=url, timeout=60.0) as client:
        pages = [
            client.get(f"{mount}{page}").status_code
            for mount in ("/Governor", "/api")
            for page in ("/health", "/metrics", f"{API}/status", "/health", "/dashboard/app.js", f"{API}/status")
        ]
        around = [client.get(path).status_code for path in ["/api/login", "/api/dashboard/../login"] * 3]

    assert {200} == set(pages)
    assert [429] * 3 == around[3:]


def test_the_message_for_another_name_says_where_names_are_added(url: str) -> None:
    answer = httpx2.get(f"{url}/Governor/health", headers={"Host": "elsewhere.example"})

    assert "`allowed_hosts` of `create_app` allows more names" in answer.json()["detail"]
