"""The file of a state folder: records by key, and when lives began that others have not ended in order.

SQLite in WAL mode, with `synchronous = FULL`: what was committed survives the death of the process, and a power cut. One
process at a time owns the folder, by a lock that ends with it.

A file that is no such file, or is damaged, is renamed to `state.db.damaged-N` and another one begun, in which everything counts
as used up to then. Bounds: the latest `MAX_DAMAGED` of those are kept; at most `MAX_DEATHS` lives are kept apart, and earlier
ones count together, as of the latest of them.

Beside it lies the journal of this life: see `journal`. What that of the life before says becomes a *loss* of each account,
which counts until the account has another record: `MAX_LOSSES` at most, beyond which everything counts as used, and
`MAX_DEATHS` of one account.
"""

import logging
import os
import sqlite3
import sys
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from governor._store.contract import Head, Loss, Record, Takeover, ToWrite, Unusable, Unwritable
from governor._store.journal import Journal, digest, has_entries, read_journal, writes_known
from governor._store.lock import ADVICE, locked
from governor._units import Instant
from governor.clock import Clock, Moment, moment, resumed_at
from governor.errors import UsageError
from governor.policies.account import FIRST_WITH_JOURNAL

_log: Final = logging.getLogger("governor")

NAME: Final = "state.db"
MAX_DAMAGED: Final = 3
MAX_DEATHS: Final = 64
MAX_LOSSES: Final = 100_000
#: "gvst", which tells our files from those of others; and the version of the tables and of the records.
_APPLICATION: Final = 0x67767374
_VERSION: Final = 3
_TABLES: Final = (
    "CREATE TABLE head (id INTEGER PRIMARY KEY CHECK (id = 0), body BLOB NOT NULL, checksum INTEGER NOT NULL)",
    """CREATE TABLE record (
        key TEXT PRIMARY KEY, life INTEGER NOT NULL, ahead INTEGER NOT NULL, covered INTEGER NOT NULL,
        rests_at INTEGER NOT NULL, recovers INTEGER NOT NULL, body BLOB NOT NULL, checksum INTEGER NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE loss (
        account INTEGER NOT NULL, life INTEGER NOT NULL, body BLOB NOT NULL, checksum INTEGER NOT NULL,
        PRIMARY KEY (account, life)
    ) WITHOUT ROWID""",
)


class StateFile:
    """An open state folder: see `Store`. `clock` is the one of the governor before anything is known of earlier lives.

    Raises `UsageError` if another process owns the folder, `Unusable` if it cannot be used at all. It is used by one thread at
    a time, and does I/O in every method.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._path = folder / NAME
        self._clock = clock
        #: What was wrong with the file that was set aside; None if none was.
        self.damage: str | None = None
        #: Whether there was a life before this one: processes that shared its limits may have used some of them since.
        self.learning = False
        #: The journal of this life; None if there can be none.
        self.journal: Journal | None = None
        #: What journals say of each account that has no record since, by digest and life.
        self.losses: dict[int, dict[int, Loss]] = {}
        #: All records by key when the life began; None for one that is damaged.
        self.records: dict[str, Record | None] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.lock = locked(folder)
        except OSError as error:
            raise Unusable(f"{folder}: {error.strerror or error}") from error
        try:
            self._open_one()
        except BaseException:
            self._unlock()
            raise

    def _open_one(self) -> None:
        try:
            self._open()
        except (sqlite3.Error, ArithmeticError, TypeError, ValueError, Unusable, OSError) as error:
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                raise UsageError(f"another process uses {self._path}; {ADVICE}") from error
            self.damage = str(error)
            self._close()
            try:
                self._set_aside()
                self._open(damaged=True)
            except (sqlite3.Error, OSError) as second:
                raise Unusable(f"{self._path}: {second}") from second

    def _open(self, *, damaged: bool = False) -> None:
        before = self._path.exists()
        if before and sys.platform != "win32" and self._path.stat().st_uid != os.geteuid():
            raise Unusable("it belongs to another user")
        self._sql = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=0)
        sql = self._sql
        sql.execute("PRAGMA locking_mode = EXCLUSIVE")
        new = not sql.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if new:
            if not damaged and any(map(has_entries, self._journal_paths())):
                raise Unusable("it is missing or empty, and the journal beside it says that calls were granted")
            sql.execute("PRAGMA auto_vacuum = INCREMENTAL")
            sql.execute(f"PRAGMA application_id = {_APPLICATION}")
            sql.execute(f"PRAGMA user_version = {_VERSION}")
        elif _pragma(sql, "application_id") != _APPLICATION:
            raise Unusable("it is not the state of a governor")
        elif _pragma(sql, "user_version") != _VERSION:
            raise Unusable(f"it is of version {_pragma(sql, 'user_version')}, and this is version {_VERSION}")
        elif (found := _pragma(sql, "quick_check(1)")) != "ok":
            raise Unusable(str(found))
        sql.execute("PRAGMA journal_mode = WAL")
        sql.execute("PRAGMA synchronous = FULL")
        sql.execute("PRAGMA journal_size_limit = 4194304")
        # A file that is missing beside damaged ones could not be made when those were set aside.
        learning = damaged or (new and any(self._damaged()))
        self._begin(new=new, learning=learning)

    def _begin(self, *, new: bool, learning: bool) -> None:
        """Begins a life, durably: nothing is granted before it is known that it may not end in order."""
        here = moment(self._clock)
        self._sql.execute("BEGIN IMMEDIATE")
        if new:
            if sys.platform != "win32":
                self._path.chmod(0o600)
            for table in _TABLES:
                self._sql.execute(table)
            takeovers: tuple[Takeover, ...] = (Takeover(0, here.instant, everything=True),) if learning else ()
            #: By how much the governor's clock is ahead of the given one: it goes on from earlier lives.
            self.ahead = 0
            self.records, self.losses = {}, {}  # What has been read of one that is set aside counts for nothing.
            self.head = Head(1, False, takeovers, here, writes=max(map(writes_known, self._journal_paths())))
        else:
            last = self._read_head()
            if writes_known(self._journal_path(last.life + 1)) > last.writes:
                raise Unusable("its latest writes are missing, and with them a life")
            now = resumed_at(last.moment, here)
            self.ahead = now - here.instant
            learning = True
            self.records = self._read_records()
            self.losses = self._read_losses()
            takeovers = last.takeovers if last.ended else self._take_over(last, now, here)
            moment_now = msgspec.structs.replace(here, instant=now)
            self.head = Head(last.life + 1, False, takeovers, moment_now, writes=last.writes)
        self.learning = learning
        self._begin_journal(here)
        self._write_head()
        self._commit()
        self._opened = self._path.stat()

    def _begin_journal(self, here: Moment) -> None:
        """The journal exists before the state file names it, and apart from that of the last life, which counts until then."""
        if not here.boot:
            return  # The next life could not tell that the system has died as well.
        token = os.urandom(16)
        with suppress(OSError):
            self.journal = Journal(self._journal_path(self.head.life), token)
            self.head = msgspec.structs.replace(self.head, token=token, first=FIRST_WITH_JOURNAL)

    def _journal_path(self, life: int) -> Path:
        return self._folder / f"journal-{life % 2}"

    def _journal_paths(self) -> tuple[Path, Path]:
        return self._journal_path(0), self._journal_path(1)

    def _take_over(self, last: Head, now: Instant, here: Moment) -> tuple[Takeover, ...]:
        """What is known of a life that did not end in order: losses by account, or that it took place.

        Raises `Unusable` if its latest writes are missing, and no journal says what it has granted since.
        """
        same = bool(here.boot) and last.moment.boot == here.boot
        journal = read_journal(self._journal_path(last.life), last.token) if same and last.token else None
        if writes_known(self._journal_path(last.life)) > last.writes:
            if journal is None:
                raise Unusable("its latest writes are missing")
            _log.error("The latest writes of %s are missing. Its journal says what was granted; events are lost.", self._path)
        if journal is None:
            # It was over when the system was started again.
            restarted = bool(here.boot and last.moment.boot) and not same
            at = Instant(max(last.moment.instant, now - here.uptime)) if restarted else now
            return _merged((*last.takeovers, Takeover(last.life, at, last.first)))
        covered = {
            digest(key): record.covered
            for key, record in self.records.items()
            if record is not None and record.life == last.life
        }
        for account, entry in journal.items():
            points = max(0, entry.granted - entry.out - max(entry.base, covered.get(account, 0)))
            if points or entry.out or entry.tally.places is not None:
                tally = entry.tally._replace(points=points)
                self._lose(account, last.life, Loss(now, tally))
        if sum(map(len, self.losses.values())) <= MAX_LOSSES:
            return last.takeovers
        self.losses.clear()
        self._sql.execute("DELETE FROM loss")
        return _merged((*last.takeovers, Takeover(last.life, now, everything=True)))

    def _lose(self, account: int, life: int, loss: Loss) -> None:
        losses = self.losses.setdefault(account, {})
        if len(losses) >= MAX_DEATHS:
            # Of the two earliest, the later one counts for both.
            first, second = sorted(losses)[:2]
            losses[second] = _both(losses.pop(first), losses[second])
            self._sql.execute("DELETE FROM loss WHERE account = ? AND life = ?", (account, first))
            self._write_loss(account, second, losses[second])
        losses[life] = loss
        self._write_loss(account, life, loss)

    def _write_loss(self, account: int, life: int, loss: Loss) -> None:
        body = msgspec.msgpack.encode(loss)
        row = account, life, body, _checksum("", (account, life), body)
        self._sql.execute("INSERT OR REPLACE INTO loss VALUES (?, ?, ?, ?)", row)

    def _read_losses(self) -> dict[int, dict[int, Loss]]:
        found: dict[int, dict[int, Loss]] = {}
        for account, life, body, checksum in self._sql.execute("SELECT account, life, body, checksum FROM loss"):
            if checksum != _checksum("", (account, life), body):
                raise Unusable("a loss of an account is damaged")
            found.setdefault(account, {})[life] = msgspec.msgpack.decode(body, type=Loss)
        return found

    def _write_head(self, *, ended: bool = False) -> None:
        writes, now = self.head.writes + 1, moment(self._clock, self.ahead)
        self.head = msgspec.structs.replace(self.head, ended=ended, moment=now, writes=writes)
        body = msgspec.json.encode(self.head)
        self._sql.execute("INSERT OR REPLACE INTO head VALUES (0, ?, ?)", (body, _checksum("", (), body)))

    def _read_head(self) -> Head:
        body, checksum = self._sql.execute("SELECT body, checksum FROM head").fetchone() or (b"", None)
        if checksum != _checksum("", (), body):
            raise Unusable("its head is damaged")
        return msgspec.json.decode(body, type=Head)

    def _commit(self) -> None:
        """Commits, and then notes in the journal that this write is durable: SQLite does not tell if it loses the last ones."""
        self._sql.execute("COMMIT")
        if self.journal is not None:
            self.journal.note_writes(self.head.writes)

    def _read_records(self) -> dict[str, Record | None]:
        """All records by key; None for one that is damaged. Raises `Unusable` if a key is, as that account would have none."""
        rows = self._sql.execute("SELECT key, life, ahead, covered, rests_at, recovers, body, checksum FROM record")
        found: dict[str, Record | None] = {}
        for key, *row, checksum in rows:
            if not isinstance(key, str) or checksum >> 32 != _checksum(key, (), b"") >> 32:
                raise Unusable("the key of a record is damaged")
            found[key] = Record(*row) if checksum == _checksum(key, row[:5], row[5]) else None
        return found

    def write(self, records: Iterable[ToWrite], removed: Iterable[str], *, ended: bool = False) -> None:
        """Writes records, and removes others by their keys: all of them, durably, or none.

        With `ended` the life ends in order. Raises `Unwritable`.
        """
        if not self._is_ours():
            raise Unwritable(f"{self._path} has been removed or replaced")  # SQLite would go on writing to what was there.
        life, sql = self.head.life, self._sql
        written, gone = list(records), list(removed)
        known = [account for key in (*(one.key for one in written), *gone) if (account := digest(key)) in self.losses]
        try:
            sql.execute("BEGIN IMMEDIATE")
            sql.executemany("DELETE FROM record WHERE key = ?", [(key,) for key in gone])
            sql.executemany("DELETE FROM loss WHERE account = ?", [(account,) for account in known])
            sql.executemany(
                "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(one.key, life, *one[1:5], one.body, _checksum(one.key, (life, *one[1:5]), one.body)) for one in written],
            )
            self._write_head(ended=ended)
            self._commit()
        except BaseException as error:
            with suppress(sqlite3.Error):
                sql.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise Unwritable(str(error)) from error
            raise
        for account in known:
            self.losses.pop(account, None)

    def close(self) -> None:
        """Closes the file, and releases the folder."""
        with suppress(sqlite3.Error):
            self._sql.execute("PRAGMA incremental_vacuum")
        self._close()
        self._unlock()

    def give_up(self) -> None:
        """The file cannot be written any more: sets it aside, so that the next life knows that it knows nothing."""
        self._close()
        with suppress(OSError):
            if not self._path.exists():  # It has been removed: an empty one is set aside.
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._path.touch(mode=0o600)
                self._opened = self._path.stat()
            if self._is_ours():  # One that has replaced it belongs to another governor.
                self._set_aside()
        self._unlock()

    def _is_ours(self) -> bool:
        """Whether the file is still the one that was opened."""
        try:
            return os.path.samestat(self._opened, self._path.stat())
        except OSError:
            return False

    def _close(self) -> None:
        if self.journal is not None:
            self.journal.close()
            self.journal = None
        if hasattr(self, "_sql"):
            with suppress(sqlite3.Error):
                self._sql.close()

    def _unlock(self) -> None:
        with suppress(OSError):
            os.close(self.lock)

    def _damaged(self) -> list[Path]:
        """The files that were set aside, in order."""
        found = [path for path in self._folder.glob(f"{NAME}.damaged-*") if path.suffix[9:].isdigit()]
        return sorted(found, key=lambda path: int(path.suffix[9:]))

    def _set_aside(self) -> None:
        before = self._damaged()
        number = int(before[-1].suffix[9:]) + 1 if before else 1
        if self._path.exists():
            self._path.rename(self._path.with_name(f"{NAME}.damaged-{number}"))
        for ending in ("-wal", "-shm", "-journal"):
            with suppress(OSError):
                self._path.with_name(NAME + ending).unlink()
        for old in before[: max(0, len(before) + 1 - MAX_DAMAGED)]:
            with suppress(OSError):
                old.unlink()


def _merged(takeovers: tuple[Takeover, ...]) -> tuple[Takeover, ...]:
    """At most `MAX_DEATHS`: of the earliest two, the later one counts for both."""
    if len(takeovers) <= MAX_DEATHS:
        return takeovers
    first, second, *others = takeovers
    everything = first.everything or second.everything
    both = Takeover(second.life, second.at, first.first + second.first, everything, first.since or first.life)
    return (both, *others)


def _both(first: Loss, second: Loss) -> Loss:
    """What both say. A life that granted nothing, and held no places, leaves the dates of the one before it.

    The places of the earlier life are among those that the later one held.
    """
    one, other = first.tally, second.tally
    if not (other.points or other.out or other.places or other.held):
        return first
    points, out = one.points + other.points, one.out + other.out
    moving = None if one.moving is None or other.moving is None else one.moving + other.moving
    return Loss(second.at, other._replace(points=points, at=max(one.at, other.at), out=out, moving=moving))


def _pragma(sql: sqlite3.Connection, name: str) -> object:
    return sql.execute(f"PRAGMA {name}").fetchone()[0]


def _checksum(key: str, numbers: Iterable[int], body: bytes) -> int:
    """A checksum of 63 bits, the upper ones of which are those of the key alone."""
    of_key = zlib.crc32(key.encode())
    return (of_key >> 1 << 32) | zlib.crc32(body, zlib.crc32(f"{[int(number) for number in numbers]}".encode(), of_key))
