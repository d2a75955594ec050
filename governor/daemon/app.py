"""The HTTP API and the dashboard, as an ASGI app of their own and as routes to mount into another app.

Everything is read-only, but for the actions behind an admin token.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial, wraps
from http import HTTPStatus
from typing import Final

import anyio
import anyio.to_thread
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from governor import Governor, GovernorState
from governor.cooperative import MAX_IN_STEP, Turns
from governor.daemon import openapi, pages, reports
from governor.daemon.actions import Actions
from governor.daemon.documents import Health, Status
from governor.daemon.encoding import encoded
from governor.daemon.feed import MAX_LISTENERS, Feed
from governor.daemon.host_check import LOOPBACK_NAMES, Drain, HostCheck
from governor.daemon.problems import on_http_exception, problem, unavailable
from governor.daemon.reading import Observer, Unreadable, read_statistics
from governor.daemon.recorder import recording
from governor.daemon.stream import EventStream, EventStreamHead

API: Final = "/api/v1/traffic-control"

#: Paths to exempt from inbound limits where these pages are mounted; with a slash at its end, everything beneath it too.
#: Only these, because the application may have other routes under the same prefix.
_PAGES: Final = ("", "/dashboard/", "/health", "/openapi.json", "/metrics", f"{API}/")
#: Exempt paths at most: enough for 16 mounts.
_MAX_OWN_PAGES: Final = 16 * len(_PAGES)

_NO_STORE: Final = {"Cache-Control": "no-store"}

Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(
    governor: Governor,
    *,
    allowed_hosts: Iterable[str] = LOOPBACK_NAMES,
    drain: Drain | None = None,
    hint: str = "`allowed_hosts` of `create_app`",
    admin_token: str | None = None,
) -> Starlette:
    """The daemon as an ASGI app. Its lifespan runs the governor, unless it runs already, and records the history.

    `allowed_hosts` are the names, without ports, that the `Host` field may have; `*` allows any. After `drain` has begun,
    every request gets a 503. `hint` completes the message about a host that is not allowed. With an `admin_token` of at least
    16 visible ASCII characters, requests that carry it may open and close circuit breakers and end degraded mode, and the
    dashboard has buttons for that; a shorter one raises `ConfigError`. Where another app mounts this one, that app runs the
    governor.
    """
    drain = drain or Drain()
    actions = None if admin_token is None else Actions(governor, admin_token)
    endpoints = _Endpoints(governor, drain, actions)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if governor.state is not GovernorState.RUNNING:
                await stack.enter_async_context(governor)
            stack.enter_context(recording(endpoints.observer))
            yield

    return Starlette(
        routes=endpoints.routes(),
        middleware=[Middleware(HostCheck, allowed_hosts=allowed_hosts, drain=drain, hint=hint)],
        exception_handlers={HTTPException: on_http_exception},
        lifespan=lifespan,
    )


def routes(governor: Governor, *, admin_token: str | None = None) -> list[Route]:
    """The pages of `create_app`, to mount into an app: `Mount("/governor", routes=routes(governor))`.

    That app runs the governor, checks hosts and answers unknown paths. The history then grows only while someone watches.
    `admin_token` allows actions, as in `create_app`.
    """
    actions = None if admin_token is None else Actions(governor, admin_token)
    return _Endpoints(governor, Drain(), actions).routes()


def _mounted_at(request: Request) -> str:
    """The path under which an application mounts these pages; empty at its root."""
    root, of_server = str(request.scope.get("root_path", "")), str(request.scope.get("app_root_path", ""))
    return root.removeprefix(of_server) if root.startswith(of_server) and "app_root_path" in request.scope else ""


def _available(endpoint: Endpoint, governor: Governor) -> Endpoint:
    """The endpoint, or a 503 while the governor cannot be read. Mounted pages are exempt from inbound limits."""

    @wraps(endpoint)
    async def answer(request: Request) -> Response:
        mount = _mounted_at(request)
        if mount and f"{mount}/health" not in governor.inbound.own_pages and len(governor.inbound.own_pages) < _MAX_OWN_PAGES:
            governor.inbound.add_own_pages(f"{mount}{page}" for page in _PAGES)
        try:
            return await endpoint(request)
        except Unreadable as reason:
            return unavailable(f"No status is available: {reason}.")

    return answer


def _json(document: object) -> Response:
    return Response(msgspec.json.encode(document), headers=_NO_STORE, media_type="application/json")


async def _pieces(status: Status) -> AsyncIterator[bytes]:
    turns = Turns()
    for piece in encoded(status):
        yield piece
        await turns.after_step()


class _Endpoints:
    """The endpoints of one governor."""

    def __init__(self, governor: Governor, drain: Drain, actions: Actions | None = None) -> None:
        self._governor = governor
        self._actions = actions
        self._drain = drain
        self.observer = Observer(governor, acts=actions is not None)
        self._feed = Feed(self.observer)

    def routes(self) -> list[Route]:
        endpoints: dict[str, Endpoint] = {
            "/": pages.index,
            "/dashboard/{file}": pages.asset,
            "/health": self.health,
            "/openapi.json": self.openapi,
            "/metrics": self.prometheus,
            f"{API}/status": self.status,
            f"{API}/metrics/{{scope:path}}": self.metrics,
            f"{API}/history": self.history,
            f"{API}/events": self.events,
        }
        actions = {} if self._actions is None else self._actions.endpoints()
        return [
            *(Route(path, _available(endpoint, self._governor)) for path, endpoint in endpoints.items()),
            *(
                Route(f"{API}{path}", _available(endpoint, self._governor), methods=["POST"])
                for path, endpoint in actions.items()
            ),
        ]

    async def health(self, request: Request) -> Response:
        """200 while the governor runs. A daemon that is about to end answers 503, so that load balancers stop sending."""
        if self._governor.state is not GovernorState.RUNNING:
            raise Unreadable("the governor does not run")
        return _json(Health())

    async def openapi(self, request: Request) -> Response:
        """The OpenAPI document."""
        return _json(openapi.document(server=request.scope.get("root_path", "") or "/", actions=self._actions is not None))

    async def status(self, request: Request) -> Response:
        """The whole status; with many scopes in pieces."""
        status = await self.observer.status()
        if len(status.scopes) <= MAX_IN_STEP:
            return _json(status)
        return StreamingResponse(_pieces(status), headers=_NO_STORE, media_type="application/json")

    async def metrics(self, request: Request) -> Response:
        """One scope or group, or all scopes of a provider."""
        name = str(request.path_params["scope"])
        statistics = await read_statistics(self._governor, reports.scope_named(name))
        report = reports.report(statistics, name)
        if report is None:
            return problem(HTTPStatus.NOT_FOUND, f"There is no scope {name!r}, or it has not been used yet.")
        return _json(report)

    async def history(self, request: Request) -> Response:
        """The last hour, of all outbound scopes together and of the `scope` in the query."""
        if self._governor.state is not GovernorState.RUNNING:
            raise Unreadable("the governor does not run")
        return _json(self.observer.history.report(request.query_params.get("scope")))

    async def events(self, request: Request) -> Response:
        """Server-sent events."""
        if self._governor.state is not GovernorState.RUNNING:
            raise Unreadable("the governor does not run")
        if request.method == "HEAD":
            return EventStreamHead()
        listener = self._feed.join()
        if listener is None:
            return unavailable(f"All {MAX_LISTENERS} places for listeners are taken.")
        return EventStream(self._feed, listener, self._drain)

    async def prometheus(self, request: Request) -> Response:
        """The metrics for Prometheus."""
        try:
            from governor.daemon.prometheus import expose
        except ImportError:
            return problem(
                HTTPStatus.NOT_IMPLEMENTED,
                "This needs the package prometheus-client: pip install 'traffic-governor[prometheus]'.",
            )
        statistics = await read_statistics(self._governor)
        text = partial(expose, statistics, accept=request.headers.get("accept", ""))
        # In a thread: with many scopes it takes longer than the event loop can be held up.
        body, content_type = await anyio.to_thread.run_sync(text)
        return Response(body, headers={**_NO_STORE, "Content-Type": content_type})
