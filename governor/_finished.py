"""Awaitables that end at once: what `async with` awaits where nothing has to wait.

Compiled where there is a compiler; `_finished.pxd` has the fields.
"""

from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, Final, cast, final

# C: import cython


# C: @cython.no_gc
# C: @cython.freelist(8)
# C: @cython.cclass
@final
class Finished:
    """A coroutine whose result, no tuple, is known. For the compiled kernel: in pure Python one that runs costs less."""

    __slots__ = ("_result",)

    def __init__(self, result: Any) -> None:
        self._result = result

    def __await__(self) -> Any:
        return self

    def __next__(self) -> Any:  # In C see `end_at_once`.
        raise StopIteration(self._result)

    def send(self, value: object) -> Any:
        """Ends with the result."""
        raise StopIteration(self._result)

    def throw(self, error: BaseException, *_: object) -> Any:
        """Raises the error."""
        raise error

    def close(self) -> None:
        """Changes nothing."""


@coroutine
def _ended() -> Generator[Any, Any, None]:
    yield


#: Ends at once, without a result. The interpreter ends a generator that has ended before without running it, and makes nothing.
NOTHING: Final = cast("Coroutine[Any, Any, None]", _ended())
cast("Generator[Any, Any, None]", NOTHING).close()
# C: end_at_once(Finished)
# C: def finished(result):
# C:     made = Finished.__new__(Finished)
# C:     made._result = result
# C:     return made
# C: NOTHING = Finished(None)
