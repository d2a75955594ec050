"""Log files: their names, rotation and expiry.

Each UTC day has its own files, however often the program starts. The files of a day are numbered: a file is full at an eighth
of the budget, and the next file follows. All processes that share the folder append to the same file.

The name of a file contains its day. A file expires on the third day after its own, so no line is kept for longer than three
days. If the files exceed the budget, the oldest are removed.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from typing import Final

import msgspec

from governor.policies import _checks

#: The number of days that are kept, including the current day.
KEPT_DAYS: Final = 3
#: The number of full files in the budget. The size of one file stays free, for several processes that write at once.
_PARTS: Final = 8
_NAME: Final = re.compile(r"governor-(\d{4}-\d\d-\d\d)-(\d{4,9})\.jsonl")
_EPOCH: Final = date(1970, 1, 1)


class LogFile(msgspec.Struct, frozen=True, order=True):
    """A file: its day, in days since 1970, its number within that day, and its size in bytes. Sorts by age, oldest first."""

    day: int
    number: int
    size: int = 0

    @property
    def name(self) -> str:
        """The file name, for example `governor-2026-10-18-0001.jsonl`."""
        return f"governor-{_EPOCH + timedelta(days=self.day)}-{self.number:04}.jsonl"


def day_of(seconds: float) -> int:
    """The UTC day of a Unix time, in days since 1970."""
    return int(seconds // 86_400)


def log_file(name: str, size: int) -> LogFile | None:
    """The file of that name; None if it is not the name of a log file."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    try:
        day = date.fromisoformat(found[1])
    except ValueError:
        return None
    return LogFile((day - _EPOCH).days, int(found[2]), size)


class Budget(msgspec.Struct, frozen=True):
    """The size limit of all files together: `max_size` in bytes, at least 1,000,000."""

    max_size: int

    def __post_init__(self) -> None:
        _checks.whole("max_size", self.max_size, minimum=1_000_000)

    @property
    def part(self) -> int:
        """The maximum size of one file, in bytes."""
        return self.max_size // _PARTS

    def current(self, files: Iterable[LogFile], day: int, more: int) -> LogFile:
        """The file for `more` bytes on that day: the newest file of the day, or the next one if that is full."""
        newest = max((file for file in files if file.day == day), default=LogFile(day, 0, self.part))
        return newest if newest.size + more <= self.part else LogFile(day, newest.number + 1)

    def excess(self, files: Iterable[LogFile], current: LogFile) -> Iterator[LogFile]:
        """The oldest files, whose removal lets `current` grow to its full size within the budget."""
        others = sorted(file for file in files if file.name != current.name)
        needed = sum(file.size for file in others) + 2 * self.part
        for file in others:
            if needed <= self.max_size:
                return
            needed -= file.size
            yield file


def expired(files: Iterable[LogFile], today: int) -> list[LogFile]:
    """The files that are too old, and those of days in the future, written while the clock was wrong."""
    return [file for file in files if not -1 <= today - file.day < KEPT_DAYS]
