"""A real uvicorn with an application behind the middleware, and a client that sends what it is told, byte by byte."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from queue import SimpleQueue
from typing import Any

import anyio
import anyio.to_thread
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from governor import Config, Governor
from governor.clock import Clock, system_clock
from governor_client import TrafficControlMiddleware
from tests.integration.conftest import LOOPS
from tests.support.servers import Answer, ask, in_uvicorn, statuses
from tests.support.waits import PATIENCE

App = Any


class Served:
    """A server that has started, and the middleware in it."""

    def __init__(self, port: int, governor: Governor, middleware: TrafficControlMiddleware, app: "Application") -> None:
        self.port = port
        self.governor = governor
        self.middleware = middleware
        self.app = app
        self.stop: Callable[[], None] = lambda: None

    def life(self) -> str:
        """The next thing that the application has done."""
        return self.app.done.get(timeout=PATIENCE)

    def ask(self, path: str = "/", headers: Mapping[str, str | bytes] | None = None, method: str = "GET") -> Answer:
        """One request on a connection of its own; the answer with its body read."""
        return ask(self.port, path, headers, method)

    def statuses(self, times: int, path: str = "/", **headers: str | bytes) -> list[int]:
        """The statuses of so many requests, one after the other; `_` in names of headers stands for `-`."""
        return statuses(self.port, times, path, **headers)


class Application:
    """Does a little of everything, and says what it has done."""

    def __init__(self, governor: Governor) -> None:
        self.done: SimpleQueue[str] = SimpleQueue()
        #: The second event is sent when something is put here.
        self.go: SimpleQueue[None] = SimpleQueue()
        self._governor = governor

    def starlette(self) -> Starlette:
        """The same for a server."""
        routes = [
            Route("/events", self._events),
            Route("/upload", self._upload, methods=["POST"]),
            WebSocketRoute("/echo", self._echo),
            Route("/{rest:path}", self._answer),
        ]
        return Starlette(routes=routes, lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        async with self._governor:
            self.done.put("up")
            yield
            self.done.put("down")

    async def _answer(self, request: Request) -> Response:
        return PlainTextResponse(request.url.path, background=BackgroundTask(self.done.put, "background"))

    async def _events(self, request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"data: 1\n\n"
            await anyio.to_thread.run_sync(self.go.get)
            yield b"data: 2\n\n"

        return StreamingResponse(body(), media_type="text/event-stream")

    async def _upload(self, request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    async def _echo(self, websocket: WebSocket) -> None:
        await websocket.accept(subprotocol="echo")
        async for text in websocket.iter_text():
            await websocket.send_text(text)


@pytest.fixture(params=[pytest.param(*loop.values, id=loop.id, marks=loop.marks) for loop in LOOPS])
def loop(request: pytest.FixtureRequest) -> str:
    """The event loop of the server."""
    _, options = request.param
    return "uvloop" if options["use_uvloop"] else "asyncio"


#: Two requests of each caller at once, and one more each second; nothing else is in the way.
DEFAULT: Mapping[str, object] = {
    "limits": ["1/s burst 2"],
    "address_limits": ["1000/s burst 1000"],
    "total_limits": ["1000/s burst 1000"],
}


@pytest.fixture
def serve(loop: str) -> Iterator[Callable[..., Served]]:
    """Starts servers, which are gone in the end."""
    with ExitStack() as stack:

        def start(
            default: Mapping[str, object] | None = None,
            *,
            clock: Clock = system_clock,
            around: Callable[[App], App] = lambda app: app,
            root_path: str = "",
            **inbound: object,
        ) -> Served:
            config = Config.from_mapping({"inbound": {"preset": "venom", "default": {**DEFAULT, **(default or {})}, **inbound}})
            governor = Governor(config, clock=clock)
            app = Application(governor)
            middleware = TrafficControlMiddleware(app.starlette(), governor)
            server = in_uvicorn(
                around(middleware),
                loop=loop,
                lifespan="on",
                ws="websockets-sansio",
                proxy_headers=False,
                root_path=root_path,
                h11_max_incomplete_event_size=1_000_000,
            )
            port, stop = stack.enter_context(server)
            served = Served(port, governor, middleware, app)
            served.stop = stop
            return served

        yield start
