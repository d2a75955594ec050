"""The queue is served in order, in time, and at the same cost however long it is."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import anyio
import pytest

from governor import Denied, Governor, Overloaded, Permit, PermitDenied
from governor.policies.pipeline import Pipeline
from governor.policies.request_cap import RequestCapPolicy
from tests.support.answers import granted
from tests.support.governors import in_virtual_time

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R04")]

governed = partial(in_virtual_time, requests_per_minute=10**9)


class Queue:
    """Tasks that wait for one scope, and what they were told: who, what and when."""

    def __init__(self, governor: Governor) -> None:
        self.governor = governor
        self.answers: list[tuple[int, type, float]] = []

    async def ask(self, number: int, timeout: float | None = None, cost: int = 1) -> None:
        try:
            async with self.governor.permit("weather", timeout=timeout, cost=cost) as permit:
                self.answers.append((number, type(permit), anyio.current_time()))
        except PermitDenied as refusal:
            self.answers.append((number, type(refusal), anyio.current_time()))

    def granted(self) -> list[int]:
        return [number for number, kind, _ in self.answers if issubclass(kind, Permit)]


@contextmanager
def counting() -> Iterator[list[int]]:
    """How often the policies are asked for a verdict or told to spend, within the block."""
    count = [0]
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((Pipeline, "verdict"), (Pipeline, "commit"), (RequestCapPolicy, "earliest")):
            original = getattr(owner, name)

            def call(*args: object, original: object = original, **keywords: object) -> object:
                count[0] += 1
                assert callable(original)
                return original(*args, **keywords)

            patch.setattr(owner, name, call)
        yield count


async def line_up(tasks: anyio.abc.TaskGroup, queue: Queue, waiters: int) -> list[anyio.CancelScope]:
    """Lets tasks join the queue one after the other. Answers what cancels each of them."""
    scopes: list[anyio.CancelScope] = []

    async def wait(number: int, scope: anyio.CancelScope) -> None:
        with scope:
            await queue.ask(number)

    for number in range(waiters):
        scopes.append(anyio.CancelScope())
        tasks.start_soon(wait, number, scopes[-1])
        await anyio.wait_all_tasks_blocked()
    return scopes


async def test_three_thousand_tasks_on_one_scope_are_served_in_the_order_in_which_they_came() -> None:
    async with governed("1000/s burst 1") as governor:
        queue, order = Queue(governor), []

        async def come(number: int) -> None:
            order.append(number)
            await queue.ask(number)

        async with anyio.create_task_group() as tasks:
            for number in range(3_000):
                tasks.start_soon(come, number)
            await anyio.wait_all_tasks_blocked()
            waiting = governor.statistics().scopes["weather"].waiting

    assert 2_999 == waiting
    assert order == queue.granted()
    assert 2.999 == pytest.approx(queue.answers[-1][2], abs=0.02)


async def test_the_work_for_one_permit_does_not_depend_on_the_length_of_the_queue() -> None:
    work: dict[int, float] = {}
    for length in (200, 2_000):
        with counting() as count:
            async with governed("1000/s burst 1") as governor, anyio.create_task_group() as tasks:
                queue = Queue(governor)
                for number in range(length):
                    tasks.start_soon(queue.ask, number)
        assert length == len(queue.granted())
        work[length] = count[0] / length

    assert work[200] == pytest.approx(work[2_000], rel=0.02)


async def test_cancelling_half_of_the_queue_leaves_the_others_in_order() -> None:
    async with governed("10/s burst 1") as governor, anyio.create_task_group() as tasks:
        queue = Queue(governor)
        granted(governor.try_permit("weather"))
        scopes = await line_up(tasks, queue, 1_000)
        for scope in scopes[1::2]:
            scope.cancel()
        await anyio.wait_all_tasks_blocked()
        waiting = governor.statistics().scopes["weather"].waiting

    assert 500 == waiting
    assert list(range(0, 1_000, 2)) == queue.granted()
    assert 50.0 == pytest.approx(queue.answers[-1][2], abs=0.02)


async def test_a_waiter_that_leaves_makes_room_for_those_behind_it() -> None:
    async with governed("3 in flight") as governor, anyio.create_task_group() as tasks:
        queue = Queue(governor)
        permit = granted(governor.try_permit("weather", cost=2))
        with anyio.CancelScope() as first:
            tasks.start_soon(queue.ask, 1)
            await anyio.wait_all_tasks_blocked()
            first.cancel()
        big = anyio.CancelScope()

        async def wait_for_much() -> None:
            with big:
                await queue.ask(2, cost=3)

        tasks.start_soon(wait_for_much)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(queue.ask, 3)
        await anyio.wait_all_tasks_blocked()
        before = queue.granted()
        big.cancel()
        await anyio.wait_all_tasks_blocked()
        after = queue.granted()
        permit.give_back()

    assert ([1], [1, 3]) == (before, after)


@pytest.mark.promise("R02")
async def test_each_waiter_is_served_when_its_token_is_due() -> None:
    async with governed("2/minute burst 1") as governor, anyio.create_task_group() as tasks:
        queue = Queue(governor)
        for number in range(20):
            tasks.start_soon(queue.ask, number)

    times = [when for _, _, when in queue.answers]
    assert [30.0 * number for number in range(20)] == pytest.approx(times, abs=0.001)


@pytest.mark.parametrize("timeout", [0.25, 5.0, 3600.0])
async def test_no_call_waits_longer_than_its_timeout_for_a_place_that_does_not_come(timeout: float) -> None:
    async with governed("1 in flight") as governor:
        queue = Queue(governor)
        with granted(governor.try_permit("weather")):
            began = anyio.current_time()
            async with anyio.create_task_group() as tasks:
                for number in range(3):
                    tasks.start_soon(queue.ask, number, timeout * (1 + number))

    assert [began + timeout, began + 2 * timeout, began + 3 * timeout] == pytest.approx([when for _, _, when in queue.answers])
    assert [] == queue.granted()


async def test_a_call_that_can_no_longer_be_served_in_time_is_denied_at_once() -> None:
    async with governed("1/minute burst 1") as governor, anyio.create_task_group() as tasks:
        queue = Queue(governor)
        granted(governor.try_permit("weather"))
        tasks.start_soon(queue.ask, 1, 65.0)
        await anyio.sleep(10)
        for number in range(10):
            granted(governor.try_permit(f"provider{number % 5}", f"method{number}")).record(status=500)
        await anyio.wait_all_tasks_blocked()
        told = [number for number, _, _ in queue.answers]

    assert [1] == told


async def test_a_wait_that_fits_exactly_is_served() -> None:
    async with governed("1/minute burst 1") as governor:
        queue = Queue(governor)
        granted(governor.try_permit("weather"))
        await queue.ask(1, 60.0)

    assert [1] == queue.granted()


async def test_at_its_bound_the_queue_denies_and_says_when_to_come_back() -> None:
    async with governed("1/minute burst 1", max_waiting=3) as governor, anyio.create_task_group() as tasks:
        queue = Queue(governor)
        granted(governor.try_permit("weather"))
        for number in range(3):
            tasks.start_soon(queue.ask, number)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(Overloaded) as caught:
            async with governor.permit("weather"):
                pass
        other = governor.try_permit("traffic")
        tasks.cancel_scope.cancel()

    assert 240.0 == pytest.approx(caught.value.retry_after)
    granted(other)


@pytest.mark.promise("R10")
async def test_what_the_queue_waits_for_is_counted_in_the_wait_of_a_newcomer() -> None:
    async with governed("1/minute burst 1") as governor, anyio.create_task_group() as tasks:
        queue = Queue(governor)
        granted(governor.try_permit("weather"))
        for number in range(4):
            tasks.start_soon(queue.ask, number)
        await anyio.wait_all_tasks_blocked()
        refusal = governor.try_permit("weather")
        tasks.cancel_scope.cancel()

    assert isinstance(refusal, Denied)
    assert 300.0 == pytest.approx(refusal.retry_after)


@pytest.mark.promise("R10")
async def test_the_wait_of_a_newcomer_includes_those_ahead_even_if_they_wait_for_something_else() -> None:
    async with governed("100 tokens/minute burst 100", "99/s burst 99") as governor, anyio.create_task_group() as tasks:
        granted(governor.try_permit("weather", cost={"tokens": 100}))
        tasks.start_soon(_spend_tokens, governor)
        await anyio.wait_all_tasks_blocked()
        refusal = governor.try_permit("weather")
        tasks.cancel_scope.cancel()

    assert isinstance(refusal, Denied)
    assert refusal.retry_after is not None
    assert 60.0 <= refusal.retry_after < math.inf


async def _spend_tokens(governor: Governor) -> None:
    async with governor.permit("weather", cost={"tokens": 100}):
        pass
