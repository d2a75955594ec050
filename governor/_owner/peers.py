"""The user behind a connection to a unix socket, as the kernel knows it."""

import os
import platform
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
        return int(_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[1])
    if system in ("Darwin", "FreeBSD"):
        credentials = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_LENGTH)
        return int(_XUCRED.unpack_from(credentials)[1])
    return None


def is_ours(user: int | None) -> bool:
    """Whether a user may connect: the one as whom this process runs. Where it is not known, the mode of the socket decides."""
    return user is None or user == os.geteuid()
