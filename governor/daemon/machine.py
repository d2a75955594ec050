"""The socket on which the daemon serves the processes that share its limits."""

import os
import socket
from collections.abc import Callable, Sized
from pathlib import Path
from typing import Final, Protocol

import anyio
import msgspec

from governor import Config

#: The socket of the user, where `--socket` names none.
DEFAULT: Final = ""
#: Seconds between two looks at whether a process is connected.
_LOOK_INTERVAL: Final = 1.0

#: A path, `DEFAULT`, or a socket that listens.
Where = str | socket.socket


def settings(path: str | None) -> tuple[Config, Path | None]:
    """The settings of a daemon, which decides by itself, and the socket that they name. Raises `ConfigError`."""
    config = Config.load(path)
    machine = config.machine
    alone = msgspec.structs.replace(machine, socket=None, spawn=False)
    return msgspec.structs.replace(config, machine=alone), machine.socket


def where(option: str | None, named: Path | None, handed_over: socket.socket | None) -> Where | None:
    """Where to listen: on the socket that was handed over, else where the option, else where the settings say; else nowhere."""
    if handed_over is not None:
        return handed_over
    if option is not None:
        return option
    return None if named is None else os.fspath(named)


class Processes(Sized, Protocol):
    """The processes that are connected."""

    #: The path of the socket.
    address: str


async def end_when_idle(processes: Processes, seconds: float, end: Callable[[], object]) -> None:
    """Calls `end` once no process has been connected for so many seconds."""
    idle = 0.0
    interval = min(_LOOK_INTERVAL, seconds)
    while idle < seconds:
        await anyio.sleep(interval)
        idle = 0.0 if processes else idle + interval
    end()
