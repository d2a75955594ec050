"""The governor, to be watched over HTTP: as a daemon, as an ASGI app, and as routes for an app that there is."""

from governor.daemon.app import create_app, routes

__all__ = ["create_app", "routes"]
