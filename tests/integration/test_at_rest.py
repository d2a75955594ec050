"""An idle governor lets the processor rest.

A loop rests when it sleeps for ever: no timer is set, so nothing but a call from another thread can wake it.
"""

import asyncio
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier, Event
from typing import Any

import pytest

from governor import Config, Governor, Permit
from governor._actors.portal import Portal
from governor_client import GovernorClient
from tests.support.answers import granted
from tests.support.governors import actor_of
from tests.support.leases import PLENTY, ahead, governed
from tests.support.portals import heard_posts
from tests.support.threads import THREADS
from tests.support.waits import PATIENCE, until

pytestmark = pytest.mark.promise("R51")

SCOPES = [f"scope{number}" for number in range(100)]


class Sleep:
    """The selector of an asyncio loop, which tells for how long the loop has gone to sleep, and how often it has woken up."""

    def __init__(self, selector: Any) -> None:
        self._selector = selector
        self.seconds = 0.0
        self.woken = 0

    def select(self, timeout: float | None = None) -> object:
        self.seconds = math.inf if timeout is None else timeout
        try:
            return self._selector.select(timeout)
        finally:
            self.seconds = 0.0
            self.woken += 1

    def __getattr__(self, name: str) -> object:
        return getattr(self._selector, name)


def watch_sleep(governor: Governor) -> Sleep:
    """From now on."""

    def replace() -> Sleep:
        loop: Any = asyncio.get_running_loop()
        loop._selector = sleep = Sleep(loop._selector)
        return sleep

    assert governor._access.portal is not None
    return governor._access.portal.call(replace)


@pytest.fixture
def posts() -> Iterator[list[tuple[Portal | None, str]]]:
    """Which loop was woken, and by which thread."""
    with heard_posts() as heard:
        yield heard


# An idle governor.


def idle_soon() -> Governor:
    settings = {"idle_after": "20ms", "requests_per_minute": 10**9}
    return Governor(Config.from_mapping({"global": settings, "outbound": {"default": {"limits": [PLENTY]}}}))


def test_100_scopes_and_8_threads_that_have_nothing_to_do_wake_no_thread(posts: list[tuple[Portal | None, str]]) -> None:
    def work(number: int) -> None:
        client = GovernorClient(governor)
        for scope in SCOPES[number:] + SCOPES[:number]:
            # Until some of it comes out of a lease.
            while (permit := take(scope)) is None:
                granted(client.try_permit(scope)).record(status=200)
            permit.record(status=200)
        rested.wait()
        go_home.wait()

    def take(scope: str) -> Permit | None:
        actor = governor._access.addresses.get(None, {}).get(scope)
        return None if actor is None else actor.take()

    rested, go_home = Barrier(THREADS + 1), Event()
    with idle_soon() as governor, ThreadPoolExecutor(THREADS) as pool, ExitStack() as stack:
        stack.callback(go_home.set)
        sleep = watch_sleep(governor)
        futures = [pool.submit(work, number) for number in range(THREADS)]
        rested.wait(PATIENCE)
        until(lambda: sleep.seconds == math.inf)
        asleep = sleep.woken
        posts.clear()
        awake = [scope for scope in SCOPES if not actor_of(governor, scope).life.passive]
        leased = sum(actor_of(governor, scope).leasing.outstanding for scope in SCOPES)
        go_home.set()
        for future in futures:
            future.result(PATIENCE)
        woken = sleep.woken - asleep
        posted = [name for portal, name in posts if portal is governor._access.portal]
        used = governor.statistics().counters.requests

    assert ([], 0) == (awake, leased)
    assert (0, []) == (woken, posted)
    assert used >= len(SCOPES) * THREADS


def test_an_unused_lease_leaves_no_timer_but_that_of_idle_scopes() -> None:
    """That is looked at once in 5 minutes."""
    with governed("1/day burst 1000") as governor:
        sleep = watch_sleep(governor)
        with ahead(governor, "weather") as (actors, _):
            pass
        until(lambda: sleep.seconds > 200)

        assert 0 == actors[0].leasing.outstanding
