"""What can be asked over HTTP?

Reading only. The same routes as an app of its own, and to mount into another one.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
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
from starlette.responses import Response
from starlette.routing import Route

from governor import Governor
from governor.clock import wall_clock
from governor.daemon import figures, openapi, pages
from governor.daemon.documents import Health
from governor.daemon.doorway import LOOPBACK_NAMES, Doorway, Drain
from governor.daemon.feed import MOST_LISTENERS, Feed
from governor.daemon.problems import on_http_exception, problem, unavailable
from governor.daemon.reading import Unreadable, read_statistics, read_status
from governor.daemon.stream import EventStream, EventStreamHead

API: Final = "/api/v1/traffic-control"

#: What to exempt where these pages are mounted: a path, or with a slash at its end everything beneath it as well. Only these,
#: as an application may have other routes under the same prefix.
_PAGES: Final = ("", "/dashboard/", "/health", "/openapi.json", "/metrics", f"{API}/")
#: So many such paths are exempt at most, which is enough for 16 mounts.
_MAX_OWN_PAGES: Final = 16 * len(_PAGES)

Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(
    governor: Governor,
    *,
    allowed_hosts: Iterable[str] = LOOPBACK_NAMES,
    drain: Drain | None = None,
    hint: str = "`allowed_hosts` of `create_app`",
) -> Starlette:
    """The daemon as an ASGI app. Its lifespan runs the governor, unless that runs already.

    `allowed_hosts` are the names, without ports, under which it may be asked; `*` stands for any. Once `drain` has begun, what
    comes is answered 503. `hint` says, in the answer to a request with another name, where names are added. Where another app
    mounts this one, that other runs the governor.
    """
    drain = drain or Drain()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if governor.alive():
            yield
        else:
            async with governor:
                yield

    return Starlette(
        routes=_Endpoints(governor, drain).routes(),
        middleware=[Middleware(Doorway, allowed_hosts=allowed_hosts, drain=drain, hint=hint)],
        exception_handlers={HTTPException: on_http_exception},
        lifespan=lifespan,
    )


def routes(governor: Governor) -> list[Route]:
    """The same to mount into an app: `Mount("/governor", routes=routes(governor))`.

    The app runs the governor, and answers for the hosts by which it is called and the paths that there are not.
    """
    return _Endpoints(governor, Drain()).routes()


def _mounted_at(request: Request) -> str:
    """The path under which an application has mounted these pages; empty if they are at its root."""
    root, of_server = str(request.scope.get("root_path", "")), str(request.scope.get("app_root_path", ""))
    return root.removeprefix(of_server) if root.startswith(of_server) and "app_root_path" in request.scope else ""


def _available(endpoint: Endpoint, governor: Governor) -> Endpoint:
    """The same, but 503 while the governor cannot be read. Where it is mounted, its pages are exempt from inbound limits."""

    @wraps(endpoint)
    async def answer(request: Request) -> Response:
        mount = _mounted_at(request)
        if mount and f"{mount}/health" not in governor.inbound.own_pages and len(governor.inbound.own_pages) < _MAX_OWN_PAGES:
            governor.inbound.own_pages |= {f"{mount}{page}" for page in _PAGES}
        try:
            return await endpoint(request)
        except Unreadable as reason:
            return unavailable(f"There is nothing to see: {reason}.")

    return answer


def _json(document: object) -> Response:
    return Response(msgspec.json.encode(document), headers={"Cache-Control": "no-store"}, media_type="application/json")


class _Endpoints:
    """What is asked, and what it takes to answer."""

    def __init__(self, governor: Governor, drain: Drain) -> None:
        self._governor = governor
        self._drain = drain
        self._feed = Feed(governor)

    def routes(self) -> list[Route]:
        endpoints: dict[str, Endpoint] = {
            "/": pages.index,
            "/dashboard/{file}": pages.asset,
            "/health": self.health,
            "/openapi.json": self.openapi,
            "/metrics": self.prometheus,
            f"{API}/status": self.status,
            f"{API}/metrics/{{scope}}": self.metrics,
            f"{API}/events": self.events,
        }
        return [Route(path, _available(endpoint, self._governor)) for path, endpoint in endpoints.items()]

    async def health(self, request: Request) -> Response:
        """Does the governor run? No as well for a daemon that is about to end: nobody should send it anything any more."""
        if not self._governor.alive():
            raise Unreadable("the governor does not run")
        return _json(Health())

    async def openapi(self, request: Request) -> Response:
        """What can be asked."""
        return _json(openapi.document(server=request.scope.get("root_path", "") or "/"))

    async def status(self, request: Request) -> Response:
        """How everything stands."""
        return _json(await read_status(self._governor))

    async def metrics(self, request: Request) -> Response:
        """How one scope stands, or all those of a provider."""
        name = str(request.path_params["scope"])
        statistics = await read_statistics(self._governor, figures.scope_named(name))
        report = figures.report(statistics, name, wall_clock())
        if report is None:
            return problem(HTTPStatus.NOT_FOUND, f"There is no scope {name!r}, or nobody has used it yet.")
        return _json(report)

    async def events(self, request: Request) -> Response:
        """What happens, as it happens."""
        if not self._governor.alive():
            raise Unreadable("the governor does not run")
        if request.method == "HEAD":
            return EventStreamHead()
        listener = self._feed.join()
        if listener is None:
            return unavailable(f"{MOST_LISTENERS} listen already, which is as many as allowed.")
        return EventStream(self._feed, listener, self._drain)

    async def prometheus(self, request: Request) -> Response:
        """The same figures for Prometheus."""
        try:
            from governor.daemon.prometheus import expose
        except ImportError:
            return problem(
                HTTPStatus.NOT_IMPLEMENTED,
                "This needs the package prometheus-client: pip install 'traffic-governor[prometheus]'.",
            )
        governor = self._governor
        statistics = await read_statistics(governor)
        accept = request.headers.get("accept", "")
        text = partial(expose, statistics, governor.config, started_at=governor.started_at, accept=accept)
        # On a thread: with many scopes it takes longer than the event loop can be held up.
        body, content_type = await anyio.to_thread.run_sync(text)
        return Response(body, headers={"Cache-Control": "no-store", "Content-Type": content_type})
