"""Python programs, each in a process of its own."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Final

from tests.support.waits import PATIENCE

ROOT: Final = Path(__file__).parents[2]


def execute(
    program: str, *, setup: str = "", warnings: str = "error", folder: Path = ROOT, **environ: str
) -> "subprocess.CompletedProcess[str]":
    """How the program ended and what it wrote. It has `PATIENCE`, and must end well.

    `setup` is run before it; both may be indented. `warnings` is a filter of Python, `environ` what the environment has too.
    """
    done = subprocess.run(
        [sys.executable, "-W", warnings, "-c", textwrap.dedent(setup) + textwrap.dedent(program)],
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done


def run(program: str, *, setup: str = "", warnings: str = "error", folder: Path = ROOT, **environ: str) -> str:
    """What a program prints that writes nothing to its standard error."""
    done = execute(program, setup=setup, warnings=warnings, folder=folder, **environ)
    assert not done.stderr
    return done.stdout
