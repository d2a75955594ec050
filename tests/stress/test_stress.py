"""The governor holds under stress, in every kind of interpreter.

Here a few short runs. `python -m tests.stress.program --runs 100 --seconds 2` makes a hundred long ones.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.promise("R02", "R06", "R07", "R08", "R51", "R54", "R55")


def stress(*arguments: str, options: tuple[str, ...] = (), **environ: str) -> None:
    """Runs the program; it must end well, and without a complaint."""
    command = [sys.executable, *options, "-m", "tests.stress.program", "--seconds", "0.5", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True, timeout=110, check=False
    )
    assert 0 == done.returncode, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr


#: All loops in turn, on which a governor may live.
HOMES = ["background", "asyncio", "trio", *(["uvloop"] if find_spec("uvloop") else [])]


def homes(*names: str) -> list[str]:
    return [word for name in names for word in ("--home", name)]


def test_no_limit_is_exceeded_and_every_call_is_answered() -> None:
    stress("--runs", str(len(HOMES)), *homes(*HOMES))


def test_nor_in_development_mode_with_every_warning_an_error() -> None:
    stress("--runs", "3", *homes("background", "asyncio", "trio"), options=("-X", "dev", "-W", "error"))


def test_nor_with_the_debug_mode_of_asyncio() -> None:
    stress("--runs", "2", *homes("background", "asyncio"), PYTHONASYNCIODEBUG="1")


@pytest.mark.parametrize(("home", "interval"), [("background", "1e-6"), ("asyncio", "1e-4")])
def test_nor_when_threads_take_turns_as_often_as_they_can(home: str, interval: str) -> None:
    stress("--runs", "2", *homes(home), "--switch-interval", interval)
