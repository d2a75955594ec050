"""Folders that are safe for a log, and folders that are rejected."""

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from governor.errors import ConfigError

if sys.platform == "win32":
    pytest.skip("there are no private folders", allow_module_level=True)

from governor.instrumentation._log_folder import default_directory, open_folder

pytestmark = pytest.mark.promise("R41")

OURS = f"traffic-governor-{os.geteuid()}"


@contextmanager
def opened(directory: Path) -> Iterator[Path]:
    """Where the folder is that was opened."""
    descriptor = open_folder(directory)
    try:
        yield Path(os.readlink(f"/proc/self/fd/{descriptor}")) if sys.platform == "linux" else directory
    finally:
        os.close(descriptor)


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


def refusal(directory: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        open_folder(directory)
    return str(caught.value)


def make(folder: Path, mode: int) -> Path:
    folder.mkdir()
    folder.chmod(mode)
    return folder


@pytest.fixture(autouse=True)
def _no_descriptor_is_left_open() -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd")) if sys.platform == "linux" else set()
    yield
    assert sys.platform != "linux" or before == set(os.listdir("/proc/self/fd"))


def test_a_folder_that_is_not_there_is_made_and_private(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "logs"
    with opened(folder) as found:
        pass

    assert (folder, 0o700) == (found, mode(folder))


def test_a_private_folder_of_ours_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = make(tmp_path / "logs", 0o700)
    with opened(folder) as found:
        pass

    assert (folder, []) == (found, list(folder.iterdir()))


@pytest.mark.parametrize("lax", [0o755, 0o750, 0o701, 0o777, 0o1777])
def test_a_folder_that_others_can_look_into_stays_as_it_is_and_gets_a_private_one_for_each_user(
    tmp_path: Path, lax: int
) -> None:
    folder = make(tmp_path / "logs", lax)
    with opened(folder) as found:
        pass

    assert (folder / OURS, 0o700, lax) == (found, mode(found), mode(folder))


def test_under_a_parent_that_all_may_write_to_there_is_a_private_folder_for_each_user(tmp_path: Path) -> None:
    parent = make(tmp_path / "tmp", 0o1777)
    with opened(parent / "logs") as found:
        pass

    assert (parent / "logs" / OURS, 0o700, 0o700) == (found, mode(found), mode(parent / "logs"))


def test_a_sub_folder_of_ours_that_others_can_look_into_is_made_private(tmp_path: Path) -> None:
    folder = make(tmp_path / "logs", 0o755)
    make(folder / OURS, 0o755)
    with opened(folder) as found:
        pass

    assert (folder / OURS, 0o700) == (found, mode(found))


@pytest.mark.parametrize("there", [True, False], ids=["to a folder", "to nothing"])
def test_a_symbolic_link_in_its_place_is_rejected(tmp_path: Path, *, there: bool) -> None:
    target = tmp_path / "elsewhere"
    if there:
        make(target, 0o700)
    folder = tmp_path / "logs"
    folder.symlink_to(target)

    assert f"logging.directory is {str(folder)!r}; expected a folder, and not a symbolic link to one" == refusal(folder)
    assert [] == (list(target.iterdir()) if there else [])


def test_a_symbolic_link_in_the_place_of_the_sub_folder_is_rejected(tmp_path: Path) -> None:
    elsewhere = make(tmp_path / "elsewhere", 0o700)
    folder = make(tmp_path / "logs", 0o1777)
    (folder / OURS).symlink_to(elsewhere)

    assert f"logging.directory is {str(folder / OURS)!r}; expected a folder, and not a symbolic link" in refusal(folder)
    assert [] == list(elsewhere.iterdir())


def test_a_link_further_up_is_followed(tmp_path: Path) -> None:
    elsewhere = make(tmp_path / "elsewhere", 0o700)
    (tmp_path / "var").symlink_to(elsewhere)
    with opened(tmp_path / "var" / "logs") as found:
        pass

    assert elsewhere / "logs" == found


def test_a_file_in_its_place_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()

    assert "(here: Not a directory)" in refusal(tmp_path / "logs")
    assert "(here: File exists)" in refusal(tmp_path / "logs" / "inner")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_a_folder_of_another_user_is_rejected(tmp_path: Path, mode: int) -> None:
    folder = make(tmp_path / "logs", mode)
    os.chown(folder, 12345, 12345)

    assert f"a folder of user {os.geteuid()} (this one belongs to user 12345)" in refusal(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_sub_folder_of_another_user_is_rejected(tmp_path: Path) -> None:
    folder = make(tmp_path / "logs", 0o1777)
    os.chown(make(folder / OURS, 0o700), 12345, 12345)

    assert "this one belongs to user 12345" in refusal(folder)


def test_a_link_that_is_put_there_in_the_last_moment_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = make(tmp_path / "elsewhere", 0o700)
    folder = tmp_path / "logs"
    look = os.stat

    def stat_and_swap(name: str, **options: object) -> os.stat_result:
        found: os.stat_result = look(name, **options)  # type: ignore[arg-type]  # passed on as they are
        if name == str(folder):
            folder.rmdir()
            folder.symlink_to(elsewhere)
        return found

    monkeypatch.setattr(os, "stat", stat_and_swap)

    assert "(here: " in refusal(folder)


def test_where_a_folder_may_not_be_made_is_a_mistake_in_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "mkdir", reject)

    assert "expected a folder that this user can create and write in (here: Permission denied)" in refusal(tmp_path / "logs")


def test_a_full_disk_is_no_mistake_in_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "mkdir", fill)

    with pytest.raises(OSError, match="No space left"):
        open_folder(tmp_path / "logs")


@pytest.mark.parametrize(
    ("state", "expected"), [("/state", "/state"), ("", "/home/me/.local/state"), ("state", "/home/me/.local/state")]
)
def test_without_a_name_it_is_in_the_folder_for_the_state_of_programs(
    state: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")

    assert Path(expected) / "traffic-governor" == default_directory({"XDG_STATE_HOME": state})


def test_without_a_home_it_needs_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)

    with pytest.raises(ConfigError, match=r"^logging.directory is None; expected a folder, because there is no home folder"):
        default_directory({})
