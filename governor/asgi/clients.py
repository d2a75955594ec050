"""What an application says about the client of a request: a key, a tier, a cost, or that nothing limits it.

An answer that cannot be used never opens the door: the client then counts as it would without a key function, and the log says
so once a minute.
"""

import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from traceback import format_tb
from typing import Any, Final, final

import msgspec

from governor import UsageError
from governor._units import MINUTE
from governor.clock import system_clock
from governor.errors import GovernorError
from governor.policies import _checks

_log: Final = logging.getLogger("governor")


class Client(msgspec.Struct, frozen=True):
    """The client of a request, as the application knows it.

    `key` identifies it: a user's name or number, as text or bytes; None or empty stands for the identity that headers and
    address give. `tier` names limits of `[inbound.GROUP.tiers]`, in the place of the group's own. The request spends as much as
    `cost` plain ones, at least 1. Raises `UsageError` for anything else.
    """

    key: str | bytes | None = None
    tier: str | None = None
    cost: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.key, (str, bytes, type(None))):
            raise UsageError(f"the key of a client is text, bytes or None, and not of the type {type(self.key).__name__}")
        if not isinstance(self.tier, (str, type(None))):
            raise UsageError(f"the tier of a client is text or None, and not of the type {type(self.tier).__name__}")
        _checks.whole("cost", self.cost)

    def name(self) -> bytes:
        """The key as bytes; empty if there is none."""
        return self.key.encode("utf-8", "surrogatepass") if isinstance(self.key, str) else self.key or b""


#: What a key function may answer; None exempts the request.
Said = str | bytes | Client | None
#: From the scope of ASGI, or the environ of WSGI, to the client.
Key = Callable[[MutableMapping[str, Any]], Said | Awaitable[Said]]

#: A client of whom the application says nothing.
UNKNOWN: Final = Client()


@final
class Complaints:
    """Says what goes wrong, once a minute, as every request may fail in the same way."""

    __slots__ = ("_said_at",)

    def __init__(self) -> None:
        self._said_at: dict[str, int] = {}

    def __call__(self, what: str, error: Exception | None = None) -> None:
        """`what` is one of a few sentences. What foreign errors say may hold what a client has sent, and is left out."""
        now = system_clock()
        if now - self._said_at.get(what, -MINUTE) < MINUTE:
            return
        self._said_at[what] = now
        if error is None:
            _log.error("%s", what)
            return
        said = str(error) if isinstance(error, GovernorError) else type(error).__name__
        _log.error("%s: %s\n%s", what, said, "".join(format_tb(error.__traceback__)))


@final
class Identify:
    """Asks a key function."""

    __slots__ = ("_complain", "_key")

    def __init__(self, key: Key) -> None:
        if not callable(key):
            raise UsageError(f"`key` is a function from the scope of a request to its client, and not a {type(key).__name__}")
        self._key = key
        self._complain = Complaints()

    async def __call__(self, scope: MutableMapping[str, Any]) -> Client | None:
        """The client of a request; None if nothing limits it."""
        try:
            said = self._key(scope)
            return _client(await said if inspect.isawaitable(said) else said)
        except Exception as error:
            return self._unknown(error)

    def blocking(self, environ: MutableMapping[str, Any]) -> Client | None:
        """The same where nothing can be awaited."""
        try:
            said = self._key(environ)
            if isinstance(said, Coroutine):
                said.close()
                raise UsageError("the key function of a WSGI application is a plain function, and this one is async")
            return _client(said)
        except Exception as error:
            return self._unknown(error)

    def _unknown(self, error: Exception) -> Client:
        self._complain("The key function failed, and clients count as they do without one", error)
        return UNKNOWN


def _client(said: object) -> Client | None:
    if said is None or isinstance(said, Client):
        return said
    if isinstance(said, (str, bytes)):
        return Client(said)
    raise UsageError(f"a key function answers text, bytes, a Client or None, and not a {type(said).__name__}")
