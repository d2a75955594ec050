"""The governor learns the outcome of each request once, wherever the request is cut short."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import httpx2
import pytest

from governor import Config, CounterRecord, Governor
from governor_client import AsyncGovernedTransport, GovernedTransport, TrafficControlledHttpClient

if TYPE_CHECKING:
    from tests.unit.client.conftest import Body, Meet, Provider, SettingsOf

pytestmark = pytest.mark.anyio

NOTHING_YET = CounterRecord(requests=1)


@pytest.mark.promise("R50")
async def test_the_outcome_of_a_stream_is_known_when_it_has_been_read(meet: "Meet") -> None:
    half = meet(200)

    response = await half.send()
    begun = half.counters()
    await half.read(response)
    await half.close(response)

    assert (NOTHING_YET, CounterRecord(requests=1, answered_2xx=1)) == (begun, half.counters())


@pytest.mark.promise("R06", "R50")
@pytest.mark.parametrize(("status", "after"), [(200, "closed"), (404, "closed"), (501, "open")])
async def test_a_probe_is_judged_when_its_answer_begins_and_once(
    meet: "Meet", settings_of: "SettingsOf", body: "type[Body]", status: int, after: str
) -> None:
    breaker = {"failures": 1, "probes": 1, "successes": 1, "open_for": "1us"}
    async with Governor(settings_of(breaker=breaker)) as governor:
        half = meet(501, httpx2.Response(status, stream=body(b"one", httpx2.ReadError("reset"))), under=governor)
        await half.read(await half.send())
        response = await half.send()
        begun = governor.statistics().scopes["example:get"]
        with pytest.raises(httpx2.ReadError):
            await half.read(response)
        ended = governor.statistics().scopes["example:get"]

    assert (after, 1 + (after == "open")) == (begun.breaker.status, begun.counters.openings)
    assert (begun.counters.openings, 2) == (ended.counters.openings, ended.counters.requests)


@pytest.mark.promise("R50")
async def test_a_stream_that_breaks_is_a_failure_and_is_not_tried_again(meet: "Meet", body: "type[Body]") -> None:
    broken = body(b"half of", httpx2.ReadError("reset"))
    half = meet(httpx2.Response(200, stream=broken))

    response = await half.send()
    with pytest.raises(httpx2.ReadError):
        await half.read(response)
    await half.close(response)

    assert CounterRecord(requests=1, failures=1) == half.counters()


@pytest.mark.promise("R50")
@pytest.mark.parametrize(
    ("status", "counted"),
    [
        (200, CounterRecord(requests=1, answered_2xx=1)),
        (404, CounterRecord(requests=1, answered_4xx=1)),
        (501, CounterRecord(requests=1, answered_5xx=1)),
    ],
)
async def test_a_stream_that_its_reader_closes_early_counts_by_its_status(
    meet: "Meet", body: "type[Body]", status: int, counted: CounterRecord
) -> None:
    unread = body(b"one", b"two")
    half = meet(httpx2.Response(status, stream=unread))

    response = await half.send()
    await half.close(response)
    await half.close(response)

    assert (counted, 1) == (half.counters(), unread.closed)


async def test_a_reader_who_stops_in_the_middle_and_closes_is_counted_once(meet: "Meet", body: "type[Body]") -> None:
    half = meet(httpx2.Response(200, stream=body(b"one", b"two")))

    response = await half.send()
    if half.blocking:
        assert b"one" == next(response.iter_raw())
    else:
        pieces = response.aiter_raw()
        assert b"one" == await anext(pieces)
        assert isinstance(pieces, AsyncGenerator)
        await pieces.aclose()
    await half.close(response)

    assert CounterRecord(requests=1, answered_2xx=1) == half.counters()


async def test_the_end_of_a_stream_is_enough_even_if_it_is_not_closed(meet: "Meet") -> None:
    half = meet(200)

    stream = (await half.send()).stream
    if isinstance(stream, httpx2.SyncByteStream):
        assert [b"answer 200"] == list(stream)
    else:
        assert [b"answer 200"] == [piece async for piece in stream]

    assert CounterRecord(requests=1, answered_2xx=1) == half.counters()


async def test_what_comes_after_the_outcome_changes_nothing(
    governor: Governor, provider: "type[Provider]", body: "type[Body]"
) -> None:
    unread = httpx2.Response(200, stream=body(httpx2.ReadError("read after it was closed")))
    transport = GovernedTransport("example", governor=governor, transport=provider([unread]))

    response = transport.handle_request(httpx2.Request("GET", "https://example.com/"))
    response.close()
    assert isinstance(response.stream, httpx2.SyncByteStream)
    with pytest.raises(httpx2.ReadError):
        list(response.stream)

    assert CounterRecord(requests=1, answered_2xx=1) == governor.statistics().counters


async def test_closing_a_transport_closes_the_one_beneath(provider: "type[Provider]") -> None:
    inner = provider([200])

    GovernedTransport("example", transport=inner).close()
    await AsyncGovernedTransport("example", transport=inner).aclose()

    assert ["closed", "closed"] == inner.life


async def test_an_answer_that_is_in_memory_already_is_counted_at_once(meet: "Meet") -> None:
    half = meet(httpx2.Response(200, json={"from": "httpx2.MockTransport"}))

    response = await half.send()

    assert {"from": "httpx2.MockTransport"} == response.json()
    assert CounterRecord(requests=1, answered_2xx=1) == half.counters()


async def test_redirects_count_as_neither_success_nor_failure_of_their_own(meet: "Meet") -> None:
    half = meet(302)

    await half.read(await half.send())

    assert CounterRecord(requests=1, others=1) == half.counters()


async def test_nothing_is_recorded_where_no_permit_was_needed(governor: Governor, provider: "type[Provider]") -> None:
    probed = provider([503])
    transport = AsyncGovernedTransport("example", governor=governor, transport=probed, ungoverned=["/health"])

    for url in ("https://example.com/health", "http://localhost/"):
        await transport.handle_async_request(httpx2.Request("GET", url))

    assert (2, {}) == (len(probed.asked), governor.statistics().scopes)


@pytest.fixture
async def narrow() -> AsyncIterator[Governor]:
    """A governor that has one place for a call in flight, which is lost if an outcome is."""
    said = {
        "limits": ["1 in flight"],
        "linger": "off",
        "breaker": {"failures": 1},
        "retry": {"first_delay": "1h", "max_delay": "1h"},
    }
    async with Governor(Config.from_mapping({"outbound": {"default": said}})) as governor:
        yield governor


class Hanging(httpx2.AsyncBaseTransport):
    """Never answers."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await anyio.sleep_forever()
        raise AssertionError


async def cancelled(transport: AsyncGovernedTransport, *, buffered: bool = False, read: bool = False) -> None:
    """A request that is cancelled once it cannot go on by itself."""
    request = httpx2.Request("GET", "https://example.com/", extensions={"governor.buffered": buffered, "governor.wait": None})

    async def send() -> None:
        response = await transport.handle_async_request(request)
        try:
            if read:
                await response.aread()
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()


@pytest.mark.promise("R50")
async def test_cancelled_while_it_is_sent_it_says_nothing_and_leaves_no_place_taken(narrow: Governor) -> None:
    await cancelled(AsyncGovernedTransport("example", governor=narrow, transport=Hanging()))

    await _is_at_rest(narrow, CounterRecord(requests=1, neutral=1))


@pytest.mark.parametrize(("status", "buffered"), [(200, False), (200, True), (503, True)])
async def test_cancelled_while_its_answer_is_read_it_says_nothing_and_closes_the_answer(
    narrow: Governor, provider: "type[Provider]", body: "type[Body]", status: int, *, buffered: bool
) -> None:
    endless = body(b"one", hangs=True)
    transport = AsyncGovernedTransport(
        "example", governor=narrow, transport=provider([httpx2.Response(status, stream=endless)])
    )

    await cancelled(transport, buffered=buffered, read=not buffered)

    assert 1 == endless.closed
    await _is_at_rest(narrow, CounterRecord(requests=1, neutral=1))


async def test_cancelled_while_an_answer_is_kept_for_later_it_says_nothing_and_is_not_tried_again(
    narrow: Governor, provider: "type[Provider]", body: "type[Body]"
) -> None:
    inner = provider([httpx2.Response(503, stream=body(b"one", hangs=True))])

    await cancelled(AsyncGovernedTransport("example", governor=narrow, transport=inner))

    assert 1 == len(inner.asked)
    await _is_at_rest(narrow, CounterRecord(requests=1, neutral=1))


async def test_cancelled_while_it_waits_for_its_permit_it_leaves_the_line(narrow: Governor, provider: "type[Provider]") -> None:
    idle = provider([200])

    async with narrow.permit("example", "GET") as permit:
        await cancelled(AsyncGovernedTransport("example", governor=narrow, transport=idle))
        permit.give_back()

    assert [] == idle.asked
    await _is_at_rest(narrow, CounterRecord(requests=1, neutral=1))


async def test_cancelled_in_the_pause_before_a_retry_its_outcome_is_known_already(provider: "type[Provider]") -> None:
    said = {"limits": ["1 in flight"], "linger": "off", "retry": {"first_delay": "1h", "max_delay": "1h", "jitter": "none"}}
    async with Governor(Config.from_mapping({"outbound": {"default": said}})) as governor:
        await cancelled(AsyncGovernedTransport("example", governor=governor, transport=provider([503])))

        await _is_at_rest(governor, CounterRecord(requests=1, answered_5xx=1))


async def test_interrupted_it_says_nothing_either(meet: "Meet", narrow: Governor) -> None:
    half = meet(KeyboardInterrupt(), under=narrow)

    with pytest.raises(KeyboardInterrupt):
        await half.send()

    await _is_at_rest(narrow, CounterRecord(requests=1, neutral=1))


async def test_interrupted_while_an_answer_is_kept_it_is_not_tried_again(meet: "Meet", body: "type[Body]") -> None:
    half = meet(httpx2.Response(503, stream=body(KeyboardInterrupt())), 200)

    with pytest.raises(KeyboardInterrupt):
        await half.send()

    assert CounterRecord(requests=1, neutral=1) == half.counters()


async def _is_at_rest(governor: Governor, counted: CounterRecord) -> None:
    """Nothing is in flight, no call waits, the breaker is closed, and the counters are as expected."""
    await anyio.lowlevel.checkpoint()
    scope = governor.statistics().scopes["example:get"]
    assert counted == scope.counters
    assert (1, 0, "closed") == (scope.limits[0].available, scope.waiting, scope.breaker.status)


async def test_a_stream_may_end_after_its_governor_has_been_closed(meet: "Meet", settings_of: "SettingsOf") -> None:
    async with Governor(settings_of()) as governor:
        half = meet(200, under=governor)
        response = await half.send()

    assert b"answer 200" == await half.read(response)


MISTAKES = [
    KeyError("customer_id"),
    FileNotFoundError("rows.csv"),
    TimeoutError(),
    ConnectionResetError(),
    httpx2.ReadError(""),
]


@pytest.mark.promise("R06")
@pytest.mark.parametrize("error", MISTAKES, ids=lambda error: type(error).__name__)
async def test_a_body_that_cannot_be_read_says_nothing_about_the_provider(meet: "Meet", error: Exception) -> None:
    half = meet(200)

    with pytest.raises(type(error)):
        await half.send("PUT", pieces=(b"one", error))

    assert CounterRecord(requests=1, neutral=1) == half.counters()


@pytest.mark.promise("R06")
async def test_an_error_of_the_provider_after_a_body_was_read_is_the_providers(meet: "Meet") -> None:
    half = meet(httpx2.ReadError("reset"))

    with pytest.raises(httpx2.ReadError):
        await half.send("PUT", pieces=(b"one", b"two"))

    assert ([b"onetwo"], CounterRecord(requests=1, failures=1)) == (half.provider.bodies, half.counters())


async def test_a_request_has_its_own_body_again_when_it_has_been_sent(governor: Governor, provider: "type[Provider]") -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"

    request = httpx2.Request("PUT", "https://example.com/", content=pieces())
    body = request.stream
    transport = AsyncGovernedTransport("example", governor=governor, transport=provider([200]))

    await transport.handle_async_request(request)
    redirected = httpx2.Request("PUT", "https://example.com/", stream=httpx2.ByteStream(b"two"))
    await transport.handle_async_request(redirected)

    assert (True, True) == (request.stream is body, isinstance(redirected.stream, httpx2.ByteStream))


@pytest.mark.promise("R06")
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_what_a_transport_lets_through_of_other_code_is_not_the_providers_failure(meet: "Meet", method: str) -> None:
    half = meet(KeyError("a trace function of the program"))

    with pytest.raises(KeyError):
        await half.send(method)

    assert CounterRecord(requests=1, neutral=1) == half.counters()


@pytest.mark.promise("R06")
async def test_a_reader_that_fails_in_its_own_code_changes_nothing_about_the_answer(
    governor: Governor, provider: "type[Provider]"
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("customer_id")

    inner = provider([200])
    async with TrafficControlledHttpClient("example", governor=governor, async_transport=inner) as client:
        with pytest.raises(KeyError):
            async with client.astream("GET", "https://example.com/") as response:
                fail(response)
    transport = AsyncGovernedTransport("example", governor=governor, transport=inner)
    async with httpx2.AsyncClient(transport=transport, event_hooks={"response": [_failing_hook]}) as hooked:
        with pytest.raises(KeyError):
            await hooked.get("https://example.com/")

    assert CounterRecord(requests=2, answered_2xx=2) == governor.statistics().counters


async def _failing_hook(_: httpx2.Response) -> None:
    raise KeyError("customer_id")


@pytest.mark.promise("R06")
async def test_the_function_of_a_program_classifies_what_the_clients_meet(provider: "type[Provider]") -> None:
    async with Governor(classify=lambda error: "failure" if isinstance(error, KeyError) else None) as governor:
        transport = AsyncGovernedTransport("example", governor=governor, transport=provider([KeyError(), ValueError()]))
        for kind in (KeyError, ValueError):
            with pytest.raises(kind):
                await transport.handle_async_request(httpx2.Request("POST", "https://example.com/"))

        assert CounterRecord(requests=2, failures=1, neutral=1) == governor.statistics().counters
