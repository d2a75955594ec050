"""Starts the daemon, where no service manager does: `[machine] spawn = true`.

Several processes may start one at the same time: one of them listens, and the others end at once.
"""

import logging
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final, final

from governor._units import to_seconds
from governor.config import Config
from governor.extras import missing

_log: Final = logging.getLogger("governor")

#: Seconds for which calls of a process that has just begun wait for the daemon that it has started.
START_TIMEOUT: Final = 5.0
#: Seconds between two starts.
_INTERVAL: Final = 5.0


@final
class Spawner:
    """Starts the daemon of a configuration when `missing` is called. `time` reads a clock in seconds."""

    def __init__(self, config: Config, socket: Path, time: Callable[[], float]) -> None:
        self._config = config
        self._socket = socket
        self._time = time
        self._pid: int | None = None
        self._next_at = 0.0
        #: The last warning, which is not repeated with each attempt.
        self._warned = ""

    def missing(self) -> bool:
        """Nothing listens. True if a daemon is being started, so that there is something to wait for."""
        if not self._config.machine.spawn:
            return False
        self._look()
        now = self._time()
        if now >= self._next_at:
            self._next_at = now + _INTERVAL
            self._start()
        return self._pid is not None

    def _look(self) -> None:
        """Learns whether the daemon that was started has ended, so that no zombie is left."""
        if self._pid is None:
            return
        try:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
        except ChildProcessError:
            pid, status = self._pid, 0
        if pid:
            self._pid = None
            if os.waitstatus_to_exitcode(status):
                from shlex import join  # Nearly no process needs it.

                self._warn(f"The daemon could not be started; `{join(self._command())}` says why.")
            else:
                self._warned = ""

    def _start(self) -> None:
        if not sys.executable:
            return
        if find_spec("uvicorn") is None:
            self._warn(f"The daemon could not be started: {missing('daemon', ModuleNotFoundError(name='uvicorn'))}.")
            return
        nowhere = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
        command = self._command()
        try:
            try:
                self._pid = os.posix_spawn(sys.executable, command, os.environ, file_actions=nowhere, setsid=True)
            except NotImplementedError:  # The C library of this system starts no session: a group of its own will do.
                self._pid = os.posix_spawn(sys.executable, command, os.environ, file_actions=nowhere, setpgroup=0)
        except OSError as error:
            self._warn(f"The daemon could not be started: {error.strerror}.")

    def _warn(self, warning: str) -> None:
        if warning != self._warned:
            self._warned = warning
            _log.warning("%s", warning)

    def _command(self) -> list[str]:
        idle = str(to_seconds(self._config.machine.spawn_idle))
        command = [sys.executable, "-m", "governor", "serve", "--port", "0", "--socket", str(self._socket.absolute())]
        file = self._config.policy_file
        return [*command, "--exit-idle", idle, *(["--config", os.path.abspath(file)] if file else [])]
