"""A denial says the same on every thread and event loop and for every kind of call."""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Final, NamedTuple

import anyio
import anyio.to_thread
import pytest

from governor import (
    CircuitOpen,
    ConcurrencyExceeded,
    ConfigError,
    CostExceedsCapacity,
    DegradedMode,
    Denied,
    Governor,
    Overloaded,
    PermitDenied,
    RateLimited,
    Reason,
    RequestCapExceeded,
    ShuttingDown,
    UsageError,
)
from governor.testing import ManualClock
from governor_client import GovernorClient
from tests.support.answers import granted
from tests.support.governors import NEVER_REACHED
from tests.support.leases import PLENTY, ahead, governed

pytestmark = pytest.mark.promise("R51")

#: Who was denied what: the class of the exception, and its three facts.
Facts = tuple[type[PermitDenied], str, Reason, float | None]


class Case(NamedTuple):
    """One permit is granted in the scope `before`, and ends with `status`, if it ends; the next ask costs `cost`."""

    error: type[PermitDenied]
    reason: Reason
    retry_after: float | None
    limit: str = PLENTY
    settings: Mapping[str, object] = MappingProxyType({})
    failures: int = NEVER_REACHED
    before: str = "weather"
    status: int | None = None
    cost: int = 1


EXEMPT: Final = {"requests_per_minute": 1, "degraded_exempt": ["weather"]}
ONE_FAILURE: Final = {"degraded_after_failures": 1, "degraded_after_providers": 1}
CASES: Final = [
    Case(RateLimited, Reason.RATE_LIMIT, 86_400.0, "1/day burst 1"),
    Case(CircuitOpen, Reason.CIRCUIT_OPEN, 3600.0, failures=1, status=500),
    Case(DegradedMode, Reason.DEGRADED, 60.0, settings=ONE_FAILURE, status=500),
    Case(RequestCapExceeded, Reason.REQUEST_CAP, 60.0, settings=EXEMPT),
    Case(ConcurrencyExceeded, Reason.CONCURRENCY, 1.0, "1 in flight"),
    Case(CostExceedsCapacity, Reason.COST, None, "5/s burst 5", cost=6),
    Case(Overloaded, Reason.OVERLOADED, 1.0, settings={"max_scopes": 1}, before="traffic"),
]


def facts(refusal: PermitDenied) -> Facts:
    return type(refusal), refusal.scope, refusal.reason, refusal.retry_after


def tried(asked: Governor | GovernorClient, cost: int) -> Facts:
    answer = asked.try_permit("weather", cost=cost)
    assert isinstance(answer, Denied)
    return facts(answer.exception())


def blocked(asked: Governor | GovernorClient, cost: int) -> Facts:
    with pytest.raises(PermitDenied) as denied, asked.permit("weather", cost=cost, timeout=0):
        pass
    return facts(denied.value)


async def awaited(asked: Governor | GovernorClient, cost: int) -> Facts:
    with pytest.raises(PermitDenied) as denied:
        async with asked.permit("weather", cost=cost, timeout=0):
            pass
    return facts(denied.value)


async def everywhere(governor: Governor, cost: int = 1) -> list[Facts]:
    """What is said on the governor's own loop, and through a client on that loop, on a thread and on two other loops."""
    client, elsewhere = GovernorClient(governor), anyio.to_thread.run_sync
    return [
        tried(governor, cost),
        await awaited(governor, cost),
        tried(client, cost),
        await awaited(client, cost),
        await elsewhere(tried, client, cost),
        await elsewhere(blocked, client, cost),
        await elsewhere(partial(anyio.run, awaited, client, cost, backend="asyncio")),
        await elsewhere(partial(anyio.run, awaited, client, cost, backend="trio")),
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.error.__name__)
@pytest.mark.promise("R10")
def test_a_denial_says_the_same_wherever_the_call_is_made(case: Case) -> None:
    async def main() -> list[Facts]:
        async with governed(case.limit, clock=ManualClock(), failures=case.failures, **case.settings) as governor:
            permit = granted(governor.try_permit(case.before))
            if case.status is not None:
                permit.record(status=case.status)
            return await everywhere(governor, case.cost)

    told = anyio.run(main)

    assert [(case.error, "weather", case.reason, case.retry_after)] * 8 == told


@pytest.mark.promise("R55")
def test_so_does_the_denial_of_a_closed_governor() -> None:
    async def main() -> list[Facts]:
        async with governed(PLENTY) as governor:
            granted(governor.try_permit("weather"))
        return await everywhere(governor)

    told = anyio.run(main)

    assert [(ShuttingDown, "weather", Reason.SHUTTING_DOWN, None)] * 8 == told


@pytest.mark.parametrize("cost", [0, -1, {"tokens": -1}])
def test_a_cost_that_cannot_be_is_a_mistake_although_permits_are_at_hand(cost: int | dict[str, int]) -> None:
    with governed(PLENTY) as governor, ahead(governor, "weather"):
        client = GovernorClient(governor)
        for ask in (governor.try_permit, client.try_permit, governor.permit, client.permit):
            with pytest.raises(ConfigError, match="cost"):
                ask("weather", cost=cost)


def test_a_permit_that_was_granted_ahead_is_like_any_other() -> None:
    with governed(PLENTY) as governor:
        client = GovernorClient(governor)
        with ahead(governor, "weather"):
            at_hand = granted(client.try_permit("weather"))
        asked = granted(client.try_permit("weather", cost=2))
        looks = {(repr(permit), permit.scope, permit.reported) for permit in (at_hand, asked)}
        for permit in (at_hand, asked):
            permit.record(status=404)
            with pytest.raises(UsageError, match="has been reported"):
                permit.record(status=200)
        counters = governor.statistics().counters

    assert 1 == len(looks)
    assert 2 == counters.answered_4xx
