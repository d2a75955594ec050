"""The folder of the log. It belongs to the user, and no other user can read it.

The log uses the configured folder if that belongs to the user, is private (0700), and has no world-writable parent; a missing
folder is created with this mode. Otherwise the log uses a private sub-folder `traffic-governor-UID`: in `/tmp`, where any user
could create that folder first, and in a folder with other contents, whose mode must not change.

All checks use open descriptors and follow no links, so the folder cannot be replaced between the check and the use.
"""

import errno
import os
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from governor.errors import ConfigError

_FIELD: Final = "logging.directory"
_PRIVATE: Final = 0o700
#: Temporary errors, which are not mistakes in the settings.
_PASSING: Final = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}

if sys.platform == "win32":

    def open_folder(directory: Path) -> int:
        """Raises `ConfigError`: Windows has no folder modes."""
        raise ConfigError("logging.enabled", True, "false on Windows, where a folder cannot be made private")

else:

    def open_folder(directory: Path) -> int:
        """A descriptor of the private folder, which is created if necessary. The calling code closes it.

        Raises `ConfigError` if the existing folder is not safe or not permitted, `OSError` for temporary errors.
        """
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            named = _enter(str(directory), directory)
        except OSError as error:
            raise _mistake(directory, error) from None
        try:
            _check_owner(named, directory, {0, os.geteuid()})
            if _is_private(named) and not _is_world_writable(os.stat("..", dir_fd=named)):
                return os.dup(named)
            return _enter_private(named, directory / f"traffic-governor-{os.geteuid()}")
        except OSError as error:
            raise _mistake(directory, error) from None
        finally:
            os.close(named)

    def _enter_private(named: int, folder: Path) -> int:
        descriptor = _enter(folder.name, folder, named)
        try:
            _check_owner(descriptor, folder, {os.geteuid()})
            if not _is_private(descriptor):
                os.fchmod(descriptor, _PRIVATE)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _enter(name: str, folder: Path, within: int | None = None) -> int:
        """Opens a folder, and creates it if it is missing."""
        with suppress(FileExistsError):
            os.mkdir(name, _PRIVATE, dir_fd=within)
        if stat.S_ISLNK(os.stat(name, dir_fd=within, follow_symlinks=False).st_mode):
            raise ConfigError(_FIELD, str(folder), "a folder, and not a symbolic link to one")
        # O_NOFOLLOW: a link that was created after the check is not followed either.
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)

    def _check_owner(descriptor: int, folder: Path, allowed: set[int]) -> None:
        owner = os.fstat(descriptor).st_uid
        if owner not in allowed:
            raise ConfigError(_FIELD, str(folder), f"a folder of user {os.geteuid()} (this one belongs to user {owner})")

    def _is_private(descriptor: int) -> bool:
        status = os.fstat(descriptor)
        return status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) == _PRIVATE

    def _is_world_writable(status: os.stat_result) -> bool:
        return bool(status.st_mode & stat.S_IWOTH)

    def _mistake(directory: Path, error: OSError) -> ConfigError | OSError:
        if error.errno in _PASSING:
            return error
        return ConfigError(_FIELD, str(directory), f"a folder that this user can create and write in (here: {error.strerror})")


def default_directory(environ: Mapping[str, str]) -> Path:
    """The folder `traffic-governor` in the state folder of the XDG Base Directory Specification 0.8.

    Raises `ConfigError` if the user has no home folder.
    """
    named = Path(environ.get("XDG_STATE_HOME", ""))
    try:
        state = named if named.is_absolute() else Path.home() / ".local" / "state"
    except RuntimeError:
        raise ConfigError(_FIELD, None, "a folder, because there is no home folder for a default") from None
    return state / "traffic-governor"
