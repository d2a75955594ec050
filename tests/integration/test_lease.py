"""Permits granted ahead to threads are as exact as those that are asked for one by one.

Where the instant matters, the clock stands still.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Event

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from governor import Denied, Governor, Permit, Reason
from governor._units import Instant
from governor.testing import ManualClock
from governor_client import GovernorClient
from tests.support.answers import granted
from tests.support.leases import PLENTY, ahead, governed, take_all
from tests.support.threads import THREADS, all_at_once, brisk
from tests.support.waits import PATIENCE, until

pytestmark = pytest.mark.promise("R51")


@pytest.fixture(autouse=True)
def _brisk() -> Iterator[None]:
    with brisk():
        yield


def ask_until_denied(governor: Governor, *scopes: str, seed: int = 0) -> int:
    """How many permits there were for one thread, which asks a few times here and a few times there."""
    client, random, got = GovernorClient(governor), Random(seed), 0
    while True:
        scope = random.choice(scopes)
        for _ in range(random.randrange(1, 10)):
            if isinstance(client.try_permit(scope), Denied):
                return got
            got += 1


def everything(governor: Governor, *scopes: str) -> int:
    """How many permits there are for 8 threads together."""
    return sum(all_at_once(lambda number: ask_until_denied(governor, *scopes, seed=number)))


# The bucket.


@pytest.mark.promise("R02")
def test_what_lay_granted_ahead_for_a_minute_is_part_of_the_burst_and_not_a_second_one() -> None:
    clock = ManualClock()
    with governed("800/minute burst 800", clock=clock) as governor:
        for _ in range(5):
            with ahead(governor, "weather") as (actors, _):
                clock.advance(60)
                popped = sum(len(batch) for batch in all_at_once(lambda _: take_all(actors[0])))
            rest = everything(governor, "weather")
            clock.advance(60)

            assert popped >= 20
            assert 800 == popped + rest


@pytest.mark.promise("R02")
def test_nor_is_it_if_the_actor_is_awake_all_the_while() -> None:
    clock = ManualClock()
    with governed("800/minute burst 800", clock=clock) as governor:
        for _ in range(10):
            with ahead(governor, "weather"):
                pass
            clock.advance(60)

            assert 800 == everything(governor, "weather")
            clock.advance(60)


@pytest.mark.promise("R02")
def test_what_was_used_of_a_lease_leaves_room_from_when_its_actor_has_learned_of_it() -> None:
    clock = ManualClock()
    with governed("800/minute burst 800", clock=clock) as governor:
        with ahead(governor, "weather") as (actors, _):
            clock.advance(60)
            popped = len(take_all(actors[0]))
            clock.advance(60)
        rest = everything(governor, "weather")
        clock.advance(0.75)  # Ten tokens' worth.
        later = everything(governor, "weather")

    assert (800 - popped, 10) == (rest, later)


@pytest.mark.promise("R02", "R04")
def test_threads_and_tasks_of_the_governors_own_loop_get_all_there_is_and_not_one_more() -> None:
    async def main() -> int:
        async with governed("1/day burst 5000") as governor:
            counts: list[int] = []

            async def thread() -> None:
                counts.append(await anyio.to_thread.run_sync(ask_until_denied, governor, "weather"))

            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(thread)
                own = 0
                while isinstance(governor.try_permit("weather"), Permit):
                    own += 1
                    await anyio.lowlevel.checkpoint()
            return own + sum(counts)

    assert 5000 == anyio.run(main)


@pytest.mark.promise("R02", "R04")
def test_a_lease_is_recalled_for_a_call_that_asks_for_all_of_it() -> None:
    with governed("1/day burst 1000") as governor, ThreadPoolExecutor(1) as pool:
        with ahead(governor, "weather") as (_, used):
            future = pool.submit(governor.try_permit, "weather", cost=1000 - used)
        granted(future.result(PATIENCE))
        counters = governor.statistics().counters

    assert (used + 1, {}) == (counters.requests, counters.denied)


@pytest.mark.promise("R04")
def test_a_waiting_call_is_served_before_anything_is_granted_ahead_again() -> None:
    """The wait is for more than there is: the whole lease is recalled for it, and no other call takes any of it."""
    clock = ManualClock()
    with governed("10/s burst 1000", clock=clock) as governor, ThreadPoolExecutor(1) as pool:
        with ahead(governor, "weather") as (actors, used):
            future = pool.submit(governor.permit("weather", cost=1000 - used + 1).__enter__)
            until(lambda: len(actors[0].inbox) == 1)
        denied = [governor.try_permit("weather") for _ in range(50)]
        left = len(take_all(actors[0]))
        clock.advance(0.1)
        future.result(PATIENCE)

    assert {Reason.RATE_LIMIT} == {answer.reason for answer in denied if isinstance(answer, Denied)}
    assert 50 == len(denied)
    assert 0 == left


@pytest.mark.promise("R04")
def test_nothing_is_taken_of_what_was_granted_ahead_while_an_ask_for_all_of_it_is_decided() -> None:
    taken: list[Permit | None] = []
    with governed("1/day burst 1000") as governor, ThreadPoolExecutor(1) as pool:
        with ahead(governor, "weather") as ((actor,), used):
            now = actor.ledger.clock

            def now_while_another_thread_tries() -> Instant:
                taken.append(actor.take())
                return now()

            actor.ledger.clock = now_while_another_thread_tries
            future = pool.submit(governor.try_permit, "weather", cost=1000 - used)
            until(lambda: len(actor.inbox) == 1)
        granted(future.result(PATIENCE))

    assert {None} == set(taken)


# The global cap.


@pytest.mark.promise("R07")
def test_what_lay_granted_ahead_for_a_minute_counts_for_a_minute_from_when_it_was_used() -> None:
    clock, scopes = ManualClock(), ("weather", "traffic", "news")
    with governed(PLENTY, clock=clock, requests_per_minute=800, degraded_cooldown="1us") as governor:
        with ahead(governor, *scopes) as (actors, _):
            clock.advance(60)
            popped = sum(len(batch) for batch in all_at_once(lambda number: take_all(actors[number]), len(scopes)))
        rest = everything(governor, *scopes)
        clock.advance(59.999_999)
        nothing = everything(governor, *scopes)
        clock.advance(0.000_001)
        again = everything(governor, *scopes)

    assert popped >= 60
    assert 800 == popped + rest
    assert 0 == nothing
    assert 800 == again


@pytest.mark.promise("R07", "R08")
def test_8_threads_on_20_scopes_get_exactly_the_cap_minute_after_minute() -> None:
    clock, scopes = ManualClock(), tuple(f"scope{number}" for number in range(20))
    with governed(PLENTY, clock=clock, requests_per_minute=100) as governor:
        for _ in range(20):
            assert 100 == everything(governor, *scopes)
            clock.advance(60)
        denied = governor.statistics().counters.denied

    assert {"global_request_cap_exceeded", "degraded_mode_active"} >= set(denied)


@pytest.mark.promise("R07")
def test_use_of_what_was_granted_ahead_is_warned_of_when_it_is_known_and_what_is_leased_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with governed(PLENTY, requests_per_minute=10_000) as governor, ThreadPoolExecutor(1) as pool:
        client = GovernorClient(governor)

        def use(count: int) -> None:
            for _ in range(count):
                granted(client.try_permit("weather"))

        pool.submit(use, 8_000).result(PATIENCE)
        governor.statistics()
        before = [record.getMessage() for record in caplog.records]
        pool.submit(use, 500).result(PATIENCE)
        governor.statistics()
        after = [record.getMessage() for record in caplog.records]

    assert ([], 1) == (before, len(after))
    assert after[0].startswith("More than 80 % of the cap of 10000 requests per minute is used: 8")


@pytest.mark.promise("R07")
def test_a_scope_gets_the_last_of_the_cap_although_others_have_it_granted_ahead() -> None:
    scopes = ("hoard0", "hoard1", "hoard2")
    with governed(PLENTY, requests_per_minute=1000) as governor, ThreadPoolExecutor(1) as pool:
        granted(governor.try_permit("rare"))
        with ahead(governor, *scopes) as (_, used):
            future = pool.submit(governor.try_permit, "rare", cost=1000 - used - 1)
        granted(future.result(PATIENCE))
        now = governor.statistics()

    assert (0, {}) == (now.degraded_spells, now.counters.denied)


@pytest.mark.promise("R04", "R07")
def test_a_scope_that_asks_now_and_then_is_never_denied_while_others_hoard() -> None:
    """There is room for what all of them want together, and not for one more."""
    own, rare = 160, 80

    def ask(number: int) -> int:
        if number:
            got = ask_until_denied(governor, f"hoard{number}")
            busy.discard(number)
            return got
        got = 0
        while got < rare:
            granted(governor.try_permit("rare"))
            got += 1
            pause.wait(0.001 if busy else 0)
        return got

    pause, busy = Event(), set(range(1, THREADS))
    with governed(f"1/day burst {own}", requests_per_minute=own * (THREADS - 1) + rare) as governor:
        counts = all_at_once(ask)
        now = governor.statistics()

    assert [rare] + [own] * (THREADS - 1) == counts
    assert 0 == now.degraded_spells


# The end.


@pytest.mark.promise("R55")
def test_when_the_governor_has_closed_nothing_is_left_of_what_it_granted_ahead() -> None:
    with governed(PLENTY) as governor:
        client = GovernorClient(governor)
        with ahead(governor, "weather") as (actors, _):
            pass

    assert [] == take_all(actors[0])
    assert Denied("weather", Reason.SHUTTING_DOWN, None) == client.try_permit("weather")


@pytest.mark.promise("R51")
def test_an_unused_lease_is_recalled_soon() -> None:
    with governed("1/day burst 1000") as governor:
        with ahead(governor, "weather"):
            pass
        until(lambda: governor.statistics().scopes["weather"].leased == 0)
        limit = governor.statistics().scopes["weather"].limits[0]
        used = governor.statistics().counters.requests

    assert 1000 - used == limit.available


# The retry budget.


@pytest.mark.promise("R05")
def test_of_those_who_take_a_permit_of_the_lease_first_attempts_pay_into_the_retry_budget() -> None:
    with governed(PLENTY) as governor:
        with ahead(governor, "weather") as (actors, _):
            taken = [governor.leases.take("weather", None, attempt) for attempt in (1, None, 1, None, 1)]
        before = sum(count for _, _, count in actors[0].ledger.budget.state().deposits)
        for permit in filter(None, taken):
            permit.record(status=200)
        until(lambda: governor.statistics().scopes["weather"].counters.answered_2xx == 25)
        governor.statistics()  # What has been read once is not read again.

        assert 3 == sum(count for _, _, count in actors[0].ledger.budget.state().deposits) - before
