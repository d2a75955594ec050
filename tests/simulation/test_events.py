"""Every event is announced once, in order, and with the right figures.

Hooks are called on threads of their own, in no virtual time: what they were told is looked at when the governor has been left,
for it does not end before they have been told of everything.
"""

import threading
from threading import Event as Flag

import anyio
import msgspec
import pytest

from governor import Config, Governor, PermitDenied, Reason
from governor.instrumentation import (
    AnyEvent,
    BreakerChanged,
    CallDenied,
    ClientDenied,
    DegradedEntered,
    DegradedLeft,
    Granted,
    Retried,
)
from governor.messages import InboundRequest
from governor.policies.breakers.states import BreakerStatus
from governor.policies.degraded import Cause
from governor.testing import loop_clock
from tests.support.answers import granted
from tests.support.governors import supervisor_of

pytestmark = pytest.mark.anyio


def governed(told: list[AnyEvent], *limits: str, **sections: object) -> Governor:
    default = {"limits": limits, "breaker": {"failures": 3, "successes": 2, "probes": 2, "open_for": "30s"}}
    config = Config.from_mapping({"outbound": {"default": default}, **sections})
    return Governor(config, hooks=[told.append], clock=loop_clock())


def timeless(events: list[AnyEvent]) -> list[AnyEvent]:
    """The events without the time of day, which is not virtual."""
    return [msgspec.structs.replace(event, at=0.0) for event in events]


async def test_nothing_is_announced_while_all_goes_well() -> None:
    told: list[AnyEvent] = []
    async with governed(told, "5/s burst 5") as governor:
        for _ in range(5):
            async with governor.permit("weather"):
                pass

    assert [] == told


@pytest.mark.promise("R04")
async def test_a_permit_after_a_wait_says_how_long_that_was() -> None:
    told: list[AnyEvent] = []
    async with governed(told, "1/minute burst 1") as governor:
        for _ in range(3):
            async with governor.permit("weather"):
                pass

    assert [Granted(scope="weather", waited=60.0)] * 2 == [
        msgspec.structs.replace(event, at=0.0, waited=round(event.waited, 3)) for event in told if isinstance(event, Granted)
    ]
    assert 2 == len(told)


@pytest.mark.promise("R10")
async def test_a_refusal_says_why_and_for_how_long() -> None:
    told: list[AnyEvent] = []
    async with governed(told, "1/minute burst 1") as governor:
        granted(governor.try_permit("weather"))
        governor.try_permit("weather")
        governor.try_permit("weather", cost=2)
        with pytest.raises(PermitDenied):
            async with governor.permit("weather", timeout=59.0):
                pass

    assert [
        CallDenied(scope="weather", reason=Reason.RATE_LIMIT, retry_after=60.0),
        CallDenied(scope="weather", reason=Reason.COST, retry_after=None),
        CallDenied(scope="weather", reason=Reason.RATE_LIMIT, retry_after=60.0),
    ] == timeless(told)


@pytest.mark.promise("R10", "R55")
async def test_a_call_that_waits_when_the_governor_closes_is_denied_and_that_is_announced_and_counted() -> None:
    told: list[AnyEvent] = []
    denied: list[Reason] = []

    async def wait(governor: Governor) -> None:
        try:
            async with governor.permit("weather"):
                pass
        except PermitDenied as refusal:
            denied.append(refusal.reason)

    async with anyio.create_task_group() as tasks:
        async with governed(told, "1/minute burst 1") as governor:
            granted(governor.try_permit("weather"))
            tasks.start_soon(wait, governor)
            tasks.start_soon(wait, governor)
            await anyio.sleep(1)
            supervisor = supervisor_of(governor)
        counters = supervisor.statistics().counters

    assert [Reason.SHUTTING_DOWN] * 2 == denied
    assert [CallDenied(scope="weather", reason=Reason.SHUTTING_DOWN, retry_after=None)] * 2 == timeless(told)
    assert {"shutting_down": 2} == counters.denied


@pytest.mark.promise("R05")
async def test_every_attempt_but_the_first_is_announced() -> None:
    told: list[AnyEvent] = []
    async with governed(told, "9/minute burst 9") as governor:
        for attempt in (1, 2, 3):
            async with governor.permit("weather", "GET", attempt=attempt):
                pass

    assert [Retried(scope="weather:get", attempt=2), Retried(scope="weather:get", attempt=3)] == timeless(told)


@pytest.mark.promise("R06")
async def test_a_breaker_is_announced_when_it_opens_tries_opens_again_tries_again_and_closes() -> None:
    told: list[AnyEvent] = []
    async with governed(told, **{"global": {"degraded_after_failures": 100}}) as governor:
        for _ in range(3):
            granted(governor.try_permit("weather")).record(status=503)
        await anyio.sleep(30)
        granted(governor.try_permit("weather")).record(error=TimeoutError())
        await anyio.sleep(60)
        for _ in range(2):
            granted(governor.try_permit("weather")).record(status=200)

    assert [
        BreakerChanged(scope="weather", before=BreakerStatus.CLOSED, after=BreakerStatus.OPEN, probes_in=30.0),
        BreakerChanged(scope="weather", before=BreakerStatus.OPEN, after=BreakerStatus.HALF_OPEN, probes_in=0.0),
        BreakerChanged(scope="weather", before=BreakerStatus.HALF_OPEN, after=BreakerStatus.OPEN, probes_in=36.0),
        BreakerChanged(scope="weather", before=BreakerStatus.OPEN, after=BreakerStatus.HALF_OPEN, probes_in=0.0),
        BreakerChanged(scope="weather", before=BreakerStatus.HALF_OPEN, after=BreakerStatus.CLOSED, probes_in=0.0),
    ] == timeless(told)


@pytest.mark.promise("R08")
async def test_degraded_mode_is_announced_when_it_begins_and_when_it_is_over_once_for_all_scopes() -> None:
    told: list[AnyEvent] = []
    async with governed(told, **{"global": {"degraded_after_failures": 2, "degraded_cooldown": "10s"}}) as governor:
        for _ in range(2):  # Once, and a second time after it is over.
            for scope in ("weather", "traffic"):
                granted(governor.try_permit(scope)).record(status=500)
            await anyio.sleep(11)

    entered = DegradedEntered(cooldown=10.0, cause=Cause.FAILURES, providers=("traffic", "weather"))
    assert [entered, DegradedLeft()] * 2 == timeless(told)


@pytest.mark.promise("R07", "R08")
async def test_the_cap_over_everything_is_announced_as_degraded_mode() -> None:
    told: list[AnyEvent] = []
    async with governed(told, **{"global": {"requests_per_minute": 2}}) as governor:
        for _ in range(2):
            granted(governor.try_permit("weather"))
        governor.try_permit("weather")
        governor.try_permit("weather")
        governor.resume()

    assert [
        CallDenied(scope="weather", reason=Reason.REQUEST_CAP, retry_after=60.0),
        DegradedEntered(cooldown=60.0, cause=Cause.CAP, providers=("weather",)),
        CallDenied(scope="weather", reason=Reason.REQUEST_CAP, retry_after=60.0),
        DegradedLeft(),
    ] == timeless(told)


@pytest.mark.promise("R21", "R24")
async def test_a_denied_client_is_announced_by_pseudonym_also_in_a_dry_run() -> None:
    told: list[AnyEvent] = []
    groups = {"default": {"limits": ["1/minute burst 1"]}, "talk": {"paths": ["/talk"], "dry_run": True}}
    async with governed(told, inbound=groups) as governor:
        request = InboundRequest(
            governor.inbound.pseudonyms.actor(b"alice@example.com"), governor.inbound.pseudonyms.address(b"192.0.2.7")
        )
        for group in ("default", "default", "talk", "talk"):
            await governor.inbound.admit(group, request)

    assert [("default", False), ("talk", True)] == [
        (event.group, event.dry_run) for event in told if isinstance(event, ClientDenied)
    ]
    assert 2 == len(told)
    assert b"alice" not in msgspec.json.encode(told)


async def test_a_governor_that_is_cancelled_still_tells_its_hooks_of_everything() -> None:
    told: list[AnyEvent] = []
    with anyio.CancelScope() as scope:
        async with governed(told, "1/minute burst 1") as governor:
            granted(governor.try_permit("weather"))
            governor.try_permit("weather")
            scope.cancel()
            await anyio.sleep(1)

    assert [CallDenied] == [type(event) for event in told]


async def test_a_hook_that_is_added_in_between_gets_the_rest_and_one_that_is_taken_out_nothing_more() -> None:
    told: list[AnyEvent] = []
    later: list[AnyEvent] = []
    async with governed(told, "1/minute burst 1") as governor:
        granted(governor.try_permit("weather"))
        governor.try_permit("weather")
        remove = governor.add_hook(later.append)
        governor.try_permit("traffic", cost=2)
        remove()
        governor.try_permit("weather")

    assert ["weather", "traffic", "weather"] == [event.scope for event in told if isinstance(event, CallDenied)]
    assert ["traffic"] == [event.scope for event in later if isinstance(event, CallDenied)]


async def test_what_hooks_miss_and_fail_at_is_in_the_statistics_and_disturbs_no_call() -> None:
    begun, go_on, all_failed = Flag(), Flag(), Flag()
    failed: list[AnyEvent] = []

    def block(event: AnyEvent) -> None:
        begun.set()
        go_on.wait(10)

    def fail(event: AnyEvent) -> None:
        failed.append(event)
        if len(failed) == 3:
            all_failed.set()
        raise ZeroDivisionError

    async with governed([], "1/minute burst 1") as governor:
        granted(governor.try_permit("weather"))
        remove = governor.add_hook(fail)
        for _ in range(3):
            governor.try_permit("weather")
        all_failed.wait(10)
        remove()
        governor.add_hook(block)
        governor.try_permit("weather")
        begun.wait(10)
        for _ in range(10_007):
            governor.try_permit("weather")
        statistics = governor.statistics()
        go_on.set()

    assert {"rate_limit_exceeded": 10_011} == statistics.counters.denied
    assert 7 <= statistics.events_dropped
    assert statistics.hooks_failed in (2, 3)  # The third may be on its way still.


async def test_after_the_end_no_thread_of_a_hook_is_left() -> None:
    before = set(threading.enumerate())
    async with governed([], "1/minute burst 1") as governor:
        governor.add_hook(lambda _: None)()
        ours = [thread for thread in threading.enumerate() if thread not in before and thread.name == "governor hook"]
    for thread in ours:
        thread.join(10)

    assert 2 == len(ours)
    assert [False, False] == [thread.is_alive() for thread in ours]
