"""Bloom filter: a set of bounded size that never forgets a member, and rarely takes another key for one.

Bloom, "Space/time trade-offs in hash coding with allowable errors", CACM 13(7), 1970. With 16 bits for each member and 4 of
them set, one other key in 400 is taken for a member when the filter is full.
"""

from typing import Final, final

#: The capacity of the filter of a table, for each entry of the table, and at least.
CAPACITY_PER_ENTRY: Final = 4
MIN_CAPACITY: Final = 1024

_BITS: Final = 16
_SET: Final = 4


@final
class BloomFilter:
    """A filter for `capacity` keys, which are evenly distributed bytes. Beyond that, more other keys are taken for members."""

    __slots__ = ("_bits", "_size", "capacity", "count")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        #: The number of members, without those that were taken for one when they were added.
        self.count = 0
        # Odd, so that every byte of a key affects every bit, even where many keys have bytes in common.
        self._size = _BITS * capacity + 1
        self._bits = bytearray(self._size // 8 + 1)

    # Both loops are written out, because a flood of invented clients comes through here several times for each request.

    def __contains__(self, key: bytes) -> bool:
        number, size, bits = int.from_bytes(key), self._size, self._bits
        for _ in range(_SET):
            number, place = divmod(number, size)
            if not bits[place >> 3] >> (place & 7) & 1:
                return False
        return True

    def add(self, key: bytes) -> None:
        """Makes the key a member."""
        number, size, bits = int.from_bytes(key), self._size, self._bits
        new = False
        for _ in range(_SET):
            number, place = divmod(number, size)
            if not bits[place >> 3] >> (place & 7) & 1:
                bits[place >> 3] |= 1 << (place & 7)
                new = True
        self.count += new


def room(entries: int) -> int:
    """The capacity of the filter of a table with this many entries."""
    return max(MIN_CAPACITY, CAPACITY_PER_ENTRY * entries)
