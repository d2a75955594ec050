"""An actor at rest is a record until its first step, and goes on after one that was interrupted."""

import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import anyio
import pytest
from anyio.lowlevel import checkpoint

from governor import Config, Governor, Permit, Reason
from governor._actors.actor import ScopeActor
from governor._actors.queue import Waiter
from governor.errors import PermitDenied
from governor.messages import Acquire, Denied
from governor.policies.contract import PLAIN
from tests.support.answers import granted
from tests.support.governors import actor_of

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R51")]

SETTINGS = Config.from_mapping({"outbound": {"default": {"limits": ["1/day burst 3"]}}})


async def test_permits_successes_denials_statistics_and_passivation_need_no_steps() -> None:
    async with Governor(SETTINGS) as governor:
        for _ in range(3):
            granted(governor.try_permit("weather")).record(status=200)
        denied = governor.try_permit("weather")
        actor = actor_of(governor, "weather")
        actor.on_published()
        actor.passivate()
        scope = governor.statistics().scopes["weather"]

        assert isinstance(denied, Denied)
        assert (0, 0, 3) == (scope.waiting, scope.leased, scope.counters.answered_2xx)
        assert actor._steps is None


async def test_after_a_step_everything_goes_on_from_there() -> None:
    async with Governor(SETTINGS) as governor:
        granted(governor.try_permit("weather")).record(status=200)
        granted(governor.try_permit("weather")).record(status=500)
        granted(governor.try_permit("weather")).record(status=200)
        actor = actor_of(governor, "weather")

        assert actor._steps is not None
        assert (2, 1) == (actor.counters.answered_2xx, actor.counters.answered_5xx)
        with pytest.raises(PermitDenied):
            async with governor.permit("weather", timeout=0):
                pass


async def test_a_message_to_an_actor_that_was_closed_at_rest_is_answered_at_once() -> None:
    async with Governor(SETTINGS) as governor:
        granted(governor.try_permit("weather")).record(status=200)
        actor = actor_of(governor, "weather")
        actor.close()
        waiter = Waiter(Acquire(PLAIN), lambda: None)
        actor.send(waiter.acquire, waiter)

        assert isinstance(waiter.answer, Denied)
        assert Reason.SHUTTING_DOWN is waiter.answer.reason


@pytest.mark.promise("R55")
async def test_a_step_that_was_interrupted_ends_when_the_loop_calls_and_no_call_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(_: ScopeActor) -> None:
        raise KeyboardInterrupt

    async def wait() -> None:
        with pytest.raises(PermitDenied, match="overloaded"):
            await governor.acquire("weather")

    config = Config.from_mapping({"outbound": {"default": {"limits": ["1/day burst 3", "2 in flight"]}}})
    async with Governor(config) as governor, anyio.create_task_group() as tasks:
        first, second = (granted(governor.try_permit("weather")) for _ in range(2))
        tasks.start_soon(wait)
        while not actor_of(governor, "weather").waiting:
            await checkpoint()
        monkeypatch.setattr(ScopeActor, "copy", interrupt)
        with pytest.raises(KeyboardInterrupt):
            governor.try_permit("weather")
        monkeypatch.undo()
        first.record(status=500)
        second.record(status=500)
        while not isinstance(permit := governor.try_permit("weather"), Permit):
            await checkpoint()
        permit.record(status=200)

        assert 2 == governor.statistics().scopes["weather"].limits[1].available


def descend(calls: int, work: Callable[[], object]) -> None:
    """Does the work so many calls further down."""
    if calls > 0:
        descend(calls - 1, work)
    else:
        work()


@pytest.mark.promise("R55")
async def test_wherever_the_stack_ends_below_a_call_and_its_report_those_that_wait_are_served_with_the_next_call() -> None:
    async def wait(scope: str) -> None:
        (await governor.acquire(scope)).record(status=200)

    config = Config.from_mapping({"outbound": {"default": {"limits": ["1 in flight"], "linger": "off"}}})
    depth = len([*traceback.walk_stack(None)])
    async with Governor(config) as governor:
        for calls in range(5, 60, 2):
            permit = granted(governor.try_permit(scope := f"weather{calls}"))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait, scope)
                while not actor_of(governor, scope).waiting:
                    await checkpoint()
                for work in (partial(governor.try_permit, scope), partial(permit.record, status=500)):
                    with suppress(RecursionError):
                        descend(sys.getrecursionlimit() - depth - calls, work)
                del work
                del permit
                governor.try_permit(scope)

        assert 28 == governor.statistics().counters.answered_2xx
