"""The socket of a governor, against those that do not speak its protocol, and those that may not speak it."""

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from random import Random
from time import monotonic

import msgspec
import pytest

from governor import Config, Governor, GovernorError, Permit, Reason
from governor._owner import listener
from governor._owner.peers import has_ended, is_ours, process_of, user_of
from governor._owner.socket_file import ListenError, bound
from governor._units import Instant
from governor.messages import Acquire, InboundRequest, Report
from governor.policies.contract import Grant, Request, Result
from governor.protocol import (
    FROM_OWNER,
    MAX_BATCH,
    MAX_FRAME,
    VERSION,
    Admit,
    Ask,
    AskDenied,
    EndpointLimits,
    FrameReader,
    FromOwner,
    Granted,
    Hello,
    Query,
    Read,
    Readmit,
    Rejected,
    Requests,
    Told,
    Welcome,
    encode,
)
from tests.integration.machine.machine import listening
from tests.support.programs import run
from tests.support.waits import PATIENCE, until

SETTINGS = {
    "global": {"requests_per_minute": "off"},
    "outbound": {
        "default": {"limits": ["3 in flight"], "linger": "off"},
        "bucket": {"limits": ["10/s burst 10"]},
        "window": {"limits": ["3 per 2s strict"], "counted": "outcome"},
        "broken": {"limits": [], "breaker": {"failures": 1}},
    },
    "inbound": {"default": {"limits": ["1000 in flight"], "address_limits": [], "total_limits": []}},
}
REQUEST = InboundRequest(b"c", b"i")
HELLO = encode(Hello(VERSION, 1))

pytestmark = pytest.mark.promise("R64")


@contextmanager
def owner(path: Path) -> Iterator[Governor]:
    governor = Governor(Config.from_mapping(SETTINGS))
    with listening(governor, path):
        yield governor


def connected(path: Path) -> socket.socket:
    raw = socket.socket(socket.AF_UNIX)
    raw.settimeout(PATIENCE)
    raw.connect(str(path))
    return raw


def connected_soon(path: Path) -> socket.socket:
    """Once a governor listens there."""
    raw = socket.socket(socket.AF_UNIX)
    raw.settimeout(PATIENCE)
    until(lambda: raw.connect_ex(str(path)) == 0)
    return raw


def answers(raw: socket.socket) -> Iterator[FromOwner]:
    """What the owner says, until it closes the connection."""
    reader = FrameReader(FROM_OWNER)
    while data := _received(raw):
        yield from reader.feed(data)


def _received(raw: socket.socket) -> bytes:
    try:
        return raw.recv(65_536)
    except ConnectionResetError:  # It has closed with something of ours unread.
        return b""


def test_what_is_no_message_ends_its_connection_with_a_reason_and_no_other(tmp_path: Path) -> None:
    random = Random(12)
    ask = encode(Ask(1, "weather:get", Acquire()))
    wrong = [
        (encode(Hello(VERSION + 1, 1)), "version 2"),
        (ask, "must be a hello"),
        (HELLO + HELLO, "one hello"),
        (HELLO + (MAX_FRAME + 1).to_bytes(4, "big"), "longer than"),
        (HELLO + encode(Ask(1, "no/scope at all", Acquire())), "name"),
        (HELLO + encode(Ask(1, "weather", Acquire(timeout=-1.0))), "not a time to wait"),
        (HELLO + ask + ask, "is in use"),
        (HELLO + encode(Query(1, "secrets")), "there is no document"),
        (HELLO + encode(Admit(1, 1, (Requests("No Group", (REQUEST,)),))), "a name such as"),
        (HELLO + encode(Admit(1, 1, (Requests(EndpointLimits("a:1", "A b", ()), (REQUEST,)),))), "a name such as"),
        (HELLO + encode(Admit(1, 1, (Requests("default", (REQUEST,) * MAX_BATCH),) * 2)), "at most 512 requests"),
        (HELLO + encode(Admit(1, 1, (Requests("default", (REQUEST,) * (MAX_BATCH + 1)),))), "does not hold a message"),
        (HELLO + 2 * encode(Admit(1, 1, (Requests("default", (REQUEST,)),))), "the number 1 is in use"),
        (HELLO + 2 * encode(Readmit("default", {7: REQUEST})), "the number 7 is in use"),
        *(
            (HELLO + encode(Admit(1, 1, (Requests("default", (one,)),))), "does not hold a message")
            for one in (
                InboundRequest(b"", b"i"),
                InboundRequest(b"c" * 65, b"i"),
                InboundRequest(b"c", b"i", (-1,)),
                InboundRequest(b"c", b"i", cost=0),
                InboundRequest(b"c", b"i", cost=10**13),
                InboundRequest(b"c", b"i", tier="t" * 101),
            )
        ),
        (HELLO + (4).to_bytes(4, "big") + msgspec.msgpack.encode("abc"), "does not hold a message"),
        *((HELLO + (50).to_bytes(4, "big") + random.randbytes(50), "does not hold a message") for _ in range(20)),
    ]
    with owner(tmp_path / "s") as governor, connected(tmp_path / "s") as good:
        good.sendall(HELLO)
        heard = answers(good)
        next(heard)
        for sent, reason in wrong:
            with connected(tmp_path / "s") as raw:
                raw.sendall(sent)
                last = list(answers(raw))[-1]

            assert isinstance(last, Rejected), sent
            assert reason in last.reason
        for _ in range(300):
            connected(tmp_path / "s").close()
        with connected(tmp_path / "s") as raw:
            raw.sendall(HELLO[:-3])  # It never says the rest.
            good.sendall(ask)

            assert isinstance(next(heard), Granted)
        # Places of the connection that was rejected come back as well.
        until(lambda: governor.statistics().scopes["weather:get"].limits[0].available == 2)
        until(lambda: governor.statistics().groups["default"].clients == 0)


def test_no_scope_fails_or_closes_for_long_by_what_a_process_says_of_calls_from_before(tmp_path: Path) -> None:
    failure = Report(Grant(Instant(0), 0), Result.FAILURE)
    said = (
        Hello(VERSION, 1, held={"broken": 1, "bucket": 2**40, "window": 2**40}, used={"bucket": {"requests": 500}}),
        *(Told("window", Report(Grant(Instant(0), 0), Result.SUCCESS), permit=-1) for _ in range(9)),
        Told("broken", failure, permit=-1, number=1),
        Ask(2, "broken", Acquire()),
        Ask(3, "bucket", Acquire()),
        Ask(4, "window", Acquire()),
    )
    with owner(path := tmp_path / "s") as governor, connected(path) as raw:
        permit = governor.try_permit("broken")
        assert isinstance(permit, Permit)
        permit.record(status=500)
        raw.sendall(b"".join(map(encode, said)))
        _, read, broken, bucket, window = islice(answers(raw), 5)

    assert Read(1) == read
    assert isinstance(broken, AskDenied)
    assert Reason.CIRCUIT_OPEN == broken.denied.reason
    assert isinstance(bucket, AskDenied)
    assert bucket.denied.retry_after is not None
    assert bucket.denied.retry_after < 2  # `max_debt` is one burst.
    assert isinstance(window, AskDenied)
    assert window.denied.retry_after is not None
    assert window.denied.retry_after <= 2


def test_no_ask_overtakes_one_that_has_come_together_with_it(tmp_path: Path) -> None:
    asks = [Acquire(timeout=0), Acquire(Request(3), timeout=60.0), Acquire(timeout=0)]
    with owner(path := tmp_path / "socket"), connected(path) as raw:
        raw.sendall(HELLO + b"".join(encode(Ask(number, "weather:get", one)) for number, one in enumerate(asks, 1)))
        said = answers(raw)

        assert [Welcome, Granted, AskDenied] == [type(next(said)) for _ in range(3)]


def test_one_that_does_not_read_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "MAX_BACKLOG", 4096)
    denied = b"".join(encode(Ask(number, "weather:get", Acquire())) for number in range(1, 20_000))
    with owner(tmp_path / "s") as governor, connected(tmp_path / "s") as raw:
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            raw.sendall(HELLO + 100 * denied)

        until(lambda: not governor.statistics().members)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_process_that_finds_no_file_descriptor_left_connects_later_and_the_log_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener, "_ACCEPT_PAUSE", 0.001)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with owner(path := tmp_path / "s"), socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(PATIENCE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            raw.connect(str(path))
            until(lambda: "cannot connect" in caplog.text)
            with pytest.raises(TimeoutError):
                raw.settimeout(0.02)
                raw.recv(1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        raw.settimeout(PATIENCE)
        raw.sendall(HELLO)

        assert isinstance(next(answers(raw)), Welcome)
        assert 1 == caplog.text.count("cannot connect")


def test_a_process_of_another_user_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with owner(path):
        for folder in (tmp_path, *tmp_path.parents[:-2]):
            folder.chmod(0o755)
        path.chmod(0o777)  # As if the mode did not keep them out.
        child = os.fork()
        if child == 0:
            os.setuid(65_534)
            with connected(path) as raw:
                said = list(answers(raw))
            os._exit(0 if said == [Rejected("the governor serves processes of its own user only")] else 1)

        assert 0 == os.waitpid(child, 0)[1]


def test_the_user_of_a_connection_is_known_and_only_our_own_is_let_in() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert os.geteuid() == user_of(one)
    assert (True, True, False) == (is_ours(None), is_ours(os.geteuid()), is_ours(os.geteuid() + 1))


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the system does not say whether a process has ended")
def test_the_system_says_who_has_connected_and_whether_it_has_ended(tmp_path: Path) -> None:
    program = "import socket, sys; raw = socket.socket(socket.AF_UNIX); raw.connect(sys.argv[1]); raw.recv(1)"
    with socket.socket(socket.AF_UNIX) as listener_:
        listener_.bind(str(tmp_path / "s"))
        listener_.listen()
        with subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "s")]) as process:
            accepted, _ = listener_.accept()
            with accepted:
                number = process_of(accepted)
                running = has_ended(number)
                process.send_signal(signal.SIGSTOP)
                stopped = has_ended(number)
                process.kill()
                until(lambda: has_ended(number))  # Before its parent has waited for it.

    assert (process.pid, False, False, True, False) == (number, running, stopped, has_ended(number), has_ended(0))


@pytest.mark.promise("R61")
def test_after_an_owner_that_was_killed_the_next_grants_nothing_before_its_leases_have_run_out(tmp_path: Path) -> None:
    path = tmp_path / "s"

    def granted_after() -> float:
        with owner(path), connected(path) as raw:
            begun = monotonic()
            raw.sendall(encode(Hello(VERSION, 1, held={"weather:get": 2})) + encode(Ask(1, "weather:get", Acquire())))
            messages = answers(raw)
            assert [Welcome, Granted] == [type(next(messages)), type(next(messages))]
            return monotonic() - begun

    in_order = [granted_after(), granted_after()]
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    after_a_kill = granted_after()

    assert max(in_order) < 1.0 <= after_a_kill


def test_what_a_process_that_is_gone_has_left_is_replaced_and_a_live_socket_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    with bound(path):
        assert 0o600 == path.stat().st_mode & 0o777
        with pytest.raises(GovernorError, match="another process listens"), bound(path):
            pass
    assert not path.exists()
    path.write_text("not ours")
    with pytest.raises(ListenError, match="is no socket"), bound(path):
        pass


@pytest.mark.promise("R61")
def test_an_owner_whose_socket_is_removed_listens_anew_or_sends_all_to_the_one_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_LOOK_INTERVAL", 0.01)
    path, other = tmp_path / "folder" / "s", tmp_path / "other"
    path.parent.mkdir()
    other.mkdir()
    with owner(path) as governor, connected(path) as first:
        first.sendall(HELLO)
        heard = answers(first)

        assert isinstance(next(heard), Welcome)
        path.unlink()
        with connected_soon(path) as second:
            second.sendall(HELLO)

            assert isinstance(next(answers(second)), Welcome)
            assert 2 == len(governor.statistics().members)
        with bound(other / "s"):
            path.parent.rename(tmp_path / "cleaned")
            other.rename(path.parent)

            assert not list(heard)  # The connection ends.
        with connected_soon(path) as third:
            third.sendall(HELLO + encode(Ask(1, "weather:get", Acquire(timeout=0))))

            assert [Welcome, Granted] == [type(one) for one in islice(answers(third), 2)]


#: An owner that is killed with a connection and a forked child, which says what is left of them.
KILLED_OWNER = """
    import os, signal, socket
    from pathlib import Path
    from governor import Governor
    from governor._owner.socket_file import bound
    from governor.protocol import VERSION, Hello, encode
    from tests.integration.machine.machine import listening
    from tests.support.waits import until

    path, (read, write) = Path(os.environ["SOCKET"]), os.pipe()
    if not os.fork():
        with listening(Governor(), path), socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(10)
            raw.connect(str(path))
            raw.sendall(encode(Hello(VERSION, os.getpid())))
            assert raw.recv(1000)
            owner = os.getpid()
            if not os.fork():
                try:
                    os.kill(owner, signal.SIGKILL)
                    try:
                        ended = not raw.recv(1)
                    except ConnectionResetError:  # The owner had not read all.
                        ended = True
                    until(lambda: os.getppid() != owner)  # Its files are closed one after another.
                    with bound(path) as found:
                        os.write(write, b"%d %d" % (ended, found.owner_was_killed))
                finally:
                    os._exit(0)
            signal.pause()
    os.close(write)
    print(os.read(read, 9).decode())
"""


@pytest.mark.promise("R61")
def test_a_forked_child_keeps_nothing_of_a_killed_owner_alive(tmp_path: Path) -> None:
    assert "1 1" == run(KILLED_OWNER, warnings="ignore", SOCKET=str(tmp_path / "s")).strip()
