"""What scopes share until each needs its own: empty deques, and equal integers.

An empty deque takes 760 bytes, and most of those of a scope stay empty. A field that holds `NOTHING` is read like an empty
deque (`len`, `bool`, iteration); code that adds to it makes the deque first.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import repeat
from typing import Any, Final, TypeVar

T = TypeVar("T")

NOTHING: Final[Any] = ()


def always(shared: T) -> Callable[[], T]:
    """A function that returns the same object for all records, as `default_factory`: without a Python call, unlike a lambda."""
    return repeat(shared).__next__


@lru_cache(maxsize=256)
def plain(span: int) -> int:
    """The span as a plain integer, because arithmetic with a subclass is slower. Equal ones are one object, of 28 bytes."""
    return int(span)


@lru_cache(maxsize=256)
def part(span: int, parts: int) -> int:
    """One of so many parts of a span, rounded up."""
    return -(-span // parts)
