"""Clients that are silent, that never read and that never leave: the others are answered all the same."""

import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Thread
from time import sleep
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
import uvicorn

from governor.daemon import connections
from governor.daemon.connections import MAX_CONNECTIONS, BoundedProtocol, max_connections
from tests.integration.daemon.daemon import Start
from tests.support.waits import PATIENCE

GET = b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


async def small(scope: Any, receive: Any, send: Any) -> None:
    """Answers with nothing."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def large(scope: Any, receive: Any, send: Any) -> None:
    """Answers with 8 MB, more than any socket holds."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(128):
        await send({"type": "http.response.body", "body": bytes(65_536), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@contextmanager
def served(app: Any = large) -> Iterator[tuple[uvicorn.Server, tuple[str, int]]]:
    """A real server with these bounds, on a thread."""
    server = uvicorn.Server(
        uvicorn.Config(app, http=BoundedProtocol, lifespan="off", ws="none", log_config=None, timeout_keep_alive=60)
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield server, listener.getsockname()
        finally:
            server.should_exit = True
            server.force_exit = True
            thread.join()


def closed(client: socket.socket) -> bool:
    """Waits for the other side to close the connection."""
    client.settimeout(PATIENCE)
    try:
        return client.recv(65_536) == b""
    except ConnectionResetError:
        return True


@pytest.mark.promise("R30")
def test_more_silent_connections_than_there_is_room_for_keep_no_one_out(start: Start) -> None:
    daemon = start()
    address = urlsplit(daemon.url)
    with ExitStack() as stack:
        for _ in range(MAX_CONNECTIONS + 100):
            stack.enter_context(socket.create_connection((address.hostname, address.port)))

        assert 200 == daemon.get("/health").status_code


@pytest.mark.parametrize("sent", [b"", GET[:-2], GET * 2 + GET[:9]], ids=["nothing", "half a header", "half of a third header"])
def test_a_client_that_does_not_finish_a_header_is_disconnected(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(connections, "HEADERS_TIMEOUT", 0.05)
    with served(small) as (_, address), socket.create_connection(address) as client:
        client.sendall(sent)
        client.settimeout(PATIENCE)
        while not closed(client):
            pass


def test_a_client_that_never_reads_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "WRITE_TIMEOUT", 0.05)
    with served() as (server, address), socket.create_connection(address) as client:
        client.sendall(GET)
        while not server.server_state.connections:
            sleep(0.001)
        while server.server_state.connections:
            sleep(0.001)


def test_a_client_that_reads_slowly_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADERS_TIMEOUT", 0.05)
    with served() as (_, (host, port)), httpx2.stream("GET", f"http://{host}:{port}/") as response:
        sleep(0.1)

        assert 128 * 65_536 == sum(map(len, response.iter_bytes()))


def test_where_few_files_may_be_open_there_are_fewer_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    few = max_connections()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10, 4096))

    assert (192, 16) == (few, max_connections())


PROGRAM = """
import sys
import uvicorn
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.routing import Mount
from governor import Governor
from governor.daemon import create_app

governor = Governor()

@asynccontextmanager
async def lifespan(app):
    async with governor:
        print("ready", flush=True)
        yield
    print("ended", flush=True)

app = Starlette(lifespan=lifespan, routes=[Mount("/governor", create_app(governor))])
uvicorn.run(app, fd=int(sys.argv[1]), ws="none", log_config=None)
"""


@pytest.mark.promise("R55")
def test_an_open_dashboard_does_not_keep_an_application_from_ending() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(listener.fileno())]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=[listener.fileno()]) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            url = f"http://{host}:{port}/governor/api/v1/traffic-control/events"
            with httpx2.stream("GET", url, timeout=PATIENCE) as response:
                next(response.iter_lines())
                process.send_signal(signal.SIGTERM)
                status = process.wait(PATIENCE)
            rest = process.stdout.read()

    assert ("ready\n", "ended\n") == (first, rest)
    assert status in (0, -signal.SIGTERM)
