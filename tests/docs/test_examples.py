"""The examples of the documentation work as they are printed."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
RUNNER: Final = Path(__file__).with_name("run_page.py")
ALL: Final = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES: Final = [page for page in ALL if "```" in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_everything_on_the_page_works(page: Path, tmp_path: Path) -> None:
    """In a process of its own, as at the reader's, so that nothing is left of it: no governor, no setting, no file."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GOVERNOR")}
    run = subprocess.run(
        [sys.executable, "-W", "error", str(RUNNER), str(page)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
        check=False,
    )

    assert (0, "") == (run.returncode, run.stdout)
