"""WSGI applications behind a real server: the same identities and answers, and the end of each request."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, nullcontext
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.validate import validator

import flask
import pytest

from governor import Config, Governor
from governor.testing import ManualClock
from governor_client import Client, TrafficControlWSGIMiddleware
from tests.support.servers import Answer, ask, statuses
from tests.support.waits import PATIENCE

pytestmark = pytest.mark.promise("R21", "R22", "R27")

Serve = Callable[..., "Served"]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = False


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


class Served:
    def __init__(self, port: int, governor: Governor, middleware: TrafficControlWSGIMiddleware) -> None:
        self.port = port
        self.governor = governor
        self.middleware = middleware

    def ask(self, path: str = "/", method: str = "GET", **headers: str) -> Answer:
        return ask(self.port, path, {name.replace("_", "-"): value for name, value in headers.items()}, method)

    def statuses(self, times: int, path: str = "/", **headers: str) -> list[int]:
        return statuses(self.port, times, path, **headers)


def hello() -> flask.Flask:
    app = flask.Flask("hello")
    app.add_url_rule("/<path:rest>", view_func=lambda rest: "yes", endpoint="rest", methods=["GET", "POST"])
    app.add_url_rule("/", view_func=lambda: "yes", endpoint="root", methods=["GET", "OPTIONS"])
    return app


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(default: dict[str, object] | None = None, app: Any = None, **options: Any) -> Served:
            inbound = {"default": {"limits": ["1/day burst 2"], **(default or {})}, **options.pop("inbound", {})}
            governor = stack.enter_context(Governor(Config.from_mapping({"inbound": inbound}), clock=ManualClock()))
            middleware = TrafficControlWSGIMiddleware(app or hello().wsgi_app, governor, **options)
            checked: Any = validator(middleware)
            server = stack.enter_context(make_server("127.0.0.1", 0, checked, server_class=_Server, handler_class=_Quiet))
            thread = threading.Thread(target=server.serve_forever, args=[0.01])
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return Served(server.server_port, governor, middleware)

        yield start


def test_each_client_has_its_limit_and_a_refusal_is_that_of_the_other_middleware(serve: Serve) -> None:
    served = serve()
    served.statuses(2, X_Actor="ann")
    denied = served.ask(X_Actor="ann")
    problem = json.loads(denied.body)

    assert (429, "86400", "application/problem+json", '"client";r=0;t=86400') == (
        denied.status,
        denied.headers["Retry-After"],
        denied.headers["Content-Type"],
        denied.headers["RateLimit"],
    )
    assert ("rate_limit_exceeded", 86400) == (problem["error"], problem["retry_after_seconds"])
    assert ([200, 200, 429], b"") == (served.statuses(3, X_Actor="bob"), served.ask(method="HEAD", X_Actor="bob").body)


@pytest.mark.promise("R20", "R23")
def test_paths_routes_exemptions_and_preflights_are_as_for_asgi(serve: Serve) -> None:
    route = {"paths": ["/users/{id}/export"], "limits": ["1/day burst 1"], "methods": ["POST"]}
    served = serve(
        {"limits": ["1/day burst 9"], "routes": [route]}, inbound={"shop": {"paths": ["/shop"], "limits": ["1/day"]}}
    )
    preflight = {"Origin": "https://a.example", "Access_Control_Request_Method": "POST"}

    assert ([200] * 12, [200, 429]) == (served.statuses(12, "/health"), served.statuses(2, "/sh%6Fp/%C3%A4"))
    assert [200, 429, 200] == [
        served.ask(f"/users/{number}/export", method).status for number, method in enumerate(["POST", "POST", "GET"])
    ]
    assert [200] * 12 == [served.ask(method="OPTIONS", **preflight).status for _ in range(12)]


@pytest.mark.promise("R24", "R27")
def test_the_names_that_a_client_claims_give_it_nothing_on_a_route_by_address(serve: Serve) -> None:
    route = {"paths": ["/login"], "limits": ["1/day burst 2"], "by": "address", "name": "login"}
    served = serve({"limits": ["1/day burst 9"], "routes": [route]}, inbound={"announce": True})
    replies = [served.ask("/login", X_Actor=name) for name in ("ann", "bob", "eve")]

    assert [200, 200, 429] == [reply.status for reply in replies]
    assert ['"login";r=1;t=86400', '"login";r=0;t=172800'] == [reply.headers["RateLimit"] for reply in replies[:2]]
    assert b"this address in" in replies[2].body


def test_the_application_says_who_a_client_is(serve: Serve) -> None:
    async def never(environ: Any) -> str:
        return "alice"

    served = serve(key=lambda environ: Client(environ["HTTP_X_KEY"], cost=2) if "HTTP_X_KEY" in environ else None)
    asynchronous = serve(key=never)

    assert ([200, 429], [200] * 3) == (served.statuses(2, X_Key="a"), served.statuses(3))
    assert [200, 200, 429, 200] == [asynchronous.ask(X_Actor=actor).status for actor in ("ann", "ann", "ann", "bob")]


def test_quotas_are_announced_and_a_dry_run_denies_nothing(serve: Serve) -> None:
    served = serve({"dry_run": True}, inbound={"announce": True})
    replies = [served.ask() for _ in range(3)]

    assert [(200, '"client";r=1;t=86400'), (200, '"client";r=0;t=172800'), (200, '"client";r=0;t=86400')] == [
        (reply.status, reply.headers["RateLimit"]) for reply in replies
    ]


def test_a_request_is_in_flight_until_its_answer_is_closed(serve: Serve) -> None:
    inside, go = threading.Event(), threading.Event()
    closed: list[bool] = []

    class Pieces:
        def __iter__(self) -> Iterator[bytes]:
            yield b"a"
            inside.set()
            assert go.wait(PATIENCE)
            yield b"b"

        def close(self) -> None:
            closed.append(True)

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Pieces()

    served = serve({"limits": ["1 in flight"]}, app=app)
    replies: list[Answer] = []
    thread = threading.Thread(target=lambda: replies.append(served.ask()))
    thread.start()
    assert inside.wait(PATIENCE)
    meanwhile = served.ask()
    go.set()
    thread.join()
    afterwards = served.statuses(2)

    assert ((429, "1"), b"ab", [200, 200]) == (
        (meanwhile.status, meanwhile.headers["Retry-After"]),
        replies[0].body,
        afterwards,
    )
    assert [True] * 3 == closed


@pytest.mark.parametrize("end", ["fails early", "fails late", "is dropped"])
def test_a_response_that_fails_or_is_dropped_unclosed_gives_its_place_back(end: str) -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        if end == "fails early":
            raise OSError("broken")
        start_response("500 Internal Server Error", [])
        return broken() if end == "fails late" else [b"a"]

    def broken() -> Iterator[bytes]:
        yield b"a"
        raise OSError("broken")

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_ADDR": "192.0.2.1"}
    config = Config.from_mapping({"inbound": {"default": {"limits": ["1 in flight"]}}})
    with Governor(config, clock=ManualClock()) as governor:
        middleware = TrafficControlWSGIMiddleware(app, governor)
        for _ in range(3):
            with nullcontext() if end == "is dropped" else pytest.raises(OSError, match="broken"):
                list(middleware(dict(environ), lambda *arguments: print))
        counters = governor.statistics().groups["default"].counters

    assert (3, 3) == (counters.requests, counters.failures + counters.answered_5xx)


def test_while_it_drains_and_without_its_governor_only_exempt_paths_are_answered(serve: Serve) -> None:
    served = serve()
    served.middleware.draining = True
    draining = served.ask().status, served.ask("/health").status
    served.middleware.draining = False
    served.governor.__exit__(None, None, None)

    assert ((503, 200), (503, 200)) == (draining, (served.ask().status, served.ask("/health").status))
