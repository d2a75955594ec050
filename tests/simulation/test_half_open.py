"""How many calls pass a half-open breaker."""

import anyio
import pytest

from governor import CircuitOpen, Config, Denied, Governor, Permit, PermitDenied, Reason
from governor.testing import loop_clock
from tests.support.answers import granted

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R06")]


def governed(**breaker: object) -> Governor:
    return Governor(
        Config.from_mapping(
            {
                "global": {"degraded_after_failures": 10**6},
                "outbound": {"default": {"limits": [], "breaker": {"probes": 3, "successes": 2, **breaker}}},
            }
        ),
        clock=loop_clock(),
    )


async def trip(governor: Governor) -> None:
    for _ in range(5):
        granted(governor.try_permit("weather")).record(status=503)


@pytest.mark.parametrize("timeout", [0, 1.0])
async def test_of_a_hundred_tasks_that_arrive_at_the_same_instant_exactly_the_probes_go_through(timeout: float) -> None:
    through: list[Permit] = []
    denied: list[PermitDenied] = []
    start = anyio.Event()

    async def arrive(governor: Governor) -> None:
        await start.wait()
        try:
            async with governor.permit("weather", timeout=timeout) as permit:
                through.append(permit)
                await anyio.sleep(5)
        except CircuitOpen as refusal:
            denied.append(refusal)

    async with governed() as governor, anyio.create_task_group() as tasks:
        await trip(governor)
        for _ in range(100):
            tasks.start_soon(arrive, governor)
        await anyio.sleep(60)
        start.set()

    assert (3, 97) == (len(through), len(denied))


async def all_arrive(governor: Governor, number: int, seconds: float) -> list[float]:
    """So many calls at once, of this length: when they begin."""
    times: list[float] = []

    async def arrive() -> None:
        async with governor.permit("weather"):
            times.append(anyio.current_time())
            await anyio.sleep(seconds)

    async with anyio.create_task_group() as tasks:
        for _ in range(number):
            tasks.start_soon(arrive)
    return times


async def test_those_who_wait_follow_when_the_breaker_has_closed_twice_as_many_with_each_round_trip() -> None:
    async with governed() as governor:
        await trip(governor)
        times = await all_arrive(governor, 100, 5)

    # Three probes; two of them close it, and then the third does not count: three, and one more for each success.
    rounds = {60.0: 3, 65.0: 3, 70.0: 6, 75.0: 12, 80.0: 24, 85.0: 48, 90.0: 4}
    assert [time for time, calls in rounds.items() for _ in range(calls)] == pytest.approx(times, abs=0.001)


async def test_without_a_ramp_all_who_wait_follow_at_once() -> None:
    async with governed(ramp_up=False) as governor:
        await trip(governor)
        times = await all_arrive(governor, 100, 5)

    assert [60.0] * 3 + [65.0] * 97 == pytest.approx(times, abs=0.001)


@pytest.mark.parametrize("seconds", [0.2, 7.0, 50.0])
async def test_of_hundreds_that_wait_a_handful_goes_first_and_then_twice_as_many_with_each_round_trip(seconds: float) -> None:
    async with governed() as governor:
        await trip(governor)
        times = await all_arrive(governor, 300, seconds)
    # All calls of a round begin within microseconds, and end together.
    rounds = [sum(abs(time - 60 - number * seconds) < 0.01 for time in times) for number in range(9)]

    assert [3, 3, 6, 12, 24, 48, 96, 108, 0] == rounds


async def test_calls_on_the_ramp_that_never_end_do_not_hold_it_for_ever() -> None:
    async with governed(probes=2, successes=1, probe_deadline="30s") as governor:
        await trip(governor)
        await anyio.sleep(60)
        granted(governor.try_permit("weather")).record(status=200)
        hung = [granted(governor.try_permit("weather")) for _ in range(2)]
        refusal = governor.try_permit("weather")
        async with governor.permit("weather"):
            waited = anyio.current_time() - 60
        for permit in hung:
            permit.record(status=200)

    assert Denied("weather", Reason.CIRCUIT_OPEN, 1.0) == refusal
    assert 30.0 == pytest.approx(waited, abs=0.001)


async def test_a_call_on_the_ramp_that_is_forgotten_gives_its_place_back() -> None:
    async with governed(probes=1, successes=1) as governor:
        await trip(governor)
        await anyio.sleep(60)
        granted(governor.try_permit("weather")).record(status=200)
        granted(governor.try_permit("weather"))
        await anyio.wait_all_tasks_blocked()
        granted(governor.try_permit("weather"))


async def test_the_statistics_say_how_wide_the_ramp_is() -> None:
    async with governed(probes=2, successes=1) as governor:
        await trip(governor)
        await anyio.sleep(60)
        widths = []
        for _ in range(7):
            granted(governor.try_permit("weather")).record(status=200)
            widths.append(governor.statistics().scopes["weather"].breaker.ramp_up)

    assert [2, 3, 4, 5, None, None, None] == widths


async def test_healthy_calls_that_take_longer_than_the_deadline_of_a_probe_close_the_breaker() -> None:
    whole: list[float] = []
    denied: list[float] = []

    async def call(governor: Governor) -> None:
        try:
            async with governor.permit("weather", timeout=0):
                await anyio.sleep(90)
            whole.append(anyio.current_time())
        except CircuitOpen:
            denied.append(anyio.current_time())

    async with governed(probe_deadline="20s") as governor, anyio.create_task_group() as tasks:
        await trip(governor)
        await anyio.sleep(60)
        for _ in range(100):
            tasks.start_soon(call, governor)
            await anyio.sleep(5)
        breaker = governor.statistics().scopes["weather"].breaker

    assert ("closed", 100) == (breaker.status, len(whole) + len(denied))
    # The second probe ends 95 s after the cooling. Then the ramp begins, and its first call ends 90 s later.
    assert 60 + 95 + 90 >= max(denied)


@pytest.mark.promise("R06", "R17")
async def test_a_probe_that_streams_for_hours_closes_the_breaker_as_soon_as_its_answer_begins() -> None:
    async with governed(probes=1, successes=1, ramp_up=False) as governor:
        await trip(governor)
        await anyio.sleep(60)
        async with governor.permit("weather") as probe:
            probe.answered(status=200)
            statuses = [governor.statistics().scopes["weather"].breaker.status]
            await anyio.sleep(7200)
        statuses.append(governor.statistics().scopes["weather"].breaker.status)
        for _ in range(10):
            granted(governor.try_permit("weather"))

    assert ["closed", "closed"] == statuses


async def test_what_becomes_of_a_probe_after_its_answer_has_begun_is_not_counted_again() -> None:
    async with governed(probes=3, successes=3) as governor:
        await trip(governor)
        await anyio.sleep(60)
        probes = [granted(governor.try_permit("weather")) for _ in range(3)]
        probes[0].answered(status=200)
        probes[0].record(error=ConnectionResetError())
        probes[1].answered(status=200)
        probes[1].record(status=200)
        before = governor.statistics().scopes["weather"].breaker
        probes[2].answered(status=200)
        after = governor.statistics().scopes["weather"].breaker

    assert ("half_open", 2, "closed") == (before.status, before.successes, after.status)


async def test_a_call_that_answers_in_time_and_streams_for_hours_is_not_slow() -> None:
    async with governed(failures=1, slow_call="2s") as governor:
        async with governor.permit("weather") as permit:
            await anyio.sleep(1)
            permit.answered(status=200)
            await anyio.sleep(7200)
        quick = governor.statistics().scopes["weather"].breaker.status
        async with governor.permit("weather") as permit:
            await anyio.sleep(2)
            permit.answered(status=200)
        slow = governor.statistics().scopes["weather"].breaker.status

    assert ("closed", "open") == (quick, slow)


async def test_a_probe_whose_answer_begins_with_5xx_opens_it_again_although_its_body_goes_on() -> None:
    async with governed(probes=1, successes=1) as governor:
        await trip(governor)
        await anyio.sleep(60)
        async with governor.permit("weather") as probe:
            probe.answered(status=500)
            await anyio.sleep(10)
            refusal = governor.try_permit("weather")
            probe.record(status=502)
        openings = governor.statistics().scopes["weather"].counters.openings

    assert Denied("weather", Reason.CIRCUIT_OPEN, 62.0) == refusal
    assert 2 == openings


async def test_calls_that_stream_for_hours_ramp_up_by_the_beginning_of_their_answers() -> None:
    times: list[float] = []

    async def call(governor: Governor) -> None:
        async with governor.permit("weather") as permit:
            times.append(anyio.current_time())
            await anyio.sleep(1)
            permit.answered(status=200)
            await anyio.sleep(7200)

    async with governed() as governor, anyio.create_task_group() as tasks:
        await trip(governor)
        for _ in range(24):
            tasks.start_soon(call, governor)

    assert [60.0] * 3 + [61.0] * 3 + [62.0] * 6 + [63.0] * 12 == pytest.approx(times, abs=0.001)


async def test_one_failed_probe_opens_it_again_for_all_calls_and_for_longer() -> None:
    async with governed() as governor:
        await trip(governor)
        await anyio.sleep(60)
        probes = [granted(governor.try_permit("weather")) for _ in range(2)]
        probes[0].record(status=500)
        refusal = governor.try_permit("weather")
        probes[1].record(status=200)
        still = governor.try_permit("weather")

    assert Denied("weather", Reason.CIRCUIT_OPEN, 72.0) == refusal == still


async def test_an_outcome_from_before_the_breaker_opened_changes_nothing() -> None:
    async with governed() as governor:
        early = [granted(governor.try_permit("weather")) for _ in range(9)]
        late = [granted(governor.try_permit("weather")) for _ in range(9)]
        await trip(governor)
        await anyio.sleep(60)
        probes = [granted(governor.try_permit("weather")) for _ in range(3)]
        for permit in early[:3]:
            permit.record(status=200)
        half_open = governor.statistics().scopes["weather"].breaker
        for permit in early[3:]:
            permit.record(status=500)
        unmoved = governor.statistics().scopes["weather"].breaker
        for probe in probes[:2]:
            probe.record(status=200)
        for permit in late:
            permit.record(status=500)
        closed = governor.statistics().scopes["weather"].breaker

    assert 0 == closed.failures
    assert ["half_open", "half_open", "closed"] == [half_open.status, unmoved.status, closed.status]


async def test_a_probe_that_is_given_back_leaves_its_place_to_another() -> None:
    async with governed(probes=1, successes=1) as governor:
        await trip(governor)
        await anyio.sleep(60)
        granted(governor.try_permit("weather")).give_back()
        probe = granted(governor.try_permit("weather"))
        refusal = governor.try_permit("weather")
        probe.record(status=200)
        granted(governor.try_permit("weather"))

    assert isinstance(refusal, Denied)


async def test_a_probe_that_is_forgotten_leaves_its_place_to_another() -> None:
    async with governed(probes=1, successes=1) as governor:
        await trip(governor)
        await anyio.sleep(60)
        granted(governor.try_permit("weather"))
        await anyio.wait_all_tasks_blocked()
        granted(governor.try_permit("weather"))


async def test_a_probe_that_never_ends_does_not_hold_the_breaker_half_open_for_ever() -> None:
    async with governed(probes=1, successes=1, probe_deadline="30s") as governor:
        await trip(governor)
        await anyio.sleep(60)
        lost = granted(governor.try_permit("weather"))
        async with governor.permit("weather") as probe:
            waited = anyio.current_time() - 60
            probe.record(status=200)
        lost.record(status=500)
        breaker = governor.statistics().scopes["weather"].breaker

    assert 30.0 == pytest.approx(waited, abs=0.001)
    assert "closed" == breaker.status


async def test_a_cancelled_probe_is_neutral() -> None:
    async with governed(probes=1, successes=1) as governor:
        await trip(governor)
        await anyio.sleep(60)
        with anyio.CancelScope() as scope:
            async with governor.permit("weather"):
                scope.cancel()
                await anyio.sleep(1)
        granted(governor.try_permit("weather")).record(status=200)
        breaker = governor.statistics().scopes["weather"].breaker

    assert "closed" == breaker.status


async def test_a_call_that_can_wait_waits_for_the_outcome_of_a_probe() -> None:
    async with governed(probes=1, successes=1) as governor:
        await trip(governor)
        await anyio.sleep(60)
        probe = granted(governor.try_permit("weather"))
        refusal = governor.try_permit("weather")

        asked_at = anyio.current_time()
        served: list[float] = []

        async def wait() -> None:
            async with governor.permit("weather", timeout=5):
                served.append(anyio.current_time() - asked_at)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(wait)
            await anyio.sleep(2)
            probe.record(status=200)

    assert isinstance(refusal, Denied)
    assert 1.0 == refusal.retry_after
    assert [2.0, 2.0, 2.0] == pytest.approx(served)


async def test_a_call_that_waits_for_a_probe_is_denied_when_the_probe_fails_or_its_timeout_ends() -> None:
    async with governed(probes=1, successes=1) as governor:
        await trip(governor)
        await anyio.sleep(60)
        probe = granted(governor.try_permit("weather"))
        asked_at = anyio.current_time()
        denied: list[tuple[float, float | None]] = []

        async def wait(timeout: float) -> None:
            try:
                async with governor.permit("weather", timeout=timeout):
                    pass
            except CircuitOpen as refusal:
                denied.append((anyio.current_time() - asked_at, refusal.retry_after))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, 1)
            tasks.start_soon(wait, 5)
            await anyio.sleep(2)
            probe.record(status=500)

    assert [(1.0, 1.0), (2.0, 72.0)] == [pytest.approx(refusal) for refusal in denied]
