"""A governor whose limits a daemon owns, in all the ways in which calls use it."""

import os
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread, get_ident

import anyio
import pytest

from governor import (
    CircuitOpen,
    Config,
    CostExceedsCapacity,
    Denied,
    Governor,
    Overloaded,
    Permit,
    PermitDenied,
    RateLimited,
    Reason,
    UsageError,
)
from governor._member.connection import Connection
from governor._member.member import Member
from governor._units import HOUR, Instant
from governor.clock import Clock, system_clock
from governor.protocol import Rejected, encode
from governor_client import GovernorClient
from tests.integration.machine.machine import listening
from tests.support.answers import granted
from tests.support.programs import run
from tests.support.waits import PATIENCE, until

PLENTY = "1000000/s burst 1000000"


def settings(limit: str, **machine: object) -> Config:
    scope = {"limits": [limit], "breaker": {"failures": 1, "open_for": "1h"}}
    return Config.from_mapping(
        {
            "global": {"requests_per_minute": "off", "degraded_after_failures": "off"},
            "outbound": {"default": scope},
            "machine": machine,
        }
    )


@contextmanager
def owner(limit: str, path: Path, clock: Clock = system_clock) -> Iterator[Governor]:
    """A governor that listens, on a thread of its own."""
    governor = Governor(settings(limit), clock=clock)
    with listening(governor, path):
        yield governor


def member(limit: str, path: Path, **machine: object) -> Governor:
    return Governor(settings(limit, socket=path, **machine))


def test_threads_take_permits_without_a_message_and_the_owner_learns_of_all(tmp_path: Path) -> None:
    with owner(PLENTY, tmp_path / "s") as here, member(PLENTY, tmp_path / "s") as there:
        client = GovernorClient(there)
        for _ in range(3000):
            granted(client.try_permit("weather")).record(status=200)
        until(lambda: here.statistics().scopes["weather"].counters.answered_2xx == 3000)
        asked = sum(one.requests for one in here.statistics().members)

    assert 3000 == asked


def test_an_owner_whose_clock_goes_on_from_an_earlier_life_grants_each_ask_once(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with owner("10 per h strict", path, lambda: Instant(system_clock() - HOUR)) as here, member(PLENTY, path) as there:
        granted(there.try_permit("weather")).record(status=200)
        until(lambda: here.statistics().scopes["weather"].counters.answered_2xx == 1)
        counters = here.statistics().scopes["weather"].counters

    assert (1, 0) == (counters.requests, counters.neutral)


@pytest.mark.promise("R06", "R51")
def test_a_failure_in_one_process_closes_the_scope_in_all_at_once(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with owner(PLENTY, path), member(PLENTY, path) as one, member(PLENTY, path) as other:
        for governor in (one, other) * 50:
            granted(governor.try_permit("weather")).record(status=200)
        granted(one.try_permit("weather")).record(status=500)
        own = one.try_permit("weather")
        other.statistics()  # One round trip: what was recalled before that denial arrives before this answer.
        others = other.try_permit("weather")

    assert [Reason.CIRCUIT_OPEN] * 2 == [denied.reason for denied in (own, others) if isinstance(denied, Denied)]


@pytest.mark.anyio
async def test_a_task_that_waits_keeps_no_other_task_of_its_loop_from_running(tmp_path: Path) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await anyio.sleep(0.01)
            ticks += 1

    with owner("2 in flight", tmp_path / "s"):
        async with member("2 in flight", tmp_path / "s") as governor, anyio.create_task_group() as tasks:
            tasks.start_soon(tick)
            first = [await governor.acquire("weather") for _ in range(2)]
            with pytest.raises(PermitDenied):
                await governor.acquire("weather", timeout=0.0)
            with anyio.move_on_after(0.3):
                await governor.acquire("weather")
            first[0].record(status=200)
            with anyio.fail_after(PATIENCE):
                last = await governor.acquire("weather", timeout=PATIENCE)
            own = governor._access.thread
            last.record(status=200)
            first[1].record(status=200)
            tasks.cancel_scope.cancel()

    assert ticks > 5
    assert own != get_ident()


@pytest.mark.promise("R63")
@pytest.mark.parametrize(
    ("machine", "expected"),
    [({"on_daemon_loss": "deny"}, Overloaded), ({"on_daemon_loss": "share", "share": 0.5}, RateLimited)],
    ids=["deny", "share"],
)
def test_without_a_daemon_calls_are_denied_at_first(
    tmp_path: Path, machine: Mapping[str, object], expected: type[PermitDenied]
) -> None:
    with member("10/hour burst 10", tmp_path / "s", **machine) as governor, pytest.raises(expected):
        governor.acquire_blocking("weather", timeout=0.0)


@pytest.mark.promise("R63")
def test_without_a_daemon_calls_are_granted_if_the_settings_say_so_and_breakers_still_open(tmp_path: Path) -> None:
    with member("1/hour burst 1", tmp_path / "s", on_daemon_loss="open") as governor:
        permits = [governor.acquire_blocking("weather") for _ in range(5)]
        permits[0].record(status=500)
        with pytest.raises(CircuitOpen):
            governor.acquire_blocking("weather", timeout=0.0)
        for permit in permits[1:]:
            permit.give_back()


@pytest.mark.promise("R63")
def test_a_process_without_a_daemon_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with member(PLENTY, tmp_path / "s") as there:
        until(lambda: bool(caplog.messages))
        GovernorClient(there).try_permit("weather")
    assert [f"There is no daemon at {tmp_path / 's'}"] == [message.split(" (")[0] for message in caplog.messages]


@pytest.mark.promise("R63")
def test_a_daemon_of_another_version_is_in_the_log_once_however_often_it_ends_the_connection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ended, silent = "has ended: the daemon rejects this process: version 2 is spoken here: ", " does not say welcome: "
    connected = 0
    with socket.create_server(str(path := tmp_path / "s"), family=socket.AF_UNIX) as other, member(PLENTY, path) as there:
        GovernorClient(there).try_permit("weather")
        while connected < 4 or ended not in caplog.text or silent not in caplog.text:
            connected += 1
            # On a slow machine, the process may have given it up already.
            with other.accept()[0] as connection, suppress(BrokenPipeError):
                connection.sendall(encode(Rejected(f"version 2 is spoken here: {connected}")))

    # On a slow machine the first connection may have lasted too long for a welcome, before it was rejected.
    said = [message.split(" (")[0] for message in caplog.messages]
    assert [1, 1] == [len([one for one in said if what in one]) for what in (ended, silent)]
    assert {f"There is no daemon at {path}"} >= {one for one in said if ended not in one and silent not in one}


def test_a_call_that_waits_when_the_daemon_goes_and_comes_back_is_granted_there(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with member("2 in flight", path, on_daemon_loss="share") as governor:
        with owner("2 in flight", path) as here:
            until(lambda: len(here.statistics().members) == 1)
            first = governor.acquire_blocking("weather", cost=2, timeout=PATIENCE)
        with owner("2 in flight", path) as back:
            until(lambda: len(back.statistics().members) == 1)
            held = back.statistics().members[0].held
            denied = governor.try_permit("weather")
            first.record(status=200)
            second = governor.acquire_blocking("weather", cost=2, timeout=PATIENCE)
            second.record(status=200)

    assert 2 == held
    assert isinstance(denied, Denied)


@pytest.mark.promise("R63")
def test_a_call_that_costs_more_than_the_share_waits_for_the_daemon(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with member("2 in flight", path, share=0.5) as governor, ThreadPoolExecutor(2) as pool:
        until(lambda: governor.try_permit("weather") != Denied("weather", Reason.OVERLOADED, 1.0))
        answer = governor.try_permit("weather", cost=2)
        with pytest.raises(Overloaded):
            governor.acquire_blocking("weather", cost=2, timeout=0.01)
        possible, impossible = (
            pool.submit(governor.acquire_blocking, scope, cost=cost, timeout=PATIENCE)
            for scope, cost in (("possible", 2), ("impossible", 3))
        )
        until(lambda: {"possible", "impossible"} <= governor.statistics().scopes.keys())
        counted = [dict(governor.statistics().scopes[scope].counters.denied) for scope in ("possible", "impossible")]
        with owner("2 in flight", path):
            possible.result(PATIENCE).record(status=200)
            error = impossible.exception(PATIENCE)

    assert Denied("weather", Reason.OVERLOADED, 1.0) == answer
    assert isinstance(error, CostExceedsCapacity)
    assert [{}, {}] == counted


@pytest.mark.promise("R63")
def test_calls_are_decided_by_the_share_while_something_listens_and_does_not_answer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "s"))
        deaf.listen(64)
        with member("10 per 2s strict", tmp_path / "s", share=0.5) as governor:
            with pytest.raises(PermitDenied):
                governor.acquire_blocking("weather", timeout=0.0)
            until(lambda: isinstance(governor.try_permit("weather"), Permit))


def test_plans_statistics_and_the_operator_are_those_of_the_owner(tmp_path: Path) -> None:
    with owner(PLENTY, tmp_path / "s") as here, member(PLENTY, tmp_path / "s") as there:
        granted(there.try_permit("weather", "GET")).record(status=503)
        plan = there.plan_retry("weather", "GET", attempt=1, status=503)
        seen = there.statistics()
        with pytest.raises(UsageError, match="a daemon owns the limits"):
            there.operator.reset("weather")
        expected = here.statistics().scopes["weather:get"].counters

    assert plan
    assert expected == seen.scopes["weather:get"].counters
    assert [os.getpid()] == [one.pid for one in seen.members]


def test_a_forked_child_connects_anew(tmp_path: Path) -> None:
    program = """
        import os
        from governor import InboundRequest, default

        def key() -> bytes:
            default().inbound.ready_blocking()
            key = default().inbound.pseudonyms.actor(b"ann")
            assert default().inbound.admit_blocking("default", InboundRequest(key, key)).granted
            return key

        default().acquire_blocking("weather").record(status=200)
        parent = key()
        child = os.fork()
        if child == 0:
            permit = default().acquire_blocking("weather")
            permit.record(status=200)
            assert parent == key()
            print(len(default().statistics().members), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        default().acquire_blocking("weather").record(status=200)
        print(len(default().statistics().members) in (1, 2))
    """
    with owner(PLENTY, tmp_path / "s"):
        printed = run(program, GOVERNOR_SOCKET=str(tmp_path / "s"), warnings="ignore")

    assert ["2", "True"] == printed.split()


@pytest.mark.promise("R02", "R55")
def test_when_the_settings_are_read_again_leases_and_calls_that_wait_follow_them_at_once(tmp_path: Path) -> None:
    scarce = "3 per day strict"
    with owner(PLENTY, tmp_path / "s") as here, member(PLENTY, tmp_path / "s") as there:

        def take(most: int) -> int:
            """How many permits the process gets, of the calls that it makes."""
            answers = [there.try_permit("weather") for _ in range(most)]
            return sum(isinstance(answer, Permit) for answer in answers)

        assert 2000 == take(2000)
        until(lambda: here.statistics().members[0].leased > 0)
        here.reconfigure(settings(scarce))
        # What the process has used of its lease before it heard of the recall counts in the window.
        until(lambda: not here.statistics().members[0].leased)
        after = take(10)
        waiting = Thread(target=lambda: there.acquire_blocking("weather"))
        waiting.start()
        until(lambda: here.statistics().members[0].waiting == 1)
        here.reconfigure(settings(PLENTY))
        waiting.join(PATIENCE)

        assert after <= 3
        assert not waiting.is_alive()
        assert 2000 == take(2000)


def test_a_call_is_sent_by_its_own_thread_with_all_that_lies_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    senders: list[int] = []
    write = Connection.write

    def noted(connection: Connection) -> bool:
        senders.append(get_ident())
        return write(connection)

    monkeypatch.setattr(Connection, "write", noted)
    with owner("1000 per hour strict", tmp_path / "s"), member("1000 per hour strict", tmp_path / "s") as there:
        client = GovernorClient(there)
        for _ in range(3):
            granted(client.try_permit("weather")).record(status=200)

    assert {get_ident()} == set(senders)
    assert 3 <= len(senders) <= 6


def test_an_outcome_goes_with_the_next_message_or_after_the_answer_that_another_call_is_about_to_get(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[None] = []
    write, stands, goes_on = Connection.write, Event(), Event()

    def noted(connection: Connection) -> bool:
        writes.append(None)
        return write(connection)

    def stand_still() -> None:
        stands.set()
        goes_on.wait(PATIENCE)

    monkeypatch.setattr(Connection, "write", noted)
    path = tmp_path / "s"
    with owner("1 in flight", path) as here, member(PLENTY, path) as there, ThreadPoolExecutor(1) as pool:
        client = GovernorClient(there)
        permits = [granted(client.try_permit(scope)) for scope in ("weather", "traffic")]
        here._access.still_running().post(stand_still)
        stands.wait(PATIENCE)
        writes.clear()
        asked = pool.submit(client.try_permit, "maps")
        until(lambda: len(writes) == 1)
        backend = there._access.backend
        assert isinstance(backend, Member)
        with backend._turn:
            pass  # The other thread has sent its ask.
        permits[0].record(status=500)
        after_failure = len(writes)
        permits[1].record(status=200)
        after_success = len(writes)
        goes_on.set()
        granted(asked.result(PATIENCE))
        with backend._turn:
            left = len(backend.entries)

        assert (2, 2, 0) == (after_failure, after_success, left)
        until(lambda: here.statistics().scopes["traffic"].counters.answered_2xx == 1)


def test_a_call_that_is_interrupted_while_it_sends_costs_one_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, interrupts = Connection.write, [KeyboardInterrupt()]

    def interrupted(connection: Connection) -> bool:
        if interrupts:
            raise interrupts.pop()
        return write(connection)

    with owner("1000 per hour strict", tmp_path / "s"), member("1000 per hour strict", tmp_path / "s") as there:
        granted(there.try_permit("weather")).record(status=200)
        monkeypatch.setattr(Connection, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            there.acquire_blocking("weather", timeout=PATIENCE)
        until(lambda: isinstance(there.try_permit("weather"), Permit))

    assert [] == interrupts
