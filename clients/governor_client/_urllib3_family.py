"""What the adapters for requests and for urllib3 share: faults, bodies of answers, headers and timeouts.

requests sends with urllib3, so its answers have the bodies of urllib3, and its errors have those of urllib3 inside.
"""

import ssl
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache, lru_cache
from io import BytesIO, TextIOBase
from operator import methodcaller
from typing import IO, Any, Final, cast, final
from urllib.parse import SplitResult, urlencode, urlsplit

import msgspec
from urllib3 import HTTPConnectionPool, HTTPHeaderDict
from urllib3.exceptions import (
    ClosedPoolError,
    ConnectTimeoutError,
    DecodeError,
    EmptyPoolError,
    HostChangedError,
    HTTPError,
    InvalidHeader,
    LocationValueError,
    MaxRetryError,
    ProtocolError,
    ProxyError,
    SSLError,
    TimeoutError,
)
from urllib3.response import BaseHTTPResponse, HTTPResponse
from urllib3.util import Retry, Timeout

from governor import CallFailure
from governor_client._attempt import Attempt, Fault, fault_of_system
from governor_client._denials import DeniedResponse
from governor_client._headers import MARKS
from governor_client._operation import KEPT
from governor_client._request import Reading
from governor_client._streams import RequestBody
from governor_client._wait import longest

#: Errors of a body that breaks off, which `Retry` counts.
BROKEN_OFF: Final = (TimeoutError, ProtocolError, SSLError)
#: Retries of urllib3 happen beneath the permit, so a governed request has none. `read=False` raises the errors of reading.
NO_RETRIES: Final = Retry(0, read=False)

_PORTS: Final = {"http": 80, "https": 443}
_lower: Final = methodcaller("lower")
_FAULTS: Final[tuple[tuple[tuple[type[Exception], ...], Fault], ...]] = (
    ((EmptyPoolError, ClosedPoolError), Fault(CallFailure.UNSENT, unused=True)),
    ((LocationValueError, HostChangedError), Fault(None, unused=True)),
    ((ConnectTimeoutError, ProxyError), Fault(CallFailure.UNSENT)),
    ((TimeoutError,), Fault(CallFailure.TIMEOUT)),
    ((ProtocolError, SSLError, InvalidHeader), Fault(CallFailure.BROKEN)),
    ((DecodeError,), Fault(None, undecodable=True)),
)


def fault_of_urllib3(error: BaseException | None) -> Fault:
    """What an exception of urllib3 says about the request.

    A TLS error other than an invalid certificate may occur after sending began.
    """
    if isinstance(error, MaxRetryError):
        error = error.reason
    if isinstance(error, SSLError) and isinstance(_inner(error), (ssl.SSLCertVerificationError, ssl.CertificateError)):
        return Fault(CallFailure.UNSENT)
    if isinstance(error, HTTPError):
        return next((fault for kinds, fault in _FAULTS if isinstance(error, kinds)), Fault(None))
    return Fault(None) if error is None else fault_of_system(error)


def _inner(error: BaseException) -> object:
    return error.args[0] if error.args else None


@final
class WatchedFile:
    """A file that is the body of a request. Records whether reading it failed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.failed = False

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except Exception:
            self.failed = True
            raise

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


@final
class _Kept(BytesIO):
    """A body in memory. It closes itself when it has been read, as a connection does: urllib3 streams until it is closed."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if size is None or size < 0 or len(data) < size:
            self.close()
        return data


@final
class Lookup(msgspec.Struct, eq=False):
    """The headers of a request by their names in lower case. Values may be bytes, and the mapping may be a plain dict."""

    _headers: Mapping[str, str | bytes]

    def get(self, name: str) -> str | None:
        if name not in lower_names(self._headers):
            return None  # A miss costs requests a microsecond.
        value = self._headers.get(name)
        if value is None and isinstance(self._headers, dict):
            value = next((value for key, value in self._headers.items() if key.lower() == name), None)
        return value.decode("latin-1") if isinstance(value, bytes) else value


def lower_names(headers: Mapping[str, str | bytes]) -> Collection[str]:
    """The names of headers in lower case.

    requests and urllib3 keep headers by these names in the private `_store` and `_container`, which are read where they are
    there: to iterate over the headers costs a Python call for each of them.
    """
    kept = getattr(headers, "_store", None) or getattr(headers, "_container", None)
    return kept if isinstance(kept, dict) else list(map(_lower, headers))


def are_marked(headers: Mapping[str, str | bytes]) -> bool:
    """Whether headers of a request may have one of those that the decisions look at."""
    return not MARKS.isdisjoint(lower_names(headers))


def without(name: str, headers: Mapping[str, str | bytes]) -> Mapping[str, str | bytes]:
    """A copy of headers that lacks one, which is named in lower case."""
    if isinstance(headers, HTTPHeaderDict):  # It may have several values of one name.
        rest = headers.copy()
        rest.discard(name)
        return rest
    return {key: value for key, value in headers.items() if key.lower() != name}


Watched = RequestBody | WatchedFile


def in_memory(body: object) -> bool:
    """Whether a body can be sent again."""
    return body is None or isinstance(body, (bytes, str, bytearray))


def watch(body: object) -> Watched | None:
    """Wraps a body that is read while it is sent; None if it is in memory, or is text, which urllib3 encodes by its type."""
    if body is None or in_memory(body) or isinstance(body, TextIOBase):
        return None
    return WatchedFile(cast("IO[bytes]", body)) if hasattr(body, "read") else RequestBody(cast("Any", body))


@lru_cache(maxsize=256)
def origin_of(scheme: str, netloc: str) -> tuple[str, int | None]:
    """The host and the port of a URL; no port if it is invalid, which the library reports."""
    url = SplitResult(scheme, netloc, "", "", "")
    try:
        return url.hostname or "", url.port or _PORTS.get(scheme)
    except ValueError:
        return url.hostname or "", None


def timeout_of(timeout: object) -> float | None:
    """The longest phase in seconds of a timeout: a number, a pair of them, or that of urllib3; None if a phase has no bound."""
    if timeout is None or isinstance(timeout, (int, float)):
        return timeout
    if isinstance(timeout, Timeout):
        total = timeout.total
        phases: tuple[object, ...] = (timeout.connect_timeout, timeout.read_timeout) if total is None else (total,)
    else:
        phases = timeout if isinstance(timeout, tuple) else ()
    return longest([float(phase) if isinstance(phase, (int, float)) else None for phase in phases])


def synthetic(denied: DeniedResponse, url: str | None, *, loaded: bool) -> HTTPResponse:
    """The answer to a request without a permit; `loaded`: with its body in memory, as after `preload_content`."""
    return HTTPResponse(
        _Kept(denied.body),
        denied.headers,
        denied.status,
        version=11,
        reason=denied.phrase,
        preload_content=loaded,
        request_url=url,
    )


def take_in(raw: object) -> bytes | None:
    """Reads the body of an answer into memory, undecoded, and frees its connection. None if it has more than `KEPT` bytes."""
    if not isinstance(raw, HTTPResponse):
        return b""
    try:
        body = raw.read(KEPT + 1, decode_content=False)
        # Beyond the last byte: the end of a chunked body, which frees the connection, or what shows that the body is not whole.
        whole = len(body) <= KEPT and not (body and raw.read(1, decode_content=False))
    finally:
        raw.close()
    if not whole:
        return None
    # The object stays the same one, and can be read once more.
    HTTPResponse.__init__(
        raw,
        _Kept(body),
        raw.headers,
        raw.status,
        version=raw.version,
        version_string=raw.version_string,
        reason=raw.reason,
        preload_content=False,
        decode_content=raw.decode_content,
        original_response=getattr(raw, "_original_response", None),
        request_url=raw.url,
        retries=raw.retries,
    )
    return body


def report(raw: object, attempt: Attempt) -> None:
    """Makes the body of an answer report to the attempt when it ends, breaks off, or is closed.

    The object stays the same one, because code that reads it may know its attributes and its type.
    """
    if not isinstance(raw, HTTPResponse) or raw.closed:
        attempt.ended(whole=True)
        return
    raw.__dict__["_attempt"] = attempt
    raw.__class__ = _reporting(type(raw))


@cache
def _reporting(kind: type[HTTPResponse]) -> type[HTTPResponse]:
    return cast("type[HTTPResponse]", type(kind.__name__, (_Reporting, kind), {"__module__": kind.__module__}))


class _Reporting(BaseHTTPResponse):
    """What is overridden in the type of an answer. All other ways to read it lead here."""

    _attempt: Attempt
    _reading = False

    def read(self, amt: int | None = None, decode_content: bool | None = None, cache_content: bool = False) -> bytes:
        return self._reported(lambda: super(_Reporting, self).read(amt, decode_content, cache_content), amt, decode_content)

    def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        return self._reported(lambda: super(_Reporting, self).read1(amt, decode_content), amt, decode_content)

    def read_chunked(self, amt: int | None = None, decode_content: bool | None = None) -> Iterator[bytes]:
        chunks = iter(super().read_chunked(amt, decode_content))
        try:
            while chunk := self._reported(lambda: next(chunks, b""), None, decode_content):
                yield chunk
        finally:
            # Closed early: the rest is not read.
            self._attempt.ended()

    def drain_conn(self) -> None:
        super().drain_conn()
        self._attempt.ended()

    def close(self) -> None:
        try:
            super().close()
        finally:
            # While it reads, urllib3 closes a broken body before it raises the error.
            if not self._reading:
                self._attempt.ended()

    def _reported(self, read: Callable[[], bytes], amt: int | None, decode_content: bool | None) -> bytes:
        self.__dict__["_reading"] = True
        try:
            data = read()
        except BaseException as error:
            self._attempt.broke(error, fault_of_urllib3(error))
            raise
        finally:
            self.__dict__["_reading"] = False
        if self._attempt.observation is not None:
            decoded = self.decode_content if decode_content is None else decode_content
            self._attempt.observation.saw(data, decoded=bool(decoded))
        if self.closed or (not data and amt != 0):
            self._attempt.ended(whole=True)
        return data


def load(pool: HTTPConnectionPool, retries: Retry, method: str, url: str, response: BaseHTTPResponse) -> None:
    """Reads the body of an answer into memory, as `preload_content` does, and raises the same errors.

    That option reads before the head of the answer is seen, of which nothing would be known if the body breaks off.
    """
    try:
        response.data  # noqa: B018 - reads it
    except BROKEN_OFF as error:
        retries.increment(method, url, error=error, _pool=pool)


@final
class Original(msgspec.Struct, frozen=True):
    """A request: what its `Request` reads the query, the body and the port from."""

    url: str
    body: object
    #: The pool that sends it, if the URL may be no more than a path.
    pool: HTTPConnectionPool | None = None


def _query(original: Original) -> str:
    return original.url.partition("#")[0].partition("?")[2]


def _body(original: Original) -> bytes | None:
    match original.body:
        case str(text):
            return text.encode()
        case bytes() | bytearray() as data:
            return bytes(data)
        case dict(fields):  # Of botocore, which encodes it later.
            return urlencode(fields, doseq=True).encode()
        case _:
            return None


def _port(original: Original) -> int | None:
    pool = original.pool
    if pool is not None and original.url.startswith("/"):
        scheme, port = pool.scheme or "", pool.port
    else:
        url = urlsplit(original.url)
        scheme, (_, port) = url.scheme, origin_of(url.scheme, url.netloc)
    return None if port == _PORTS.get(scheme) else port


READING: Final = Reading(query=_query, body=_body, port=_port)
