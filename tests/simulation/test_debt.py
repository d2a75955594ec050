"""What one absurd report costs a scope: a bounded debt, one warning, and a count."""

import logging
from functools import partial

import anyio
import pytest

from governor import Config, Denied, Governor
from governor.hints import Hint, Severity
from tests.support.answers import granted
from tests.support.governors import in_virtual_time

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R03")]

governed = partial(in_virtual_time, requests_per_minute=10**9)

ABSURD = 10**12


def wait_for(governor: Governor, cost: dict[str, int]) -> float:
    answer = governor.try_permit("llm", cost=cost)
    assert isinstance(answer, Denied)
    assert answer.retry_after is not None
    return answer.retry_after


@pytest.mark.parametrize(
    ("limit", "scope", "seconds"),
    [
        ("600 tokens/minute burst 600", {}, 60.1),
        ("600 tokens/minute burst 100", {}, 10.1),
        ("600 tokens/minute burst 100", {"max_debt": 0}, 0.1),
        ("600 tokens/minute burst 100", {"max_debt": 2.5}, 25.1),
        ("600 tokens per minute strict", {}, 60.0),
        ("600 tokens per minute strict", {"max_debt": 0}, 60.0),
    ],
)
@pytest.mark.parametrize("reports", [1, 5])
async def test_absurd_reports_close_a_scope_for_a_bounded_time(
    limit: str, scope: dict[str, object], seconds: float, reports: int
) -> None:
    async with governed(limit, scope=scope) as governor:
        permits = [granted(governor.try_permit("llm", cost={"tokens": 10})) for _ in range(reports)]
        for permit in permits:
            permit.record(status=200, used={"tokens": ABSURD})
        told = wait_for(governor, {"tokens": 1})
        await anyio.sleep(told - 0.001)
        early = governor.try_permit("llm", cost={"tokens": 1})
        await anyio.sleep(0.001)
        granted(governor.try_permit("llm", cost={"tokens": 1}))

    assert seconds == pytest.approx(told)
    assert isinstance(early, Denied)


@pytest.mark.parametrize(
    "limits", [["6/minute burst 6"], ["6 per minute strict"], ["6 in flight"], ["6/minute burst 6", "6 in flight"]]
)
async def test_so_do_absurd_numbers_of_requests(limits: list[str]) -> None:
    async with governed(*limits) as governor:
        granted(governor.try_permit("llm")).record(status=200, used={"requests": ABSURD})
        await anyio.sleep(70)
        granted(governor.try_permit("llm"))


async def test_so_do_they_where_a_denial_has_taught_the_rate() -> None:
    async with governed() as governor:
        granted(governor.try_permit("llm")).hints((Hint("requests", severity=Severity.THROTTLED),))
        async with governor.permit("llm") as permit:
            permit.record(status=200, used={"requests": ABSURD})
        assert 59 < wait_for(governor, {}) < 70


async def test_of_several_limits_each_has_its_own_bound() -> None:
    async with governed("60 tokens/minute burst 6", "600 tokens/hour burst 60") as governor:
        granted(governor.try_permit("llm", cost={"tokens": 1})).record(status=200, used={"tokens": ABSURD})
        told = wait_for(governor, {"tokens": 1})

    assert 61 * 6.0 == pytest.approx(told)


async def test_what_is_dropped_is_counted_and_warned_of_once_for_each_scope_and_unit(caplog: pytest.LogCaptureFixture) -> None:
    async with governed("60 tokens/s burst 60", "60 pages/s burst 60") as governor:
        with caplog.at_level(logging.WARNING, logger="governor"):
            for _ in range(50):
                for unit in ("tokens", "pages"):
                    granted(governor.try_permit("llm", cost={unit: 1})).record(status=200, used={unit: 1000})
                await anyio.sleep(10)
        counters = governor.statistics().counters

    assert {"tokens": 50 * (1000 - 120), "pages": 50 * (1000 - 120)} == counters.dropped
    assert ["llm: a call has used more tokens than", "llm: a call has used more pages than"] == [
        message.partition(" max_debt")[0] for message in caplog.messages
    ]


async def test_what_a_debt_may_be_changes_with_the_settings() -> None:
    async with governed("600 tokens/minute burst 100") as governor:
        governor.reconfigure(
            Config.from_mapping({"outbound": {"default": {"limits": ["600 tokens/minute burst 100"], "max_debt": 0.5}}})
        )
        granted(governor.try_permit("llm", cost={"tokens": 1})).record(status=200, used={"tokens": ABSURD})
        told = wait_for(governor, {"tokens": 1})

    assert 5.1 == pytest.approx(told)
