"""The user and the process behind a connection to a unix socket, as the kernel knows them."""

import os
import platform
import select
import socket
import struct
from typing import Final

#: `struct xucred` of macOS and the BSDs: a version and the user, before the groups.
_XUCRED: Final = struct.Struct("=II")
_XUCRED_LENGTH: Final = 76
_SOL_LOCAL: Final = 0
_LOCAL_PEERCRED: Final = 1
#: `struct ucred` of Linux: process, user, group.
_UCRED: Final = struct.Struct("=3i")


def user_of(connection: socket.socket) -> int | None:
    """The user that has connected; None where the kernel does not say."""
    system = platform.system()
    if system == "Linux":
        return _credentials(connection)[1]
    if system in ("Darwin", "FreeBSD"):
        credentials = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_LENGTH)
        return int(_XUCRED.unpack_from(credentials)[1])
    return None


def is_ours(user: int | None) -> bool:
    """Whether a user may connect: the one as whom this process runs. Where it is not known, the mode of the socket decides."""
    return user is None or user == os.geteuid()


def process_of(connection: socket.socket) -> int:
    """The number of the process that has connected; 0 where the kernel does not say, or where it is in another namespace."""
    return _credentials(connection)[0] if platform.system() == "Linux" else 0


def has_ended(process: int) -> bool:
    """Whether a process has ended for certain, all threads of it. False where that is not known.

    If its number has been given to another process meanwhile, it counts as running for as long as that does.
    """
    if process <= 0 or not hasattr(os, "pidfd_open"):
        return False
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))  # It has ended, and its parent has not waited for it.
    finally:
        os.close(descriptor)


def _credentials(connection: socket.socket) -> tuple[int, int]:
    process, user, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return process, user
