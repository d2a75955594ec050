"""Which governor do clients use that were given none? One for the whole process."""

import atexit
import os
import sys
from threading import Lock
from typing import Final

from governor import _governor
from governor._governor import Governor

_lock: Final = Lock()
_started: dict[int, Governor] = {}


def default() -> Governor:
    """The governor of this process: the one that was entered first and is still running, else one of its own.

    That one is configured by the file that `GOVERNOR_CONFIG` names, if any, and by the environment; it runs on a background
    thread and is closed when the interpreter exits. After a fork the child gets one of its own. Raises `ConfigError`.
    """
    process = os.getpid()
    for entered in _governor.running:
        if entered.process == process and entered.alive():
            return entered
    with _lock:
        # One that has ended by itself, by a bug or because its thread could not go on, is replaced.
        started = _started.get(process)
        if started is None or not started.alive():
            governor = Governor.from_file(os.environ.get("GOVERNOR_CONFIG"))
            governor.__enter__()
            _started.clear()
            _started[process] = governor
            atexit.register(_close, process)
        return _started[process]


def _close(process: int) -> None:
    governor = _started.pop(process, None)
    if governor is not None and process == os.getpid():
        governor.__exit__(None, None, None)


if sys.platform != "win32":
    # Another thread may hold the lock at the moment of a fork, and would never release its copy in the child.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
