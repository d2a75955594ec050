"""A provider that bans, in virtual time: how many calls it rejects, and who is closed for how long."""

from collections.abc import Callable
from functools import partial

import anyio
import pytest

from governor import BanBudgetSpent, Config, Denied, Governor, PermitDenied, Reason
from governor.instrumentation import AnyEvent, CallsRejected
from governor.testing import loop_clock
from tests.support.answers import granted

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R12")]

SCOPES = [f"api:{method}" for method in ("get", "post", "put", "patch", "delete")]
MINUTE = 60.0


def governed(*, hooks: tuple[Callable[[AnyEvent], object], ...] = (), **ban_budget: object) -> Governor:
    said = {
        "global": {"requests_per_minute": "off", "idle_after": "5m"},
        "outbound": {"default": {"limits": ["100/s burst 1000"]}},
        "provider": {"default": {"ban_budget": ban_budget}},
    }
    return Governor(Config.from_mapping(said), clock=loop_clock(), hooks=hooks)


async def hammer(
    governor: Governor, scope: str, until: float, answer: Callable[[], int], sent: list[float], *, pause: float = 1.0
) -> None:
    """A program that never stops asking: as long as it waits for a permit, and then again after a pause."""
    while anyio.current_time() < until:
        try:
            async with governor.permit(*scope.split(":"), timeout=5.0) as permit:
                sent.append(anyio.current_time())
                await anyio.sleep(0.05)
                permit.record(status=answer())
        except PermitDenied:
            await anyio.sleep(pause)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("scopes", [1, 5])
async def test_a_program_without_settings_sends_few_calls_to_a_server_that_rejects_all(status: int, scopes: int) -> None:
    sent: list[float] = []
    async with Governor(clock=loop_clock()) as governor, anyio.create_task_group() as tasks:
        for scope in SCOPES[:scopes]:
            tasks.start_soon(hammer, governor, scope, 10 * MINUTE, lambda: status, sent)

    assert 10 <= len(sent) <= 20 * scopes
    assert len([at for at in sent if at > MINUTE]) <= 8 * scopes


async def test_after_rejections_in_a_row_the_scope_probes_one_call_at_a_time_in_growing_intervals() -> None:
    sent: list[float] = []
    healthy_at = 70 * MINUTE

    def answer() -> int:
        return 200 if anyio.current_time() > healthy_at else 403

    async with governed(in_a_row=3) as governor, anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(partial(hammer, governor, "api:get", 123.1 * MINUTE, answer, sent, pause=4.0))

    probes = [int(at / MINUTE) for at in sent if at > 0.5 * MINUTE]
    assert [1, 3, 7, 15, 31, 63, 123] == sorted(set(probes))
    assert [1] * 6 == [probes.count(at) for at in (1, 3, 7, 15, 31, 63)]
    assert probes.count(123) > 100


async def test_rejections_of_several_scopes_close_the_provider_and_no_other_one() -> None:
    events: list[AnyEvent] = []
    async with governed(in_a_row=4, hooks=(events.append,)) as governor:
        for scope in SCOPES[:4]:
            granted(governor.try_permit(*scope.split(":"))).record(status=403)
        denied = [governor.try_permit(*scope.split(":")) for scope in (*SCOPES, "api")]
        granted(governor.try_permit("elsewhere", "GET"))
        statistics = governor.statistics()
        await anyio.sleep(MINUTE)
        probe = granted(governor.try_permit("api", "GET"))
        behind = governor.try_permit("api", "POST")
        probe.record(status=404)
        for scope in SCOPES:
            granted(governor.try_permit(*scope.split(":")))

    assert [Denied(scope, Reason.BAN_BUDGET, MINUTE) for scope in (*SCOPES, "api")] == denied
    assert Denied("api:post", Reason.BAN_BUDGET, 1.0) == behind
    shown = statistics.scopes["api:get"].denial
    assert shown is not None
    assert Reason.BAN_BUDGET is shown.reason
    closed = [(event.scope, event.rejections, event.closed_for) for event in events if isinstance(event, CallsRejected)]
    assert [("api", 4, MINUTE)] == closed


async def test_a_scope_whose_calls_succeed_in_between_is_not_closed() -> None:
    async with governed(in_a_row=5) as governor:
        for number in range(200):
            granted(governor.try_permit("api", "GET")).record(status=404 if number % 4 == 3 else 403)
        counters = governor.statistics().counters

    assert {} == counters.denied


async def test_one_method_that_is_forbidden_does_not_close_the_others() -> None:
    async with governed(in_a_row=5) as governor:
        for _ in range(5):
            granted(governor.try_permit("api", "POST")).record(status=403)
        closed = governor.try_permit("api", "POST")
        for _ in range(50):
            granted(governor.try_permit("api", "GET")).record(status=200)

    assert isinstance(closed, Denied)


async def test_rate_limits_are_counted_and_close_the_provider_at_the_share_with_all_calls_under_way() -> None:
    async with governed(refusals=100, per="10m", close_at=0.5) as governor:
        for number in range(25):
            granted(governor.try_permit("api", "GET")).record(status=429)
            await anyio.sleep(1.0 * (number % 2))
        under_way = [granted(governor.try_permit("api", "POST")) for _ in range(25)]
        full = governor.try_permit("api", "GET")
        under_way.pop().record(status=200)
        replaced = granted(governor.try_permit("api", "PUT"))
        still = governor.try_permit("api", "GET")
        for permit in (*under_way, replaced):
            permit.record(status=429)
        closed = governor.try_permit("api", "GET")
        await anyio.sleep(closed.retry_after or 0.0 if isinstance(closed, Denied) else 0.0)
        granted(governor.try_permit("api", "GET"))

    assert Denied("api:get", Reason.BAN_BUDGET, 1.0) == full == still
    assert Denied("api:get", Reason.BAN_BUDGET, 600.0 - 12.0) == closed


async def test_from_half_of_the_threshold_on_calls_under_way_are_counted_although_permits_were_granted_before() -> None:
    async with governed(refusals=1000) as governor:
        under_way = [granted(governor.try_permit("api", "GET")) for _ in range(100)]
        for _ in range(250):
            granted(governor.try_permit("api", "POST")).record(status=429)
            await anyio.sleep(0.01)
        more = []
        while not isinstance(permit := governor.try_permit("api", "PUT"), Denied):
            more.append(permit)
        for permit in under_way:
            permit.record(status=200)
        granted(governor.try_permit("api", "PUT"))

    # 250 rejections, 100 calls before the count and these.
    assert 150 == len(more)


async def test_a_call_that_waits_for_a_ban_budget_is_served_when_an_answer_makes_room_in_another_scope() -> None:
    async def wait(governor: Governor, served: list[float]) -> None:
        async with governor.permit("api", "POST"):
            served.append(anyio.current_time())

    served: list[float] = []
    async with governed(refusals=4) as governor, anyio.create_task_group() as tasks:
        first, second = (granted(governor.try_permit("api", "GET")) for _ in range(2))
        tasks.start_soon(wait, governor, served)
        await anyio.sleep(3)
        first.record(status=200)
        await anyio.sleep(3)
        second.record(status=200)

    assert [3.0] == served


async def test_a_ban_outlives_its_idle_scopes_and_a_change_of_settings() -> None:
    async with governed(in_a_row=2, closed_for="1h") as governor:
        for scope in SCOPES[:2]:
            granted(governor.try_permit(*scope.split(":"))).record(status=401)
        await anyio.sleep(30 * MINUTE)
        asleep = governor.try_permit("api", "DELETE")
        governor.reconfigure(Config.from_mapping({"provider": {"api": {"ban_budget": {"in_a_row": 3}}}}))
        changed = governor.try_permit("api", "DELETE")
        with pytest.raises(BanBudgetSpent):
            await governor.acquire("api", "GET", timeout=1.0)

    assert Denied("api:delete", Reason.BAN_BUDGET, 1800.0) == asleep == changed
