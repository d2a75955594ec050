"""Client of the socket on which a daemon serves processes, for an operator: asks for documents, and acts. It blocks."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar, final

from governor import GovernorError
from governor.protocol import (
    FROM_OWNER,
    VERSION,
    Act,
    Acted,
    Action,
    Answer,
    FrameError,
    FrameReader,
    FromMember,
    FromOwner,
    Hello,
    Query,
    Rejected,
    Welcome,
    encode,
)
from governor.wording import plain

#: Seconds for the daemon to answer, and between two parts of its answer.
_TIMEOUT: Final = 10.0
_READ: Final = 65_536

T = TypeVar("T", bound=FromOwner)


class SocketError(GovernorError):
    """No governor answers on the socket. The message says why."""


@final
class SocketClient:
    """A connection to the daemon, for a block. Everything raises `SocketError` if the daemon does not answer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not hasattr(socket, "AF_UNIX"):
            raise self._unanswered("this system has no unix sockets")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_TIMEOUT)
        self._messages = self._receive()
        self._number = 0

    def __enter__(self) -> Self:
        try:
            self._socket.connect(os.fspath(self._path))
        except OSError as error:
            self._socket.close()
            raise self._unanswered(error.strerror or str(error)) from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._socket.close()

    def document(self, name: str) -> bytes:
        """A document, as JSON."""
        part = self._ask(Query(self._next_number(), name), Answer)
        document = bytearray(part.document)
        while part.more:
            part = self._next(Answer)
            document += part.document
        return bytes(document)

    def act(self, action: Action, name: str = "", open_for: str = "") -> Acted:
        """Does something by hand."""
        return self._ask(Act(self._next_number(), action, name, open_for), Acted)

    def _next_number(self) -> int:
        if not self._number:
            self._ask(Hello(VERSION, os.getpid(), "governor", operator=True), Welcome)
        self._number += 1
        return self._number

    def _ask(self, message: FromMember, kind: type[T]) -> T:
        with suppress(OSError):  # If it has closed the connection, it may have said why.
            self._socket.sendall(encode(message))
        return self._next(kind)

    def _next(self, kind: type[T]) -> T:
        try:
            message = next(self._messages, None)
        except (OSError, FrameError) as error:
            raise self._unanswered(getattr(error, "strerror", None) or str(error)) from None
        match message:
            case None:
                raise self._unanswered("the connection has been closed")
            case Rejected(reason):
                raise self._unanswered(reason)
            case kind():
                return message
            case _:
                raise self._unanswered(f"it says {type(message).__name__} where {kind.__name__} is due")

    def _receive(self) -> Iterator[FromOwner]:
        reader = FrameReader(FROM_OWNER)
        while data := self._socket.recv(_READ):
            yield from reader.feed(data)

    def _unanswered(self, reason: str) -> SocketError:
        return SocketError(f"no governor answers on {self._path}: {plain(reason)}")
