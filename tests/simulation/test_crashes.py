"""What a crash of one actor costs, and which calls."""

from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest

from governor import Denied, Governor, Overloaded, Permit, PermitDenied, Reason
from governor.policies.breakers.breaker import BreakerPolicy
from governor.policies.gcra import TokenBucketPolicy
from governor.policies.in_flight import InFlightPolicy
from governor.policies.request_cap import RequestCapPolicy
from governor.policies.retry_budget import RetryBudgetPolicy
from governor.policies.windows.window import StrictWindowPolicy
from tests.support.answers import granted
from tests.support.governors import actor_of
from tests.support.governors import in_virtual_time as governed

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R55")]


class InjectedError(Exception):
    """What a policy would never raise by itself."""


@contextmanager
def failing(policy: type, method: str) -> Iterator[None]:
    """Within the block this method of every such policy raises."""

    def fail(*_: object, **__: object) -> object:
        raise InjectedError(method)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy, method, fail)
        yield


async def wait(governor: Governor, scope: str, answers: list[object]) -> None:
    try:
        async with governor.permit(scope):
            answers.append("granted")
    except PermitDenied as refusal:
        answers.append(refusal)


async def crash(governor: Governor, scope: str = "weather") -> Permit | Denied:
    """Kills the actor of a scope with an ask, and lets the supervisor look after it."""
    with failing(TokenBucketPolicy, "earliest"):
        answer = governor.try_permit(scope, cost=2)
    await anyio.wait_all_tasks_blocked()
    return answer


async def test_a_scope_that_is_closed_while_it_grants_denies_every_later_call_as_shutting_down() -> None:
    """By a signal handler, or by the code of a limit."""
    async with governed("9 per minute strict") as governor:
        granted(governor.try_permit("weather")).record(status=200)
        actor = actor_of(governor, "weather")
        with pytest.MonkeyPatch.context() as patch:
            spend = StrictWindowPolicy.spend

            def close_and_spend(*arguments: object) -> int:
                actor.close()
                return spend(*arguments)  # type: ignore[arg-type] # passed on as they are

            patch.setattr(StrictWindowPolicy, "spend", close_and_spend)
            governor.try_permit("weather")
        answers = [governor.try_permit("weather") for _ in range(2)]

    assert [Denied("weather", Reason.SHUTTING_DOWN, None)] * 2 == answers


async def test_a_call_to_a_crashed_scope_is_denied_as_overloaded() -> None:
    async with governed("1/minute burst 9") as governor:
        granted(governor.try_permit("weather"))
        answer = await crash(governor)

    assert Denied("weather", Reason.OVERLOADED, 1.0) == answer


async def test_so_is_a_call_that_waits() -> None:
    answers: list[object] = []
    async with governed("1/minute burst 1") as governor, anyio.create_task_group() as tasks:
        granted(governor.try_permit("weather"))
        for _ in range(3):
            tasks.start_soon(wait, governor, "weather", answers)
        await anyio.wait_all_tasks_blocked()
        await crash(governor)

    assert [Overloaded] * 3 == [type(answer) for answer in answers]


async def test_an_ask_that_finds_the_crashed_actor_before_its_supervisor_is_answered() -> None:
    async with governed("1/minute burst 9") as governor:
        granted(governor.try_permit("weather"))
        with failing(TokenBucketPolicy, "earliest"):
            governor.try_permit("weather", cost=2)
        answer = governor.try_permit("weather")

    assert isinstance(answer, Denied)
    assert Reason.OVERLOADED is answer.reason


@pytest.mark.promise("R02")
async def test_tokens_that_were_spent_stay_spent() -> None:
    async with governed("1/minute burst 3") as governor:
        granted(governor.try_permit("weather"))
        granted(governor.try_permit("weather"))
        await crash(governor)
        answers = [governor.try_permit("weather"), governor.try_permit("weather")]

    assert [Permit, Denied] == [type(answer) for answer in answers]


async def test_what_is_under_way_stays_under_way() -> None:
    async with governed("2 in flight", "9/minute burst 9") as governor:
        first, second = granted(governor.try_permit("weather")), granted(governor.try_permit("weather"))
        await crash(governor)
        full = governor.try_permit("weather")
        first.record(status=200)
        free = governor.try_permit("weather")

    assert isinstance(full, Denied)
    assert Reason.CONCURRENCY is full.reason
    assert not second.reported
    granted(free)


async def test_an_open_breaker_stays_open() -> None:
    async with governed("9/minute burst 9") as governor:
        for _ in range(5):
            granted(governor.try_permit("weather")).record(status=500)
        await crash(governor)
        answer = governor.try_permit("weather")

    assert isinstance(answer, Denied)
    assert (Reason.CIRCUIT_OPEN, 60.0) == (answer.reason, answer.retry_after)


@pytest.mark.parametrize(
    ("policy", "method"),
    [
        (BreakerPolicy, "commit"),
        (BreakerPolicy, "earliest"),
        (TokenBucketPolicy, "commit"),
        (TokenBucketPolicy, "earliest"),
        (StrictWindowPolicy, "commit"),
        (InFlightPolicy, "commit"),
        (RequestCapPolicy, "commit"),
        (RequestCapPolicy, "earliest"),
        (RetryBudgetPolicy, "deposit"),
    ],
)
async def test_an_ask_that_crashes_spends_nothing(policy: type, method: str) -> None:
    limits = ("5/minute burst 5", "5 per minute strict", "5 in flight")
    async with governed(*limits, requests_per_minute=5) as governor:
        permit = granted(governor.try_permit("weather"))
        with failing(policy, method), pytest.raises(Overloaded):
            async with governor.permit("weather", timeout=0, attempt=1, cost={"requests": 2}):
                pass
        await anyio.wait_all_tasks_blocked()
        permit.give_back()
        statistics = governor.statistics()

    assert [5, 5, 5] == [limit.available for limit in statistics.scopes["weather"].limits]
    assert 0 == statistics.requests_last_minute


@pytest.mark.parametrize(
    ("policy", "method"), [(StrictWindowPolicy, "spend"), (InFlightPolicy, "spend"), (RequestCapPolicy, "commit")]
)
async def test_the_plainest_ask_that_crashes_spends_nothing(policy: type, method: str) -> None:
    limits = ("5/minute burst 5", "5 per minute strict", "5 in flight")
    async with governed(*limits, requests_per_minute=5) as governor:
        permit = granted(governor.try_permit("weather"))
        await anyio.sleep(0.001)  # At the same instant, the cap would only count down.
        with failing(policy, method):
            answer = governor.try_permit("weather")
        await anyio.wait_all_tasks_blocked()
        permit.give_back()
        statistics = governor.statistics()

    assert Denied("weather", Reason.OVERLOADED, 1.0) == answer
    assert [5, 5, 5] == [limit.available for limit in statistics.scopes["weather"].limits]
    assert 0 == statistics.requests_last_minute


async def test_an_outcome_that_crashes_frees_its_place_all_the_same() -> None:
    async with governed("1 in flight", "9/minute burst 9", "9 per minute strict") as governor:
        permit = granted(governor.try_permit("weather"))
        with failing(BreakerPolicy, "record"):
            permit.record(status=200)
        await anyio.wait_all_tasks_blocked()
        granted(governor.try_permit("weather"))


async def test_other_scopes_do_not_notice() -> None:
    answers: list[object] = []
    async with governed("1/minute burst 1") as governor, anyio.create_task_group() as tasks:
        for scope in ("weather", "traffic"):
            granted(governor.try_permit(scope))
            tasks.start_soon(wait, governor, scope, answers)
        await anyio.wait_all_tasks_blocked()
        await crash(governor)
        other = governor.statistics().scopes["traffic"]

    assert 1 == other.waiting
    assert [Overloaded, str] == [type(answer) for answer in answers]
    assert 60.0 == pytest.approx(anyio.current_time(), abs=0.001)


async def crash_often(governor: Governor, times: int) -> None:
    for _ in range(times):
        await crash(governor)


async def test_a_scope_that_crashes_now_and_then_comes_back_every_time() -> None:
    async with governed("1/s burst 9") as governor:
        granted(governor.try_permit("weather"))
        for _ in range(30):
            await crash(governor)
            await anyio.sleep(12.1)
            granted(governor.try_permit("weather"))


@pytest.mark.promise("R10")
async def test_a_scope_that_crashes_too_often_stays_down_and_says_how_long() -> None:
    async with governed("1/s burst 9") as governor:
        granted(governor.try_permit("weather"))
        await crash_often(governor, 6)
        down: list[Permit | Denied] = [governor.try_permit("weather")]
        await anyio.sleep(45)
        down.append(governor.try_permit("weather"))
        other = governor.try_permit("traffic")
        await anyio.sleep(15.001)
        back = governor.try_permit("weather")

    refusals = [answer for answer in down if isinstance(answer, Denied)]
    assert [Reason.OVERLOADED, Reason.OVERLOADED] == [refusal.reason for refusal in refusals]
    assert [60.0, 15.0] == pytest.approx([refusal.retry_after for refusal in refusals])
    granted(other)
    granted(back)


async def test_an_outcome_that_crashes_a_scope_that_is_down_does_not_make_it_promise_too_much() -> None:
    async with governed("1/s burst 9") as governor:
        permit = granted(governor.try_permit("weather"))
        await crash_often(governor, 6)
        with failing(BreakerPolicy, "record"):
            permit.record(status=500)
        down = governor.try_permit("weather")
        await anyio.sleep(60.001)
        back = governor.try_permit("weather")

    assert isinstance(down, Denied)
    assert 60.0 == pytest.approx(down.retry_after)
    granted(back)


async def test_a_scope_that_crashes_at_rest_comes_back() -> None:
    async with governed("1/minute burst 9", idle_after="10s") as governor:
        permit = granted(governor.try_permit("weather"))
        await anyio.sleep(100)
        with failing(BreakerPolicy, "record"):
            permit.record(status=500)
        await anyio.wait_all_tasks_blocked()
        granted(governor.try_permit("weather"))


async def test_a_scope_that_falls_asleep_while_it_is_down_goes_on_as_usual() -> None:
    async with governed("1/minute burst 9", idle_after="10s") as governor:
        granted(governor.try_permit("weather"))
        await crash_often(governor, 6)
        await anyio.sleep(1000)
        granted(governor.try_permit("weather"))
        await anyio.sleep(1000)
        tasks = anyio.get_running_tasks()

    assert [] == [task.name for task in tasks if task.name == "governor weather"]


async def test_policies_that_cannot_even_say_where_they_stand_go_on_as_they_are() -> None:
    async with governed("1/minute burst 2") as governor:
        granted(governor.try_permit("weather"))
        with failing(BreakerPolicy, "state"):
            await crash(governor)
        answers = [governor.try_permit("weather"), governor.try_permit("weather")]

    assert [Permit, Denied] == [type(answer) for answer in answers]


async def test_a_crash_in_the_last_moment_does_not_keep_the_governor_from_closing() -> None:
    async with governed("1/minute burst 9") as governor:
        permit = granted(governor.try_permit("weather"))
        with failing(TokenBucketPolicy, "earliest"):
            governor.try_permit("weather", cost=2)
    with failing(BreakerPolicy, "record"):
        permit.record(status=500)
    answer = governor.try_permit("weather")

    assert isinstance(answer, Denied)
    assert Reason.SHUTTING_DOWN is answer.reason
