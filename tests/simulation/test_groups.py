"""The inbound groups of a running governor: who is forgotten and when, what a failure costs, and how groups come and go."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest
import trio.lowlevel

from governor import Config, Denied, Governor, UsageError
from governor._actors.inbound.group import GroupActor
from governor.messages import InboundDenied, InboundRequest
from governor.testing import loop_clock

pytestmark = pytest.mark.anyio


def config(**groups: object) -> Config:
    none: dict[str, object] = {"limits": [], "address_limits": [], "total_limits": []}
    said = {name: {**none, "paths": [f"/{name}"], **limits} for name, limits in groups.items() if isinstance(limits, dict)}
    return Config.from_mapping({"inbound": {"default": none, **said}})


def governed(**groups: object) -> Governor:
    return Governor(config(**groups), clock=loop_clock())


def request(governor: Governor, number: int = 0) -> InboundRequest:
    name = b"%d" % number
    return InboundRequest(governor.inbound.pseudonyms.actor(name), governor.inbound.pseudonyms.address(name))


async def admit(governor: Governor, group: str = "shop", number: int = 0) -> str | None:
    """The limit that denies a request of this client, or None."""
    denied = (await governor.inbound.admit(group, request(governor, number))).denied
    return denied.limit if isinstance(denied, InboundDenied) else None


def known(governor: Governor, group: str = "shop") -> int:
    return governor.statistics().groups[group].clients


def no_timer_is_set() -> bool:
    return trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf


@contextmanager
def failing(where: object, name: str, times: int = 1) -> Iterator[list[None]]:
    """Within the block, so many calls of this function fail; a list with an entry for each that is left."""
    left: list[None] = [None] * times
    original = getattr(where, name)

    def fail(*arguments: object) -> object:
        if left:
            left.pop()
            raise ArithmeticError("injected")
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, fail)
        yield left


# The sweeper.


@pytest.mark.promise("R24")
async def test_clients_without_requests_for_a_while_cost_no_memory_and_no_timer() -> None:
    async with governed(
        shop={"limits": ["1/s burst 10"], "address_limits": ["1/s burst 20"], "total_limits": ["9999/s"]}
    ) as governor:
        await anyio.wait_all_tasks_blocked()
        at_first = no_timer_is_set()
        for number in range(500):
            await admit(governor, number=number)
        await anyio.wait_all_tasks_blocked()
        busy = known(governor), no_timer_is_set()
        await anyio.sleep(60)
        quiet = known(governor), no_timer_is_set()

    assert [True, (500, False), (0, True)] == [at_first, busy, quiet]


@pytest.mark.promise("R24")
async def test_clients_that_return_after_a_pause_are_dropped_again() -> None:
    left = []
    async with governed(shop={"limits": ["1/s burst 10"]}) as governor:
        for _ in range(3):
            for number in range(50):
                await admit(governor, number=number)
            left.append(known(governor))
            await anyio.sleep(3600)
            left.append(known(governor))

    assert [50, 0] * 3 == left


@pytest.mark.promise("R24")
async def test_a_blocked_client_is_remembered_until_its_bucket_is_full() -> None:
    async with governed(shop={"limits": ["1/hour burst 2"]}) as governor:
        answers = [await admit(governor) for _ in range(3)]
        await anyio.sleep(3599)
        answers.append(await admit(governor))
        await anyio.sleep(1)
        answers.append(await admit(governor))
        await anyio.sleep(3 * 3600)
        forgotten = known(governor)

    assert [None, None, "client", "client", None] == answers
    assert 0 == forgotten


async def test_a_sweep_that_fails_is_taken_up_again(caplog: pytest.LogCaptureFixture) -> None:
    with failing(GroupActor, "_sweep", 5):
        async with governed(shop={"limits": ["1/s burst 10"]}) as governor:
            for number in range(50):
                await admit(governor, number=number)
            await anyio.sleep(120)
            left = known(governor)

    assert 0 == left
    assert ["The sweeper of shop failed and is restarted."] * 5 == [record.message for record in caplog.records]


@pytest.mark.promise("R24")
async def test_a_sweeper_that_waits_for_days_soon_follows_shorter_limits() -> None:
    async with governed(shop={"limits": ["1/366d burst 1000000"]}) as governor:
        await admit(governor)
        await anyio.sleep(1)
        governor.reconfigure(config(shop={"limits": ["1/s burst 1"]}))
        await anyio.sleep(3600)
        left = known(governor), no_timer_is_set()

    assert (0, True) == left


# Admission.


@pytest.mark.promise("R21")
async def test_a_group_that_fails_grants_the_request_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with failing(GroupActor, "admit"):
        async with governed(shop={"limits": ["1/hour burst 1"]}) as governor:
            answers = [await admit(governor) for _ in range(3)]

    assert [None, None, "client"] == answers
    assert [(logging.ERROR, "The inbound group shop failed, and requests pass: ArithmeticError")] == [
        (record.levelno, record.message.partition("\n")[0]) for record in caplog.records
    ]


async def test_an_unknown_group_lets_every_request_pass() -> None:
    async with governed() as governor:
        admission = await governor.inbound.admit("shop", request(governor))
        admission.end(200)

        assert admission.granted
        assert "shop" not in governor.statistics().groups


@pytest.mark.promise("R55")
async def test_before_it_is_entered_and_after_it_is_left_no_request_is_admitted() -> None:
    governor = governed(shop={})
    with pytest.raises(UsageError, match="not running"):
        await admit(governor)
    async with governor:
        admission = await governor.inbound.admit("shop", request(governor))
    with pytest.raises(UsageError, match="has been closed"):
        await admit(governor)
    admission.end(200)

    assert admission.granted


@pytest.mark.promise("R55")
async def test_requests_that_arrive_while_it_closes_are_answered() -> None:
    answers: list[InboundDenied | Denied | str | None] = []

    async def come(governor: Governor, number: int) -> None:
        for _ in range(20):
            try:
                answers.append((await governor.inbound.admit("shop", request(governor, number))).denied)
            except UsageError:
                answers.append("closed")
            await anyio.sleep(0.1)

    async with anyio.create_task_group() as tasks, governed(shop={"limits": ["9/s"]}) as governor:
        for number in range(10):
            tasks.start_soon(come, governor, number)
        await anyio.sleep(0.95)

    assert [None] * 100 == answers[:100]
    assert ["closed"] * 100 == answers[100:]


# Groups come and go.


async def test_a_group_that_is_added_limits_at_once_and_forgets_as_the_others_do() -> None:
    async with governed(shop={"limits": ["1/hour burst 1"]}) as governor:
        answers = [await admit(governor, "talk") for _ in range(2)]
        governor.reconfigure(config(shop={"limits": ["1/hour burst 1"]}, talk={"limits": ["1/s burst 1"]}))
        answers += [await admit(governor, "talk") for _ in range(2)]
        await anyio.sleep(60)
        left = known(governor, "talk"), no_timer_is_set()

    assert [None, None, None, "client"] == answers
    assert (0, True) == left


async def test_a_group_that_is_taken_away_limits_no_request_and_leaves_no_task() -> None:
    async with governed(shop={"limits": ["1/366d burst 1000000"]}) as governor:
        await admit(governor)
        await anyio.sleep(1)  # The sweepers start after the first request.
        before = len(anyio.get_running_tasks())
        governor.reconfigure(config())
        await anyio.sleep(3600)
        after = len(anyio.get_running_tasks()), no_timer_is_set(), "shop" in governor.statistics().groups

        assert await admit(governor) is None
    assert (before - 1, True, False) == after


async def test_a_group_that_comes_back_is_a_new_one() -> None:
    shop = {"limits": ["1/hour burst 1"]}
    async with governed(shop=shop) as governor:
        answers = [await admit(governor), await admit(governor)]
        governor.reconfigure(config())
        governor.reconfigure(config(shop=shop))
        answers += [await admit(governor), await admit(governor)]
        requests = governor.statistics().groups["shop"].counters.requests

    assert [None, "client", None, "client"] == answers
    assert 1 == requests


@pytest.mark.promise("R21")
async def test_a_client_at_its_limit_gains_nothing_when_the_limit_changes() -> None:
    async with governed(shop={"limits": ["10/hour burst 10"]}) as governor:
        answers = [await admit(governor) for _ in range(11)]
        governor.reconfigure(config(shop={"limits": ["100/hour burst 100"]}))
        answers += [await admit(governor)]
        await anyio.sleep(36)
        answers += [await admit(governor), await admit(governor)]

    assert [None] * 10 + ["client", "client", None, "client"] == answers
