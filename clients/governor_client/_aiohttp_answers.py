"""Answers of aiohttp: the end of a body, bodies in memory, and synthetic answers.

aiohttp reads bodies in the background and has no public event for their end, so this module uses private attributes, which are
the same in 3.12 to 3.14: `_timer` and `_loop` of requests and answers, and those that a `ClientResponse` sets when it starts.
"""

from collections.abc import Callable, Mapping
from inspect import signature
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast, final

from aiohttp import (
    ClientConnectionError,
    ClientConnectorError,
    ClientHttpProxyError,
    ClientOSError,
    ClientPayloadError,
    ClientRequest,
    ClientResponse,
    ClientResponseError,
    ConnectionTimeoutError,
    HttpVersion11,
    InvalidURL,
    NonHttpUrlClientError,
    RequestInfo,
    ServerDisconnectedError,
    ServerFingerprintMismatch,
    ServerTimeoutError,
    StreamReader,
)
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError
from aiohttp.streams import EmptyStreamReader
from multidict import CIMultiDict, CIMultiDictProxy

from governor import CallFailure, PermitDenied
from governor_client._aiohttp_bodies import is_unreadable
from governor_client._attempt import Attempt, Fault, fault_of_system
from governor_client._denials import DO_NOT_REPEAT, DeniedResponse
from governor_client._observed import Observation

if TYPE_CHECKING:
    from yarl import URL

#: The size, in bytes, at which aiohttp stops reading from a connection, halved.
_READ_LIMIT: Final = 65_536
#: An answer whose status is this one is not over until its connection is: it becomes a WebSocket.
SWITCHING_PROTOCOLS: Final = 101
_TIMED_OUT: Final = Fault(CallFailure.TIMEOUT)
_BROKEN: Final = Fault(CallFailure.BROKEN)
#: The packages of connectors for SOCKS, whose own errors are those of connecting.
_SOCKS: Final = frozenset({"aiohttp_socks", "python_socks"})
#: The constructor differs between versions.
_TAKES_STREAM_WRITER: Final = "stream_writer" in signature(ClientResponse.__init__).parameters


def fault_of(error: BaseException) -> Fault:
    """What an exception of aiohttp says about the request."""
    match error:
        case PermitDenied() | InvalidURL() | NonHttpUrlClientError():
            return Fault(None, unused=True)
        case ConnectionTimeoutError() | ClientConnectorError() | ServerFingerprintMismatch() | ClientHttpProxyError():
            return Fault(CallFailure.UNSENT)
        case ServerTimeoutError():
            return _TIMED_OUT
        case ClientPayloadError(__cause__=ContentEncodingError()):
            return Fault(None, undecodable=True)
        case ServerDisconnectedError() | ClientOSError() | ClientPayloadError():
            return _BROKEN
        case ClientConnectionError(__cause__=None):
            return Fault(None, unused=True)  # The session or its connector is closed.
        case ClientConnectionError():
            return Fault(None, ours=True)  # The body of the request could not be read.
        case ClientResponseError(__cause__=HttpProcessingError()):
            return _BROKEN
        case _ if type(error).__module__.partition(".")[0] in _SOCKS:
            return Fault(CallFailure.UNSENT)
        case _:
            return fault_of_system(error)


def report(attempt: Attempt, error: BaseException, request: ClientRequest) -> None:
    """Reports an error that ended a request before its answer began."""
    fault = Fault(None, ours=True) if is_unreadable(request) else fault_of(error)
    if not isinstance(error, Exception) and is_timed_out(request):
        # `total` of the timeout ends a request by cancelling its task.
        attempt.broke(TimeoutError("the total timeout of the request is over"), _TIMED_OUT)
    elif isinstance(error, ClientResponseError) and fault is _BROKEN:
        # It carries a status of 400, as if the server had said that.
        attempt.broke(ClientPayloadError(error.message), fault)
    elif isinstance(error, ConnectionTimeoutError) and _is_pool_full(request):
        attempt.broke(error, Fault(CallFailure.UNSENT, unused=True))
    else:
        attempt.broke(error, fault)


def is_timed_out(message: ClientRequest | ClientResponse) -> bool:
    """Whether `total` of the timeout of this request is over."""
    return getattr(message._timer, "_cancelled", False)


def _is_pool_full(request: ClientRequest) -> bool:
    available = getattr(request.session.connector, "_available_connections", None)
    return available is not None and available(request.connection_key) <= 0


def follow(response: ClientResponse, attempt: Attempt) -> None:
    """Lets an answer that has begun report to its attempt when its body ends, breaks off, or is closed."""
    content, connection = response.content, response.connection
    if response.status == SWITCHING_PROTOCOLS and connection is not None:
        connection.add_callback(attempt.ended)
    elif content.is_eof():
        if attempt.observation is not None:
            show_buffer(content, attempt.observation)
        attempt.ended(whole=True)
    elif content.exception() is None:
        content.on_eof(_End(content, response, attempt))
    else:
        _End(content, response, attempt)


@final
class _End:
    """Is called when a body has ended, and deleted when it has broken off or is closed, because aiohttp drops it then."""

    __slots__ = ("_attempt", "_content", "_shown", "_timer")

    def __init__(self, content: StreamReader, response: ClientResponse, attempt: Attempt) -> None:
        self._content = content
        self._timer = response._timer
        self._attempt = attempt
        self._shown = False

    def show(self) -> None:
        """Shows what has arrived to what observes the body, once: from then on it is shown as it arrives."""
        observation = self._attempt.observation
        if observation is not None and not self._shown:
            self._shown = True
            show_buffer(self._content, observation)

    def saw(self, data: bytes) -> None:
        """A part of the body has arrived."""
        if self._shown and self._attempt.observation is not None:
            self._attempt.observation.saw(data, decoded=True)

    def __call__(self) -> None:
        self.show()
        self._attempt.ended(whole=True)

    def __del__(self) -> None:
        self.show()
        error = self._content.exception()
        # This type itself means that the reader has closed the answer.
        if error is not None and type(error) is not ClientConnectionError:
            self._attempt.broke(error, fault_of(error))
        elif getattr(self._timer, "_cancelled", False):
            self._attempt.broke(TimeoutError("the total timeout of the request is over"), _TIMED_OUT)
        else:
            self._attempt.ended()


class _Observed(StreamReader):
    """What is overridden in a body that is observed: aiohttp reads it in the background, and decodes it."""

    __slots__ = ()

    def feed_data(self, data: bytes, *args: Any) -> Any:
        for callback in self._eof_callbacks:
            if isinstance(callback, _End):
                callback.saw(data)
        return super().feed_data(data, *args)


def show_buffer(content: StreamReader, observation: Observation) -> None:
    """Shows what has arrived of a body and is not read yet."""
    if isinstance(content, EmptyStreamReader):
        return  # As of 204 and 304: it has no buffer.
    skip = content._buffer_offset
    for data in content._buffer:
        observation.saw(data[skip:], decoded=True)
        skip = 0


def observe(response: ClientResponse, attempt: Attempt) -> None:
    """Shows the body of an answer to what observes it: what has arrived now, and the rest as it arrives.

    Call it after `follow`, if the answer is followed, and before the body is read.
    """
    observation, content = attempt.observation, response.content
    if observation is None or response.status == SWITCHING_PROTOCOLS:
        return
    callbacks = () if isinstance(content, EmptyStreamReader) else content._eof_callbacks
    ends = [callback for callback in callbacks if isinstance(callback, _End)]
    for end in ends:
        end.show()
    if ends and type(content) is StreamReader:
        content.__class__ = _Observed
    elif not ends:
        # It has ended before it was observed; if it had ended while it was followed, it was shown then.
        show_buffer(content, observation)
        observation.end(whole=content.exception() is None)


async def take_in(response: ClientResponse, most: float) -> bool:
    """Reads the body into memory and frees the connection. Returns False if it is longer than `most` bytes, and lost."""
    body = bytearray()
    try:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > most:
                response.close()
                return False
    except BaseException:
        response.close()
        raise
    response.content = _in_memory(bytes(body), response._loop)
    return True


def mark_final(response: ClientResponse) -> None:
    """Adds the headers `DO_NOT_REPEAT`."""
    response._headers = CIMultiDictProxy(CIMultiDict({**response.headers, **DO_NOT_REPEAT}))
    response._cache.pop("headers", None)


def synthetic(
    denied: DeniedResponse,
    method: str,
    url: "URL",
    headers: Mapping[str, str],
    response_class: type[ClientResponse],
    session: Any,
) -> ClientResponse:
    """An answer that no server has sent."""
    sent = CIMultiDictProxy(CIMultiDict(headers))
    arguments: dict[str, object] = {
        "writer": None,
        "continue100": None,
        "timer": None,
        "request_info": RequestInfo(url, method, sent, url),
        "traces": [],
        "loop": session._loop,
        "session": session,
    }
    if _TAKES_STREAM_WRITER:
        arguments["stream_writer"] = SimpleNamespace(output_size=0)
    response = cast("Callable[..., ClientResponse]", response_class)(method, url, **arguments)
    response.version = HttpVersion11
    response.status = denied.status
    response.reason = denied.phrase
    response._headers = CIMultiDictProxy(CIMultiDict(denied.headers))
    response._raw_headers = tuple((name.encode(), value.encode()) for name, value in denied.headers.items())
    response.content = _in_memory(denied.body, session._loop)
    return response


def _in_memory(body: bytes, loop: Any) -> StreamReader:
    content = StreamReader(ResponseHandler(loop), max(_READ_LIMIT, len(body)), loop=loop)
    content.feed_data(body)
    content.feed_eof()
    return content
