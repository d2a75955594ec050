"""Asks of another process that have come together: one step decides on those in a row of one scope, as one by one."""

from collections.abc import Sequence
from functools import partial

import pytest

from governor import Config, Governor, Reason
from governor._actors.actor import ScopeActor
from governor._actors.permit import Permit
from governor._actors.queue import Waiter
from governor._units import Instant
from governor.messages import Acquire, Denied
from governor.policies.contract import PLAIN, Request
from tests.support.answers import granted
from tests.support.governors import actor_of

pytestmark = pytest.mark.anyio


def together(actor: ScopeActor, *acquires: Acquire) -> Sequence[Waiter]:
    waiters = [Waiter(acquire, bool) for acquire in acquires]
    actor.acquire_all([(waiter.acquire, waiter) for waiter in waiters])
    return waiters


async def test_each_is_answered_as_if_it_had_come_alone_after_those_before_it() -> None:
    async with Governor(Config.from_mapping({"outbound": {"default": {"limits": ["3 in flight"]}}})) as governor:
        held = granted(governor.try_permit("weather"))
        actor = actor_of(governor, "weather")
        waits, hurries = Acquire(PLAIN, 60.0), Acquire(PLAIN, 0)
        first, second, third, fourth, fifth, large = together(
            actor, waits, hurries, waits, hurries, waits, Acquire(Request(4), 60.0)
        )
        before = [isinstance(one.answer, Permit) for one in (first, second, third, fourth, fifth)]
        held.record(status=200)

        assert [True, True, False, False, False] == before
        assert isinstance(fourth.answer, Denied)
        assert isinstance(large.answer, Denied)
        assert Reason.COST is large.answer.reason
        assert isinstance(third.answer, Permit)
        assert (None, 1) == (fifth.answer, actor.waiting)


async def test_a_waiter_whose_turn_has_come_meanwhile_is_served_before_them() -> None:
    now = Instant(10**9)
    config = Config.from_mapping({"outbound": {"default": {"limits": ["1/s burst 1"]}}})
    async with Governor(config, clock=lambda: now) as governor:
        granted(governor.try_permit("weather"))
        actor = actor_of(governor, "weather")
        waiter = Waiter(Acquire(PLAIN, 60.0), bool)
        actor.acquire(waiter.acquire, waiter)
        now = Instant(now + 1_000_000)
        one, other = together(actor, Acquire(PLAIN, 0), Acquire(PLAIN, 0))

        assert isinstance(waiter.answer, Permit)
        assert [Denied, Denied] == [type(one.answer), type(other.answer)]


async def test_if_one_brings_the_actor_down_each_is_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Governor(Config.from_mapping({"outbound": {"default": {"limits": ["1 in flight"]}}})) as governor:
        granted(governor.try_permit("weather"))
        actor = actor_of(governor, "weather")
        asked = []

        def fails(now: object, acquire: Acquire) -> None:
            asked.append(acquire)
            if len(asked) == 2:
                raise RuntimeError("broken on purpose")

        monkeypatch.setattr(type(actor.logic.retries), "asks", staticmethod(fails))
        answers: list[int] = []
        waiters = [Waiter(Acquire(PLAIN, 60.0), partial(answers.append, number)) for number in range(4)]
        actor.acquire_all([(waiter.acquire, waiter) for waiter in waiters])

        assert [0, 1, 2, 3] == sorted(answers)
        assert all(isinstance(waiter.answer, Denied) for waiter in waiters)
        assert 2 == len(asked)
