"""Exceptions of other libraries, known by the package and the name of their class, so that no library is imported."""

from collections.abc import Mapping
from enum import Enum
from typing import Final


class Kind(Enum):
    """What the class of an exception says."""

    #: The provider has failed.
    FAILURE = "failure"
    #: Named after connections, but wraps any exception: its cause counts, if it has one.
    WRAPPER = "wrapper"
    #: About this side, although it looks like a failure of the provider: no free connection, or an invalid request.
    OURS = "ours"
    #: A proxy on the way has failed. A status that it carries is no answer of the provider.
    PROXY = "proxy"
    #: A response of this program's own API, raised by a server framework.
    SERVER = "server"


def _known(failures: str = "", *, ours: str = "", wrappers: str = "", proxies: str = "") -> dict[str, Kind]:
    return {
        **dict.fromkeys(failures.split(), Kind.FAILURE),
        **dict.fromkeys(proxies.split(), Kind.PROXY),
        **dict.fromkeys(ours.split(), Kind.OURS),
        **dict.fromkeys(wrappers.split(), Kind.WRAPPER),
    }


_HTTPX: Final = _known(
    "TransportError TimeoutException NetworkError RemoteProtocolError ProxyError",
    ours="PoolTimeout LocalProtocolError UnsupportedProtocol ConnectionNotAvailable",
)
_REQUESTS: Final = _known("ConnectionError Timeout ChunkedEncodingError")
_URLLIB3: Final = _known("TimeoutError NewConnectionError ProtocolError ProxyError SSLError IncompleteRead InvalidHeader")
_ELASTIC: Final = _known("ConnectionError ConnectionTimeout SSLError TlsError")
_REDIS: Final = _known("ConnectionError TimeoutError", ours="AuthenticationError AuthorizationError MaxConnectionsError")
_SOCKS: Final = _known(proxies="ProxyError ProxyConnectionError ProxyTimeoutError")
#: By the top-level package of the module. The first class of the MRO that is listed decides.
_PACKAGES: Final[Mapping[str, Mapping[str, Kind]]] = {
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
    "aiohttp": _known("ClientConnectionError ClientPayloadError", proxies="ClientHttpProxyError"),
    "aiohttp_socks": _SOCKS,
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
    "python_socks": _SOCKS,
    "requests": _REQUESTS,
    "socks": _SOCKS,
    "tornado": _known("StreamClosedError"),
    "trio": _known("TooSlowError"),
    "urllib3": _URLLIB3,
    "urllib3_future": _URLLIB3,
    "websocket": _known("WebSocketTimeoutException WebSocketConnectionClosedException WebSocketAddressException"),
    "websockets": _known("ConnectionClosed InvalidMessage", ours="ConnectionClosedOK", proxies="ProxyError"),
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


def kind_of(cls: type) -> Kind | None:
    for base in cls.__mro__:
        name, module = base.__name__, base.__module__
        if not isinstance(module, str) or module == "builtins":
            continue
        package = _package(module)
        if package in _SERVERS or module in _SERVERS:
            return Kind.SERVER
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
