"""When does everything pause, for how long, and who goes on?"""

import anyio
import pytest

from governor import Config, DegradedMode, Denied, Governor, Permit, Reason, RequestCapExceeded
from governor.testing import loop_clock

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R08")]


def governed(*limits: str, **global_: object) -> Governor:
    return Governor(
        Config.from_mapping(
            {"global": global_, "outbound": {"default": {"limits": limits, "breaker": {"failures": 10**6}}}},
        ),
        clock=loop_clock(),
    )


def granted(answer: Permit | Denied) -> Permit:
    assert isinstance(answer, Permit), answer
    return answer


async def fail(governor: Governor, times: int) -> None:
    """Failures in a row, spread over many providers."""
    for number in range(times):
        granted(governor.try_permit(f"provider{number % 4}")).record(error=TimeoutError())


async def test_failures_in_a_row_anywhere_pause_everything() -> None:
    async with governed() as governor:
        await fail(governor, 10)
        refusals = [governor.try_permit(scope) for scope in ("provider1", "never.seen.before")]
        spells = governor.statistics().degraded_spells

    assert [Denied(scope, Reason.DEGRADED, 60.0) for scope in ("provider1", "never.seen.before")] == refusals
    assert 1 == spells


async def test_one_success_anywhere_breaks_the_row() -> None:
    async with governed() as governor:
        await fail(governor, 9)
        granted(governor.try_permit("weather")).record(status=200)
        await fail(governor, 9)
        granted(governor.try_permit("weather"))


async def test_mistakes_of_the_caller_do_not_pause_anything() -> None:
    async with governed() as governor:
        for _ in range(50):
            granted(governor.try_permit("weather")).record(status=404)
        granted(governor.try_permit("weather"))


@pytest.mark.promise("R07", "R08")
async def test_reaching_the_global_cap_pauses_everything() -> None:
    async with governed(requests_per_minute=5) as governor:
        for number in range(5):
            granted(governor.try_permit(f"provider{number}")).record(status=200)
        await anyio.sleep(1)
        at_the_cap = governor.try_permit("weather")
        await anyio.sleep(1)
        paused = governor.try_permit("weather")

    assert Denied("weather", Reason.REQUEST_CAP, 60.0) == at_the_cap
    assert Denied("weather", Reason.DEGRADED, 59.0) == paused
    assert RequestCapExceeded is type(at_the_cap.exception())


@pytest.mark.promise("R07", "R08")
async def test_a_line_that_meets_the_cap_pauses_everything_as_well() -> None:
    async with governed("1/s burst 1", requests_per_minute=3) as governor, anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(_use, governor, "weather", None)
        await anyio.sleep(4)
        spells, paused = governor.statistics().degraded_spells, governor.try_permit("traffic")
        tasks.cancel_scope.cancel()

    assert 1 == spells
    assert isinstance(paused, Denied)
    assert Reason.DEGRADED is paused.reason


@pytest.mark.promise("R07")
async def test_what_another_limit_refuses_does_not_use_the_cap_up() -> None:
    async with governed("1/minute burst 1", requests_per_minute=5) as governor:
        granted(governor.try_permit("weather"))
        for _ in range(100):
            refusal = governor.try_permit("weather")
            assert isinstance(refusal, Denied)
            assert Reason.RATE_LIMIT is refusal.reason
        statistics = governor.statistics()
        for number in range(4):
            granted(governor.try_permit(f"provider{number}"))

    assert (1, 0) == (statistics.requests_last_minute, statistics.degraded_spells)


async def test_it_ends_by_itself_at_its_instant() -> None:
    async with governed() as governor:
        await fail(governor, 10)
        await anyio.sleep(59.99)
        refusal = governor.try_permit("weather")
        await anyio.sleep(0.01001)
        granted(governor.try_permit("weather"))
        rest = governor.statistics().degraded_for

    assert isinstance(refusal, Denied)
    assert 0.01 == pytest.approx(refusal.retry_after)
    assert 0.0 == rest


async def test_outcomes_during_the_pause_do_not_make_it_longer() -> None:
    async with governed() as governor:
        late = [granted(governor.try_permit("weather")) for _ in range(40)]
        await fail(governor, 10)
        await anyio.sleep(30)
        for permit in late[:20]:
            permit.record(status=500)
        await anyio.sleep(30.001)
        for permit in late[20:]:
            permit.record(status=500)
        granted(governor.try_permit("weather"))
        spells = governor.statistics().degraded_spells

    assert 1 == spells


async def test_exempt_providers_go_on() -> None:
    async with governed(degraded_exempt=["weather"]) as governor:
        granted(governor.try_permit("weather", "GET"))
        await fail(governor, 10)
        granted(governor.try_permit("weather", "GET"))
        granted(governor.try_permit("weather", "POST"))
        other = governor.try_permit("weatherman", "GET")

    assert isinstance(other, Denied)
    assert Reason.DEGRADED is other.reason


async def test_who_can_wait_is_served_after_the_pause_and_who_cannot_is_told_the_rest() -> None:
    times: list[float] = []
    async with governed() as governor, anyio.create_task_group() as tasks:
        await fail(governor, 10)
        await anyio.sleep(20)
        tasks.start_soon(_use, governor, "weather", times)
        with pytest.raises(DegradedMode) as caught:
            async with governor.permit("weather", timeout=39.9):
                pass

    assert 40.0 == pytest.approx(caught.value.retry_after)
    assert [60.0] == pytest.approx(times, abs=0.001)


async def test_a_cooldown_is_as_long_as_it_is_set() -> None:
    async with governed(degraded_after_failures=2, degraded_cooldown="5s") as governor:
        await fail(governor, 2)
        refusal = governor.try_permit("weather")

    assert Denied("weather", Reason.DEGRADED, 5.0) == refusal


async def _use(governor: Governor, scope: str, times: list[float] | None) -> None:
    async with governor.permit(scope):
        if times is not None:
            times.append(anyio.current_time())
