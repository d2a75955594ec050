"""The compiled wheel, and the wheel that a machine without a compiler makes of the source distribution.

Both take a minute. They run where the kernel is compiled anyway: `make test-compiled`.
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


def built(source: Path, folder: Path, **environment: str) -> Path:
    """The wheel of a tree or of a source distribution, by the packages that are installed here."""
    wheel = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-v", "-w", folder, source)
    (folder / "output.txt").write_text(output(*wheel, **environment))
    (found,) = folder.glob("*.whl")
    return found


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
    wheel = built(ROOT, tmp_path, TRAFFIC_GOVERNOR_PURE="0")
    python = installed(wheel, tmp_path / "environment")

    assert set(hatch_build.MODULES) == modules_in_c(wheel)
    assert "-cp" in wheel.name
    assert "1\n" == output(python, "-c", PAIR) == output(python, "-c", PAIR, TRAFFIC_GOVERNOR_PURE="1")
    version = ("-m", "governor", "--version")
    assert output(python, *version).endswith("(compiled)\n")
    assert output(python, *version, TRAFFIC_GOVERNOR_PURE="1").endswith("(pure Python)\n")


def test_without_a_compiler_the_source_distribution_makes_a_wheel_of_pure_python(tmp_path: Path) -> None:
    (tmp_path / "wheel").mkdir()
    command = "import sys; from hatchling.build import build_sdist; print(build_sdist(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", command, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True)
    source = tmp_path / done.stdout.split()[-1]
    wheel = built(source, tmp_path / "wheel", CC="/no/such/compiler")

    with tarfile.open(source) as archive:
        assert {"hatch_build.py", "_fields.pxd"} <= {name.rpartition("/")[2] for name in archive.getnames()}
    assert set() == modules_in_c(wheel)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert "there is no C compiler" in (tmp_path / "wheel" / "output.txt").read_text()
    assert "1\n" == output(installed(wheel, tmp_path / "environment"), "-c", PAIR)
