"""Degraded mode and the cap in virtual time: what begins a pause, how long it lasts, who goes on, and how the cap paces."""

from contextlib import suppress
from types import MappingProxyType

import anyio
import anyio.lowlevel
import pytest

from governor import Config, DegradedMode, Denied, Governor, Permit, PermitDenied, Reason, RequestCapExceeded
from governor.testing import loop_clock
from tests.support.answers import granted

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R08")]


def governed(*limits: str, **global_: object) -> Governor:
    return Governor(config(*limits, **global_), clock=loop_clock())


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
async def test_more_than_half_of_the_cap_in_excess_of_it_pauses_everything() -> None:
    async with governed(requests_per_minute=10) as governor:
        for number in range(10):
            granted(governor.try_permit(f"provider{number}")).record(status=200)
        await anyio.sleep(1)
        capped = [governor.try_permit("weather") for _ in range(5)]
        before = governor.statistics()
        last = governor.try_permit("weather")
        await anyio.sleep(1)
        paused = governor.try_permit("weather")
        during = governor.statistics()

    assert [Denied("weather", Reason.REQUEST_CAP, 59.0)] * 5 == capped
    assert Denied("weather", Reason.REQUEST_CAP, 60.0) == last
    assert Denied("weather", Reason.DEGRADED, 59.0) == paused
    assert RequestCapExceeded is type(last.exception())
    assert (0, None, ()) == (before.degraded_spells, before.degraded_cause, before.degraded_providers)
    assert (1, "cap", ("weather",)) == (during.degraded_spells, during.degraded_cause, during.degraded_providers)


@pytest.mark.promise("R07", "R08")
async def test_who_is_denied_for_want_of_time_counts_as_excess_once_for_each_ask() -> None:
    async with governed(requests_per_minute=10) as governor:
        for _ in range(10):
            granted(governor.try_permit("weather"))
        for _ in range(5):
            with pytest.raises(RequestCapExceeded):
                async with governor.permit("weather", timeout=59.9):
                    pass
        before = governor.statistics().degraded_spells
        with pytest.raises(RequestCapExceeded):
            async with governor.permit("weather", timeout=59.9):
                pass
        spells = governor.statistics().degraded_spells

    assert (0, 1) == (before, spells)


@pytest.mark.promise("R07", "R08")
async def test_a_waiter_whom_others_leave_no_time_counts_as_excess_when_it_is_denied() -> None:
    times: list[float] = []
    async with governed(requests_per_minute=2) as governor, anyio.create_task_group() as tasks:
        granted(governor.try_permit("weather"))
        await anyio.sleep(50)
        granted(governor.try_permit("weather"))
        for scope in ("traffic", "news"):
            tasks.start_soon(_use, governor, scope, times, 11.0)
        await anyio.sleep(10)
        before = governor.statistics()
        granted(governor.try_permit("weather"))  # The place that they had waited for.
        await anyio.sleep(0.1)
        after = governor.statistics()

    assert (0, {}) == (before.degraded_spells, before.counters.denied)
    assert (1, {"global_request_cap_exceeded": 2}) == (after.degraded_spells, after.counters.denied)
    assert (("news", "traffic"), []) == (after.degraded_providers, times)


@pytest.mark.promise("R07", "R08", "R17")
async def test_calls_that_wait_for_the_cap_are_paced_by_it_and_none_is_paused() -> None:
    times: list[float] = []
    async with governed(requests_per_minute=10) as governor, anyio.create_task_group() as tasks:
        for number in range(95):
            tasks.start_soon(_use, governor, f"provider{number % 7}", times, None)
        await anyio.sleep(600)
        spells, denied = governor.statistics().degraded_spells, governor.statistics().counters.denied

    assert [60.0 * (number // 10) for number in range(95)] == pytest.approx(sorted(times), abs=0.01)
    assert (0, {}) == (spells, denied)


@pytest.mark.promise("R07", "R08", "R17")
@pytest.mark.parametrize(
    ("share", "at_least"), [(1.0, 0.99), (1.01, 0.95), (1.1, 0.95), (1.4, 0.95), (2.0, 0.5)], ids=lambda value: str(value)
)
async def test_asking_for_more_than_the_cap_sends_about_as_much_as_asking_for_the_cap(share: float, at_least: float) -> None:
    """Asks at even distances, for ten minutes; a denied call does not ask again."""
    async with governed(requests_per_minute=100) as governor:
        sent, wanted = 0, round(100 * share)
        for _ in range(wanted * 10):
            sent += isinstance(governor.try_permit("weather"), Permit)
            await anyio.sleep(60 / wanted)

    assert at_least * 1_000 <= sent <= 1_100


@pytest.mark.promise("R07", "R08")
async def test_a_loop_that_never_waits_is_stopped_at_once() -> None:
    async with governed() as governor:
        reasons = [answer.reason for _ in range(3000) if isinstance(answer := governor.try_permit("weather"), Denied)]

    assert [Reason.REQUEST_CAP] * 501 + [Reason.DEGRADED] * 1499 == reasons


@pytest.mark.promise("R08")
async def test_only_what_nothing_but_the_cap_has_denied_is_excess() -> None:
    async with governed("1/minute burst 10", requests_per_minute=10) as governor:
        for _ in range(1000):
            governor.try_permit("weather")
        for _ in range(1000):
            governor.try_permit("weather", cost=11)
        spells = governor.statistics().degraded_spells

    assert 0 == spells


@pytest.mark.promise("R08")
async def test_what_a_bucket_denies_as_well_is_no_excess_even_where_the_cap_denies_for_longer() -> None:
    async with governed("1/s burst 10", requests_per_minute=10) as governor:
        answers = [governor.try_permit("weather") for _ in range(1000)]
        spells = governor.statistics().degraded_spells

    assert {Denied("weather", Reason.REQUEST_CAP, 60.0)} == {answer for answer in answers if isinstance(answer, Denied)}
    assert 0 == spells


@pytest.mark.promise("R08")
@pytest.mark.parametrize("off", ["degraded_after_excess", "requests_per_minute"])
async def test_excess_may_be_off_and_so_may_the_cap(off: str) -> None:
    async with governed(**{off: "off"}) as governor:
        answers = [governor.try_permit("weather") for _ in range(5000)]
        statistics = governor.statistics()

    sent = 1000 if off == "degraded_after_excess" else 5000
    assert (sent, sent, 0) == (
        sum(isinstance(answer, Permit) for answer in answers),
        statistics.requests_last_minute,
        statistics.degraded_spells,
    )


@pytest.mark.promise("R08")
async def test_failures_in_a_row_may_be_off() -> None:
    async with governed(degraded_after_failures="off") as governor:
        await fail(governor, 900)
        granted(governor.try_permit("weather"))


@pytest.mark.promise("R08", "R17")
async def test_one_dead_provider_stops_none_but_itself_whatever_its_methods() -> None:
    async with governed() as governor:
        for method in ("GET", "PUT", "POST"):
            for _ in range(50):
                granted(governor.try_permit("dead", method)).record(status=503)
        granted(governor.try_permit("weather"))


@pytest.mark.promise("R08", "R17")
async def test_many_dead_hosts_that_fail_once_each_pause_nothing() -> None:
    async with governed() as governor:
        for number in range(900):
            granted(governor.try_permit(f"hook{number}.example")).record(error=TimeoutError())
        granted(governor.try_permit("payments"))


@pytest.mark.promise("R08")
async def test_what_a_provider_with_an_open_breaker_adds_is_nothing_even_in_its_other_scopes() -> None:
    breaker = {"failures": 5, "open_for": "10s"}
    async with Governor(
        Config.from_mapping({"outbound": {"default": {"limits": [], "breaker": breaker}}}), clock=loop_clock()
    ) as governor:
        late = [granted(governor.try_permit("dead", "GET")) for _ in range(15)]
        for permit in late:
            permit.record(status=503)
        for _ in range(4):
            granted(governor.try_permit("dead", "POST")).record(status=503)
        await anyio.sleep(11)
        granted(governor.try_permit("dead", "GET")).record(status=503)  # A probe.
        for _ in range(4):
            granted(governor.try_permit("other")).record(status=503)
        still = governor.try_permit("weather")
        granted(governor.try_permit("other")).record(status=503)
        paused = governor.statistics()

    granted(still)
    assert (1, ("dead", "other")) == (paused.degraded_spells, paused.degraded_providers)


@pytest.mark.promise("R08")
async def test_a_provider_whose_breaker_has_closed_again_counts_again() -> None:
    breaker = {"failures": 5, "open_for": "10s", "successes": 1}
    async with Governor(
        Config.from_mapping({"outbound": {"default": {"limits": [], "breaker": breaker}}}), clock=loop_clock()
    ) as governor:
        for _ in range(5):
            granted(governor.try_permit("dead", "GET")).record(status=503)
        await anyio.sleep(11)
        granted(governor.try_permit("dead", "GET")).record(status=200)
        for number in range(10):
            granted(governor.try_permit(("dead", "other")[number % 2], "POST")).record(status=503)
        paused = governor.statistics()

    assert (1, ("dead", "other")) == (paused.degraded_spells, paused.degraded_providers)


@pytest.mark.promise("R08", "R17")
async def test_a_healthy_provider_keeps_others_failures_from_stopping_it_as_long_as_that_is_recent() -> None:
    async with governed() as governor:
        granted(governor.try_permit("payments")).record(status=200)
        for _ in range(20):
            await fail(governor, 10)
            await anyio.sleep(1)
        granted(governor.try_permit("payments")).record(status=200)
        await anyio.sleep(1)
        await fail(governor, 10)
        await anyio.sleep(300)
        lately = governor.try_permit("payments")
        await fail(governor, 10)
        paused = governor.try_permit("payments")

    granted(lately)
    assert isinstance(paused, Denied)
    assert Reason.DEGRADED is paused.reason


@pytest.mark.promise("R08")
@pytest.mark.parametrize("case", ["failed last", "never answered", "exempt", "breaker open", "has failed elsewhere"])
async def test_a_provider_that_is_not_known_to_be_healthy_keeps_nothing(case: str) -> None:
    async with governed(degraded_exempt=["witness"] if case == "exempt" else []) as governor:
        if case != "never answered":
            granted(governor.try_permit("witness", "GET")).record(status=200)
        if case == "breaker open":
            governor.reconfigure(config(breaker={"failures": 1}))
        if case in ("failed last", "breaker open"):
            granted(governor.try_permit("witness", "GET")).record(status=500)
        governor.reconfigure(config(degraded_exempt=["witness"] if case == "exempt" else []))
        if case == "has failed elsewhere":
            granted(governor.try_permit("witness", "POST")).record(status=500)
        await fail(governor, 9)
        before = governor.statistics().degraded_spells
        if not before:
            await fail(governor, 1)
        spells = governor.statistics().degraded_spells

    assert 1 == spells


@pytest.mark.promise("R08")
async def test_with_one_provider_required_ten_failures_are_ten_failures() -> None:
    async with governed(degraded_after_providers=1) as governor:
        granted(governor.try_permit("payments")).record(status=200)
        for _ in range(10):
            granted(governor.try_permit("dead")).record(status=503)
        paused = governor.try_permit("payments")

    assert Denied("payments", Reason.DEGRADED, 60.0) == paused


@pytest.mark.promise("R07")
async def test_what_another_limit_denies_does_not_use_the_cap_up() -> None:
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


async def test_who_can_wait_is_served_after_the_pause_and_who_cannot_gets_the_rest_as_retry_after() -> None:
    times: list[float] = []
    async with governed() as governor, anyio.create_task_group() as tasks:
        await fail(governor, 10)
        await anyio.sleep(20)
        tasks.start_soon(_use, governor, "weather", times, None)
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


@pytest.mark.promise("R08")
async def test_an_operator_ends_a_pause_early_and_those_who_wait_go_on_at_once() -> None:
    times: list[float] = []
    async with governed() as governor, anyio.create_task_group() as tasks:
        await fail(governor, 10)
        for scope in ("weather", "traffic", "weather"):
            tasks.start_soon(_use, governor, scope, times, None)
        await anyio.sleep(20)
        governor.resume()
        await fail(governor, 9)  # The run begins anew.
        await anyio.lowlevel.checkpoint()
        rest = governor.statistics()
        granted(governor.try_permit("weather"))

    assert [20.0] * 3 == pytest.approx(times, abs=0.001)
    assert (0.0, 1, None) == (rest.degraded_for, rest.degraded_spells, rest.degraded_cause)


@pytest.mark.promise("R08")
async def test_a_pause_that_was_ended_early_does_not_end_the_next_one_early() -> None:
    async with governed() as governor:
        await fail(governor, 10)
        await anyio.sleep(20)
        governor.resume()
        await fail(governor, 10)
        await anyio.sleep(59.99)
        paused = governor.try_permit("weather")
        await anyio.sleep(0.01001)
        granted(governor.try_permit("weather"))

    assert isinstance(paused, Denied)
    assert Reason.DEGRADED is paused.reason


@pytest.mark.promise("R08")
async def test_resuming_without_a_pause_forgets_the_failures_and_the_excess() -> None:
    async with governed(requests_per_minute=18) as governor:
        await fail(governor, 9)
        governor.resume()
        await fail(governor, 9)
        for _ in range(9):
            governor.try_permit("weather")
        governor.resume()
        for _ in range(9):
            governor.try_permit("weather")
        spells = governor.statistics().degraded_spells

    assert 0 == spells


def config(*limits: str, breaker: object = MappingProxyType({"failures": 10**6}), **global_: object) -> Config:
    return Config.from_mapping({"global": global_, "outbound": {"default": {"limits": limits, "breaker": breaker}}})


async def _use(governor: Governor, scope: str, times: list[float], timeout: float | None = None) -> None:
    with suppress(PermitDenied):
        async with governor.permit(scope, timeout=timeout):
            times.append(anyio.current_time())
