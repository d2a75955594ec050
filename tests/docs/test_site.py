"""The documentation site builds without a warning, and its generated parts are up to date."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from tools.architecture import PICTURE, layers, picture

ROOT: Final = Path(__file__).resolve().parents[2]


def test_the_site_builds_without_a_warning() -> None:
    zensical = Path(sys.executable).with_name("zensical")
    build = [str(zensical), "build", "--strict", "--clean"]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr


def test_the_picture_of_the_architecture_shows_the_import_contract() -> None:
    assert picture(layers()) == PICTURE.read_text(encoding="utf-8"), "run `make docs`"
