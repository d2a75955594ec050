"""Calls of the client: built and signed after the wait, one wait for all of a call, one permit for each request."""

import io
import pickle
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import httpx
import httpx2
import pytest

from governor import Config, CounterRecord, Governor, PermitDenied, ProviderCooldown, RateLimited
from governor_client import TrafficControlledHttpClient

if TYPE_CHECKING:
    from types import ModuleType

    from governor_client import CallOptions

pytestmark = pytest.mark.anyio


class Both:
    """Makes each call blocking, or async, as the parameter says."""

    def __init__(self, *, blocking: bool, governor: Governor) -> None:
        self.blocking = blocking
        self.governor = governor
        #: No client is collected as garbage while the loop runs, of which trio warns.
        self.clients: list[TrafficControlledHttpClient] = []

    def client(
        self, server: Callable[[httpx2.Request], object], library: "ModuleType" = httpx2, **options: object
    ) -> TrafficControlledHttpClient:
        transport = library.MockTransport(server)
        make: Callable[..., TrafficControlledHttpClient] = TrafficControlledHttpClient
        client = make(
            "w", "https://w.example", governor=self.governor, transport=transport, async_transport=transport, **options
        )
        self.clients.append(client)
        return client

    async def get(self, client: TrafficControlledHttpClient, url: str = "/", **options: object) -> httpx2.Response:
        return await self.call(client, "GET", url, **options)

    async def call(self, client: TrafficControlledHttpClient, method: str, url: str, **options: object) -> httpx2.Response:
        call: CallOptions = options  # type: ignore[assignment] # passed on as they are
        if self.blocking:
            return await anyio.to_thread.run_sync(lambda: client.request(method, url, **call))
        return await client.arequest(method, url, **call)


SETTINGS = {"limits": ["1000/s"], "retry": {"first_delay": "1us"}, "breaker": {"failures": 1000}}


@pytest.fixture
async def governor() -> AsyncIterator[Governor]:
    async with Governor(Config.from_mapping({"outbound": {"default": SETTINGS}})) as governor:
        yield governor


@pytest.fixture
async def scarce() -> AsyncIterator[Governor]:
    """Two permits at once, and the next after 0.2 s."""
    said = {**SETTINGS, "limits": ["5/s burst 2"]}
    async with Governor(Config.from_mapping({"outbound": {"default": said}})) as governor:
        yield governor


@pytest.fixture(params=["blocking", "async"])
async def both(request: pytest.FixtureRequest, governor: Governor) -> AsyncIterator[Both]:
    both = Both(blocking=request.param == "blocking", governor=governor)
    yield both
    for client in both.clients:
        await client.aclose()


class Signed(httpx2.Auth):
    """Signs with the time and a number that is used once."""

    def __init__(self) -> None:
        self.number = 0

    def auth_flow(self, request: httpx2.Request) -> Iterator[httpx2.Request]:  # type: ignore[override] # of httpx too
        self.number += 1
        request.headers["x-signed"] = f"{time.monotonic()} {self.number}"
        yield request


@pytest.mark.promise("R59")
async def test_every_attempt_and_every_redirect_is_signed_anew(both: Both) -> None:
    numbers: list[str] = []

    def server(request: httpx2.Request) -> httpx2.Response:
        numbers.append(request.headers["x-signed"].split()[1])
        if len(numbers) < 3:
            return httpx2.Response(503)
        return httpx2.Response(302, headers={"Location": "/there"}) if request.url.path == "/" else httpx2.Response(200)

    client = both.client(server, auth=Signed())

    assert 200 == (await both.get(client)).status_code
    assert ["1", "2", "3", "4"] == numbers


@pytest.mark.promise("R59")
async def test_a_request_is_signed_after_its_wait_and_with_the_cookies_of_that_moment(both: Both, scarce: Governor) -> None:
    signed: list[float] = []
    cookies: list[str | None] = []

    def server(request: httpx2.Request) -> httpx2.Response:
        signed.append(float(request.headers["x-signed"].split()[0]))
        cookies.append(request.headers.get("cookie"))
        return httpx2.Response(200, headers={"Set-Cookie": f"session={len(cookies)}"})

    both.governor = scarce
    client = both.client(server, auth=Signed())
    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(both.get, client)

    # The bucket spaces the last two by 0.2 s each. Signatures from before the wait would all be of the same moment.
    assert signed[-1] - signed[0] > 0.35
    assert ["session=2", "session=3"] == cookies[2:]


@pytest.mark.promise("R57")
async def test_redirects_share_one_wait(both: Both, scarce: Governor) -> None:
    def server(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(302, headers={"Location": f"/{int(request.url.path[1:]) + 1}"})

    both.governor = scarce
    client = both.client(server, wait=0.25)

    with pytest.raises(RateLimited):
        await both.get(client, "/0")

    # Two permits at once, one more within 0.25 s. With a wait for each, there would be too many redirects.
    assert scarce.statistics().counters.requests > 2


@pytest.mark.promise("R57")
async def test_rounds_of_authentication_share_one_wait(both: Both, scarce: Governor) -> None:
    class Rounds(httpx2.Auth):
        def auth_flow(self, request: httpx2.Request) -> Iterator[httpx2.Request]:  # type: ignore[override] # of httpx too
            for _ in range(9):
                yield request

    both.governor = scarce
    client = both.client(lambda request: httpx2.Response(200), auth=Rounds(), wait=0.25)

    with pytest.raises(RateLimited):
        await both.get(client)


@pytest.mark.promise("R57")
async def test_with_no_wait_a_call_is_denied_at_once_and_is_retried_all_the_same(both: Both, scarce: Governor) -> None:
    answers = iter([503, 200])
    both.governor = scarce
    client = both.client(lambda request: httpx2.Response(next(answers)), wait=0)

    assert 200 == (await both.get(client)).status_code
    with pytest.raises(RateLimited):
        await both.get(client)


@pytest.mark.promise("R11")
@pytest.mark.parametrize(("status", "retry_after", "paused"), [(429, "60", True), (503, "60", True), (503, None, False)])
async def test_an_answer_that_asks_for_a_pause_holds_every_method_of_the_provider(
    both: Both, status: int, retry_after: str | None, *, paused: bool
) -> None:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    client = both.client(lambda request: httpx2.Response(status, headers=headers), wait=0)

    await both.get(client, raise_for_status=False)
    if paused:
        with pytest.raises(ProviderCooldown):
            await both.call(client, "POST", "/")
    else:
        assert status == (await both.call(client, "POST", "/", raise_for_status=False)).status_code


async def test_each_redirect_takes_a_permit_in_the_scope_of_its_method(both: Both) -> None:
    def server(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(303, headers={"Location": "/there"}) if request.method == "POST" else httpx2.Response(200)

    client = both.client(server)
    response = await both.call(client, "POST", "/", json={"a": 1})

    assert ([303], "GET") == ([each.status_code for each in response.history], response.request.method)
    assert {"w:post": 1, "w:get": 1} == {
        name: scope.counters.requests for name, scope in both.governor.statistics().scopes.items()
    }


async def test_credentials_stay_with_their_origin(both: Both) -> None:
    seen: list[tuple[str, bool]] = []

    def server(request: httpx2.Request) -> httpx2.Response:
        seen.append((str(request.url), "authorization" in request.headers))
        next_ = {"/": "/same", "/same": "https://other.example/"}.get(request.url.path if len(seen) < 3 else "")
        return httpx2.Response(307, headers={"Location": next_}) if next_ else httpx2.Response(200)

    client = both.client(server, auth=("user", "secret"))
    await both.get(client)

    assert [("https://w.example/", True), ("https://w.example/same", True), ("https://other.example/", False)] == seen


async def test_redirects_are_followed_only_if_asked_and_only_so_often(both: Both) -> None:
    client = both.client(lambda request: httpx2.Response(302, headers={"Location": "/"}), max_redirects=3)

    assert 302 == (await both.get(client, follow_redirects=False)).status_code
    with pytest.raises(httpx2.TooManyRedirects):
        await both.get(client)
    assert 1 + 4 == both.governor.statistics().counters.requests


@pytest.mark.promise("R05")
async def test_a_round_of_authentication_takes_a_permit_and_reports_an_outcome_of_its_own(both: Both) -> None:
    def server(request: httpx2.Request) -> httpx2.Response:
        if "authorization" in request.headers:
            return httpx2.Response(200)
        challenge = 'Digest realm="w", nonce="1", qop="auth", algorithm=MD5'
        return httpx2.Response(401, headers={"WWW-Authenticate": challenge}, stream=httpx2.ByteStream(b"who?"))

    client = both.client(server, auth=httpx2.DigestAuth("user", "secret"))

    assert 200 == (await both.get(client)).status_code
    assert CounterRecord(requests=2, answered_2xx=1, answered_4xx=1) == both.governor.statistics().counters


@pytest.mark.promise("R11")
async def test_a_round_of_authentication_does_not_leave_before_the_hint_of_the_challenge(both: Both) -> None:
    challenge = {"WWW-Authenticate": 'Digest realm="w", nonce="1", qop="auth", algorithm=MD5', "Retry-After": "60"}
    client = both.client(lambda request: httpx2.Response(401, headers=challenge), auth=httpx2.DigestAuth("user", "secret"))

    with pytest.raises(ProviderCooldown):
        await both.get(client)
    assert (1, 1) == ((counters := both.governor.statistics().counters).requests, counters.answered_4xx)


async def test_authentication_that_fails_by_itself_gives_the_permit_back(both: Both) -> None:
    class Broken(httpx2.Auth):
        def auth_flow(self, request: httpx2.Request) -> Iterator[httpx2.Request]:  # type: ignore[override] # of httpx too
            tokens: dict[str, httpx2.Request] = {}
            yield tokens["token"]

    client = both.client(lambda request: httpx2.Response(200), auth=Broken())

    with pytest.raises(KeyError):
        await both.get(client)
    assert CounterRecord(requests=1, neutral=1) == both.governor.statistics().counters


@pytest.mark.promise("R50")
@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_files_are_uploaded_by_both_kinds_of_calls(both: Both, library: "ModuleType") -> None:
    def provider(request: httpx2.Request) -> object:
        sent.append(request.content)
        return library.Response(200)

    sent: list[bytes] = []
    client = both.client(provider, library)

    await both.call(client, "POST", "/", files={"file": io.BytesIO(b"what is in it")})
    assert b"what is in it" in sent[0]


@pytest.mark.promise("R06")
@pytest.mark.parametrize(
    ("hook", "counted"),
    [("request", CounterRecord(requests=1, neutral=1)), ("response", CounterRecord(requests=1, answered_2xx=1))],
)
async def test_an_event_hook_that_fails_is_no_failure_of_the_provider_and_repeats_nothing(
    both: Both, hook: str, counted: CounterRecord
) -> None:
    def fail(_: object) -> None:
        raise TimeoutError("another provider")

    client = both.client(lambda request: httpx2.Response(200, stream=httpx2.ByteStream(b"")), event_hooks={hook: [fail]})

    with pytest.raises(TimeoutError):
        await both.get(client)
    assert counted == both.governor.statistics().counters


@pytest.mark.promise("R50")
async def test_plain_event_hooks_serve_both_kinds_of_calls_for_each_attempt(both: Both) -> None:
    told: list[object] = []
    answers = iter([503, 200])
    client = both.client(
        lambda request: httpx2.Response(next(answers)),
        event_hooks={
            "request": [lambda request: told.append(request.method)],
            "response": [lambda response: told.append(response.status_code)],
        },
    )

    await both.get(client)

    assert ["GET", 503, "GET", 200] == told


@pytest.mark.promise("R50")
async def test_the_time_of_the_answer_does_not_count_the_wait(both: Both, scarce: Governor) -> None:
    both.governor = scarce
    client = both.client(lambda request: httpx2.Response(200, stream=httpx2.ByteStream(b"")))
    elapsed = [(await both.get(client)).elapsed.total_seconds() for _ in range(4)]

    # The last two calls wait 0.2 s each.
    assert max(elapsed) < 0.2


@pytest.mark.parametrize("library", [httpx2, httpx])
async def test_the_error_for_a_status_names_the_provider_and_survives_pickling(both: Both, library: "ModuleType") -> None:
    client = both.client(lambda request: library.Response(404, json={"why": "gone"}), library)

    with pytest.raises(library.HTTPStatusError) as raised:
        await both.get(client, "/secret?token=1")
    again = pickle.loads(pickle.dumps(raised.value))

    assert "w: GET to https://w.example was answered 404 Not Found" == str(raised.value) == str(again)
    assert (404, {"why": "gone"}, type(raised.value)) == (again.response.status_code, again.response.json(), type(again))


@pytest.mark.promise("R58")
@pytest.mark.parametrize("library", [httpx2, httpx])
async def test_a_denial_is_an_error_of_the_library_too_and_survives_pickling(both: Both, library: "ModuleType") -> None:
    client = both.client(lambda request: library.Response(200), library, wait=0)
    await both.get(client)
    both.governor.set_breaker("w:get", open_for="1h")

    with pytest.raises(PermitDenied) as raised:
        await both.get(client)
    again = pickle.loads(pickle.dumps(raised.value))

    assert isinstance(raised.value, library.TransportError)
    assert isinstance(again, library.TransportError)
    assert ("CircuitOpen", "w:get") == (type(again).__name__, again.scope)
    assert (raised.value.reason, raised.value.retry_after, str(raised.value)) == (again.reason, again.retry_after, str(again))


async def test_the_library_is_that_of_the_objects_that_are_passed(both: Both) -> None:
    client = both.client(lambda request: httpx.Response(200), httpx, auth=httpx.BasicAuth("user", "secret"))

    assert isinstance(await both.get(client), httpx.Response)
