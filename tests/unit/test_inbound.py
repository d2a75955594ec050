"""Admission of inbound requests: one call, from the governor's loop, from threads and from other loops."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.to_thread
import pytest

from governor import Admission, AvailableQuota, Config, Denied, EndpointGroup, Governor, InboundDenied, InboundRequest, Reason
from governor._actors.inbound.groups import Groups
from governor._actors.portal import Portal
from governor._supervisor import Supervisor
from governor.config import InboundGroup, parse_limit
from governor.testing import ManualClock

REQUEST = InboundRequest(b"a" + bytes(15), b"i" + bytes(15))


def governed(**settings: object) -> Governor:
    none: dict[str, object] = {"limits": [], "address_limits": [], "total_limits": []}
    return Governor(Config.from_mapping({"inbound": {"default": {**none, **settings}}}), clock=ManualClock())


async def admit(governor: Governor, *, announce: bool = False) -> Admission:
    return await governor.inbound.admit("default", REQUEST, announce=announce)


async def on_its_loop(governor: Governor) -> Admission:
    async with governor:
        return await admit(governor, announce=True)


def on_a_thread(governor: Governor) -> Admission:
    with governor:
        return governor.inbound.admit_blocking("default", REQUEST, announce=True)


def on_another_loop(governor: Governor) -> Admission:
    async def main() -> Admission:
        return await admit(governor, announce=True)

    with governor:
        return anyio.run(main)


@pytest.mark.promise("R22")
@pytest.mark.parametrize(
    ("ask", "round_trips"), [(lambda one: anyio.run(on_its_loop, one), 0), (on_a_thread, 1), (on_another_loop, 1)]
)
def test_a_decision_with_what_is_left_takes_one_round_trip_at_most(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[Governor], Admission], round_trips: int
) -> None:
    calls = []

    def counted(name: str) -> Any:
        original = getattr(Portal, name)

        def call(portal: Portal, function: Any, *rest: Any, **named: Any) -> Any:
            calls.append(name)
            return original(portal, function, *rest, **named)

        return call

    for name in ("call", "acall"):
        monkeypatch.setattr(Portal, name, counted(name))
    admission = ask(governed(limits=["1/s burst 5"], total_limits=["1/s burst 3"]))

    assert admission.granted
    assert AvailableQuota("total", 2, parse_limit("1/s burst 3")) == admission.least
    assert round_trips == len(calls)


@pytest.mark.anyio
@pytest.mark.promise("R21")
async def test_in_a_dry_run_a_request_over_its_limit_is_denied_and_granted() -> None:
    async with governed(limits=["1/day burst 1"], dry_run=True) as governor:
        first, second = await admit(governor), await admit(governor)

    assert (None, True) == (first.denied, first.granted)
    assert isinstance(second.denied, InboundDenied)
    assert (True, "client") == (second.granted, second.denied.limit)


@pytest.mark.parametrize(
    "denied", [InboundDenied("chat", "client", 1.0, parse_limit("1/s")), Denied("chat", Reason.OVERLOADED, 1.0)]
)
def test_a_denied_request_is_not_granted(denied: InboundDenied | Denied) -> None:
    assert not Admission(denied).granted


@pytest.mark.anyio
@pytest.mark.promise("R26")
async def test_the_end_of_a_request_frees_its_place_from_any_thread() -> None:
    async with governed(limits=["1 in flight"]) as governor:
        first = await anyio.to_thread.run_sync(governor.inbound.admit_blocking, "default", REQUEST)
        meanwhile = await admit(governor)
        await anyio.to_thread.run_sync(first.end, 200)
        await anyio.wait_all_tasks_blocked()
        second = await admit(governor)
        second.end(200)
        third = await admit(governor)

    assert [True, False, True, True] == [one.granted for one in (first, meanwhile, second, third)]


@pytest.mark.anyio
@pytest.mark.promise("R26")
async def test_a_group_of_an_endpoint_starts_with_its_first_request_and_keeps_its_limit() -> None:
    policy = InboundGroup(limits=(parse_limit("1/day burst 1"),), address_limits=(), total_limits=())
    key = object()
    async with governed() as governor:
        before = set(governor.statistics().groups)
        granted = [(await governor.inbound.admit(EndpointGroup(key, "export", policy), REQUEST)).granted for _ in range(2)]
        after = set(governor.statistics().groups)

    assert ([True, False], {"endpoint:export"}) == (granted, after - before)


@pytest.mark.anyio
async def test_a_governor_is_local_to_its_own_loop_only() -> None:
    governor = governed()
    answers = [governor.inbound.is_local()]
    async with governor:
        answers += [governor.inbound.is_local(), await anyio.to_thread.run_sync(governor.inbound.is_local)]
    answers.append(governor.inbound.is_local())

    assert [False, True, False, False] == answers


def test_groups_that_two_threads_need_first_at_the_same_time_are_those_of_one_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with Governor() as governor:
        supervisor = governor._access.backend
        assert isinstance(supervisor, Supervisor)
        others: list[object] = []

        def make(config: Config, **arguments: Any) -> Groups:
            if not others:
                others.append(None)
                others[0] = supervisor.groups  # As another thread, which is faster.
            return Groups(config, **arguments)

        monkeypatch.setattr("governor._supervisor.inbound", SimpleNamespace(Groups=make))

        assert [supervisor.groups] == others
