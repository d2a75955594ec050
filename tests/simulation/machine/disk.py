"""Disk of a machine in virtual time: the real file of a state folder, written by a thread that takes virtual time.

What was committed before a process is killed stays, whether or not the process has learned of it.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Condition
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

from governor._actors import keeper
from governor._store import file
from governor._store.file import StateFile
from governor._store.writer import Entry, Writer
from tests.simulation.machine.world import Process, World

#: Nanoseconds between commits, of a commit, and until the process has learned of it.
_PAUSE: Final = 10_000_000
_COMMITS: Final = (300_000, 2_000_000, 2_000_000, 30_000_000)
_NOTICE: Final = 50_000


class SlowWriter:
    """In place of the thread that writes; see `Writer`."""

    def __init__(
        self, file: StateFile, *, told: Callable[[], object], failed: Callable[[], object], world: World, process: Process
    ) -> None:
        self._file = file
        self._told = told
        self._world = world
        self._process = process
        self._queue: list[Entry] = []
        self._at_work = False
        self._closed = False

    def put(self, entry: Entry, *, hurry: bool = False) -> None:
        self._queue.append(entry)
        if not self._at_work:
            self._at_work = True
            self._world.after(0 if hurry else _PAUSE, self._begin)

    def wait(self, done: Callable[[], bool], timeout: float) -> bool:
        """Time does not pass while a process blocks, so that nothing is written meanwhile."""
        return done()

    def hurry(self) -> None:
        """It writes as soon as it can."""

    def finish(self, entries: Iterable[Entry]) -> None:
        batch, self._queue = [*self._queue, *entries], []
        self._write(batch, ended=True)
        self.close()

    def abandon(self) -> None:
        """The loop has ended: the file stays as it is."""

    def forked(self) -> int:
        raise AssertionError

    def close(self) -> None:
        """The process has ended, in whichever way: the file is closed, and the folder is free."""
        if not self._closed:
            self._closed = True
            self._file._close()
            self._file._unlock()

    def _later(self, duration: int, action: Callable[[], object]) -> None:
        """After a while in which the process runs, unless it is killed by then."""

        def act() -> None:
            if self._process.dead or self._closed:
                return
            if self._process.runs:
                action()
            else:
                self._world.at(self._process.stopped_until, act)

        self._world.after(duration, act)

    def _begin(self) -> None:
        batch, self._queue = self._queue, []
        self._later(self._world.random.choice(_COMMITS), lambda: self._commit(batch))

    def _commit(self, batch: list[Entry]) -> None:
        if not self._closed and not self._process.dead:
            self._write(batch, ended=False)
            self._later(_NOTICE, lambda: self._notice(batch))

    def _write(self, batch: list[Entry], *, ended: bool) -> None:
        silent = [entry._replace(written=bool) for entry in batch]
        me: Any = SimpleNamespace(_told=bool, _closing=True, _written=Condition())
        assert Writer._write(me, self._file, silent, ended=ended)

    def _notice(self, batch: list[Entry]) -> None:
        latest = {entry.key: entry for entry in batch}
        waits = [entry.written() for entry in latest.values()]
        if any(waits):
            self._told()
        self._at_work = bool(self._queue)
        if self._queue:
            self._later(_PAUSE, self._begin)


class _Hasty(sqlite3.Connection):
    """A connection that leaves it to the system when the disk is written: no system fails here, only processes do."""

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        return super().execute("PRAGMA synchronous = OFF" if "synchronous" in sql else sql, *parameters)


@contextmanager
def disk(world: World) -> Iterator[list[SlowWriter]]:
    """Within the block, governors write here. The writers there have been."""
    writers: list[SlowWriter] = []

    def writer(file: StateFile, *, told: Callable[[], object], failed: Callable[[], object]) -> SlowWriter:
        process = world.current
        made = SlowWriter(file, told=told, failed=failed, world=world, process=process)
        process.at_end.append(made.close)
        writers.append(made)
        return made

    names = {name: getattr(sqlite3, name) for name in ("Error", "OperationalError", "Connection", "Cursor")}

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return sqlite3.connect(*arguments, **options, factory=_Hasty)

    with (
        patch.object(keeper, "Writer", writer),
        patch.object(file, "sqlite3", SimpleNamespace(**names, connect=connect)),
    ):
        yield writers
