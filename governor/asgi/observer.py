"""What became of a request that went on? Seen from what the application sends."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, final

from governor.asgi.types import Message, Send

#: The messages with which an answer begins, or a handshake ends.
_STARTS: Final = ("http.response.start", "websocket.http.response.start", "websocket.accept", "websocket.close")
#: Servers answer so to a handshake that succeeds (RFC 6455, section 4.2.2), and to one that is closed instead (ASGI).
_SWITCHED: Final = 101
_FORBIDDEN: Final = 403

#: Told the status of the answer, once it has ended; None if it broke off.
Ended = Callable[[int | None], object]


@final
class ResponseObserver:
    """Stands in for `send`. Hands on every message as it comes, but for `fields` that the answer is to have beside its own.

    `ended` is told how it ends; None if nothing counts the request.
    """

    __slots__ = ("_ended", "_fields", "_others", "_refusal", "_refused", "_send", "_status")

    def __init__(self, send: Send, ended: Ended | None = None, fields: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self._send = send
        self._ended = ended
        self._fields = fields
        self._status: int | None = None
        self._others: tuple[Ended, ...] = ()
        self._refusal: Callable[[Send], Awaitable[None]] | None = None
        self._refused = False

    def refuse(self, refusal: Callable[[Send], Awaitable[None]], status: int) -> None:
        """Has another answer take the place of the application's, if that has not begun: whatever it sends is dropped."""
        if self._status is None:
            self._refusal, self._status = refusal, status

    @property
    def refused(self) -> bool:
        """Whether another answer has taken the place of the application's."""
        return self._refusal is not None

    async def settle(self) -> None:
        """Sends that answer, unless it has been sent."""
        if self._refusal is not None and not self._refused:
            self._refused = True
            await self._refusal(self._send)

    def tell(self, ended: Ended) -> None:
        """Has another be told how it ends."""
        self._others = (ended, *self._others)

    def __call__(self, message: Message) -> Awaitable[None]:
        """Sends a message of the application."""
        if self._refusal is not None:
            return self.settle()
        if self._status is None:
            kind = message["type"]
            if kind == "http.response.start" and not self._fields:
                # What `_begun` comes to for nearly all answers, which save the call.
                self._status = message["status"]
            elif kind in _STARTS:
                message = self._begun(message)
        return self._send(message)

    def ended(self, *, whole: bool) -> None:
        """The application has come to its end; else it was interrupted, or has failed."""
        status = self._status if whole else None
        try:
            if self._ended is not None:
                self._ended(status)
        finally:
            for other in self._others:
                other(status)

    def _begun(self, message: Message) -> Message:
        match message["type"]:
            case "websocket.close":
                self._status = _FORBIDDEN
                return message
            case "websocket.accept":
                self._status = _SWITCHED
            case _:
                self._status = message["status"]
        # The message is the application's, which may use it again.
        return {**message, "headers": [*message.get("headers", ()), *self._fields]} if self._fields else message
