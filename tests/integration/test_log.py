"""The log: written if it is configured, and no trace of it otherwise."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import anyio.lowlevel
import pytest

from governor import Config, ConfigError, Governor, GovernorState
from governor.testing import ManualClock
from tests.support.governors import supervisor_of
from tests.support.programs import execute

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="there are no private folders"),
]

MEGABYTE = 1_000_000
#: Denies the second call, and each one after it.
ONE_CALL = {"outbound": {"default": {"limits": ["1/hour burst 1"]}}}


def config(folder: Path, **logging: object) -> Config:
    return Config.from_mapping({**ONE_CALL, "logging": {"enabled": True, "directory": folder, **logging}})


def events(folder: Path) -> list[str]:
    """What has been written, file by file."""
    lines = (line for path in sorted(folder.rglob("*.jsonl")) for line in path.read_text().splitlines())
    return [json.loads(line)["event"] for line in lines]


def run(program: str, folder: Path, **environ: str) -> str:
    """What a program prints that has this folder for its home, its state, its temporary files and its work."""
    homes = dict.fromkeys(("HOME", "XDG_STATE_HOME", "TMPDIR"), str(folder))
    done = execute(program, warnings="ignore::DeprecationWarning", folder=folder, fresh=False, **{**homes, **environ})
    return done.stdout + done.stderr


TRAFFIC = """
    import logging, sys, threading
    import governor
    from governor import Governor
    with Governor.from_file() as one:
        for _ in range(200):
            answer = one.try_permit("weather", "GET")
        threads = sorted(thread.name for thread in threading.enumerate() if "hook" in thread.name)
    written = [name for name in sys.modules if name.startswith("governor.instrumentation") and "log" in name]
    print(type(answer).__name__, logging.getLogger("governor").handlers, threads, sorted(written))
"""


@pytest.mark.promise("R40")
@pytest.mark.parametrize(
    "said", [{}, {"ENABLE_TRAFFIC_CONTROL_LOGGING": "false"}, {"TRAFFIC_CONTROL_LOG_DIR": "logs"}], ids=str
)
def test_off_there_is_no_file_no_folder_no_handler_no_thread_and_no_code_that_writes(
    tmp_path: Path, said: dict[str, str]
) -> None:
    printed = run(TRAFFIC, tmp_path, **said)

    assert "Denied [] [] []\n" == printed
    assert [] == list(tmp_path.iterdir())


@pytest.mark.promise("R40", "R41")
def test_on_the_variables_say_so_and_where(tmp_path: Path) -> None:
    printed = run(TRAFFIC, tmp_path, ENABLE_TRAFFIC_CONTROL_LOGGING="true", TRAFFIC_CONTROL_LOG_DIR=str(tmp_path / "here"))

    assert "Denied [] ['governor hook'] [" in printed
    assert ["here"] == [path.name for path in tmp_path.iterdir()]
    assert {"call_denied"} == set(events(tmp_path / "here"))


@pytest.mark.promise("R41")
def test_on_without_a_place_it_is_in_the_folder_for_the_state_of_programs(tmp_path: Path) -> None:
    run(TRAFFIC, tmp_path, ENABLE_TRAFFIC_CONTROL_LOGGING="true")

    assert ["traffic-governor"] == [path.name for path in tmp_path.iterdir()]
    assert {"call_denied"} == set(events(tmp_path / "traffic-governor"))


@pytest.mark.anyio
async def test_everything_has_been_written_when_the_governor_has_been_left(tmp_path: Path) -> None:
    async with Governor(config(tmp_path / "logs"), clock=ManualClock()) as governor:
        for _ in range(5_001):
            governor.try_permit("weather")

    assert ["call_denied"] * 5_000 == events(tmp_path / "logs")


@pytest.mark.promise("R41", "R53")
@pytest.mark.anyio
async def test_a_folder_that_is_not_safe_is_a_mistake_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "logs").symlink_to(tmp_path)
    governor = Governor(config(tmp_path / "logs"))

    with pytest.raises(ConfigError, match=r"^logging\.directory is .* symbolic link"):
        async with governor:
            pass
    assert governor.state is not GovernorState.RUNNING


@pytest.mark.promise("R40")
@pytest.mark.anyio
async def test_other_settings_begin_move_and_end_a_log(tmp_path: Path) -> None:
    off = Config.from_mapping(ONE_CALL)
    async with Governor(off, clock=ManualClock()) as governor:
        governor.try_permit("weather")
        for number, settings in enumerate((off, config(tmp_path / "a"), config(tmp_path / "b"), off), 1):
            governor.reconfigure(settings)
            for _ in range(number):
                governor.try_permit("weather")

    assert (["a", "b"], 2, 3) == (sorted(os.listdir(tmp_path)), len(events(tmp_path / "a")), len(events(tmp_path / "b")))


@pytest.mark.anyio
async def test_settings_for_a_folder_that_is_not_safe_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    async with Governor(config(tmp_path / "logs"), clock=ManualClock()) as governor:
        governor.try_permit("weather")
        with pytest.raises(ConfigError):
            governor.reconfigure(config(tmp_path / "link", max_size_mb=7))
        governor.try_permit("weather")
        in_force = governor.config.logging

    assert (tmp_path / "logs", ["call_denied"]) == (in_force.directory, events(tmp_path / "logs"))


@pytest.mark.promise("R42")
@pytest.mark.anyio
async def test_a_folder_that_is_deleted_under_load_disturbs_no_call(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    async with Governor(config(folder), clock=ManualClock()) as governor:
        for number in range(2_000):
            if number % 100 == 0:
                shutil.rmtree(folder, ignore_errors=True)
                await anyio.lowlevel.checkpoint()
            governor.try_permit("weather")
        rejected = governor.statistics().counters.denied

    assert {"rate_limit_exceeded": 1_999} == rejected
    assert {"call_denied"} >= set(events(folder))


@pytest.mark.promise("R42")
def test_a_disk_that_is_really_full_costs_nothing_but_lines(small_disk: Path) -> None:
    folder = small_disk / "logs"
    with Governor(config(folder, max_size_mb=5), clock=ManualClock()) as governor:
        for _ in range(5_000):
            governor.try_permit("weather")
        rejected = governor.statistics().counters.denied
        supervisor = supervisor_of(governor)
    statistics = supervisor.statistics()
    written = len(events(folder))

    assert {"rate_limit_exceeded": 4_999} == rejected
    assert 0 < written < 4_999
    assert 4_999 == written + statistics.hooks_failed + statistics.events_dropped


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a quarter of a megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o700)
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("only root mounts file systems")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


WRITER = """
    import sys
    from governor import Config, Governor
    from governor.testing import ManualClock
    config = Config.load("policy.toml", environ={}, env_file=None)
    for start in range(3):
        with Governor(config, clock=ManualClock()) as governor:
            for number in range(1_500):
                governor.try_permit(f"process{sys.argv[1]}")
"""
POLICY = """
[outbound.default]
limits = ["1/hour burst 1"]
[global]
requests_per_minute = 1000000
[logging]
enabled = true
directory = "logs"
max_size_mb = 1
"""


@pytest.mark.promise("R42")
def test_processes_that_share_a_folder_spoil_no_line_and_keep_to_one_budget(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(POLICY)
    program = textwrap.dedent(WRITER)
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(number)], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    said = [process.communicate(timeout=60)[1] for process in processes]
    size = sum(path.stat().st_size for path in (tmp_path / "logs").iterdir())
    lines = [json.loads(line) for path in (tmp_path / "logs").iterdir() for line in path.read_text().splitlines()]

    assert ["", "", ""] == said
    assert MEGABYTE // 2 < size <= MEGABYTE
    assert {"process0", "process1", "process2"} >= {line["scope"] for line in lines if line["event"] == "call_denied"}


@pytest.mark.promise("R54")
def test_a_forked_child_writes_nothing_and_may_have_a_log_of_its_own(tmp_path: Path) -> None:
    program = """
        import os
        from pathlib import Path
        from governor import Config, Governor, UsageError
        from governor.testing import ManualClock
        def config(name):
            return Config.from_mapping({
                "outbound": {"default": {"limits": ["1/hour burst 1"]}}, "logging": {"enabled": True, "directory": name}})
        with Governor(config("parent"), clock=ManualClock()) as governor:
            governor.try_permit("weather")
            governor.try_permit("weather")
            child = os.fork()
            if child == 0:
                try:
                    governor.add_hook(print)
                except UsageError as error:
                    print(error, flush=True)
                with Governor(config("child"), clock=ManualClock()) as own:
                    for _ in range(3):
                        own.try_permit("weather")
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            governor.try_permit("weather")
    """
    printed = run(program, tmp_path)

    assert "the governor has been closed, and delivers no more events to hooks\n" == printed
    assert (2, 2) == (len(events(tmp_path / "parent")), len(events(tmp_path / "child")))
