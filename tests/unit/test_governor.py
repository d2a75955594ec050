"""The governor grants, queues and denies."""

import asyncio
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from threading import get_ident
from typing import Any, cast

import anyio
import pytest

from governor import (
    CircuitOpen,
    ConcurrencyExceeded,
    Config,
    ConfigError,
    CostExceedsCapacity,
    DenialStatistics,
    Denied,
    Governor,
    GovernorState,
    Instant,
    Permit,
    PermitDenied,
    RateLimited,
    Reason,
    ShuttingDown,
    UsageError,
)
from governor.clock import system_clock
from governor.testing import ManualClock
from governor_client import GovernorClient
from tests.support.answers import denied, granted

pytestmark = pytest.mark.anyio


def governed(*limits: str, clock: ManualClock | None = None, sections: Mapping[str, object] | None = None) -> Governor:
    config = Config.from_mapping({"outbound": {"default": {"limits": limits}, **(sections or {})}})
    return Governor(config, clock=clock or ManualClock())


# Asking at once.


@pytest.mark.promise("R01")
@pytest.mark.parametrize(
    ("provider", "method", "scope"),
    [("weather", "GET", "weather:get"), ("Weather", "Get", "weather:get"), ("weather", None, "weather")],
)
async def test_a_scope_is_provider_and_method_in_lower_case(provider: str, method: str | None, scope: str) -> None:
    async with governed("1 in flight") as governor:
        permit = granted(governor.try_permit(provider, method))

    assert scope == permit.scope


@pytest.mark.promise("R53")
async def test_a_governor_starts_with_the_largest_settings() -> None:
    largest = {"requests_per_minute": 10**12, "degraded_after_excess": 100, "degraded_after_failures": 10**12}
    async with Governor(Config.from_mapping({"global": largest})) as governor:
        assert "weather" == granted(governor.try_permit("weather")).scope


@pytest.mark.promise("R02")
async def test_what_is_taken_without_an_ask_is_within_the_limits_and_never_a_retry() -> None:
    async with governed("3/minute burst 3") as governor:
        unknown = governor.leases.take("weather", "GET")
        granted(governor.try_permit("weather", "GET"))
        retried = governor.leases.take("weather", "GET", 2)
        taken = [governor.leases.take("weather", "GET", attempt) for attempt in (None, 1, 1)]
        requests = governor.statistics().scopes["weather:get"].counters.requests

    assert (None, None, [True, True, False], 3) == (unknown, retried, [permit is not None for permit in taken], requests)


@pytest.mark.promise("R01")
async def test_all_spellings_of_a_scope_are_one_scope() -> None:
    async with governed("3/minute burst 3") as governor:
        answers = [governor.try_permit(name, "get") for name in ("weather", "Weather", "WEATHER", "weather")]
        scopes = list(governor.statistics().scopes)

    assert [Permit, Permit, Permit, Denied] == [type(answer) for answer in answers]
    assert ["weather:get"] == scopes


@pytest.mark.promise("R01")
def test_a_path_or_a_dict_in_the_place_of_settings_is_an_error_that_names_what_reads_it() -> None:
    for path in ("governor.toml", Path("governor.toml")):
        with pytest.raises(TypeError, match=r"use Governor\.from_file\('governor\.toml'\)$"):
            Governor(path)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(TypeError, match=r"not dict; for a dict, use Config\.from_mapping\(\.\.\.\)$"):
        Governor({})  # type: ignore[arg-type]  # the mistake


async def test_a_scope_comes_to_life_on_first_use() -> None:
    async with governed("1 in flight") as governor:
        before = list(governor.statistics().scopes)
        governor.try_permit("weather", "GET")
        after = list(governor.statistics().scopes)

    assert ([], ["weather:get"]) == (before, after)


@pytest.mark.promise("R01")
async def test_the_policy_is_that_of_the_scope_then_of_the_provider_then_the_default() -> None:
    sections = {"weather": {"limits": ["2/s burst 2"]}, "weather:post": {"limits": ["3/s burst 3"]}}
    async with governed("1/s burst 1", sections=sections) as governor:
        for scope in (("weather", "POST"), ("weather", "GET"), ("traffic", "GET")):
            governor.try_permit(*scope)
        capacities = {scope: one.limits[0].capacity for scope, one in governor.statistics().scopes.items()}

    assert {"traffic:get": 1, "weather:get": 2, "weather:post": 3} == capacities


@pytest.mark.promise("R02", "R10")
async def test_a_bucket_denies_until_a_token_is_due_and_says_when() -> None:
    clock = ManualClock()
    async with governed("1/minute burst 1", clock=clock) as governor:
        granted(governor.try_permit("weather"))
        clock.advance(15)
        refusal = denied(governor.try_permit("weather"))
        clock.advance(44.999999)
        denied(governor.try_permit("weather"))
        clock.advance(0.000001)
        granted(governor.try_permit("weather"))

    assert Denied("weather", Reason.RATE_LIMIT, 45.0) == refusal


@pytest.mark.promise("R02")
async def test_no_way_of_asking_leaves_the_fast_way_open_behind_it() -> None:
    """A plain ask is decided by one comparison, and everything that spends must keep it true."""
    async with governed("5 in flight") as governor:
        permits = [granted(governor.try_permit("weather")), granted(governor.try_permit("weather", cost=3))]
        async with governor.permit("weather", timeout=0, attempt=1):
            denied(governor.try_permit("weather"))
        permits.append(granted(governor.try_permit("weather")))
        denied(governor.try_permit("weather"))
        permits[1].record(status=200)
        permits += [granted(governor.try_permit("weather")) for _ in range(3)]
        refusal = denied(governor.try_permit("weather"))

    assert Reason.CONCURRENCY is refusal.reason


@pytest.mark.promise("R03")
async def test_of_several_limits_all_grant_or_none_is_spent() -> None:
    async with governed("9/minute burst 9", "100 tokens per minute strict", "1 in flight") as governor:
        permit = granted(governor.try_permit("weather", cost={"tokens": 60}))
        for cost in ({"tokens": 10}, {"tokens": 60}, {"requests": 1}):
            denied(governor.try_permit("weather", cost=cost))
        permit.give_back()
        available = [limit.available for limit in governor.statistics().scopes["weather"].limits]

    assert [9, 100, 1] == available


@pytest.mark.promise("R03")
async def test_what_was_really_used_is_settled() -> None:
    async with governed("100 tokens/minute burst 100") as governor:
        granted(governor.try_permit("weather", cost={"tokens": 60})).record(status=200, used={"tokens": 10})
        less = governor.statistics().scopes["weather"].limits[0].available
        granted(governor.try_permit("weather", cost={"tokens": 10})).record(status=200, used={"tokens": 60})
        more = governor.statistics().scopes["weather"].limits[0].available

    assert (90, 30) == (less, more)


@pytest.mark.promise("R10")
async def test_a_cost_that_no_wait_makes_possible_is_denied_for_good() -> None:
    async with governed("5/minute burst 5") as governor:
        refusal = denied(governor.try_permit("weather", cost=6))
        with pytest.raises(CostExceedsCapacity):
            async with governor.permit("weather", cost=6):
                pass

    assert Denied("weather", Reason.COST, None) == refusal


@pytest.mark.parametrize("cost", [0, -1, 1.5, "1", {"requests": 0}, {"tokens": -1}, {"tokens": 0.5}, {"Tokens!": 1}])
async def test_a_cost_that_cannot_be_is_a_mistake(cost: object) -> None:
    async with governed("5/minute burst 5") as governor:
        with pytest.raises(ConfigError, match="cost"):
            governor.try_permit("weather", cost=cast(int, cost))


@pytest.mark.parametrize("name", ["", "a b", "weather:get", "/a", "a/", "x" * 101, b"weather", ["weather"], {}])
async def test_a_provider_that_cannot_be_is_a_mistake_as_is_a_method(name: Any) -> None:
    async with governed("1 in flight") as governor:
        client = GovernorClient(governor)
        method = name or [""]
        for field, scope in (("provider", (name, "GET")), ("method", ("weather", method))):
            with pytest.raises(ConfigError, match=f"^{field} is "):
                governor.try_permit(*scope)
            with pytest.raises(ConfigError, match=f"^{field} is "):
                client.try_permit(*scope)
            with pytest.raises(ConfigError, match=f"^{field} is "):
                await governor.acquire(*scope)
            with pytest.raises(ConfigError, match=f"^{field} is "):
                await anyio.to_thread.run_sync(partial(governor.acquire_blocking, *scope))


# Asking for the length of a block.


async def test_leaving_the_block_reports_what_was_not_reported() -> None:
    async with governed("9/minute burst 9") as governor:
        async with governor.permit("weather") as permit:
            inside = permit.reported
        counters = governor.statistics().counters

    assert (False, True, 1) == (inside, permit.reported, counters.requests)


@pytest.mark.promise("R06")
async def test_exceptions_in_the_block_are_failures_and_five_of_them_open_the_breaker() -> None:
    async with governed("99/minute burst 99") as governor:
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with governor.permit("weather"):
                    raise TimeoutError
        with pytest.raises(CircuitOpen) as caught:
            async with governor.permit("weather", timeout=1):
                pass
        counters = governor.statistics().counters

    assert 60.0 == caught.value.retry_after
    assert (5, {"circuit_breaker_open": 1}) == (counters.failures, counters.denied)


@pytest.mark.promise("R10")
@pytest.mark.parametrize(
    ("settings", "used"),
    [
        ({"global": {"requests_per_minute": 2}}, "weather"),
        ({"global": {"requests_per_minute": 2}}, "elsewhere"),
        ({"provider": {"weather": {"limits": ["2/minute burst 2"]}}}, "weather"),
    ],
)
async def test_statistics_say_what_will_be_told_where_other_scopes_use_the_limit_up(
    settings: Mapping[str, object], used: str
) -> None:
    async with Governor(Config.from_mapping(settings), clock=ManualClock()) as governor:
        granted(governor.try_permit("weather", "GET")).record(status=200)
        free = governor.statistics().scopes["weather:get"].denial
        granted(governor.try_permit(used, "POST"))
        refusal = governor.statistics().scopes["weather:get"].denial
        answer = denied(governor.try_permit("weather", "GET"))

    assert free is None
    assert DenialStatistics(reason=answer.reason, retry_after=answer.retry_after) == refusal


async def test_statistics_say_what_will_be_told_while_a_call_waits() -> None:
    async with governed("5/minute burst 5", clock=ManualClock()) as governor, anyio.create_task_group() as tasks:
        granted(governor.try_permit("weather"))
        tasks.start_soon(partial(wait_for, governor, cost=5))
        await anyio.wait_all_tasks_blocked()
        told = governor.statistics().scopes["weather"].denial
        answer = denied(governor.try_permit("weather"))
        tasks.cancel_scope.cancel()

    assert DenialStatistics(reason=answer.reason, retry_after=answer.retry_after) == told


async def test_a_breaker_that_was_opened_once_shows_when_it_last_failed() -> None:
    clock = ManualClock()
    async with governed(clock=clock) as governor:
        unused = granted(governor.try_permit("weather"))
        before = governor.statistics().scopes["weather"].breaker
        unused.record(status=500)
        granted(governor.try_permit("weather")).record(status=200)
        after = governor.statistics().scopes["weather"].breaker

    assert (None, 0, 0) == (before.last_failure_at, before.failures, after.failures)
    assert after.last_failure_at is not None


async def wait_for(governor: Governor, cost: int) -> None:
    async with governor.permit("weather", cost=cost):
        pass


@pytest.mark.promise("R10")
@pytest.mark.parametrize(
    ("limit", "calls", "failing"),
    [("5/minute burst 5", 5, False), ("5 per minute strict", 5, False), ("5 in flight", 5, False), ("99/s burst 99", 5, True)],
)
async def test_statistics_say_what_the_next_ask_will_be_told(limit: str, calls: int, failing: bool) -> None:
    async with governed(limit, clock=ManualClock()) as governor:
        permits = [granted(governor.try_permit("weather")) for _ in range(calls)]
        for permit in permits if failing else ():
            permit.record(status=500)
        refusal = governor.statistics().scopes["weather"].denial
        answer = denied(governor.try_permit("weather"))

    assert DenialStatistics(reason=answer.reason, retry_after=answer.retry_after) == refusal


@pytest.mark.promise("R10")
async def test_statistics_say_nothing_of_a_refusal_where_the_next_ask_is_granted() -> None:
    async with governed("2/minute burst 2") as governor:
        granted(governor.try_permit("weather"))
        refusal = governor.statistics().scopes["weather"].denial
        granted(governor.try_permit("weather"))

    assert refusal is None


@pytest.mark.promise("R06")
async def test_cancellation_in_the_block_is_neutral() -> None:
    async with governed("99/minute burst 99") as governor:
        for _ in range(9):
            with anyio.CancelScope() as scope:
                async with governor.permit("weather"):
                    scope.cancel()
                    await anyio.lowlevel.checkpoint()
        breaker, counters = governor.statistics().scopes["weather"].breaker, governor.statistics().counters

    assert ("closed", 0, 9) == (breaker.status, breaker.failures, counters.neutral)


@pytest.mark.promise("R04")
async def test_a_wait_that_would_pass_the_timeout_is_denied_at_once() -> None:
    async with governed("1/minute burst 1") as governor:
        granted(governor.try_permit("weather"))
        with pytest.raises(RateLimited) as caught:
            async with governor.permit("weather", timeout=59.9):
                pass

    assert 60.0 == caught.value.retry_after


@pytest.mark.promise("R04")
@pytest.mark.parametrize("timeout", [0, 0.0, 1e-9])
async def test_a_timeout_of_nothing_does_not_wait(timeout: float) -> None:
    async with governed("1 in flight") as governor:
        holder = granted(governor.try_permit("weather"))
        with pytest.raises(ConcurrencyExceeded):
            async with governor.permit("weather", timeout=timeout):
                pass
        holder.record(status=200)
        async with governor.permit("weather", timeout=timeout):
            pass


@pytest.mark.parametrize(
    "mistake",
    [
        *({"timeout": timeout} for timeout in (-1, -0.001, math.nan, "5", 1j)),
        *({"attempt": attempt} for attempt in (0, -1, "1", 1.5, True)),
        *({"fingerprint": fingerprint} for fingerprint in ("POST /", 0)),
        {"cost": {f"unit{n}": 1 for n in range(101)}},
        {"cost": {"x" * 101: 1}},
    ],
)
async def test_what_no_permit_can_be_asked_for_with_is_a_mistake_and_no_failure_of_the_actor(mistake: dict[str, Any]) -> None:
    async with governed("1 in flight") as governor:
        with pytest.raises(ConfigError, match=f"^{next(iter(mistake))}"):
            governor.permit("weather", **mistake)


@pytest.mark.promise("R04")
@pytest.mark.parametrize("timeout", [None, math.inf, 1e12])
async def test_who_waits_is_served_when_a_place_becomes_free(timeout: float | None) -> None:
    served = anyio.Event()
    async with governed("1 in flight") as governor, anyio.create_task_group() as tasks:
        holder = granted(governor.try_permit("weather"))
        tasks.start_soon(_use, governor, served, timeout)
        await anyio.wait_all_tasks_blocked()
        before = served.is_set(), governor.statistics().scopes["weather"].waiting
        holder.record(status=200)
        await anyio.wait_all_tasks_blocked()

    assert ((False, 1), True) == (before, served.is_set())


async def _use(governor: Governor, served: anyio.Event, timeout: float | None) -> None:
    async with governor.permit("weather", timeout=timeout):
        served.set()


@pytest.mark.promise("R04")
async def test_a_newcomer_does_not_overtake_the_line() -> None:
    async with governed("3 in flight") as governor, anyio.create_task_group() as tasks:
        holder = granted(governor.try_permit("weather", cost=2))
        tasks.start_soon(_ask, governor, 2)
        await anyio.wait_all_tasks_blocked()
        refusal = denied(governor.try_permit("weather"))
        holder.record(status=200)
        await anyio.wait_all_tasks_blocked()
        granted(governor.try_permit("weather"))

    assert Reason.CONCURRENCY is refusal.reason


@pytest.mark.promise("R04")
async def test_an_outcome_does_not_let_a_newcomer_overtake_the_line() -> None:
    """The fast way looks at the gate only, and the gate moves with every outcome."""
    async with governed("4 in flight") as governor, anyio.create_task_group() as tasks:
        first, second = granted(governor.try_permit("weather")), granted(governor.try_permit("weather"))
        tasks.start_soon(_ask, governor, 4)
        await anyio.wait_all_tasks_blocked()
        first.record(status=200)
        refusal = denied(governor.try_permit("weather"))
        second.give_back()
        await anyio.wait_all_tasks_blocked()
        granted(governor.try_permit("weather"))

    assert Reason.CONCURRENCY is refusal.reason


async def _ask(governor: Governor, cost: int) -> None:
    async with governor.permit("weather", cost=cost):
        pass


# Blocking.


async def test_a_block_on_the_governors_own_loop_works_when_it_does_not_wait() -> None:
    async with governed("1/minute burst 1") as governor:
        with governor.permit("weather", timeout=0) as permit:
            permit.record(status=200)

    assert permit.reported


@pytest.mark.promise("R55")
async def test_waiting_on_the_governors_own_loop_is_a_mistake_and_no_deadlock() -> None:
    async with governed("1/minute burst 1") as governor:
        granted(governor.try_permit("weather"))
        with pytest.raises(UsageError, match="async with"), governor.permit("weather"):
            pass
        with pytest.raises(RateLimited), governor.permit("weather", timeout=0):
            pass


# The life of a governor.


@pytest.mark.parametrize("ask", [partial(Governor.try_permit, provider="weather"), Governor.statistics])
async def test_a_governor_that_does_not_run_says_so(ask: partial[object]) -> None:
    with pytest.raises(UsageError, match="not running"):
        ask(governed("1 in flight"))


async def test_a_governor_is_entered_once() -> None:
    async with governed("1 in flight") as governor:
        with pytest.raises(UsageError, match="entered before"):
            async with governor:
                pass
        granted(governor.try_permit("weather"))


@pytest.mark.promise("R55")
async def test_a_closed_governor_denies_all() -> None:
    async with governed("1/minute burst 1") as governor:
        granted(governor.try_permit("weather"))
    answers = [denied(governor.try_permit("weather")), denied(governor.try_permit("traffic"))]
    with pytest.raises(ShuttingDown):
        async with governor.permit("weather"):
            pass
    with pytest.raises(ShuttingDown), governor.permit("weather"):
        pass

    assert [Denied("weather", Reason.SHUTTING_DOWN, None), Denied("traffic", Reason.SHUTTING_DOWN, None)] == answers


@pytest.mark.promise("R55")
async def test_closing_answers_everyone_who_waits() -> None:
    caught: list[PermitDenied] = []

    async def wait(governor: Governor) -> None:
        try:
            async with governor.permit("weather"):
                pass
        except PermitDenied as refusal:
            caught.append(refusal)

    async with anyio.create_task_group() as tasks, governed("1/minute burst 1") as governor:
        granted(governor.try_permit("weather"))
        for _ in range(10):
            tasks.start_soon(wait, governor)
        await anyio.wait_all_tasks_blocked()

    assert [ShuttingDown] * 10 == [type(refusal) for refusal in caught]


async def test_an_outcome_may_be_reported_after_closing() -> None:
    async with governed("1 in flight") as governor:
        permits = [granted(governor.try_permit("weather")), granted(governor.try_permit("traffic"))]
    permits[0].record(status=500)
    permits[1].give_back()

    assert [True, True] == [permit.reported for permit in permits]


async def test_an_error_in_the_block_of_a_governor_goes_on_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with governed("1 in flight") as governor:
            granted(governor.try_permit("weather"))
            raise ZeroDivisionError


async def test_cancelling_the_block_of_a_governor_closes_it() -> None:
    governor = governed("1 in flight")
    with anyio.CancelScope() as scope:
        async with governor:
            scope.cancel()
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert f"<Governor, closed, {len(governor.config.outbound)} outbound policies>" == repr(governor)


async def test_a_governor_shows_its_state() -> None:
    governor = governed("1 in flight")
    states = [repr(governor)]
    async with governor:
        states.append(repr(governor))

    policies = f"{len(governor.config.outbound)} outbound policies"
    assert [f"<Governor, not started, {policies}>", f"<Governor, running, {policies}>"] == states


def test_a_governor_without_a_loop_runs_on_a_thread_of_its_own() -> None:
    with governed("1 in flight") as governor:
        with governor.permit("weather", timeout=0):
            full = governor.try_permit("weather")
        free = governor.try_permit("weather")
    closed = governor.try_permit("weather")

    assert [Reason.CONCURRENCY, Reason.SHUTTING_DOWN] == [denied(full).reason, denied(closed).reason]
    granted(free)


def test_a_governor_on_a_thread_is_entered_once_and_still_closes() -> None:
    with governed("1 in flight") as governor:
        with pytest.raises(UsageError, match="entered before"), governor:
            pass
        granted(governor.try_permit("weather"))

    assert Reason.SHUTTING_DOWN is denied(governor.try_permit("weather")).reason


# Permits to record by hand, and requests that ask for none.


async def test_an_acquired_permit_is_recorded_by_hand() -> None:
    async with Governor() as governor:
        permit = await governor.acquire("github", "GET", timeout=5.0)
        before = permit.reported
        permit.record(status=200)
        counters = governor.statistics().counters

    assert (False, 1, 1) == (before, counters.requests, counters.answered_2xx)


async def test_an_acquired_permit_waits_and_raises_as_a_block_does() -> None:
    config = Config.from_mapping({"outbound": {"default": {"limits": ["1 in flight"]}}})
    async with Governor(config) as governor:
        permit = await governor.acquire("weather")
        with pytest.raises(ConcurrencyExceeded):
            await governor.acquire("weather", timeout=0)
        with pytest.raises(ConfigError):
            await governor.acquire("weather", cost=0)
        permit.give_back()
        again = await governor.acquire("weather", timeout=0)

    assert not again.reported


async def test_blocking_on_the_governors_own_loop_raises_at_once_even_if_a_permit_is_at_hand() -> None:
    async with Governor() as governor:
        with pytest.raises(UsageError, match="would block the event loop that grants the permit"), governor.permit("github"):
            pass
        with governor.permit("github", timeout=0):
            pass
        counters = governor.statistics().counters

    assert 1 == counters.requests


async def test_a_request_that_is_never_entered_warns_and_asks_for_nothing() -> None:
    async with Governor() as governor:
        with pytest.warns(RuntimeWarning, match="^coroutine 'Governor.permit' was never awaited"):
            governor.permit("github", "GET")
        counters = governor.statistics().counters

    assert 0 == counters.requests


async def test_a_request_that_is_entered_on_another_thread_is_decided_on_the_governors_own() -> None:
    deciding = set[int]()

    def clock() -> Instant:
        deciding.add(get_ident())
        return system_clock()

    async def block(governor: Governor) -> None:
        async with governor.permit("weather"):
            pass

    async with Governor(clock=clock) as governor:
        await block(governor)
        await anyio.to_thread.run_sync(asyncio.run, block(governor))

    assert {get_ident()} == deciding


async def test_the_state_says_whether_it_runs() -> None:
    governor = Governor()
    states = [governor.state]
    async with governor:
        states.append(governor.state)
        states.append(await anyio.to_thread.run_sync(lambda: governor.state))
    states.append(governor.state)

    assert [GovernorState.NEW, GovernorState.RUNNING, GovernorState.RUNNING, GovernorState.CLOSED] == states


async def test_a_request_shows_what_it_asks_for() -> None:
    governor = Governor()
    request = governor.permit("LLM", "POST", cost={"tokens": 900}, timeout=5)
    shown = repr(request)
    with pytest.raises(UsageError):
        await request.__aenter__()

    assert "<PermitRequest for llm:post, cost 1 requests, 900 tokens, timeout 5 s, not entered yet>" == shown
