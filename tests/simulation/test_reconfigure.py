"""Settings that change while everything goes on: what is carried over, what those who wait are told, and what never leaks."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import anyio
import anyio.to_thread
import msgspec
import pytest

from governor import (
    Config,
    CostExceedsCapacity,
    Denied,
    Governor,
    Permit,
    PermitDenied,
    Reason,
    UsageError,
)
from governor.policies.breakers.breaker import BreakerPolicy
from governor.policies.in_flight import InFlightPolicy
from governor.testing import loop_clock
from tests.support.answers import granted
from tests.support.governors import configured as config
from tests.support.governors import in_virtual_time as governed
from tests.support.threads import elsewhere

pytestmark = pytest.mark.anyio


def take(governor: Governor, times: int, scope: str = "weather") -> list[Permit]:
    return [granted(governor.try_permit(*scope.split(":"))) for _ in range(times)]


def left(governor: Governor, scope: str = "weather") -> list[int]:
    return [limit.available for limit in governor.statistics().scopes[scope].limits]


async def wait(governor: Governor, answers: list[object], *, cost: int = 1, timeout: float | None = None) -> None:
    try:
        async with governor.permit("weather", cost=cost, timeout=timeout):
            answers.append(anyio.current_time())
    except PermitDenied as refusal:
        answers.append(type(refusal))


# What is carried over.


@pytest.mark.promise("R02")
@pytest.mark.parametrize(
    ("before", "spent", "after", "expected"),
    [
        ("1/hour burst 10", 5, "1/hour burst 100", 50),
        ("1/hour burst 100", 50, "1/hour burst 10", 5),
        ("1/hour burst 10", 10, "1/hour burst 100", 0),
        ("1/hour burst 10", 0, "1/hour burst 100", 100),
        ("1/hour burst 3", 1, "7/s burst 1", 0),
        ("1/hour burst 10", 5, "9/s burst 10", 5),
    ],
)
async def test_of_the_burst_of_a_bucket_as_large_a_part_is_left(before: str, spent: int, after: str, expected: int) -> None:
    async with governed(before) as governor:
        take(governor, spent)
        governor.try_permit("weather", cost=1000)
        governor.reconfigure(config(after))

        assert [expected] == left(governor)


@pytest.mark.promise("R02", "R03")
@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("60 per minute strict", "10 per minute strict", 5),
        ("60 per minute strict", "60 per hour strict", 55),
        ("60 per hour strict", "60 per minute strict", 55),
        ("10 in flight", "7 in flight", 2),
        ("10 in flight", "99 in flight", 94),
    ],
)
async def test_what_is_used_of_a_window_and_in_flight_stays_used(before: str, after: str, expected: int) -> None:
    async with governed(before) as governor:
        permits = take(governor, 5)
        governor.reconfigure(config(after))
        used = left(governor)
        for permit in permits:
            permit.record(status=200)
        ended = left(governor)
        await anyio.sleep(3600)

        assert [expected] == used
        assert used == ended or "in flight" in after
        assert left(governor) == [limit.capacity for limit in governor.statistics().scopes["weather"].limits]


@pytest.mark.promise("R02", "R03")
@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (["60 per minute strict", "10 per hour strict"], ["10 per hour strict"], [1]),
        (["60 per minute strict", "10 per hour strict"], ["11 per hour strict"], [2]),
        (["60 per minute strict", "10 per hour strict"], ["9 per day strict", "5 per 10m strict"], [0, 4]),
        (["10 per hour strict"], ["60 per minute strict", "10 per hour strict"], [59, 1]),
        (["60/s burst 60", "1/day burst 10"], ["1/day burst 10"], [1]),
        (["1/day burst 10"], ["60/s burst 60", "1/day burst 10"], [60, 1]),
        (["60/s burst 60", "1/day burst 10"], ["60/s burst 60", "1/day burst 20"], [59, 2]),
        (["60/s burst 60", "1/day burst 10"], ["1/day burst 20", "60/s burst 60"], [2, 59]),
    ],
)
async def test_each_limit_goes_on_from_the_one_that_it_was_wherever_it_stands(
    before: list[str], after: list[str], expected: list[int]
) -> None:
    async with governed(*before) as governor:
        for permit in take(governor, 8):
            permit.record(status=200)
        await anyio.sleep(1800)
        take(governor, 1)[0].record(status=200)
        governor.reconfigure(config(*after))

        assert expected == left(governor)


@pytest.mark.promise("R02")
async def test_a_scope_that_is_asked_for_the_first_time_has_the_new_limits() -> None:
    async with governed("1/hour burst 9") as governor:
        take(governor, 1, "weather")
        governor.reconfigure(config("1/hour burst 5"))
        take(governor, 1, "news")

        assert [4] == left(governor, "news")


@pytest.mark.promise("R03")
async def test_a_limit_that_is_new_knows_nothing_of_the_calls_before_it() -> None:
    async with governed("99/s burst 99") as governor:
        permits = take(governor, 5)
        governor.reconfigure(config("3 in flight", "9 per minute strict"))
        taken = take(governor, 3)
        for permit in permits:
            permit.record(status=200)
        full = governor.try_permit("weather")
        for permit in taken:
            permit.give_back()

        assert isinstance(full, Denied)
        assert [3, 9] == left(governor)


@pytest.mark.promise("R03")
async def test_a_limit_that_comes_back_has_forgotten_the_calls_that_it_knew() -> None:
    async with governed("5 in flight") as governor:
        permits = take(governor, 5)
        governor.reconfigure(config("99/s burst 99"))
        governor.reconfigure(config("5 in flight"))
        taken = take(governor, 2)
        for permit in permits:
            permit.record(status=200)

        assert [3] == left(governor)
        assert 2 == len(taken)


@pytest.mark.promise("R03")
@pytest.mark.parametrize("after", ["100 tokens/hour burst 10", "100 tokens/hour burst 1000", "100 tokens/s burst 100"])
@pytest.mark.parametrize("used", [0, 10, 20])
async def test_what_was_asked_for_before_a_change_cannot_be_given_back_as_more_than_it_is_worth_after_it(
    after: str, used: int
) -> None:
    async with governed("100 tokens/hour burst 100") as governor:
        permit = granted(governor.try_permit("weather", cost={"tokens": 10}))
        governor.try_permit("weather", cost={"tokens": 90})
        governor.reconfigure(config(after))
        permit.record(status=200, used={"tokens": used})
        over = governor.try_permit("weather", cost={"tokens": 1})

    assert isinstance(over, Denied)


@pytest.mark.promise("R03")
async def test_what_was_asked_for_before_another_limit_was_put_in_front_is_given_back_where_it_was_taken() -> None:
    async with governed("100 tokens/hour burst 100") as governor:
        permit = granted(governor.try_permit("weather", cost={"tokens": 60}))
        governor.reconfigure(config("7/hour burst 7", "5 in flight", "100 tokens/hour burst 100"))
        permit.record(status=200, used={"tokens": 20})

        assert [7, 5, 80] == left(governor)


@pytest.mark.promise("R06")
async def test_a_breaker_stands_where_it_stood() -> None:
    async with governed("99/s burst 99", scope={"breaker": {"failures": 3}}) as governor:
        for permit in take(governor, 2):
            permit.record(status=500)
        governor.reconfigure(config("99/s burst 99", scope={"breaker": {"failures": 4}}))
        after_two = governor.statistics().scopes["weather"].breaker
        for permit in take(governor, 2):
            permit.record(status=500)
        opened, openings = governor.statistics().scopes["weather"].breaker, governor.statistics().counters.openings
        governor.reconfigure(config("99/s burst 99", scope={"breaker": {"failures": 9, "open_for": "1s"}}))
        still = governor.statistics().scopes["weather"].breaker

    assert ("closed", 2) == (after_two.status, after_two.failures)
    assert ("open", 1) == (opened.status, openings)
    assert opened == still


@pytest.mark.promise("R06")
async def test_a_failure_that_was_reported_before_the_change_still_counts() -> None:
    async with governed("99/s burst 99", scope={"breaker": {"failures": 1}}) as governor:
        permit = granted(governor.try_permit("weather"))
        elsewhere(permit.record, status=500)
        governor.reconfigure(config("98/s burst 98", scope={"breaker": {"failures": 1}}))

        assert "open" == governor.statistics().scopes["weather"].breaker.status


@pytest.mark.promise("R06")
@pytest.mark.parametrize("after", [["98/s burst 98"], ["5 in flight"], ["99/s burst 99", "9 per minute strict"]])
async def test_calls_that_are_under_way_during_the_change_count_when_they_fail(after: list[str]) -> None:
    async with governed("99/s burst 99", scope={"breaker": {"failures": 2}}) as governor:
        permits = take(governor, 2)
        governor.reconfigure(config(*after, scope={"breaker": {"failures": 2, "open_for": "1s"}}))
        for permit in permits:
            permit.record(status=500)

        assert "open" == governor.statistics().scopes["weather"].breaker.status


@pytest.mark.promise("R06")
async def test_probes_that_are_out_are_given_back_and_their_outcomes_change_nothing() -> None:
    breaker = {"breaker": {"failures": 1, "open_for": "1s", "probes": 2, "successes": 2}}
    async with governed("99/s burst 99", scope=breaker) as governor:
        take(governor, 1)[0].record(status=500)
        await anyio.sleep(1)
        probes = take(governor, 2)
        governor.reconfigure(config("98/s burst 98", scope=breaker))
        again = take(governor, 2)
        full = governor.try_permit("weather")
        for permit in probes:
            permit.record(status=500)
        before = governor.statistics().scopes["weather"].breaker.status
        for permit in again:
            permit.record(status=200)
        after = governor.statistics().scopes["weather"].breaker.status

    assert isinstance(full, Denied)
    assert ["half_open", "closed"] == [before, after]


async def test_a_scope_can_be_forgotten_though_its_breaker_counted_a_rate_once() -> None:
    rate = {"breaker": {"failure_rate": 0.9, "window_calls": 50}}
    async with governed("99/s burst 99", scope=rate, max_scopes=1) as governor:
        take(governor, 1)[0].record(status=500)
        governor.reconfigure(config("99/s burst 99", max_scopes=1, idle_after="1s"))
        take(governor, 1)[0].record(status=200)
        await anyio.sleep(3600)

        granted(governor.try_permit("traffic"))


@pytest.mark.promise("R07")
async def test_what_was_used_of_the_cap_stays_used() -> None:
    async with governed("999/s burst 999", requests_per_minute=100) as governor:
        take(governor, 50)
        governor.reconfigure(config("999/s burst 999", requests_per_minute=55))
        take(governor, 5)
        denied = governor.try_permit("weather")

    assert isinstance(denied, Denied)
    assert Reason.REQUEST_CAP is denied.reason


@pytest.mark.promise("R08")
async def test_degraded_mode_counts_by_the_new_number_and_an_exemption_counts_at_once() -> None:
    async with governed("99/s burst 99", degraded_after_failures=9) as governor:
        for permit in take(governor, 3):
            permit.record(status=500)
        governor.reconfigure(
            config("99/s burst 99", degraded_after_failures=2, degraded_after_providers=1, degraded_cooldown="7s")
        )
        take(governor, 1)[0].record(status=500)
        paused = governor.try_permit("weather")
        governor.reconfigure(config("99/s burst 99", degraded_exempt=["weather"]))
        exempt = governor.try_permit("weather")

    assert Denied("weather", Reason.DEGRADED, 7.0) == paused
    granted(exempt)


@pytest.mark.promise("R05")
async def test_a_retry_budget_that_changes_remembers_what_was_taken_out_and_is_shared_as_before() -> None:
    def budgets(floor: int) -> Config:
        own = {"retry_budget": {"floor": 7}}
        provider = {"retry_budget": {"share": 0.0, "floor": floor, "window": "1h"}}
        return Config.from_mapping({"outbound": {"weather": provider, "weather:get": own}})

    async with Governor(budgets(3), clock=loop_clock()) as governor:
        for method in ("get", "put"):
            take(governor, 1, f"weather:{method}")
            governor.plan_retry("weather", method, attempt=1)
        governor.reconfigure(budgets(4))
        pauses = [governor.plan_retry("weather", method, attempt=1).delay for method in ("get", "put", "get", "put")]

    assert [False, False, True, True] == [pause is None for pause in pauses]


@pytest.mark.promise("R01")
async def test_a_section_that_appears_or_vanishes_counts_at_once_for_scopes_that_there_are() -> None:
    with_section = Config.from_mapping({"outbound": {"weather": {"limits": ["1/hour burst 10"]}}})
    async with Governor(Config.from_mapping({}), clock=loop_clock()) as governor:
        take(governor, 50)
        governor.reconfigure(with_section)
        appeared = left(governor)
        governor.reconfigure(Config.from_mapping({}))

        assert [[5], [50]] == [appeared, left(governor)]


async def test_fewer_scopes_are_kept_as_soon_as_there_is_need_of_room() -> None:
    async with governed("99/s burst 99", idle_after="1s") as governor:
        for number in range(10):
            take(governor, 1, f"scope-{number}")[0].record(status=200)
        governor.reconfigure(config("99/s burst 99", idle_after="1s", max_scopes=3))
        await anyio.sleep(60)
        granted(governor.try_permit("weather"))

        assert 3 == len(governor.statistics().scopes)


# Who waits.


@pytest.mark.promise("R04")
@pytest.mark.parametrize(
    ("before", "after", "served"),
    [
        ("1/hour burst 1", "1/s burst 1", [1.0, 2.0, 3.0]),
        ("1/hour burst 1", "1/minute burst 1", [60.0, 120.0, 180.0]),
        ("1/s burst 1", "1/minute burst 1", [60.0, 120.0, 180.0]),
        ("1 per hour strict", "9 per hour strict", [0.0, 0.0, 0.0]),
        ("1 in flight", "3 in flight", [0.0, 0.0, 5.0]),
        ("1/hour burst 1", "3 in flight", [0.0, 0.0, 0.0]),
    ],
)
async def test_those_who_wait_go_on_waiting_and_are_answered_under_the_new_limits(
    before: str, after: str, served: list[float]
) -> None:
    answers: list[object] = []
    async with governed(before) as governor, anyio.create_task_group() as callers:
        permit = granted(governor.try_permit("weather"))
        for _ in range(3):
            callers.start_soon(hold, governor, answers)
        await anyio.wait_all_tasks_blocked()
        governor.reconfigure(config(after))
        start = anyio.current_time()
        await anyio.sleep(5)
        permit.record(status=200)

    assert served == pytest.approx([cast("float", answer) - start for answer in answers], abs=1e-5)


async def hold(governor: Governor, answers: list[object]) -> None:
    async with governor.permit("weather"):
        answers.append(anyio.current_time())
        await anyio.sleep(9)


@pytest.mark.promise("R04", "R10")
@pytest.mark.parametrize("timeout", [None, 36_000.0])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("5/hour burst 5", "2/s burst 2"),
        ("5 per hour strict", "2 per second strict"),
        ("5 in flight", "2 in flight"),
    ],
)
async def test_a_call_that_waits_for_more_than_a_limit_can_now_give_is_denied_and_does_not_block_the_queue(
    before: str, after: str, timeout: float | None
) -> None:
    answers: dict[int, list[object]] = {cost: [] for cost in (4, 1, 3)}
    async with governed(before) as governor, anyio.create_task_group() as callers:
        permits = take(governor, 5)
        for cost, answer in answers.items():
            callers.start_soon(wait_for, governor, answer, cost, timeout)
            await anyio.wait_all_tasks_blocked()
        governor.reconfigure(config(after))
        for permit in permits:
            permit.record(status=200)

    assert [[CostExceedsCapacity], [CostExceedsCapacity]] == [answers[4], answers[3]]
    assert [float] == [type(answer) for answer in answers[1]]


async def wait_for(governor: Governor, answers: list[object], cost: int, timeout: float | None) -> None:
    await wait(governor, answers, cost=cost, timeout=timeout)


@pytest.mark.promise("R04")
async def test_a_call_that_would_now_wait_longer_than_its_timeout_is_denied_at_once() -> None:
    answers: list[object] = []
    async with governed("1/s burst 1") as governor, anyio.create_task_group() as callers:
        take(governor, 1)
        callers.start_soon(wait_for, governor, answers, 1, 30.0)
        await anyio.wait_all_tasks_blocked()
        governor.reconfigure(config("1/hour burst 1"))
        await anyio.wait_all_tasks_blocked()
        told = list(answers)

    assert ["RateLimited"] == [getattr(answer, "__name__", answer) for answer in told]


async def test_a_shorter_queue_keeps_those_who_are_in_it() -> None:
    answers: list[object] = []
    async with governed("1/s burst 1") as governor, anyio.create_task_group() as callers:
        take(governor, 1)
        for _ in range(3):
            callers.start_soon(wait_for, governor, answers, 1, None)
        await anyio.wait_all_tasks_blocked()
        governor.reconfigure(config("1/s burst 1", max_waiting=1))
        callers.start_soon(wait_for, governor, answers, 1, None)

    assert ["Overloaded", float, float, float] == [getattr(answer, "__name__", type(answer)) for answer in answers]


# How it is called.


async def test_the_same_settings_again_change_nothing_that_could_be_seen() -> None:
    said = {"limits": ["1/s burst 9", "9 per minute strict", "9 in flight"], "breaker": {"failures": 3}}
    same = Config.from_mapping({"outbound": {"default": said}})
    async with Governor(same, clock=loop_clock()) as governor:
        permits = take(governor, 4)
        permits[0].record(status=500)
        before = governor.statistics()
        governor.reconfigure(Config.from_mapping({"outbound": {"default": said}}))
        after = msgspec.structs.replace(governor.statistics(), now=before.now)
        for permit in permits[1:3]:
            permit.record(status=500)
        opened = governor.statistics().scopes["weather"].breaker

    assert before == after
    assert "open" == opened.status


@pytest.mark.promise("R54")
async def test_another_thread_may_change_settings() -> None:
    async with governed("1/hour burst 1") as governor:
        take(governor, 1)
        await anyio.to_thread.run_sync(governor.reconfigure, config("1/hour burst 1", "9 in flight"))

        assert [0, 9] == left(governor)


@pytest.mark.promise("R54")
async def test_another_loop_may_change_settings() -> None:
    async def change() -> None:
        governor.reconfigure(config("1/hour burst 1", "9 in flight"))

    async with governed("1/hour burst 1") as governor:
        take(governor, 1)
        await anyio.to_thread.run_sync(lambda: anyio.run(change))

        assert [0, 9] == left(governor)


@pytest.mark.promise("R55")
async def test_before_it_is_entered_and_after_it_is_left_nothing_can_be_changed() -> None:
    governor = governed("1/hour burst 1")
    with pytest.raises(UsageError, match="not running"):
        governor.reconfigure(config("2/hour burst 2"))
    async with governor:
        take(governor, 1)
    with pytest.raises(UsageError, match="has been closed"):
        governor.reconfigure(config("2/hour burst 2"))
    with pytest.raises(UsageError, match="has been closed"):
        await anyio.to_thread.run_sync(governor.reconfigure, config("2/hour burst 2"))

    assert config("1/hour burst 1") == governor.config


async def test_what_is_no_config_changes_nothing() -> None:
    async with governed("1/hour burst 3") as governor:
        take(governor, 1)
        with pytest.raises(AttributeError):
            governor.reconfigure(cast("Config", None))
        take(governor, 1)

        assert config("1/hour burst 3") == governor.config
        assert [1] == left(governor)


@contextmanager
def interrupted(policy: type, method: str, by: Callable[[], object]) -> Iterator[None]:
    """Within the block, a signal handler runs once in the middle of this method of any such policy."""
    original = getattr(policy, method)

    def interrupt(*arguments: object) -> object:
        setattr(policy, method, original)
        result = original(*arguments)
        signal.raise_signal(signal.SIGUSR1)
        return result

    before = signal.signal(signal.SIGUSR1, lambda *_: by())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy, method, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGUSR1, before)


@pytest.mark.promise("R03")
async def test_a_signal_handler_may_change_settings_in_the_middle_of_a_decision() -> None:
    async with governed("5 in flight", "9 in flight") as governor:
        kept = take(governor, 1)
        with interrupted(InFlightPolicy, "spend", lambda: governor.reconfigure(config("7 in flight", "8 in flight"))):
            permit = granted(governor.try_permit("weather"))
        await anyio.wait_all_tasks_blocked()
        changed = left(governor)
        permit.record(status=200)

        assert [[5, 6], [6, 7]] == [changed, left(governor)]
        assert not kept[0].reported


@pytest.mark.promise("R55")
async def test_an_actor_that_crashes_in_the_moment_of_the_change_goes_on_under_the_new_settings() -> None:
    def fail(*_: object) -> None:
        raise ArithmeticError("injected")

    async with governed("5 in flight") as governor:
        permits = take(governor, 3)
        elsewhere(permits[0].record, status=200)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(BreakerPolicy, "record", fail)
            governor.reconfigure(config("4 in flight", "50/s burst 50"))
        await anyio.sleep(5)

        assert [2, 50] == left(governor)
