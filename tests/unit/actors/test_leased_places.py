"""Places in flight that pass from call to call while the governor's loop stands still."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Final

import pytest

from governor import Denied, UsageError
from governor._actors.leases.permits_ahead import NO_PERMITS, LeasedHeldPermit
from governor._units import Instant
from governor.clock import system_clock
from governor.errors import Overloaded, PermitDenied, ShuttingDown
from governor_client import GovernorClient
from tests.support.answers import granted
from tests.support.governors import actor_of
from tests.support.leases import PLENTY, ahead, governed
from tests.support.waits import PATIENCE, until

SCOPE: Final = "weather"


@pytest.mark.promise("R02")
def test_a_place_passes_on_as_often_as_calls_succeed_and_all_of_them_are_free_in_the_end() -> None:
    with governed("3 in flight", "1000 per day strict") as governor:
        client = GovernorClient(governor)
        with ahead(governor, SCOPE, least=3) as lease:
            places = lease.actors[0].leasing.holder.places
            for status in (200, 404, None):
                permits = [granted(client.try_permit(SCOPE)) for _ in range(3 if status else 1)]
                assert {LeasedHeldPermit} == set(map(type, permits))
                for permit in permits:
                    permit.record(status=status)
            assert places is not None
            assert 3 == places.count_free()
            places.permits = NO_PERMITS
            with pytest.raises(StopIteration):
                places.take()
            assert 3 == places.count_free()
        limit, _ = governor.statistics().scopes[actor_of(governor, SCOPE).scope].limits

    assert 3 == limit.available


@pytest.mark.promise("R02", "R14")
def test_another_scope_of_the_provider_gets_the_places_that_no_call_has_and_then_waits_for_one() -> None:
    with governed(PLENTY, provider={SCOPE: {"limits": ["2 in flight"]}}) as governor:
        client = GovernorClient(governor)
        with ahead(governor, SCOPE, least=2, method="GET"):
            first, second = (granted(client.try_permit(SCOPE, "GET")) for _ in range(2))
            second.record(status=200)
        other = granted(client.try_permit(SCOPE, "POST"))
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(governor.acquire_blocking, SCOPE, "POST", timeout=PATIENCE)
            until(lambda: actor_of(governor, SCOPE, "POST").waiting == 1)
            assert isinstance(client.try_permit(SCOPE, "GET"), Denied)
            first.record(status=200)
            waits.result().record(status=200)
        other.record(status=200)
        (limit,) = governor.statistics().provider_limits[SCOPE]

    assert 2 == limit.available


@pytest.mark.promise("R02")
def test_two_threads_that_report_one_permit_free_its_place_once() -> None:
    with governed("3 in flight") as governor:
        client = GovernorClient(governor)
        with ahead(governor, SCOPE, least=3) as lease:
            places = lease.actors[0].leasing.holder.places
            assert places is not None
            permit, clock, now = granted(client.try_permit(SCOPE)), places.clock, system_clock
            places.durations = []

            def other_thread() -> Instant:
                assert places is not None
                places.clock = clock
                permit.record(status=200)
                return now()

            places.clock = other_thread
            with pytest.raises(UsageError, match="reported before"):
                permit.record(status=200)

            assert 3 == places.count_free()


@pytest.mark.promise("R02")
def test_a_place_that_comes_back_after_a_recall_is_freed_by_a_message() -> None:
    with governed("3 in flight") as governor:
        client = GovernorClient(governor)
        with ahead(governor, SCOPE, least=3) as lease:
            (actor,) = lease.actors
            permit = granted(client.try_permit(SCOPE))
        until(lambda: actor.leasing.holder.places is None)
        with ahead(governor, SCOPE, least=2):  # Other places.
            permit.record(status=200)
        until(lambda: actor.leasing.holder.places is None)

        assert 3 == governor.statistics().scopes[actor.scope].limits[0].available


def fail() -> None:
    raise ZeroDivisionError


@pytest.mark.promise("R02", "R14")
@pytest.mark.parametrize("queued", [False, True], ids=["unread", "in the queue"])
@pytest.mark.parametrize("end", [ShuttingDown, Overloaded], ids=["closed", "crashed"])
def test_calls_that_wait_are_answered_when_their_scope_ends_and_each_leased_place_is_freed_once(
    end: type[PermitDenied], queued: bool
) -> None:
    with ThreadPoolExecutor(3) as pool, ExitStack() as life:
        governor = life.enter_context(governed("3 in flight"))
        client = GovernorClient(governor)
        assert governor._access.portal is not None
        with ahead(governor, SCOPE, least=3) as lease:
            (actor,) = lease.actors
            crash = partial(actor.within, fail)
            permits = [granted(client.try_permit(SCOPE)) for _ in range(3)]
            if end is Overloaded and not queued:
                governor._access.portal.post(crash)  # Before anything is read.
            waiting = [pool.submit(governor.acquire_blocking, SCOPE, timeout=PATIENCE) for _ in range(3)]
            until(lambda: len(actor.inbox) == 3)
        if queued:
            until(lambda: actor.waiting == 3)
        if end is ShuttingDown:
            life.close()
        elif queued:
            governor._access.portal.call(crash)
        assert [end] * 3 == [type(one.exception(PATIENCE)) for one in waiting]
        until(lambda: actor.life.live or end is ShuttingDown)
        (limit,), clock = actor.ledger.pipeline.places, actor.ledger.clock
        assert isinstance(client.try_permit(SCOPE), Denied)
        assert 0 == limit.available(clock())
        for permit in permits:
            permit.record(status=200)
        if end is Overloaded:  # A closed governor reads no outcomes.
            until(lambda: limit.available(clock()) == 3)
            granted(client.try_permit(SCOPE)).record(status=200)
