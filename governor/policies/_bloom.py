"""Bloom filter: a set of bounded size that never forgets a member, and rarely takes a stranger for one.

Bloom, "Space/time trade-offs in hash coding with allowable errors", CACM 13(7), 1970. With 16 bits for each member and 4 of
them set, one stranger in 400 is taken for a member when the filter is full.
"""

from typing import Final, final

#: Clients that the filter of a table has room for: so many for each entry of the table, and at least so many in all.
REMEMBERED: Final = 4
LEAST_REMEMBERED: Final = 1024

_BITS: Final = 16
_SET: Final = 4


@final
class BloomFilter:
    """Room for `capacity` keys, which are bytes that are spread evenly; more are taken, and then strangers pass for members."""

    __slots__ = ("_bits", "_size", "capacity", "count")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        #: The members, but for those that were taken for one when they came.
        self.count = 0
        # Odd, so that every byte of a key decides about every place, also where many keys have some in common.
        self._size = _BITS * capacity + 1
        self._bits = bytearray(self._size // 8 + 1)

    def __contains__(self, key: bytes) -> bool:
        bits = self._bits
        return all(bits[place >> 3] >> (place & 7) & 1 for place in self._places(key))

    def add(self, key: bytes) -> None:
        """From now on the key is in it."""
        if key not in self:
            self.count += 1
            for place in self._places(key):
                self._bits[place >> 3] |= 1 << (place & 7)

    def _places(self, key: bytes) -> list[int]:
        number, places = int.from_bytes(key), []
        for _ in range(_SET):
            number, place = divmod(number, self._size)
            places.append(place)
        return places


def room(entries: int) -> int:
    """The capacity of the filter for those who are dropped from a table of so many entries."""
    return max(LEAST_REMEMBERED, REMEMBERED * entries)
