"""Connection of a member to the daemon: frames over a unix socket.

What is written goes out at once as far as the socket takes it, and the rest with the next look of a task. A forked child has a
copy of the socket, which would keep the connection alive after the death of its parent: so it is closed there.

What is sent and written is so by one thread at a time: that which has the `turn`.

Bound: `MAX_BACKLOG` bytes that the daemon does not read; beyond, the connection ends.
"""

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import Final, final

import anyio

from governor._actors.readable import keep_reading
from governor._forks import closed_in_children
from governor.protocol import FROM_OWNER, FrameReader, FromMember, FromOwner, encode

#: Bytes that the daemon has not read.
MAX_BACKLOG: Final = 64 * 1024 * 1024
#: Larger buffers are not taken from the heap, but mapped anew for each read, which takes longer than all the rest.
_READ: Final = 65_536


class ConnectionLostError(OSError):
    """The daemon has closed the connection, or does not read."""


@final
class Connection:
    """One connection. Belongs to the thread of its event loop. Raises `OSError` if nothing listens at the path.

    `send`, `write` and `break_off` are for any thread.
    """

    def __init__(self, path: Path, turn: AbstractContextManager[object]) -> None:
        self._turn = turn
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect(str(path))
        except BaseException:
            self._socket.close()
            raise
        closed_in_children(self._socket)
        self._out = bytearray()
        self._reader = FrameReader(FROM_OWNER)
        self._to_write = anyio.Event()
        self.closed = False

    def send(self, message: FromMember) -> None:
        """Adds a message to what `flush` writes."""
        self._out += encode(message)

    def flush(self) -> None:
        """Writes as much as fits, and the rest later."""
        if not self._out:
            return
        try:
            self._write()
        except BlockingIOError:
            if len(self._out) > MAX_BACKLOG:
                self.end()
            self._to_write.set()
        except OSError:
            self.end()

    def write(self) -> bool:
        """Writes as much as fits. False if it is up to `flush` to go on."""
        try:
            while self._out and not self.closed:  # As `_write`: each call of a thread comes here twice.
                del self._out[: self._socket.send(self._out)]
        except OSError:
            return False
        return True

    def _write(self) -> None:
        while self._out and not self.closed:
            del self._out[: self._socket.send(self._out)]

    async def keep_writing(self) -> None:
        """Writes what has not fitted, as soon as it does."""
        while not self.closed:
            await self._to_write.wait()
            self._to_write = anyio.Event()
            while self._out and not self.closed:
                await anyio.wait_writable(self._socket)
                with self._turn:
                    self.flush()

    async def keep_reading(self, handle: Callable[[list[FromOwner]], object]) -> None:
        """Hands over the messages that have arrived together, again and again.

        Raises `OSError` at the end, `FrameError` at what is no frame, and what `handle` raises.
        """
        await keep_reading(self._socket, partial(self._read, handle))
        raise ConnectionLostError("the daemon has closed the connection")

    def _read(self, handle: Callable[[list[FromOwner]], object]) -> bool:
        try:
            data = self._socket.recv(_READ)
        except BlockingIOError:
            return True
        if not data or self.closed:
            return False
        messages = list(self._reader.feed(data))
        if messages:
            handle(messages)
        return True

    def end(self) -> None:
        """Ends it: its reader finds out."""
        self._to_write.set()
        self.break_off()

    def break_off(self) -> None:
        """The same from any thread."""
        self.closed = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes the socket. Only after its tasks have ended."""
        self.closed = True
        self._socket.close()
