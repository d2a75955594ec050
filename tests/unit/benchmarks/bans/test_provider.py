"""A modelled provider denies and bans as it documents; a provider that cannot ban would prove nothing."""

from heapq import heapify, heappop, heappush

import pytest

from benchmarks.bans import hints
from benchmarks.bans.calls import GET, POST, Call, Missing
from benchmarks.bans.contract import ATTEMPTS, Scenario
from benchmarks.bans.limits import FixedWindow, SlidingWindow
from benchmarks.bans.oracle import plan
from benchmarks.bans.provider import BanRule, Provider, Rule, Span
from benchmarks.bans.scenarios import SCENARIOS
from benchmarks.bans.virtual_time import EPOCH, SECOND

BASE = [scenario for name, scenario in SCENARIOS.items() if "/" not in name]


def call(method: str = GET) -> Call:
    return Call(number=0, at=0, method=method, head=1, service=1)


def of(amount: int = 2, **more: object) -> Provider:
    return Provider([Rule(name="requests", limit=SlidingWindow(amount, 100))], hints=hints.silent, **more)  # type: ignore[arg-type]  # passed on as they are


@pytest.mark.parametrize("scenario", BASE, ids=[scenario.name for scenario in BASE])
def test_naive_retries_are_banned(scenario: Scenario) -> None:
    try:
        calls = scenario.workload(1, scenario.span)
    except Missing as why:
        pytest.skip(str(why))
    provider = scenario.provider(1, scenario.hints)
    waiting = [(call.at, call.number, 0) for call in calls]
    heapify(waiting)
    while waiting and not provider.bans:
        at, number, attempt = heappop(waiting)
        if provider.arrive(at, calls[number]).status >= 400 and attempt + 1 < ATTEMPTS:
            heappush(waiting, (at + SECOND, number, attempt + 1))

    assert provider.bans


@pytest.mark.parametrize("scenario", BASE, ids=[scenario.name for scenario in BASE])
def test_the_oracle_is_never_denied_and_answers_nearly_all_in_twice_the_time(scenario: Scenario) -> None:
    try:
        run = plan(scenario, 1)
    except Missing as why:
        pytest.skip(str(why))

    assert {200} == {arrival.status for arrival in run.log}
    assert len(run.calls) * 0.45 <= sum(at is not None for at in run.answered)


def test_more_denials_than_tolerated_are_a_ban_and_each_request_lengthens_it() -> None:
    provider = of(1, ban=BanRule(tolerated=2, per=50, spell=1000, lengthens=10))

    assert [200, 429, 429, 429, 403] == [provider.arrive(now, call()).status for now in (0, 1, 2, 3, 1002)]
    assert [Span(3, 1013)] == provider.bans
    assert [403, 200] == [provider.arrive(now, call()).status for now in (1012, 1100)]
    assert [Span(3, 1023)] == provider.bans


def test_denials_that_lie_further_apart_are_no_ban() -> None:
    provider = of(1, ban=BanRule(tolerated=1, per=50, spell=1000))

    assert [200, 429, 429] == [provider.arrive(now, call()).status for now in (0, 1, 51)]
    assert [] == provider.bans


def test_answers_of_401_count_toward_a_ban() -> None:
    provider = of(9, ban=BanRule(tolerated=1, per=50, spell=1000), revoked=Span(0, 10))

    assert [401, 401, 403] == [provider.arrive(now, call()).status for now in (0, 1, 2)]


def test_during_an_outage_requests_count_neither_in_limits_nor_toward_a_ban() -> None:
    provider = of(1, ban=BanRule(tolerated=1, per=50, spell=1000), outage=Span(0, 10))

    assert [503, 503, 503, 200] == [provider.arrive(now, call()).status for now in (0, 1, 2, 10)]


def test_a_call_counts_in_the_limits_in_which_it_costs_something() -> None:
    points = Rule(name="points", limit=FixedWindow(6, 100), cost=lambda call: 5 if call.method == POST else 1)
    content = Rule(name="content", limit=FixedWindow(9, 100), cost=lambda call: int(call.method == POST), status=403)
    provider = Provider([points, content], hints=hints.silent)

    assert [200, 429, 200, 429] == [
        provider.arrive(now, call(method)).status for now, method in enumerate((POST, POST, GET, GET))
    ]


def test_denials_say_the_truth_in_each_dialect_and_wrong_hints_do_not() -> None:
    def denied(say: hints.Hints) -> dict[str, str]:
        provider = Provider([Rule(name="requests", limit=FixedWindow(1, 60 * SECOND, 20 * SECOND))], hints=say)
        provider.arrive(0, call())
        return dict(provider.arrive(SECOND, call()).headers)

    assert {} == denied(hints.silent)
    assert {"retry-after": "19"} == denied(hints.retry_after)
    assert str(EPOCH + 20) == denied(hints.github)["x-ratelimit-reset"]
    assert "19000ms" == denied(hints.openai)["x-ratelimit-reset-requests"]
    assert '"requests";r=0;t=19' == denied(hints.ietf)["ratelimit"]
    assert {"past", "far-future", "zero", "negative", "contradicting"} == hints.WRONG.keys()
    assert all("19" != denied(say)["retry-after"] for say in hints.WRONG.values())
