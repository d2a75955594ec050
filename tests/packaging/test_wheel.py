"""The wheel of pure Python: its files, its metadata, and what works after installing it into an empty virtual environment."""

import sys
import venv
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Final

import pytest

from governor.presets import built_in
from tests.packaging.commands import run

ROOT: Final = Path(__file__).resolve().parents[2]

PERMIT: Final = """
import asyncio
import governor

async def main():
    async with governor.Governor() as running:
        async with running.permit("weather", "GET") as permit:
            permit.record(status=200)
        print(running.statistics().counters.requests)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree with the build backend of the development environment."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, ROOT)
    done = run(*wheel, TRAFFIC_GOVERNOR_PURE="1")
    assert 0 == done.status, done.output
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a new virtual environment, with the wheel and its base dependencies only."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    constraints = ROOT / "constraints.txt"
    # By the pip of this environment: to put another one into the new one takes longer than everything else here.
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", programs / "python", "install", "--quiet"]
    done = run(*pip, "--disable-pip-version-check", "--constraint", constraints, wheel)
    assert 0 == done.status, done.output
    return programs


def test_the_wheel_holds_the_two_packages_and_nothing_for_developers(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

    assert [] == [name for name in names if name.endswith((".pxd", ".so", ".pyd"))]
    assert {"governor", "governor_client", _metadata_folder(names)} == {name.split("/")[0] for name in names}
    assert {"governor/py.typed", "governor_client/py.typed", "governor/daemon/dashboard/index.html"} <= set(names)
    assert ["governor/hints/dialects/table.json"] == [name for name in names if "/dialects/" in name]
    assert {f"governor/presets/data/{name}.toml" for name in built_in()} <= set(names)


def test_the_base_needs_only_what_outbound_limiting_needs(wheel: Path) -> None:
    needs = _metadata(wheel).get_all("Requires-Dist", [])

    assert {"anyio", "http-sf", "httpx2", "msgspec", "python-dotenv"} == {
        need.split(">=")[0] for need in needs if "extra ==" not in need
    }


def test_extras_are_for_users_and_not_for_developers(wheel: Path) -> None:
    extras = _metadata(wheel).get_all("Provides-Extra", [])

    known = ["aiohttp", "all", "completion", "daemon", "httpx", "opentelemetry", "prometheus", "requests", "urllib3"]
    assert known == sorted(extras)


def test_a_permit_is_granted_without_any_extra(programs: Path) -> None:
    assert (0, "1\n") == run(programs / "python", "-c", PERMIT)


def test_the_program_names_its_version(programs: Path, wheel: Path) -> None:
    assert (0, f"governor {_metadata(wheel)['Version']} (pure Python)\n") == run(programs / "governor", "--version")


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("governor.daemon", "daemon"),
        ("governor.opentelemetry", "opentelemetry"),
        *((f"governor_client.{library}", library) for library in ("aiohttp", "httpx", "requests", "urllib3")),
    ],
)
def test_importing_what_an_extra_brings_names_the_extra(programs: Path, module: str, extra: str) -> None:
    done = run(programs / "python", "-c", f"import {module}")

    assert 1 == done.status
    assert f"pip install 'traffic-governor[{extra}]'" in done.output.splitlines()[-1]


@pytest.mark.parametrize("command", ["serve", "status"])
def test_commands_of_the_daemon_name_its_extra(programs: Path, command: str) -> None:
    done = run(programs / "governor", command)

    assert 2 == done.status
    assert done.output.startswith(f"governor {command}: ")
    assert done.output.endswith("pip install 'traffic-governor[daemon]'\n")


def test_the_demo_says_where_it_is(programs: Path) -> None:
    done = run(programs / "governor", "demo")

    assert 2 == done.status
    assert "make demo" in done.output


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return Parser().parsestr(archive.read(f"{_metadata_folder(archive.namelist())}/METADATA").decode())


def _metadata_folder(names: list[str]) -> str:
    (folder,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
    return folder
