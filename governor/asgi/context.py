"""What the middleware knows of a request. It leaves that in the scope, for limits on single endpoints."""

from typing import Final, final

import msgspec

from governor.asgi.admission import AdmissionController
from governor.asgi.client import UNKNOWN, Client, KeyFunction
from governor.asgi.observer import ResponseObserver
from governor.asgi.types import Scope

#: The key of the scope. Its value is None where the governor failed.
CONTEXT: Final = "traffic_control"


@final
class RequestContext(msgspec.Struct, eq=False):
    """A request that the middleware has seen. A record, which is made without a call of Python."""

    controller: AdmissionController
    observer: ResponseObserver
    _key: KeyFunction | None
    _client: Client | None = UNKNOWN

    async def client(self, scope: Scope) -> Client | None:
        """The client, by the key function, which is called once for each request; None if no limit applies."""
        if self._key is not None:
            key, self._key = self._key, None
            self._client = await key(scope)
        return self._client
