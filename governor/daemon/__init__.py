"""HTTP API and dashboard of a governor: as a daemon, as an ASGI app, and as routes for an existing app.

Needs the extra `daemon`; without it, importing this package raises `ModuleNotFoundError` with the command that installs it.
"""

from governor.extras import missing

try:
    from governor.daemon.app import create_app, routes
except ModuleNotFoundError as error:
    raise missing("daemon", error) from error

__all__ = ["create_app", "routes"]
