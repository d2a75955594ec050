"""An outcome that a thread reports counts at once, and in its order, although permits are granted ahead."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Barrier
from unittest.mock import patch

import pytest

from governor import Denied, Permit, Reason
from governor._actors.actor import ScopeActor
from governor._actors.leases.lease import HolderReport, LocalHolder
from governor._actors.leases.permits_ahead import LeasedPermit
from governor._units import MINUTE, Instant
from governor.clock import system_clock
from governor.hints import Hint
from governor.policies.windows.window import StrictWindowPolicy
from governor.testing import ManualClock
from governor_client import GovernorClient
from tests.support.answers import granted
from tests.support.governors import actor_of
from tests.support.leases import PLENTY, ahead, governed, standing_still, take_all
from tests.support.threads import THREADS, all_at_once, brisk, elsewhere
from tests.support.waits import PATIENCE, until

pytestmark = pytest.mark.promise("R51")


@pytest.fixture(params=[5e-3, 1e-5, 1e-6], ids=str)
def _turns(request: pytest.FixtureRequest) -> Iterator[None]:
    with brisk(request.param):
        yield


# The breaker.


@pytest.mark.promise("R06")
@pytest.mark.parametrize("limits", [[PLENTY], [PLENTY, "1000 in flight"]])
def test_after_it_has_reported_the_failure_that_opens_the_breaker_a_thread_finds_an_empty_lease(
    limits: tuple[str, ...],
) -> None:
    with governed(*limits, failures=1) as governor, ThreadPoolExecutor(1) as pool:
        client = GovernorClient(governor)
        with ahead(governor, "weather") as (actors, used):
            granted(client.try_permit("weather")).record(status=500)
            found = take_all(actors[0])
            future = pool.submit(client.try_permit, "weather")
        answer = future.result(PATIENCE)
        now = governor.statistics().scopes["weather"]

    assert [] == found
    assert isinstance(answer, Denied)
    assert Reason.CIRCUIT_OPEN is answer.reason
    assert (used + 1, 0) == (now.counters.requests, now.leased)


@pytest.mark.promise("R11")
def test_after_it_has_reported_what_a_server_asks_for_a_thread_finds_empty_leases() -> None:
    with governed(PLENTY) as governor, ThreadPoolExecutor(1) as pool:
        client = GovernorClient(governor)
        with ahead(governor, "weather", "maps", "news") as (actors, _):
            first, second = granted(client.try_permit("weather")), granted(client.try_permit("maps"))
            first.hint(retry_after=60.0)
            second.hints((Hint("requests", retry_after=MINUTE, scope="scope"),))
            found = [take_all(actor) for actor in actors]
            futures = [pool.submit(client.try_permit, provider) for provider in ("weather", "maps", "news")]
        paused, alone, other = (future.result(PATIENCE) for future in futures)

    assert [[], [], []] == found
    for denied in (paused, alone):
        assert isinstance(denied, Denied)
        assert Reason.COOLDOWN is denied.reason
    granted(other)


@pytest.mark.promise("R06")
@pytest.mark.usefixtures("_turns")
def test_no_call_after_the_reported_failure_gets_a_permit() -> None:
    """The other threads keep what they had taken before, and get no more."""
    rounds, barrier = 40, Barrier(THREADS)
    reported = [0] * rounds
    own: list[Permit | Denied] = []

    def hammer(number: int) -> list[tuple[int, int]]:
        client, random = GovernorClient(governor), Random(number)
        last: list[tuple[int, int]] = []
        for turn in range(rounds):
            barrier.wait()
            before, used, fails_after = 0, 0, random.randrange(5, 300)
            while True:
                asked = system_clock()
                answer = client.try_permit(f"scope{turn}")
                if isinstance(answer, Denied):
                    break
                before, used = asked, used + 1
                if number == turn % THREADS and used == fails_after:
                    answer.record(status=500)
                    reported[turn] = system_clock()
                    own.append(client.try_permit(f"scope{turn}"))
                else:
                    answer.record(status=200)
            last.append((turn, before))
        return last

    with governed(PLENTY, failures=1) as governor:
        lasts = all_at_once(hammer)

    assert [] == [(turn, asked) for last in lasts for turn, asked in last if asked > reported[turn]]
    assert rounds == len(own)
    assert {Reason.CIRCUIT_OPEN} == {answer.reason for answer in own if isinstance(answer, Denied)}
    assert [] == [answer for answer in own if isinstance(answer, Permit)]


# Degraded mode.


@pytest.mark.promise("R08")
@pytest.mark.usefixtures("_turns")
def test_once_one_thread_has_met_degraded_mode_no_thread_gets_a_permit_in_any_scope() -> None:
    rounds, barrier, clock = 40, Barrier(THREADS), ManualClock()

    def hammer(number: int) -> list[tuple[int, int]]:
        """When, in each round, it asked for the last permit that it got, and when it was told."""
        client, random = GovernorClient(governor), Random(number)
        seen: list[tuple[int, int]] = []
        for _ in range(rounds):
            barrier.wait()
            last = 0
            while True:
                scope = f"scope{random.randrange(20)}"
                for _ in range(random.randrange(1, 30)):
                    asked = system_clock()
                    answer = client.try_permit(scope)
                    if isinstance(answer, Denied):
                        break
                    last = asked
                    answer.record(status=500 if random.random() < 0.01 else 200)
                else:
                    continue
                seen.append((last, system_clock()))
                break
            if barrier.wait() == 0:
                clock.advance(60)
        return seen

    with governed(PLENTY, clock=clock, degraded_after_failures=1, degraded_cooldown="60s") as governor:
        seen = all_at_once(hammer)
        now = governor.statistics()

    for turn in range(rounds):
        first_told = min(told for _, told in (rows[turn] for rows in seen))
        assert [] == [asked for asked, _ in (rows[turn] for rows in seen) if asked > first_told]
    assert rounds == now.degraded_spells
    assert {"degraded_mode_active"} == set(now.counters.denied)


@pytest.mark.promise("R08")
def test_after_it_has_reported_the_failure_that_begins_degraded_mode_a_thread_gets_nothing_in_another_scope() -> None:
    with governed(PLENTY, degraded_after_failures=1) as governor, ThreadPoolExecutor(1) as pool:
        client = GovernorClient(governor)
        permit = granted(client.try_permit("weather"))
        with ahead(governor, "traffic"):
            permit.record(status=500)
            future = pool.submit(client.try_permit, "traffic")
        answer = future.result(PATIENCE)

    assert isinstance(answer, Denied)
    assert Reason.DEGRADED is answer.reason


# The order of reports.


@pytest.mark.promise("R06")
def test_successes_between_the_failures_that_a_thread_reports_are_between_them() -> None:
    """Failures in a row are what opens a breaker, and there were never two."""
    with governed(PLENTY, failures=2) as governor:
        permits = [granted(governor.try_permit("weather")) for _ in range(10)]
        with standing_still(governor):
            for number, permit in enumerate(permits):
                permit.record(status=200 if number % 2 else 500)
        weather = governor.statistics().scopes["weather"]

    assert ("closed", 0) == (weather.breaker.status, weather.counters.openings)


@pytest.mark.promise("R08")
def test_nor_is_degraded_mode_begun_by_failures_that_are_not_in_a_row() -> None:
    with governed(PLENTY, degraded_after_failures=2) as governor:
        permits = [granted(governor.try_permit("weather")) for _ in range(10)]
        with standing_still(governor):
            for number, permit in enumerate(permits):
                permit.record(status=200 if number % 2 else 500)
        now = governor.statistics()

    assert 0 == now.degraded_spells


@pytest.mark.promise("R06", "R08")
@pytest.mark.parametrize(
    ("breaker", "degraded", "calls"),
    [
        (9, 2, [("weather", 500), ("news", 200), ("weather", 500)]),
        (2, 9, [("weather", 500), ("news", 200), ("weather", 200), ("weather", 500)]),
    ],
)
def test_a_success_of_a_permit_granted_ahead_ends_a_run_of_failures_that_was_read(
    breaker: int, degraded: int, calls: list[tuple[str, int]]
) -> None:
    """In any scope that of degraded mode, in its own scope that of the breaker."""
    with governed(PLENTY, failures=breaker, degraded_after_failures=degraded) as governor:
        client = GovernorClient(governor)
        with ahead(governor, "weather", "news"):
            permits = [(granted(client.try_permit(scope)), status) for scope, status in calls]
        for permit, status in permits:
            permit.record(status=status)
            governor.statistics()
        now = governor.statistics()

    assert {LeasedPermit} == {type(permit) for permit, _ in permits}
    assert ("closed", 0) == (now.scopes["weather"].breaker.status, now.degraded_spells)


@pytest.mark.promise("R02")
def test_a_call_of_a_strict_window_is_on_the_way_until_its_success_was_read() -> None:
    with governed("1000 per day strict") as governor:
        client = GovernorClient(governor)
        with ahead(governor, "weather", least=8) as ((actor,), _):
            for permit in [granted(client.try_permit("weather")) for _ in range(8)]:
                permit.record(status=200)
        until(lambda: not actor.outstanding)
        (limit,) = actor.ledger.pipeline.all_limits

    assert isinstance(limit, StrictWindowPolicy)
    assert 0 == limit.moving


# On the governor's own loop.


@pytest.mark.promise("R08")
def test_a_failure_that_a_thread_has_reported_counts_for_the_loop_as_well() -> None:
    async def main() -> Denied | Permit:
        async with governed(PLENTY, degraded_after_failures=1) as governor:
            permit = granted(governor.try_permit("weather"))
            granted(governor.try_permit("traffic"))
            elsewhere(permit.record, status=500)
            return governor.try_permit("traffic")

    answer = asyncio.run(main())

    assert isinstance(answer, Denied)
    assert Reason.DEGRADED is answer.reason


@pytest.mark.promise("R06")
def test_a_success_on_the_loop_is_between_the_failures_of_threads_if_it_was_reported_there() -> None:
    async def main() -> str:
        async with governed(PLENTY, failures=2) as governor:
            first, second, third = (granted(governor.try_permit("weather")) for _ in range(3))
            elsewhere(first.record, status=500)
            second.record(status=200)
            elsewhere(third.record, status=500)
            return governor.statistics().scopes["weather"].breaker.status

    assert "closed" == asyncio.run(main())


# What was really used.


@pytest.mark.promise("R03")
def test_while_a_scope_is_in_debt_nothing_is_to_be_had_of_what_was_granted_ahead() -> None:
    with governed("10/s burst 1000", clock=ManualClock()) as governor:
        permit = granted(governor.try_permit("weather"))
        with ahead(governor, "weather"):
            permit.record(status=200, used={"requests": 5000})
        now = governor.statistics().scopes["weather"]
        answer = GovernorClient(governor).try_permit("weather")

    assert (0, 0) == (now.leased, now.limits[0].available)
    assert isinstance(answer, Denied)


# Looking while something is going on.


@pytest.mark.promise("R02", "R04")
@pytest.mark.parametrize("handler", ["catch_up", "recall", "a permit given back"])
def test_a_use_that_comes_right_after_the_actor_has_read_the_clock_is_not_dated_before_it_happened(handler: str) -> None:
    """The thread stands still there for as long as it takes to fill the bucket."""
    clock = ManualClock()
    taken: list[Permit] = []
    with governed("1000/minute burst 1000", clock=clock) as governor:
        permit = granted(governor.try_permit("weather"))
        with ahead(governor, "weather") as ((actor,), _):
            read, begun = actor.ledger.clock, clock()

            def late() -> Instant:
                now = read()
                if clock() == begun:
                    clock.advance(60)
                    taken.extend(take_all(actor))
                return now

            with patch.object(actor.ledger, "clock", late):
                handle(actor, handler, permit)
                late()
            actor.recall()
            left = actor.ledger.pipeline.limits[0].available(clock())

    assert 1000 - len(taken) == left


def handle(actor: ScopeActor, handler: str, permit: Permit) -> None:
    if handler == "catch_up":
        actor.catch_up()
    elif handler == "recall":
        actor.recall()
    else:
        permit.reported = True
        actor.logic.learn(permit.grant())


def test_figures_that_a_signal_handler_asks_for_in_the_middle_disturb_nothing() -> None:
    """The handler comes between counting the successes and taking them."""

    async def main() -> tuple[int, int]:
        async with governed(PLENTY) as governor:
            permits = [granted(governor.try_permit("weather")) for _ in range(20)]
            for permit in permits:
                elsewhere(permit.record, status=200)
            actor = actor_of(governor, "weather")
            report = LocalHolder.report

            def interrupted(holder: LocalHolder) -> HolderReport:
                governor.statistics()
                return report(holder)

            with patch.object(LocalHolder, "report", interrupted):
                actor.catch_up()
            counters = governor.statistics().counters
            return counters.answered_2xx, sum(counters.denied.values())

    assert (20, 0) == asyncio.run(main())


# Giving back.


@pytest.mark.promise("R04")
def test_a_permit_given_back_is_there_again_while_others_are_granted_ahead() -> None:
    with governed("1/day burst 1000", clock=ManualClock()) as governor:
        permits = [granted(governor.try_permit("weather")) for _ in range(50)]
        with ahead(governor, "weather") as (_, used):
            for permit in permits:
                permit.give_back()
        left = governor.statistics().scopes["weather"].limits[0].available

    assert 1000 - used == left


@pytest.mark.promise("R04")
def test_so_is_one_that_was_granted_ahead_itself() -> None:
    with governed("1/day burst 1000", clock=ManualClock()) as governor:
        with ahead(governor, "weather") as (actors, used):
            for _ in range(10):
                next(actors[0].leased).give_back()
        left = governor.statistics().scopes["weather"].limits[0].available

    assert 1000 - used == left
