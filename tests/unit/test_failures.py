"""What an exception says about the provider: what it carries, or what its type is known for."""

import asyncio
import errno
import http.client
import importlib
import logging
import socket
import ssl
import urllib.error
from collections.abc import AsyncIterator, Callable, Iterator
from email.message import Message
from enum import Enum, IntEnum
from functools import partial
from http import HTTPStatus
from typing import Any, cast

import anyio
import httpcore
import httpx
import pytest
import requests
import trio
import urllib3
import websockets.exceptions
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from governor import CircuitOpen, Config, ConfigError, CounterRecord, Governor, RateLimited, Reason, Result
from governor._failures import DEFAULT, MAX_EXAMINED, Classified, Classifier
from governor_client import GovernorClient

FAILURE = Classified(Result.FAILURE)
NEUTRAL = Classified(Result.NEUTRAL)


def answered(status: int) -> Classified:
    return Classified(Result.FAILURE if status >= 500 else Result.SUCCESS, status)


class Plain:
    """An object with the attributes that it is given."""

    def __init__(self, **attributes: object) -> None:
        self.__dict__.update(attributes)


def named(module: str, *names: str, bases: tuple[type, ...] = (Exception,), **attributes: object) -> Exception:
    """An exception of a class as that module has it: the last name is its own, those before are the classes that it extends."""
    cls: type = type(names[0], bases, {"__module__": module})
    for name in names[1:]:
        cls = type(name, (cls,), {"__module__": module})
    error = cls("details")
    assert isinstance(error, Exception)
    error.__dict__.update(attributes)
    return error


def carrying(**attributes: object) -> Exception:
    """An exception of a library that is not known, with attributes."""
    error = named("sdk", "SdkError")
    error.__dict__.update(attributes)
    return error


def caused(error: Exception, cause: BaseException | None) -> Exception:
    error.__cause__ = cause
    return error


# Statuses.

SHAPES: dict[str, Callable[[int], Exception]] = {
    "openai, anthropic": lambda status: carrying(status_code=status),
    "aiohttp, PyGithub, kubernetes": lambda status: carrying(status=status),
    "stripe": lambda status: carrying(http_status=status, code="resource_missing"),
    "a method": lambda status: Calling(status),
    "gitlab": lambda status: carrying(response_code=status),
    "httpx, requests, slack_sdk, prawcore": lambda status: carrying(response=Plain(status_code=status)),
    "discord.py": lambda status: carrying(response=Plain(status=status), code=50013),
    "googleapiclient": lambda status: carrying(resp=Plain(status=status)),
    "elasticsearch": lambda status: carrying(meta=Plain(status=status)),
    "botocore": lambda status: carrying(response={"Error": {"Code": "X"}, "ResponseMetadata": {"HTTPStatusCode": status}}),
    "an answer that is false": lambda status: carrying(response=Falsy(status)),
    "numpy": lambda status: carrying(status_code=Numpy(status)),
}


class Calling(Exception):
    def __init__(self, status: int) -> None:
        self._status = status

    def http_status(self) -> int:
        return self._status


class Falsy(Plain):
    def __init__(self, status: int) -> None:
        super().__init__(status_code=status)

    def __bool__(self) -> bool:
        return False


class Numpy:
    def __init__(self, number: int) -> None:
        self._number = number

    def __index__(self) -> int:
        return self._number


@pytest.mark.promise("R06", "R16")
@given(shape=st.sampled_from(sorted(SHAPES)), status=st.integers(100, 599))
def test_a_status_decides_wherever_an_exception_carries_it(shape: str, status: int) -> None:
    assert answered(status) == DEFAULT(SHAPES[shape](status))


@given(shape=st.sampled_from(sorted(SHAPES)), number=st.integers().filter(lambda number: not 100 <= number <= 599))
def test_a_number_that_is_no_http_status_says_nothing(shape: str, number: int) -> None:
    assert NEUTRAL == DEFAULT(SHAPES[shape](number))


@given(number=st.integers(-1, 5000))
def test_a_code_is_a_status_only_if_it_is_that_of_an_error(number: int) -> None:
    assert (answered(number) if 400 <= number <= 599 else NEUTRAL) == DEFAULT(carrying(code=number))


class StatusCode(Enum):
    """As grpc has it."""

    CANCELLED = (1, "cancelled")
    RESOURCE_EXHAUSTED = (8, "resource exhausted")
    UNAVAILABLE = (14, "unavailable")


class Status(Enum):
    """As grpclib has it."""

    NOT_FOUND = 5
    UNKNOWN = 2


class JobStatus(Enum):
    """Of a program's own jobs."""

    CANCELLED = 3
    UNKNOWN = "unknown"


class RpcError(Exception):
    def __init__(self, code: object) -> None:
        self._code = code

    def code(self) -> object:
        return self._code


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (StatusCode.UNAVAILABLE, answered(503)),
        (StatusCode.RESOURCE_EXHAUSTED, answered(429)),
        (StatusCode.CANCELLED, NEUTRAL),
        (Status.NOT_FOUND, answered(404)),
        (Status.UNKNOWN, answered(500)),
        (JobStatus.UNKNOWN, NEUTRAL),
        (JobStatus.CANCELLED, NEUTRAL),
        (IntEnum("Status", {"TEAPOT": 418}).TEAPOT, answered(418)),  # type: ignore[attr-defined]  # not seen by mypy
        (HTTPStatus.BAD_GATEWAY, answered(502)),
    ],
)
def test_statuses_of_grpc_stand_for_those_of_http(code: object, expected: Classified) -> None:
    assert [expected] * 4 == [
        DEFAULT(error)
        for error in (RpcError(code), carrying(code=code), carrying(status=code), carrying(grpc_status_code=code))
    ]


class Hostile(Exception):
    """Raises whatever is read."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class Endless(Exception):
    """Has every attribute, without end."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self, f"{name}_")


class Coroutine(Exception):
    async def status(self) -> int:
        return 503


def shy(self: object) -> type:
    raise RuntimeError("no class")


NONSENSE: dict[str, Callable[[], Exception]] = {
    **{
        f"status {status!r}": partial(carrying, status_code=status)
        for status in (None, True, "503", b"503", 503.0, [503], 503j, 10**100, JobStatus.CANCELLED)
    },
    **{f"code {code!r}": partial(carrying, code=code) for code in ("missing", 1002, -1, errno.ECONNRESET, None, 302)},
    "a function": lambda: carrying(code=lambda: 503),
    "a hostile answer": lambda: carrying(response=Hostile()),
    "half an answer": lambda: carrying(response={"ResponseMetadata": None}),
    "a text": lambda: carrying(response="503"),
    "no class": lambda: type("Shy", (Exception,), {"__class__": property(shy)})(),
    "no module": lambda: type("Nowhere", (Exception,), {"__module__": None})(),
    "properties": lambda: type("Odd", (Exception,), {"status": property(shy), "__cause__": property(shy), "reason": "x"})(),
    "hostile": Hostile,
    "endless": Endless,
    "a coroutine": lambda: Coroutine(),
}


@pytest.mark.parametrize("kind", sorted(NONSENSE))
def test_nonsense_says_nothing_and_never_raises(kind: str) -> None:
    assert NEUTRAL == DEFAULT(NONSENSE[kind]())


def test_the_status_of_our_own_api_says_nothing_but_what_caused_it_may() -> None:
    own = [
        HTTPException(503),
        named("werkzeug.exceptions", "HTTPException", "ServiceUnavailable", code=503),
        named("aiohttp.web_exceptions", "HTTPException", "HTTPBadGateway", status=502),
        type("OurError", (HTTPException,), {})(503),
    ]

    assert [NEUTRAL] * 4 == [DEFAULT(error) for error in own]
    assert [FAILURE] * 4 == [DEFAULT(caused(error, httpx.ConnectError("refused"))) for error in own]


# Timeouts and network errors.

NETWORK = [
    TimeoutError(),
    TimeoutError(),
    socket.timeout(),  # noqa: UP041 - the name that older code has
    ConnectionError(),
    BrokenPipeError(),
    ConnectionRefusedError(),
    OSError(errno.EHOSTUNREACH, "no route to host"),
    OSError(errno.ENETDOWN, "network is down"),
    OSError(errno.ETIMEDOUT, "timed out"),
    OSError("all connection attempts failed"),
    socket.gaierror(socket.EAI_NONAME, "name not known"),
    socket.herror(1, "unknown host"),
    ssl.SSLError(1, "handshake failure"),
    ssl.SSLCertVerificationError(1, "certificate verify failed"),
    http.client.RemoteDisconnected("closed"),
    http.client.IncompleteRead(b""),
    http.client.BadStatusLine("HTP/1.1"),
    urllib.error.URLError(socket.gaierror(socket.EAI_NONAME, "name not known")),
    urllib.error.ContentTooShortError("retrieval incomplete", ("", Message())),
    asyncio.IncompleteReadError(b"", 5),
    trio.TooSlowError(),
    httpx.ConnectTimeout(""),
    httpx.ReadError(""),
    httpx.RemoteProtocolError(""),
    httpx.ProxyError(""),
    httpcore.ConnectError(""),
    httpcore.ReadTimeout(""),
    requests.ConnectionError(),
    requests.ReadTimeout(),
    requests.exceptions.SSLError(),
    requests.exceptions.ChunkedEncodingError(),
    urllib3.exceptions.ReadTimeoutError(urllib3.HTTPConnectionPool("a"), "/", "timed out"),
    requests.exceptions.InvalidHeader(urllib3.exceptions.InvalidHeader()),
    urllib3.exceptions.ProtocolError("broken"),
    urllib3.exceptions.MaxRetryError(urllib3.HTTPConnectionPool("a"), "/", urllib3.exceptions.ConnectTimeoutError("refused")),
    websockets.exceptions.ConnectionClosedError(None, None),
    websockets.exceptions.InvalidProxyStatus(cast("Any", Plain(status_code=429))),
    # Libraries that are not installed here, as they name their classes.
    named("httpx2", "TransportError", "NetworkError", "ReadError"),
    named("aiohttp.client_exceptions", "ClientError", "ClientConnectionError", "ServerDisconnectedError"),
    named("aiohttp.client_exceptions", "ClientError", "ClientPayloadError"),
    named("aiohttp.client_exceptions", "ClientError", "ClientResponseError", "ClientHttpProxyError", status=403),
    named("aiohttp_socks._errors", "ProxyError", error_code=5),
    named("socks", "ProxyError", "GeneralProxyError", bases=(OSError,)),
    named("niquests.exceptions", "ConnectionError", bases=(OSError,)),
    named("urllib3_future.exceptions", "TimeoutError", "ReadTimeoutError"),
    named("pip._vendor.requests.exceptions", "ConnectionError", "ConnectTimeout"),
    named(
        "botocore.exceptions", "ConnectionError", "EndpointConnectionError", kwargs={"endpoint_url": "https://a", "error": "no"}
    ),
    named("botocore.exceptions", "HTTPClientError", kwargs={"error": OSError(errno.EHOSTUNREACH, "no route")}),
    named("botocore.exceptions", "HTTPClientError"),
    named("openai", "APIError", "APIConnectionError"),
    named("anthropic", "APIError", "APIConnectionError", "APITimeoutError"),
    named("stripe._error", "StripeError", "APIConnectionError", http_status=None, code=None),
    named("prawcore.exceptions", "RequestException", original_exception=requests.ConnectionError()),
    named("elastic_transport", "TransportError", "ConnectionTimeout"),
    named("elasticsearch.exceptions", "TransportError", "ConnectionError", status_code="N/A"),
    named("google.auth.exceptions", "TransportError"),
    named("google.api_core.exceptions", "RetryError", cause=TimeoutError()),
    named("telegram.error", "NetworkError", "TimedOut"),
    named("redis.exceptions", "ConnectionError"),
    named("grpc", "FutureTimeoutError"),
]
OURS = [
    *(
        kind()
        for kind in (KeyError, ValueError, AssertionError, TypeError, IndexError, StopIteration, RuntimeError, MemoryError)
    ),
    *(asyncio.InvalidStateError(), asyncio.QueueFull(), EOFError(), UnicodeDecodeError("utf-8", b"", 0, 1, "bad")),
    FileNotFoundError(errno.ENOENT, "no such file", "report.csv"),
    PermissionError(errno.EACCES, "denied", "report.csv"),
    OSError(errno.ENOSPC, "disk full"),
    OSError(errno.EMFILE, "too many open files"),
    OSError(errno.EHOSTDOWN, "host is down", "/mnt/share/report.csv"),
    type("UnidentifiedImageError", (OSError,), {})("timed out"),
    Exception("503 Service Unavailable: connection reset, timed out"),
    urllib.error.URLError("unknown url type: foo"),
    http.client.CannotSendRequest(),
    http.client.InvalidURL(),
    httpx.PoolTimeout(""),
    httpx.UnsupportedProtocol(""),
    httpx.LocalProtocolError(""),
    httpx.InvalidURL(""),
    httpx.StreamConsumed(),
    httpx.DecodingError(""),
    httpcore.PoolTimeout(""),
    requests.exceptions.InvalidURL(),
    requests.exceptions.InvalidHeader(),
    requests.TooManyRedirects(),
    urllib3.exceptions.LocationValueError(),
    urllib3.exceptions.MaxRetryError(urllib3.HTTPConnectionPool("a"), "/", urllib3.exceptions.ResponseError("too many 503")),
    named("myapp.errors", "ConnectionError"),
    named("myapp.requests", "Timeout"),
    named("redis.exceptions", "ConnectionError", "AuthenticationError"),
    named("telegram.error", "NetworkError", "BadRequest"),
    named("google.api_core.exceptions", "Cancelled", code=499),
    caused(named("openai", "APIConnectionError"), httpx.LocalProtocolError("illegal header value")),
    caused(named("anthropic", "APIConnectionError"), RateLimited("openai", Reason.RATE_LIMIT, 1.0)),
    named("botocore.exceptions", "HTTPClientError", kwargs={"error": KeyError("customer_id")}),
    RateLimited("github", Reason.RATE_LIMIT, 1.0),
    ConfigError("cost", 0, "1"),
]
#: A denial by an adapter of an HTTP library is an error of that library as well, so that code around the library handles it.
FAMILIES: list[type[Exception]] = [
    httpx.TransportError,
    httpx.ConnectError,
    httpx.PoolTimeout,
    requests.RequestException,
    requests.ConnectionError,
    urllib3.exceptions.HTTPError,
    urllib3.exceptions.ProtocolError,
    type(named("httpx2", "TransportError", "ConnectTimeout")),
    type(named("aiohttp.client_exceptions", "ClientError", "ClientConnectionError")),
    ConnectionError,
    TimeoutError,
]
ENDED = [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(503), GeneratorExit()]


def _label(error: object) -> str:
    return f"{type(error).__module__}.{type(error).__name__}"


@pytest.mark.promise("R06", "R16")
@pytest.mark.parametrize("error", NETWORK, ids=_label)
def test_timeouts_and_network_errors_are_failures(error: Exception) -> None:
    assert FAILURE == DEFAULT(error)


@pytest.mark.promise("R06", "R16")
@pytest.mark.parametrize("error", OURS, ids=_label)
def test_what_does_not_say_that_the_provider_failed_is_neutral(error: Exception) -> None:
    assert NEUTRAL == DEFAULT(error)


def denial_of(family: type[Exception], *, ours_first: bool) -> Exception:
    bases = (CircuitOpen, family) if ours_first else (family, CircuitOpen)
    body: dict[str, object] = {"__init__": CircuitOpen.__init__, "status_code": 503, "response": Plain(status_code=503)}
    denial: Exception = type("Denied", bases, body)("github:get", Reason.CIRCUIT_OPEN, 5.0)
    return denial


@pytest.mark.promise("R06", "R16")
@pytest.mark.parametrize("ours_first", [True, False])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: f"{family.__module__}.{family.__name__}")
def test_a_denial_that_is_an_error_of_an_http_library_as_well_is_no_failure(
    family: type[Exception], *, ours_first: bool
) -> None:
    asked: list[Exception] = []
    denial = denial_of(family, ours_first=ours_first)
    wrapped: list[Exception] = [
        denial,
        caused(named("openai", "APIConnectionError"), denial),
        caused(named("openai", "APITimeoutError"), denial),
        requests.ConnectionError(urllib3.exceptions.MaxRetryError(cast("Any", None), "/", denial)),
        urllib3.exceptions.ProtocolError("Connection aborted.", denial),
        caused(ConnectionResetError(), caused(KeyError(), denial)),
        ExceptionGroup("tasks", [KeyError(), denial]),
    ]

    assert [NEUTRAL] * len(wrapped) == [DEFAULT(error) for error in wrapped]
    assert NEUTRAL == Classifier(asked.append)(denial)
    assert [] == asked


@pytest.mark.parametrize("error", ENDED, ids=_label)
def test_what_ends_a_program_or_a_task_is_neutral(error: BaseException) -> None:
    assert NEUTRAL == DEFAULT(error)


def test_cancellation_by_trio_is_neutral() -> None:
    caught: list[BaseException] = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as error:
                caught.append(error)
                raise

    trio.run(main)

    assert [NEUTRAL] == [DEFAULT(error) for error in caught]


@pytest.mark.anyio
async def test_a_connection_that_no_address_answers_is_a_failure(unused_tcp_ports: tuple[int, int]) -> None:
    with pytest.raises(OSError, match="connection attempts failed") as raised:
        await anyio.connect_tcp("localhost", unused_tcp_ports[0])

    assert FAILURE == DEFAULT(raised.value)


def test_a_connection_that_none_of_several_addresses_answers_is_a_failure(unused_tcp_ports: tuple[int, int]) -> None:
    async def connect() -> None:
        loop = asyncio.get_running_loop()

        async def addresses(*_: object, **__: object) -> list[object]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in unused_tcp_ports]

        loop.getaddrinfo = addresses  # type: ignore[method-assign,assignment]  # of this loop alone
        await asyncio.open_connection("a.example", 80)

    with pytest.raises(OSError, match="Multiple exceptions") as raised:
        asyncio.run(connect())

    assert (None, FAILURE) == (raised.value.errno, DEFAULT(raised.value))


@pytest.fixture
def unused_tcp_ports() -> Iterator[tuple[int, int]]:
    """Ports of this machine where no server answers: bound, and not listened to."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        yield one.getsockname()[1], other.getsockname()[1]


def _openai(module: Any) -> list[Exception]:
    request = httpx.Request("POST", "https://a.example")
    return [
        module.InternalServerError("", response=httpx.Response(503, request=request), body=None),
        module.APITimeoutError(request=request),
        module.RateLimitError("", response=httpx.Response(429, request=request), body=None),
        caused(module.APIConnectionError(request=request), KeyError()),
    ]


def _aiohttp(module: Any) -> list[Exception]:
    info = module.RequestInfo("https://a.example", "GET", {}, "https://a.example")
    return [
        module.ClientResponseError(info, (), status=503),
        module.ServerDisconnectedError(),
        module.ClientResponseError(info, (), status=429),
        module.InvalidURL("a"),
    ]


def _botocore(module: Any) -> list[Exception]:
    def client_error(status: int) -> Exception:
        said = {"Error": {"Code": "X"}, "ResponseMetadata": {"HTTPStatusCode": status}}
        return cast("Exception", module.ClientError(said, "GetObject"))

    return [
        client_error(503),
        module.ReadTimeoutError(endpoint_url="https://a.example"),
        client_error(429),
        module.ParamValidationError(report="missing"),
    ]


def _grpc(module: Any) -> list[Exception]:
    def rpc_error(name: str) -> Exception:
        return cast("Exception", module.aio.AioRpcError(module.StatusCode[name], module.aio.Metadata(), module.aio.Metadata()))

    return [rpc_error("UNAVAILABLE"), module.FutureTimeoutError(), rpc_error("RESOURCE_EXHAUSTED"), rpc_error("CANCELLED")]


@pytest.mark.parametrize(
    ("module", "make"),
    [
        ("openai", _openai),
        ("anthropic", _openai),
        ("aiohttp", _aiohttp),
        ("botocore.exceptions", _botocore),
        ("grpc", _grpc),
    ],
)
def test_real_exceptions_of_sdks_say_the_same(module: str, make: Callable[[Any], list[Exception]]) -> None:
    pytest.importorskip(module, reason="a large package that nothing else here needs")

    down, lost, limited, ours = (DEFAULT(error) for error in make(importlib.import_module(module)))

    assert (answered(503), FAILURE, answered(429), NEUTRAL) == (down, lost, limited, ours)


# Causes and groups.


def test_the_outermost_exception_that_says_something_decides() -> None:
    lost, missing = httpx.ReadTimeout(""), carrying(status_code=404)

    assert FAILURE == DEFAULT(caused(ValueError("no report"), caused(KeyError("page"), lost)))
    assert answered(404) == DEFAULT(caused(ValueError("no report"), missing))
    assert answered(404) == DEFAULT(caused(carrying(status_code=404), lost))
    assert FAILURE == DEFAULT(caused(TimeoutError(), asyncio.CancelledError()))
    assert NEUTRAL == DEFAULT(caused(ValueError(), KeyError()))


def test_an_exception_while_another_was_handled_is_not_its_effect() -> None:
    with pytest.raises(KeyError) as raised:
        try:
            raise TimeoutError
        except TimeoutError:
            {"fresh": 1}["cached"]

    assert NEUTRAL == DEFAULT(raised.value)


def test_a_group_is_a_failure_if_any_member_is_else_an_answer_if_any_is() -> None:
    mistakes = [KeyError() for _ in range(300)]
    deep: Exception = ConnectionResetError()
    for _ in range(400):
        deep = ExceptionGroup("tasks", [deep])

    assert FAILURE == DEFAULT(ExceptionGroup("tasks", [*mistakes, carrying(status=404), TimeoutError()]))
    assert answered(503) == DEFAULT(ExceptionGroup("tasks", [carrying(status=503), *mistakes]))
    assert answered(404) == DEFAULT(BaseExceptionGroup("tasks", [asyncio.CancelledError(), *mistakes, carrying(status=404)]))
    assert FAILURE == DEFAULT(BaseExceptionGroup("tasks", [KeyboardInterrupt(), ConnectionResetError()]))
    assert FAILURE == DEFAULT(deep)
    assert [NEUTRAL] * 2 == [DEFAULT(ExceptionGroup("", mistakes)), DEFAULT(BaseExceptionGroup("", [KeyboardInterrupt()]))]


def test_a_chain_without_end_is_left_at_some_time() -> None:
    ring, partner = KeyError(), ValueError()
    ring.__cause__, partner.__cause__ = partner, ring
    far: Exception = TimeoutError()
    for _ in range(MAX_EXAMINED):
        far = caused(KeyError(), far)

    assert [NEUTRAL, NEUTRAL] == [DEFAULT(ring), DEFAULT(far)]


# The function of a program.


class Declined(Exception):
    """Whatever a program's own function makes of it."""


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        ("failure", FAILURE),
        ("neutral", NEUTRAL),
        ("success", Classified(Result.SUCCESS)),
        (Result.FAILURE, FAILURE),
        (502, answered(502)),
        (HTTPStatus.TOO_MANY_REQUESTS, answered(429)),
        (None, answered(418)),
    ],
)
def test_a_program_may_say_what_an_exception_means(verdict: Any, expected: Classified) -> None:
    assert expected == Classifier(lambda _: verdict)(carrying(status_code=418))


@pytest.mark.parametrize("verdict", ["Failure", "", True, False, 1002, 0, 1.5, object(), ["failure"]])
def test_a_verdict_that_is_none_is_logged_once_and_the_rules_apply(verdict: Any, caplog: pytest.LogCaptureFixture) -> None:
    classifier = Classifier(lambda _: verdict)

    assert [FAILURE, NEUTRAL] == [classifier(TimeoutError()), classifier(KeyError())]
    assert [("governor", logging.ERROR)] == [(record.name, record.levelno) for record in caplog.records]
    assert "expected 'failure', 'success', 'neutral', an HTTP status" in caplog.text


def test_a_function_that_fails_is_logged_once_and_the_rules_apply(caplog: pytest.LogCaptureFixture) -> None:
    def classify(error: Exception) -> int:
        raise AttributeError("status")

    classifier = Classifier(classify)
    of_one_permit = [Classifier(classify, fallback=classifier) for _ in range(2)]

    assert [FAILURE] * 3 == [one(TimeoutError()) for one in (classifier, *of_one_permit)]
    assert ["`classify` failed; the exception is classified without it. This is logged once."] == caplog.messages


def test_a_function_is_asked_of_the_members_of_a_group_and_not_of_causes_refusals_or_cancellation() -> None:
    asked: list[BaseException] = []
    one, other, cause = Declined(), KeyError(), ValueError()
    refusal = RateLimited("github", Reason.RATE_LIMIT, 1.0)
    group = BaseExceptionGroup("", [ExceptionGroup("", [caused(one, cause)]), other, refusal, asyncio.CancelledError()])

    Classifier(asked.append)(group)

    assert [one, other] == asked


@pytest.mark.parametrize("classify", ["failure", 503, RpcError("x").args])
def test_what_is_no_function_is_rejected(classify: Any) -> None:
    with pytest.raises(ConfigError, match="classify"):
        Governor(classify=classify)


def test_a_function_that_would_have_to_be_awaited_is_rejected() -> None:
    async def classify(_: Exception) -> None: ...

    for reject in (
        lambda: Governor(classify=cast("Any", classify)),
        lambda: Governor().permit("w", classify=cast("Any", classify)),
    ):
        with pytest.raises(ConfigError, match="not `async`"):
            reject()


# In a governor.

BREAKER = Config.from_mapping({"outbound": {"default": {"breaker": {"failures": 3}}}})


@pytest.fixture
async def governor() -> AsyncIterator[Governor]:
    """A governor whose breakers open after three failures, with a function that calls one more exception a failure."""

    def classify(error: Exception) -> int | None:
        return 500 if isinstance(error, Declined) else None

    async with Governor(BREAKER, classify=classify) as governor:
        yield governor


async def _calls(governor: Governor, times: int, error: Exception, **options: Any) -> tuple[str, CounterRecord]:
    for _ in range(times):
        with pytest.raises(type(error)):
            async with governor.permit("w", timeout=0, **options):
                raise error
    statistics = governor.statistics()
    return statistics.scopes["w"].breaker.status, statistics.counters


@pytest.mark.anyio
@pytest.mark.promise("R06", "R08", "R16")
async def test_mistakes_of_the_program_open_no_breaker_and_pause_nothing(governor: Governor) -> None:
    state, counters = await _calls(governor, 50, KeyError("customer_id"))

    assert ("closed", 0.0) == (state, governor.statistics().degraded_for)
    assert CounterRecord(requests=50, neutral=50) == counters


@pytest.mark.anyio
@pytest.mark.promise("R06", "R16")
@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (carrying(status_code=400), CounterRecord(requests=20, answered_4xx=20)),
        (carrying(status_code=429), CounterRecord(requests=20, answered_4xx=20, answered_429=20)),
    ],
)
async def test_answers_that_an_sdk_raises_are_counted_as_answers(
    governor: Governor, error: Exception, counted: CounterRecord
) -> None:
    assert ("closed", counted) == await _calls(governor, 20, error)


@pytest.mark.anyio
@pytest.mark.promise("R06", "R16")
@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (carrying(status_code=503), CounterRecord(requests=3, answered_5xx=3, openings=1)),
        (Declined(), CounterRecord(requests=3, answered_5xx=3, openings=1)),
        (ExceptionGroup("", [KeyError(), ConnectionResetError()]), CounterRecord(requests=3, failures=3, openings=1)),
    ],
)
async def test_failures_open_the_breaker(governor: Governor, error: Exception, counted: CounterRecord) -> None:
    assert ("open", counted) == await _calls(governor, 3, error)


@pytest.mark.anyio
async def test_a_single_call_may_be_classified_in_another_way(governor: Governor) -> None:
    def classify(error: Exception) -> Any:
        return "failure" if isinstance(error, KeyError) else None

    client = GovernorClient(governor)
    for request in (governor.permit("w", classify=classify), client.permit("w", classify=classify)):
        with pytest.raises(KeyError):
            async with request:
                raise KeyError
    await _calls(governor, 1, Declined(), classify=classify)

    assert CounterRecord(requests=3, failures=2, answered_5xx=1, openings=1) == governor.statistics().counters


@pytest.mark.anyio
async def test_a_recorded_error_follows_the_same_rules(governor: Governor) -> None:
    for error in (KeyError(), Declined(), TimeoutError(), asyncio.CancelledError(), carrying(status=404)):
        async with governor.permit("w") as permit:
            permit.record(error=error)

    assert CounterRecord(requests=5, neutral=2, answered_5xx=1, failures=1, answered_4xx=1) == governor.statistics().counters


def test_on_a_thread_of_its_own_exceptions_are_classified_as_well() -> None:
    with Governor(BREAKER) as governor:
        for error in (KeyError(), TimeoutError(), carrying(status=404)):
            with pytest.raises(type(error)), governor.permit("w"):
                raise error

        assert CounterRecord(requests=3, neutral=1, failures=1, answered_4xx=1) == governor.statistics().counters
