"""What the middleware knows of a request. It leaves that in the scope, for limits on single endpoints.

Compiled where a compiler is; `context.pxd` has the fields.
"""

from typing import TYPE_CHECKING, Final, final

from governor.asgi.client import UNKNOWN, Client, KeyFunction
from governor.asgi.observer import ResponseObserver
from governor.asgi.types import Scope

if TYPE_CHECKING:
    from governor.asgi.admission import AdmissionController

#: The key of the scope. Its value is None where the governor failed.
CONTEXT: Final = "traffic_control"


@final
class RequestContext(ResponseObserver, eq=False):  # C: class RequestContext(ResponseObserver):
    """A request that the middleware has seen, and the observer of its response: one record for both."""

    # C: def __cinit__(self, server):
    # C:     self._client = UNKNOWN

    #: By whom it is admitted; None until that is known.
    controller: "AdmissionController | None" = None
    #: The key function, until it has been called.
    key: KeyFunction | None = None
    _client: Client | None = UNKNOWN

    async def client(self, scope: Scope) -> Client | None:
        """The client, by the key function, which is called once for each request; None if no limit applies."""
        if self.key is not None:
            key, self.key = self.key, None
            self._client = await key(scope)
        return self._client


# Each request stores several fields. What msgspec has in these places keeps CPython from storing them in place, and only sees
# to it that the garbage collector tracks a record, as it does from the start with the `send` of a server in it. (Permits have
# the same by `stored_directly` of the kernel, which nothing here may import.)
RequestContext.__setattr__ = object.__setattr__  # type: ignore[method-assign]  # C:
RequestContext.__delattr__ = object.__delattr__  # type: ignore[method-assign]  # C:
