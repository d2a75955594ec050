"""The files of a log: their names, the one that is written, and those that are removed.

A day, of UTC, has files of its own, so they are changed every 24 hours, however often the program is started. They are
numbered: a file that has an eighth of the budget is full, and the next one begins. All processes that share the folder write
the same file, each at its end.

The name of a file says how old what is in it can be. On the third day after its own it goes: no line is kept for longer than
three days. Of what does not fit into the budget, the oldest files go.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from typing import Final

import msgspec

from governor.policies import _checks

#: So many days are kept, today included.
KEPT_DAYS: Final = 3
#: So many files fill the budget. One more is kept free while one is filled: for what several processes write at once.
_PARTS: Final = 8
_NAME: Final = re.compile(r"governor-(\d{4}-\d\d-\d\d)-(\d{4,9})\.jsonl")
_EPOCH: Final = date(1970, 1, 1)


class LogFile(msgspec.Struct, frozen=True, order=True):
    """One file: its day since 1970, its number within that day, and how many bytes are in it. The oldest sorts first."""

    day: int
    number: int
    size: int = 0

    @property
    def name(self) -> str:
        """`governor-2026-10-18-0001.jsonl`."""
        return f"governor-{_EPOCH + timedelta(days=self.day)}-{self.number:04}.jsonl"


def day_of(seconds: float) -> int:
    """The day, of UTC, in which this time of day lies, counted from 1970."""
    return int(seconds // 86_400)


def log_file(name: str, size: int) -> LogFile | None:
    """The file of that name; None if it is none of ours."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    try:
        day = date.fromisoformat(found[1])
    except ValueError:
        return None
    return LogFile((day - _EPOCH).days, int(found[2]), size)


class Budget(msgspec.Struct, frozen=True):
    """What all files together may have: `max_size` bytes."""

    max_size: int

    def __post_init__(self) -> None:
        _checks.whole("max_size", self.max_size, minimum=1_000_000)

    @property
    def part(self) -> int:
        """What one file may have."""
        return self.max_size // _PARTS

    def current(self, files: Iterable[LogFile], day: int, more: int) -> LogFile:
        """The file that takes `more` bytes on that day: the newest of it, or the next if that one is full."""
        newest = max((file for file in files if file.day == day), default=LogFile(day, 0, self.part))
        return newest if newest.size + more <= self.part else LogFile(day, newest.number + 1)

    def excess(self, files: Iterable[LogFile], current: LogFile) -> Iterator[LogFile]:
        """The files that must go so that `current` can be filled and all is within the budget: the oldest."""
        others = sorted(file for file in files if file.name != current.name)
        needed = sum(file.size for file in others) + 2 * self.part
        for file in others:
            if needed <= self.max_size:
                return
            needed -= file.size
            yield file


def expired(files: Iterable[LogFile], today: int) -> list[LogFile]:
    """The files that are too old, and those from a future in which the clock of the machine must have been wrong."""
    return [file for file in files if not -1 <= today - file.day < KEPT_DAYS]
