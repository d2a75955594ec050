"""Many calls to one provider at once: each request is counted exactly once."""

import gc
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import ref

import anyio
import httpx2
import pytest

import governor as library
from governor import Config, CounterRecord, Governor, _default
from governor_client import TrafficControlledHttpClient
from tests.support.provider import Provider

if TYPE_CHECKING:
    from tests.integration.client.conftest import Handlers, Site

CALLS = 200
BUDGET = {"share": 0.2, "floor": 10, "window": "1h"}
#: Beyond the calls themselves: a fifth of them, and the floor.
RETRIES = 50


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.promise("R05")
async def test_an_outage_multiplies_traffic_by_no_more_than_the_retry_budget(
    settings: Callable[..., Config], site: "Site"
) -> None:
    url = site.at("/", 503)
    statuses: Counter[int] = Counter()
    left = iter(range(CALLS))

    async def call(client: TrafficControlledHttpClient) -> None:
        for _ in left:
            statuses[(await client.aget(url, raise_for_status=False, retry=True)).status_code] += 1

    async with Governor(settings(retry_budget=BUDGET)) as governor:
        client = TrafficControlledHttpClient("example", governor=governor, govern_loopback=True)
        async with client, anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(call, client)
        counted = governor.statistics().counters

    assert {503: CALLS} == statuses
    assert CALLS + RETRIES == len(site.hits)
    assert CounterRecord(requests=CALLS + RETRIES, answered_5xx=CALLS + RETRIES, retries=RETRIES) == counted


@pytest.mark.promise("R05")
def test_a_provider_that_is_gone_is_asked_no_more_often_either(
    settings: Callable[..., Config], break_off: Callable[..., Provider]
) -> None:
    server = break_off(b"")
    budget = {"share": 0.5, "floor": 5, "window": "1h"}

    with (
        Governor(settings(retry_budget=budget)) as governor,
        TrafficControlledHttpClient("example", governor=governor, govern_loopback=True) as client,
    ):
        for _ in range(20):
            with pytest.raises(httpx2.RemoteProtocolError):
                client.get(server.url)
        counted = governor.statistics().counters

    assert 20 + 5 + 10 == len(server.requests)
    assert CounterRecord(requests=35, failures=35, retries=15) == counted


@pytest.fixture(params=["given", "default"])
def shared(
    request: pytest.FixtureRequest, settings: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Governor | None]:
    """A governor on a thread of its own; or None, which stands for the one of the process."""
    if request.param == "given":
        with Governor(settings()) as governor:
            yield governor
        return
    policy = tmp_path / "governor.toml"
    policy.write_text('[outbound.default]\nlimits = ["1000/s"]\nretry = { first_delay = "1ms", max_delay = "1ms" }\n')
    monkeypatch.setenv("GOVERNOR_CONFIG", str(policy))
    monkeypatch.setattr(_default, "_started", {})
    yield None
    _default._close(os.getpid())


@pytest.mark.promise("R50", "R51")
@pytest.mark.parametrize("clients", [1, 8])
def test_eight_threads_share_one_governor(
    shared: Governor | None, site: "Site", balance: Callable[[CounterRecord], int], clients: int
) -> None:
    url = site.at("/", *[200, 503, 200, 404] * 20, 200)

    def use(client: TrafficControlledHttpClient) -> int:
        return sum(client.get(url, raise_for_status=False).is_success for _ in range(10))

    def make() -> TrafficControlledHttpClient:
        return TrafficControlledHttpClient("example", governor=shared, govern_loopback=True)

    def alone() -> int:
        with make() as client:
            return use(client)

    with ThreadPoolExecutor(8) as threads:
        if clients == 1:
            with make() as client:
                done = [threads.submit(use, client) for _ in range(8)]
                successes = sum(job.result() for job in done)
        else:
            successes = sum(job.result() for job in [threads.submit(alone) for _ in range(8)])

    counted = (library.default() if shared is None else shared).statistics().counters
    assert (len(site.hits), successes, 0) == (counted.requests, counted.answered_2xx, balance(counted))


@pytest.mark.promise("R50", "R51")
def test_one_client_serves_any_number_of_event_loops(background: Governor, site: "Site", handlers: "type[Handlers]") -> None:
    url = site.at("/", handlers.headers(200, set_cookie="seen=1"), 200)
    clients: list[ref[object]] = []

    with TrafficControlledHttpClient("example", governor=background, govern_loopback=True, library=httpx2) as client:

        async def use() -> str | None:
            clients.append(ref(client._async.client()))
            await client.aget(url)
            response = await client.aget(url)
            return response.request.headers.get("cookie")

        # One after the other, each with a connection that the one before has left open; then at the same time.
        cookies = [anyio.run(use, backend=backend) for backend in ("asyncio", "trio", "asyncio", "trio")]
        with ThreadPoolExecutor(4) as threads:
            cookies += threads.map(anyio.run, [use] * 4)

    gc.collect()
    assert ["seen=1"] * 8 == cookies
    assert CounterRecord(requests=16, answered_2xx=16) == background.statistics().counters
    assert 6 <= sum(one() is None for one in clients)


@pytest.mark.anyio
@pytest.mark.promise("R50")
async def test_whatever_happens_each_request_has_exactly_one_outcome(
    governor: Governor,
    site: "Site",
    handlers: "type[Handlers]",
    break_off: Callable[..., Provider],
    balance: Callable[[CounterRecord], int],
) -> None:
    broken = break_off(b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ").url
    slow = site.at("/slow", handlers.silence)
    lines = site.at("/lines", handlers.lines("one", hangs=True))
    flaky = site.at("/flaky", *[200, 404, 503] * 20, 200)

    async def call(url: str) -> None:
        with anyio.move_on_after(0.02), suppress(httpx2.HTTPError):
            await client.aget(url, timeout=httpx2.Timeout(5.0, read=0.01))

    async def stream(url: str) -> None:
        with suppress(httpx2.HTTPError):
            async with client.astream("GET", url, timeout=httpx2.Timeout(5.0, read=0.05)) as response:
                await response.aread()

    async with TrafficControlledHttpClient("example", governor=governor, govern_loopback=True) as client:
        async with anyio.create_task_group() as tasks:
            for url in (broken, slow, lines, flaky):
                for _ in range(5):
                    tasks.start_soon(stream, url)
                    tasks.start_soon(call, url)
        counted = governor.statistics().counters

    assert 0 == balance(counted)
