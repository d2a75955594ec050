"""The clients of a library that a `TrafficControlledHttpClient` makes: one for blocking calls, one for each event loop."""

import sys
from collections.abc import AsyncGenerator, Callable
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING, NamedTuple, final

from anyio.lowlevel import current_token

from governor import UsageError

if TYPE_CHECKING:
    import httpx2


@final
class _Block:
    """Whether the calls of one kind are in a block, or closed."""

    def __init__(self, provider: str, words: str) -> None:
        self._provider = provider
        self._words = words
        self._in_block = False
        self.closed = False

    def enter(self) -> None:
        if self._in_block:
            raise UsageError(f"the client for {self._provider} is in {self._words} block already; create another one")
        self._in_block, self.closed = True, False

    def leave(self) -> None:
        self._in_block, self.closed = False, True

    def error(self) -> UsageError:
        block = self._words.partition(" ")[2]
        return UsageError(f"the client for {self._provider} is closed; use it in another {block} block, or create another one")

    def state(self, is_open: bool) -> str:
        return "closed" if self.closed else "open" if is_open else "not used yet"


@final
class BlockingClient:
    """The client for blocking calls: made for the first call, closed by the end of the block or by hand."""

    def __init__(self, provider: str, make: "Callable[[], httpx2.Client]") -> None:
        self._block = _Block(provider, "a `with`")
        self._make = make
        self._open: dict[str, httpx2.Client] = {}

    def enter(self) -> None:
        """A block begins."""
        self._block.enter()

    def client(self) -> "httpx2.Client":
        """The client. Raises `UsageError` after `leave`."""
        if self._block.closed:
            raise self._block.error()
        found = self._open.get("client")
        # Two threads may both make one; the first that is stored is used, and the other has no connection to close.
        return self._open.setdefault("client", self._make()) if found is None else found

    def leave(self) -> "httpx2.Client | None":
        """The client that is to be closed, if there is one."""
        self._block.leave()
        return self._open.pop("client", None)

    @property
    def state(self) -> str:
        """For people."""
        return self._block.state(bool(self._open))


class _Opened(NamedTuple):
    client: "httpx2.AsyncClient"
    #: Closes the client at the latest when its loop shuts down, as loops end the generators that have begun in them.
    ending: AsyncGenerator[None]


@final
class AsyncClients:
    """The clients for async calls: a connection can be used only in the event loop in which it was made.

    A program may have a loop for each thread, or one after the other, as with several calls of `asyncio.run`. The clients of
    all loops have the same cookies.
    """

    def __init__(self, provider: str, make: "Callable[[], httpx2.AsyncClient]") -> None:
        self._block = _Block(provider, "an `async with`")
        self._make = make
        # By loop, or by token of trio.
        self._open: dict[object, _Opened] = {}
        self._cookies: CookieJar | None = None

    def enter(self) -> None:
        """A block begins."""
        self._block.enter()

    def client(self) -> "httpx2.AsyncClient":
        """The client of this loop. Raises `UsageError` after `leave`."""
        if self._block.closed:
            raise self._block.error()
        # Each call asks: anyio would answer for trio as well, in ten times as long.
        running: Callable[[], object] | None = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)
        found = None if running is None else self._open.get(running())
        return self._of(current_token().native_token) if found is None else found.client

    def leave(self) -> AsyncGenerator[None] | None:
        """What closes the client of this loop, if there is one. Those of other loops are closed there, soon."""
        self._block.leave()
        opened, self._open, self._cookies = self._open, {}, None
        found = opened.pop(current_token().native_token, None)
        return None if found is None else found.ending

    @property
    def state(self) -> str:
        """For people."""
        return self._block.state(bool(self._open))

    def _of(self, loop: object) -> "httpx2.AsyncClient":
        found = self._open.get(loop)
        if found is not None:
            return found.client
        for other in list(self._open):  # Loops of asyncio that were closed and not shut down.
            is_closed = getattr(other, "is_closed", None)
            if is_closed is not None and is_closed():
                self._open.pop(other, None)
        client = self._make()
        if self._cookies is None:
            self._cookies = client.cookies.jar
        else:
            client.cookies = self._cookies
        ending = _closing(client, self._open, loop)
        for _ in anext(ending).__await__():
            pass  # It begins without waiting.
        self._open[loop] = _Opened(client, ending)
        return client


async def _closing(client: "httpx2.AsyncClient", opened: dict[object, _Opened], loop: object) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        opened.pop(loop, None)
        await client.aclose()
