"""The inbound group and routes of a request, by its path and method.

Compiled where a compiler is; `routing.pxd` has the fields.
"""

from typing import Final, final

from governor.asgi.types import Scope
from governor.config import Config
from governor.config.paths import PathMatch, Paths

#: What is found of a path that is not known.
_UNKNOWN: Final = PathMatch("")


@final
class Router:
    """Matches requests under one configuration.

    `own_pages` are the paths of the governor's own pages, which are exempt. `root` is the root path that the application itself
    uses instead of that of the server.
    """

    __slots__ = ("_paths", "_root", "known")

    def __init__(self, config: Config, own_pages: frozenset[str], root: str = "") -> None:
        self._paths = Paths(config.inbound, (*config.inbound_settings.exempt_paths, *own_pages))
        #: What was found of paths as the application sees them, where it has no root path of its own.
        self.known = self._paths.known
        self._root = root

    def match(self, scope: Scope) -> PathMatch | None:
        """The group of a request, with its routes; None if the request is exempt."""
        path = scope["path"]
        # Known paths without a root path are looked up here, to save a call. None is known where the application has its own.
        mounted = scope.get("root_path") or "app_root_path" in scope
        match = _UNKNOWN if mounted else self.known.get(path, _UNKNOWN)
        if match is _UNKNOWN:
            # That of the server. In a mounted application, Starlette appends the path of the mount to `root_path`.
            root: object = self._root or scope.get("app_root_path", scope.get("root_path"))
            match = self._paths.find(path, root if isinstance(root, str) else "")
        if match is not None and scope.get("method") == "OPTIONS" and _is_preflight(scope):
            return None
        return match


def _is_preflight(scope: Scope) -> bool:
    """Whether this OPTIONS is a CORS preflight. Browsers send those by themselves, and they are not limited."""
    names = {name for name, _ in scope["headers"]}
    return b"origin" in names and b"access-control-request-method" in names
