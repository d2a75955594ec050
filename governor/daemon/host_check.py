"""Middleware of the daemon: a check of the `Host` field, a limit on concurrent requests, and security headers.

A request with an unknown name in `Host` gets a 400. Without this check a page of another origin could point its own name to
this machine and read the responses ("DNS rebinding"). A request beyond the limit on concurrent requests gets a 503 at once;
`/health` has a reserve. A daemon that drains answers every request with 503, `/health` included, so that load balancers stop
sending requests.
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
#: An allowed host that matches every name.
ANY: Final = "*"

#: The maximum number of concurrent requests, including event streams.
MAX_REQUESTS: Final = 256
#: The number of additional concurrent requests for `/health`.
_HEALTH_RESERVE: Final = 32
_POLICY: Final = ("default-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "object-src 'none'")
#: Security headers of every response: browsers load nothing inline and nothing from other origins, and no other origin can
#: frame or read the page.
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "; ".join(_POLICY),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Drain:
    """The drain of a daemon before it exits. `begun` is set once, and never reset."""

    __slots__ = ("begun",)

    def __init__(self) -> None:
        self.begun = anyio.Event()


class HostCheck:
    """ASGI middleware. `allowed_hosts` are names without ports; `hint` names the setting that allows more of them."""

    def __init__(self, app: ASGIApp, *, allowed_hosts: Iterable[str], drain: Drain, hint: str) -> None:
        self._app = app
        self._hint = hint
        self._hosts = frozenset(host.lower() for host in allowed_hosts)
        self._drain = drain
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        denial = self._denial(scope)
        self._requests += 1
        try:
            await (denial or self._app)(scope, receive, _with_headers(send))
        finally:
            self._requests -= 1

    def _denial(self, scope: Scope) -> Response | None:
        if not self._is_allowed_host(scope):
            return problem(HTTPStatus.BAD_REQUEST, f"The name in Host is not allowed; {self._hint} allows more names.")
        if self._drain.begun.is_set():
            return unavailable("The daemon is shutting down.", {"Connection": "close"})
        reserve = _HEALTH_RESERVE if scope["path"] == f"{scope.get('root_path', '')}/health" else 0
        if self._requests >= MAX_REQUESTS + reserve:
            return unavailable(f"{MAX_REQUESTS} requests are in progress, which is the maximum.")
        return None

    def _is_allowed_host(self, scope: Scope) -> bool:
        names = [value for name, value in scope["headers"] if name == b"host"]
        return ANY in self._hosts or (len(names) == 1 and _without_port(names[0].decode("latin-1")).lower() in self._hosts)


def _without_port(host: str) -> str:
    """Removes the port: `[::1]` for `[::1]:8787`."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() and not name.endswith(":") else host


def _with_headers(send: Send) -> Send:
    """Wraps `send` to add the security headers to the response."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers
