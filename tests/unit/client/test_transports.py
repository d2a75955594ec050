"""The transports among SDKs: denials as answers, retries of the SDK above, clients that lead around them, the other library."""

from collections.abc import Callable, Iterator
from types import ModuleType

import httpx
import httpx2
import pytest

import governor_client.httpx
import governor_client.httpx2
from governor import Config, CounterRecord, Governor, PermitDenied, Reason, UsageError

ADAPTERS = {httpx: governor_client.httpx.GovernedTransport, httpx2: governor_client.httpx2.GovernedTransport}


@pytest.fixture(params=[httpx2, httpx], ids=["httpx2", "httpx"])
def library(request: pytest.FixtureRequest) -> ModuleType:
    found: ModuleType = request.param
    return found


@pytest.fixture
def governor() -> Iterator[Governor]:
    said = {"limits": ["1000/s"], "retry": {"first_delay": "1us"}, "breaker": {"failures": 1000}}
    with Governor(Config.from_mapping({"outbound": {"default": said}})) as governor:
        yield governor


Make = Callable[..., httpx2.Client]


@pytest.fixture
def make(library: ModuleType, governor: Governor) -> Make:
    def make(server: Callable[[httpx2.Request], object], **options: object) -> httpx2.Client:
        transport = ADAPTERS[library]("w", governor=governor, transport=library.MockTransport(server), **options)
        client: httpx2.Client = library.Client(transport=transport, base_url="https://w.example")
        return client

    return make


@pytest.mark.promise("R58")
def test_a_denial_is_answered_as_sdks_understand_it(make: Make, library: ModuleType, governor: Governor) -> None:
    client = make(lambda request: library.Response(200), on_refusal="response", wait=0)
    client.get("/")
    governor.set_breaker("w:get", open_for="90s")

    response = client.get("/")

    assert (503, "90", "false") == (
        response.status_code,
        response.headers["retry-after"],
        response.headers["x-should-retry"],
    )
    assert ("circuit_breaker_open", "w:get") == (response.json()["error"]["code"], response.json()["error"]["scope"])
    assert (
        CounterRecord(requests=1, answered_2xx=1, openings=1, denied={Reason.CIRCUIT_OPEN: 1}) == governor.statistics().counters
    )


@pytest.mark.promise("R58")
def test_rates_are_answered_with_429(make: Make, library: ModuleType) -> None:
    said = {"outbound": {"default": {"limits": ["1 per hour strict"]}}}
    with Governor(Config.from_mapping(said)) as narrow:
        transport = ADAPTERS[library](
            "w", governor=narrow, on_refusal="response", transport=library.MockTransport(lambda request: library.Response(200))
        )
        client = library.Client(transport=transport)
        statuses = [client.get("https://w.example").status_code for _ in range(2)]

    assert [200, 429] == statuses


@pytest.mark.promise("R58")
def test_the_last_answer_tells_an_sdk_that_reads_it_not_to_repeat_and_nothing_else_does(
    make: Make, library: ModuleType
) -> None:
    asked: list[object] = []

    def server(request: object) -> object:
        asked.append(request)
        return library.Response(503)

    client = make(server)
    plain = client.get("/")
    sdk = client.get("/", headers={"x-stainless-retry-count": "0"})

    assert (6, None, "false") == (len(asked), plain.headers.get("x-should-retry"), sdk.headers.get("x-should-retry"))


@pytest.mark.promise("R58")
@pytest.mark.parametrize(
    ("first", "again", "another"),
    [
        ({"x-stainless-retry-count": "0"}, {"x-stainless-retry-count": "1"}, {"x-stainless-retry-count": "0"}),
        (
            {"x-stripe-client-user-agent": "{}", "Idempotency-Key": "one"},
            {"x-stripe-client-user-agent": "{}", "Idempotency-Key": "one"},
            {"x-stripe-client-user-agent": "{}", "Idempotency-Key": "two"},
        ),
    ],
)
def test_an_sdk_that_repeats_a_call_whose_retries_are_used_up_gets_the_error_again_and_the_server_nothing(
    make: Make, library: ModuleType, first: dict[str, str], again: dict[str, str], another: dict[str, str]
) -> None:
    asked: list[object] = []

    def server(request: object) -> object:
        asked.append(request)
        raise library.ReadError("reset")

    client = make(server)
    notes = []
    for headers in (first, again, again):
        with pytest.raises(library.ReadError, match="reset") as raised:
            client.get("/", headers=headers)
        notes.append(len(getattr(raised.value, "__notes__", ())))
    repeated = len(asked)
    with pytest.raises(library.ReadError, match="reset"):
        client.get("/", headers=another)
    new = len(asked)
    for _ in range(2):  # No retry was used up: the method has none.
        with pytest.raises(library.ReadError, match="reset"):
            client.post("/", headers={"x-stainless-retry-count": "1"})

    assert (3, 6, 8) == (repeated, new, len(asked))
    assert [0, 1, 2] == notes


@pytest.mark.promise("R56")
@pytest.mark.parametrize("way", ["proxy", "mounts"])
def test_a_client_that_leads_around_its_governed_transport_warns(library: ModuleType, governor: Governor, way: str) -> None:
    options = {"proxy": "http://127.0.0.1:1"} if way == "proxy" else {"mounts": {"all://": library.HTTPTransport()}}
    governed = ADAPTERS[library]("w", governor=governor)

    with pytest.warns(RuntimeWarning, match="take no permits"):
        library.Client(transport=governed, **options)


@pytest.mark.promise("R56")
def test_mounts_that_are_governed_too_do_not_warn(library: ModuleType, governor: Governor) -> None:
    governed = ADAPTERS[library]("w", governor=governor)

    library.Client(transport=governed, mounts={"all://x.example": governed, "all://y.example": None})


@pytest.mark.promise("R56")
def test_a_request_of_the_other_library_is_a_mistake_and_not_a_failure_of_the_provider(governor: Governor) -> None:
    for own, other in ((httpx, httpx2), (httpx2, httpx)):
        client = other.Client(transport=ADAPTERS[own]("w", governor=governor))
        with pytest.raises(UsageError, match=rf"^this transport is for {own.__name__}, .* governor_client\.{other.__name__}$"):
            client.get("https://w.example")

    assert CounterRecord() == governor.statistics().counters


def test_a_request_without_a_body_is_retried_even_if_a_cache_has_made_an_iterator_of_that(
    make: Make, library: ModuleType
) -> None:
    answers = iter([503, 200])
    client = make(lambda request: library.Response(next(answers)))
    request = client.build_request("GET", "/")
    request.stream = library.Request("GET", "https://w.example", content=iter([b""])).stream

    assert 200 == client.send(request).status_code


@pytest.mark.promise("R57")
def test_a_request_that_is_sent_again_has_a_wait_of_its_own_and_a_redirect_has_not(library: ModuleType) -> None:
    said = {"outbound": {"default": {"limits": ["10/s burst 1"], "retry": {"attempts": 1}}}}
    with Governor(Config.from_mapping(said)) as governor:
        transport = ADAPTERS[library](
            "w",
            governor=governor,
            wait=0.15,
            transport=library.MockTransport(
                lambda request: library.Response(302 if request.url.path == "/hop" else 200, headers={"Location": "/hop"})
            ),
        )
        client = library.Client(transport=transport, base_url="https://w.example")
        request = client.build_request("GET", "/")
        statuses = [client.send(request).status_code for _ in range(4)]
        with pytest.raises(PermitDenied):
            client.get("/hop", follow_redirects=True)

    assert [200] * 4 == statuses
