"""Stand-in for a deque that nothing has been put into yet.

An empty deque takes 760 bytes, and most of those of a scope stay empty. A field that holds `NOTHING` is read like an empty
deque (`len`, `bool`, iteration); code that adds to it makes the deque first.
"""

from typing import Any, Final

NOTHING: Final[Any] = ()
