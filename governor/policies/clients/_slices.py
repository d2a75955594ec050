"""A walk through the keys of several dictionaries in slices, each dictionary from its oldest key on.

A slice is what one call may look at and drop without a noticeable pause. The order matters for the memory: keys that were made
one after the other share pages. Dropped in that order they give back a few pages with each slice. Dropped in any other order,
almost all pages stay in use until the last keys go, and giving them all back at once takes many milliseconds.
"""

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar, final

T = TypeVar("T")

#: Keys of one slice: about a tenth of a millisecond, and of all pauses of a million clients none above one.
MAX_SLICE: Final = 256


def slices(entries: int, tables: int) -> int:
    """The number of slices after which so many entries of so many dictionaries were all visited, at most."""
    return tables + entries // MAX_SLICE


@final
class SliceWalk:
    """Where the walk stands. It never ends: after the last dictionary comes the first.

    Law: a key that is in a dictionary during the whole of its turn is visited once in it, after all older ones. Keys that are
    added during the turn are visited in the next one.
    """

    __slots__ = ("_dropped", "_keys", "_next", "place")

    def __init__(self) -> None:
        self._next = 0
        #: The index of the dictionary that the walk is in.
        self.place = 0
        #: Its keys that are still to be visited, the oldest last.
        self._keys: list[bytes] = []
        #: How many of its keys have been dropped in this turn.
        self._dropped = 0

    def slice(self, tables: Sequence[Iterable[bytes]]) -> list[bytes]:
        """The next keys, at most `MAX_SLICE`: all of one dictionary, `place`. A key may have been removed since."""
        keys = self._keys
        if not keys:
            self.place, self._dropped = self._next, 0
            self._next = (self.place + 1) % len(tables)
            keys = self._keys = list(tables[self.place])
            keys.reverse()
        found = keys[: -MAX_SLICE - 1 : -1]
        del keys[-MAX_SLICE:]
        return found

    def drop(self, tables: list[dict[bytes, T]], keys: Sequence[bytes]) -> None:
        """Drops keys of the slice. A dictionary of which more than half went in its turn gives back its room at the end."""
        table = tables[self.place]
        for key in keys:
            del table[key]
        self._dropped += len(keys)
        if self.at_end and self._dropped > len(table):
            # A dictionary keeps the room of its largest size; a copy has the room that it needs.
            tables[self.place] = dict(table)

    @property
    def at_end(self) -> bool:
        """Whether the dictionary has been visited as a whole."""
        return not self._keys
