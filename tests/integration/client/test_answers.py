"""Answers of a server that works, fails, redirects, is slow or breaks off, in all ways of use."""

import socket
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

import anyio
import httpx2
import pytest

from governor import Config, CounterRecord, Governor, RateLimited
from governor_client import AsyncGovernedTransport, GovernedTransport, TrafficControlledHttpClient
from tests.support.provider import Provider
from tests.support.waits import until

if TYPE_CHECKING:
    from tests.integration.client.conftest import Handlers, Site

pytestmark = pytest.mark.anyio

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf "
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwhole"


def client_under(governor: Governor, timeout: float | httpx2.Timeout | None = 30.0) -> TrafficControlledHttpClient:
    return TrafficControlledHttpClient("example", timeout=timeout, governor=governor, govern_loopback=True)


# 503, then 200.


@pytest.mark.promise("R05", "R50")
async def test_a_failure_that_passes_is_not_noticed_by_the_caller(governor: Governor, site: "Site") -> None:
    async with client_under(governor) as client:
        response = await client.aget(site.at("/", 503, 200))

    assert "answer 200" == response.text
    assert CounterRecord(requests=2, answered_5xx=1, answered_2xx=1, retries=1) == governor.statistics().counters


@pytest.mark.promise("R05", "R50")
def test_a_failure_that_passes_is_not_noticed_by_a_blocking_caller(background: Governor, site: "Site") -> None:
    with client_under(background) as client:
        response = client.get(site.at("/", 503, 200))

    assert "answer 200" == response.text
    assert CounterRecord(requests=2, answered_5xx=1, answered_2xx=1, retries=1) == background.statistics().counters


@pytest.mark.promise("R05")
async def test_a_failure_that_stays_is_seen_by_the_counters_attempt_by_attempt(governor: Governor, site: "Site") -> None:
    async with client_under(governor) as client:
        with pytest.raises(httpx2.HTTPStatusError, match="503"):
            await client.aget(site.at("/", 503))

    assert 3 == len(site.hits)
    # On another thread the last outcome may be read just after the statistics.
    expected = CounterRecord(requests=3, answered_5xx=3, retries=2)
    until(lambda: expected == governor.statistics().scopes["example:get"].counters)


async def test_a_retry_goes_over_the_connection_that_is_open_already(background: Governor, site: "Site") -> None:
    plain = AsyncGovernedTransport("example", governor=background, govern_loopback=True)
    async with httpx2.AsyncClient(transport=plain) as client:
        await client.get(site.at("/", 503, 503, 200))

    assert (3, 1) == (len(site.hits), len({hit.port for hit in site.hits}))


@pytest.mark.promise("R05")
@pytest.mark.parametrize(("headers", "sent"), [({}, 1), ({"Idempotency-Key": "8e03978e"}, 3)])
async def test_a_post_is_sent_once_unless_it_has_an_idempotency_key(
    governor: Governor, site: "Site", headers: dict[str, str], sent: int
) -> None:
    async with client_under(governor) as client:
        await client.apost(site.at("/", 503), json={"a": 1}, headers=headers, raise_for_status=False, retry=True)

    assert [("POST", b'{"a":1}')] * sent == [(hit.method, hit.body) for hit in site.hits]


# Redirects.


@pytest.mark.promise("R50")
async def test_each_hop_of_a_redirect_takes_its_own_permit(
    governor: Governor, site: "Site", handlers: "type[Handlers]"
) -> None:
    end = site.at("/end", 200)
    middle = site.at("/middle", handlers.headers(307, location=end))
    start = site.at("/start", handlers.headers(302, location=middle))

    async with client_under(governor) as client:
        response = await client.aget(start)

    assert ("answer 200", 2) == (response.text, len(response.history))
    assert ["/start", "/middle", "/end"] == [hit.path for hit in site.hits]
    assert CounterRecord(requests=3, answered_2xx=1, others=2) == governor.statistics().counters


# Broken connections.


@pytest.mark.promise("R05", "R50")
async def test_a_connection_that_breaks_in_the_middle_of_an_answer_is_a_failed_attempt(
    governor: Governor, break_off: Callable[..., Provider]
) -> None:
    server = break_off(HALF, WHOLE)

    async with client_under(governor) as client:
        response = await client.aget(server.url)

    assert ("whole", 2) == (response.text, len(server.requests))
    assert CounterRecord(requests=2, failures=1, answered_2xx=1, retries=1) == governor.statistics().counters


@pytest.mark.promise("R05", "R50")
def test_a_connection_that_breaks_in_the_middle_of_an_answer_is_a_failed_attempt_for_blocking_callers_too(
    background: Governor, break_off: Callable[..., Provider]
) -> None:
    server = break_off(HALF, WHOLE)

    with client_under(background) as client:
        response = client.get(server.url)

    assert ("whole", 2) == (response.text, len(server.requests))
    assert CounterRecord(requests=2, failures=1, answered_2xx=1, retries=1) == background.statistics().counters


@pytest.mark.promise("R50")
async def test_a_stream_that_breaks_in_the_middle_is_not_tried_again(
    governor: Governor, break_off: Callable[..., Provider]
) -> None:
    server = break_off(HALF, WHOLE)
    received = b""

    async with client_under(governor) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            async with client.astream("GET", server.url) as response:
                async for piece in response.aiter_bytes():
                    received += piece

    assert (b"half ", 1) == (received, len(server.requests))
    assert CounterRecord(requests=1, failures=1) == governor.statistics().counters


@pytest.mark.promise("R50")
def test_a_blocking_stream_that_breaks_in_the_middle_is_not_tried_again(
    background: Governor, break_off: Callable[..., Provider]
) -> None:
    server = break_off(HALF, WHOLE)

    with (
        client_under(background) as client,
        pytest.raises(httpx2.RemoteProtocolError),
        client.stream("GET", server.url) as response,
    ):
        response.read()

    assert 1 == len(server.requests)
    assert CounterRecord(requests=1, failures=1) == background.statistics().counters


@pytest.mark.promise("R05", "R50")
@pytest.mark.parametrize("way", ["call", "stream"])
async def test_a_server_that_closes_without_an_answer_is_tried_again(
    governor: Governor, break_off: Callable[..., Provider], way: str
) -> None:
    server = break_off(b"", b"HTTP/1.1 ", WHOLE)

    async with client_under(governor) as client:
        if way == "call":
            response = await client.aget(server.url)
        else:
            async with client.astream("GET", server.url) as response:
                await response.aread()

    assert ("whole", 3) == (response.text, len(server.requests))
    assert CounterRecord(requests=3, failures=2, answered_2xx=1, retries=2) == governor.statistics().counters


def test_a_server_that_closes_without_an_answer_is_tried_again_by_blocking_callers_too(
    background: Governor, break_off: Callable[..., Provider]
) -> None:
    server = break_off(b"", WHOLE)

    with client_under(background) as client:
        assert "whole" == client.get(server.url).text

    assert CounterRecord(requests=2, failures=1, answered_2xx=1, retries=1) == background.statistics().counters


async def test_where_nothing_listens_every_attempt_is_a_failure(governor: Governor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    async with client_under(governor) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.aget(f"http://127.0.0.1:{port}/")

    assert CounterRecord(requests=3, failures=3, retries=2) == governor.statistics().counters


# Slowness.


@pytest.mark.promise("R05", "R50")
async def test_a_slow_server_is_a_failed_attempt(governor: Governor, site: "Site", handlers: "type[Handlers]") -> None:
    async with client_under(governor, httpx2.Timeout(30.0, read=0.05)) as client:
        response = await client.aget(site.at("/", handlers.silence, 200))

    assert "answer 200" == response.text
    assert CounterRecord(requests=2, failures=1, answered_2xx=1, retries=1) == governor.statistics().counters


def test_a_slow_server_is_a_failed_attempt_for_blocking_callers_too(
    background: Governor, site: "Site", handlers: "type[Handlers]"
) -> None:
    with client_under(background, httpx2.Timeout(30.0, read=0.05)) as client:
        response = client.get(site.at("/", handlers.silence, 200))

    assert "answer 200" == response.text
    assert CounterRecord(requests=2, failures=1, answered_2xx=1, retries=1) == background.statistics().counters


@pytest.mark.promise("R50")
async def test_a_stream_that_stalls_is_a_failure(governor: Governor, site: "Site", handlers: "type[Handlers]") -> None:
    async with client_under(governor, httpx2.Timeout(30.0, read=0.05)) as client:
        with pytest.raises(httpx2.ReadTimeout):
            async with client.astream("GET", site.at("/", handlers.lines("one", hangs=True))) as response:
                await response.aread()

    assert (1, CounterRecord(requests=1, failures=1)) == (len(site.hits), governor.statistics().counters)


@pytest.mark.promise("R05")
async def test_what_the_server_asks_for_is_waited_for(
    settings: Callable[..., Config], site: "Site", handlers: "type[Handlers]"
) -> None:
    hour = {"first_delay": "1h", "max_delay": "1h", "jitter": "none"}
    async with Governor(settings(retry=hour)) as governor, client_under(governor, 2.0) as client:
        began = anyio.current_time()
        response = await client.aget(site.at("/", handlers.headers(429, retry_after="0.05"), 200))

    assert ("answer 200", True) == (response.text, anyio.current_time() - began >= 0.05)


@pytest.mark.promise("R05")
def test_what_the_server_asks_for_is_waited_for_by_blocking_callers_too(
    settings: Callable[..., Config], site: "Site", handlers: "type[Handlers]"
) -> None:
    hour = {"first_delay": "1h", "max_delay": "1h", "jitter": "none"}
    with Governor(settings(retry=hour)) as governor, client_under(governor, 2.0) as client:
        began = monotonic()
        response = client.get(site.at("/", handlers.headers(429, retry_after="0.5"), 200))

    assert ("answer 200", True) == (response.text, monotonic() - began >= 0.5)


@pytest.mark.promise("R05")
async def test_a_server_that_asks_for_more_time_than_the_caller_has_ends_the_retries(
    governor: Governor, site: "Site", handlers: "type[Handlers]"
) -> None:
    async with client_under(governor, 2.0) as client:
        response = await client.aget(site.at("/", handlers.headers(429, retry_after="3"), 200), raise_for_status=False)

    assert (429, 1) == (response.status_code, len(site.hits))


@pytest.mark.promise("R50")
async def test_a_permit_that_would_come_too_late_is_denied_at_once(settings: Callable[..., Config], site: "Site") -> None:
    url = site.at("/", 200)
    async with Governor(settings(limits=["1/hour"])) as governor, client_under(governor) as client:
        await client.aget(url)
        began = anyio.current_time()
        with pytest.raises(RateLimited) as raised:
            await client.aget(url)
        taken = anyio.current_time() - began

    assert (True, True, 1) == (taken < 5.0, (raised.value.retry_after or 0) > 3_000, len(site.hits))


@pytest.mark.promise("R50")
def test_a_permit_that_would_come_too_late_is_denied_at_once_for_blocking_callers_too(
    settings: Callable[..., Config], site: "Site"
) -> None:
    url = site.at("/", 200)
    with Governor(settings(limits=["1/hour"])) as governor, client_under(governor) as client:
        client.get(url)
        with pytest.raises(RateLimited):
            client.get(url)

    assert 1 == len(site.hits)


# Ways of use.


@pytest.mark.promise("R50")
async def test_lines_are_handed_out_while_they_come(governor: Governor, site: "Site", handlers: "type[Handlers]") -> None:
    async with client_under(governor) as client:
        url = site.at("/", 503, handlers.lines("one", "two", "three"))
        async with client.astream("GET", url) as response:
            pending = governor.statistics().counters
            lines = [line async for line in response.aiter_lines()]

    assert ["one", "two", "three"] == lines
    assert CounterRecord(requests=2, answered_5xx=1, retries=1) == pending
    assert CounterRecord(requests=2, answered_5xx=1, retries=1, answered_2xx=1) == governor.statistics().counters


@pytest.mark.promise("R50")
def test_lines_are_handed_out_while_they_come_to_blocking_callers(
    background: Governor, site: "Site", handlers: "type[Handlers]"
) -> None:
    with client_under(background) as client:
        url = site.at("/", handlers.lines("one", "two", "three"))
        with client.stream("POST", url, json={"a": 1}) as response:
            pending = background.statistics().counters
            lines = list(response.iter_lines())

    assert ["one", "two", "three"] == lines
    assert CounterRecord(requests=1) == pending
    assert CounterRecord(requests=1, answered_2xx=1) == background.statistics().counters


@pytest.mark.promise("R50")
async def test_a_stream_that_is_left_early_counts_by_its_status(
    governor: Governor, site: "Site", handlers: "type[Handlers]"
) -> None:
    async with client_under(governor) as client:
        async with client.astream("GET", site.at("/", handlers.lines("one", hangs=True))) as response:
            first = await anext(response.aiter_lines())
        counted = governor.statistics().counters

    assert ("one", CounterRecord(requests=1, answered_2xx=1)) == (first, counted)


@pytest.mark.promise("R50")
async def test_a_stream_that_is_cancelled_in_the_middle_says_nothing_about_the_provider(
    settings: Callable[..., Config], site: "Site", handlers: "type[Handlers]"
) -> None:
    url = site.at("/", handlers.lines("one", hangs=True), 200)
    async with Governor(settings(limits=["1 in flight"], linger="off")) as governor, client_under(governor) as client:
        async with anyio.create_task_group() as tasks:
            reached = anyio.Event()

            async def read() -> None:
                async with client.astream("GET", url) as response:
                    async for _ in response.aiter_lines():
                        reached.set()

            tasks.start_soon(read)
            await reached.wait()
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        assert CounterRecord(requests=1, neutral=1) == governor.statistics().counters

        # Its place is free again.
        assert 200 == (await client.aget(url, timeout=1.0)).status_code


@pytest.mark.promise("R50")
async def test_anything_built_on_httpx_can_be_governed_in_one_line(governor: Governor, site: "Site") -> None:
    class Sdk:
        """As SDKs are: it takes a client of httpx2 and knows nothing else."""

        def __init__(self, http_client: httpx2.AsyncClient) -> None:
            self._client = http_client

        async def complete(self) -> str:
            request = self._client.build_request("POST", "complete", json={}, headers={"Idempotency-Key": "1"})
            return (await self._client.send(request)).raise_for_status().text

    site.at("/complete", 429, 200)
    transport = AsyncGovernedTransport("openai", governor=governor, govern_loopback=True)
    async with httpx2.AsyncClient(transport=transport, base_url=site.url) as http_client:
        assert "answer 200" == await Sdk(http_client).complete()

    assert CounterRecord(requests=2, answered_4xx=1, answered_429=1, answered_2xx=1, retries=1) == (
        governor.statistics().scopes["openai:post"].counters
    )


@pytest.mark.promise("R50")
def test_and_so_can_anything_that_blocks(background: Governor, site: "Site") -> None:
    transport = GovernedTransport("openai", governor=background, govern_loopback=True)
    with httpx2.Client(transport=transport) as client:
        assert "answer 200" == client.get(site.at("/", 503, 200)).text

    assert ["openai:get"] == list(background.statistics().scopes)


# Outside.


@pytest.mark.promise("R52")
async def test_requests_to_the_machine_itself_take_no_permit_by_default(governor: Governor, site: "Site") -> None:
    async with TrafficControlledHttpClient("example", governor=governor) as client:
        response = await client.aget(site.at("/", 503, 200), raise_for_status=False)

    assert (503, 1, {}) == (response.status_code, len(site.hits), governor.statistics().scopes)


@pytest.mark.promise("R52")
def test_health_probes_can_be_declared_outside(background: Governor, site: "Site") -> None:
    probe, call = site.at("/health", 200), site.at("/pay", 200)
    path = httpx2.URL(probe).path
    with TrafficControlledHttpClient("example", governor=background, govern_loopback=True, ungoverned=[path]) as client:
        client.get(probe)
        client.get(call)

    assert (2, 1) == (len(site.hits), background.statistics().counters.requests)
