"""Applications under a root path, behind the servers and frameworks that put it in different places."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from governor import Config, Governor
from governor.testing import ManualClock
from governor_client import TrafficControlMiddleware
from tests.support.servers import in_hypercorn, statuses

pytestmark = [pytest.mark.promise("R20", "R23"), pytest.mark.filterwarnings("ignore:The `root_path` parameter")]

Serve = Callable[..., Any]

INBOUND: Final[Mapping[str, object]] = {
    "login": {"paths": ["/api/login"], "limits": ["2/day burst 2"]},
    "feed": {"paths": ["/api/feed"], "limits": ["4/day burst 4"]},
}
#: Statuses of so many requests that nothing limits, of a group of 2, of one of 4, and of the default of 3.
FREE, LOGIN, FEED, DEFAULT = 6 * [200], 2 * [200] + 4 * [429], 4 * [200] + 2 * [429], 3 * [200] + 3 * [429]


def test_uvicorn_puts_the_root_path_in_front(serve: Serve) -> None:
    served = serve({"limits": ["3/day burst 3"]}, clock=ManualClock(), root_path="/svc", **INBOUND)

    assert (FREE, LOGIN, FEED, DEFAULT) == tuple(
        served.statuses(6, path) for path in ("/health", "/api/login", "/api/feed", "/svc/health")
    )


def everything(request: Request) -> PlainTextResponse:
    return PlainTextResponse("yes")


def settings() -> Config:
    return Config.from_mapping({"inbound": {"default": {"limits": ["3/day burst 3"]}, **INBOUND}})


def test_hypercorn_leaves_it_away_and_a_client_that_writes_it_gains_nothing() -> None:
    governor = Governor(settings(), clock=ManualClock())
    app = TrafficControlMiddleware(Starlette(routes=[Route("/{rest:path}", everything)]), governor)
    with governor, in_hypercorn(app, root_path="/svc") as port:
        plain = [statuses(port, 6, path, x_actor="a") for path in ("/health", "/api/login", "/api/feed", "/x")]
        prefixed = [statuses(port, 6, path, x_actor="b") for path in ("/svc/health", "/svc/api/login", "/svc/api/feed")]
        twice = statuses(port, 6, "/svc/svc/health", x_actor="b")

    assert ([FREE, LOGIN, FEED, DEFAULT], [FREE, LOGIN, FEED], DEFAULT) == (plain, prefixed, twice)


@pytest.mark.parametrize("wrapped", [True, False], ids=["around the application", "added to it"])
def test_fastapi_says_it_by_itself(serve: Serve, wrapped: bool) -> None:
    governor = Governor(settings(), clock=ManualClock())
    app = FastAPI(root_path="/svc")
    app.add_route("/{rest:path}", everything)
    if not wrapped:
        app.add_middleware(TrafficControlMiddleware, governor=governor)
    with governor, in_hypercorn(TrafficControlMiddleware(app, governor) if wrapped else app) as port:
        plain = [statuses(port, 6, path, x_actor="a") for path in ("/health", "/api/login", "/x")]
        prefixed = [statuses(port, 6, path, x_actor="b") for path in ("/svc/health", "/svc/api/login", "/svc/api/feed")]

    assert ([FREE, LOGIN, DEFAULT], [FREE, LOGIN, FEED]) == (plain, prefixed)


def test_a_mount_is_no_root_path_and_keeps_its_own() -> None:
    governor = Governor(settings(), clock=ManualClock())
    inner = Starlette(
        routes=[Route("/{rest:path}", everything)], middleware=[Middleware(TrafficControlMiddleware, governor=governor)]
    )
    with governor, in_hypercorn(Starlette(routes=[Mount("/api", inner), Mount("/", inner)]), root_path="/svc") as port:
        within = [statuses(port, 6, path, x_actor="a") for path in ("/api/login", "/svc/api/feed", "/api/health")]
        outside = statuses(port, 6, "/login", x_actor="b")

    assert ([LOGIN, FEED, DEFAULT], DEFAULT) == (within, outside)
