"""Circuit breakers that an operator opens and closes: what calls, waiters and the log are told."""

import logging
from datetime import timedelta
from functools import partial

import anyio
import pytest

from governor import Config, ConfigError, Denied, Governor, PermitDenied, Reason, UsageError
from governor.instrumentation import AnyEvent, BreakerChanged
from governor.testing import loop_clock
from tests.support.answers import granted, reason
from tests.support.governors import configured, in_virtual_time

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R06")]

LONG_IDLE = 25.0


async def wait(governor: Governor, answers: list[object], *, timeout: float | None = None) -> None:
    try:
        async with governor.permit("weather", timeout=timeout):
            answers.append(anyio.current_time())
    except PermitDenied as denied:
        answers.append((type(denied).__name__, anyio.current_time()))


async def test_a_paused_scope_denies_until_the_time_is_over_and_others_do_not() -> None:
    async with in_virtual_time() as governor:
        granted(governor.try_permit("weather")).record(status=200)
        governor.set_breaker("weather", open_for="5m")
        paused, other = governor.try_permit("weather"), governor.try_permit("news")
        await anyio.sleep(300)
        after = governor.try_permit("weather")

    assert isinstance(paused, Denied)
    assert (Reason.CIRCUIT_OPEN, 300.0) == (paused.reason, paused.retry_after)
    assert (None, None) == (reason(other), reason(after))


async def test_waiters_of_a_paused_scope_go_on_at_its_end_and_those_that_cannot_wait_so_long_are_denied_at_once() -> None:
    answers: list[object] = []
    async with in_virtual_time("1/10s burst 1") as governor, anyio.create_task_group() as tasks:
        start = anyio.current_time()
        granted(governor.try_permit("weather")).record(status=200)
        for timeout in (None, 60):
            tasks.start_soon(partial(wait, governor, answers, timeout=timeout))
        await anyio.sleep(1)
        governor.set_breaker("weather", open_for="5m")
        await anyio.sleep(1)
        early = list(answers)

    assert [("CircuitOpen", start + 1)] == early
    assert [start + 301] == [round(one, 3) for one in answers[1:] if isinstance(one, float)]


async def test_waiters_go_on_at_once_when_the_breaker_is_closed_by_hand() -> None:
    answers: list[object] = []
    async with in_virtual_time() as governor, anyio.create_task_group() as tasks:
        start = anyio.current_time()
        granted(governor.try_permit("weather")).record(status=200)
        governor.set_breaker("weather", open_for="5m")
        tasks.start_soon(wait, governor, answers)
        await anyio.sleep(7)
        governor.set_breaker("weather", open_for=None)

    assert [start + 7] == answers


async def test_another_end_moves_the_turn_of_those_that_wait() -> None:
    answers: list[object] = []
    async with in_virtual_time() as governor, anyio.create_task_group() as tasks:
        start = anyio.current_time()
        granted(governor.try_permit("weather")).record(status=200)
        governor.set_breaker("weather", open_for="5m")
        tasks.start_soon(wait, governor, answers)
        await anyio.sleep(7)
        governor.set_breaker("weather", open_for=timedelta(seconds=3))

    assert [start + 10] == [round(one, 3) for one in answers if isinstance(one, float)]


async def test_a_call_from_before_the_scope_was_paused_decides_nothing_after_it() -> None:
    async with in_virtual_time(scope={"breaker": {"failures": 1, "successes": 1}}) as governor:
        late = granted(governor.try_permit("weather"))
        governor.set_breaker("weather", open_for="5m")
        governor.set_breaker("weather", open_for=None)
        late.record(status=503)

        assert None is reason(governor.try_permit("weather"))


async def test_events_and_log_lines_say_that_it_was_done_by_hand(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="governor")
    events: list[AnyEvent] = []
    async with Governor(configured(), clock=loop_clock()) as governor:
        end = governor.add_hook(events.append)
        granted(governor.try_permit("weather")).record(status=200)
        governor.set_breaker("weather", open_for="5m")
        forced = governor.statistics().scopes["weather"].breaker
        governor.set_breaker("weather", open_for="6m")
        governor.set_breaker("weather", open_for=None)
        governor.set_breaker("weather", open_for=None)
        end()
    changed = [(one.before, one.after, one.probes_in) for one in events if isinstance(one, BreakerChanged)]

    assert [("closed", "open", 300.0), ("open", "closed", 0.0)] == changed
    assert ("open", True, 300.0) == (forced.status, forced.forced, forced.probes_in)
    assert [
        "The circuit breaker of weather opened by hand: no calls for 300.0 s",
        "The circuit breaker of weather closed: by hand.",
    ] == [record.getMessage().split(", until")[0] for record in caplog.records]


async def test_scopes_that_are_set_aside_stay_paused_and_are_opened_and_reset_there() -> None:
    async with in_virtual_time("3 per day strict", max_scopes=2, idle_after="10s") as governor:
        for method in ("get", "put"):
            granted(governor.try_permit("weather", method)).record(status=200)
            governor.set_breaker(f"weather:{method}", open_for="10d")
        await anyio.sleep(LONG_IDLE)
        for scope in ("news", "sport"):  # There is no room for any other.
            granted(governor.try_permit(scope)).record(status=200)
        governor.operator.close("weather", "1h")
        governor.set_breaker("weather:put", open_for="20d")
        put = (await governor.astatistics("weather:put")).scopes["weather:put"].breaker
        governor.operator.open("weather")
        governor.set_breaker("weather:put", open_for="20d")
        governor.operator.reset("weather")
        aside = governor.statistics().set_aside
        await anyio.sleep(LONG_IDLE)
        left = [[reason(governor.try_permit("weather", method)) for _ in range(3)] for method in ("get", "put")]

    assert (2, 20 * 86_400) == (aside, put.probes_in)
    assert [[None, None, Reason.RATE_LIMIT]] * 2 == left


@pytest.mark.parametrize(
    ("scope", "open_for", "field"),
    [
        ("nowhere", "5m", "scope"),
        ("weather:psot", "5m", "scope"),
        ("wea/ther", "5m", "scope"),
        ("weather", "5 minuts", "open_for"),
        ("weather", "0s", "open_for"),
        ("weather", "367d", "open_for"),
        ("weather", 300, "open_for"),
    ],
)
async def test_a_scope_that_was_never_used_and_a_mistaken_duration_are_errors(scope: str, open_for: str, field: str) -> None:
    async with in_virtual_time() as governor:
        granted(governor.try_permit("weather")).record(status=200)
        with pytest.raises(ConfigError) as caught:
            governor.set_breaker(scope, open_for=open_for)

        assert field == caught.value.field
        assert ["weather"] == list(governor.statistics().scopes)
        assert None is reason(governor.try_permit("weather"))


async def test_a_provider_is_closed_before_its_first_call_if_the_settings_name_it_and_the_default_is_none() -> None:
    config = Config.from_mapping({"outbound": {"acme:get": {"limits": ["9 per day strict"]}}})
    async with Governor(config, clock=loop_clock()) as governor:
        governor.operator.close("acme", "1h")
        for unknown in ("default", "weather"):
            with pytest.raises(ConfigError, match="there is no provider"):
                governor.operator.close(unknown, "1h")

        assert Reason.CIRCUIT_OPEN is reason(governor.try_permit("acme", "put"))


async def test_a_governor_that_does_not_run_has_no_breakers_to_set() -> None:
    governor = in_virtual_time()
    with pytest.raises(UsageError):
        governor.set_breaker("weather", open_for="5m")


async def test_names_are_spelled_as_for_calls() -> None:
    async with in_virtual_time() as governor:
        granted(governor.try_permit("weather", "GET")).record(status=200)
        governor.set_breaker("Weather:GET", open_for="5m")

        assert Reason.CIRCUIT_OPEN is reason(governor.try_permit("weather", "get"))
