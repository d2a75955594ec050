"""What became of a request that went on? Seen from what the application sends."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, final

from governor_client._asgi import Message, Send

#: The messages with which an answer begins, or a handshake ends.
_STARTS: Final = ("http.response.start", "websocket.http.response.start", "websocket.accept", "websocket.close")
#: Servers answer so to a handshake that succeeds (RFC 6455, section 4.2.2), and to one that is closed instead (ASGI).
_SWITCHED: Final = 101
_FORBIDDEN: Final = 403

#: Told the status of the answer, once it has ended; None if it broke off.
Ended = Callable[[int | None], object]


@final
class Stay:
    """Stands in for `send`. Hands on every message as it comes, but for `fields` that the answer is to have beside its own."""

    __slots__ = ("_ended", "_fields", "_send", "_status")

    def __init__(self, send: Send, ended: Ended, fields: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self._send = send
        self._ended = ended
        self._fields = fields
        self._status: int | None = None

    def __call__(self, message: Message) -> Awaitable[None]:
        if self._status is None and message["type"] in _STARTS:
            message = self._begun(message)
        return self._send(message)

    def ended(self) -> None:
        """The application has come to its end."""
        self._ended(self._status)

    def broke(self) -> None:
        """The application was interrupted, or has failed."""
        self._ended(None)

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
