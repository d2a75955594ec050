"""The retry budget at the client: what reaches a provider in an outage, through the real transport, in virtual time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import anyio
import httpx2
import pytest
from hypothesis import settings

from governor import Governor, PermitDenied
from governor.testing import loop_clock
from governor_client import AsyncGovernedTransport
from tests.support import tape as st
from tests.support.governors import only_retries
from tests.support.tape import given

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R05")]

Answer = httpx2.Response | Exception
FLOOR, SHARE, WINDOW = 10, 0.2, 10.0


@dataclass
class Outage(httpx2.AsyncBaseTransport):
    """A provider that answers no call well. Remembers when the first attempt and each repetition of a call arrived."""

    answer: Callable[[], Answer]
    firsts: list[float] = field(default_factory=list)
    retries: list[float] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        call = request.headers["x-call"]
        (self.retries if call in self.known else self.firsts).append(anyio.current_time())
        self.known.add(call)
        await anyio.sleep(0.05)
        answer = self.answer()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def breaches(self) -> list[tuple[float, int, float]]:
        """The oracle: the retries in each window that ends at a retry, where they are more than the budget allows."""
        found = []
        for end in sorted(set(self.retries)):
            spent = sum(end - WINDOW < at <= end for at in self.retries)
            earned = FLOOR + SHARE * sum(end - WINDOW < at <= end for at in self.firsts)
            if spent > earned:
                found.append((end, spent, earned))
        return found


def governed(attempts: int = 3, first_delay: str = "1s") -> Governor:
    retry = {"attempts": attempts, "first_delay": first_delay, "max_delay": "60s"}
    return Governor(only_retries("60s", retry=retry), clock=loop_clock(), random=Random(7))


async def send(transport: AsyncGovernedTransport, number: int, wait: float | None = 1000.0) -> int | Exception:
    headers = {"x-call": str(number)}
    request = httpx2.Request("GET", "https://example.com/", headers=headers, extensions={"governor.wait": wait})
    try:
        return (await transport.handle_async_request(request)).status_code
    except (httpx2.HTTPError, PermitDenied) as error:
        return error


async def test_of_100_calls_that_are_to_return_in_a_minute_10_do_and_the_rest_get_their_answer() -> None:
    outage = Outage(lambda: httpx2.Response(200) if outage.retries else httpx2.Response(429, headers={"retry-after": "60"}))
    got: list[tuple[bool, int | Exception]] = []

    async def call(transport: AsyncGovernedTransport, number: int) -> None:
        answer = await send(transport, number)
        # The server's wait ends up to a tenth later.
        got.append((60 <= anyio.current_time() <= 75, answer))

    async with governed(attempts=2) as governor, anyio.create_task_group() as tasks:
        transport = AsyncGovernedTransport("example", governor=governor, transport=outage)
        for number in range(100):
            tasks.start_soon(call, transport, number)
        await anyio.sleep(300)
        counters = governor.statistics().counters

    assert 10 == len(outage.retries) == counters.retries
    assert [(False, 429)] * 70 + [(True, 200)] * 10 + [(True, 429)] * 20 == sorted(got, key=str)
    assert {"retry_budget_spent": 20} == counters.denied


@settings(max_examples=25)
@given(
    gaps=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.3, 5.0, 12.0]), min_size=1, max_size=150),
    seed=st.integers(0, 2**32),
    attempts=st.integers(2, 4),
)
async def test_in_an_outage_no_window_has_more_retries_than_the_budget_allows(
    gaps: list[float], seed: int, attempts: int
) -> None:
    random = Random(seed)

    def answer() -> Answer:
        wait = random.choice([None, "0", "1", "9", "11", "60"])
        if wait is None:
            failures: list[Answer] = [httpx2.Response(503), httpx2.ConnectError("refused"), httpx2.ReadTimeout("slow")]
            return random.choice(failures)
        return httpx2.Response(random.choice([429, 503]), headers={"retry-after": wait})

    async def call(transport: AsyncGovernedTransport, number: int) -> None:
        with anyio.move_on_after(random.choice([2.0, 1000.0])):
            await send(transport, number)

    outage = Outage(answer)
    async with governed(attempts) as governor, anyio.create_task_group() as tasks:
        transport = AsyncGovernedTransport("example", governor=governor, transport=outage)
        for number, gap in enumerate(gaps):
            await anyio.sleep(gap)
            tasks.start_soon(call, transport, number)

    assert len(outage.firsts) <= len(gaps)
    assert [] == outage.breaches()


async def test_a_call_that_is_cancelled_in_its_pause_gives_its_retry_back() -> None:
    outage = Outage(lambda: httpx2.Response(429, headers={"retry-after": "60"}))
    async with governed(attempts=2) as governor:
        transport = AsyncGovernedTransport("example", governor=governor, transport=outage)
        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(send, transport, number)
            await anyio.sleep(1)
            unplanned = await governor.aplan_retry("example", "GET", attempt=1, status=503)
            tasks.cancel_scope.cancel()
        planned = [await governor.aplan_retry("example", "GET", attempt=1, status=503) for _ in range(17)]

    assert "retry_budget_used_up" == unplanned.reason
    assert [True] * 16 + [False] == [bool(plan) for plan in planned]


async def test_5_errors_of_status_400_open_nothing() -> None:
    outage = Outage(lambda: httpx2.Response(400))
    async with Governor(clock=loop_clock()) as governor:
        transport = AsyncGovernedTransport("example", governor=governor, transport=outage)
        answers = [await send(transport, number) for number in range(6)]
        scope = governor.statistics().scopes["example:get"]

    assert [400] * 6 == answers
    assert ("closed", {}) == (scope.breaker.status, scope.counters.denied)
