"""The daemon under a service manager, which hands it sockets and waits for its notices."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.support.waits import PATIENCE

#: As systemd starts a service: descriptors from 3 on, and variables that name the process.
PROGRAM = """
import os, sys
descriptors, names = sys.argv[1:3]
for number, descriptor in enumerate(descriptors.split(","), 3):
    os.dup2(os.dup(int(descriptor)), number)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(number - 2), "LISTEN_FDNAMES": names}
from governor.cli import main
sys.exit(main(["serve"]))
"""


@contextmanager
def started(folder: Path, *sockets: socket.socket, names: str) -> Iterator[subprocess.Popen[str]]:
    """The daemon with these sockets, in a folder with a socket for its notices."""
    descriptors = ",".join(str(one.fileno()) for one in sockets)
    command = [sys.executable, "-W", "error", "-c", PROGRAM, descriptors, names]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GOVERNOR")}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"NOTIFY_SOCKET": str(folder / "notices")},
        pass_fds=[one.fileno() for one in sockets],
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_daemon_serves_on_the_socket_that_systemd_hands_over_and_says_when_it_is_ready(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.bind(str(tmp_path / "notices"))
        notices.settimeout(PATIENCE)
        port = listener.getsockname()[1]
        with started(tmp_path, listener, names="http") as process:
            assert b"READY=1" == notices.recv(64)
            assert 200 == httpx2.get(f"http://127.0.0.1:{port}/health", timeout=PATIENCE).status_code

            process.send_signal(signal.SIGTERM)

            assert b"STOPPING=1" == notices.recv(64)
            assert 0 == process.wait(PATIENCE)


@pytest.mark.parametrize(
    ("kind", "names", "mistake"),
    [
        (
            socket.SOCK_STREAM,
            "http:http",
            "LISTEN_FDNAMES is 'http:http'; expected a name for each socket (FileDescriptorName=)",
        ),
        (
            socket.SOCK_STREAM,
            "web",
            "LISTEN_FDNAMES is 'web'; expected a socket of IP with the name http, or a unix socket with the name machine",
        ),
        (socket.SOCK_DGRAM, "http", "LISTEN_FDS, http is 3; expected the descriptor of a stream socket that listens"),
    ],
)
def test_a_socket_that_cannot_be_served_is_named(tmp_path: Path, kind: int, names: str, mistake: str) -> None:
    with socket.socket(socket.AF_INET, kind) as handed:
        handed.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            handed.listen()
        with started(tmp_path, *[handed] * len(names.split(":")), names=names) as process:
            _, errors = process.communicate(timeout=PATIENCE)

    assert (2, f"governor serve: {mistake}") == (process.returncode, errors.strip().partition("\n")[0])
