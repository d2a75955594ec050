"""Inbound traffic control for ASGI and WSGI applications: middleware, and limits on single endpoints."""

from governor.asgi.client import Client
from governor.asgi.endpoint_limit import EndpointLimit, limit
from governor.asgi.middleware import TrafficControlMiddleware
from governor.asgi.wsgi import TrafficControlWSGIMiddleware

__all__ = [
    "Client",
    "EndpointLimit",
    "TrafficControlMiddleware",
    "TrafficControlWSGIMiddleware",
    "limit",
]
