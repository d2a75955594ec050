"""`TrafficControlledHttpClient`: two halves, short names, whole answers, authentication, redirects, and plain mistakes."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import httpx
import httpx2
import pytest

from governor import ConfigError, CounterRecord, Governor, UsageError
from governor_client import TrafficControlledHttpClient
from tests.support.governors import brief_denials

if TYPE_CHECKING:
    from governor_client import CallOptions
    from tests.unit.client.conftest import Body, Provider, SettingsOf

METHODS = ["get", "post", "put", "delete", "patch"]


@pytest.fixture
def background(settings_of: "SettingsOf") -> Iterator[Governor]:
    """A governor on a thread of its own."""
    with brief_denials(), Governor(settings_of()) as governor:
        yield governor


def client_of(inner: "Provider", governor: Governor | None = None) -> TrafficControlledHttpClient:
    """A client whose two halves both speak to this provider."""
    return TrafficControlledHttpClient(
        "example",
        "https://example.com/v1",
        governor=governor,
        headers={"User-Agent": "connector"},
        transport=inner,
        async_transport=inner,
    )


@pytest.mark.promise("R50")
@pytest.mark.parametrize("method", METHODS)
def test_each_short_name_stands_for_its_method(background: Governor, provider: "type[Provider]", method: str) -> None:
    inner = provider([200])

    with client_of(inner, background) as client:
        response = getattr(client, method)("/things", params={"page": 2}, headers={"X-Own": "1"}, json={"a": 1})

    (request,) = inner.asked
    assert (200, method.upper()) == (response.status_code, request.method)
    assert ("https://example.com/v1/things?page=2", "connector", "1") == (
        str(request.url),
        request.headers["user-agent"],
        request.headers["x-own"],
    )
    assert [b'{"a":1}'] == inner.bodies
    assert [f"example:{method}"] == list(background.statistics().scopes)


@pytest.mark.anyio
@pytest.mark.promise("R50")
@pytest.mark.parametrize("method", METHODS)
async def test_and_with_an_a_in_front_for_the_same_in_async_programs(
    governor: Governor, provider: "type[Provider]", method: str
) -> None:
    inner = provider([200])

    async with client_of(inner, governor) as client:
        response = await getattr(client, f"a{method}")("/things", json={"a": 1}, timeout=2.0)

    (request,) = inner.asked
    assert (200, method.upper(), [b'{"a":1}']) == (response.status_code, request.method, inner.bodies)
    assert {"connect": 2.0, "read": 2.0, "write": 2.0, "pool": 2.0} == request.extensions["timeout"]


@pytest.mark.promise("R50")
def test_the_timeout_bounds_every_phase_and_the_waiting(background: Governor, provider: "type[Provider]") -> None:
    inner = provider([200])

    with client_of(inner, background) as client:
        client.get("/")

    assert {"connect": 30.0, "read": 30.0, "write": 30.0, "pool": 30.0} == inner.asked[0].extensions["timeout"]


@pytest.mark.promise("R50")
def test_an_error_status_is_raised_unless_told_otherwise(background: Governor, provider: "type[Provider]") -> None:
    with client_of(provider([400]), background) as client:
        with pytest.raises(httpx2.HTTPStatusError) as raised:
            client.get("/")
        quiet = client.get("/", raise_for_status=False)
        with pytest.raises(httpx2.HTTPStatusError) as raised_by_stream, client.stream("GET", "/"):
            pass
        with client.stream("GET", "/", raise_for_status=False) as streamed:
            streamed.read()

    assert ["answer 400"] * 4 == [
        answer.text for answer in (raised.value.response, quiet, raised_by_stream.value.response, streamed)
    ]


@pytest.mark.anyio
@pytest.mark.promise("R50")
async def test_an_error_status_is_raised_unless_told_otherwise_in_async_programs_too(
    governor: Governor, provider: "type[Provider]"
) -> None:
    async with client_of(provider([400]), governor) as client:
        with pytest.raises(httpx2.HTTPStatusError) as raised:
            await client.aget("/")
        quiet = await client.aget("/", raise_for_status=False)
        with pytest.raises(httpx2.HTTPStatusError) as raised_by_stream:
            async with client.astream("GET", "/"):
                pass
        async with client.astream("GET", "/", raise_for_status=False) as streamed:
            await streamed.aread()

    assert ["answer 400"] * 4 == [
        answer.text for answer in (raised.value.response, quiet, raised_by_stream.value.response, streamed)
    ]


@pytest.mark.anyio
async def test_an_error_status_is_raised_even_if_the_rest_of_the_answer_is_lost(
    governor: Governor, provider: "type[Provider]", body: "type[Body]"
) -> None:
    def broken() -> httpx2.Response:
        return httpx2.Response(404, stream=body(httpx2.ReadError("reset")))

    with (
        client_of(provider([broken]), governor) as client,
        pytest.raises(httpx2.HTTPStatusError),
        client.stream("GET", "/"),
    ):
        pass
    async with client_of(provider([broken]), governor) as client:
        with pytest.raises(httpx2.HTTPStatusError):
            async with client.astream("GET", "/"):
                pass


@pytest.mark.anyio
@pytest.mark.promise("R50")
async def test_a_stream_that_is_left_before_its_end_is_closed(
    governor: Governor, provider: "type[Provider]", body: "type[Body]"
) -> None:
    blocking, asynchronous = body(b"one", b"two"), body(b"one", b"two")
    with client_of(provider([httpx2.Response(200, stream=blocking)]), governor) as client, client.stream("GET", "/"):
        pass
    async with (
        client_of(provider([httpx2.Response(200, stream=asynchronous)]), governor) as client,
        client.astream("GET", "/"),
    ):
        pass

    assert (1, 1) == (blocking.closed, asynchronous.closed)
    assert CounterRecord(requests=2, answered_2xx=2) == governor.statistics().counters


def test_not_modified_is_no_error(background: Governor, provider: "type[Provider]") -> None:
    with client_of(provider([304]), background) as client:
        assert 304 == client.get("/").status_code


@pytest.mark.anyio
@pytest.mark.promise("R50")
@pytest.mark.parametrize(
    ("options", "attempts"),
    [
        ({}, 3),
        ({"disable_retry": True}, 1),
        ({"raise_for_status": False}, 1),
        ({"raise_for_status": False, "retry": True}, 3),
        ({"raise_for_status": False, "disable_retry": True}, 1),
    ],
)
async def test_an_answer_that_is_to_be_returned_is_retried_only_on_request(
    governor: Governor, provider: "type[Provider]", options: "CallOptions", attempts: int
) -> None:
    inner = provider([503])
    counts = []

    async def counted(call: Callable[[], Awaitable[object]]) -> None:
        before = len(inner.asked)
        with suppress(httpx2.HTTPStatusError):
            await call()
        counts.append(len(inner.asked) - before)

    async def streamed() -> None:
        async with client.astream("GET", "/", **options):
            pass

    async with client_of(inner, governor) as client:
        await counted(lambda: client.aget("/", **options))
        await counted(streamed)
        await counted(lambda: anyio.to_thread.run_sync(lambda: client.get("/", **options)))

    assert [attempts] * 3 == counts


@pytest.mark.promise("R50")
@pytest.mark.parametrize("answer", [httpx2.Response(429), httpx2.Response(503, headers={"Retry-After": "0"})])
def test_a_refusal_of_the_request_is_retried_whatever_is_asked_of_the_answer(
    background: Governor, provider: "type[Provider]", answer: httpx2.Response
) -> None:
    inner = provider([answer, 200])

    with client_of(inner, background) as client:
        assert 200 == client.post("/", raise_for_status=False).status_code


def test_options_that_contradict_are_a_mistake(background: Governor, provider: "type[Provider]") -> None:
    with client_of(provider([200]), background) as client, pytest.raises(UsageError, match="contradict each other"):
        client.get("/", retry=True, disable_retry=True)


@pytest.mark.promise("R50")
def test_a_call_reads_its_answer_within_the_attempt_and_a_stream_does_not(
    background: Governor, provider: "type[Provider]", body: "type[Body]"
) -> None:
    def broken() -> httpx2.Response:
        return httpx2.Response(200, stream=body(b"half of", httpx2.ReadError("reset")))

    with client_of(provider([broken, 200, broken]), background) as client:
        called = client.get("/")
        with client.stream("GET", "/") as streamed, pytest.raises(httpx2.ReadError):
            streamed.read()

    assert "answer 200" == called.text
    assert CounterRecord(requests=3, answered_2xx=1, failures=2, retries=1) == background.statistics().counters


def test_extensions_of_the_caller_reach_the_transport(background: Governor, provider: "type[Provider]") -> None:
    inner = provider([200])

    with client_of(inner, background) as client:
        client.get("/", extensions={"sni_hostname": "other"})

    assert "other" == inner.asked[0].extensions["sni_hostname"]


@pytest.mark.promise("R51")
def test_clients_that_were_given_none_share_the_governor_of_the_process(
    background: Governor, provider: "type[Provider]"
) -> None:
    for _ in range(2):
        with client_of(provider([200])) as client:
            client.get("/")

    assert 2 == background.statistics().counters.requests


@pytest.mark.anyio
@pytest.mark.promise("R50")
async def test_a_client_works_without_a_block_until_it_is_closed(governor: Governor, provider: "type[Provider]") -> None:
    inner = provider([200])
    client = client_of(inner, governor)

    unused = repr(client)
    statuses = [(await client.aget("/")).status_code, (await anyio.to_thread.run_sync(client.get, "/")).status_code]
    used = repr(client)
    client.close()
    await client.aclose()

    assert [200, 200] == statuses
    assert ["closed", "closed"] == inner.life
    assert [
        "<TrafficControlledHttpClient for example, not used yet and async not used yet>",
        "<TrafficControlledHttpClient for example, open and async open>",
        "<TrafficControlledHttpClient for example, closed and async closed>",
    ] == [unused, used, repr(client)]


@pytest.mark.anyio
@pytest.mark.promise("R50")
@pytest.mark.parametrize("name", ["request", *METHODS])
async def test_a_call_after_the_end_of_its_block_says_what_to_do(
    governor: Governor, provider: "type[Provider]", name: str
) -> None:
    arguments = ("GET", "/") if name == "request" else ("/",)
    client = client_of(provider([200]), governor)

    with client:
        pass
    with pytest.raises(UsageError, match=r"^the client for example is closed; use it in another `with` block, or create"):
        getattr(client, name)(*arguments)
    with pytest.raises(UsageError, match="closed"), client.stream("GET", "/"):
        pass
    async with client:
        await getattr(client, f"a{name}")(*arguments)
    with pytest.raises(UsageError, match=r"^the client for example is closed; use it in another `async with` block, or create"):
        await getattr(client, f"a{name}")(*arguments)
    with pytest.raises(UsageError, match="closed"):
        async with client.astream("GET", "/"):
            pass


@pytest.mark.anyio
async def test_a_client_is_entered_once_at_a_time_and_can_be_entered_again(
    governor: Governor, provider: "type[Provider]"
) -> None:
    inner = provider([200])
    client = client_of(inner, governor)

    async with client:
        with pytest.raises(UsageError, match="in an `async with` block already"):
            await client.__aenter__()
        with client, pytest.raises(UsageError, match="in a `with` block already"):
            client.__enter__()
        await client.aget("/")
    async with client:
        await client.aget("/")

    assert ["closed", "closed"] == inner.life


@pytest.mark.promise("R51")
def test_the_governor_of_the_process_is_looked_up_by_the_first_request(
    background: Governor, provider: "type[Provider]", monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[Governor] = []

    def default() -> Governor:
        looked_up.append(background)
        return background

    monkeypatch.setattr("governor._asking_client.default", default)

    with client_of(provider([200])) as client:
        before = list(looked_up)
        client.get("/")

    assert ([], [background]) == (before, looked_up)


def test_making_a_client_opens_nothing(provider: "type[Provider]") -> None:
    inner = provider([200])

    client_of(inner)

    assert [] == inner.life


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"provider": "git hub"}, "provider"),
        ({"provider": "github:get"}, "provider"),
        ({"provider": "example", "wait": -1.0}, "wait"),
        ({"provider": "example", "governor": "governor.toml"}, "governor"),
        ({"provider": "example", "base_url": "api.example.com"}, "base_url"),
        ({"provider": "example", "library": pytest}, "library"),
        (
            {"provider": "example", "library": httpx2, "transport": httpx.MockTransport(lambda _: httpx.Response(200))},
            "transport",
        ),
        ({"provider": "example", "ungoverned": [""]}, "ungoverned"),
    ],
)
def test_mistakes_are_found_when_the_client_is_made(arguments: dict[str, object], field: str) -> None:
    make: Callable[..., object] = TrafficControlledHttpClient

    with pytest.raises(ConfigError) as raised:
        make(**arguments)

    assert field == raised.value.field


def test_an_argument_that_the_library_does_not_have_is_found_when_the_client_is_made() -> None:
    make: Callable[..., object] = TrafficControlledHttpClient

    with pytest.raises(TypeError, match="traffic_controller"):
        make("example", traffic_controller=None)
