"""A forwarding proxy on loopback for plain HTTP: it connects to the server that a request names, and forwards both ways."""

import asyncio
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import final
from urllib.parse import urlsplit

from tests.support.loopback import listening, serving


@final
class Proxy:
    """A proxy at `url`, and the request lines that it has forwarded."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.forwarded: list[str] = []

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Forwards the requests of one connection, all of which go to one server."""
        with suppress(ConnectionError, IncompleteReadError):
            method, url, version = (await reader.readuntil(b"\r\n")).decode("latin-1").split()
            server = urlsplit(url)
            answers, requests = await asyncio.open_connection(server.hostname, server.port)
            self.forwarded.append(f"{method} {url}")
            requests.write(f"{method} {server.path} {version}\r\nconnection: close\r\n".encode("latin-1"))
            sending = asyncio.create_task(_copy(reader, requests))
            try:
                await _copy(answers, writer)
            finally:
                sending.cancel()
                requests.transport.abort()


@contextmanager
def loopback_proxy() -> Iterator[Proxy]:
    """A proxy that takes connections."""
    with listening() as listener:
        proxy = Proxy(listener.getsockname()[1])
        with serving(listener, proxy.serve):
            yield proxy


async def _copy(reader: StreamReader, writer: StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
