"""Lock of a state folder: one process at a time owns it, until it ends."""

import os
import sys
from pathlib import Path
from typing import Final

from governor._store.journal import NO_LINK
from governor.errors import UsageError

if sys.platform != "win32":
    import fcntl

ADVICE: Final = "a state folder belongs to one governor: stop the other one, or set another folder ([machine] state)"


def locked(folder: Path) -> int:
    """Locks the folder for this process, and returns the descriptor that holds the lock. Raises `UsageError`, `OSError`."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | NO_LINK, 0o600)
    try:
        if sys.platform != "win32":
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.read(lock, 32).decode("ascii", "replace").strip() or "unknown"
                raise UsageError(f"the state folder {folder} belongs to process {owner}, which is running; {ADVICE}") from None
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
    except BaseException:
        os.close(lock)
        raise
    return lock
