"""A change of settings recalls every lease and holds for every thread and loop, under load."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TypeVar

import anyio
import anyio.to_thread
import pytest

from governor import Config, Denied, Governor, InboundRequest, Permit, Reason, Statistics, UsageError
from governor.testing import ManualClock
from governor_client import GovernorClient
from tests.support.answers import granted
from tests.support.governors import NEVER_REACHED
from tests.support.leases import ahead, governed, take_all
from tests.support.threads import THREADS, all_at_once, brisk
from tests.support.waits import PATIENCE

T = TypeVar("T")

#: How often settings change while threads work.
TURNS = 60


@pytest.fixture(autouse=True)
def _brisk() -> Iterator[None]:
    with brisk():
        yield


def changed(*limits: str, failures: int = NEVER_REACHED, **settings: object) -> Config:
    """What `governed` says, for `reconfigure`."""
    everything = {"requests_per_minute": NEVER_REACHED, "degraded_after_failures": NEVER_REACHED, **settings}
    scope = {"limits": limits, "breaker": {"failures": failures, "open_for": "1h"}}
    return Config.from_mapping({"global": everything, "outbound": {"default": scope}})


def count(governor: Governor, done: Event | None = None) -> int:
    """How many permits this thread gets until it is denied (and, with `done`, until that is set)."""
    client, got = GovernorClient(governor), 0
    while True:
        answer = client.try_permit("weather")
        if isinstance(answer, Permit):
            got += 1
            answer.record(status=200)
        elif done is None or done.is_set():
            return got


def on_its_loop(governor: Governor, function: Callable[[], T]) -> T:
    """In one go, so that the actor has no time to grant ahead again."""
    assert governor._access.portal is not None
    return governor._access.portal.call(function)


def reconfigured(governor: Governor, limit: str) -> Statistics:
    governor.reconfigure(changed(limit))
    return governor.statistics()


@pytest.mark.promise("R02")
def test_what_was_granted_ahead_is_taken_back_and_its_part_of_the_burst_is_left() -> None:
    with governed("1/day burst 1000", clock=ManualClock()) as governor:
        with ahead(governor, "weather") as (actors, used):
            popped = len(take_all(actors[0]))
        leased = on_its_loop(governor, lambda: reconfigured(governor, "1/day burst 100").scopes["weather"].leased)
        rest = sum(all_at_once(lambda _: count(governor)))

    assert 0 == leased
    assert (1000 - used - popped) // 10 == rest


@pytest.mark.promise("R06")
def test_permits_granted_ahead_are_recalled_when_a_scope_is_paused_from_another_thread() -> None:
    with governed("1/day burst 1000") as governor, ThreadPoolExecutor(1) as pool:
        with ahead(governor, "weather") as (actors, _):
            # The loop stands still: the pause waits for it, and holds before anything else is granted.
            paused = pool.submit(governor.set_breaker, "weather", open_for="5m")
            actors[0].take()
        paused.result(PATIENCE)
        answer, leased = GovernorClient(governor).try_permit("weather"), governor.statistics().scopes["weather"].leased

    assert isinstance(answer, Denied)
    assert (Reason.CIRCUIT_OPEN, 0, []) == (answer.reason, leased, take_all(actors[0]))


@pytest.mark.promise("R02")
def test_while_limits_change_again_and_again_threads_get_all_there_is_and_not_one_more() -> None:
    """Limits come and go beside the one that stays, which must know of every single use."""
    done, limit = Event(), "1/day burst 20000"

    def work(number: int) -> int:
        if number:
            return count(governor, done)
        for turn in range(TURNS):
            governor.reconfigure(changed(*[["9999999/s burst 9999999"], ["50 in flight"], []][turn % 3], limit))
        done.set()
        return 0

    with governed(limit, clock=ManualClock()) as governor:
        got = sum(all_at_once(work)) + count(governor)
        counters = governor.statistics().counters

    assert 20_000 == got == counters.requests


@pytest.mark.promise("R07")
def test_while_the_cap_changes_again_and_again_threads_never_get_more_than_the_largest() -> None:
    done = Event()

    def work(number: int) -> int:
        if number:
            return count(governor, done)
        for turn in range(TURNS):
            governor.reconfigure(changed("9999999/s burst 9999999", requests_per_minute=[4000, 200, 1][turn % 3]))
        governor.reconfigure(changed("9999999/s burst 9999999", requests_per_minute=5000, degraded_exempt=["weather"]))
        done.set()
        return 0

    with governed("9999999/s burst 9999999", clock=ManualClock(), requests_per_minute=3000) as governor:
        got = sum(all_at_once(work)) + count(governor)
        used = governor.statistics().requests_last_minute

    assert 5000 == got == used


@pytest.mark.promise("R03")
def test_while_limits_change_no_place_in_flight_is_lost_or_won() -> None:
    done = Event()
    limits = [["50 in flight"], ["7 in flight", "9999999/s burst 9999999"], ["9999999/s burst 9999999"], ["1 in flight"]]

    def work(number: int) -> None:
        while number and not done.is_set():
            answer = governor.try_permit("weather")
            if isinstance(answer, Permit):
                answer.record(status=200)
        if number:
            return
        for turn in range(TURNS):
            governor.reconfigure(changed(*limits[turn % 4]))
        done.set()

    with governed("50 in flight") as governor:
        all_at_once(work)
        governor.reconfigure(changed("50 in flight"))
        free = governor.statistics().scopes["weather"].limits[0].available

    assert 50 == free


@pytest.mark.promise("R54", "R55")
def test_tasks_on_other_loops_who_wait_or_leave_while_settings_change_are_all_answered() -> None:
    answers: list[str] = []

    async def ask(governor: Governor, number: int) -> None:
        with anyio.move_on_after(0.05 if number % 3 == 0 else 60):
            try:
                async with governor.permit("weather"):
                    answers.append("granted")
                    return
            except Exception as refusal:
                answers.append(type(refusal).__name__)
                return
        answers.append("left")

    async def crowd(governor: Governor) -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(60):
                tasks.start_soon(ask, governor, number)

    def change(governor: Governor) -> None:
        for turn in range(50):
            governor.reconfigure(changed(*[["1 in flight"], ["1/day burst 1"], ["2/day burst 2", "1 in flight"]][turn % 3]))
        governor.reconfigure(changed("9999/s burst 9999"))

    with governed("1/day burst 1") as governor, ThreadPoolExecutor(THREADS) as pool:
        crowds = [pool.submit(anyio.run, crowd, governor) for _ in range(3)]
        pool.submit(change, governor).result(PATIENCE)
        for one in crowds:
            one.result(PATIENCE)
        waiting = governor.statistics().scopes["weather"].waiting

    assert 180 == len(answers)
    assert {"granted", "left"} >= set(answers)
    assert 0 == waiting


@pytest.mark.promise("R55")
def test_a_change_of_settings_while_the_governor_closes_is_answered() -> None:
    for _ in range(20):
        begun = Event()

        def change(begun: Event = begun) -> str:
            for turn in range(100_000):
                try:
                    governor.reconfigure(changed(f"{turn + 1}/day burst 5"))
                except UsageError:
                    return "closed"
                begun.set()
            return "never closed"

        with ThreadPoolExecutor(1) as pool:
            with governed("1/day burst 5") as governor:
                granted(governor.try_permit("weather"))
                future = pool.submit(change)
                begun.wait()

            assert "closed" == future.result(PATIENCE)


@pytest.mark.promise("R06", "R51")
def test_a_thread_that_has_reported_the_last_failure_is_denied_though_settings_change_meanwhile() -> None:
    for _ in range(20):
        with governed("9999/s burst 9999", failures=1) as governor, ThreadPoolExecutor(1) as pool:
            permit = granted(governor.try_permit("weather"))
            future = pool.submit(governor.reconfigure, changed("999/s burst 999", failures=1))
            permit.record(status=500)
            future.result(PATIENCE)
            answer = governor.try_permit("weather")

        assert isinstance(answer, Denied)
        assert Reason.CIRCUIT_OPEN is answer.reason


# Visits.


@pytest.mark.promise("R21", "R24")
def test_inbound_requests_from_other_loops_while_groups_change_never_get_more_than_the_burst() -> None:
    def group(*also: str) -> Config:
        shop = {"paths": ["/shop"], "limits": ["1/day burst 300"], "address_limits": list(also), "total_limits": []}
        return Config.from_mapping({"inbound": {"shop": shop}})

    async def crowd(governor: Governor, request: InboundRequest) -> int:
        passed = 0
        for _ in range(200):
            admission = await governor.inbound.admit("shop", request)
            if admission.granted:
                passed += 1
                admission.end(200)
        return passed

    with Governor(group()) as governor, ThreadPoolExecutor(4) as pool:
        request = InboundRequest(governor.inbound.pseudonyms.actor(b"ann"), governor.inbound.pseudonyms.address(b"192.0.2.1"))
        crowds = [pool.submit(anyio.run, crowd, governor, request) for _ in range(3)]
        for turn in range(100):
            governor.reconfigure(group(*["9999/s"] * (turn % 2)))
        passed = sum(one.result(PATIENCE) for one in crowds)
        shop = governor.statistics().groups["shop"]

    assert (300, 300, 300, {"rate_limit_exceeded": 300}) == (
        passed,
        shop.counters.requests,
        shop.counters.answered_2xx,
        shop.counters.denied,
    )
