"""Callbacks from other threads on the running event loop, of asyncio or of trio."""

from collections.abc import Callable
from typing import Protocol, cast

from anyio.lowlevel import current_token


class Post(Protocol):
    """Runs a callback on one event loop, from any thread. Raises RuntimeError once that loop has ended."""

    def __call__(self, callback: Callable[[], object], /) -> object:
        """Runs it soon."""


class _Asyncio(Protocol):
    call_soon_threadsafe: Post


class _Trio(Protocol):
    run_sync_soon: Post


def current_post() -> Post:
    """The `Post` of the loop that runs now."""
    loop = current_token().native_token
    if hasattr(loop, "call_soon_threadsafe"):
        return cast("_Asyncio", loop).call_soon_threadsafe
    return cast("_Trio", loop).run_sync_soon
