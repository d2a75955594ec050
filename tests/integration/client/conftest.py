"""Real servers on loopback: one that speaks HTTP as it should, and others that break off where a test says so."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import NamedTuple

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from governor import Config, CounterRecord, Governor
from tests.support.governors import brief_denials, only_retries
from tests.support.http_calls import methods
from tests.support.provider import Provider, loopback_provider, raw
from tests.support.servers import in_uvicorn

Handler = Callable[[Request], Awaitable[Response]]
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"]


class Hit(NamedTuple):
    """A request as the server saw it; `port` tells one connection from another."""

    method: str
    path: str
    body: bytes
    port: int


class Site:
    """A part of the server that belongs to one test. Each path gives its answers in order, and the last of them for ever."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.hits: list[Hit] = []
        self._answers: dict[str, list[int | Handler]] = {}

    def at(self, path: str, *answers: int | Handler) -> str:
        """Sets the answers of a path, and returns its address."""
        self._answers[path] = list(answers)
        return f"{self.url}{path}"

    async def answer(self, request: Request) -> Response:
        """What the server does with a request."""
        path = f"/{request.path_params['path']}"
        assert request.client is not None
        self.hits.append(Hit(request.method, path, await request.body(), request.client.port))
        answers = self._answers[path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return PlainTextResponse(f"answer {answer}", answer) if isinstance(answer, int) else await answer(request)


class Handlers:
    """Answers that are more than a status."""

    @staticmethod
    def headers(status: int, **headers: str) -> Handler:
        """A status with headers; `_` in their names stands for `-`."""

        async def answer(request: Request) -> Response:
            return Response(status_code=status, headers={name.replace("_", "-"): value for name, value in headers.items()})

        return answer

    @staticmethod
    def lines(*lines: str, hangs: bool = False) -> Handler:
        """Lines that come one by one, and then the end, or nothing any more until the client has gone."""

        async def answer(request: Request) -> Response:
            async def body() -> AsyncIterator[str]:
                for line in lines:
                    yield f"{line}\n"
                if hangs:
                    await _gone(request)

            return StreamingResponse(body(), media_type="text/plain")

        return answer

    @staticmethod
    async def silence(request: Request) -> Response:
        """No answer, until the client has gone."""
        await _gone(request)
        return Response()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


@pytest.fixture(scope="session")
def make_site() -> Iterator[Callable[[], Site]]:
    """A uvicorn server on a thread of its own, and a part of it for each caller."""
    sites: dict[str, Site] = {}
    serial = count()

    async def answer(request: Request) -> Response:
        return await sites[request.path_params["site"]].answer(request)

    app = Starlette(routes=[Route("/{site}/{path:path}", answer, methods=METHODS)])
    with in_uvicorn(app) as (port, _):

        def make() -> Site:
            name = f"site{next(serial)}"
            sites[name] = Site(f"http://127.0.0.1:{port}/{name}")
            return sites[name]

        yield make


@pytest.fixture
def site(make_site: Callable[[], Site]) -> Site:
    """A part of the server for this test alone."""
    return make_site()


@pytest.fixture
def handlers() -> type[Handlers]:
    """What answers are made with."""
    return Handlers


@pytest.fixture
def break_off() -> Iterator[Callable[..., Provider]]:
    """Makes servers that send the bytes they are given, the last ones for ever, and close the connection after each answer."""
    with ExitStack() as servers:

        def make(*replies: bytes) -> Provider:
            server = servers.enter_context(loopback_provider())
            server.at("*", *map(raw, replies))
            return server

        yield make


@pytest.fixture
def settings() -> Iterator[Callable[..., Config]]:
    """Makes settings under which nothing but retries matters, except for what is said of the scope."""
    with brief_denials():
        yield partial(only_retries, "1ms")


@pytest.fixture
def background(settings: Callable[..., Config]) -> Iterator[Governor]:
    """A governor on a thread of its own."""
    with Governor(settings()) as governor:
        yield governor


@pytest.fixture(params=["in this loop", "in another loop"])
async def governor(request: pytest.FixtureRequest, settings: Callable[..., Config]) -> AsyncIterator[Governor]:
    """A governor in the event loop of the test, or in another one."""
    if request.param == "in this loop":
        async with Governor(settings()) as governor:
            yield governor
    else:
        with Governor(settings()) as governor:
            yield governor


@pytest.fixture
def balance() -> Callable[[CounterRecord], int]:
    """What of the requests no outcome accounts for: 0 when each has exactly one."""

    def balance(counted: CounterRecord) -> int:
        answered = counted.answered_2xx + counted.answered_4xx + counted.answered_5xx
        return counted.requests - (answered + counted.failures + counted.neutral + counted.others)

    return balance


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Every test must leave the process as it was."""
    before = methods(), list(sys.meta_path)
    yield
    assert before == (methods(), sys.meta_path)
