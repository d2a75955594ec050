"""An actor at rest is a record until its first step."""

import pytest

from governor import Config, Governor, Reason
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
