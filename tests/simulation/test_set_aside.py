"""Scopes that make room for others with something to remember: nothing is forgiven, nothing is lost, and it is cheap."""

from functools import partial
from random import Random
from threading import Thread
from typing import Final

import anyio
import pytest

from governor import Denied, Permit, Reason
from governor._actors.actor import ScopeActor
from governor._actors.registry import MAX_LOOKED_AT, MAX_SET_ASIDE
from governor._units import Instant
from governor.policies.pipeline import Pipeline
from tests.support.answers import granted, reason
from tests.support.governors import configured, in_virtual_time

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R02")]

config = partial(configured, requests_per_minute=10**9, idle_after="10s")
governed = partial(in_virtual_time, requests_per_minute=10**9, idle_after="10s")

LONG_IDLE: Final = 25.0


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        (["3 per day strict"], 1),
        (["3/day burst 3"], 1),
        (["3 per day strict", "9 tokens/day burst 9"], 1),
        (["9/day burst 2"], 0),
    ],
)
async def test_a_scope_that_was_set_aside_has_what_it_had_left_and_no_more(limits: list[str], left: int) -> None:
    async with governed(*limits, max_scopes=1) as governor:
        for _ in range(2):
            granted(governor.try_permit("weather")).record(status=200)
        await anyio.sleep(LONG_IDLE)
        granted(governor.try_permit("news")).record(status=200)
        aside = governor.statistics()
        await anyio.sleep(LONG_IDLE)
        answers = [governor.try_permit("weather") for _ in range(left + 1)]
        back = governor.statistics()

    assert ([*[None] * left, Reason.RATE_LIMIT]) == [reason(answer) for answer in answers]
    assert (1, ["news"], 3) == (aside.set_aside, list(aside.scopes), aside.counters.requests)
    assert (1, ["weather"], 3 + left) == (back.set_aside, list(back.scopes), back.counters.requests)
    assert (2 + left, 2) == (back.scopes["weather"].counters.requests, back.scopes["weather"].counters.answered_2xx)
    assert {"rate_limit_exceeded": 1} == back.scopes["weather"].counters.denied == back.counters.denied


@pytest.mark.promise("R06")
async def test_so_does_its_breaker() -> None:
    async with governed(max_scopes=1, scope={"breaker": {"failures": 3, "open_for": "1h"}}) as governor:
        for _ in range(3):
            granted(governor.try_permit("weather")).record(status=500)
        await anyio.sleep(LONG_IDLE)
        granted(governor.try_permit("news")).record(status=200)
        await anyio.sleep(LONG_IDLE)
        answer = governor.try_permit("weather")
        seen = governor.statistics()

    assert isinstance(answer, Denied)
    assert Reason.CIRCUIT_OPEN == answer.reason
    assert pytest.approx(3600 - 2 * LONG_IDLE) == answer.retry_after
    assert (1, 1) == (seen.scopes["weather"].counters.openings, seen.counters.openings)


@pytest.mark.promise("R05")
async def test_so_does_the_retry_budget_of_its_provider() -> None:
    async with governed("9 per day strict", max_scopes=1, scope={"retry_budget": {"floor": 1, "window": "1h"}}) as governor:
        granted(governor.try_permit("weather", "GET")).record(status=503)
        plans = [governor.plan_retry("weather", "GET", attempt=1, status=503).delay]
        await anyio.sleep(LONG_IDLE)
        granted(governor.try_permit("news")).record(status=503)
        await anyio.sleep(LONG_IDLE)
        plans.append(governor.plan_retry("weather", "GET", attempt=1, status=503).delay)
        scopes = list(governor.statistics().scopes)

    assert (["weather:get"], [False, True]) == (scopes, [plan is None for plan in plans])


@pytest.mark.promise("R03")
async def test_so_does_what_is_known_of_units_without_effect(caplog: pytest.LogCaptureFixture) -> None:
    async with governed("300 tokens per day strict", "300 per day strict", max_scopes=1) as governor:
        for _ in range(99):
            granted(governor.try_permit("weather", cost={"tokens": 1})).record(status=200)
        await anyio.sleep(LONG_IDLE)
        granted(governor.try_permit("news")).record(status=200)
        await anyio.sleep(LONG_IDLE)
        granted(governor.try_permit("weather")).record(status=200)

    assert [] == caplog.messages


async def test_a_scope_whose_calls_are_under_way_is_not_set_aside_and_their_outcomes_count() -> None:
    async with governed("9 per day strict", max_scopes=1) as governor:
        permit = granted(governor.try_permit("weather"))
        await anyio.sleep(LONG_IDLE)
        denied = governor.try_permit("news")
        permit.record(status=500)
        granted(governor.try_permit("news")).record(status=200)
        counters = governor.statistics().counters

    assert Reason.OVERLOADED == reason(denied)
    assert (2, 1, 1) == (counters.requests, counters.answered_5xx, counters.answered_2xx)


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_outcomes_that_come_after_a_scope_was_dropped_are_in_the_sums(elsewhere: bool) -> None:
    async with governed("9/s burst 9", max_scopes=1) as governor:
        permits = [granted(governor.try_permit("weather")) for _ in range(4)]
        await anyio.sleep(LONG_IDLE)
        granted(governor.try_permit("news")).record(status=200)

        def report() -> None:
            for permit, status in zip(permits, (200, 404, 500, 200), strict=True):
                permit.record(status=status)

        if elsewhere:
            thread = Thread(target=report)
            thread.start()
            thread.join()
            await anyio.sleep(1)
        else:
            report()
        counters = governor.statistics().counters

    assert (5, 3, 1, 1) == (counters.requests, counters.answered_2xx, counters.answered_4xx, counters.answered_5xx)


@pytest.mark.parametrize("twice", [False, True])
async def test_changes_of_settings_reach_a_scope_that_is_set_aside_as_they_reach_others(twice: bool) -> None:
    """`live` is never set aside, and goes through the same."""
    slow = "1/day burst 10"
    changes = [config(slow, max_scopes=3), config("1/s burst 100", max_scopes=3)] if twice else [config(slow, max_scopes=3)]
    left = {}
    for name in ("live", "aside"):
        async with governed("2/minute burst 20", max_scopes=3 if name == "live" else 1) as governor:
            for _ in range(15):
                granted(governor.try_permit(name)).record(status=200)
            await anyio.sleep(LONG_IDLE)
            if name == "aside":
                granted(governor.try_permit("other")).record(status=200)
                assert 1 == governor.statistics().set_aside
            for change in changes:
                governor.reconfigure(change)
                await anyio.sleep(20)
            governor.try_permit(name, cost=1000)
            left[name] = [limit.available for limit in governor.statistics().scopes[name].limits]

    assert left["live"] == left["aside"]


async def test_at_the_bound_of_records_those_as_good_as_new_go_first_and_else_the_newcomer_is_denied() -> None:
    answers = []
    async with governed("2 per 1000s strict", max_scopes=1) as governor:
        for number in range(MAX_SET_ASIDE + 2):
            answer = governor.try_permit(f"scope{number}")
            answers.append(reason(answer))
            if isinstance(answer, Permit):
                answer.record(status=200)
            await anyio.sleep(LONG_IDLE)
        full = governor.statistics().set_aside
        await anyio.sleep(1000)
        granted(governor.try_permit("late"))
        counters = governor.statistics().counters

    assert [*[None] * (MAX_SET_ASIDE + 1), Reason.OVERLOADED] == answers
    assert (MAX_SET_ASIDE, MAX_SET_ASIDE + 2) == (full, counters.requests)


async def test_figures_of_a_scope_that_is_set_aside_are_shown_on_request() -> None:
    async with governed("9 per day strict", max_scopes=1) as governor:
        granted(governor.try_permit("weather", "GET")).record(status=404)
        await anyio.sleep(LONG_IDLE)
        granted(governor.try_permit("news")).record(status=200)
        shown = [(await governor.astatistics(also)).scopes for also in ("", "weather:get", "weather", "weath")]
        sums = (await governor.astatistics("weather")).counters

    assert [["news"], ["news", "weather:get"], ["news", "weather:get"], ["news"]] == [list(scopes) for scopes in shown]
    scope = shown[1]["weather:get"]
    assert (1, 1, 8) == (scope.counters.requests, scope.counters.answered_4xx, scope.limits[0].available)
    assert (2, 1) == (sums.requests, sums.answered_4xx)


async def test_a_newcomer_costs_the_same_however_many_scopes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    work: dict[int, int] = {}
    looked = [0]
    original = ScopeActor.may_be_dropped
    asked = Pipeline.at_rest

    def counting(actor: ScopeActor) -> bool:
        looked[0] += 1
        return original(actor)

    def at_rest(pipeline: Pipeline, now: Instant) -> bool:
        looked[0] += 1
        return asked(pipeline, now)

    monkeypatch.setattr(ScopeActor, "may_be_dropped", counting)
    monkeypatch.setattr(Pipeline, "at_rest", at_rest)
    for scopes in (50, 1000):
        for limit, report in (("9 per hour strict", True), ("9 per hour strict", False)):
            async with governed(limit, max_scopes=scopes) as governor:
                permits = [granted(governor.try_permit(f"scope{number}")) for number in range(scopes)]
                if report:
                    for permit in permits:
                        permit.record(status=200)
                await anyio.sleep(LONG_IDLE)
                looked[0] = 0
                for number in range(20):
                    governor.try_permit(f"newcomer{number}")
                work[scopes] = work.get(scopes, 0) + looked[0]

    assert work[50] == work[1000]
    assert work[50] <= 2 * 20 * 2 * MAX_LOOKED_AT


async def test_dropping_a_scope_leaves_the_doors_of_the_others_open() -> None:
    async with governed("9 per day strict", max_scopes=3) as governor:
        for scope in ("a", "b", "c"):
            granted(governor.try_permit(scope)).record(status=200)
        granted(governor.try_permit("A")).record(status=200)
        await anyio.sleep(LONG_IDLE)
        granted(governor.try_permit("d"))
        known = {(scope, method) for method, scopes in governor._access.addresses.items() for scope in scopes}

    assert {("b", None), ("c", None), ("d", None)} == known


async def test_of_a_dropped_scope_no_spelling_is_left() -> None:
    async with governed("9 per day strict", max_scopes=1) as governor:
        for provider, method in (("a", "GET"), ("A", "GET"), ("a", "get"), ("A", "Get")):
            granted(governor.try_permit(provider, method)).record(status=200)
        await anyio.sleep(LONG_IDLE)
        granted(governor.try_permit("b"))
        table = governor._access._table
        left = [{*scopes} for scopes in table.addresses.values()], table._methods, table._providers, table._entries

    assert ([{"b"}], {"": (None,)}, {}, 1) == left


async def test_many_more_scopes_than_there_may_be_actors_keep_their_windows_exactly() -> None:
    random, used = Random(11), dict[str, int]()
    async with governed("3 per day strict", max_scopes=200) as governor:
        for _ in range(1500):
            scope = f"scope{random.randrange(600)}"
            answer = governor.try_permit(scope)
            if isinstance(answer, Permit):
                answer.record(status=200)
                used[scope] = used.get(scope, 0) + 1
            if random.random() < 0.02:
                await anyio.sleep(LONG_IDLE)
        statistics = governor.statistics()

    assert {1, 2, 3} == set(used.values())
    assert sum(used.values()) == statistics.counters.requests == statistics.counters.answered_2xx
