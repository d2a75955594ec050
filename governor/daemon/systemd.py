"""The service manager's side of the daemon: sockets that systemd hands over, and the notices that it waits for.

Protocols: sd_listen_fds(3) and sd_notify(3) of systemd.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from governor import ConfigError

#: The first descriptor that is handed over.
_FIRST: Final = 3
#: Descriptors that are read at most.
_MAX_SOCKETS: Final = 16

_HANDED_OVER: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def inherited_sockets() -> dict[str, socket.socket]:
    """The listening sockets that systemd has handed over to this process, by name (`FileDescriptorName=`); none without it.

    Two sockets of one name are an error, as is one that does not listen: raises `ConfigError`. The variables are removed, so
    that programs that this process starts do not take the sockets for theirs.
    """
    said = {name: os.environ.pop(name, "") for name in _HANDED_OVER}
    if said["LISTEN_PID"] != str(os.getpid()):
        return {}
    count = said["LISTEN_FDS"]
    if not count.isdecimal() or int(count) > _MAX_SOCKETS:
        raise ConfigError("LISTEN_FDS", count, f"a number of sockets from 0 to {_MAX_SOCKETS}")
    names = said["LISTEN_FDNAMES"].split(":")
    names += ["unknown"] * (int(count) - len(names))
    for index in range(int(count)):
        if names[index] in names[:index]:
            raise ConfigError("LISTEN_FDNAMES", said["LISTEN_FDNAMES"], "a name for each socket (FileDescriptorName=)")
        _check(names[index], _FIRST + index)
    return {names[index]: socket.socket(fileno=_FIRST + index) for index in range(int(count))}


def _check(name: str, descriptor: int) -> None:
    """Raises `ConfigError` unless a stream socket listens there, which programs that this process starts must not inherit."""
    try:
        os.set_inheritable(descriptor, False)
        handed = socket.socket(fileno=descriptor)
        listens = handed.type == socket.SOCK_STREAM and handed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        handed.detach()
    except OSError:
        listens = False
    if not listens:
        raise ConfigError(f"LISTEN_FDS, {name}", descriptor, "the descriptor of a stream socket that listens")


@contextmanager
def notified() -> Iterator[None]:
    """Tells the service manager that the daemon is ready, and at the end that it stops. No effect without a manager."""
    _notify(b"READY=1")
    try:
        yield
    finally:
        _notify(b"STOPPING=1")


def _notify(state: bytes) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    # A manager that has gone, or that does not read, must not keep the daemon from its work.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        manager.setblocking(False)
        manager.sendto(state, "\0" + address[1:] if address[0] == "@" else address)
