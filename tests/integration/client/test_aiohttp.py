"""What is special about aiohttp: bodies that arrive in the background, its own repetition, timers, middlewares, WebSockets."""

import asyncio
import gc
import pickle
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol

import aiohttp
import pytest
from aiohttp import ClientSession, ClientTimeout, web
from aiohttp.test_utils import TestServer
from aioresponses import aioresponses

from governor import (
    CircuitOpen,
    CounterRecord,
    Governor,
    Permit,
    PermitDenied,
    ProviderCooldown,
    RateLimited,
    Reason,
    UsageError,
)
from governor.testing import denying
from governor_client import wait_at_most
from governor_client._terms import Terms
from governor_client.aiohttp import GovernedMiddleware, govern, governing_trace
from tests.support.governors import brief_denials, only_retries
from tests.support.provider import NO_ANSWER, SILENCE, End, Provider, Reply, loopback_provider, status, stream
from tests.support.waits import PATIENCE

pytestmark = pytest.mark.anyio

HALF = Reply(pieces=(b"half ",), end=End.BROKEN)
OPEN = stream(b"first", end=End.SILENT)


class Make(Protocol):
    """Makes a governed session."""

    def __call__(self, governor: Governor, *, timeout: ClientTimeout = ..., **options: Any) -> ClientSession: ...


def by_govern(governor: Governor, *, timeout: ClientTimeout = aiohttp.client.DEFAULT_TIMEOUT, **options: Any) -> ClientSession:
    return govern(ClientSession(timeout=timeout), "weather", governor=governor, govern_loopback=True, **options)


def by_middleware(
    governor: Governor, *, timeout: ClientTimeout = aiohttp.client.DEFAULT_TIMEOUT, **options: Any
) -> ClientSession:
    middleware = GovernedMiddleware("weather", governor=governor, govern_loopback=True, **options)
    return ClientSession(timeout=timeout, middlewares=(middleware,))


def by_trace(governor: Governor, *, timeout: ClientTimeout = aiohttp.client.DEFAULT_TIMEOUT, **options: Any) -> ClientSession:
    trace = governing_trace("weather", governor=governor, govern_loopback=True, **options)
    return ClientSession(timeout=timeout, trace_configs=[trace])


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Aiohttp runs on asyncio only."""
    return "asyncio"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with loopback_provider() as provider:
        yield provider


@pytest.fixture(autouse=True)
def fresh(provider: Provider) -> None:
    provider.requests.clear()


@pytest.fixture
async def governor() -> AsyncIterator[Governor]:
    """One whose permits for GET are at hand: a plain request is sent without an operation until it needs one."""
    with brief_denials():
        async with Governor(only_retries("1ms")) as governor:
            governor._access.find("weather", "GET", None)
            yield governor


@pytest.fixture(params=[by_govern, by_middleware, by_trace])
def make(request: pytest.FixtureRequest) -> Make:
    """The three ways to a governed session."""
    way: Make = request.param
    return way


def counters(governor: Governor) -> CounterRecord:
    return governor.statistics().counters


def in_flight(governor: Governor) -> int:
    """The number of permits whose outcome is not known."""
    counted = counters(governor)
    answered = counted.answered_2xx + counted.answered_4xx + counted.answered_5xx
    return counted.requests - (answered + counted.failures + counted.neutral + counted.others)


# Attempts.


@pytest.mark.promise("R05", "R56")
async def test_each_attempt_and_each_redirect_takes_a_permit(governor: Governor, make: Make, provider: Provider) -> None:
    provider.at("/end", status(503), status(200, b"end"))
    start = provider.at("/start", status(302, location="/end"))

    async with make(governor) as session, session.get(start) as response:
        body = await response.read()

    assert (b"end", 1) == (body, len(response.history))
    assert ["/start", "/end", "/end"] == [request.path for request in provider.requests]
    assert CounterRecord(requests=3, answered_5xx=1, answered_2xx=1, others=1, retries=1) == counters(governor)


@pytest.mark.promise("R05", "R56")
async def test_nor_does_it_repeat_one_that_is_sent_once(make: Make, provider: Provider) -> None:
    url = provider.at("/", status(200), NO_ANSWER)

    async with Governor(only_retries("1ms", retry={"attempts": 1})) as governor, make(governor) as session:
        for _ in range(2):  # The second on the connection of the first, which aiohttp would repeat.
            governor._access.find("weather", "GET", None)
            with suppress(aiohttp.ServerDisconnectedError):
                async with session.get(url) as response:
                    await response.read()

    assert 2 == len(provider.requests)


@pytest.mark.promise("R58")
async def test_an_sdk_that_repeats_a_call_whose_retries_are_used_up_gets_the_error_again_and_the_server_nothing(
    governor: Governor, make: Make, provider: Provider
) -> None:
    url = provider.at("/", NO_ANSWER)

    async with make(governor) as session:
        for number in ("0", "1", "1"):
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await session.get(url, headers={"x-stainless-retry-count": number})

    assert 3 == len(provider.requests)


@pytest.mark.promise("R58")
async def test_what_the_headers_of_a_session_say_counts_as_what_those_of_a_call_do(
    governor: Governor, provider: Provider
) -> None:
    url = provider.at("/", NO_ANSWER)

    async with by_govern(governor) as session:
        for number in ("0", "1", "1"):
            session._default_headers["x-stainless-retry-count"] = number
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await session.get(url)

    assert 3 == len(provider.requests)


@pytest.mark.promise("R56")
async def test_a_denial_of_another_governed_call_within_a_call_is_an_error_of_aiohttp(
    governor: Governor, provider: Provider
) -> None:
    async def deny(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        raise RateLimited("tokens", Reason.RATE_LIMIT, 1.0)

    async with govern(ClientSession(middlewares=(deny,)), "weather", governor=governor, govern_loopback=True) as session:
        with pytest.raises(aiohttp.ClientError) as raised:
            await session.get(provider.at("/", status(200)))

    assert (True, 0) == (isinstance(raised.value, RateLimited), len(provider.requests))


@pytest.mark.promise("R05")
async def test_aiohttp_does_not_repeat_by_itself_a_request_whose_connection_was_closed(
    governor: Governor, make: Make, provider: Provider
) -> None:
    url = provider.at("/closes", NO_ANSWER)

    async with make(governor) as session:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.get(url)

    assert 3 == len(provider.requests)
    assert CounterRecord(requests=3, failures=3, retries=2) == counters(governor)


@pytest.mark.promise("R05")
@pytest.mark.parametrize(
    ("reply", "sent"),
    [(status(429, retry_after="0"), 3), (status(503, retry_after="0"), 3), (status(500), 1), (NO_ANSWER, 1)],
)
async def test_a_post_is_repeated_only_if_it_was_not_processed(
    governor: Governor, make: Make, provider: Provider, reply: Reply, sent: int
) -> None:
    url = provider.at("/", reply)

    async with make(governor) as session:
        with suppress(aiohttp.ClientError):
            await session.post(url, json={"a": 1})

    assert [b'{"a": 1}'] * sent == [request.body for request in provider.requests]


@pytest.mark.promise("R05")
async def test_a_post_that_redirects_is_not_sent_again_for_the_failure_of_what_it_redirects_to(
    governor: Governor, make: Make, provider: Provider
) -> None:
    provider.at("/result", status(429, retry_after="0"))
    url = provider.at("/", status(303, location="/result"))

    async with make(governor) as session, session.post(url, data=b"order") as response:
        assert 429 == response.status

    assert ["POST"] + 3 * ["GET"] == [request.method for request in provider.requests]


async def test_a_call_whose_body_cannot_be_sent_again_is_not_plain(
    governor: Governor, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []
    take = Terms.take

    def taking(terms: Terms, host: str, method: str) -> Permit | None:
        taken.append(method)
        return take(terms, host, method)

    monkeypatch.setattr(Terms, "take", taking)
    url = provider.at("/", status(200))
    governor._access.find("weather", "PUT", None)

    async with by_govern(governor) as session:
        for body in (b"whole", _pieces()):
            async with session.put(url, data=body) as response:
                await response.read()

    assert (["PUT"], 2) == (taken, len(provider.requests))


@pytest.mark.promise("R05")
async def test_a_call_that_redirects_is_not_sent_again_for_the_connection_of_what_it_redirects_to(
    governor: Governor, provider: Provider
) -> None:
    provider.at("/end", NO_ANSWER)
    url = provider.at("/", status(302, location="/end"))

    async with by_govern(governor) as session:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.get(url)

    assert ["/"] + 3 * ["/end"] == [request.path for request in provider.requests]


async def _pieces() -> AsyncIterator[bytes]:
    yield b"once"


def _form(value: object, **options: Any) -> aiohttp.FormData:
    form = aiohttp.FormData()
    form.add_field("name", value, **options)
    return form


@pytest.mark.promise("R05")
@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (lambda: b"bytes", 3),
        (lambda: {"key": "value"}, 3),
        (lambda: _form("value"), 3),
        (lambda: _form("value", content_type="text/plain"), 3),
        (_pieces, 1),
        (lambda: _form(_pieces(), content_type="text/plain"), 1),
    ],
)
async def test_a_body_that_cannot_be_read_again_is_sent_once(
    governor: Governor, make: Make, provider: Provider, body: Callable[[], Any], sent: int
) -> None:
    url = provider.at("/", status(503))

    async with make(governor) as session, session.put(url, data=body()) as response:
        assert 503 == response.status

    assert sent == len(provider.requests)
    assert 1 == len({_without_boundary(request.body) for request in provider.requests})


def _without_boundary(body: bytes) -> bytes:
    boundary = body.partition(b"\r\n")[0] if body.startswith(b"--") else b"\x00"
    return body.replace(boundary, b"")


@pytest.mark.promise("R06")
@pytest.mark.parametrize(
    ("mistake", "raised"),
    [
        (LookupError("a bug of the program"), aiohttp.ClientConnectionError),
        (FileNotFoundError("rows.csv"), aiohttp.ClientOSError),
        (TimeoutError("another provider"), TimeoutError),
    ],
)
async def test_a_body_that_fails_while_it_is_read_is_no_failure_of_the_provider(
    governor: Governor, make: Make, provider: Provider, mistake: Exception, raised: type[Exception]
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"piece"
        raise mistake

    async with make(governor) as session:
        with pytest.raises(raised):
            await session.put(provider.at("/", status(200)), data=body())

    assert CounterRecord(requests=1, neutral=1) == counters(governor)


# Errors.


@pytest.mark.promise("R05")
async def test_a_refused_connection_is_an_attempt_that_never_left(governor: Governor, make: Make, closed_port: int) -> None:
    async with make(governor) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.post(f"http://127.0.0.1:{closed_port}/", data=b"order")

    assert CounterRecord(requests=3, failures=3, retries=2) == counters(governor)


@pytest.mark.promise("R05")
async def test_a_connector_for_socks_whose_proxy_cannot_connect_is_the_same(
    governor: Governor, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = type("ProxyError", (Exception,), {"__module__": "aiohttp_socks._errors"})

    async def connect(*args: object, **options: object) -> None:
        raise error("Connection refused by destination host")

    monkeypatch.setattr(aiohttp.TCPConnector, "_wrap_create_connection", connect)
    async with make(governor) as session:
        with pytest.raises(error):
            await session.post("http://127.0.0.1:1/", data=b"order")

    assert CounterRecord(requests=3, failures=3, retries=2) == counters(governor)


@pytest.mark.promise("R05")
@pytest.mark.parametrize(("method", "sent"), [("GET", 3), ("POST", 1)])
async def test_silence_is_a_timeout_after_which_a_post_is_not_repeated(
    governor: Governor, make: Make, provider: Provider, method: str, sent: int
) -> None:
    url = provider.at("/", SILENCE)

    async with make(governor, timeout=ClientTimeout(total=None, sock_read=0.05)) as session:
        with pytest.raises(aiohttp.SocketTimeoutError):
            await session.request(method, url)

    assert CounterRecord(requests=sent, failures=sent, retries=sent - 1) == counters(governor)


@pytest.mark.promise("R05", "R57")
@pytest.mark.parametrize(("way", "sent"), [(by_govern, 3), (by_middleware, 1)])
async def test_the_total_timeout_is_a_failure_and_each_attempt_of_a_governed_session_has_it_for_itself(
    governor: Governor, provider: Provider, way: Make, sent: int
) -> None:
    url = provider.at("/", SILENCE)

    async with way(governor, timeout=ClientTimeout(total=0.05)) as session:
        with pytest.raises(TimeoutError):
            await session.get(url)

    assert CounterRecord(requests=sent, failures=sent, retries=sent - 1) == counters(governor)


async def test_a_full_pool_gives_the_permit_back(governor: Governor, provider: Provider) -> None:
    connector = aiohttp.TCPConnector(limit=1)
    session = ClientSession(connector=connector)
    govern(session, "weather", governor=governor, govern_loopback=True)

    async with session, session.get(provider.at("/", OPEN)):
        with pytest.raises(aiohttp.ConnectionTimeoutError):
            await session.get(provider.at("/other", status(200)), timeout=ClientTimeout(connect=0.02))

        assert CounterRecord(requests=4, neutral=3, retries=2) == counters(governor)


async def test_a_call_that_is_not_sent_because_it_is_wrong_gives_its_permit_back(make: Make, provider: Provider) -> None:
    url = provider.at("/", status(200))

    async with Governor(only_retries("1ms", limits=["1/h"])) as governor, make(governor) as session:
        for wrong in ("http://", "nonsense", "ftp://host/"):
            with pytest.raises(aiohttp.ClientError):
                await session.get(wrong)
        with pytest.raises(ValueError, match="at the same time"):
            await session.get(url, data=b"", json={})

        assert 200 == (await session.get(url)).status


@pytest.mark.promise("R06")
@pytest.mark.parametrize("mistake", [FileNotFoundError("token"), TimeoutError("another provider"), LookupError("token")])
async def test_a_middleware_that_fails_before_the_request_is_sent_gives_the_permit_back(
    governor: Governor, provider: Provider, mistake: Exception
) -> None:
    async def sign(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        raise mistake

    async with by_govern(governor) as session:
        for headers in ({}, {"x-stainless-retry-count": "0"}):  # The second one is no plain request.
            with pytest.raises((type(mistake), aiohttp.ClientOSError)):
                await session.get(provider.at("/", status(200)), middlewares=(sign,), headers=headers)

    assert CounterRecord(requests=2, neutral=2) == counters(governor)


async def test_an_answer_that_is_no_http_is_a_failure(governor: Governor, make: Make, break_off: Callable[..., Any]) -> None:
    server = break_off(b"nonsense\r\n\r\n")

    async with make(governor) as session:
        with pytest.raises(aiohttp.ClientResponseError):
            await session.get(server.url)

    assert (3, CounterRecord(requests=3, failures=3, retries=2)) == (len(server.requests), counters(governor))


# The end of an answer.


@pytest.mark.promise("R05", "R56")
async def test_the_outcome_of_a_stream_is_known_when_it_ends_breaks_off_or_is_closed(
    governor: Governor, make: Make, provider: Provider
) -> None:
    async with make(governor) as session:
        async with session.get(provider.at("/", OPEN)) as response:
            assert b"first" == await response.content.readany()
            assert 1 == in_flight(governor)
        assert CounterRecord(requests=1, answered_2xx=1) == counters(governor)

        response = await session.get(provider.at("/", OPEN))
        response.close()
        assert CounterRecord(requests=2, answered_2xx=2) == counters(governor)

        async with session.get(provider.at("/", HALF)) as response:
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
        assert CounterRecord(requests=3, answered_2xx=2, failures=1) == counters(governor)

        async with session.get(provider.at("/", status(200, b"whole"))) as response:
            assert b"whole" == await response.read()
        assert CounterRecord(requests=4, answered_2xx=3, failures=1) == counters(governor)


@pytest.mark.promise("R05")
@pytest.mark.filterwarnings("ignore:Unclosed connection", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_answer_that_is_dropped_unread_is_accounted_for(governor: Governor, make: Make, provider: Provider) -> None:
    async with make(governor) as session:
        await session.get(provider.at("/", status(200, b"short")))
        await session.get(provider.at("/", OPEN))
        await _until(lambda: 1 == in_flight(governor))

    await _until(lambda: gc.collect() >= 0 and 0 == in_flight(governor))


@pytest.mark.promise("R05")
async def test_an_answer_that_breaks_off_is_a_failure_although_no_code_reads_it(
    governor: Governor, make: Make, provider: Provider
) -> None:
    async with make(governor) as session:
        response = await session.get(provider.at("/", HALF))
        await _until(lambda: 0 == in_flight(governor))

        assert CounterRecord(requests=1, failures=1) == counters(governor)
        response.close()


@pytest.mark.promise("R05")
async def test_a_timeout_while_the_body_is_read_is_a_failure(governor: Governor, make: Make, provider: Provider) -> None:
    async with make(governor, timeout=ClientTimeout(total=0.5)) as session:
        with pytest.raises(TimeoutError):
            async with session.get(provider.at("/", OPEN)) as response:
                await response.read()

    assert CounterRecord(requests=1, failures=1) == counters(governor)


@pytest.mark.promise("R05", "R56")
async def test_a_buffered_answer_that_breaks_off_is_retried(governor: Governor, make: Make, provider: Provider) -> None:
    url = provider.at("/", HALF, status(200, b"whole"))

    async with make(governor, buffered=True) as session, session.get(url) as response:
        assert b"whole" == b"".join([chunk async for chunk in response.content.iter_chunked(2)])

    assert CounterRecord(requests=2, failures=1, answered_2xx=1, retries=1) == counters(governor)


async def test_the_last_answer_is_returned_with_its_body_if_there_is_no_permit_for_a_retry(provider: Provider) -> None:
    url = provider.at("/", status(503, b"why"))

    async with Governor(only_retries("1ms", limits=["1/h"])) as governor, by_govern(governor) as session:
        response = await session.get(url)
        assert (503, b"why") == (response.status, await response.read())

    assert 1 == len(provider.requests)


async def test_raise_for_status_raises_after_the_retries(governor: Governor, make: Make, provider: Provider) -> None:
    async with make(governor) as session:
        with pytest.raises(aiohttp.ClientResponseError, match="503"):
            await session.get(provider.at("/", status(503)), raise_for_status=True)

    assert CounterRecord(requests=3, answered_5xx=3, retries=2) == counters(governor)


# WebSockets.


@pytest.mark.promise("R05", "R56")
async def test_a_websocket_is_in_flight_until_it_is_closed(governor: Governor, make: Make, echo: str) -> None:
    async with make(governor, buffered=True) as session, session.ws_connect(echo) as socket:
        await socket.send_str("hello")

        assert ("hello", 1) == (await socket.receive_str(timeout=PATIENCE), in_flight(governor))
        await socket.close()
        assert CounterRecord(requests=1, others=1) == counters(governor)


async def test_a_denied_websocket_is_an_error_of_aiohttp_and_of_ours(governor: Governor, make: Make, echo: str) -> None:
    with denying(governor, "weather", "GET"):
        async with make(governor) as session:
            with pytest.raises(PermitDenied) as denied:
                await session.ws_connect(echo)
        async with make(governor, on_refusal="response") as session:
            with pytest.raises(aiohttp.WSServerHandshakeError, match="429"):
                await session.ws_connect(echo)

    assert isinstance(denied.value, aiohttp.ClientError)


# Denials.


@pytest.mark.promise("R58")
async def test_a_denial_is_an_error_of_aiohttp_and_of_ours_and_can_be_pickled(
    governor: Governor, make: Make, provider: Provider
) -> None:
    with denying(governor, "weather", "GET", reason=Reason.CIRCUIT_OPEN, retry_after=30.0):
        async with make(governor) as session:
            with pytest.raises(aiohttp.ClientError) as denied:
                await session.get(provider.at("/", status(200)))

    copied = pickle.loads(pickle.dumps(denied.value))
    assert isinstance(copied, CircuitOpen)
    assert isinstance(copied, aiohttp.ClientError)
    assert (Reason.CIRCUIT_OPEN, 30.0, []) == (copied.reason, copied.retry_after, provider.requests)


@pytest.mark.promise("R58")
@pytest.mark.parametrize(("reason", "expected"), [(Reason.RATE_LIMIT, 429), (Reason.CIRCUIT_OPEN, 503)])
async def test_a_denial_can_be_an_answer(
    governor: Governor, make: Make, provider: Provider, reason: Reason, expected: int
) -> None:
    url = provider.at("/", status(200))
    with denying(governor, "weather", "GET", reason=reason, retry_after=29.5):
        async with make(governor, on_refusal="response") as session:
            async with session.get(url, headers={"x-mine": "1"}) as response:
                error = (await response.json())["error"]
                assert (expected, "30", "false") == (
                    response.status,
                    response.headers["retry-after"],
                    response.headers["x-should-retry"],
                )
                assert ("GET", url, "1") == (
                    response.method,
                    str(response.url),
                    response.request_info.headers["x-mine"],
                )
                assert reason.value == error["code"]
                with pytest.raises(aiohttp.ClientResponseError, match=str(expected)):
                    response.raise_for_status()
            with pytest.raises(aiohttp.ClientResponseError, match=str(expected)):
                await session.get(url, raise_for_status=True)

    assert [] == provider.requests


# Waits.


@pytest.mark.promise("R57")
async def test_one_wait_bounds_a_call_with_its_redirects(make: Make, provider: Provider) -> None:
    provider.at("/end", status(200))
    provider.at("/middle", status(302, location="/end"))
    url = provider.at("/", status(302, location="/middle"))

    async with Governor(only_retries("1ms", limits=["1/s burst 1"])) as governor, make(governor, wait=1.5) as session:
        with pytest.raises(RateLimited):
            await session.get(url)

    assert ["/", "/middle"] == [request.path for request in provider.requests]


@pytest.mark.promise("R57")
async def test_a_wait_of_zero_denies_at_once_for_a_session_and_for_single_calls(make: Make, provider: Provider) -> None:
    url = provider.at("/", status(200))

    async with Governor(only_retries("1ms", limits=["3/min burst 1"])) as governor:
        async with make(governor, wait=0) as session:
            await session.get(url)
            with pytest.raises(RateLimited):
                await session.get(url)
        async with make(governor, wait=None) as session:
            with wait_at_most(0), pytest.raises(RateLimited):
                await session.get(url)


@pytest.mark.promise("R57")
async def test_the_wait_of_a_governed_session_does_not_count_in_its_timeout(provider: Provider) -> None:
    url = provider.at("/", status(200))
    settings = only_retries("1ms", limits=["3/s burst 1"])

    async with Governor(settings) as governor, by_govern(governor, timeout=ClientTimeout(total=0.2), wait=PATIENCE) as session:
        statuses = [(await session.get(url)).status for _ in range(2)]

    assert [200, 200] == statuses


# Authentication.


@pytest.mark.promise("R59")
async def test_each_round_of_authentication_takes_a_permit_and_each_attempt_is_signed_anew(
    governor: Governor, provider: Provider
) -> None:
    challenge = status(401, www_authenticate='Digest realm="r", nonce="n", qop="auth", algorithm=MD5')
    url = provider.at("/", challenge, status(503), status(200))
    digest = aiohttp.DigestAuthMiddleware("user", "password")
    governed = GovernedMiddleware("weather", governor=governor, govern_loopback=True)
    session = ClientSession(middlewares=(digest,))
    govern(session, "weather", governor=governor, govern_loopback=True)

    async with session, session.get(url) as response:
        assert 200 == response.status
    first, second = (request.headers["authorization"] for request in provider.requests[1:])
    assert first != second

    provider.at("/", challenge, status(503), status(200))
    async with ClientSession(middlewares=(governed, digest, governed)) as session, session.get(url) as response:
        assert 200 == response.status

    assert 6 == len(provider.requests) == counters(governor).requests
    assert 0 == in_flight(governor)


@pytest.mark.promise("R11", "R58")
@pytest.mark.parametrize(
    ("limit", "hint", "error"), [("1/h", {}, RateLimited), ("9/h burst 9", {"retry_after": "60"}, ProviderCooldown)]
)
async def test_a_round_of_authentication_that_gets_no_permit_is_denied_as_a_request_is(
    provider: Provider, limit: str, hint: dict[str, Any], error: type[Exception]
) -> None:
    challenge = 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'
    url = provider.at("/", status(401, www_authenticate=challenge, **hint))
    session = ClientSession(middlewares=(aiohttp.DigestAuthMiddleware("user", "password"),))

    async with Governor(only_retries("1ms", limits=[limit])) as governor:
        async with govern(session, "weather", governor=governor, govern_loopback=True):
            with pytest.raises(aiohttp.ClientError) as denied:
                await session.get(url)

        assert isinstance(denied.value, error)
        assert (1, 0) == (len(provider.requests), in_flight(governor))


async def test_middlewares_of_a_single_call_do_not_lead_around_the_governor(governor: Governor, provider: Provider) -> None:
    seen = []

    async def watch(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        seen.append(request.method)
        return await handler(request)

    provider.at("/end", status(200))
    url = provider.at("/", status(302, location="/end"))

    async with by_govern(governor) as session, session.get(url, middlewares=(watch,)) as response:
        assert 200 == response.status

    assert (["GET", "GET"], CounterRecord(requests=2, answered_2xx=1, others=1)) == (seen, counters(governor))


# Around a session.


async def test_a_proxy_is_governed_like_the_request(governor: Governor, make: Make, provider: Provider) -> None:
    provider.at("http://api.example.com/", status(200))

    async with make(governor) as session, session.get("http://api.example.com/", proxy=provider.url) as response:
        assert 200 == response.status

    assert CounterRecord(requests=1, answered_2xx=1) == counters(governor)


async def test_loopback_takes_no_permit_unless_told(governor: Governor, provider: Provider) -> None:
    async with govern(ClientSession(), "weather", governor=governor) as session:
        await session.get(provider.at("/", status(200)))

    assert CounterRecord() == counters(governor)


async def test_a_session_is_governed_once(governor: Governor, make: Make, provider: Provider) -> None:
    async with make(governor) as session:
        await session.get(provider.at("/", status(200)))
        with pytest.raises(UsageError, match="governed already"):
            govern(session, "weather")


# Cancellation.


@pytest.mark.promise("R05")
@pytest.mark.parametrize(
    ("replies", "limits"),
    [
        ((SILENCE,), ["1000/s burst 1000"]),
        ((status(429, retry_after="20"),), ["1000/s burst 1000"]),
        ((Reply(status=503, pieces=(b"slow",), end=End.SILENT),), ["1000/s burst 1000"]),
        ((status(200),), ["3/min burst 1"]),
    ],
    ids=["while it is sent", "while it pauses", "while an answer is read", "while it waits for a permit"],
)
async def test_a_cancelled_call_leaves_nothing_behind(
    make: Make, provider: Provider, replies: tuple[Reply, ...], limits: list[str]
) -> None:
    url = provider.at("/", *replies)

    async with Governor(only_retries("20s", limits=limits)) as governor, make(governor, wait=None) as session:
        if limits == ["3/min burst 1"]:
            await session.get(url)
        calls = [asyncio.create_task(session.get(url)) for _ in range(3)]
        await asyncio.sleep(0.05)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)

        assert [True] * 3 == [call.cancelled() for call in calls]
        assert (0, 0) == (in_flight(governor), governor.statistics().scopes["weather:get"].waiting)
        assert session.connector is not None
        await _until(lambda: not session.connector._acquired)  # type: ignore[union-attr]  # the session is open


# Tests of governed code.


@pytest.mark.promise("R56")
async def test_a_governed_session_can_be_tested_with_aioresponses(governor: Governor) -> None:
    with aioresponses() as mocked:
        mocked.get("https://api.example.com/", status=503)
        mocked.get("https://api.example.com/", exception=aiohttp.ServerDisconnectedError())
        mocked.get("https://api.example.com/", payload={"is": "sunny"})

        async with by_govern(governor) as session, session.get("https://api.example.com/") as response:
            assert {"is": "sunny"} == await response.json()
        mocked.assert_called_with("https://api.example.com/", method="GET", allow_redirects=True)

    assert CounterRecord(requests=3, answered_5xx=1, failures=1, answered_2xx=1, retries=2) == counters(governor)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - counters have no event
            await asyncio.sleep(0.001)


@pytest.fixture
def closed_port() -> int:
    """A port at which no server listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
async def echo() -> AsyncIterator[str]:
    """The address of a WebSocket that sends back what it receives."""

    async def answer(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        async for message in response:
            await response.send_str(message.data)
        return response

    app = web.Application()
    app.router.add_get("/", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))
