"""Real ASGI servers on threads of their own, at any free port or on a unix socket, and a plain client."""

import asyncio
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from threading import Event, Thread
from typing import Any

import hypercorn
import hypercorn.asyncio
import uvicorn

from tests.support.loopback import listening
from tests.support.waits import PATIENCE


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.has_started = Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.has_started.set()


def _listening(unix: Path | None) -> socket.socket:
    if unix is None:
        return listening()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(unix))
    listener.listen()
    return listener


@contextmanager
def in_uvicorn(app: Any, unix: Path | None = None, **options: Any) -> Iterator[tuple[int, Callable[[], None]]]:
    """A uvicorn that has started: its port, and a function that stops it early."""
    quiet = {"lifespan": "off", "ws": "none", "log_config": None, "access_log": False, "timeout_graceful_shutdown": 5}
    config = uvicorn.Config(app, **{**quiet, **options})
    server = _Server(config)
    with _listening(unix) as listener, asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        thread = Thread(target=runner.run, args=[server.serve(sockets=[listener])], name="uvicorn")

        def stop() -> None:
            server.should_exit = True
            thread.join()

        thread.start()
        try:
            assert server.has_started.wait(PATIENCE)
            yield 0 if unix else listener.getsockname()[1], stop
        finally:
            stop()


@contextmanager
def in_hypercorn(app: Any, unix: Path | None = None, root_path: str = "") -> Iterator[int]:
    """A hypercorn that takes connections: its port."""
    listener = _listening(unix)
    settings = hypercorn.Config()
    settings.bind = [f"fd://{listener.fileno()}"]
    settings.root_path = root_path
    settings.errorlog = None
    with asyncio.Runner() as runner:
        stop = asyncio.Event()
        serving = hypercorn.asyncio.serve(app, settings, shutdown_trigger=stop.wait)
        thread = Thread(target=runner.run, args=[serving], name="hypercorn")
        thread.start()
        try:
            yield 0 if unix else listener.getsockname()[1]
        finally:
            runner.get_loop().call_soon_threadsafe(stop.set)
            thread.join()
            listener.detach()


class Answer(HTTPResponse):
    """One whose body has been read."""

    body = b""


def ask(port: int, path: str = "/", headers: Mapping[str, str | bytes] | None = None, method: str = "GET") -> Answer:
    """One request on a connection of its own, its path and headers as they are; the answer with its body read."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.response_class = Answer
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in (headers or {}).items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    assert isinstance(response, Answer)
    response.body = response.read()
    connection.close()
    return response


def statuses(port: int, times: int, path: str = "/", **headers: str | bytes) -> list[int]:
    """The statuses of so many requests, one after the other; `_` in names of headers stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return [ask(port, path, named).status for _ in range(times)]
