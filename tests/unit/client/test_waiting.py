"""The waits of an operation, their bound and their order, in virtual time."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

import anyio
import httpx2
import pytest
import trio.testing

from governor import Config, CounterRecord, Denied, Governor, ProviderCooldown, RateLimited, Reason
from governor.clock import steady_clock
from governor_client import AsyncGovernedTransport, _server_wait
from tests.support.governors import NoSpread

if TYPE_CHECKING:
    from tests.unit.client.conftest import Provider

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    """A new virtual clock for each test."""
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


class Story:
    """A provider, what it answers, and how long the client takes to give up or to be content."""

    def __init__(self, governor: Governor, provider: "Provider") -> None:
        self.governor = governor
        self.provider = provider
        self._transport = AsyncGovernedTransport(
            "example", governor=governor, transport=provider, clock=steady_clock(anyio.current_time)
        )
        self._began = anyio.current_time()

    async def get(self, wait: float | None) -> int:
        """The status of the answer to one request whose waiting is bounded by `wait`."""
        request = httpx2.Request("GET", "https://example.com/", extensions={"governor.wait": wait})
        response = await self._transport.handle_async_request(request)
        await response.aread()
        return response.status_code

    def taken(self) -> float:
        """Seconds since the beginning, rounded to the millisecond."""
        return round(anyio.current_time() - self._began, 3)


@pytest.fixture
async def slow() -> AsyncIterator[Governor]:
    """One request every 20 seconds, and 10 seconds between attempts."""
    said = {
        "limits": ["3/minute burst 1"],
        "breaker": {"failures": 100},
        "retry": {"attempts": 6, "first_delay": "10s", "base": 1.0, "jitter": "none"},
    }
    async with Governor(
        Config.from_mapping({"outbound": {"default": said}}), clock=steady_clock(anyio.current_time)
    ) as governor:
        yield governor


async def test_it_waits_for_its_permit_as_long_as_it_may(slow: Governor, provider: "type[Provider]") -> None:
    story = Story(slow, provider([200]))

    assert [200, 200, 200] == [await story.get(20.0) for _ in range(3)]
    assert 40.0 == story.taken()


async def test_a_wait_that_would_take_too_long_is_denied_at_once(slow: Governor, provider: "type[Provider]") -> None:
    story = Story(slow, provider([200]))
    await story.get(20.0)

    with pytest.raises(RateLimited) as raised:
        await story.get(19.9)

    assert (20.0, 0.0) == (raised.value.retry_after, story.taken())


@pytest.mark.promise("R05")
@pytest.mark.parametrize(
    ("wait", "attempts", "taken"),
    [
        # An attempt needs 10 seconds of pause and 10 more for its permit.
        (19.9, 1, 10.0),
        (20.0, 2, 20.0),
        (39.9, 2, 30.0),
        (40.0, 3, 40.0),
        (45.0, 3, 40.0),
        (None, 6, 100.0),
    ],
)
async def test_pauses_and_permits_together_stay_within_the_wait(
    slow: Governor, provider: "type[Provider]", wait: float | None, attempts: int, taken: float
) -> None:
    story = Story(slow, provider([503]))

    assert 503 == await story.get(wait)
    assert (attempts, taken) == (len(story.provider.asked), story.taken())


async def test_the_time_of_the_attempts_does_not_count(slow: Governor, provider: "type[Provider]") -> None:
    class Slow(httpx2.AsyncBaseTransport):
        attempts = 0

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            self.attempts += 1
            await anyio.sleep(300.0)
            raise httpx2.ReadTimeout("slow")

    inner = Slow()
    transport = AsyncGovernedTransport("example", governor=slow, transport=inner, clock=steady_clock(anyio.current_time))

    with pytest.raises(httpx2.ReadTimeout):
        await transport.handle_async_request(httpx2.Request("GET", "https://a.b", extensions={"governor.wait": 20.0}))

    assert 3 == inner.attempts


@pytest.fixture
async def free() -> AsyncIterator[Governor]:
    """No limit that matters, and a minute between attempts."""
    said = {"limits": ["1000/s"], "retry": {"attempts": 2, "first_delay": "60s", "jitter": "none"}}
    async with Governor(
        Config.from_mapping({"outbound": {"default": said}}), clock=steady_clock(anyio.current_time), random=NoSpread()
    ) as governor:
        yield governor


@pytest.mark.promise("R05")
@pytest.mark.parametrize(("said", "taken"), [("3", 3.0), ("240", 240.0), ("soon", 60.0), ("-5", 60.0)])
async def test_what_the_server_says_wins_over_our_own_pause(
    free: Governor, provider: "type[Provider]", said: str, taken: float
) -> None:
    story = Story(free, provider([httpx2.Response(429, headers={"Retry-After": said}), 200]))

    assert 200 == await story.get(600.0)
    assert taken == story.taken()


@pytest.mark.promise("R11")
async def test_an_absurd_wait_is_a_long_one_and_not_none(free: Governor, provider: "type[Provider]") -> None:
    story = Story(free, provider([httpx2.Response(429, headers={"Retry-After": "9" * 35}), 200]))

    assert 429 == await story.get(600.0)
    with pytest.raises(ProviderCooldown) as raised:
        await story.get(600.0)
    assert (3_600.0, 1) == (raised.value.retry_after, len(story.provider.asked))


@pytest.mark.promise("R11")
@pytest.mark.parametrize(
    "headers",
    [
        {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "90"},
        {"RateLimit": '"default";r=0;t=90'},
        {"Retry-After": "90"},
    ],
)
async def test_an_answer_that_leaves_nothing_holds_every_later_call_until_its_reset(
    free: Governor, provider: "type[Provider]", headers: dict[str, str]
) -> None:
    story = Story(free, provider([httpx2.Response(200, headers=headers), 200]))

    await story.get(600.0)
    assert Denied("example:post", Reason.COOLDOWN, 90.0) == free.try_permit("example", "POST")
    assert 200 == await story.get(600.0)
    assert 90.0 == story.taken()


@pytest.mark.promise("R11")
async def test_after_a_bare_429_no_call_leaves_for_a_second(free: Governor, provider: "type[Provider]") -> None:
    story = Story(free, provider([429]))

    await story.get(0.5)
    assert Denied("example:post", Reason.COOLDOWN, 1.0) == free.try_permit("example", "POST")


@pytest.mark.promise("R05")
async def test_an_answer_that_says_not_to_repeat_is_not_retried(free: Governor, provider: "type[Provider]") -> None:
    story = Story(free, provider([httpx2.Response(503, headers={"x-should-retry": "false"}), 200]))

    assert 503 == await story.get(600.0)


@pytest.mark.promise("R05")
@pytest.mark.parametrize("said", ["99999999999", "9" * 35])
async def test_an_absurd_wait_is_longer_than_any_call_and_ends_the_retries(
    free: Governor, provider: "type[Provider]", said: str
) -> None:
    story = Story(free, provider([httpx2.Response(429, headers={"Retry-After": said}), 200]))

    assert 429 == await story.get(600.0)
    assert 0.0 == story.taken()


@pytest.mark.promise("R05")
async def test_a_date_is_waited_for_by_the_wall_clock(
    free: Governor, provider: "type[Provider]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_server_wait, "wall_clock", lambda: 1_000_000_000.0)
    date = format_datetime(datetime.fromtimestamp(1_000_000_090, UTC), usegmt=True)
    story = Story(free, provider([httpx2.Response(503, headers={"Retry-After": date}), 200]))

    assert 200 == await story.get(600.0)
    assert 90.0 == story.taken()


@pytest.mark.promise("R05")
async def test_a_server_that_asks_for_more_than_is_left_ends_the_retries(free: Governor, provider: "type[Provider]") -> None:
    story = Story(free, provider([httpx2.Response(429, headers={"Retry-After": "31"}), 200]))

    assert 429 == await story.get(30.0)
    assert (0.0, CounterRecord(requests=1, answered_4xx=1, answered_429=1)) == (story.taken(), free.statistics().counters)
