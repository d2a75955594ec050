"""Inbound requests of processes that share a daemon: whom they ask, how long they wait, and what they do without it."""

import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import anyio
import msgspec
import pytest

from governor import Admission, Config, Denied, EndpointGroup, Governor, InboundDenied, InboundRequest, Reason, UsageError
from governor._member import batches, gate
from governor._units import Instant
from governor.asgi import TrafficControlWSGIMiddleware
from governor.config import InboundGroup, parse_limit
from governor.protocol import (
    FROM_MEMBER,
    VERSION,
    Admit,
    Admitted,
    Ended,
    FrameReader,
    FromMember,
    FromOwner,
    Hello,
    LeaseReport,
    Read,
    Verdict,
    Welcome,
    encode,
)
from tests.integration.machine.machine import listening
from tests.support.waits import PATIENCE, until

NONE: dict[str, object] = {"address_limits": [], "total_limits": []}
GROUPS = {
    "default": {"limits": ["5/hour burst 5"], **NONE},
    "held": {"paths": ["/held"], "limits": ["1 in flight"], **NONE},
    "fast": {"paths": ["/fast"], "limits": ["20/s burst 20"], **NONE},
    "trial": {"paths": ["/trial"], "limits": ["1/hour burst 1"], "dry_run": True, **NONE},
}
SECRET = bytes(range(32))
REQUEST = InboundRequest(b"a" + bytes(15), b"i" + bytes(15))
OTHER = InboundRequest(b"b" + bytes(15), b"i" + bytes(15))


def member(path: Path, groups: object = GROUPS, **machine: object) -> Governor:
    return Governor(Config.from_mapping({"inbound": groups, "machine": {"socket": path, **machine}}))


@contextmanager
def owner(path: Path, groups: object = GROUPS) -> Iterator[Governor]:
    governor = Governor(Config.from_mapping({"inbound": groups}))
    with listening(governor, path):
        yield governor


def admit(governor: Governor, group: str | EndpointGroup = "default", request: InboundRequest = REQUEST) -> Admission:
    return governor.inbound.admit_blocking(group, request)


def endpoint(place: str, *limits: str) -> EndpointGroup:
    """A limit in the code, as each process has an object of its own for it."""
    policy = InboundGroup(limits=tuple(map(parse_limit, limits)), address_limits=(), total_limits=())
    return EndpointGroup(object(), "export", policy, place)


class FakeOwner:
    """Says welcome to one process after another, and answers nothing but pings unless it is told to."""

    def __init__(self, path: Path) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.heard: list[FromMember] = []
        self.connection: socket.socket | None = None
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        try:
            while True:
                self.connection, _ = self.listener.accept()
                reader = FrameReader(FROM_MEMBER)
                while data := self.connection.recv(65_536):
                    for message in reader.feed(data):
                        self._hear(message)
        except OSError:
            pass

    def _hear(self, message: FromMember) -> None:
        match message:
            case Hello():
                self.say(Welcome(VERSION, 1.0, Instant(0), SECRET))
            case LeaseReport():
                self.say(Read(message.number))
            case _:
                self.heard.append(message)

    def say(self, message: FromOwner) -> None:
        assert self.connection is not None
        self.connection.sendall(encode(message))

    def asked(self, number: int = 0) -> Admit:
        """The batch of this number that was asked for, from 0."""
        until(lambda: len([one for one in self.heard if isinstance(one, Admit)]) > number)
        return [one for one in self.heard if isinstance(one, Admit)][number]

    def ended(self) -> dict[int, int]:
        """The places that were given back, with statuses."""
        return {number: status for one in self.heard if isinstance(one, Ended) for number, status in one.places.items()}


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeOwner]:
    made = FakeOwner(tmp_path / "s")
    yield made
    made.listener.close()
    if made.connection is not None:
        made.connection.close()


@pytest.mark.promise("R60", "R65", "R21")
def test_processes_share_the_limits_of_each_client_from_any_thread_and_loop(tmp_path: Path) -> None:
    async def tasks(governor: Governor) -> list[Admission]:
        got: list[Admission] = []

        async def one() -> None:
            got.append(await governor.inbound.admit("default", REQUEST, announce=True))

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(one)
        return got

    path = tmp_path / "s"
    with owner(path) as here, member(path) as first, member(path) as second, ThreadPoolExecutor(8) as pool:
        asyncio, trio = (
            pool.submit(partial(anyio.run, tasks, governor, backend=backend))
            for governor, backend in ((first, "asyncio"), (second, "trio"))
        )
        threads = list(pool.map(admit, [first, second] * 10))
        admissions = [*asyncio.result(), *trio.result(), *threads]
        for admission in admissions:
            if admission.granted:
                admission.end(200)
        until(lambda: here.statistics().groups["default"].counters.answered_2xx == 5)
        seen = [one.statistics() for one in (here, first, second)]

    assert 5 == sum(admission.granted for admission in admissions) == sum(one.admitted for one in seen[0].members)
    assert [(5, {"rate_limit_exceeded": 55})] * 3 == [
        (one.groups["default"].counters.requests, one.groups["default"].counters.denied) for one in seen
    ]
    assert all(one.inbound == seen[0].inbound for one in seen)


@pytest.mark.promise("R21", "R33")
def test_all_processes_know_clients_by_the_same_keys_also_after_the_daemon_was_started_again(tmp_path: Path) -> None:
    path = tmp_path / "s"
    secrets = []
    for _ in range(2):
        with owner(path) as here, member(path) as there:
            there.inbound.ready_blocking()
            secrets += [here.inbound.pseudonyms.secret, there.inbound.pseudonyms.secret]
    file = tmp_path / "s.keys"
    mode = file.stat().st_mode & 0o777
    file.chmod(0o644)  # Others may have read it.
    with owner(path) as here:
        secrets.append(here.inbound.pseudonyms.secret)

    assert (0o600, 32, 2) == (mode, len(secrets[0]), len(set(secrets)))
    assert 1 == len(set(secrets[:4]))


@pytest.mark.promise("R27", "R60")
def test_a_limit_in_the_code_is_one_limit_in_all_processes_and_another_place_is_another_limit(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with owner(path) as here, member(path) as first, member(path) as second:
        shared = [admit(governor, endpoint("app:7", "3/hour burst 3")).granted for governor in (first, second) * 3]
        other = [admit(first, endpoint("app:9", "3/hour burst 3")).granted]
        unknown = [admit(first, endpoint("app:11", "3/hour burst 3", "7 in flight")).granted]
        names = {name for name in here.statistics().groups if name.startswith("endpoint:")}

    assert ([True] * 3 + [False] * 3, [True], [True]) == (shared, other, unknown)
    assert {"endpoint:export", "endpoint:export-2", "endpoint:export-3"} == names


@pytest.mark.promise("R19", "R60")
def test_the_settings_of_the_daemon_are_in_force_and_a_process_with_others_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "s"
    own = {**GROUPS, "own": {"paths": ["/own"], "limits": ["99/hour burst 99"], **NONE}}
    with owner(path), member(path, own) as there:
        granted = [admit(there, "own").granted for _ in range(6)]
        nowhere = admit(there, "no such group")

    assert [True] * 5 + [False] == granted
    assert nowhere.granted
    assert ["The daemon has other [inbound] settings than this process; its own limits are in force."] == caplog.messages


@pytest.mark.promise("R63")
def test_without_the_daemon_requests_are_decided_at_once_as_the_settings_say(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with member(path, on_daemon_loss="deny") as governor:
        denied, trial = admit(governor), admit(governor, "trial")
    with member(path, on_daemon_loss="open") as governor:
        opened = [admit(governor).granted for _ in range(9)]
    with member(path, share=0.5) as governor:
        # What the daemon had granted before counts in full: at half of 5 per hour the first comes after 24 minutes.
        slow = admit(governor)
        until(lambda: admit(governor, "fast").granted)
        in_flight = [admit(governor, "held") for _ in range(2)]
        in_flight[0].end(200)
        until(lambda: admit(governor, "held").granted)
        too_much = governor.inbound.admit_blocking("fast", msgspec.structs.replace(REQUEST, cost=20))

    assert isinstance(denied.denied, Denied)
    assert Denied("fast", Reason.OVERLOADED, 1.0) == too_much.denied
    assert trial.granted
    assert all(opened)
    assert isinstance(slow.denied, InboundDenied)
    assert 1400 < slow.denied.retry_after <= 1440
    assert [True, False] == [one.granted for one in in_flight]


@pytest.mark.promise("R61", "R63")
def test_a_daemon_that_does_not_answer_is_waited_for_once_and_places_that_it_grants_late_are_given_back(
    tmp_path: Path, fake: FakeOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "VERDICT_TIMEOUT", 0.05)
    with member(tmp_path / "s", on_daemon_loss="deny") as governor:
        governor.inbound.ready_blocking()
        first = admit(governor, "held")
        later = [admit(governor, "held", OTHER) for _ in range(3)]
        batch = fake.asked()
        fake.say(Admitted(batch.number, (Verdict(held=True),)))
        until(lambda: batch.first in fake.ended())
        with ThreadPoolExecutor(1) as pool:
            again = pool.submit(admit, governor, "held")
            fake.say(Admitted(fake.asked(1).number, (Verdict(held=True),)))
            granted = again.result()
        secret = governor.inbound.pseudonyms.secret

    assert [True] * 4 == [isinstance(one.denied, Denied) for one in (first, *later)]
    assert granted.granted
    assert SECRET == secret


@pytest.mark.promise("R61")
def test_requests_that_arrive_during_a_round_trip_are_one_batch_and_those_whose_clients_go_away_keep_nothing(
    tmp_path: Path, fake: FakeOwner
) -> None:
    async def run(governor: Governor) -> list[Admission]:
        got: list[Admission] = []

        async def one(request: InboundRequest) -> None:
            got.append(await governor.inbound.admit("held", request))

        await governor.inbound.ready()
        async with anyio.create_task_group() as stays, anyio.create_task_group() as gone:
            gone.start_soon(one, REQUEST)
            await anyio.to_thread.run_sync(fake.asked)
            # One waits, and one is on its way, when their clients go away.
            gone.start_soon(one, REQUEST)
            await anyio.wait_all_tasks_blocked()
            gone.cancel_scope.cancel()
            for _ in range(3):
                stays.start_soon(one, OTHER)
            with anyio.CancelScope(shield=True):
                await anyio.wait_all_tasks_blocked()
            fake.say(Admitted(fake.asked().number, (Verdict(held=True),)))
            stays.start_soon(answer)
        return got

    async def answer() -> None:
        second = await anyio.to_thread.run_sync(fake.asked, 1)
        sizes.append(sum(len(part.requests) for part in second.parts))
        fake.say(Admitted(second.number, (None,) * sizes[0]))

    sizes: list[int] = []
    with member(tmp_path / "s") as governor:
        got = anyio.run(run, governor)
        until(lambda: 1 in fake.ended())

    assert [3] == sizes
    assert [True] * 3 == [one.granted for one in got]
    assert {1: 0} == fake.ended()


@pytest.mark.promise("R61")
def test_requests_in_flight_keep_their_places_at_the_next_daemon(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with member(path, on_daemon_loss="open") as there:
        with owner(path):
            there.inbound.ready_blocking()
            first = admit(there, "held")
        until(lambda: admit(there, "held", OTHER).granted)  # Without limits; it does not end.
        with owner(path) as back:
            until(lambda: back.statistics().groups["held"].clients == 2)
            held = back.statistics().members[0].in_flight
            meanwhile = [admit(there, "held").granted, admit(there, "held", OTHER).granted]
            first.end(200)
            until(lambda: admit(there, "held").granted)

    assert ([False, False], 2) == (meanwhile, held)


def gate_of(governor: Governor) -> gate.Gate:
    found = governor.inbound._gate
    assert isinstance(found, gate.Gate)
    return found


@pytest.mark.promise("R32", "R60")
def test_the_end_of_a_request_is_counted_however_late_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with owner(path) as here, member(path) as there:
        there.inbound.ready_blocking()
        admissions = [admit(there, "fast") for _ in range(3)]
        until(lambda: gate_of(there)._granted == 3)
        admissions.pop().end(200)  # Read by the last look.
        until(lambda: here.statistics().groups["fast"].counters.answered_2xx == 1)
        until(lambda: not gate_of(there)._looks)
        admissions.pop().end(503)  # Read by none.
        until(lambda: here.statistics().groups["fast"].counters.answered_5xx == 1)
        admissions.pop().end(None)
        until(lambda: here.statistics().groups["fast"].counters.failures == 1)


@pytest.mark.promise("R27", "R60")
def test_wsgi_applications_of_several_processes_share_the_limits_too(tmp_path: Path) -> None:
    path = tmp_path / "s"
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_ADDR": "192.0.2.1", "HTTP_X_ACTOR": "ann"}
    statuses: list[str] = []

    def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b""]

    with owner(path) as here, member(path) as first, member(path) as second:
        apps = [TrafficControlWSGIMiddleware(app, governor) for governor in (first, second)]
        for one in apps * 4:
            body = one(dict(environ), lambda status, *_: statuses.append(status))  # type: ignore[arg-type] # without `write`
            getattr(body, "close", lambda: None)()
        until(lambda: here.statistics().groups["default"].counters.answered_2xx == 5)

    assert ["200 OK"] * 5 + ["429 Too Many Requests"] * 3 == statuses


def test_requests_that_find_no_room_are_decided_as_in_an_overload_and_late_ones_find_the_governor_closed(
    tmp_path: Path, fake: FakeOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "MAX_WAITING", 2)
    deny = {**GROUPS, "held": {**GROUPS["held"], "on_overload": "deny"}}
    with ThreadPoolExecutor(8) as pool, member(tmp_path / "s", deny) as governor:
        governor.inbound.ready_blocking()
        waiting = [pool.submit(admit, governor, "held")]
        fake.asked()
        waiting += [pool.submit(admit, governor, "held") for _ in range(2)]
        until(lambda: len(gate_of(governor).batches) == 2)
        passed, denied = admit(governor, "default"), admit(governor, "held")
        with pytest.raises(UsageError, match="a key has"):
            admit(governor, "held", InboundRequest(b"", b""))
        with pytest.raises(UsageError, match="at most 16 limits"):
            admit(governor, endpoint("app:1", *(f"{number}/s" for number in range(1, 18))))
        governor.__exit__(None, None, None)
        for one in waiting:
            with pytest.raises(UsageError, match="closed"):
                one.result(PATIENCE)

    assert passed.granted
    assert isinstance(denied.denied, Denied)
