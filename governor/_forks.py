"""Sockets and files that a forked child must not keep open: its copies would keep alive what ends with the parent.

These are connections whose other end must notice the end, sockets that listen, and locks. In the child their descriptors stay
in use, by something harmless: the objects, and an event loop, would close them a second time.
"""

import os
import sys
from contextlib import suppress
from typing import Final, Protocol, TypeVar
from weakref import WeakSet


class Open(Protocol):
    """A socket or a file."""

    def fileno(self) -> int:
        """The descriptor."""


T = TypeVar("T", bound=Open)

_open: Final["WeakSet[Open]"] = WeakSet()


def closed_in_children(one: T) -> T:
    """The same, of this process alone from now on."""
    _open.add(one)
    return one


def _after_fork() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for one in tuple(_open):
        with suppress(OSError, ValueError):  # It has been closed.
            os.dup2(nowhere, one.fileno(), inheritable=False)
    os.close(nowhere)
    _open.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork)
