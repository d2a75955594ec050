"""The contract of every HTTP adapter: permits, outcomes, retries, waits and denials, over real connections."""

import pickle
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, NamedTuple

import pytest

from governor import Permit, PermitDenied, RateLimited, Reason
from governor.testing import denying
from governor_client import wait_at_most
from tests.contracts.adapters import TIMEOUT, Ability, Driver
from tests.contracts.conftest import Opened, counted, received
from tests.support.provider import NO_ANSWER, SILENCE, End, Provider, Reply, raw, status
from tests.support.proxy import loopback_proxy

pytestmark = [pytest.mark.promise("R05", "R56"), pytest.mark.usefixtures("_permits_at_hand")]

#: Seconds of a timeout that a test waits for.
SHORT = 0.05
#: The default number of attempts in these tests.
ATTEMPTS = 3
#: More than a call waits.
LATER = {"retry-after": "60"}


class Case(NamedTuple):
    """What the provider sends for ever, how often it is asked then, and the counter of the outcomes."""

    reply: Reply
    attempts: int
    counter: str
    timeout: float = TIMEOUT
    #: Whether the answer has begun when it fails, so that only an attempt that includes the body is made again.
    in_body: bool = False


CASES = {
    "200": Case(status(200, b"pong"), 1, "answered_2xx"),
    "404": Case(status(404), 1, "answered_4xx"),
    "429": Case(status(429, retry_after="0"), ATTEMPTS, "answered_429"),
    "503": Case(status(503), ATTEMPTS, "answered_5xx"),
    "503 with a body": Case(status(503, b"x" * 70_000), ATTEMPTS, "answered_5xx"),
    "503 that asks for no retry": Case(status(503, x_should_retry="True, FALSE"), 1, "answered_5xx"),
    "503 that pushes back": Case(status(503, grpc_retry_pushback_ms="-1"), 1, "answered_5xx"),
    "503 that asks for a retry": Case(status(503, x_should_retry="true"), ATTEMPTS, "answered_5xx"),
    "400 that asks for a retry": Case(status(400, x_should_retry="true"), 1, "answered_4xx"),
    "304": Case(status(304), 1, "others"),
    "no answer": Case(NO_ANSWER, ATTEMPTS, "failures"),
    "two lengths": Case(raw(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\npong"), ATTEMPTS, "failures"),
    "silence": Case(SILENCE, ATTEMPTS, "failures", SHORT),
    "broken body": Case(Reply(pieces=(b"po",), end=End.BROKEN), ATTEMPTS, "failures", in_body=True),
    "slow body": Case(Reply(pieces=(b"po",), end=End.SILENT), ATTEMPTS, "failures", 4 * SHORT, in_body=True),
    "broken 503": Case(Reply(status=503, pieces=(b"po",), end=End.BROKEN), ATTEMPTS, "failures"),
    "broken 503 with a hint": Case(Reply(status=503, headers=LATER, pieces=(b"po",), end=End.BROKEN), 1, "failures"),
    "broken 200 with a hint": Case(Reply(headers=LATER, pieces=(b"po",), end=End.BROKEN), 1, "failures"),
    "200 that cannot be decoded": Case(status(200, b"pong", content_encoding="gzip"), 1, "answered_2xx"),
    "503 that cannot be decoded": Case(status(503, b"pong", content_encoding="gzip"), ATTEMPTS, "answered_5xx"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_attempt_takes_one_permit_and_records_one_outcome(
    driver: Driver, case: Case, provider: Provider, opened: Opened
) -> None:
    url = provider.at("/", case.reply)
    session = opened(timeout=case.timeout)

    with suppress(driver.family, TimeoutError, getattr(driver.library, "DecodingError", driver.family)):
        session.get(url)

    attempts = 1 if case.in_body and not driver.buffered else case.attempts
    counters = counted(session.governor)
    assert [attempts] * 3 == [received(provider, attempts), counters.requests, getattr(counters, case.counter)]
    assert (attempts - 1, 0) == (counters.retries, counters.under_way)


def test_an_answer_is_retried_by_its_status_although_its_headers_were_seen_before(
    driver: Driver, provider: Provider, opened: Opened
) -> None:
    url = provider.at("/", status(200), status(503), status(200))
    session = opened()
    session.get(url)
    session.get(url)

    assert 3 == received(provider, 3)


@pytest.mark.promise("R11")
def test_a_provider_that_answers_200_to_everything_denies_calls_in_bodies(provider: Provider, opened: Opened) -> None:
    url = provider.at("/", status(200, b'{"error": [], "result": 1}'), status(200, b'{"error": ["EAPI:Rate limit exceeded"]}'))
    read, unread = opened(provider="kraken"), opened(provider="acme")
    for session in (read, read, unread):
        session.get(url)

    counters = counted(read.governor, provider="kraken"), counted(unread.governor, provider="acme")
    assert [(1, 1), (1, 0)] == [(one.answered_2xx, one.answered_429) for one in counters]


def test_a_refused_connection_is_a_failure_of_each_attempt(driver: Driver, opened: Opened) -> None:
    session = opened()

    with not_listening() as url, pytest.raises(driver.family):
        session.call("POST", url)

    counters = counted(session.governor, "POST")
    assert (ATTEMPTS, ATTEMPTS, 0) == (counters.requests, counters.failures, counters.under_way)


def test_an_answer_that_was_not_processed_is_retried_for_any_method(provider: Provider, opened: Opened) -> None:
    url = provider.at("/", status(429, retry_after="0"), status(503, retry_after="0"), status(200, b"pong"))

    answer = opened().call("POST", url, content=b"ping")

    assert (200, b"pong") == (answer.status, answer.body)
    assert [("POST", b"ping")] * 3 == [(each.method, each.body) for each in provider.requests]


@pytest.mark.parametrize(("headers", "attempts"), [({}, 1), ({"Idempotency-Key": "1"}, ATTEMPTS)], ids=["without", "with"])
def test_a_post_that_timed_out_is_sent_again_only_with_a_key(
    driver: Driver, headers: dict[str, str], attempts: int, provider: Provider, opened: Opened
) -> None:
    url = provider.at("/", SILENCE)

    with pytest.raises((driver.family, TimeoutError)):
        opened(timeout=SHORT).call("POST", url, headers=headers)

    assert attempts == received(provider, attempts)


def test_a_body_that_can_be_read_once_is_sent_once(driver: Driver, provider: Provider, opened: Opened) -> None:
    url = provider.at("/", status(503))
    session = opened()

    answer = session.call("PUT", url, content=driver.body(b"pi", b"ng"))

    assert (503, [b"ping"]) == (answer.status, [each.body for each in provider.requests])
    assert (1, 1) == (counted(session.governor, "PUT").requests, counted(session.governor, "PUT").answered_5xx)


def test_a_body_that_cannot_be_read_is_neutral(driver: Driver, provider: Provider, opened: Opened) -> None:
    class Mistake(Exception):
        pass

    def pieces() -> Iterator[bytes]:
        yield b"pi"
        raise Mistake

    async def apieces() -> Any:
        for piece in pieces():
            yield piece

    session = opened()

    with pytest.raises((Mistake, driver.family)):
        session.call("PUT", provider.at("/", status(200)), content=apieces() if driver.is_async else pieces())

    counters = counted(session.governor, "PUT")
    assert (1, 1, 0) == (counters.requests, counters.neutral, counters.under_way)


def test_each_redirect_takes_a_permit(provider: Provider, opened: Opened) -> None:
    provider.at("/end", status(200, b"pong"))
    url = provider.at("/", status(302, location="/middle"))
    provider.at("/middle", status(503), status(307, location="/end"))
    session = opened()

    answer = session.get(url)

    counters = counted(session.governor)
    assert (200, b"pong") == (answer.status, answer.body)
    assert (len(provider.requests), 2, 1, 1) == (
        counters.requests,
        counters.others,
        counters.answered_5xx,
        counters.answered_2xx,
    )


@pytest.mark.promise("R11")
def test_a_redirect_is_not_followed_before_the_hint_in_it(driver: Driver, provider: Provider, opened: Opened) -> None:
    url = provider.at("/", Reply(status=302, headers=LATER | {"location": "/end"}))

    with pytest.raises(driver.family):
        opened().get(url)

    assert 1 == len(provider.requests)


@pytest.mark.needs(Ability.SIGN)
@pytest.mark.promise("R59")
def test_each_attempt_is_signed(provider: Provider, opened: Opened) -> None:
    url = provider.at("/", status(503), status(200))
    numbers = count()

    opened(sign=lambda: f"nonce {next(numbers)}").get(url)

    first, second = (each.headers["authorization"] for each in provider.requests)
    assert first != second


# Waiting.


@pytest.mark.promise("R57")
def test_with_a_wait_of_0_a_call_is_denied_at_once_and_still_retried(
    driver: Driver, provider: Provider, opened: Opened
) -> None:
    url = provider.at("/", status(503), status(200))
    session = opened(scope={"limits": ["1 per 5s burst 2"]}, wait=0)

    assert 200 == session.get(url).status
    with pytest.raises(RateLimited) as raised:
        session.get(url)

    assert isinstance(raised.value, driver.family)
    assert 2 == len(provider.requests)


@pytest.mark.promise("R57")
def test_wait_at_most_bounds_the_wait_of_a_block(provider: Provider, opened: Opened) -> None:
    url = provider.at("/", status(200))
    session = opened(scope={"limits": ["1 per 20s burst 1"]}, wait=None)
    session.get(url)

    with wait_at_most(0), pytest.raises(RateLimited):
        session.get(url)

    assert 1 == len(provider.requests)


@pytest.mark.promise("R57")
def test_a_wait_is_that_of_a_call_with_its_redirects(provider: Provider, opened: Opened) -> None:
    pause = status(429, retry_after="0.2")
    url = provider.at("/", pause, status(302, location="/end"))
    provider.at("/end", pause, status(200))
    session = opened(wait=0.35)

    answer = session.get(url)

    assert (429, ["/", "/", "/end"]) == (answer.status, [each.path for each in provider.requests])


# Denials.


@pytest.mark.parametrize("reason", [Reason.RATE_LIMIT, Reason.CIRCUIT_OPEN, Reason.DEGRADED])
@pytest.mark.promise("R58")
def test_a_denial_is_an_error_of_the_library_and_of_the_governor(
    driver: Driver, reason: Reason, provider: Provider, opened: Opened
) -> None:
    session = opened()
    url = provider.at("/", status(200))

    with denying(session.governor, "provider", "GET", reason=reason, retry_after=7.5), pytest.raises(PermitDenied) as raised:
        session.get(url)

    errors: list[PermitDenied] = [raised.value, pickle.loads(pickle.dumps(raised.value))]
    assert [True, True] == [isinstance(error, driver.family) for error in errors]
    for error in errors:
        assert (reason, 7.5, "provider:get") == (error.reason, error.retry_after, error.scope)
    assert (0, {reason: 1}) == (len(provider.requests), counted(session.governor).denied)


@pytest.mark.needs(Ability.ANSWER)
@pytest.mark.parametrize(("reason", "code"), [(Reason.RATE_LIMIT, 429), (Reason.CIRCUIT_OPEN, 503)])
@pytest.mark.promise("R58")
def test_a_denial_is_an_answer_on_request(reason: Reason, code: int, provider: Provider, opened: Opened) -> None:
    session = opened(on_refusal="response")
    url = provider.at("/", status(200))

    with denying(session.governor, "provider", "GET", reason=reason, retry_after=7.5):
        answer = session.get(url)
        stream = session.begin(url)
        body = session.drain(stream)

    assert (code, "8", "false") == (answer.status, answer.headers["retry-after"], answer.headers["x-should-retry"])
    assert reason.value.encode() in answer.body
    assert answer.body == body
    assert (0, 2) == (len(provider.requests), counted(session.governor).denied[reason])


def test_a_retry_without_a_permit_returns_the_last_answer(provider: Provider, opened: Opened) -> None:
    url = provider.at("/", status(503, b"later"), status(200))
    session = opened(scope={"limits": ["1 per 20s burst 1"]}, wait=0)

    answer = session.get(url)

    assert (503, b"later", 1) == (answer.status, answer.body, len(provider.requests))


def test_a_retry_without_a_permit_raises_the_last_error_with_a_note(driver: Driver, provider: Provider, opened: Opened) -> None:
    url = provider.at("/", NO_ANSWER, status(200))
    session = opened(scope={"limits": ["1 per 20s burst 1"]}, wait=0)

    with pytest.raises(driver.family) as raised:
        session.get(url)

    assert not isinstance(raised.value, PermitDenied)
    assert "It was not retried" in raised.value.__notes__[0]
    assert 1 == len(provider.requests)


def test_errors_can_be_pickled(driver: Driver, provider: Provider, opened: Opened) -> None:
    with pytest.raises(driver.family) as raised:
        opened().get(provider.at("/", NO_ANSWER))

    assert type(raised.value) is type(pickle.loads(pickle.dumps(raised.value)))


def test_a_permit_in_hand_is_no_obstacle_to_the_next_call(provider: Provider, opened: Opened) -> None:
    url = provider.at("/", status(200, b"x" * 100_000))
    session = opened(scope={"limits": ["1 in flight"]}, wait=0)

    assert [200] * 5 == [session.get(url).status for _ in range(5)]
    assert isinstance(session.governor.try_permit("provider", "GET"), Permit)


def test_a_request_through_a_proxy_takes_a_permit_for_each_attempt(provider: Provider, opened: Opened) -> None:
    url = provider.at("/", status(503, connection="close"), status(200, b"pong", connection="close"))

    with loopback_proxy() as proxy:
        session = opened(proxy=proxy.url)
        answer = session.get(url)

    assert (200, b"pong", [f"GET {url}"] * 2) == (answer.status, answer.body, proxy.forwarded)
    assert (2, 0) == (counted(session.governor).requests, counted(session.governor).under_way)


@contextmanager
def not_listening() -> Iterator[str]:
    """An address where connections are refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/"
