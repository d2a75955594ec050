"""Python programs, each in a process of its own."""

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import IO, Final

from tests.support.waits import PATIENCE

ROOT: Final = Path(__file__).parents[2]
#: The program `governor`.
COMMAND: Final = "import sys; from governor.cli import main; sys.exit(main())"


class Forked:
    """A program that was forked, like a `Popen` of it."""

    def __init__(self, told: int) -> None:
        self._told = os.fdopen(told, "rb", buffering=0)
        self.pid = int(self._told.readline())
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status. Raises `TimeoutExpired` if it has none by then."""
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            with self._told:
                self.returncode = int(self._told.readline())
        return self.returncode

    def poll(self) -> int | None:
        """Its exit status, if it has ended."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, number: int) -> None:
        """Unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """As a service is told to end."""
        self.send_signal(SIGTERM)

    def kill(self) -> None:
        """At once."""
        self.send_signal(SIGKILL)


class Written(Forked):
    """One whose output and errors go to files."""

    def __init__(self, told: int, output: IO[str], errors: IO[str]) -> None:
        super().__init__(told)
        self._files = output, errors
        self._written: tuple[str, str] | None = None

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """All that it has written, once it has ended."""
        self.wait(timeout)
        if self._written is None:
            output, errors = self._files
            for file in self._files:
                file.seek(0)
            with output, errors:
                self._written = output.read(), errors.read()
        return self._written


class Forks:
    """A process that is forked for each program, of which `forks.py` tells more."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair()
        with theirs:
            self._server = subprocess.Popen([sys.executable, "-m", "tests.support.forks"], cwd=ROOT, stdin=theirs.fileno())
        atexit.register(self.close)

    def start(
        self,
        program: str,
        *argv: str,
        warnings: str,
        folder: Path,
        environ: dict[str, str],
        streams: tuple[IO[str], IO[str], IO[str]],
    ) -> Forked:
        """The program, which has these streams."""
        return Forked(self._order(program, argv, warnings, folder, environ, streams, 0))

    def write(
        self, program: str, *argv: str, warnings: str, folder: Path, environ: dict[str, str], patience: float = 0
    ) -> Written:
        """The program, which has an empty input and writes to files. It has so many seconds, or as many as it needs."""
        output, errors = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed when read
        with Path(os.devnull).open() as nothing:
            told = self._order(program, argv, warnings, folder, environ, (nothing, output, errors), patience)
            return Written(told, output, errors)

    def _order(
        self,
        program: str,
        argv: Sequence[str],
        warnings: str,
        folder: Path,
        environ: dict[str, str],
        streams: tuple[IO[str], IO[str], IO[str]],
        patience: float,
    ) -> int:
        """The file in which the number of the process is, and its exit status."""
        read, write = os.pipe()
        order = {
            "program": program,
            "argv": argv,
            "warnings": warnings,
            "folder": str(folder),
            "environ": environ,
            "patience": int(patience),
        }
        message = (json.dumps(order) + "\n").encode()
        sent = socket.send_fds(self._orders, [message], [*(stream.fileno() for stream in streams), write])
        self._orders.sendall(message[sent:])
        os.close(write)
        return read

    def run(
        self, program: str, *argv: str, warnings: str, folder: Path, environ: dict[str, str]
    ) -> "subprocess.CompletedProcess[str]":
        """How the program ended and what it wrote."""
        process = self.write(program, "-c", *argv, warnings=warnings, folder=folder, environ=environ, patience=PATIENCE)
        written = process.communicate()
        return subprocess.CompletedProcess([program], process.wait(), *written)

    def close(self) -> None:
        self._orders.close()
        self._server.wait()


forks: Final = cache(Forks)


def execute(
    program: str, *, setup: str = "", warnings: str = "error", folder: Path = ROOT, fresh: bool = False, **environ: str
) -> "subprocess.CompletedProcess[str]":
    """How the program ended and what it wrote. It has `PATIENCE`, and must end well.

    `setup` is run before it; both may be indented. `warnings` is a filter of Python, `environ` what the environment has too.
    A `fresh` interpreter is one that has imported nothing: five times as dear, and needed where that is what is tested.
    """
    text = textwrap.dedent(setup) + textwrap.dedent(program)
    surroundings = {**os.environ, **environ}
    if fresh or not hasattr(os, "fork"):
        done = subprocess.run(
            [sys.executable, "-W", warnings, "-c", text],
            cwd=folder,
            env=surroundings,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    else:
        done = forks().run(text, warnings=warnings, folder=folder, environ=surroundings)
    assert 0 == done.returncode, done.stderr
    return done


def governor(*arguments: str, folder: Path = ROOT, **environ: str) -> "subprocess.CompletedProcess[str]":
    """How `governor ARGUMENTS` ended and what it wrote, in an environment that names no policy and no daemon."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("GOVERNOR")}
    return forks().run(COMMAND, *arguments, warnings="error", folder=folder, environ={**others, "COLUMNS": "100", **environ})


def run(
    program: str, *, setup: str = "", warnings: str = "error", folder: Path = ROOT, fresh: bool = False, **environ: str
) -> str:
    """What a program prints that writes nothing to its standard error."""
    done = execute(program, setup=setup, warnings=warnings, folder=folder, fresh=fresh, **environ)
    assert not done.stderr
    return done.stdout
