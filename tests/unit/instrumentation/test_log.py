"""A log writes its events, keeps what it should and nothing else, and survives whatever happens to its files.

Days pass as the test says: the wall clock is a number.
"""

import errno
import json
import logging
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from governor.errors import ConfigError, Reason
from governor.instrumentation import AnyEvent, BreakerChanged, CallDenied, ClientDenied, DegradedLeft
from governor.policies.breakers.states import BreakerStatus

if sys.platform == "win32":
    pytest.skip("there are no private folders", allow_module_level=True)

from governor.instrumentation.log import RETRY_INTERVAL, Log

DAY = 86_400.0
#: 2025-10-18, at noon.
NOON = 1_760_745_600.0 + DAY / 2
MEGABYTE = 1_000_000


class World:
    """A log in a folder, the time of day, and how many lines were lost."""

    def __init__(self, folder: Path, max_size: int = MEGABYTE) -> None:
        self.folder = folder
        self.now = NOON
        self.lost = 0
        self.max_size = max_size
        self.log = self.open()

    def open(self) -> Log:
        """Another log in the same folder, as another process or a new start would have it."""
        return Log(self.folder, max_size=self.max_size, wall_clock=lambda: self.now, lost=self._lose)

    def write(self, *numbers: int, log: Log | None = None) -> None:
        """Events that can be told apart, written at once."""
        log = log or self.log
        for number in numbers:
            log(CallDenied(at=self.now, scope="weather:get", reason=Reason.RATE_LIMIT, retry_after=float(number)))
        log.pause()

    def files(self) -> dict[str, list[int]]:
        """What stands in which file; None for lines that are no refusals."""
        return {path.name: _numbers(path) for path in sorted(self.folder.iterdir())}

    def numbers(self) -> list[int]:
        """What stands in all files."""
        return [number for numbers in self.files().values() for number in numbers]

    def size(self) -> int:
        """How many bytes all files have."""
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def _lose(self, lines: int) -> None:
        self.lost += lines


def _numbers(path: Path) -> list[int]:
    return [
        int(line["retry_after"]) for line in map(json.loads, path.read_text().splitlines()) if line["event"] == "call_denied"
    ]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A log in a new folder."""
    return World(tmp_path / "logs")


def test_a_line_is_an_event_as_json(world: World) -> None:
    events: list[AnyEvent] = [
        CallDenied(at=NOON, scope="weather:get", reason=Reason.RATE_LIMIT, retry_after=None),
        BreakerChanged(at=NOON, scope="weather", before=BreakerStatus.CLOSED, after=BreakerStatus.OPEN, probes_in=60.0),
        DegradedLeft(at=NOON + 0.25),
        ClientDenied(at=NOON, group="chat", client="actor-3f09c1d2a4", limit="client", retry_after=0.5),
    ]
    for event in events:
        world.log(event)
    world.log.close()
    (path,) = world.folder.iterdir()

    assert "governor-2025-10-18-0001.jsonl" == path.name
    assert [
        {"event": "call_denied", "at": NOON, "scope": "weather:get", "reason": "rate_limit_exceeded", "retry_after": None},
        {"event": "breaker_changed", "at": NOON, "scope": "weather", "before": "closed", "after": "open", "probes_in": 60.0},
        {"event": "degraded_left", "at": NOON + 0.25},
        {
            "event": "client_denied",
            "at": NOON,
            "group": "chat",
            "client": "actor-3f09c1d2a4",
            "limit": "client",
            "retry_after": 0.5,
            "dry_run": False,
        },
    ] == [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.promise("R41")
def test_folder_and_files_are_readable_for_their_owner_only(world: World) -> None:
    before = os.umask(0)
    try:
        world.write(1)
    finally:
        os.umask(before)
    (path,) = world.folder.iterdir()
    path.chmod(0o644)
    world.write(2, log=world.open())

    assert (0o700, 0o600) == (stat.S_IMODE(world.folder.stat().st_mode), stat.S_IMODE(path.stat().st_mode))


def test_without_an_event_there_is_no_file(world: World) -> None:
    world.log.pause()
    world.log.close()

    assert {} == world.files()


def test_lines_are_written_together_when_there_is_a_pause_or_when_they_are_many(world: World) -> None:
    world.log(DegradedLeft(at=NOON))
    before = world.size()
    for _ in range(1000):
        world.log(DegradedLeft(at=NOON))
    many = world.size()
    world.log.pause()

    assert 0 == before
    assert 0 < many < world.size() == 1001 * len('{"event":"degraded_left","at":1760788800.0}\n')


# Rotation and retention.


@pytest.mark.promise("R42")
def test_every_day_has_a_file_and_three_days_are_kept(world: World) -> None:
    for day in range(10):
        world.now = NOON + day * DAY
        world.write(day)

    assert {
        "governor-2025-10-25-0001.jsonl": [7],
        "governor-2025-10-26-0001.jsonl": [8],
        "governor-2025-10-27-0001.jsonl": [9],
    } == world.files()


@pytest.mark.promise("R42")
def test_no_line_is_ever_older_than_three_days_and_those_of_two_days_are_always_there(world: World) -> None:
    hours: list[int] = []
    for hour in range(24 * 9):
        world.now = NOON + hour * 3600
        hours.append(hour)
        world.write(hour)
        kept = world.numbers()

        assert hours[-len(kept) :] == kept
        assert hour - min(kept) <= 72
        assert len(kept) > min(hour, 48)


@pytest.mark.promise("R42")
def test_retention_does_not_depend_on_how_often_the_program_is_started(world: World) -> None:
    for hour in range(24 * 9):
        world.now = NOON + hour * 3600
        log = world.open()
        world.write(hour, log=log)
        log.close()

    assert list(range(24 * 9 - 60, 24 * 9)) == world.numbers()


@pytest.mark.promise("R42")
def test_what_is_too_old_goes_even_if_nothing_happens_any_more(world: World) -> None:
    world.write(1)
    for minute in range(0, 3 * 24 * 60, 30):
        world.now = NOON + minute * 60
        world.log.pause()

    assert {} == world.files()


@pytest.mark.promise("R42")
def test_what_is_too_old_is_not_told_by_when_it_was_touched(world: World) -> None:
    world.write(1)
    (path,) = world.folder.iterdir()
    world.now += 4 * DAY
    os.utime(path, (world.now, world.now))
    world.open().pause()

    assert {} == world.files()


def test_other_files_in_the_folder_are_left_alone(world: World) -> None:
    others = ["notes.txt", "governor-2001-01-01.jsonl", "governor-2001-01-01-0001.jsonl.gz"]
    for name in others:
        (world.folder / name).touch()
    world.now += 10 * DAY
    world.log.pause()

    assert sorted(others) == sorted(path.name for path in world.folder.iterdir())


def test_lines_from_before_midnight_do_not_get_into_the_file_of_the_next_day(world: World) -> None:
    for seconds in (-1.0, 0.0, 1.0):
        world.log(CallDenied(at=NOON + DAY / 2 + seconds, scope="weather", reason=Reason.COST, retry_after=seconds))
    world.log.pause()

    assert {"governor-2025-10-18-0001.jsonl": [-1], "governor-2025-10-19-0001.jsonl": [0, 1]} == world.files()


def test_a_clock_that_was_set_back_is_followed(world: World) -> None:
    world.now = NOON + 100 * DAY
    world.write(1)
    world.now = NOON
    world.write(2)

    assert {"governor-2025-10-18-0001.jsonl": [2]} == world.files()


# The budget.


@pytest.mark.promise("R42")
def test_a_flood_stays_within_the_budget_at_every_moment_and_the_newest_lines_are_kept(world: World) -> None:
    sizes: list[int] = []
    for number in range(400):
        world.write(*range(number * 100, number * 100 + 100))
        sizes.append(world.size())
    numbers = world.numbers()

    assert MEGABYTE * 5 // 8 < sizes[-1]
    assert max(sizes) <= MEGABYTE
    assert list(range(numbers[0], 40_000)) == numbers


@pytest.mark.promise("R42")
def test_the_budget_holds_over_all_days_and_starts(world: World) -> None:
    sizes: list[int] = []
    for number in range(48):
        world.now = NOON + number * 3600
        log = world.open()
        world.write(*range(number * 1000, number * 1000 + 1000), log=log)
        log.close()
        sizes.append(world.size())

    assert max(sizes) <= MEGABYTE
    assert 47_999 == world.numbers()[-1]


@pytest.mark.promise("R42")
def test_a_smaller_budget_holds_from_the_next_line_on(tmp_path: Path) -> None:
    large = World(tmp_path / "logs", max_size=4 * MEGABYTE)
    for number in range(35):
        large.write(*range(number * 1000, number * 1000 + 1000))
    before = large.size()
    small = World(tmp_path / "logs")
    small.write(1)

    assert small.size() <= MEGABYTE < 3 * MEGABYTE < before


def test_several_logs_write_the_same_file_within_one_budget(world: World) -> None:
    logs = [world.open() for _ in range(4)]
    for number in range(400):
        world.write(*range(number * 100, number * 100 + 100), log=logs[number % 4])

        assert world.size() <= MEGABYTE
    numbers = world.numbers()

    assert list(range(numbers[0], 40_000)) == numbers


# Faults.


class Disk:
    """Stands for `os.write`, and has so many bytes left."""

    def __init__(self, left: float) -> None:
        self.left = left
        self._write = os.write

    def __call__(self, descriptor: int, data: bytes) -> int:
        if self.left < 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        data = data[: int(min(self.left, len(data)))]
        self.left -= len(data)
        return self._write(descriptor, data)


@pytest.mark.promise("R42")
def test_a_full_disk_costs_lines_which_are_counted_and_one_warning(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk(left=0)
    monkeypatch.setattr(os, "write", disk)
    with caplog.at_level(logging.WARNING, "governor"):
        for number in range(1000):
            world.write(number)
            world.now += 1
        lost = world.lost
        disk.left = float("inf")
        world.now += RETRY_INTERVAL
        world.write(5000)
    (path,) = world.folder.iterdir()
    lines = [json.loads(line) for line in path.read_text().splitlines()]

    (warning,) = (record.getMessage() for record in caplog.records)

    assert warning.startswith(f"The log in {world.folder} cannot be written: No space left on device. Traffic goes on ")
    assert 1000 == lost == world.lost
    assert [("lines_lost", 1000), ("call_denied", None)] == [(line["event"], line.get("lines")) for line in lines]


@pytest.mark.promise("R42")
def test_a_line_that_breaks_off_is_taken_out_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write(1)
    length = world.size()
    disk = Disk(left=length * 2.5)
    monkeypatch.setattr(os, "write", disk)
    world.write(2, 3, 4, 5)
    broken_off = world.size()
    disk.left = float("inf")
    world.now += RETRY_INTERVAL
    world.write(6)

    assert 3 * length == broken_off
    assert [1, 2, 3, 6] == world.numbers()
    assert 2 == world.lost


def test_nothing_is_tried_again_before_a_minute_has_passed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(left=0)
    monkeypatch.setattr(os, "write", disk)
    world.write(1)
    disk.left = float("inf")
    world.now += RETRY_INTERVAL - 1
    world.write(2)
    before = world.numbers()
    world.now += 1
    world.write(3)

    assert ([], [3]) == (before, world.numbers())


@pytest.mark.promise("R42")
def test_a_folder_that_is_deleted_is_made_again(world: World) -> None:
    world.write(1)
    shutil.rmtree(world.folder)
    world.write(2)

    assert ([2], 0) == (world.numbers(), world.lost)
    assert 0o700 == stat.S_IMODE(world.folder.stat().st_mode)


def test_a_file_that_is_deleted_is_made_again(world: World) -> None:
    world.write(1)
    for path in world.folder.iterdir():
        path.unlink()
    world.write(2)

    assert [2] == world.numbers()


@pytest.mark.promise("R41", "R42")
def test_a_link_that_takes_the_place_of_the_folder_is_not_followed(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    world.write(1)
    shutil.rmtree(world.folder)
    world.folder.symlink_to(elsewhere)
    world.write(2)
    world.write(3)
    rejected = [record.getMessage() for record in caplog.records]
    found = list(elsewhere.iterdir())
    world.folder.unlink()
    world.now += RETRY_INTERVAL
    world.write(4)

    assert ([], 2, [4]) == (found, world.lost, world.numbers())
    assert ["a folder, and not a symbolic link to one"] == [
        one.partition("expected ")[2].partition(". ")[0] for one in rejected
    ]


@pytest.mark.promise("R41")
@pytest.mark.parametrize("what", ["link", "dangling link", "folder", "pipe"])
def test_what_is_no_plain_file_is_not_written(world: World, tmp_path: Path, what: str) -> None:
    target = tmp_path / "target"
    place = world.folder / "governor-2025-10-18-0001.jsonl"
    if what == "folder":
        place.mkdir()
    elif what == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(target)
        if what == "link":
            target.write_text("precious")
    world.write(1)

    assert 1 == world.lost
    assert "precious" == (target.read_text() if target.exists() else "precious")


@pytest.mark.promise("R41")
def test_a_folder_that_is_not_safe_is_found_at_once(tmp_path: Path) -> None:
    (tmp_path / "logs").symlink_to(tmp_path)

    with pytest.raises(ConfigError, match=r"^logging\.directory is .* not a symbolic link"):
        World(tmp_path / "logs")


def test_a_disk_that_is_full_at_the_start_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = os.mkdir

    def fill(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "mkdir", fill)
    world = World(tmp_path / "logs")
    world.write(1)
    monkeypatch.setattr(os, "mkdir", make)
    world.now += RETRY_INTERVAL
    world.write(2)

    assert ([2], 1) == (world.numbers(), world.lost)


def test_a_relative_folder_is_where_it_was_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    world = World(Path("logs"))
    monkeypatch.chdir("/")
    world.write(1)

    assert [1] == World(tmp_path / "logs").numbers()


def test_after_the_end_no_descriptor_is_left(world: World) -> None:
    before = len(os.listdir("/dev/fd"))
    world.write(1)
    world.now += DAY
    world.write(2)
    world.log.close()

    assert before == len(os.listdir("/dev/fd"))
