"""Checks on every request, and headers of every response.

A foreign `Host` is rejected: another site could point its own name to this machine, and read what the browser then lets it read
("DNS rebinding"). At the maximum of requests in progress, further requests get a 503 at once; some places are reserved for
`/health`. While the daemon ends, all requests get that response, `/health` included, so that load balancers send no more.
"""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

import anyio
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from governor.daemon.problems import problem, unavailable

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
#: Among the allowed hosts: whatever they are called.
ANY: Final = "*"

#: Requests under way at a time, listeners to events included.
_MAX_REQUESTS: Final = 256
#: Requests for `/health` that may be under way beyond those.
_HEALTH_RESERVE: Final = 32
_POLICY: Final = ("default-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "object-src 'none'")
#: Headers for browsers: nothing from other origins, nothing inline, and no use by other origins.
SAFE: Final = {
    "Content-Security-Policy": "; ".join(_POLICY),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Drain:
    """Whether the daemon is about to end. `begun` is set once, and never reset."""

    __slots__ = ("begun",)

    def __init__(self) -> None:
        self.begun = anyio.Event()


class Doorway:
    """ASGI middleware around everything. `allowed_hosts` are names without ports; `hint` says in messages where to add one."""

    def __init__(self, app: ASGIApp, *, allowed_hosts: Iterable[str], drain: Drain, hint: str) -> None:
        self._app = app
        self._hint = hint
        self._hosts = frozenset(host.lower() for host in allowed_hosts)
        self._drain = drain
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        self._under_way += 1
        try:
            await (refusal or self._app)(scope, receive, _with_headers(send))
        finally:
            self._under_way -= 1

    def _refusal(self, scope: Scope) -> Response | None:
        if not self._is_ours(scope):
            return problem(HTTPStatus.BAD_REQUEST, f"The Host field names another host; {self._hint} allows more names.")
        if self._drain.begun.is_set():
            return unavailable("The daemon is shutting down.", {"Connection": "close"})
        reserve = _HEALTH_RESERVE if scope["path"] == f"{scope.get('root_path', '')}/health" else 0
        if self._under_way >= _MAX_REQUESTS + reserve:
            return unavailable(f"{_MAX_REQUESTS} requests are in progress, which is the maximum.")
        return None

    def _is_ours(self, scope: Scope) -> bool:
        names = [value for name, value in scope["headers"] if name == b"host"]
        return ANY in self._hosts or (len(names) == 1 and _without_port(names[0].decode("latin-1")).lower() in self._hosts)


def _without_port(host: str) -> str:
    """`[::1]` for `[::1]:8787`."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() and not name.endswith(":") else host


def _with_headers(send: Send) -> Send:
    """The same, with what must stand on every answer."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SAFE.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers
