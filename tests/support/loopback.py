"""Servers of streams on loopback, in an event loop on a thread of their own, so that they serve blocking and async clients."""

import asyncio
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from threading import Thread

from tests.support.waits import until

Serve = Callable[[StreamReader, StreamWriter], Awaitable[None]]


def listening() -> socket.socket:
    """A socket that takes connections from now on, so that no client comes too early.

    What is sent in two parts is not held back until the client confirms the first one, for 40 ms. asyncio sees to that only for
    sockets that it made.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


@contextmanager
def serving(listener: socket.socket, serve: Serve) -> Iterator[None]:
    """Serves each connection to the listener until the block ends, which closes those that are left."""
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    writers: list[StreamWriter] = []

    async def serve_connection(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    async def run() -> None:
        stop = asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        def connected(reader: StreamReader, writer: StreamWriter) -> None:
            writers.append(writer)
            tasks.add(asyncio.create_task(serve_connection(reader, writer)))

        server = await asyncio.start_server(connected, sock=listener)
        loops.append((asyncio.get_running_loop(), stop))
        await stop.wait()
        asyncio.get_running_loop().remove_reader(listener)
        for _ in range(10):  # A connection that was accepted just now has no writer yet, and a closed server does not make one.
            await asyncio.sleep(0)
        server.close()
        for writer in writers:
            writer.transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = Thread(target=asyncio.run, args=[run()], name="loopback")
    thread.start()
    try:
        until(lambda: bool(loops))
        yield
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join()
