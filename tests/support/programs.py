"""Python programs, each in a process of its own."""

import atexit
import json
import os
import subprocess
import sys
import tempfile
import textwrap
from functools import cache
from pathlib import Path
from typing import IO, Final

from tests.support.waits import PATIENCE

ROOT: Final = Path(__file__).parents[2]


class Forks:
    """A process that is forked for each program, of which `forks.py` tells more."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.support.forks"]
        self._server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        atexit.register(self.close)

    def run(self, program: str, warnings: str, folder: Path, environ: dict[str, str]) -> "subprocess.CompletedProcess[str]":
        """How the program ended and what it wrote."""
        requests, statuses = self._streams()
        with tempfile.NamedTemporaryFile("r+") as output, tempfile.NamedTemporaryFile("r+") as errors:
            order = {
                "program": program,
                "warnings": warnings,
                "folder": str(folder),
                "environ": environ,
                "output": output.name,
                "errors": errors.name,
                "patience": int(PATIENCE),
            }
            requests.write(json.dumps(order) + "\n")
            requests.flush()
            status = int(statuses.readline())
            return subprocess.CompletedProcess([program], status, output.read(), errors.read())

    def close(self) -> None:
        for stream in self._streams():
            stream.close()
        self._server.wait()

    def _streams(self) -> tuple[IO[str], IO[str]]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        return self._server.stdin, self._server.stdout


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
        done = forks().run(text, warnings, folder, surroundings)
    assert 0 == done.returncode, done.stderr
    return done


def run(
    program: str, *, setup: str = "", warnings: str = "error", folder: Path = ROOT, fresh: bool = False, **environ: str
) -> str:
    """What a program prints that writes nothing to its standard error."""
    done = execute(program, setup=setup, warnings=warnings, folder=folder, fresh=fresh, **environ)
    assert not done.stderr
    return done.stdout
