"""Client side of the governor: permits for threads and other event loops, and HTTP clients that take them.

The inbound middleware of `governor.asgi` can be imported from here too. Each name is loaded on first use, so that a server that
only wants the middleware loads no HTTP client, and a program that only makes calls loads no server code.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from governor.asgi import Client, EndpointLimit, TrafficControlMiddleware, TrafficControlWSGIMiddleware, limit
    from governor_client._client import TrafficControlledHttpClient
    from governor_client._estimate import Estimate, Estimator
    from governor_client._instrument import Instrumentation, instrument
    from governor_client._keys import model_of
    from governor_client._meter import estimate_with
    from governor_client._options import CallOptions
    from governor_client._permits import GovernorClient
    from governor_client._request import Request
    from governor_client._wait import Wait, wait_at_most
    from governor_client.httpx2 import AsyncGovernedTransport, GovernedTransport
else:
    _MODULES: Final = {
        "AsyncGovernedTransport": "governor_client.httpx2",
        "CallOptions": "governor_client._options",
        "Client": "governor.asgi",
        "EndpointLimit": "governor.asgi",
        "Estimate": "governor_client._estimate",
        "Estimator": "governor_client._estimate",
        "GovernedTransport": "governor_client.httpx2",
        "GovernorClient": "governor_client._permits",
        "Instrumentation": "governor_client._instrument",
        "Request": "governor_client._request",
        "TrafficControlMiddleware": "governor.asgi",
        "TrafficControlWSGIMiddleware": "governor.asgi",
        "TrafficControlledHttpClient": "governor_client._client",
        "Wait": "governor_client._wait",
        "estimate_with": "governor_client._meter",
        "instrument": "governor_client._instrument",
        "limit": "governor.asgi",
        "model_of": "governor_client._keys",
        "wait_at_most": "governor_client._wait",
    }

    def __getattr__(name: str) -> object:
        # Hidden from type checkers, which would otherwise accept any name.
        module = _MODULES.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(module), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "AsyncGovernedTransport",
    "CallOptions",
    "Client",
    "EndpointLimit",
    "Estimate",
    "Estimator",
    "GovernedTransport",
    "GovernorClient",
    "Instrumentation",
    "Request",
    "TrafficControlMiddleware",
    "TrafficControlWSGIMiddleware",
    "TrafficControlledHttpClient",
    "Wait",
    "estimate_with",
    "instrument",
    "limit",
    "model_of",
    "wait_at_most",
]
