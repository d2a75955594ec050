"""A test makes the governor grant, and makes it deny."""

from functools import partial

import anyio
import pytest

from governor import (
    CircuitOpen,
    Config,
    ConfigError,
    Denied,
    Governor,
    Overloaded,
    Permit,
    PermitDenied,
    RateLimited,
    Reason,
    ShuttingDown,
    UsageError,
)
from governor.testing import ManualClock, denying, unlimited

pytestmark = pytest.mark.anyio

IN_FLIGHT = Config.from_mapping({"outbound": {"default": {"limits": ["1 in flight"]}}})


async def test_unlimited_grants_everything_at_once() -> None:
    async with Governor(unlimited(), clock=ManualClock()) as governor:
        answers = [governor.try_permit("weather", "GET") for _ in range(2_000)]

    assert {Permit} == {type(answer) for answer in answers}


async def test_unlimited_is_unimpressed_by_failures() -> None:
    async with Governor(unlimited(), clock=ManualClock()) as governor:
        for _ in range(100):
            async with governor.permit("openai", timeout=0) as permit:
                permit.record(status=500)
        answer = governor.try_permit("reddit")

    assert isinstance(answer, Permit)


async def test_unlimited_knows_no_cost_that_is_too_high() -> None:
    async with Governor(unlimited(), clock=ManualClock()) as governor:
        answer = governor.try_permit("openai", cost={"tokens": 10**9})

    assert isinstance(answer, Permit)


@pytest.mark.parametrize("reason", list(Reason))
async def test_a_scope_denies_for_whatever_reason_a_test_wants(reason: Reason) -> None:
    async with Governor(unlimited()) as governor:
        with denying(governor, "weather", "GET", reason=reason, retry_after=2.5):
            inside = governor.try_permit("weather", "GET")
        outside = governor.try_permit("weather", "GET")

    assert Denied("weather:get", reason, 2.5) == inside
    assert isinstance(outside, Permit)


async def test_a_refusal_is_raised_where_a_permit_was_promised() -> None:
    async with Governor(unlimited()) as governor:
        with denying(governor, "weather", reason=Reason.CIRCUIT_OPEN, retry_after=None), pytest.raises(CircuitOpen) as caught:
            async with governor.permit("weather"):
                pass

    assert caught.value.retry_after is None


async def test_other_scopes_do_not_notice() -> None:
    async with Governor(unlimited()) as governor:
        with denying(governor, "weather", "GET"):
            answer = governor.try_permit("weather", "POST")

    assert isinstance(answer, Permit)


async def test_those_who_wait_are_denied_as_well() -> None:
    caught: list[PermitDenied] = []

    async def wait(governor: Governor) -> None:
        try:
            async with governor.permit("weather"):
                pass
        except PermitDenied as refusal:
            caught.append(refusal)

    async with Governor(IN_FLIGHT) as governor, anyio.create_task_group() as tasks:
        permit = governor.try_permit("weather")
        tasks.start_soon(wait, governor)
        await anyio.wait_all_tasks_blocked()
        with denying(governor, "weather"):
            await anyio.wait_all_tasks_blocked()

    assert isinstance(permit, Permit)
    assert [RateLimited] == [type(refusal) for refusal in caught]


async def test_what_was_granted_before_is_reported_and_counted() -> None:
    async with Governor(IN_FLIGHT) as governor:
        permit = governor.try_permit("weather")
        assert isinstance(permit, Permit)
        with denying(governor, "weather"):
            permit.record(status=200)
        again = governor.try_permit("weather")
        counters = governor.statistics().counters

    assert isinstance(again, Permit)
    assert (2, 1) == (counters.requests, counters.answered_2xx)


async def test_the_line_is_served_again_afterwards() -> None:
    async with Governor(IN_FLIGHT) as governor, anyio.create_task_group() as tasks:
        with denying(governor, "weather"):
            pass
        permit = governor.try_permit("weather")
        assert isinstance(permit, Permit)
        tasks.start_soon(_use, governor)
        await anyio.wait_all_tasks_blocked()
        waiting = governor.statistics().scopes["weather"].waiting
        permit.record(status=200)

    assert 1 == waiting
    assert 2 == governor.statistics().counters.requests


async def test_it_works_from_another_thread() -> None:
    async with Governor(unlimited()) as governor:

        def ask() -> Permit | Denied:
            with denying(governor, "weather", reason=Reason.OVERLOADED):
                return governor.try_permit("weather")

        answer = await anyio.to_thread.run_sync(ask)
        afterwards = governor.try_permit("weather")

    assert isinstance(answer, Denied)
    assert Overloaded is type(answer.exception())
    assert isinstance(afterwards, Permit)


async def test_a_governor_that_closes_meanwhile_stays_closed() -> None:
    async with Governor(unlimited()) as governor:
        block = denying(governor, "weather")
        block.__enter__()
    block.__exit__(None, None, None)
    answer = governor.try_permit("weather")

    assert isinstance(answer, Denied)
    assert ShuttingDown is type(answer.exception())


@pytest.mark.parametrize("retry_after", [-1.0, float("nan")])
async def test_a_wait_that_cannot_be_is_a_mistake(retry_after: float) -> None:
    async with Governor(unlimited()) as governor:
        with pytest.raises(ConfigError, match="retry_after"), denying(governor, "weather", retry_after=retry_after):
            pass


def test_a_governor_that_does_not_run_cannot_deny() -> None:
    with pytest.raises(UsageError), denying(Governor(unlimited()), "weather"):
        pass


async def _use(governor: Governor) -> None:
    async with governor.permit("weather"):
        await anyio.lowlevel.checkpoint()


def test_it_works_without_a_loop() -> None:
    with Governor(unlimited()) as governor:
        ask = partial(governor.try_permit, "weather")
        with denying(governor, "weather"):
            inside = ask()
        outside = ask()

    assert (Denied, Permit) == (type(inside), type(outside))
