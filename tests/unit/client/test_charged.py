"""Calls that are charged tokens after others that were not: what is charged nothing is remembered, by settings and method."""

import httpx2
import pytest

from governor import Config, Governor
from governor_client.httpx2 import AsyncGovernedTransport

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R18")]

BUDGET = {"budget": {"agents": {"labels": ["agent-*"], "tokens": "1000 per day"}}}
BODY = b'{"model": "m", "max_tokens": 90, "messages": []}'


async def test_a_label_is_charged_from_the_first_call_after_its_budget_was_set() -> None:
    async with Governor(Config.from_mapping({})) as governor:
        inner = httpx2.MockTransport(lambda _: httpx2.Response(200))
        transport = AsyncGovernedTransport("weather", governor=governor, transport=inner)
        async with httpx2.AsyncClient(transport=transport, base_url="https://w.example/v1") as client:
            await client.post("/", content=BODY)
            governor.reconfigure(Config.from_mapping(BUDGET))
            await client.post("/", content=BODY)  # Without a label, and so without a budget.
            await client.post("/", content=BODY, headers={"x-governor-caller": "agent-7"})

        used = governor.statistics().budgets["agents"].labels["agent-7"]["tokens"].used

    assert -(-len(BODY) // 4) + 90 == used


@pytest.mark.parametrize(("events", "output"), [(91, 91), (90, 90), (3, 90)])
async def test_a_stream_without_a_usage_is_charged_a_token_for_each_event_and_its_estimate_at_least(
    events: int, output: int
) -> None:
    stream = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=b'data: {"choices": []}\n\n' * events)
    async with Governor(Config.from_mapping(BUDGET)) as governor:
        transport = AsyncGovernedTransport("weather", governor=governor, transport=httpx2.MockTransport(lambda _: stream))
        async with httpx2.AsyncClient(transport=transport) as client:
            await client.post("https://w.example/", content=BODY, headers={"x-governor-caller": "agent-7"})

        assert -(-len(BODY) // 4) + output == governor.statistics().budgets["agents"].labels["agent-7"]["tokens"].used
