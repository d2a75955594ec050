"""Places in flight that pass from call to call while the governor's loop stands still."""

from typing import Final

import pytest

from governor import UsageError
from governor._actors.permit import LentPermit
from governor._units import Instant
from governor_client import GovernorClient
from tests.support.answers import granted
from tests.support.governors import actor_of
from tests.support.leases import ahead, governed

SCOPE: Final = "weather"


@pytest.mark.promise("R02")
def test_a_place_passes_on_as_often_as_calls_succeed_and_all_of_them_are_free_in_the_end() -> None:
    with governed("3 in flight", "1000 per day strict") as governor:
        client = GovernorClient(governor)
        with ahead(governor, SCOPE, least=3) as lease:
            places = lease.actors[0].lender.holder.places
            for status in (200, 404, None):
                permits = [granted(client.try_permit(SCOPE)) for _ in range(3 if status else 1)]
                assert {LentPermit} == set(map(type, permits))
                for permit in permits:
                    permit.record(status=status)
            assert places is not None
            assert 3 == len(places.free)
        limit, _ = governor.statistics().scopes[actor_of(governor, SCOPE).scope].limits

    assert 3 == limit.available


@pytest.mark.promise("R02")
def test_two_threads_that_report_one_permit_free_its_place_once() -> None:
    with governed("3 in flight") as governor:
        client = GovernorClient(governor)
        with ahead(governor, SCOPE, least=3) as lease:
            places = lease.actors[0].lender.holder.places
            assert places is not None
            permit, clock = granted(client.try_permit(SCOPE)), places.clock
            places.durations = []

            def other_thread() -> Instant:
                assert places is not None
                places.clock = clock
                permit.record(status=200)
                return clock()

            places.clock = other_thread
            with pytest.raises(UsageError, match="reported before"):
                permit.record(status=200)

            assert 3 == len(places.free)
