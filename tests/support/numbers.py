"""Whole numbers of other types than `int`."""


class Number:
    """What numpy's integers have: the value as an index, comparisons and arithmetic, without being an `int`."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value

    def __eq__(self, other: object) -> bool:
        return self._value == other

    def __hash__(self) -> int:
        return hash(self._value)
