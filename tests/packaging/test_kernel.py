"""The wheel that the kernel was compiled for, and the one that a machine without a compiler makes of the source distribution.

To compile takes a minute. So these tests run where it has been done: `make test-compiled`.
"""

import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Final

import pytest

import hatch_build
from governor import _build
from tests.packaging.commands import output

ROOT: Final = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(not _build.is_compiled(), reason="pure Python runs here; `make test-compiled` runs this")

PAIR: Final = """
import asyncio
import governor

async def main():
    async with governor.Governor() as running:
        with running.permit("weather", "GET", timeout=0) as permit:
            permit.record(status=200)
        print(running.statistics().counters.requests)

asyncio.run(main())
"""


def installed(wheel: Path, folder: Path) -> Path:
    """The interpreter of a new environment with nothing but this wheel and what it needs."""
    venv.create(folder, with_pip=False)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    output(*pip, "--disable-pip-version-check", "--constraint", ROOT / "constraints.txt", wheel)
    return python


def modules_in_c(wheel: Path) -> set[str]:
    """The modules of a wheel that are compiled."""
    ending = sysconfig.get_config_var("EXT_SUFFIX")
    with zipfile.ZipFile(wheel) as archive:
        return {name.removesuffix(ending).replace("/", ".") for name in archive.namelist() if name.endswith(ending)}


def test_the_compiled_wheel_runs_in_an_empty_environment_and_as_pure_python_if_asked_to(tmp_path: Path) -> None:
    (wheel,) = Path(sys.prefix).glob("*.whl")
    python = installed(wheel, tmp_path / "environment")

    assert set(hatch_build.MODULES) == modules_in_c(wheel)
    assert "-cp" in wheel.name
    assert "1\n" == output(python, "-c", PAIR) == output(python, "-c", PAIR, TRAFFIC_GOVERNOR_PURE="1")
    version = ("-m", "governor", "--version")
    assert output(python, *version).endswith("(compiled)\n")
    assert output(python, *version, TRAFFIC_GOVERNOR_PURE="1").endswith("(pure Python)\n")


def test_without_a_compiler_the_source_distribution_makes_a_wheel_of_pure_python(tmp_path: Path) -> None:
    command = "import sys; from hatchling.build import build_sdist; print(build_sdist(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", command, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True)
    source = tmp_path / done.stdout.split()[-1]
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-v", "-w", tmp_path / "wheel", source)
    said = output(*pip, CC="/no/such/compiler")
    (wheel,) = (tmp_path / "wheel").glob("*.whl")

    with tarfile.open(source) as archive:
        assert {"hatch_build.py", "_fields.pxd"} <= {name.rpartition("/")[2] for name in archive.getnames()}
    assert set() == modules_in_c(wheel)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert "there is no C compiler" in said
    assert "1\n" == output(installed(wheel, tmp_path / "environment"), "-c", PAIR)
