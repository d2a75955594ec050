"""At the bounds: too many scopes, idle scopes, permits without a report."""

import gc

import anyio
import pytest

from governor import Denied, Governor, Overloaded, Permit, Reason, RetryBudgetSpent
from governor._actors.lifecycle import State
from tests.support.answers import granted
from tests.support.governors import actor_of, supervisor_of
from tests.support.governors import in_virtual_time as governed

pytestmark = pytest.mark.anyio


@pytest.mark.promise("R10")
async def test_one_scope_too_many_is_overloaded_while_all_are_busy() -> None:
    async with governed("9/s burst 9", max_scopes=2) as governor:
        for scope in ("weather", "traffic"):
            granted(governor.try_permit(scope))
        refusal = governor.try_permit("news")
        with pytest.raises(Overloaded):
            async with governor.permit("news"):
                pass
        again = governor.try_permit("weather")

    assert Denied("news", Reason.OVERLOADED, 1.0) == refusal
    granted(again)


async def test_an_idle_scope_makes_room_for_a_new_one() -> None:
    async with governed("9/s burst 9", max_scopes=2, idle_after="10s") as governor:
        for scope in ("weather", "traffic"):
            granted(governor.try_permit(scope)).record(status=200)
        await anyio.sleep(30)
        granted(governor.try_permit("news"))
        statistics = governor.statistics()

    assert ["news", "traffic"] == list(statistics.scopes)
    assert (3, 2) == (statistics.counters.requests, statistics.counters.answered_2xx)


@pytest.mark.promise("R02")
async def test_a_scope_that_has_something_to_remember_is_not_forgotten() -> None:
    async with governed("1/day burst 2", max_scopes=1, idle_after="10s") as governor:
        granted(governor.try_permit("weather"))
        await anyio.sleep(3600)
        refusal = governor.try_permit("news")
        granted(governor.try_permit("weather"))
        empty = governor.try_permit("weather")

    assert isinstance(refusal, Denied)
    assert isinstance(empty, Denied)
    assert (Reason.OVERLOADED, Reason.RATE_LIMIT) == (refusal.reason, empty.reason)


@pytest.mark.promise("R02")
async def test_a_scope_that_was_forgotten_and_comes_back_is_one_scope() -> None:
    """A caller that keeps an address of the forgotten scope is not served beside the new one."""
    async with governed("1/minute burst 1", max_scopes=1, idle_after="10s") as governor:
        granted(governor.try_permit("weather"))
        await anyio.sleep(100)
        granted(governor.try_permit("news"))
        full = governor.try_permit("weather")
        await anyio.sleep(100)
        answers = [governor.try_permit(spelling) for spelling in ("weather", "Weather", "WEATHER", "weather")]
        scopes = list(governor.statistics().scopes)

    assert isinstance(full, Denied)
    assert [Permit, Denied, Denied, Denied] == [type(answer) for answer in answers]
    assert ["weather"] == scopes


@pytest.mark.promise("R55")
async def test_a_call_that_waits_in_a_scope_that_came_back_is_answered_at_the_end() -> None:
    denied: list[bool] = []

    async def wait(governor: Governor) -> None:
        try:
            async with governor.permit("weather"):
                pass
        except Exception:
            denied.append(True)

    async with anyio.create_task_group() as tasks, governed("1/minute burst 1", max_scopes=1, idle_after="10s") as governor:
        for scope in ("weather", "news", "weather"):
            granted(governor.try_permit(scope))
            await anyio.sleep(100)
        granted(governor.try_permit("weather"))
        tasks.start_soon(wait, governor)
        await anyio.sleep(1)

    assert [True] == denied


async def test_the_policies_of_a_forgotten_provider_are_forgotten_as_well() -> None:
    async with governed("9/s burst 9", max_scopes=1, idle_after="10s") as governor:
        for number in range(70):
            granted(governor.try_permit(f"provider{number}"))
            await anyio.sleep(100)
        gc.collect()
        builder = supervisor_of(governor)._builder

        assert ["provider69"] == list(builder.providers)
        assert len(builder._providers) < 10  # The entries as well, when there are 64 of them.


async def test_the_scopes_of_a_provider_share_their_retry_budget() -> None:
    async with governed("99/s burst 99") as governor:
        for method in ("GET", "PUT"):
            granted(governor.try_permit("weather", method))
        retries = [bool(governor.plan_retry("weather", method, attempt=1, status=503)) for method in ("GET", "PUT") * 6]
        for method in ("GET", "PUT") * 5:
            async with governor.permit("weather", method, attempt=2):
                pass
        await anyio.sleep(3)
        with pytest.raises(RetryBudgetSpent) as spent:
            async with governor.permit("weather", attempt=2):
                pass
        await anyio.sleep(7.001)
        again = [bool(governor.plan_retry("weather", "GET", attempt=1, status=503)) for _ in range(10)]

    assert [True] * 10 + [False] * 2 == retries
    assert 7.0 == pytest.approx(spent.value.retry_after)
    assert [True] * 10 == again


async def test_an_idle_scope_is_passivated_and_resumes() -> None:
    async with governed("1/minute burst 2", idle_after="10s") as governor:
        granted(governor.try_permit("weather"))
        life = actor_of(governor, "weather").life
        live = life.state
        await anyio.sleep(25)
        at_rest = life.state
        granted(governor.try_permit("weather"))
        resumed = life.state
        refusal = governor.try_permit("weather")

    assert (State.IDLE, State.PASSIVE, State.IDLE) == (live, at_rest, resumed)
    assert isinstance(refusal, Denied)
    assert 35.0 == pytest.approx(refusal.retry_after)


async def test_a_scope_with_a_waiter_is_not_passivated() -> None:
    async with governed("1 in flight", idle_after="10s") as governor:
        holder = granted(governor.try_permit("weather"))
        served = anyio.Event()

        async def wait() -> None:
            async with governor.permit("weather"):
                served.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.sleep(1000)
            holder.record(status=200)

    assert served.is_set()


async def test_outcomes_that_come_while_a_scope_rests_count() -> None:
    async with governed("1 in flight", "9/minute burst 9", idle_after="10s") as governor:
        permit = granted(governor.try_permit("weather"))
        await anyio.sleep(100)
        permit.record(status=500)
        statistics = governor.statistics()
        granted(governor.try_permit("weather"))

    assert (1, 1) == (statistics.counters.answered_5xx, statistics.scopes["weather"].breaker.failures)


async def test_a_breaker_that_cools_down_at_rest_lets_probes_through() -> None:
    async with governed("9/s burst 9", idle_after="10s") as governor:
        for _ in range(5):
            granted(governor.try_permit("weather")).record(status=500)
        await anyio.sleep(59)
        early = governor.try_permit("weather")
        await anyio.sleep(1)
        probes = [governor.try_permit("weather") for _ in range(4)]

    assert isinstance(early, Denied)
    assert [Permit, Permit, Permit, Denied] == [Denied if isinstance(one, Denied) else Permit for one in probes]


async def test_scopes_have_no_tasks_and_no_alarms_that_are_left_behind() -> None:
    async with governed("1/s burst 1", idle_after="10s", max_scopes=2_000, requests_per_minute=100_000) as governor:
        granted(governor.try_permit("weather"))
        alarms = supervisor_of(governor).alarms
        await anyio.wait_all_tasks_blocked()
        before = len(anyio.get_running_tasks())
        for number in range(500):
            granted(governor.try_permit(f"weather{number}"))
        await anyio.wait_all_tasks_blocked()
        after = len(anyio.get_running_tasks())
        for _ in range(500):
            with anyio.move_on_after(0.5):
                await governor.acquire("weather", timeout=5)
        places = len(alarms._heap)
        await anyio.sleep(1_000)

    assert before == after
    assert places < 200
    assert 0 == len(alarms._heap)


@pytest.mark.promise("R04")
async def test_a_forgotten_permit_gives_its_place_to_those_who_wait() -> None:
    async with governed("1 in flight") as governor:
        holder: list[Permit] = [granted(governor.try_permit("weather"))]
        served = anyio.Event()

        async def wait() -> None:
            async with governor.permit("weather"):
                served.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            holder.clear()
            gc.collect()
        neutral = governor.statistics().counters.neutral

    assert served.is_set()
    assert 1 == neutral
