"""Classification of exceptions: what an exception says about the provider whose call it ended.

An exception is a failure of the provider only if it says so: it carries a status of 500 or more, or it is a timeout or a
network error. A lower status is an answer, and counts as one. Everything else is neutral, because most exceptions inside a
block are mistakes of the program's own code. Exceptions of HTTP libraries and SDKs are recognised by the package and the name
of their class, so no library is imported.

Reading an exception runs code of other people: attributes may be missing, raise, or hold anything.
"""

import errno
import logging
import operator
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from inspect import iscoroutinefunction
from types import MethodType
from typing import Final, Literal, NamedTuple, final

from governor.errors import ConfigError, GovernorError
from governor.policies.contract import Result

_log: Final = logging.getLogger("governor")

#: What a `classify` function answers: what the exception says about the provider, or the HTTP status that it stands for, or
#: None for the rules of this module.
Verdict = Result | Literal["success", "failure", "neutral"] | int | None
Classify = Callable[[Exception], Verdict]

#: Exceptions that are examined at most for one outcome: causes of causes, and members of groups.
MAX_EXAMINED: Final = 1_000


class Classified(NamedTuple):
    """What an exception says about the provider, and the HTTP status that says so, if one does."""

    result: Result
    status: int | None = None


_NEUTRAL: Final = Classified(Result.NEUTRAL)
_FAILURE: Final = Classified(Result.FAILURE)


def of_status(status: int) -> Classified:
    """An answer: 5xx are failures of the provider; a mistake of the client, 4xx, is a success, because the provider works."""
    return Classified(Result.FAILURE if status >= 500 else Result.SUCCESS, status)


@final
class Classifier:
    """Classifies exceptions by `classify`, a function of the program, and where that says None or fails by the rules above.

    `fallback` is asked in between. A function that fails is logged once, by the last fallback. Raises `ConfigError` for what is
    no function, or one that would have to be awaited.
    """

    __slots__ = ("_classify", "_fallback", "_failed")

    def __init__(self, classify: Classify | None = None, *, fallback: "Classifier | None" = None) -> None:
        if classify is not None and (not callable(classify) or iscoroutinefunction(classify)):
            raise ConfigError("classify", classify, "a function that takes an exception, not `async`, or None")
        self._classify = classify
        self._fallback = fallback
        self._failed = False

    def __call__(self, error: BaseException, status: int | None = None) -> Classified:
        """What the call came to that ended with `error`, after an answer with this HTTP status if there was one.

        Never raises because of what an exception looks like.
        """
        try:
            found = self._examine(error)
        except Exception as trouble:
            self._complain("An exception could not be examined and counts as neutral.", trouble)
            found = _NEUTRAL
        if status is None:
            return found or _NEUTRAL
        # An answer that broke off is a failure whatever its status; the caller's own exceptions change nothing about an answer.
        return of_status(status) if found is None or found.status is not None else Classified(found.result, status)

    def _examine(self, error: BaseException) -> Classified | None:
        """The first failure among the members of a group, else the first answer; None if nothing speaks of the provider."""
        found: Classified | None = None
        seen: set[int] = set()
        #: The next is the last. Whether the program is asked: about what was raised, and not about what caused that.
        pending = [(error, True)]
        while pending and len(seen) < MAX_EXAMINED:
            one, ask = pending.pop()
            if id(one) in seen:
                continue
            seen.add(id(one))
            if isinstance(one, BaseExceptionGroup):
                pending.extend((cause, False) for cause in _causes(one))
                pending.extend((member, ask) for member in reversed(one.exceptions))
                continue
            said = self._of_one(one, ask=ask)
            if said is None:
                pending.extend((cause, False) for cause in _causes(one))
            elif said.result is Result.FAILURE:
                return said
            elif found is None or found.result is Result.NEUTRAL:
                found = said
        return found

    def _of_one(self, error: BaseException, *, ask: bool) -> Classified | None:
        if not isinstance(error, Exception) or isinstance(error, GovernorError):
            return _NEUTRAL  # Cancelled, the interpreter ends, or a governor refused.
        said = self._ask(error) if ask else None
        return by_rule(error) if said is None else said

    def _ask(self, error: Exception) -> Classified | None:
        if self._classify is not None:
            try:
                said = _verdict(self._classify(error))
            except Exception as trouble:
                self._complain("`classify` failed; the exception is classified without it.", trouble)
                said = None
            if said is not None:
                return said
        return None if self._fallback is None else self._fallback._ask(error)

    def _complain(self, message: str, trouble: Exception) -> None:
        if self._fallback is not None:
            self._fallback._complain(message, trouble)
        elif not self._failed:
            self._failed = True
            try:
                _log.error("%s This is said once.", message, exc_info=trouble)
            except Exception:
                pass  # Filters of logging are other people's code as well.


#: Classifies by the rules of this module alone.
DEFAULT: Final = Classifier()


def by_rule(error: Exception) -> Classified | None:
    """What one exception says about the provider, without its causes; None if nothing."""
    kind = _kind(type(error))
    if kind is _Kind.OURS:
        return _NEUTRAL
    if kind is _Kind.SERVER:
        return None
    status = _carried_status(error)
    if status is not None:
        return _answered(status)
    if kind is _Kind.FAILURE or _is_network_error(error):
        return _FAILURE
    if kind is _Kind.WRAPPER:
        return _FAILURE if next(_causes(error), None) is None else None
    for name in _CODE_NAMES:
        status = _status(_called(error, name), least=400)
        if status is not None:
            return _answered(status)
    return None


def _answered(status: int) -> Classified:
    return _NEUTRAL if status == _CANCELLED else of_status(status)


_WORDS: Final = tuple(result.value for result in Result)


def _verdict(answer: object) -> Classified | None:
    """What a `classify` function has answered. Raises TypeError or ValueError if that is no verdict."""
    if answer is None:
        return None
    if isinstance(answer, Result) or answer in _WORDS:
        return Classified(Result(answer))
    status = None if isinstance(answer, bool) else _status(answer, least=100)
    if status is None:
        raise ValueError(
            f"`classify` answered {answer!r}; allowed: 'failure', 'success', 'neutral', an HTTP status from 100 to 599, or None"
        )
    return of_status(status)


# Statuses.

#: Where exceptions keep the status of an answer, or the answer that has it.
_STATUS_NAMES: Final = ("status_code", "status", "http_status", "response_code")
_ANSWER_NAMES: Final = ("response", "resp", "meta")
#: Hold a status in some libraries and anything else in others: only errors are believed, and only where nothing else is known.
_CODE_NAMES: Final = ("code", "grpc_status_code")
#: Stands for the status of a call that was cancelled on this side.
_CANCELLED: Final = 0
#: The statuses of gRPC by name: their numbers, and the HTTP statuses that `google.rpc.Code` gives for them.
_GRPC: Final[Mapping[str, tuple[int, int]]] = {
    "OK": (0, 200),
    "CANCELLED": (1, _CANCELLED),
    "UNKNOWN": (2, 500),
    "INVALID_ARGUMENT": (3, 400),
    "DEADLINE_EXCEEDED": (4, 504),
    "NOT_FOUND": (5, 404),
    "ALREADY_EXISTS": (6, 409),
    "PERMISSION_DENIED": (7, 403),
    "RESOURCE_EXHAUSTED": (8, 429),
    "FAILED_PRECONDITION": (9, 400),
    "ABORTED": (10, 409),
    "OUT_OF_RANGE": (11, 400),
    "UNIMPLEMENTED": (12, 501),
    "INTERNAL": (13, 500),
    "UNAVAILABLE": (14, 503),
    "DATA_LOSS": (15, 500),
    "UNAUTHENTICATED": (16, 401),
}


def _carried_status(error: Exception) -> int | None:
    for name in _STATUS_NAMES:
        status = _status(_called(error, name), least=100)
        if status is not None:
            return status
    for holder in _ANSWER_NAMES:
        answer = _read(error, holder)
        if answer is None:
            continue
        for name in _STATUS_NAMES:
            status = _status(_read(answer, name), least=100)
            if status is not None:
                return status
        if isinstance(answer, dict):  # botocore
            metadata = answer.get("ResponseMetadata")
            status = _status(metadata.get("HTTPStatusCode"), least=100) if isinstance(metadata, dict) else None
            if status is not None:
                return status
    return None


def _status(value: object, *, least: int) -> int | None:
    """The value as an HTTP status from `least` to 599; None for everything else, close codes and numbers of errors among it."""
    if value is None or isinstance(value, (str, bytes)):
        return None
    if isinstance(value, Enum) and value.name in _GRPC:
        number, status = _GRPC[value.name]
        if value.value == number or (isinstance(value.value, tuple) and value.value[:1] == (number,)):
            return status
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except Exception:
        return None
    return number if least <= number <= 599 else None


def _read(holder: object, name: str) -> object:
    try:
        return getattr(holder, name, None)
    except Exception:
        return None


def _called(error: Exception, name: str) -> object:
    """The same, and what it returns if it is a method of the exception, as `code` of gRPC's is."""
    value = _read(error, name)
    if not isinstance(value, MethodType) or iscoroutinefunction(value):
        return value
    try:
        return value()
    except Exception:
        return None


# Timeouts and network errors.

#: Errors of sockets. Those of files, and a lack of descriptors or memory, say nothing about a provider.
_NETWORK_NAMES: Final = (
    *("EADDRNOTAVAIL", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETRESET"),
    *("ENETUNREACH", "ENONET", "ENOTCONN", "EPIPE", "EPROTO", "ESHUTDOWN", "ETIMEDOUT"),
)
_NETWORK: Final = frozenset(
    number
    for name in _NETWORK_NAMES
    for prefixed in (name, f"WSA{name}")  # Windows has numbers of its own for sockets.
    if (number := getattr(errno, prefixed, None)) is not None
)


def _is_network_error(error: Exception) -> bool:
    if isinstance(error, (TimeoutError, ConnectionError)):
        return True
    if not isinstance(error, OSError):
        return False
    number = _read(error, "errno")
    if number is None:
        # Errors of files have a number. Event loops raise one without for several attempts to connect that have failed.
        return type(error) is OSError
    return isinstance(number, int) and number in _NETWORK and _read(error, "filename") is None


# Classes that are known by name.


class _Kind(Enum):
    FAILURE = "failure"
    #: Says "connection", and is wrapped around whatever happened: the cause counts, if there is one.
    WRAPPER = "wrapper"
    #: Looks like one of the provider's, and is about this side: no connection to spare, a request that cannot be written.
    OURS = "ours"
    #: An answer of this program's own API, raised by code that serves it.
    SERVER = "server"


def _known(failures: str = "", *, ours: str = "", wrappers: str = "") -> dict[str, _Kind]:
    return {
        **dict.fromkeys(failures.split(), _Kind.FAILURE),
        **dict.fromkeys(ours.split(), _Kind.OURS),
        **dict.fromkeys(wrappers.split(), _Kind.WRAPPER),
    }


_HTTPX: Final = _known(
    "TransportError TimeoutException NetworkError RemoteProtocolError ProxyError",
    ours="PoolTimeout LocalProtocolError UnsupportedProtocol ConnectionNotAvailable",
)
_REQUESTS: Final = _known("ConnectionError Timeout ChunkedEncodingError")
_URLLIB3: Final = _known("TimeoutError NewConnectionError ProtocolError ProxyError SSLError IncompleteRead")
_ELASTIC: Final = _known("ConnectionError ConnectionTimeout SSLError TlsError")
_REDIS: Final = _known("ConnectionError TimeoutError", ours="AuthenticationError AuthorizationError MaxConnectionsError")
#: By the top-level package of the module. The first class of the MRO that is listed decides.
_PACKAGES: Final[Mapping[str, Mapping[str, _Kind]]] = {
    # The standard library.
    "asyncio": _known("IncompleteReadError"),
    "http": _known(
        "HTTPException",
        ours="ImproperConnectionState InvalidURL NotConnected UnimplementedFileMode UnknownTransferEncoding",
    ),
    "smtplib": _known("SMTPServerDisconnected SMTPConnectError"),
    "socket": _known("gaierror herror"),
    "ssl": _known("SSLError"),
    "urllib": _known("ContentTooShortError"),
    # Event loops, HTTP and WebSockets.
    "aiohttp": _known("ClientConnectionError ClientPayloadError"),
    "curl_cffi": _known("ConnectionError Timeout SSLError ProxyError IncompleteRead"),
    "grpc": _known("FutureTimeoutError"),
    "grpclib": _known("StreamTerminatedError"),
    "h11": _known("RemoteProtocolError"),
    "httpcore": _HTTPX,
    "httpcore2": _HTTPX,
    "httplib2": _known("ServerNotFoundError"),
    "httpx": _HTTPX,
    "httpx2": _HTTPX,
    "niquests": _REQUESTS,
    "requests": _REQUESTS,
    "tornado": _known("StreamClosedError"),
    "trio": _known("TooSlowError"),
    "urllib3": _URLLIB3,
    "urllib3_future": _URLLIB3,
    "websocket": _known("WebSocketTimeoutException WebSocketConnectionClosedException WebSocketAddressException"),
    "websockets": _known("ConnectionClosed InvalidMessage ProxyError", ours="ConnectionClosedOK"),
    # SDKs.
    "asyncprawcore": _known(wrappers="RequestException"),
    "azure": _known(wrappers="ServiceRequestError ServiceResponseError"),
    "botocore": _known(
        "ConnectionError ConnectionClosedError ConnectTimeoutError EndpointConnectionError IncompleteReadError "
        "ProxyConnectionError ReadTimeoutError ResponseStreamingError SSLError",
        wrappers="HTTPClientError",
    ),
    "discord": _known("ConnectionClosed GatewayNotFound"),
    "elastic_transport": _ELASTIC,
    "elasticsearch": _ELASTIC,
    "google": _known(ours="Cancelled", wrappers="TransportError"),
    "opensearchpy": _ELASTIC,
    "prawcore": _known(wrappers="RequestException"),
    "redis": _REDIS,
    "telegram": _known("NetworkError", ours="BadRequest"),
    "valkey": _REDIS,
}
#: Many SDKs come from one generator, openai's and anthropic's among them, and share these names.
_EVERYWHERE: Final = _known("APITimeoutError", wrappers="APIConnectionError")
#: Frameworks that serve: the status of their exceptions is what this program answers to its own clients.
_SERVERS: Final = frozenset(
    {
        *("blacksheep", "bottle", "cherrypy", "connexion", "django", "falcon", "fastapi", "flask", "litestar", "ninja"),
        *("pyramid", "quart", "rest_framework", "sanic", "starlette", "webob", "werkzeug"),
        *("aiohttp.web_exceptions", "tornado.web"),
    }
)
#: A package inside one of these belongs to another one.
_VENDORED: Final = frozenset({"_vendor", "_vendored", "packages", "vendor", "vendored"})


def _kind(cls: type) -> _Kind | None:
    for base in cls.__mro__:
        name, module = base.__name__, base.__module__
        if not isinstance(module, str) or module == "builtins":
            continue
        package = _package(module)
        if package in _SERVERS or module in _SERVERS:
            return _Kind.SERVER
        kind = _PACKAGES.get(package, _EVERYWHERE).get(name) or _EVERYWHERE.get(name)
        if kind is not None:
            return kind
    return None


def _package(module: str) -> str:
    parts = module.split(".")
    for number, part in enumerate(parts[:-1]):
        if part in _VENDORED:
            return parts[number + 1]
    return parts[0]


#: Where exceptions keep the one that they were made of, beside `__cause__`.
_CAUSE_NAMES: Final = ("__cause__", "reason", "original_exception", "inner_exception", "cause")


def _causes(error: BaseException) -> Iterator[BaseException]:
    for name in _CAUSE_NAMES:
        cause = _read(error, name)
        if isinstance(cause, BaseException):
            yield cause
    options = _read(error, "kwargs")
    if isinstance(options, dict) and isinstance(cause := options.get("error"), BaseException):  # botocore
        yield cause
