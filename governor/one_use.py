"""Context managers that can be entered once.

Those of `contextlib` answer a second entry with an AttributeError about their own insides.
"""

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Generic, TypeVar, final

from governor.errors import UsageError

T = TypeVar("T")


@final
class OneUse(AbstractContextManager[T, bool | None], Generic[T]):
    """`manager`, entered at most once. A second entry raises `UsageError` with `advice`, and leaves the first one alone."""

    __slots__ = ("_advice", "_entered", "_manager")

    def __init__(self, manager: AbstractContextManager[T, bool | None], advice: str) -> None:
        self._manager = manager
        self._advice = advice
        self._entered = False

    def __enter__(self) -> T:
        if self._entered:
            raise UsageError(self._advice)
        self._entered = True
        return self._manager.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self._manager.__exit__(kind, error, traceback)


@final
class AsyncOneUse(AbstractAsyncContextManager[T, bool | None], Generic[T]):
    """The same for `async with`."""

    __slots__ = ("_advice", "_entered", "_manager")

    def __init__(self, manager: AbstractAsyncContextManager[T, bool | None], advice: str) -> None:
        self._manager = manager
        self._advice = advice
        self._entered = False

    async def __aenter__(self) -> T:
        if self._entered:
            raise UsageError(self._advice)
        self._entered = True
        return await self._manager.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._manager.__aexit__(kind, error, traceback)
