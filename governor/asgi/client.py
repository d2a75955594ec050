"""What an application says about the client of a request: a key, a tier and a cost, or that no limit applies.

A key function that fails never lets a client pass without limits: the client then counts as it would without a key function,
and an error is logged.
"""

import inspect
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from operator import index
from typing import Any, Final, final

import msgspec

from governor import ConfigError, UsageError
from governor.error_log import ErrorLog
from governor.messages import MAX_COST


class Client(msgspec.Struct, frozen=True):
    """The client of a request, as the application knows it.

    `key` identifies it: the name or number of a user, as text or bytes. None or empty stands for the identity that headers and
    address give. `tier` selects the limits of `[inbound.GROUP.tiers]` instead of the limits of the group. The request costs as
    much as `cost` plain requests, at least 1. Raises `UsageError` for values of other types, `ConfigError` for another cost.
    """

    key: str | bytes | None = None
    tier: str | None = None
    cost: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.key, (str, bytes, type(None))):
            raise UsageError(f"the key of a client must be str, bytes or None, not {type(self.key).__name__}")
        if not isinstance(self.tier, (str, type(None))):
            raise UsageError(f"the tier of a client must be str or None, not {type(self.tier).__name__}")
        msgspec.structs.force_setattr(self, "cost", _cost(self.cost))

    def name(self) -> bytes:
        """The key as bytes; empty if there is none."""
        return self.key.encode("utf-8", "surrogatepass") if isinstance(self.key, str) else self.key or b""


#: The result of a key function. None exempts the request.
ClientOrKey = str | bytes | Client | None
#: A key function: from the scope of ASGI, or the environ of WSGI, to the client.
Key = Callable[[MutableMapping[str, Any]], ClientOrKey | Awaitable[ClientOrKey]]


@final
class KeyFunction:
    """Calls the key function of an application."""

    __slots__ = ("_error_log", "_key")

    def __init__(self, key: Key) -> None:
        if not callable(key):
            raise UsageError(f"`key` must be a function from the scope of a request to its client, not {type(key).__name__}")
        self._key = key
        self._error_log = ErrorLog()

    async def __call__(self, scope: MutableMapping[str, Any]) -> Client | None:
        """The client of a request; None if no limit applies to it."""
        try:
            result = self._key(scope)
            return _client(await result if inspect.isawaitable(result) else result)
        except Exception as error:
            return self._failed(error)

    def blocking(self, environ: MutableMapping[str, Any]) -> Client | None:
        """The same for WSGI, which cannot await."""
        try:
            result = self._key(environ)
            if isinstance(result, Coroutine):
                result.close()
                raise UsageError("the key function of a WSGI application must not be async")
            return _client(result)
        except Exception as error:
            return self._failed(error)

    def _failed(self, error: Exception) -> Client:
        self._error_log("The key function failed, and clients count as they do without one", error)
        return UNKNOWN


def _client(result: object) -> Client | None:
    if result is None or isinstance(result, Client):
        return result
    if isinstance(result, (str, bytes)):
        return Client(result)
    raise UsageError(f"a key function must return str, bytes, Client or None, not {type(result).__name__}")


def _cost(value: object) -> int:
    """The cost as a plain `int`; whole numbers of other types, such as those of numpy, are accepted."""
    try:
        # Raises TypeError for anything that is not a whole number, which is what is asked here.
        cost = index(value)  # type: ignore[arg-type]
    except TypeError:
        cost = 0
    if isinstance(value, bool) or not 1 <= cost <= MAX_COST:
        raise ConfigError("cost", value, f"a whole number from 1 to {MAX_COST}")
    return cost


#: The client where there is no key function, or where it failed.
UNKNOWN: Final = Client()
