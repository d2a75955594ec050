"""The governor from anywhere: permits for threads and other loops, HTTP clients and transports, and ASGI middleware."""

from governor_client._client import TrafficControlledHttpClient
from governor_client._clients import Client
from governor_client._limit import EndpointLimit, limit
from governor_client._middleware import TrafficControlMiddleware
from governor_client._options import CallOptions
from governor_client._permits import GovernorClient
from governor_client._transport import AsyncGovernedTransport, GovernedTransport
from governor_client._wsgi import TrafficControlWSGIMiddleware

__all__ = [
    "AsyncGovernedTransport",
    "CallOptions",
    "Client",
    "EndpointLimit",
    "GovernedTransport",
    "GovernorClient",
    "TrafficControlMiddleware",
    "TrafficControlWSGIMiddleware",
    "TrafficControlledHttpClient",
    "limit",
]
