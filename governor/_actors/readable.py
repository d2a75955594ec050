"""Reading of a socket: a callback whenever there is something to read."""

from collections.abc import Callable
from functools import partial
from socket import socket
from typing import Protocol, cast

import anyio
from anyio.lowlevel import current_token


class _Loop(Protocol):
    def add_reader(self, number: int, callback: Callable[[], object]) -> object: ...

    def remove_reader(self, number: int) -> object: ...


async def keep_reading(readable: socket, read: Callable[[], bool]) -> None:
    """Calls `read` whenever the socket has something to read, until it returns False. Raises what it raises.

    On a loop of asyncio the callback is registered once. `anyio.wait_readable` registers and removes one for each wait, and
    wakes a task: two system calls and a turn of the loop more for each message. The socket must not block.
    """
    loop = current_token().native_token
    if not hasattr(loop, "add_reader"):
        await anyio.wait_readable(readable)
        while read():
            await anyio.wait_readable(readable)
        return
    await _Reader(cast("_Loop", loop), readable.fileno(), read).run()


class _Reader:
    """A callback that is registered with a loop of asyncio."""

    __slots__ = ("_error", "_number", "_over", "_read", "_remove")

    def __init__(self, loop: _Loop, number: int, read: Callable[[], bool]) -> None:
        self._remove = partial(loop.remove_reader, number)
        self._read = read
        self._error: Exception | None = None
        self._over = anyio.Event()
        loop.add_reader(number, self._on_readable)

    async def run(self) -> None:
        try:
            await self._over.wait()
        finally:
            self._remove()
        if self._error is not None:
            raise self._error

    def _on_readable(self) -> None:
        try:
            if self._read():
                return
        except Exception as error:
            self._error = error
        # At once: it would be called again before the task has its turn.
        self._remove()
        self._over.set()
