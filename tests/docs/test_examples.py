"""The examples of the documentation work as they are printed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
RUNNER: Final = Path(__file__).with_name("run_page.py")
ALL: Final = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES: Final = [page for page in ALL if "```" in page.read_text(encoding="utf-8")]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="cannot fork")

#: Runs a page in a folder, and returns the exit status and what was printed.
Run = Callable[[Path, Path], tuple[int, str]]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """One process that imports what most pages need, and is forked for each page: imports would take most of the time."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GOVERNOR")}
    command = [sys.executable, "-W", "error", str(RUNNER)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdin is not None
        assert runner.stdout is not None
        requests, statuses = runner.stdin, runner.stdout

        def run(page: Path, folder: Path) -> tuple[int, str]:
            printed = folder.with_name(f"{folder.name}-printed")
            requests.write(json.dumps([str(page), str(folder), str(printed)]) + "\n")
            requests.flush()
            return int(statuses.readline()), printed.read_text(encoding="utf-8")

        yield run


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_everything_on_the_page_works(page: Path, tmp_path: Path, run: Run) -> None:
    """In a process of its own, as at the reader's, so that nothing is left of it: no governor, no setting, no file."""
    assert (0, "") == run(page, tmp_path)
