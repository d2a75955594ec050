"""A provider on loopback whose answers a test writes: statuses, headers, streams, and connections that break.

HTTP/1.1 over sockets, without an HTTP library, because no HTTP library sends incomplete answers. The server runs in an event
loop on a thread of its own, so that it serves blocking and async clients alike.
"""

import json
from asyncio import IncompleteReadError, StreamReader, StreamWriter, sleep
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from time import monotonic
from typing import NamedTuple, final

from tests.support.loopback import listening, serving

#: Requests beyond this number are answered with 500: a client that repeats for ever must not fill the memory.
MAX_REQUESTS = 10_000
#: Seconds before each piece of a body of unknown length, so that a client waits for it.
GAP = 0.005


class Received(NamedTuple):
    """A request as the server read it."""

    method: str
    #: Without the query.
    path: str
    #: Names in lower case.
    headers: Mapping[str, str]
    body: bytes
    #: When the request was complete, in seconds of `time.monotonic`.
    at: float
    #: The number of the connection, from 1.
    connection: int


class End(Enum):
    """What follows the last byte of a reply."""

    #: The answer is complete, and the connection is kept.
    COMPLETE = "complete"
    #: The connection is closed before the answer is complete.
    BROKEN = "broken"
    #: Nothing follows until the client closes the connection.
    SILENT = "silent"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer, or a part of one. With `status=None` nothing is sent."""

    status: int | None = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: tuple[bytes, ...] = ()
    end: End = End.COMPLETE
    #: Whether the pieces are the whole answer, head included.
    raw: bool = False


def raw(data: bytes, end: End = End.BROKEN) -> Reply:
    """These bytes, head included; afterwards the connection is closed, unless `end` says otherwise."""
    return Reply(pieces=(data,), end=end, raw=True)


def status(code: int, body: bytes = b"", **headers: str) -> Reply:
    """An answer with this status; `_` in names of headers stands for `-`."""
    return Reply(status=code, headers=_named(headers), pieces=(body,))


def answer(value: object, code: int = 200, **headers: str) -> Reply:
    """An answer with a JSON body; `_` in names of headers stands for `-`."""
    return Reply(
        status=code, headers={"content-type": "application/json", **_named(headers)}, pieces=(json.dumps(value).encode(),)
    )


def events(*data: object, end: End = End.COMPLETE) -> Reply:
    """An event stream (SSE), each event in a piece of its own: a string as it is, another value as JSON after `data:`."""
    texts = (one if isinstance(one, str) else f"data: {json.dumps(one)}" for one in data)
    return stream(*(f"{text}\n\n".encode() for text in texts), kind="text/event-stream", end=end)


def stream(*pieces: bytes, kind: str = "application/octet-stream", end: End = End.COMPLETE) -> Reply:
    """A body of unknown length."""
    return Reply(headers={"content-type": kind, "transfer-encoding": "chunked"}, pieces=pieces, end=end)


_STATUSES = frozenset(HTTPStatus)
#: The connection is closed after the request, without an answer.
NO_ANSWER = Reply(status=None, end=End.BROKEN)
#: No answer comes until the client closes the connection.
SILENCE = Reply(status=None, end=End.SILENT)


@final
class Provider:
    """A server at `url`. Each path gives its replies in order, and the last of them for ever; other paths give 404."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        #: All requests, in the order in which they were complete.
        self.requests: list[Received] = []
        self.connections = 0
        self._replies: dict[str, list[Reply]] = {}

    def at(self, path: str, *replies: Reply) -> str:
        """Sets the replies of a path, and returns its address; "*" stands for every path that has none."""
        self._replies[path] = list(replies)
        return f"{self.url}{path}"

    def to(self, path: str) -> list[Received]:
        """The requests to a path."""
        return [request for request in self.requests if request.path == path]

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serves one connection until one side closes it."""
        self.connections += 1
        connection = self.connections
        with suppress(ConnectionError, IncompleteReadError):
            while (request := await _read(reader, connection)) is not None:
                if len(self.requests) < MAX_REQUESTS:
                    self.requests.append(request)
                    reply = self._next(request.path)
                else:
                    reply = status(500)
                await _send(writer, reply, head_only=request.method == "HEAD")
                if reply.end is End.SILENT:
                    while await reader.read(65_536):
                        pass
                if reply.end is not End.COMPLETE:
                    break

    def _next(self, path: str) -> Reply:
        replies = self._replies.get(path) or self._replies.get("*")
        if replies is None:
            return status(404)
        return replies.pop(0) if len(replies) > 1 else replies[0]


@contextmanager
def loopback_provider() -> Iterator[Provider]:
    """A provider that takes connections."""
    with listening() as listener:
        provider = Provider(listener.getsockname()[1])
        with serving(listener, provider.serve):
            yield provider


async def _read(reader: StreamReader, connection: int) -> Received | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = await _chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, target.partition("?")[0], headers, body, monotonic(), connection)


async def _chunks(reader: StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return body


async def _send(writer: StreamWriter, reply: Reply, *, head_only: bool) -> None:
    if reply.status is None:
        return
    if reply.raw:
        writer.write(b"".join(reply.pieces))
        await writer.drain()
        return
    chunked = "transfer-encoding" in reply.headers
    length = {} if chunked else {"content-length": str(sum(map(len, reply.pieces)) + (reply.end is not End.COMPLETE))}
    phrase = HTTPStatus(reply.status).phrase if reply.status in _STATUSES else "Of Its Own"
    lines = [f"HTTP/1.1 {reply.status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in ({**reply.headers, **length}).items()]
    writer.write("\r\n".join((*lines, "", "")).encode("latin-1"))
    if head_only:
        return
    for piece in reply.pieces:
        if chunked:
            await sleep(GAP)
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        await writer.drain()
    if chunked and reply.end is End.COMPLETE:
        writer.write(b"0\r\n\r\n")
    await writer.drain()


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
