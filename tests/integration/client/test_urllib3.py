"""Governed pool managers of urllib3: permits, outcomes, waits, refusals and streams, against real servers on loopback."""

import pickle
import socket
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import count
from typing import TYPE_CHECKING

import pytest
import requests
import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError, NewConnectionError, ProtocolError
from urllib3.util import Retry

from governor import Config, CounterRecord, Governor, Instant, PermitDenied, RateLimited, Reason, UsageError
from governor._access import Access
from governor.testing import denying
from governor_client.urllib3 import GovernedPoolManager, govern
from tests.support.provider import Provider, answer, loopback_provider

if TYPE_CHECKING:
    from tests.integration.client.conftest import Handlers, Site

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf "
HALF_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf \r\n"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwhole"


@pytest.fixture
def http(background: Governor) -> Iterator[GovernedPoolManager]:
    """A governed manager."""
    with GovernedPoolManager("example", governor=background, govern_loopback=True) as http:
        yield http


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A server that a test writes the answers of."""
    with loopback_provider() as provider:
        yield provider


def counters(governor: Governor) -> CounterRecord:
    return governor.statistics().counters


@pytest.mark.promise("R05", "R56")
def test_each_attempt_takes_a_permit_and_reports_its_outcome(
    http: GovernedPoolManager, background: Governor, site: "Site"
) -> None:
    response = http.request("GET", site.at("/", 503, 200))

    assert (200, b"answer 200") == (response.status, response.data)
    assert CounterRecord(requests=2, answered_5xx=1, answered_2xx=1, retries=1) == counters(background)


@pytest.mark.promise("R05")
@pytest.mark.parametrize("retries", [None, 7, Retry(5, status_forcelist=[503], allowed_methods=None)])
def test_the_retries_of_urllib3_are_not_applied(
    http: GovernedPoolManager, background: Governor, break_off: Callable[..., Provider], retries: Retry | int | None
) -> None:
    server = break_off(b"")

    with pytest.raises(MaxRetryError):
        http.request("GET", server.url, retries=retries)

    assert (3, CounterRecord(requests=3, failures=3, retries=2)) == (len(server.requests), counters(background))


def test_without_retries_errors_are_raised_as_they_are(http: GovernedPoolManager, break_off: Callable[..., Provider]) -> None:
    with pytest.raises(ProtocolError):
        http.request("GET", break_off(b"").url, retries=False)


@pytest.mark.promise("R05")
def test_a_post_is_sent_again_after_a_refusal_or_if_it_never_left_and_not_after_a_timeout(
    http: GovernedPoolManager, site: "Site", handlers: "type[Handlers]"
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(MaxRetryError) as caught:
        http.request("POST", f"http://127.0.0.1:{port}/", body=b"a")
    with pytest.raises(HTTPError):
        http.request("POST", site.at("/late", handlers.silence), body=b"a", timeout=0.05)
    assert 200 == http.request("POST", site.at("/429", handlers.headers(429, retry_after="0"), 200), body=b"a").status

    assert isinstance(caught.value.reason, NewConnectionError)
    assert ["/late", "/429", "/429"] == [hit.path for hit in site.hits]


@pytest.mark.promise("R05")
@pytest.mark.parametrize("half", [HALF, HALF_CHUNKED])
def test_an_answer_that_breaks_off_is_asked_for_again(
    http: GovernedPoolManager, background: Governor, break_off: Callable[..., Provider], half: bytes
) -> None:
    assert b"whole" == http.request("GET", break_off(half, WHOLE).url).data
    assert CounterRecord(requests=2, failures=1, answered_2xx=1, retries=1) == counters(background)


@pytest.mark.promise("R05", "R56")
@pytest.mark.parametrize("read", ["data", "read", "pieces", "stream", "drain", "close", "forget"])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_stream_reports_its_outcome_when_it_ends_or_is_closed(
    http: GovernedPoolManager, background: Governor, site: "Site", handlers: "type[Handlers]", read: str, chunked: bool
) -> None:
    url = site.at("/", handlers.lines("one", "two") if chunked else 200)
    response = http.request("GET", url, preload_content=False)
    assert CounterRecord(requests=1) == counters(background)

    match read:
        case "data":
            assert response.data
        case "read":
            assert response.read()
        case "pieces":
            assert b"".join(iter(lambda: response.read1(3), b""))
        case "stream":
            assert list(response.stream())
        case "drain":
            response.drain_conn()
        case "close":
            response.close()
        case _:
            del response

    assert CounterRecord(requests=1, answered_2xx=1) == counters(background)


@pytest.mark.promise("R05")
def test_a_stream_whose_iterator_is_closed_has_ended(
    http: GovernedPoolManager, background: Governor, site: "Site", handlers: "type[Handlers]"
) -> None:
    response = http.request("GET", site.at("/", handlers.lines("one", "two")), preload_content=False)
    chunks = response.stream(2)
    next(chunks)
    chunks.close()  # type: ignore[attr-defined] # a generator

    assert CounterRecord(requests=1, answered_2xx=1) == counters(background)


@pytest.mark.promise("R05")
@pytest.mark.parametrize("half", [HALF, HALF_CHUNKED])
def test_a_stream_that_breaks_off_is_a_failure(
    http: GovernedPoolManager, background: Governor, break_off: Callable[..., Provider], half: bytes
) -> None:
    response = http.request("GET", break_off(half).url, preload_content=False)

    with pytest.raises(ProtocolError):
        list(response.stream())
    response.close()

    assert CounterRecord(requests=1, failures=1) == counters(background)


@pytest.mark.promise("R05")
def test_an_answer_that_is_retried_before_it_is_streamed_frees_its_connection(http: GovernedPoolManager, site: "Site") -> None:
    response = http.request("GET", site.at("/", 503, 503, 200), preload_content=False)

    assert b"answer 200" == response.read()
    assert (3, 1) == (len(site.hits), len({hit.port for hit in site.hits}))


@pytest.mark.promise("R05")
def test_the_last_answer_is_returned_whole_if_the_retry_gets_no_permit(settings: Callable[..., Config], site: "Site") -> None:
    with (
        Governor(settings(limits=["1/h burst 1"])) as governor,
        GovernedPoolManager("example", governor=governor, govern_loopback=True, wait=5.0) as http,
    ):
        response = http.request("GET", site.at("/", 503), preload_content=False)

    assert (503, b"answer 503") == (response.status, b"".join(response.stream()))


@pytest.mark.promise("R57", "R58")
def test_a_denial_is_an_error_of_urllib3_and_ours(settings: Callable[..., Config], site: "Site") -> None:
    url = site.at("/", 200)
    with (
        Governor(settings(limits=["1/h burst 1"])) as governor,
        GovernedPoolManager("example", governor=governor, govern_loopback=True) as http,
    ):
        http.request("GET", url)
        with pytest.raises(RateLimited) as caught:
            http.request("GET", url, timeout=0.05)

    assert isinstance(caught.value, HTTPError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(caught.value), caught.value.args) == (type(copy), copy.args)


@pytest.mark.promise("R58")
@pytest.mark.parametrize("preload", [True, False])
def test_a_denial_is_an_answer_on_request(background: Governor, site: "Site", preload: bool) -> None:
    with (
        GovernedPoolManager("example", governor=background, govern_loopback=True, on_refusal="response") as http,
        denying(background, "example", "GET", reason=Reason.CIRCUIT_OPEN, retry_after=7.0),
    ):
        response = http.request("GET", site.at("/", 200), preload_content=preload)

    assert (503, "7", "false") == (response.status, response.headers["Retry-After"], response.headers["X-Should-Retry"])
    assert Reason.CIRCUIT_OPEN.value == response.json()["error"]["code"]


@pytest.mark.promise("R57")
@pytest.mark.parametrize("of", ["manager", "pool"])
def test_one_wait_bounds_a_call_with_its_redirects(
    background: Governor, site: "Site", handlers: "type[Handlers]", monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    path = f"/{site.url.rsplit('/', 1)[1]}"
    url = site.at("/a", handlers.headers(302, location=f"{path}/b"))
    site.at("/b", handlers.headers(302, location=f"{path}/c"))
    site.at("/c", handlers.headers(503, retry_after="1"), 200)
    monkeypatch.setattr(Access, "take", lambda *_, **__: None)  # The scope must be asked.
    each_permit_takes_a_second = map(Instant, count(0, 1_000_000)).__next__

    with GovernedPoolManager(
        "example", governor=background, govern_loopback=True, wait=3.5, clock=each_permit_takes_a_second
    ) as http:
        client: urllib3.PoolManager | urllib3.HTTPConnectionPool = http
        if of == "pool":
            client, url = http.connection_from_url(url), f"{path}/a"
        first = client.request("GET", url).status
        second = client.request("GET", url.replace("/a", "/c")).status

    assert ([503, 200], ["/a", "/b", "/c", "/c"]) == ([first, second], [hit.path for hit in site.hits])


def test_redirects_are_counted_by_the_retries_of_the_call(
    http: GovernedPoolManager, site: "Site", handlers: "type[Handlers]"
) -> None:
    url = site.at("/a", handlers.headers(302, location=f"/{site.url.rsplit('/', 1)[1]}/a"))

    with pytest.raises(MaxRetryError, match="too many redirects"):
        http.request("GET", url, retries=2)

    assert 3 == len(site.hits)
    assert 302 == http.request("GET", url, redirect=False).status


@pytest.mark.promise("R56")
@pytest.mark.parametrize("status", [302, 303, 307])
@pytest.mark.parametrize("to", ["/b", "http://localhost:1/", "/a"], ids=["once", "to another host", "for ever"])
@pytest.mark.parametrize("retries", [None, 2, False, Retry(1, raise_on_redirect=False)], ids=str)
def test_a_pool_by_itself_follows_redirects_as_it_does_without_a_governor(
    background: Governor, provider: Provider, status: int, to: str, retries: Retry | int | None
) -> None:
    provider.at("/a", answer(None, status, location=to))
    provider.at("/b", answer("b"))

    def outcome(http: urllib3.PoolManager) -> tuple[object, ...]:
        provider.requests.clear()
        pool = http.connection_from_url(provider.url)
        try:
            result: object = pool.request("POST", "/a", body=BytesIO(b"body"), headers={"cookie": "a"}, retries=retries).status
        except HTTPError as error:
            result = type(error)
        return result, *((each.method, each.path, each.body, each.headers) for each in provider.requests)

    with GovernedPoolManager("example", governor=background, govern_loopback=True) as http:
        assert outcome(urllib3.PoolManager()) == outcome(http)

    assert len(provider.requests) == counters(background).others + counters(background).answered_2xx


@pytest.mark.promise("R56")
def test_a_proxy_manager_is_governed_by_the_host_of_the_request(
    background: Governor, break_off: Callable[..., Provider]
) -> None:
    with govern(urllib3.ProxyManager(break_off(WHOLE).url), "example", governor=background) as http:
        response = http.request("GET", "http://api.example/")

    assert (b"whole", CounterRecord(requests=1, answered_2xx=1)) == (response.data, counters(background))


def test_a_manager_is_governed_once(http: GovernedPoolManager) -> None:
    with pytest.raises(UsageError, match="already"):
        govern(http, "other")


@pytest.mark.promise("R56")
def test_a_library_that_sends_with_a_governed_manager_is_governed(
    http: GovernedPoolManager, background: Governor, site: "Site"
) -> None:
    adapter = requests.adapters.HTTPAdapter()
    adapter.poolmanager = http
    with requests.Session() as session:
        session.mount("http://", adapter)
        answers = [session.get(site.at("/", 503, 200)).text]
        with denying(background, "example", "GET"), pytest.raises(PermitDenied):
            session.get(site.at("/", 200))

    denied = {Reason.RATE_LIMIT: 1}
    assert ["answer 200"] == answers
    assert CounterRecord(requests=2, answered_5xx=1, answered_2xx=1, retries=1, denied=denied) == counters(background)


@pytest.mark.promise("R52")
def test_requests_to_this_machine_are_not_governed_by_default(background: Governor, site: "Site") -> None:
    with GovernedPoolManager("example", governor=background) as http:
        assert 200 == http.request("GET", site.at("/", 200)).status

    assert CounterRecord() == counters(background)
