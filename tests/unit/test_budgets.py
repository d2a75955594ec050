"""Budgets of caller labels over the scopes of a whole governor."""

from typing import Any

import httpx2
import pytest

import governor as package
from governor import BudgetSpent, Config, ConfigError, CostExceedsCapacity, Governor
from governor.policies.budget import whole_amount
from governor.testing import ManualClock
from governor_client import AsyncGovernedTransport, GovernorClient
from tests.support.answers import denied, granted

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R18")]

DAY = 86_400


def budgeted(*, clock: ManualClock | None = None, **budget: Any) -> Governor:
    """A governor with one budget and no limits."""
    said: dict[str, Any] = {
        "outbound": {"default": {"limits": ["1000/s burst 1000"]}},
        "budget": {"agents": {"labels": ["agent-*"], **budget}},
    }
    return Governor(Config.from_mapping(said), clock=clock or ManualClock())


async def test_a_label_spends_one_budget_over_all_scopes_and_other_labels_go_on() -> None:
    async with budgeted(requests="2 per day") as governor:
        for scope in ("openai", "anthropic"):
            granted(governor.try_permit(scope, "POST", caller="agent-7"))
        answer = denied(governor.try_permit("openai", "GET", caller="agent-7"))
        with package.caller("agent-7"), pytest.raises(BudgetSpent):
            async with governor.permit("openai", "POST"):
                pass
        for caller in ("agent-8", "job", None):
            granted(governor.try_permit("openai", "GET", caller=caller))

        assert "budget_spent" == answer.reason
        assert answer.retry_after == pytest.approx(DAY, rel=1 / 256)
        assert (2, 0, DAY) == _use(governor, "agent-7", "requests")


async def test_the_wait_that_is_named_is_true_and_all_labels_may_share() -> None:
    clock = ManualClock()
    async with budgeted(requests="1 per minute", each=False, clock=clock) as governor:
        granted(governor.try_permit("openai", caller="agent-1"))
        wait = denied(governor.try_permit("openai", caller="agent-2")).retry_after
        assert wait is not None
        clock.advance(wait - 0.000_001)
        denied(governor.try_permit("openai", caller="agent-2"))
        clock.advance(0.000_001)
        granted(governor.try_permit("openai", caller="agent-2"))


async def test_what_was_really_used_counts_and_what_was_not_made_does_not() -> None:
    async with budgeted(tokens="1000 per day", usd="0.50 per day") as governor:
        cost = {"tokens": 400, "usd": 0.25}
        permit = granted(governor.try_permit("openai", cost=cost, caller="agent-7"))
        permit.settle(tokens=100, usd=0.1)
        permit.record(status=200)
        granted(governor.try_permit("openai", cost=cost, caller="agent-7")).give_back()
        granted(governor.try_permit("openai", cost=cost, caller="agent-7")).record(used={"tokens": 950, "usd": 0.0})

        assert ((1050, 0, DAY), (0.1, 0.4, DAY)) == (_use(governor, "agent-7", "tokens"), _use(governor, "agent-7", "usd"))
        assert "budget_spent" == denied(governor.try_permit("openai", caller="agent-7")).reason
        assert () == governor.statistics().scopes["openai"].unknown_units


async def test_a_call_above_the_budget_is_denied_for_good_and_nothing_is_spent() -> None:
    async with budgeted(tokens="1000 per day") as governor:
        with pytest.raises(CostExceedsCapacity):
            async with governor.permit("openai", cost={"tokens": 1001}, caller="agent-7"):
                pass

        assert {} == governor.statistics().budgets["agents"].labels


async def test_other_settings_keep_what_was_used() -> None:
    async with budgeted(requests="3 per day") as governor:
        for scope in ("openai", "anthropic", "gemini"):
            granted(governor.try_permit(scope, caller="agent-7")).record(status=200)
        assert "budget_spent" == denied(governor.try_permit("openai", caller="agent-7")).reason
        said = {"budget": {"agents": {"labels": ["agent-*"], "requests": "4 per day"}}}
        governor.reconfigure(Config.from_mapping(said))
        granted(governor.try_permit("openai", caller="agent-7"))
        assert "budget_spent" == denied(governor.try_permit("openai", caller="agent-7")).reason


def test_leases_do_not_lead_around_a_budget() -> None:
    with Governor(Config.from_mapping({"budget": {"agent": {"requests": "5 per day"}}})) as governor:
        client = GovernorClient(governor)
        for _ in range(50):
            granted(client.try_permit("openai")).record(status=200)
        with package.caller("agent"):
            answers = [client.try_permit("openai") for _ in range(10)]

        assert 5 == sum(isinstance(answer, package.Permit) for answer in answers)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"tokens": "5"}, "budget.a.tokens is '5'; expected text such as '2000000 per day'"),
        ({"tokens": 5}, "budget.a.tokens is 5; expected text such as '2000000 per day'"),
        ({"usd": "0.0000001 per day"}, "at most 6 decimals"),
        (
            {"usd": "1000000000001 per day"},
            "expected a number of dollars from 0.000001, with at most 6 decimals, to 1000000000000",
        ),
        ({"tokens": "1000000000001 per day"}, "expected a whole number from 1 to 1000000000000"),
        ({"tokens": "5 per 0s"}, "expected an amount in a duration from 1us to 366d"),
        ({"token": "5 per day"}, "did you mean 'tokens'"),
        ({"labels": [""]}, r"budget.a.labels\[0\] is ''"),
        ({"labels": ["agent-[12"]}, r"labels\[0\] is 'agent-\[12'; expected a label, such as"),
        ({"labels": ["[!a]*", "a" * 65]}, r"labels\[1\] is 'aaa"),
    ],
)
def test_mistakes_are_named(said: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config.from_mapping({"budget": {"a": said}})


@pytest.mark.parametrize("amount", [True, "1", -0.5, float("nan")])
def test_what_is_no_amount_of_dollars_is_a_mistake(amount: Any) -> None:
    with pytest.raises(ConfigError, match="a number of dollars from 0"):
        whole_amount("used['usd']", "usd", amount)


def _use(governor: Governor, label: str, unit: str) -> tuple[float, float, float]:
    use = governor.statistics().budgets["agents"].labels[label][unit]
    return use.used, use.left, use.per


async def test_dollars_without_prices_are_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    said = {"outbound": {"default": {"limits": []}}, "budget": {"agent": {"usd": "1 per day"}}}
    answers = httpx2.MockTransport(lambda _: httpx2.Response(200))
    async with Governor(Config.from_mapping(said)) as governor:
        transport = AsyncGovernedTransport("openai", governor=governor, transport=answers)
        async with httpx2.AsyncClient(transport=transport, base_url="https://api.example") as client:
            for caller in ("other", "agent", "agent"):
                with package.caller(caller):
                    await client.get(f"/{caller}")
                    assert ("no [prices]" in caplog.text) == (caller == "agent")

    assert 1 == len(caplog.records)


async def test_calls_through_an_adapter_are_priced_by_their_model_and_settled() -> None:
    said = {
        "outbound": {"default": {"limits": []}},
        "budget": {"agents": {"labels": ["agent-*"], "usd": "1 per day"}},
        "prices": {
            "gpt-5": {"input": 2.0, "output": 10.0, "cached_input": 1.0, "cache_write": 2.5},
            "gpt-*": {"input": 100.0, "output": 100.0},
        },
    }
    usage = {"prompt_tokens": 50_000, "completion_tokens": 30_000, "prompt_tokens_details": {"cached_tokens": 10_000}}
    usage |= {"cache_creation_input_tokens": 8_000}
    answers = httpx2.MockTransport(lambda _: httpx2.Response(200, json={"usage": usage}))
    async with Governor(Config.from_mapping(said)) as governor:
        transport = AsyncGovernedTransport("openai", governor=governor, transport=answers)
        async with httpx2.AsyncClient(transport=transport) as client:
            with package.caller("agent-7"):
                for tokens in (1_000, 1_000, 70_000):
                    body: dict[str, Any] = {"model": "gpt-5", "max_tokens": tokens, "messages": []}
                    if tokens == 70_000:
                        with pytest.raises(BudgetSpent):
                            await client.post("https://api.example/", json=body)
                    else:
                        await client.post("https://api.example/", json=body)

            assert {"agent-7"} == set(governor.statistics().budgets["agents"].labels)
            assert 2 * (32_000 * 2 + 8_000 * 2.5 + 10_000 * 1 + 30_000 * 10) / 1e6 == _use(governor, "agent-7", "usd")[0]
