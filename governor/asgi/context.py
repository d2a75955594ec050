"""What the middleware knows of a request. It leaves that in the scope, for limits on single endpoints."""

from typing import Final, final

from governor.asgi.admission import AdmissionController
from governor.asgi.client import UNKNOWN, Client, KeyFunction
from governor.asgi.observer import ResponseObserver
from governor.asgi.types import Scope

#: The key of the scope. Its value is None where the governor failed.
CONTEXT: Final = "traffic_control"


@final
class RequestContext:
    """A request that the middleware has seen."""

    __slots__ = ("_client", "_key", "controller", "observer")

    def __init__(self, controller: AdmissionController, key: KeyFunction | None, observer: ResponseObserver) -> None:
        self.controller = controller
        self.observer = observer
        self._key = key
        self._client: Client | None = UNKNOWN

    async def client(self, scope: Scope) -> Client | None:
        """The client, by the key function, which is called once for each request; None if no limit applies."""
        if self._key is not None:
            key, self._key = self._key, None
            self._client = await key(scope)
        return self._client
