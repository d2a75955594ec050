"""Place of the socket on a machine, where neither settings nor options name one."""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from governor.errors import UsageError

#: The name of the socket in the folder of the user.
NAME: Final = "governor.sock"


def default_path() -> Path:
    """The socket of the current user: in `XDG_RUNTIME_DIR`, or else in a folder of their own in the folder of temporary files.

    Raises `UsageError` if that folder belongs to another user, or others may write there.
    """
    import tempfile

    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / NAME
    folder = Path(tempfile.gettempdir()) / f"governor-{os.geteuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise UsageError(f"{folder} is no folder of this user alone; remove it, or name another socket with --socket")
    return folder / NAME
