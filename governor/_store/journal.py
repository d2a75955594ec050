"""Journal of one life: how much each account has granted, exactly, in a file that is mapped into memory.

Storing a number in mapped memory takes no system call, and the system keeps it when the process is killed at any instant. A
power cut loses it, which the next life finds out: it runs under another start of the system. So a journal is believed only by
the next life under the same start, and only with the token that the state file names; and only as a whole: each number has
a check, and the slots in use are counted, so that one in which something else has changed is not believed at all.

Bound: as many slots as accounts at the same time, of 96 bytes. All bytes of the file are written before they are mapped,
because storing in a hole of a file is fatal when the disk is full.
"""

import logging
import mmap
import os
import struct
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple, final

from governor._units import Instant
from governor.policies.account import (
    AT,
    BASE,
    CELLS,
    GRANTED,
    HELD,
    MOVING,
    OUT,
    PRIME,
    SEEN,
    THEN,
    UNDER_WAY,
    UNTIL,
    USUAL,
    Cells,
)
from governor.policies.survival import Tally

_log: Final = logging.getLogger("governor")

#: Slots in one part of the file, each of which is mapped on its own. A part is a whole number of pages of any size in use.
_SLOTS: Final = 4096
_SLOT: Final = 8 * CELLS
_PART: Final = _SLOTS * _SLOT
#: The first slot of the file: what the file is, the token of the life; and in these cells how many slots are in use, and how
#: many writes of the state file are known to be durable.
_HEADER: Final = struct.Struct("=8s16s")
_IN_USE: Final = 3
_WRITES: Final = 4
#: Rejects a symbolic link in the place of a file: the file that it names would be emptied.
NO_LINK: Final[int] = getattr(os, "O_NOFOLLOW", 0)  # Not on Windows.
_MAGIC: Final = b"gvjrnl\x00\x02"


class Entry(NamedTuple):
    """What a journal says of one account: its number at first, that of all points granted, and those `out`; and the rest."""

    base: int
    granted: int
    out: int
    tally: Tally


def digest(key: str) -> int:
    """The number by which a journal knows a key; never 0."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "little", signed=True) or 1


@final
class Journal:
    """The journal of the life that is. Raises `OSError` if it cannot be made."""

    def __init__(self, path: Path, token: bytes) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | NO_LINK, 0o600)
        self._free: list[Cells] = []
        #: Slots from the begin of the file that have been taken, whether they are free again or not.
        self._used = 1  # That of the header.
        self._parts: list[memoryview] = []
        try:
            self._extend()
            self._header = self._parts[0][:CELLS]
            self._header.cast("B")[: _HEADER.size] = _HEADER.pack(_MAGIC, token)
            self._count(0)
        except BaseException:
            os.close(self._file)
            raise

    def slot(self, key: str, base: int) -> Cells:
        """A slot for an account that begins at `base` points. Raises `OSError` if the disk is full."""
        cells = self._free.pop() if self._free else self._unused()
        number = digest(key)
        check = number % PRIME
        for place in range(1, CELLS):
            cells[place] = check
        cells[GRANTED] = cells[BASE] = base * PRIME + check
        # In this order: no reader finds half of a slot, nor more in use than there are.
        cells[0] = number
        self._count(self._in_use + 1)
        return cells

    def release(self, cells: Cells) -> None:
        """The account has gone."""
        self._count(self._in_use - 1)
        cells[0] = 0
        for place in range(1, CELLS):
            cells[place] = 0
        self._free.append(cells)

    def note_writes(self, count: int) -> None:
        """So many writes of the state file are durable. On any thread."""
        self._header[_WRITES] = count * PRIME + self._header[1] % PRIME

    def spoil(self) -> None:
        """An account has no slot: no life must believe that it has granted nothing. The writes that are known stay so."""
        self._header[2] = 0  # Half of the token.

    def close(self) -> None:
        """Closes the file. What is mapped stays so, for as long as accounts have their slots."""
        os.close(self._file)

    def _count(self, slots: int) -> None:
        self._in_use = slots
        self._header[_IN_USE] = slots * PRIME + self._header[1] % PRIME

    def _unused(self) -> Cells:
        """The first slot that was never taken: one by one, so that few pages are touched, and few views are made."""
        if self._used == len(self._parts) * _SLOTS:
            self._extend()
        part, place = divmod(self._used, _SLOTS)
        self._used += 1
        return self._parts[part][place * CELLS : (place + 1) * CELLS]

    def _extend(self) -> None:
        start = len(self._parts) * _PART
        written = 0
        while written < _PART:
            written += os.pwrite(self._file, bytes(_PART - written), start + written)
        self._parts.append(memoryview(mmap.mmap(self._file, _PART, offset=start)).cast("q"))


def read_journal(path: Path, token: bytes) -> Mapping[int, Entry] | None:
    """What a journal says, by the digest of each key; None if there is no journal with this token, or it is damaged."""
    data = _bytes(path)
    if len(data) < _PART or len(data) % _PART or data[: _HEADER.size] != _HEADER.pack(_MAGIC, token):
        _log.error("The journal %s is missing, cut off or given up: all that its life may have granted counts as used.", path)
        return None
    numbers = memoryview(data).cast("q")
    # Nearly all slots are empty.
    taken = [place for place, key in enumerate(numbers[::CELLS].tolist()) if key and place]
    slots = [numbers[place * CELLS : (place + 1) * CELLS].tolist() for place in taken]
    in_use, rest = divmod(numbers[_IN_USE] - numbers[1] % PRIME, PRIME)
    # A process may die while a slot is given away or returned: then one more has a key than are counted.
    if rest or len(slots) - in_use not in (0, 1) or not all(map(_is_whole, slots)):
        _log.error("The journal %s is damaged: all that its life may have granted counts as used.", path)
        return None
    return {cells[0]: _entry(cells) for cells in slots}


def writes_known(path: Path) -> int:
    """How many writes of the state file were durable, as far as the journal of any life knows; 0 if it does not say."""
    header = _bytes(path, _SLOT)
    if len(header) < _SLOT or header[: len(_MAGIC)] != _MAGIC:
        return 0
    cells = memoryview(header).cast("q")
    writes, rest = divmod(cells[_WRITES] - cells[1] % PRIME, PRIME)
    return 0 if rest else writes


def has_entries(path: Path) -> bool:
    """Whether there is a journal of any life that has granted something."""
    slots = _bytes(path)[_SLOT:]
    return slots.count(0) < len(slots)


def _bytes(path: Path, most: int = -1) -> bytes:
    """What is in the file, or so many bytes of it; nothing if there is none. A pipe in its place would never end."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(most)
    except OSError:
        return b""


def _is_whole(cells: list[int]) -> bool:
    """Whether each cell of a slot has its check: see `PRIME`."""
    return {cell % PRIME for cell in cells} == {cells[0] % PRIME}


def _entry(slot: list[int]) -> Entry:
    cells = [cell // PRIME for cell in slot]
    granted, out = cells[GRANTED], cells[OUT]
    known, since = cells[UNDER_WAY] > 0, max(0, granted - cells[THEN])
    tally = Tally(
        0,
        Instant(cells[AT]),
        out,
        cells[MOVING] + since if known else None,
        cells[UNDER_WAY] - 1 + since if known else None,
        Instant(cells[SEEN]),
        cells[HELD],
        Instant(cells[UNTIL]),
        cells[USUAL],
    )
    return Entry(cells[BASE], granted, out, tally)
