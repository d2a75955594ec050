"""Priorities and fair shares where permits are scarce, in virtual time: who is served, and what is told to newcomers."""

from collections import Counter
from collections.abc import Sequence

import pytest
import trio
import trio.testing

from governor import Config, Governor, PermitDenied
from governor.policies.service_order import MAX_PASSED, Priority
from governor.testing import loop_clock

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R04")]


def scarce(limit: str = "1/s burst 1", **everywhere: object) -> Governor:
    """One that grants a permit each second, and has granted the first."""
    outbound = {"default": {"limits": [limit]}}
    return Governor(Config.from_mapping({"global": everywhere, "outbound": outbound}), clock=loop_clock())


class Crowd:
    """Calls that wait, and who has been served in which order."""

    def __init__(self, governor: Governor, nursery: trio.Nursery) -> None:
        self.governor = governor
        self.nursery = nursery
        self.served: list[str] = []

    async def add(self, names: Sequence[str], *, priority: Priority = "interactive", caller: str | None = None) -> None:
        for name in names:
            self.nursery.start_soon(self._call, name, priority, caller)
            await trio.testing.wait_all_tasks_blocked()

    async def _call(self, name: str, priority: Priority, caller: str | None) -> None:
        async with self.governor.permit("llm", priority=priority, caller=caller):
            self.served.append(name)


async def test_interactive_calls_go_first_and_batch_calls_have_one_in_ten() -> None:
    async with scarce() as governor, trio.open_nursery() as nursery:
        crowd = Crowd(governor, nursery)
        await crowd.add(["first"])
        await crowd.add(["batch"] * 5, priority="batch")
        await crowd.add(["interactive"] * 25)
    expected = ["first"] + 2 * (MAX_PASSED * ["interactive"] + ["batch"]) + 7 * ["interactive"] + 3 * ["batch"]

    assert expected == crowd.served


async def test_callers_take_turns_whatever_each_asks_for() -> None:
    async with scarce() as governor, trio.open_nursery() as nursery:
        crowd = Crowd(governor, nursery)
        await crowd.add(["first"])
        await crowd.add(["many"] * 50, caller="many")
        await crowd.add(["few"] * 5, caller="few")
        await crowd.add(["none"] * 5)
        await trio.sleep(15.5)
        shares = Counter(crowd.served[1:])
        nursery.cancel_scope.cancel()

    assert {"many": 5, "few": 5, "none": 5} == shares


@pytest.mark.parametrize("limit", ["1/s burst 1", "1 per 1s strict"])
async def test_what_a_newcomer_learns_is_when_it_is_served(limit: str) -> None:
    async with scarce(limit) as governor, trio.open_nursery() as nursery:
        crowd = Crowd(governor, nursery)
        await crowd.add(["first"])
        await crowd.add(["batch"] * 20, priority="batch")
        await crowd.add(["interactive"] * 3)
        with pytest.raises(PermitDenied) as denied:
            await governor.acquire("llm", timeout=3.9)
        with pytest.raises(PermitDenied) as batch_denied:
            await governor.acquire("llm", timeout=23.9, priority="batch")
        start = trio.current_time()
        await governor.acquire("llm", timeout=4.0)
        waited = trio.current_time() - start
        nursery.cancel_scope.cancel()

    assert pytest.approx(4.0, abs=1e-5) == denied.value.retry_after == pytest.approx(waited, abs=1e-5)
    assert pytest.approx(24.0, abs=1e-5) == batch_denied.value.retry_after


async def test_small_interactive_calls_do_not_starve_a_large_batch_call() -> None:
    async with scarce("1/s burst 10") as governor, trio.open_nursery() as nursery:
        crowd = Crowd(governor, nursery)
        await crowd.add(["first"] * 5)
        at = list[float]()

        async def large() -> None:
            async with governor.permit("llm", cost=10, priority="batch"):
                at.append(trio.current_time())

        start = trio.current_time()
        nursery.start_soon(large)
        for _ in range(100):
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(crowd._call, "small", "interactive", None)
            await trio.sleep(0.5)

    # Nine of the small ones go before it, and then none until it has its ten tokens.
    assert 14.0 == pytest.approx(at[0] - start, abs=1e-3)


async def test_batch_calls_leave_a_tenth_of_the_queue_to_interactive_ones() -> None:
    async with scarce(max_waiting=20) as governor, trio.open_nursery() as nursery:
        crowd = Crowd(governor, nursery)
        await crowd.add(["first"])
        await crowd.add(["batch"] * 18, priority="batch")
        with pytest.raises(PermitDenied, match="overloaded"):
            await governor.acquire("llm", priority="batch")
        await crowd.add(["interactive"] * 2)
        with pytest.raises(PermitDenied, match="overloaded"):
            await governor.acquire("llm")
        waiting = governor.statistics().scopes["llm"].waiting
        nursery.cancel_scope.cancel()

    assert 20 == waiting
