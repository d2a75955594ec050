"""Bodies of requests of aiohttp: what decisions read of them, whether they can be sent again, and errors of reading them."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, final
from weakref import WeakKeyDictionary

from aiohttp import ClientRequest, ClientSession, FormData, MultipartWriter
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import BytesPayload, Payload

from governor_client._request import Reading

if TYPE_CHECKING:
    from yarl import URL

_PLAIN: Final = (str, bytes, int, float)


def _query_of_request(request: ClientRequest) -> str:
    return request.url.raw_query_string


def _port_of_request(request: ClientRequest) -> int | None:
    return _port(request.url)


def _body_of_request(request: ClientRequest) -> bytes | None:
    return _in_memory(request.body)


def _query_of_call(call: "tuple[ClientSession, URL, Mapping[str, Any]]") -> str:
    params = call[2].get("params")
    return (call[1].extend_query(params) if params else call[1]).raw_query_string


def _port_of_call(call: "tuple[ClientSession, URL, Mapping[str, Any]]") -> int | None:
    return _port(call[1])


def _port(url: "URL") -> int | None:
    port = url.explicit_port
    return None if port is None or url.is_default_port() else port


def _body_of_call(call: "tuple[ClientSession, URL, Mapping[str, Any]]") -> bytes | None:
    session, _, options = call
    if options.get("json") is not None:
        encoded = session.json_serialize(options["json"])
        return encoded.encode() if isinstance(encoded, str) else encoded
    return _in_memory(options.get("data")) if is_repeatable_call(options) else None


def _in_memory(body: object) -> bytes | None:
    match body:
        case str():
            return body.encode()
        case bytes() | bytearray() | memoryview():
            return bytes(body)
        case BytesPayload():
            return bytes(body._value)
        case Mapping() | list() | tuple():
            return _in_memory(FormData(body)())
        case _:
            return None


#: Of the request that a middleware hands on, and of a call: its session, its URL and its arguments.
READING_OF_REQUEST: Final = Reading(_query_of_request, _body_of_request, _port_of_request)
READING_OF_CALL: Final = Reading(_query_of_call, _body_of_call, _port_of_call)


def is_repeatable_call(options: Mapping[str, Any]) -> bool:
    """Whether the body of a call with these arguments is in memory, so that it can be sent again."""
    return options.get("upload_tracker") is None and is_repeatable(options.get("data"))


def is_repeatable(body: object) -> bool:
    """Whether a body is in memory, so that it can be sent again."""
    match body:
        case None | str() | bytes() | bytearray() | memoryview() | BytesPayload():
            return True
        case MultipartWriter():
            return all(isinstance(part, BytesPayload) for part, _, _ in body)
        case Mapping():
            return all(isinstance(value, _PLAIN) for value in body.values())
        case list() | tuple():
            return all(isinstance(pair, Iterable) and all(isinstance(each, _PLAIN) for each in pair) for pair in body)
        case _:
            return False


@final
class _Written:
    """Writes a body that is read meanwhile. Records whether reading it failed."""

    def __init__(self, write: Callable[[Any, int | None], Awaitable[None]]) -> None:
        self._write = write
        self.failed = False

    async def __call__(self, writer: AbstractStreamWriter, length: int | None) -> None:
        watched = _Writer(writer)
        try:
            await self._write(watched, length)
        except Exception:
            self.failed = not watched.failed
            raise


@final
class _Writer:
    """A writer of aiohttp. Records whether writing failed."""

    def __init__(self, writer: AbstractStreamWriter) -> None:
        self._writer = writer
        self.failed = False

    async def write(self, chunk: bytes) -> None:
        try:
            await self._writer.write(chunk)
        except BaseException:
            self.failed = True
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


_written: Final[WeakKeyDictionary[ClientRequest, _Written]] = WeakKeyDictionary()


def watch(request: ClientRequest) -> None:
    """Watches a body that is read while it is sent: aiohttp raises an `OSError` of that as one of the connection."""
    body = request.body
    if request not in _written and isinstance(body, Payload):
        _written[request] = written = _Written(body.write_with_length)
        vars(body)["write_with_length"] = written


def is_unreadable(request: ClientRequest) -> bool:
    """Whether reading the body of this request failed."""
    written = _written.get(request)
    return written is not None and written.failed
