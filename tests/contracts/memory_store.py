"""A store in memory, to show that the contract of stores is met by more than one. It keeps no journal."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import msgspec

from governor._store.contract import Head, Loss, Record, Takeover, ToWrite, Unwritable
from governor._store.journal import Journal
from governor.clock import Clock, moment, resumed_at
from governor.errors import UsageError


@dataclass
class Shelf:
    """What outlives the lives of one folder."""

    head: Head | None = None
    records: dict[str, Record | None] = field(default_factory=dict)
    open: bool = False
    damaged: bool = False
    #: Whether nothing can be written.
    full: bool = False


#: By folder.
SHELVES: dict[Path, Shelf] = {}


@final
class MemoryStore:
    """See `Store`."""

    journal: Journal | None = None
    lock: int | None = None

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.shelf = shelf = SHELVES.setdefault(folder, Shelf())
        if shelf.open:
            raise UsageError(f"the store {folder} is open already")
        shelf.open = True
        self._clock = clock
        here = moment(clock)
        self.damage = "it was given up" if shelf.damaged else None
        self.learning = shelf.damaged or shelf.head is not None
        self.losses: Mapping[int, Mapping[int, Loss]] = {}
        self.ahead = 0
        takeovers: tuple[Takeover, ...]
        if shelf.damaged or shelf.head is None:
            takeovers = (Takeover(0, here.instant, everything=True),) if shelf.damaged else ()
            shelf.records, shelf.damaged = {}, False
            self.head = Head(1, False, takeovers, here)
        else:
            last = shelf.head
            now = resumed_at(last.moment, here)
            self.ahead = now - here.instant
            takeovers = last.takeovers if last.ended else (*last.takeovers, Takeover(last.life, now, last.first))
            self.head = Head(last.life + 1, False, takeovers, msgspec.structs.replace(here, instant=now))
        self.records = dict(shelf.records)
        shelf.head = self.head

    def write(self, records: Iterable[ToWrite], removed: Iterable[str], *, ended: bool = False) -> None:
        written = {one.key: Record(self.head.life, *one[1:]) for one in records}
        gone = list(removed)
        if self.shelf.full:
            raise Unwritable("there is no room")
        for key in gone:
            self.shelf.records.pop(key, None)
        self.shelf.records |= written
        self.head = msgspec.structs.replace(self.head, ended=ended, moment=moment(self._clock, self.ahead))
        self.shelf.head = self.head

    def close(self) -> None:
        self.shelf.open = False

    def give_up(self) -> None:
        self.shelf.damaged = True
        self.close()
