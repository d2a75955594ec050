"""Governed sessions of requests: permits, outcomes, waits, refusals and streams, against real servers on loopback."""

import copy
import pickle
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import pytest
import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPDigestAuth
from urllib3.util import Retry

from governor import Config, CounterRecord, Governor, Instant, PermitDenied, RateLimited, Reason, UsageError
from governor._access import Access
from governor.testing import denying
from governor_client import wait_at_most
from governor_client.requests import GovernedAdapter, govern
from tests.support.governors import no_default_yet
from tests.support.provider import Provider

if TYPE_CHECKING:
    from tests.integration.client.conftest import Handlers, Site

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf "
HALF_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf \r\n"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwhole"


@pytest.fixture
def session(background: Governor) -> Iterator[requests.Session]:
    """A governed session."""
    with govern(requests.Session(), "example", governor=background, govern_loopback=True) as session:
        yield session


def counters(governor: Governor) -> CounterRecord:
    return governor.statistics().counters


# Attempts.


@pytest.mark.promise("R05", "R56")
def test_each_attempt_takes_a_permit_and_reports_its_outcome(
    session: requests.Session, background: Governor, site: "Site"
) -> None:
    response = session.get(site.at("/", 503, 200))

    assert (200, "answer 200") == (response.status_code, response.text)
    assert CounterRecord(requests=2, answered_5xx=1, answered_2xx=1, retries=1) == counters(background)


@pytest.mark.promise("R05")
def test_the_retries_of_urllib3_beneath_are_not_applied(
    settings: Callable[..., Config], break_off: Callable[..., Provider]
) -> None:
    server = break_off(b"")
    eager = HTTPAdapter(max_retries=Retry(5, status_forcelist=[503], allowed_methods=None))

    with Governor(settings()) as governor, requests.Session() as session:
        session.mount("http://", GovernedAdapter("example", governor=governor, adapter=eager, govern_loopback=True))
        with pytest.raises(requests.ConnectionError):
            session.get(server.url)

        assert (3, CounterRecord(requests=3, failures=3, retries=2)) == (len(server.requests), counters(governor))


@pytest.mark.promise("R05")
@pytest.mark.parametrize("status", [429, 503])
def test_a_post_that_was_rejected_unprocessed_is_sent_again(
    session: requests.Session, site: "Site", handlers: "type[Handlers]", status: int
) -> None:
    response = session.post(site.at("/", handlers.headers(status, retry_after="0"), 200), json={"a": 1})

    assert (200, [b'{"a": 1}'] * 2) == (response.status_code, [hit.body for hit in site.hits])


@pytest.mark.promise("R05")
def test_a_post_without_an_answer_in_time_is_sent_once(
    session: requests.Session, background: Governor, site: "Site", handlers: "type[Handlers]"
) -> None:
    with pytest.raises(requests.ReadTimeout):
        session.post(site.at("/", handlers.silence), json={}, timeout=(5.0, 0.05))

    assert (1, CounterRecord(requests=1, failures=1)) == (len(site.hits), counters(background))


@pytest.mark.promise("R05")
def test_a_post_to_a_port_that_refuses_connections_is_tried_again(session: requests.Session, background: Governor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(requests.ConnectionError):
        session.post(f"http://127.0.0.1:{port}/", json={})

    assert CounterRecord(requests=3, failures=3, retries=2) == counters(background)


@pytest.mark.promise("R05")
@pytest.mark.parametrize("half", [HALF, HALF_CHUNKED])
def test_an_answer_that_breaks_off_is_asked_for_again(
    session: requests.Session, background: Governor, break_off: Callable[..., Provider], half: bytes
) -> None:
    assert "whole" == session.get(break_off(half, WHOLE).url).text
    assert CounterRecord(requests=2, failures=1, answered_2xx=1, retries=1) == counters(background)


@pytest.mark.promise("R05")
@pytest.mark.parametrize("first", ["redirect", "503"])
@pytest.mark.parametrize(
    "body", ["Content-Length: 10\r\n\r\nhalf ", "Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain"]
)
def test_a_redirect_whose_body_cannot_be_read_is_followed(
    session: requests.Session, background: Governor, break_off: Callable[..., Provider], body: str, first: str
) -> None:
    redirect = f"HTTP/1.1 302 Found\r\nLocation: /\r\nConnection: close\r\n{body}".encode()
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    before = [busy] if first == "503" else []

    assert "whole" == session.get(break_off(*before, redirect, WHOLE).url).text
    failed = len(before)
    counted = CounterRecord(requests=2 + failed, answered_2xx=1, answered_5xx=failed, others=1, retries=failed)
    assert counted == counters(background)


@pytest.mark.parametrize("kind", ["iterator", "file"])
def test_a_body_that_can_be_read_once_is_sent_once(session: requests.Session, site: "Site", tmp_path: Path, kind: str) -> None:
    file = tmp_path / "body"
    file.write_bytes(b"abc")

    with file.open("rb") as opened:
        response = session.put(site.at("/", 503, 200), data=opened if kind == "file" else iter([b"a", b"bc"]))

    assert (503, [b"abc"]) == (response.status_code, [hit.body for hit in site.hits])


@pytest.mark.parametrize("kind", ["iterator", "file"])
def test_an_error_of_the_body_is_not_one_of_the_provider(
    session: requests.Session, background: Governor, site: "Site", break_off: Callable[..., Provider], kind: str
) -> None:
    other = requests.get(break_off(HALF_CHUNKED).url, stream=True)

    with pytest.raises(requests.RequestException):
        session.put(site.at("/", 200), data=other.raw if kind == "file" else other.iter_content(100))

    assert CounterRecord(requests=1, neutral=1) == counters(background)


def test_a_missing_file_of_certificates_is_not_an_error_of_the_provider(
    session: requests.Session, background: Governor
) -> None:
    with pytest.raises(OSError, match="CA certificate bundle"):
        session.get("https://127.0.0.1:1/", verify="/no/such/file")

    assert 0 == counters(background).failures


def test_a_host_that_cannot_be_a_name_is_not_an_error_of_the_provider(session: requests.Session, background: Governor) -> None:
    with pytest.raises(ValueError, match="too long"):
        session.get(f"http://{'a' * 64}.example/")

    assert CounterRecord(requests=1, neutral=1) == counters(background)


# Streams.


@pytest.mark.promise("R05", "R56")
@pytest.mark.parametrize("read", ["content", "lines", "raw", "raw in pieces", "close", "leave", "break", "forget"])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_stream_reports_its_outcome_when_it_ends_or_is_closed(
    session: requests.Session, background: Governor, site: "Site", handlers: "type[Handlers]", read: str, chunked: bool
) -> None:
    url = site.at("/", handlers.lines("one", "two") if chunked else 200)
    response = session.get(url, stream=True)
    assert CounterRecord(requests=1) == counters(background)

    match read:
        case "content":
            assert response.content
        case "lines":
            assert list(response.iter_lines())
        case "raw":
            assert response.raw.read()
        case "raw in pieces":
            assert b"".join(iter(lambda: response.raw.read(3), b""))
        case "close":
            response.close()
        case "leave":
            with response:
                pass
        case "break":
            for _ in response.iter_content(2):
                break
            response.close()
        case _:
            del response

    assert CounterRecord(requests=1, answered_2xx=1) == counters(background)


@pytest.mark.promise("R05")
@pytest.mark.parametrize("half", [HALF, HALF_CHUNKED])
def test_a_stream_that_breaks_off_is_a_failure(
    session: requests.Session, background: Governor, break_off: Callable[..., Provider], half: bytes
) -> None:
    response = session.get(break_off(half).url, stream=True)

    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        response.content  # noqa: B018 - reads it
    response.close()

    assert CounterRecord(requests=1, failures=1) == counters(background)


@pytest.mark.promise("R05")
def test_an_answer_that_is_retried_before_it_is_streamed_frees_its_connection(session: requests.Session, site: "Site") -> None:
    response = session.get(site.at("/", 503, 503, 200), stream=True)

    assert b"answer 200" == response.content
    assert (3, 1) == (len(site.hits), len({hit.port for hit in site.hits}))


@pytest.mark.promise("R05")
def test_the_last_answer_is_returned_whole_if_the_retry_gets_no_permit(settings: Callable[..., Config], site: "Site") -> None:
    with (
        Governor(settings(limits=["1/h burst 1"])) as governor,
        govern(requests.Session(), "example", governor=governor, govern_loopback=True, wait=5.0) as session,
    ):
        response = session.get(site.at("/", 503), stream=True)

    assert [b"answer 503"] == list(response.iter_content(100))


@pytest.mark.promise("R05")
def test_a_long_answer_is_not_kept_for_a_retry(settings: Callable[..., Config], break_off: Callable[..., Provider]) -> None:
    long = b"HTTP/1.1 503 Unavailable\r\nContent-Length: 70000\r\n\r\n" + bytes(70_000)

    with (
        Governor(settings(limits=["1/h burst 1"])) as governor,
        govern(requests.Session(), "example", governor=governor, govern_loopback=True, wait=5.0) as session,
        pytest.raises(PermitDenied),
    ):
        session.get(break_off(long).url, stream=True)


# Waiting and denials.


@pytest.mark.promise("R57", "R58")
def test_a_denial_is_an_error_of_requests_and_ours(settings: Callable[..., Config], site: "Site") -> None:
    url = site.at("/", 200)
    with (
        Governor(settings(limits=["1/h burst 1"])) as governor,
        govern(requests.Session(), "example", governor=governor, govern_loopback=True) as session,
    ):
        session.get(url)
        started = monotonic()
        with pytest.raises(RateLimited) as caught:
            session.get(url, timeout=0.05)

    assert monotonic() - started < 5.0
    assert isinstance(caught.value, requests.RequestException)
    assert isinstance(caught.value.request, requests.PreparedRequest)
    assert (url, None, Reason.RATE_LIMIT) == (caught.value.request.url, caught.value.response, caught.value.reason)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(caught.value), caught.value.args, None) == (type(again), again.args, again.request)


@pytest.mark.promise("R58")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("reason", "status"), [(Reason.RATE_LIMIT, 429), (Reason.CIRCUIT_OPEN, 503)])
def test_a_denial_is_an_answer_on_request(
    background: Governor, site: "Site", reason: Reason, status: int, stream: bool
) -> None:
    url = site.at("/", 200)
    options = {"governor": background, "govern_loopback": True}
    with (
        govern(requests.Session(), "example", on_refusal="response", **options) as session,  # type: ignore[arg-type]  # passed on as they are
        denying(background, "example", "GET", reason=reason, retry_after=7.0),
    ):
        response = session.get(url, stream=stream)

    assert (status, "7", "false", url) == (
        response.status_code,
        response.headers["Retry-After"],
        response.headers["X-Should-Retry"],
        response.url,
    )
    assert reason.value == response.json()["error"]["code"]
    assert [] == site.hits


@pytest.fixture
def each_permit_takes_a_second(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Instant]:
    """A clock by which it does, in scopes that must be asked for it."""
    monkeypatch.setattr(Access, "take", lambda *_, **__: None)
    return map(Instant, count(0, 1_000_000)).__next__


@pytest.mark.promise("R57")
def test_one_wait_bounds_a_call_with_its_redirects(
    background: Governor, site: "Site", handlers: "type[Handlers]", each_permit_takes_a_second: Callable[[], Instant]
) -> None:
    path = f"/{site.url.rsplit('/', 1)[1]}"
    url = site.at("/a", handlers.headers(302, location=f"{path}/b"))
    site.at("/b", handlers.headers(302, location=f"{path}/c"))
    site.at("/c", handlers.headers(503, retry_after="1"), 200)
    options = {"governor": background, "govern_loopback": True, "clock": each_permit_takes_a_second}

    with govern(requests.Session(), "example", wait=3.5, **options) as session:  # type: ignore[arg-type]  # passed on as they are
        response = session.get(url)

    assert (503, ["/a", "/b", "/c"]) == (response.status_code, [hit.path for hit in site.hits])


@pytest.mark.promise("R57")
def test_the_same_prepared_request_has_a_wait_of_its_own_each_time(
    background: Governor, site: "Site", each_permit_takes_a_second: Callable[[], Instant]
) -> None:
    options = {"governor": background, "govern_loopback": True, "clock": each_permit_takes_a_second}

    with govern(requests.Session(), "example", wait=2.5, **options) as session:  # type: ignore[arg-type]  # passed on as they are
        request = session.prepare_request(requests.Request("GET", site.at("/", 503, 200, 503, 200)))

        assert [200, 200] == [session.send(request).status_code for _ in range(2)]


@pytest.mark.promise("R57")
def test_a_block_sets_the_wait_of_its_calls(settings: Callable[..., Config], site: "Site") -> None:
    url = site.at("/", 200)
    with (
        Governor(settings(limits=["1/h burst 1"])) as governor,
        govern(requests.Session(), "example", governor=governor, govern_loopback=True) as session,
        wait_at_most(0),
    ):
        session.get(url)
        with pytest.raises(PermitDenied):
            session.get(url)


@pytest.mark.promise("R57")
def test_the_time_of_an_answer_does_not_count_the_wait(
    background: Governor, site: "Site", each_permit_takes_a_second: Callable[[], Instant]
) -> None:
    options = {"governor": background, "govern_loopback": True, "clock": each_permit_takes_a_second}

    with govern(requests.Session(), "example", **options) as session:  # type: ignore[arg-type]  # passed on as they are
        response = session.get(site.at("/", 200))

    # By this clock an attempt takes a second as well.
    assert (timedelta(seconds=1), []) == (response.elapsed, response.request.hooks["response"])


# Authentication.


class Counting(AuthBase):
    """Signs with a number that a request must not repeat."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        self.number += 1
        assert "Signature" not in request.headers
        request.headers["Signature"] = str(self.number)
        return request


@pytest.mark.promise("R59")
@pytest.mark.parametrize("whose", ["session", "call"])
def test_each_attempt_that_waited_is_signed_again(
    session: requests.Session, site: "Site", handlers: "type[Handlers]", whose: str
) -> None:
    signatures = []

    async def answer(request: object) -> object:
        signatures.append(request.headers["signature"])  # type: ignore[attr-defined]  # passed on as they are
        return await handlers.headers(503 if len(signatures) < 3 else 200)(request)  # type: ignore[arg-type]  # passed on as they are

    auth = Counting()
    session.auth = auth if whose == "session" else None
    url = site.at("/", answer)  # type: ignore[arg-type]  # passed on as they are

    assert 200 == session.get(url, auth=auth if whose == "call" else None).status_code
    assert 3 == len(set(signatures))


@pytest.mark.promise("R59")
def test_a_request_that_was_changed_after_it_was_signed_is_sent_as_it_is(session: requests.Session, site: "Site") -> None:
    request = session.prepare_request(requests.Request("PUT", site.at("/", 503, 200), data=b"old", auth=Counting()))
    request.body = b"new"

    assert 200 == session.send(request).status_code
    assert [b"new"] * 2 == [hit.body for hit in site.hits]


@pytest.mark.promise("R57")
def test_a_round_of_authentication_is_a_request_with_a_permit(
    session: requests.Session, background: Governor, site: "Site", handlers: "type[Handlers]"
) -> None:
    challenge = handlers.headers(401, WWW_Authenticate='Digest realm="r", nonce="n", qop="auth"')

    response = session.get(site.at("/", challenge, 503, 200), auth=HTTPDigestAuth("user", "password"))

    assert (200, 3) == (response.status_code, len(site.hits))
    assert CounterRecord(requests=3, answered_4xx=1, answered_5xx=1, answered_2xx=1, retries=1) == counters(background)


# Answers to SDKs.


@pytest.mark.promise("R58")
def test_an_sdk_that_reads_it_does_not_repeat(session: requests.Session, site: "Site") -> None:
    response = session.get(site.at("/", 503), headers={"X-Stripe-Client-User-Agent": b"{}"})

    assert (3, "false") == (len(site.hits), response.headers["Stripe-Should-Retry"])


# The session.


@pytest.mark.promise("R56")
def test_a_session_keeps_its_adapters_and_is_governed_once() -> None:
    pooled = HTTPAdapter(pool_maxsize=3)
    session = requests.Session()
    session.mount("https://api.example/", pooled)
    govern(session, "example")
    later, own = HTTPAdapter(), GovernedAdapter("other")
    session.mount("https://later.example/", later)  # As SDKs do with the session that they are given.
    session.mount("https://other.example/", own)

    for url, adapter in {"https://api.example/v1": pooled, "https://later.example/": later}.items():
        governed = session.get_adapter(url)
        assert isinstance(governed, GovernedAdapter)
        assert adapter is governed.adapter
    assert own is session.get_adapter("https://other.example/")
    with pytest.raises(UsageError, match="already"):
        govern(session, "example")


@pytest.mark.promise("R56")
def test_a_session_with_the_governor_of_the_process_can_be_pickled(site: "Site", monkeypatch: pytest.MonkeyPatch) -> None:
    with no_default_yet():
        session = govern(requests.Session(), "example", govern_loopback=True, wait=3.0)
        unpickled = pickle.loads(pickle.dumps(session))

        assert 200 == unpickled.get(site.at("/", 200)).status_code
        for same in (unpickled, copy.copy(session)):
            same.mount("https://later.example/", HTTPAdapter())
            assert isinstance(same.get_adapter("https://later.example/"), GovernedAdapter)


def test_a_session_with_another_governor_says_why_it_cannot_be_pickled(session: requests.Session) -> None:
    with pytest.raises(UsageError, match="cannot be pickled"):
        pickle.dumps(session)


def test_an_answer_can_be_pickled(session: requests.Session, site: "Site") -> None:
    answer = pickle.loads(pickle.dumps(session.get(site.at("/", 503, 200), auth=("user", "password"))))

    assert (200, "answer 200") == (answer.status_code, answer.text)


@pytest.mark.promise("R56")
def test_requests_through_a_proxy_are_governed_by_the_host_they_are_for(
    session: requests.Session, background: Governor, site: "Site", break_off: Callable[..., Provider]
) -> None:
    proxy = break_off(WHOLE)

    response = session.get("http://api.example/", proxies={"http": proxy.url})

    assert ("whole", CounterRecord(requests=1, answered_2xx=1)) == (response.text, counters(background))


@pytest.mark.promise("R52")
def test_requests_to_this_machine_are_not_governed_by_default(background: Governor, site: "Site") -> None:
    with govern(requests.Session(), "example", governor=background) as session:
        session.get(site.at("/", 200))

    assert CounterRecord() == counters(background)
