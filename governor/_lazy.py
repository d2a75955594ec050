"""What scopes share until each needs its own: empty deques, and equal integers.

An empty deque takes 760 bytes, and most of those of a scope stay empty. A field that holds `NOTHING` is read like an empty
deque (`len`, `bool`, iteration); code that adds to it makes the deque first.
"""

from functools import lru_cache
from typing import Any, Final

NOTHING: Final[Any] = ()


@lru_cache(maxsize=256)
def plain(span: int) -> int:
    """The span as a plain integer, because arithmetic with a subclass is slower. Equal ones are one object, of 28 bytes."""
    return int(span)


@lru_cache(maxsize=256)
def part(span: int, parts: int) -> int:
    """One of so many parts of a span, rounded up."""
    return -(-span // parts)
