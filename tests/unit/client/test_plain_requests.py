"""Plain requests, which are sent without an operation while nothing goes wrong: what they leave to it, and what they do not."""

import gc
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from typing import Any

import httpx2
import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter

import governor_client.requests
from governor import Config, Governor, RateLimited, Reason
from governor.clock import system_clock
from governor_client import TrafficControlledHttpClient
from governor_client._terms import Terms
from governor_client.httpx2 import GovernedTransport
from tests.support.governors import NEVER_REACHED, actor_of
from tests.support.leases import PLENTY, ahead, governed

pytestmark = pytest.mark.promise("R05", "R51")

URL = "http://weather.example/today"


class Provider(HTTPAdapter):
    def send(self, request: requests.PreparedRequest, *args: object, **options: object) -> requests.Response:
        return self.build_response(request, urllib3.HTTPResponse(BytesIO(b"rain"), {}, 200, preload_content=False))


@pytest.fixture
def governor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Governor]:
    """One whose permits for GET are at hand, in a process in which `instrument` has not been called."""
    monkeypatch.setattr(Terms, "any_by_host", False)
    with governed(PLENTY) as governor, ahead(governor, "weather", method="GET"):
        yield governor


def successes(governor: Governor) -> int:
    """The outcomes that are not read yet."""
    return actor_of(governor, "weather", "GET").leasing.holder.unread


def permits(governor: Governor) -> int:
    """The permits that are granted ahead."""
    return len(actor_of(governor, "weather", "GET").leasing.holder)


@pytest.mark.parametrize("ours", ["transport", "client"])
def test_an_answer_that_is_in_memory_already_has_an_outcome(governor: Governor, ours: str) -> None:
    inner = httpx2.MockTransport(lambda request: httpx2.Response(200, text="rain"))
    if ours == "client":
        get: Callable[[str], object] = TrafficControlledHttpClient("weather", governor=governor, transport=inner).get
    else:
        get = httpx2.Client(transport=GovernedTransport("weather", governor=governor, transport=inner)).get

    before = successes(governor)
    get(URL)

    assert before + 1 == successes(governor)


def test_a_second_round_of_authentication_takes_a_permit_of_its_own(governor: Governor) -> None:
    def again(response: requests.Response, **options: object) -> requests.Response:
        """As requests does it for a digest, by the connection of the answer."""
        rounds.append(response)
        return response if len(rounds) > 1 else response.connection.send(response.request)

    rounds: list[requests.Response] = []
    session = requests.Session()
    session.mount("http://", governor_client.requests.GovernedAdapter("weather", governor=governor, adapter=Provider()))
    before = permits(governor)
    session.get(URL, hooks={"response": again})

    assert before - 2 == permits(governor)


def test_a_denial_beneath_a_call_is_an_error_of_the_library(governor: Governor) -> None:
    def denies(request: httpx2.Request) -> httpx2.Response:
        raise RateLimited("another:get", Reason.RATE_LIMIT, None)

    client = TrafficControlledHttpClient("weather", governor=governor, transport=httpx2.MockTransport(denies))

    with pytest.raises(httpx2.TransportError) as caught:
        client.get(URL)

    assert isinstance(caught.value, RateLimited)


class Stopped(BaseException):
    """As Ctrl-C, or the cancellation of a task."""


def test_an_answer_whose_reader_is_interrupted_is_closed(governor: Governor) -> None:
    class Body(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise Stopped

    class Interrupted(HTTPAdapter):
        def send(self, request: requests.PreparedRequest, *args: object, **options: object) -> requests.Response:
            answers.append(self.build_response(request, urllib3.HTTPResponse(body, {}, 200, preload_content=False)))
            return answers[0]

    body, answers = Body(b"rain"), list[requests.Response]()
    session = requests.Session()
    session.mount("http://", governor_client.requests.GovernedAdapter("weather", governor=governor, adapter=Interrupted()))
    with pytest.raises(Stopped):
        session.get(URL)

    assert body.closed


@pytest.mark.anyio
async def test_a_method_is_known_by_its_host_and_under_the_settings_in_force() -> None:
    async with governed(PLENTY) as governor:
        governor._access.find("weather", "GET", None)
        terms = Terms("weather", governor, clock=system_clock)
        first, loopback, again = (terms.take(host, "GET") for host in ("weather.example", "localhost", "weather.example"))
        charging = {
            "outbound": {"weather": {"limits": [PLENTY]}},
            "budget": {"all": {"labels": ["agent-*"], "tokens": "9 per day"}},
        }
        governor.reconfigure(Config.from_mapping({"global": {"requests_per_minute": NEVER_REACHED}, **charging}))
        governor._access.find("weather", "GET", None)
        charged = terms.take("weather.example", "GET")

    assert [True, False, True, False] == [permit is not None for permit in (first, loopback, again, charged)]


@pytest.mark.parametrize("ours", ["transport", "client"])
def test_a_call_that_is_given_up_leaves_no_garbage(governor: Governor, ours: str) -> None:
    def stops(request: httpx2.Request) -> httpx2.Response:
        raise Stopped

    inner = httpx2.MockTransport(stops)
    if ours == "client":
        session: Any = TrafficControlledHttpClient("weather", governor=governor, transport=inner)
    else:
        session = httpx2.Client(transport=GovernedTransport("weather", governor=governor, transport=inner))

    def call() -> None:
        with suppress(Stopped):
            session.get(URL)

    call()
    while gc.collect():
        pass  # What other tests have left may leave more when it is finalized.
    gc.disable()
    try:
        call()
        assert gc.collect() == 0
    finally:
        gc.enable()
