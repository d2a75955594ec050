"""Observation of the response that an application sends, for the counters of the governor.

Compiled where a compiler is; `observer.pxd` has the fields.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from governor.asgi.types import Message, Send

#: The messages that begin a response, or end a handshake.
_STARTS: Final = ("http.response.start", "websocket.http.response.start", "websocket.accept", "websocket.close")
#: The status of a handshake that succeeds (RFC 6455, section 4.2.2), and of one that is closed instead (ASGI).
_SWITCHING_PROTOCOLS: Final = 101
_FORBIDDEN: Final = 403

#: Called with the status of the response once it has ended, or with None if it broke off.
Ended = Callable[[int | None], object]


async def over(message: Message) -> None:
    """The `send` of a request that has ended. Raises `OSError`, as servers do whose client has gone."""
    raise OSError("the request has ended, and nothing can be sent any more")


class ResponseObserver(msgspec.Struct, eq=False):  # C: class ResponseObserver:
    """Its `send` takes the place of that of the server: it passes each message on as it comes, and remembers the status.

    A record, which is made without a call of Python.
    """

    # C: def __cinit__(self, server):
    # C:     self.server, self.ended, self._fields = server, (), ()

    #: The `send` of the server; `over` once the request has ended.
    server: Send
    #: The status of the response, once it has begun.
    status: int | None = None
    #: To be called when the response has ended: with its status, or with None if it broke off.
    ended: tuple[Ended, ...] = ()
    _fields: Sequence[tuple[bytes, bytes]] = ()
    #: The response that takes the place of that of the application; `status` is known then.
    replacement: Callable[[Send], Awaitable[None]] | None = None
    _replaced: bool = False

    def add_fields(self, fields: Sequence[tuple[bytes, bytes]]) -> None:
        """Adds header fields to those of the application."""
        self._fields = fields

    def replace(self, response: Callable[[Send], Awaitable[None]], status: int) -> None:
        """Sends this response instead of that of the application, which is dropped. No effect once that has begun."""
        if self.status is None:
            self.replacement, self.status = response, status

    async def send_replacement(self) -> None:
        """Sends that response, once."""
        if self.replacement is not None and not self._replaced:
            self._replaced = True
            await self.replacement(self.server)

    def send(self, message: Message) -> Awaitable[None]:
        """Sends a message of the application. A method is called in half the time of an object."""
        if self.status is None:
            kind = message["type"]
            if kind == "http.response.start" and not self._fields:
                # The case of nearly all responses, inlined to save the call of `_begin`.
                self.status = message["status"]
            elif kind in _STARTS:
                message = self._begin(message)
        elif self.replacement is not None:
            return self.send_replacement()
        return self.server(message)

    def _begin(self, message: Message) -> Message:
        match message["type"]:
            case "websocket.close":
                self.status = _FORBIDDEN
                return message
            case "websocket.accept":
                self.status = _SWITCHING_PROTOCOLS
            case _:
                self.status = message["status"]
        # A copy: the application may use its message again.
        return {**message, "headers": [*message.get("headers", ()), *self._fields]} if self._fields else message
