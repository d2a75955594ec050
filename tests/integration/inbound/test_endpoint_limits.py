"""`limit` on endpoints of FastAPI and Starlette, as a decorator and as a dependency."""

import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any, Literal

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from governor import Config, ConfigError, Governor, Reason, UsageError
from governor._actors import asking
from governor.testing import ManualClock
from governor_client import Client, TrafficControlMiddleware, limit
from tests.support.leases import standing_still

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of httpx2, which it would rather have in its second version
    from starlette.testclient import TestClient, WebSocketDenialResponse

pytestmark = pytest.mark.promise("R21", "R22", "R27")

Started = Callable[..., TestClient]


@pytest.fixture
def governor() -> Iterator[Governor]:
    """On a thread of its own: the application asks from its own loop."""
    config = Config.from_mapping(
        {"inbound": {"exempt_paths": ["/free"], "default": {"limits": ["50/day"], "address_limits": []}}}
    )
    with Governor(config, clock=ManualClock()) as governor:
        yield governor


@pytest.fixture
def start(governor: Governor) -> Iterator[Started]:
    clients = []

    def start(app: Any, **options: Any) -> TestClient:
        client = TestClient(TrafficControlMiddleware(app, governor, **options))
        clients.append(client)
        return client.__enter__()

    yield start
    for client in clients:
        client.__exit__()


def statuses(client: TestClient, path: str, times: int = 3, actor: str = "ann") -> list[int]:
    return [client.get(path, headers={"x-actor": actor}).status_code for _ in range(times)]


def fastapi() -> FastAPI:
    app = FastAPI()
    shared = limit("2/day")

    @app.get("/async")
    @limit("2/day")
    async def asynchronous(number: int = 0) -> int:
        return number

    @app.get("/sync")
    @limit("2/day")
    def synchronous(request: Request, number: Annotated[int, Depends(lambda: 7)]) -> int:
        return number

    @app.get("/depends", dependencies=[Depends(limit("2/day", name="Depends"))])
    async def depends() -> str:
        return "yes"

    @app.get("/one", dependencies=[Depends(shared)])
    def one() -> str:
        return "yes"

    @app.get("/two")
    async def two(limited: Annotated[None, Depends(shared)]) -> str:
        return "yes"

    router = APIRouter(dependencies=[Depends(limit("2/day"))])
    router.add_api_route("/routed/{number}", asynchronous_plain)
    app.include_router(router)
    return app


async def asynchronous_plain(number: int) -> int:
    return number


def starlette() -> Starlette:
    class Page(HTTPEndpoint):
        @limit("2/day")
        async def get(self, request: Request) -> Response:
            return PlainTextResponse("yes")

    @limit("2/day")
    async def asynchronous(request: Request) -> Response:
        return PlainTextResponse("yes")

    @limit("2/day")
    def synchronous(request: Request) -> Response:
        return PlainTextResponse("yes")

    return Starlette(routes=[Route("/async", asynchronous), Route("/sync", synchronous), Route("/page", Page)])


@pytest.mark.parametrize(
    ("make", "path"),
    [
        *((fastapi, path) for path in ("/async", "/sync", "/depends", "/one", "/two", "/routed/1")),
        *((starlette, path) for path in ("/async", "/sync", "/page")),
    ],
)
def test_each_client_has_the_limit_of_the_endpoint(start: Started, make: Callable[[], Any], path: str) -> None:
    client = start(make())
    denied = [client.get(path, headers={"x-actor": "ann"}) for _ in range(3)][-1]

    assert (429, "43200", "application/problem+json") == (
        denied.status_code,
        denied.headers["retry-after"],
        denied.headers["content-type"],
    )
    assert ("rate_limit_exceeded", 43200, True) == (
        denied.json()["error"],
        denied.json()["retry_after_seconds"],
        denied.headers["ratelimit-policy"].startswith('"client";q=2;w=86400;pk='),
    )
    assert [200, 200, 429] == statuses(client, path, actor="bob")
    assert [404] == statuses(client, "/nothing", 1)


@pytest.mark.promise("R24")
def test_by_address_the_names_that_a_client_claims_give_it_nothing(start: Started) -> None:
    app = FastAPI()

    @app.get("/login")
    @limit("3/day", by="address")
    async def log_in() -> str:
        return "welcome"

    client = start(app, key=lambda scope: Client(None, cost=1) if scope["query_string"] else Client("carl", cost=2))

    assert [200, 200, 429, 429] == [
        *statuses(client, "/login?", 1, actor="ann"),
        *statuses(client, "/login?name", 1, actor="bob"),
        *statuses(client, "/login?name", 1, actor="eve"),
        *statuses(client, "/login", 1),
    ]


def test_one_object_is_one_limit_and_two_are_two(start: Started, governor: Governor) -> None:
    client = start(fastapi())

    assert ([200], [200, 429], [200]) == (
        statuses(client, "/one", 1),
        statuses(client, "/two", 2),
        statuses(client, "/async", 1),
    )
    assert {"endpoint:one", "endpoint:asynchronous"} <= set(governor.statistics().groups)


def test_endpoints_get_what_they_ask_for_and_documents_show_nothing_of_it(start: Started) -> None:
    client = start(fastapi())

    assert (7, 5) == (client.get("/sync").json(), client.get("/async?number=5").json())
    assert ["number"] == [one["name"] for one in client.get("/openapi.json").json()["paths"]["/async"]["get"]["parameters"]]


def test_a_changed_configuration_keeps_the_limits_of_endpoints(start: Started, governor: Governor) -> None:
    client = start(fastapi())
    before = statuses(client, "/async", 2)
    governor.reconfigure(Config.from_mapping({"inbound": {"default": {"limits": ["40/day"]}}}))

    assert ([200, 200], [429]) == (before, statuses(client, "/async", 1))


def test_an_exempt_path_has_the_limit_of_its_endpoint_and_an_exempt_client_has_none(start: Started) -> None:
    app = FastAPI()

    @app.get("/free")
    @limit("2/day")
    async def free() -> str:
        return "yes"

    client = start(app, key=lambda scope: None if b"root" in dict(scope["headers"]).values() else Client("x", cost=2))

    assert ([200, 429], [200] * 3) == (statuses(client, "/free", 2), statuses(client, "/free", 3, actor="root"))


def test_requests_in_flight_end_with_their_answers(start: Started, governor: Governor) -> None:
    app = FastAPI()
    inside: list[int] = []

    @app.get("/stream")
    @limit("1 in flight")
    async def stream(fail: bool = False) -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            actor = governor.inbound._actor("endpoint:stream")
            assert actor is not None
            inside.append(sum(map(len, actor._held.values())))
            yield b"yes"
            if fail:
                raise OSError("broken")

        return StreamingResponse(body())

    client = start(app)
    first = statuses(client, "/stream", 2)
    with pytest.raises(OSError, match="broken"):
        client.get("/stream?fail=true", headers={"x-actor": "ann"})

    assert ([200, 200], [200], [1, 1, 1, 1]) == (first, statuses(client, "/stream", 1), inside)


def test_a_websocket_is_denied_in_its_handshake(start: Started) -> None:
    app = FastAPI()

    @app.websocket("/talk")
    async def talk(websocket: WebSocket, limited: Annotated[None, Depends(limit("1/day"))]) -> None:
        await websocket.accept()
        await websocket.send_text("yes")

    client = start(app)
    with client.websocket_connect("/talk") as websocket:
        said = websocket.receive_text()
    with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/talk"):
        pass

    assert ("yes", 429) == (said, denied.value.status_code)


def test_a_refusal_comes_through_other_middleware_and_browsers_can_read_it(governor: Governor) -> None:
    async def through(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response

    app = fastapi()
    app.add_middleware(BaseHTTPMiddleware, dispatch=through)
    app.add_middleware(TrafficControlMiddleware, governor=governor)
    fields = ["Retry-After", "RateLimit", "RateLimit-Policy"]
    app.add_middleware(CORSMiddleware, allow_origins=["https://a.example"], expose_headers=fields)
    with TestClient(app) as client:
        denied = [client.get("/async", headers={"origin": "https://a.example"}) for _ in range(3)][-1]

    assert (429, "https://a.example", ", ".join(fields)) == (
        denied.status_code,
        denied.headers["access-control-allow-origin"],
        denied.headers["access-control-expose-headers"],
    )


@pytest.mark.promise("R25")
@pytest.mark.parametrize("used", [1, 0])
@pytest.mark.parametrize(("on_overload", "expected"), [("pass", (200, None)), ("deny", (503, "1"))])
def test_while_the_loop_of_the_governor_does_not_answer_on_overload_decides_and_nothing_is_spent(
    start: Started,
    governor: Governor,
    monkeypatch: pytest.MonkeyPatch,
    on_overload: Literal["pass", "deny"],
    expected: tuple[int, str | None],
    used: int,
) -> None:
    app = FastAPI()

    @app.get("/")
    @limit("2/day", on_overload=on_overload)
    async def endpoint() -> str:
        return "yes"

    client = start(app)
    before = statuses(client, "/", used)
    with monkeypatch.context() as patch, standing_still(governor):
        patch.setattr(asking, "_ANSWER_TIMEOUT", 0.01)
        answer = client.get("/", headers={"x-actor": "ann"})
    after = statuses(client, "/", 3 - used)
    group = governor.statistics().groups["endpoint:endpoint"]

    assert expected == (answer.status_code, answer.headers.get("retry-after"))
    assert [200, 200, 429] == before + after
    assert used == (group.unenforced or group.counters.denied.get(Reason.OVERLOADED, 0))


def test_without_the_middleware_it_says_what_is_missing() -> None:
    with TestClient(fastapi()) as client, pytest.raises(UsageError, match="TrafficControlMiddleware"):
        client.get("/async")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: limit(), "limits"),
        (lambda: limit("5"), r"limits\[0\]"),
        (lambda: limit("5 tokens/minute"), r"limits\[0\]"),
        (lambda: limit("5/minute", on_overload="refuse"), "on_overload"),  # type: ignore[arg-type]  # the mistake
        (lambda: limit("5/minute", by="adress"), "by is 'adress'; expected 'client' or 'address'"),  # type: ignore[arg-type]  # the mistake
        (lambda: limit("5/minute")(42), "decorates an endpoint"),
        (lambda: limit("5/minute")(generating), "dependency"),
    ],
)
def test_what_cannot_be_a_limit_is_rejected_when_it_is_made(make: Callable[[], object], what: str) -> None:
    with pytest.raises((ConfigError, UsageError), match=what):
        make()


def generating() -> Iterator[int]:
    yield 1


def test_limits_made_for_each_request_come_to_an_end(start: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("governor._actors.inbound.groups.MAX_ENDPOINTS", 100)

    async def endless(request: Request) -> Response:
        await limit("9/s")(request)
        return PlainTextResponse("yes")

    client = start(Starlette(routes=[Route("/", endless)]), key=lambda scope: dict(scope["headers"])[b"x-actor"])
    with pytest.raises(UsageError, match="make each once"):
        for number in range(200):
            client.get("/", headers={"x-actor": str(number)})
