"""The unix socket on which a governor listens: who may use it, and that one process has it.

A socket file outlives the process that made it. So that two processes that start at once do not remove each other's, the owner
holds a lock on the file beside it, `governor.sock.lock`, which the kernel takes away when the process ends, however it ends.
A forked child has no part in either.
"""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, final

from governor._forks import closed_in_children
from governor.config.machine_settings import MAX_SOCKET_PATH
from governor.errors import GovernorError

_BACKLOG: Final = 1024
#: Bytes of a secret.
_SECRET: Final = 32


class ListenError(GovernorError):
    """The socket cannot be listened on: what is in the way, and what to do."""


class Bound(NamedTuple):
    """A socket that listens, and whether it replaces that of an owner that was killed: one that ends in order removes it."""

    listener: socket.socket
    owner_was_killed: bool
    #: The socket file.
    path: Path
    made: os.stat_result

    def is_lost(self) -> bool:
        """Whether the file has been removed or replaced: processes that connect now do not come here."""
        try:
            return not os.path.samestat(self.made, self.path.lstat())
        except OSError:
            return True


@final
class SocketFile(ExitStack):
    """A socket file that is made anew when it is lost. Raises `ListenError`. As a context manager it ends with its block."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.bound = self.enter_context(bound(path))

    def renew(self) -> None:
        """Listens at the path anew. Raises `ListenError`: another process may listen there by now."""
        self.close()
        self.bound = self.enter_context(bound(self.path))


@contextmanager
def bound(path: Path) -> Iterator[Bound]:
    """Listens on a socket file, of mode 0600, which is removed at the end. Raises `ListenError`.

    What a process that is gone has left there is replaced.
    """
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise ListenError(
            f"{path} is longer than the {MAX_SOCKET_PATH} bytes of the longest name of a unix socket; choose another one"
        )
    try:
        with _locked(path), closed_in_children(socket.socket(socket.AF_UNIX)) as listener:
            stale, process = _remove_stale(path), os.getpid()
            listener.bind(os.fspath(path))
            os.chmod(path, 0o600)
            # Only from here on can anyone connect.
            listener.listen(_BACKLOG)
            made = path.lstat()
            try:
                yield Bound(listener, stale, path, made)
            finally:
                with suppress(OSError):
                    if process == os.getpid() and os.path.samestat(made, path.lstat()):
                        path.unlink()
    except OSError as error:
        raise ListenError(f"cannot listen on {path}: {error.strerror or error}") from error


def secret_of(path: object) -> bytes:
    """What the processes at a socket make the keys of their clients with: the content of the file beside it, `PATH.keys`.

    So clients keep their keys when another process becomes the owner. A file that is missing, or is not of this user alone, is
    replaced; where none can be written, or the socket has no path, the secret lasts as long as the owner.
    """
    secret, name = os.urandom(_SECRET), f"{path}.keys"
    if not path or not isinstance(path, str):
        return secret
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            found, content = os.fstat(file), os.read(file, _SECRET + 1)
        finally:
            os.close(file)
        ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
        if ours and len(content) == _SECRET:
            return content
    except OSError:
        pass  # There is none, or none that can be read.
    with suppress(OSError):
        with suppress(FileNotFoundError):
            os.unlink(name)
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, secret)
        finally:
            os.close(file)
    return secret


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl

    with open(os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "rb", buffering=0) as lock:
        closed_in_children(lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _in_use(path) from None
        yield


def _remove_stale(path: Path) -> bool:
    """Removes a socket on which nothing listens. False if there is none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(found.st_mode):
        raise ListenError(f"{path} exists and is no socket; remove it, or choose another path")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            pass
        else:
            raise _in_use(path)
    with suppress(FileNotFoundError):
        path.unlink()
    return True


def _in_use(path: Path) -> ListenError:
    return ListenError(f"another process listens on {path} already; end it, or choose another path")
