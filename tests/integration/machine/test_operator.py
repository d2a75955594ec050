"""An operator acts over the socket of a daemon that real processes share, and looks at it, without a token."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest

from governor import Config, Denied, Governor, Permit, PermitDenied
from governor.cli import main
from tests.integration.machine.machine import Machine
from tests.support.programs import governor
from tests.support.waits import until

pytestmark = pytest.mark.promise("R65")

POLICY: Final = """
[global]
requests_per_minute = "off"
[outbound.weather]
limits = ["1000000/s burst 1000000"]
"""

#: Takes permits from its lease, as long as it runs.
BUSY: Final = """
import time
from governor import default, Permit
while True:
    permit = default().try_permit("weather", "GET")
    if isinstance(permit, Permit):
        permit.record(status=200)
    time.sleep(0.002)
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine whose daemon listens."""
    machine = Machine(tmp_path, POLICY, name='"worker"')
    machine.daemon()
    yield machine
    machine.close()


def status(machine: Machine, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert 0 == main(["status", "--json", "--socket", str(machine.socket)])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def asks_again(member: Governor) -> str:
    """What becomes of a call that is always the same, and always gets the same answer."""
    try:
        with member.permit(
            "weather", "POST", timeout=1, fingerprint=member.fingerprint("POST", "weather.example", "{}")
        ) as permit:
            permit.record(status=200, answer="no")
    except PermitDenied as denied:
        return denied.reason
    return "granted"


def test_the_socket_is_enough_to_close_open_and_reset_what_processes_share(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    there = str(machine.socket)
    loops = {"default": {"loops": {"repeats": 3, "delay": "1ms"}}}
    config = Config.from_mapping({"machine": {"socket": there, "name": "notebook"}, "outbound": loops})
    with Governor(config) as member:
        assert isinstance(member.try_permit("weather", "GET"), Permit)
        closed = governor("ctl", "close", "weather", "--for", "1h", GOVERNOR_SOCKET=there)
        denied = member.try_permit("weather", "GET")
        shown = status(machine, capsys)
        reset = main(["ctl", "reset", "weather:get", "--socket", there])
        still = member.try_permit("weather", "GET")
        opened = main(["ctl", "open", "Weather", "--socket", there])
        resumed = main(["ctl", "resume", "--socket", there])
        said = capsys.readouterr().out

        assert (0, "weather is closed for 1h.\n", "") == (closed.returncode, closed.stdout, closed.stderr)
        assert [True, True] == [isinstance(one, Denied) for one in (denied, still)]
        assert [0, 0, 0] == [reset, opened, resumed]
        assert "weather:get is reset.\nWeather is open.\nDegraded mode is ended.\n" == said
        assert isinstance(member.try_permit("weather", "GET"), Permit)

        # Each process watches for loops itself.
        until(lambda: asks_again(member) == "loop_detected")
        assert 0 == main(["ctl", "reset", "Weather", "--socket", there])
        until(lambda: asks_again(member) == "granted")
    assert "weather:get" in shown["conditions"][0]["key"]
    assert [("notebook", os.getpid())] == [(one["name"], one["pid"]) for one in shown["global"]["members"]]
    assert (str(machine.policy), shown["about"]["host"]) == (shown["about"]["policy_file"], socket.gethostname())


def test_a_process_is_recalled_by_its_name_or_number_and_goes_on(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    workers = [machine.start("-c", BUSY) for _ in range(2)]

    def leased() -> dict[int, int]:
        return {one["pid"]: one["leased"] for one in status(machine, capsys)["global"]["members"]}

    until(lambda: all(leased().get(worker.pid) for worker in workers))
    workers[1].send_signal(signal.SIGSTOP)
    by_name = governor("ctl", "recall", "worker", "--socket", str(machine.socket))
    until(lambda: bool(leased()[workers[0].pid]))
    assert 0 == main(["ctl", "recall", str(workers[0].pid), "--socket", str(machine.socket)])
    by_number = capsys.readouterr().out
    # The one that stands still cannot answer: what it has counts as used when its time is over.
    until(lambda: not leased()[workers[1].pid])
    until(lambda: bool(leased()[workers[0].pid]))

    assert (0, "") == (by_name.returncode, by_name.stderr)
    assert by_name.stdout.endswith(" permits of 2 processes are recalled.\n")
    assert by_number.endswith(" of 1 process are recalled.\n")
    assert [None, None] == [worker.poll() for worker in workers]


def answer_in_http(listener: socket.socket) -> None:
    with listener.accept()[0] as accepted:
        accepted.recv(1000)
        accepted.sendall(b"HTTP/1.1 400 Bad Request")


def test_a_mistake_says_what_is_wrong_and_nothing_is_done(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = str(machine.socket)
    gone, other = tmp_path / "gone", tmp_path / "other"

    def said(*arguments: str) -> tuple[int, str]:
        result = main(list(arguments))
        printed = capsys.readouterr()
        assert not printed.out
        return result, printed.err

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(other))
        listener.listen()
        answers = Thread(target=answer_in_http, args=(listener,))
        answers.start()
        not_a_governor = said("status", "--socket", str(other))
        answers.join()
    monkeypatch.setenv("GOVERNOR_SOCKET", str(gone))
    nothing = "governor ctl: Nothing was done: "

    assert (1, True) == (not_a_governor[0], "is longer than the 1,048,576 that are allowed" in not_a_governor[1])
    assert (1, f"governor status: no governor answers on {gone}: No such file or directory\n") == said("status")
    assert (1, f"governor ctl: no governor answers on {gone}: No such file or directory\n") == said("ctl", "recall", "1")
    assert (1, f"{nothing}there is no scope 'weather:gte', or it has not been used yet.\n") == said(
        "ctl", "close", "weather:gte", "--socket", there
    )
    assert (1, f"{nothing}no process with the name or the number 'web' is connected.\n") == said(
        "ctl", "recall", "web", "--socket", there
    )
    result, words = said("ctl", "close", "weather", "--for", "0s", "--socket", there)
    assert (1, True) == (result, words.startswith(nothing) and "0s" in words)
    with pytest.raises(SystemExit, match="2"):
        main(["ctl", "open", "weather", "--socket", there, "--url", "http://127.0.0.1:8787"])
