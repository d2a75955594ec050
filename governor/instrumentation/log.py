"""The log: events as lines of JSON, in files of a private folder, if the settings enable it.

A line contains one event, without URLs, headers, bodies and names of clients (see `events`). Only the thread of the hook
writes. File errors do not affect traffic: the log drops and counts the lines, warns once, and tries again a minute later.
"""

import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, final

import msgspec

from governor.errors import ConfigError
from governor.instrumentation._log_files import Budget, LogFile, day_of, expired, log_file
from governor.instrumentation._log_folder import default_directory, open_folder
from governor.instrumentation.events import AnyEvent

_log: Final = logging.getLogger("governor")

#: Bytes of collected lines that start a write. A pause starts one as well.
_BATCH: Final = 16_384
#: Seconds between two attempts to write after an error.
RETRY_INTERVAL: Final = 60.0
#: Seconds between two checks for expired files.
TIDY_INTERVAL: Final = 60.0


class LinesLost(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="lines_lost"):
    """The line after a gap, with the number of missing lines."""

    at: float
    lines: int


@final
class Log:
    """A hook that writes the log. `directory` None is the state folder of XDG; `max_size` limits all files together, in bytes.

    Calls `lost` with the number of lines that were not written. Raises `ConfigError` if the folder is not safe.
    """

    __slots__ = (
        "_budget",
        "_day",
        "_directory",
        "_encoder",
        "_file",
        "_gap",
        "_lines",
        "_lost",
        "_size",
        "_tidied_at",
        "_failed_at",
        "_wall_clock",
    )

    def __init__(
        self, directory: Path | None, *, max_size: int, wall_clock: Callable[[], float], lost: Callable[[int], object]
    ) -> None:
        self._directory = (default_directory(os.environ) if directory is None else directory).absolute()
        self._budget = Budget(max_size)
        self._wall_clock = wall_clock
        self._lost = lost
        self._encoder = msgspec.json.Encoder()
        #: The lines that are not written yet, their size in bytes, and their day.
        self._lines: list[bytes] = []
        self._size = 0
        self._day = 0
        #: The open file and its descriptor.
        self._file: tuple[LogFile, int] | None = None
        #: The number of lines that were lost since the last written line.
        self._gap = 0
        self._failed_at: float | None = None
        self._tidied_at: float | None = None
        # An unsafe folder is an error at the start; a temporary error, such as a full disk, is not.
        with suppress(OSError):
            os.close(open_folder(self._directory))

    def __call__(self, event: AnyEvent) -> None:
        """Adds a line, and writes the collected lines if they are enough or of another day."""
        day = day_of(event.at)
        if day != self._day:
            self._flush()
            self._day = day
        line = self._encoder.encode(event) + b"\n"
        self._lines.append(line)
        self._size += len(line)
        if self._size >= _BATCH:
            self._flush()

    def pause(self) -> None:
        """Writes the collected lines and removes expired files. Called while no event waits."""
        self._flush()
        now = self._wall_clock()
        if _has_passed(TIDY_INTERVAL, self._tidied_at, now):
            self._tidied_at = now
            try:
                with self._folder() as (folder, files):
                    _remove(folder, expired(files, day_of(now)))
            except (OSError, ConfigError) as error:
                self._on_error(now, error)

    def close(self) -> None:
        """Writes the collected lines and closes the file."""
        self._flush()
        self._close_file()

    def _flush(self) -> None:
        """Writes the collected lines, unless an error was too recent, and drops those that were not written."""
        if not self._lines:
            return
        now = self._wall_clock()
        if _has_passed(RETRY_INTERVAL, self._failed_at, now):
            try:
                self._write(now)
                self._failed_at = None
            except (OSError, ConfigError) as error:
                self._on_error(now, error)
        if self._lines:
            self._gap += len(self._lines)
            self._lost(len(self._lines))
        self._lines = []
        self._size = 0

    def _write(self, now: float) -> None:
        """Writes the lines, and removes the written ones from the list even if an error interrupts the write."""
        gap = [self._encoder.encode(LinesLost(at=now, lines=self._gap)) + b"\n"] if self._gap else []
        text = b"".join(gap + self._lines)
        descriptor = self._descriptor(len(text))
        done = 0
        try:
            while done < len(text):
                done += os.write(descriptor, text[done:])
        finally:
            whole = text.rfind(b"\n", 0, done) + 1
            _cut(descriptor, done - whole)
            written = text.count(b"\n", 0, whole)
            if gap and written:
                self._gap = 0
                written -= 1
            del self._lines[:written]

    def _descriptor(self, more: int) -> int:
        """A file with room for `more` bytes. Opens another one on a new day, or if the current one is full or was deleted."""
        if self._file is not None:
            file, descriptor = self._file
            status = os.fstat(descriptor)
            if status.st_nlink and file.day == self._day and status.st_size + more <= self._budget.part:
                return descriptor
            self._close_file()
        with self._folder() as (folder, files):
            old = expired(files, self._day)
            kept = [file for file in files if file not in old]
            current = self._budget.current(kept, self._day, more)
            _remove(folder, [*old, *self._budget.excess(kept, current)])
            descriptor = _open(folder, current.name)
        self._file = current, descriptor
        return descriptor

    @contextmanager
    def _folder(self) -> Iterator[tuple[int, list[LogFile]]]:
        """A descriptor of the folder and the log files in it."""
        folder = open_folder(self._directory)
        try:
            yield folder, list(_files(folder))
        finally:
            os.close(folder)

    def _on_error(self, now: float, error: Exception) -> None:
        with suppress(OSError):
            self._close_file()
        if self._failed_at is None:
            _log.warning(
                "The log in %s cannot be written: %s. Traffic goes on and lines are lost; the log tries again every %.0f s.",
                self._directory,
                error.strerror if isinstance(error, OSError) else error,
                RETRY_INTERVAL,
            )
        self._failed_at = now

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file[1])


def _has_passed(span: float, since: float | None, now: float) -> bool:
    """Whether `span` seconds have passed since `since`. True as well if the clock was set back."""
    return since is None or not 0 <= now - since < span


def _files(folder: int) -> Iterator[LogFile]:
    for name in os.listdir(folder):
        # Another process may have removed the file in the meantime.
        with suppress(FileNotFoundError):
            file = log_file(name, os.stat(name, dir_fd=folder, follow_symlinks=False).st_size)
            if file is not None:
                yield file


def _remove(folder: int, files: Iterable[LogFile]) -> None:
    for file in files:
        with suppress(FileNotFoundError):
            os.unlink(file.name, dir_fd=folder)


def _open(folder: int, name: str) -> int:
    """Opens a regular file for appending. Follows no link, and does not block on a pipe without a reader."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        os.close(descriptor)
        raise ConfigError("logging.directory", name, f"a regular file of user {os.geteuid()} under this name")
    os.fchmod(descriptor, 0o600)
    return descriptor


def _cut(descriptor: int, torn: int) -> None:
    """Removes `torn` bytes of an incomplete line from the end, unless another process has written after them."""
    if torn:
        end = os.lseek(descriptor, 0, os.SEEK_CUR)
        if os.fstat(descriptor).st_size == end:
            os.ftruncate(descriptor, end - torn)
