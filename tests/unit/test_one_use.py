"""What is for one use can be used once: a second entry raises `UsageError` and leaves the first one alone."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from threading import Barrier, Thread
from typing import TYPE_CHECKING

import anyio
import httpx2
import pytest

from governor import (
    Config,
    CounterRecord,
    Denied,
    Governor,
    Permit,
    PermitDenied,
    PermitRequest,
    RateLimited,
    UsageError,
)
from governor.one_use import AsyncOneUse, OneUse
from governor.testing import denying
from governor_client import GovernorClient, TrafficControlledHttpClient

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.anyio

ONE_CALL = "for one call"


@pytest.fixture
async def governor() -> AsyncIterator[Governor]:
    """A governor with two places for calls in flight, and a scope for two calls an hour."""
    config = Config.from_mapping(
        {"outbound": {"w": {"limits": ["2 in flight"]}, "hourly": {"limits": ["2 per hour strict"]}}},
    )
    async with Governor(config) as governor:
        yield governor


async def _async_entry(request: PermitRequest) -> None:
    async with request as permit:
        permit.record(status=200)


async def _blocking_entry(request: PermitRequest) -> None:
    with request as permit:
        permit.record(status=200)


ENTRIES = [_async_entry, _blocking_entry]


@pytest.mark.parametrize("again", ENTRIES)
@pytest.mark.parametrize("first", ENTRIES)
async def test_a_request_for_a_permit_gives_one_permit_however_it_is_entered(
    governor: Governor, first: Callable[[PermitRequest], Awaitable[None]], again: Callable[[PermitRequest], Awaitable[None]]
) -> None:
    request = governor.permit("w", "get", timeout=0)
    await first(request)

    with pytest.raises(UsageError, match=r"for one call; write `permit\('w', 'get'\)`"):
        await again(request)
    assert CounterRecord(requests=1, answered_2xx=1) == governor.statistics().counters


@pytest.mark.promise("R03")
async def test_six_tasks_with_one_request_make_one_call(governor: Governor) -> None:
    request, running, rejected = governor.permit("w", timeout=1.0), [], []

    async def worker() -> None:
        try:
            async with request:
                running.append(governor.statistics().scopes["w"].limits[0].available)
                await anyio.wait_all_tasks_blocked()
        except UsageError as error:
            rejected.append(str(error))

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(worker)

    assert ([1], 5) == (running, len(rejected))
    assert (2, 1) == (governor.statistics().scopes["w"].limits[0].available, governor.statistics().counters.requests)


async def test_the_first_block_goes_on_when_another_entry_is_rejected(governor: Governor) -> None:
    request = governor.permit("w")

    async with request as permit:
        with pytest.raises(UsageError):
            await _async_entry(request)
        with pytest.raises(UsageError):
            await _blocking_entry(request)
        inside = permit.reported
    after = governor.statistics().scopes["w"]

    assert (False, True) == (inside, permit.reported)
    assert (CounterRecord(requests=1, others=1), 2) == (after.counters, after.limits[0].available)


async def test_a_waiter_keeps_its_place_when_its_request_is_entered_again(governor: Governor) -> None:
    holders = [governor.try_permit("w") for _ in range(2)]
    request, granted = governor.permit("w"), []

    async def wait() -> None:
        async with request as permit:
            granted.append(permit.scope)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(UsageError):
            await _async_entry(request)
        waiting = governor.statistics().scopes["w"].waiting
        for holder in holders:
            assert isinstance(holder, Permit)
            holder.record(status=200)

    assert (1, ["w"]) == (waiting, granted)


async def test_after_an_exception_a_denial_or_a_cancellation_a_request_is_used_up(governor: Governor) -> None:
    failed, cancelled = governor.permit("w"), governor.permit("w")
    with pytest.raises(KeyError):
        async with failed:
            raise KeyError("customer_id")
    with anyio.CancelScope() as scope:
        async with cancelled:
            scope.cancel()
            await anyio.sleep_forever()
    for _ in range(2):
        governor.try_permit("hourly")
    denied = governor.permit("hourly", timeout=0)
    with pytest.raises(RateLimited):
        await _async_entry(denied)
    blocking = governor.permit("hourly")
    with pytest.raises(UsageError, match="would block the event loop"):
        await _blocking_entry(blocking)

    for request in (failed, cancelled, denied, blocking):
        with pytest.raises(UsageError, match=ONE_CALL):
            await _async_entry(request)


async def test_a_request_of_a_client_is_for_one_call_too(governor: Governor) -> None:
    request = GovernorClient(governor).permit("w")
    await _async_entry(request)

    with pytest.raises(UsageError, match=ONE_CALL):
        await _async_entry(request)


def test_of_many_threads_with_one_request_or_one_permit_one_gets_in() -> None:
    entered, rejected = [], []

    def enter(what: PermitRequest | Permit, barrier: Barrier) -> None:
        barrier.wait()
        try:
            with what:
                entered.append(what)
                barrier.wait()
        except UsageError:
            rejected.append(what)
            barrier.wait()

    with Governor() as governor:
        permit = governor.try_permit("w")
        assert isinstance(permit, Permit)
        for shared in (governor.permit("w"), permit):
            barrier = Barrier(4)
            threads = [Thread(target=enter, args=(shared, barrier)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        counted = governor.statistics().counters

    assert (2, 6, 2, 2) == (len(entered), len(rejected), counted.requests, counted.others)


async def test_a_permit_is_entered_once_and_counts_once(governor: Governor) -> None:
    permit, calls = governor.try_permit("hourly"), 0
    assert not isinstance(permit, Denied)

    for _ in range(5):
        with pytest.raises(UsageError) if calls else ExitStack(), permit:
            calls += 1

    assert (1, 1) == (calls, governor.statistics().counters.requests)


async def test_a_permit_is_not_entered_inside_its_own_block(governor: Governor) -> None:
    permit = governor.try_permit("w")
    assert isinstance(permit, Permit)

    with permit:
        with pytest.raises(UsageError, match=r"this permit for w is in a `with` block already .* ask for another"):
            permit.__enter__()
        assert not permit.reported

    assert CounterRecord(requests=1, others=1) == governor.statistics().counters


@pytest.mark.parametrize("use", ["record", "give_back"])
async def test_a_permit_that_has_been_reported_is_not_entered(governor: Governor, use: str) -> None:
    permit = governor.try_permit("w")
    assert isinstance(permit, Permit)
    getattr(permit, use)()

    with pytest.raises(UsageError, match="this permit for w has been reported already"):
        permit.__enter__()


async def test_the_permit_of_a_request_may_be_handed_to_code_that_enters_it(governor: Governor) -> None:
    async with governor.permit("w") as permit:
        with permit:
            permit.record(status=404)
        with pytest.raises(UsageError):
            permit.__enter__()

    assert CounterRecord(requests=1, answered_4xx=1) == governor.statistics().counters


async def test_a_second_block_in_which_a_scope_is_rejected_is_a_mistake(governor: Governor) -> None:
    block = denying(governor, "w")
    with block:
        for again in (block, denying(governor, "w")):
            with pytest.raises(UsageError):
                again.__enter__()
        assert isinstance(governor.try_permit("w"), Denied)
        with denying(governor, "hourly"):
            assert isinstance(governor.try_permit("hourly"), Denied)
    with pytest.raises(UsageError, match="for one block"):
        block.__enter__()
    with denying(governor, "w"), pytest.raises(PermitDenied):
        await _async_entry(governor.permit("w"))

    assert isinstance(governor.try_permit("w"), Permit)


async def test_a_stream_makes_one_call(governor: Governor) -> None:
    answers = httpx2.MockTransport(lambda _: httpx2.Response(200, text="one\ntwo"))
    async with TrafficControlledHttpClient("w", "https://a.example", governor=governor, async_transport=answers) as client:
        stream = client.astream("GET", "/")
        async with stream as response:
            with pytest.raises(UsageError, match=r"write `astream\('GET', \.\.\.\)` for each call"):
                await stream.__aenter__()
            lines = [line async for line in response.aiter_lines()]
        with pytest.raises(UsageError):
            await stream.__aenter__()

    assert (["one", "two"], CounterRecord(requests=1, answered_2xx=1)) == (lines, governor.statistics().counters)


def test_a_blocking_stream_makes_one_call() -> None:
    answers = httpx2.MockTransport(lambda _: httpx2.Response(200, text="one\ntwo"))
    with (
        Governor() as governor,
        TrafficControlledHttpClient("w", "https://a.example", governor=governor, transport=answers) as client,
    ):
        stream = client.stream("GET", "/")
        with stream as response:
            with pytest.raises(UsageError, match=r"write `stream\('GET', \.\.\.\)` for each call"):
                stream.__enter__()
            lines = list(response.iter_lines())
        with pytest.raises(UsageError):
            stream.__enter__()

        assert (["one", "two"], CounterRecord(requests=1, answered_2xx=1)) == (lines, governor.statistics().counters)


async def test_a_hook_is_taken_out_once_however_often_that_is_said(governor: Governor) -> None:
    told: list[object] = []
    remove = governor.add_hook(told.append)
    governor.add_hook(told.append)

    for _ in range(3):
        remove()
    for _ in range(3):
        governor.try_permit("hourly")
    await governor.aclose()

    assert ["CallDenied"] == [type(event).__name__ for event in told]


async def test_what_one_use_wraps_decides_about_exceptions() -> None:
    seen: list[str] = []

    def fail(number: int) -> None:
        raise KeyError(number)

    @contextmanager
    def swallowing() -> Iterator[int]:
        try:
            yield 1
        except KeyError:
            seen.append("sync")

    @asynccontextmanager
    async def async_swallowing() -> AsyncIterator[int]:
        try:
            yield 2
        except KeyError:
            seen.append("async")

    with OneUse(swallowing(), "no") as one:
        fail(one)
    async with AsyncExitStack() as stack:
        fail(await stack.enter_async_context(AsyncOneUse(async_swallowing(), "no")))

    assert ["sync", "async"] == seen
