"""The path of a request for a permit through `GovernorClient`.

Who is let in at once, and whose message lies in the mailbox, is seen while the governor's loop stands still.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

import anyio
import anyio.lowlevel
import pytest

from governor import Config, Governor
from governor._actors import asking
from governor.testing import ManualClock
from governor_client import GovernorClient
from tests.support.answers import granted
from tests.support.governors import NEVER_REACHED, actor_of
from tests.support.leases import PLENTY, ahead, governed, standing_still
from tests.support.waits import PATIENCE, until

pytestmark = pytest.mark.promise("R51")

BACKENDS = ["asyncio", "trio"]


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that does not wait for a permit waits for its answer as long as a test may take."""
    monkeypatch.setattr(asking, "_ANSWER_TIMEOUT", 60.0)


Ask = Callable[[GovernorClient], object]


def use(client: GovernorClient, cost: int = 1, timeout: float = 20, attempt: int | None = None) -> None:
    with client.permit("weather", cost=cost, timeout=timeout, attempt=attempt) as permit:
        permit.record(status=200)


async def use_soon(client: GovernorClient, attempt: int | None = None) -> None:
    async with client.permit("weather", timeout=20, attempt=attempt) as permit:
        permit.record(status=200)


def use_on(backend: str, attempt: int | None, client: GovernorClient) -> None:
    anyio.run(use_soon, client, attempt, backend=backend)


PLAIN: dict[str, Ask] = {
    "tried": lambda client: granted(client.try_permit("weather")).record(status=200),
    "in a block": use,
    "in a block, without waiting": lambda client: use(client, timeout=0),
    "in a block, the first attempt": lambda client: use(client, attempt=1),
    **{f"on {backend}": partial(use_on, backend, None) for backend in BACKENDS},
    **{f"on {backend}, the first attempt": partial(use_on, backend, 1) for backend in BACKENDS},
}
OTHER: dict[str, Ask] = {
    "tried, for 2": lambda client: granted(client.try_permit("weather", cost=2)).record(status=200),
    "in a block, for 2": lambda client: use(client, cost=2),
    "in a block, the second attempt": lambda client: use(client, attempt=2),
    "tried, for tokens": lambda client: granted(client.try_permit("weather", cost={"tokens": 1})).record(status=200),
    **{f"on {backend}, the second attempt": partial(use_on, backend, 2) for backend in BACKENDS},
}


@pytest.mark.parametrize("ask", PLAIN.values(), ids=PLAIN)
def test_a_plain_permit_comes_out_of_the_lease_while_the_loop_stands_still(ask: Ask) -> None:
    with governed(PLENTY) as governor, ahead(governor, "weather") as (actors, _):
        before = len(actors[0].leasing.holder)
        ask(GovernorClient(governor))
        left, asked = len(actors[0].leasing.holder), len(actors[0].inbox)

    assert (before - 1, 0) == (left, asked)


def asked_while_standing_still(governor: Governor, ask: Ask) -> tuple[int, bool]:
    """How many messages there are in the mailbox, and is there an answer? When the loop moves again, there must be."""
    with ThreadPoolExecutor(1) as pool:
        with standing_still(governor):
            future = pool.submit(ask, GovernorClient(governor))
            inbox = actor_of(governor, "weather").inbox
            until(lambda: bool(inbox) or future.done())
            seen = len(inbox), future.done()
        future.result(PATIENCE)
    return seen


@pytest.mark.parametrize("ask", OTHER.values(), ids=OTHER)
@pytest.mark.usefixtures("_patient")
def test_whatever_is_not_plain_goes_through_the_mailbox_although_permits_are_at_hand(ask: Ask) -> None:
    with governed(PLENTY) as governor, ThreadPoolExecutor(1) as pool:
        with ahead(governor, "weather") as (actors, _):
            future = pool.submit(ask, GovernorClient(governor))
            until(lambda: bool(actors[0].inbox) or future.done())
            seen = len(actors[0].inbox), future.done()
        future.result(PATIENCE)

    assert (1, False) == seen


HINDERED: dict[str, tuple[list[str], dict[str, object]]] = {
    "tokens": (["1000000 tokens/minute burst 1000000"], {}),
    "a breaker that counts successes": (["1000/s burst 1000"], {"failure_rate": 0.5, "window_calls": 20}),
    "too little to grant ahead": (["1/day burst 7"], {}),
}


@pytest.mark.parametrize(("limits", "breaker"), HINDERED.values(), ids=HINDERED)
@pytest.mark.parametrize("ask", [PLAIN["tried"], PLAIN["in a block"]], ids=["tried", "in a block"])
@pytest.mark.usefixtures("_patient")
def test_nor_is_anything_granted_ahead_where_a_limit_or_a_breaker_must_see_each_call(
    limits: list[str], breaker: dict[str, object], ask: Ask
) -> None:
    policy = {"limits": limits, "breaker": breaker}
    with Governor(
        Config.from_mapping({"global": {"requests_per_minute": NEVER_REACHED}, "outbound": {"default": policy}})
    ) as governor:
        for _ in range(6):
            ask(GovernorClient(governor))
        seen = asked_while_standing_still(governor, ask)

    assert (1, False) == seen


@pytest.mark.parametrize("ask", [PLAIN["tried"], PLAIN["in a block"]], ids=["tried", "in a block"])
@pytest.mark.promise("R06")
@pytest.mark.usefixtures("_patient")
def test_a_probe_goes_through_the_mailbox_and_so_does_every_call_until_two_have_succeeded(ask: Ask) -> None:
    clock = ManualClock()
    with governed(PLENTY, clock=clock, failures=1) as governor:
        with ahead(governor, "weather"):
            pass
        granted(governor.try_permit("weather")).record(status=500)
        governor.statistics()  # So that the actor has read it.
        clock.advance(3600)
        seen = [asked_while_standing_still(governor, ask) for _ in range(2)]
        status = governor.statistics().scopes["weather"].breaker.status
        with ahead(governor, "weather") as (actors, _):
            ask(GovernorClient(governor))
            asked = len(actors[0].inbox)

    assert [(1, False)] * 2 == seen
    assert ("closed", 0) == (status, asked)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_first_ask_for_a_scope_from_another_loop_does_not_hold_that_loop_up(backend: str) -> None:
    went_on, answered = Event(), Event()

    async def ask() -> None:
        await use_soon(client)
        answered.set()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            while not (portal._calls or answered.is_set()):
                await anyio.lowlevel.checkpoint()
            went_on.set()

    with governed(PLENTY) as governor, ThreadPoolExecutor(1) as pool:
        client, portal = GovernorClient(governor), governor._access.running()
        with standing_still(governor):
            future = pool.submit(lambda: anyio.run(main, backend=backend))
            seen = went_on.wait(PATIENCE), future.done()
        future.result(PATIENCE)

    assert (True, False) == seen
