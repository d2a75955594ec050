"""Answers of the app, and the hosts that it allows."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import httpx2
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from governor import Config, Governor, GovernorState
from governor.daemon import create_app, host_check, routes
from governor.daemon.feed import Feed
from governor.daemon.host_check import Drain
from governor.testing import ManualClock
from tests.support.waits import PATIENCE

pytestmark = pytest.mark.anyio

API: Final = "/api/v1/traffic-control"
PATHS: Final = (
    "/",
    "/dashboard/app.js",
    "/health",
    "/openapi.json",
    "/metrics",
    f"{API}/status",
    f"{API}/metrics/inbound:chat",
    f"{API}/events",
)
PROBLEM: Final = "application/problem+json"
BUSY: Final = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"


def client_of(app: Starlette) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://localhost")


@asynccontextmanager
async def watched(*, drain: Drain | None = None) -> AsyncIterator[tuple[Governor, httpx2.AsyncClient]]:
    governor = Governor(Config.from_mapping({}), clock=ManualClock())
    async with governor, client_of(create_app(governor, drain=drain)) as client:
        # Events do not end by themselves where they are let through by mistake.
        with anyio.fail_after(PATIENCE):
            yield governor, client


def told(response: httpx2.Response) -> dict[str, object]:
    """The problem that an answer is, without its words for people."""
    assert PROBLEM == response.headers["content-type"]
    problem: dict[str, object] = response.json()
    assert {"type", "title", "status", "detail"} == set(problem)
    assert response.status_code == problem["status"]
    return problem


@pytest.mark.promise("R30", "R31")
async def test_status_and_metrics_are_documents_in_json() -> None:
    async with watched() as (governor, client):
        governor.try_permit("github", "GET")
        status = await client.get(f"{API}/status")
        scope = await client.get(f"{API}/metrics/github:get")
        provider = await client.get(f"{API}/metrics/github")

    assert ["application/json"] * 3 == [answer.headers["content-type"] for answer in (status, scope, provider)]
    assert ("success", ["github:get"]) == (status.json()["status"], status.json()["outbound_scopes"])
    assert ("outbound:github:get", False) == (scope.json()["scope"], "aggregated_from" in scope.json())
    assert ["outbound:github:get"] == provider.json()["aggregated_from"]


@pytest.mark.promise("R31")
async def test_a_bare_name_is_that_of_a_provider_else_that_of_a_group() -> None:
    async with watched() as (governor, client):
        before = [(await client.get(f"{API}/metrics/{name}")).json() for name in ("chat", "inbound:chat")]
        governor.try_permit("chat", "GET")
        after = [(await client.get(f"{API}/metrics/{name}")).json()["scope"] for name in ("chat", "Chat:GET", "inbound:chat")]

    assert "inbound:chat" == before[0]["scope"]
    assert before[0] == before[1]
    assert ["outbound:chat", "outbound:chat:get", "inbound:chat"] == after


@pytest.mark.promise("R31")
@pytest.mark.parametrize(
    "path", [f"{API}/metrics/nowhere", f"{API}/metrics/inbound:nowhere", f"{API}/metrics/a%2Fb", f"{API}/metrics/%00"]
)
async def test_an_unknown_scope_is_a_404(path: str) -> None:
    async with watched() as (_, client):
        assert 404 == told(await client.get(path))["status"]


async def test_an_unknown_path_is_a_404() -> None:
    async with watched() as (_, client):
        answers = [
            await client.get(path)
            for path in ("/nowhere", "/dashboard/nowhere", "/dashboard/%2e%2e", "/dashboard/%2e%2e%2fapp.py")
        ]

    assert [404] * 4 == [told(answer)["status"] for answer in answers]


@pytest.mark.promise("R33")
@pytest.mark.parametrize("path", PATHS)
async def test_every_method_but_get_and_head_is_a_405(path: str) -> None:
    async with watched() as (_, client):
        answers = [
            await client.request(method, path) for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "WHATEVER")
        ]
        head = await client.head(path)

    assert [405] * 7 == [told(answer)["status"] for answer in answers]
    assert [{"GET", "HEAD"}] * 7 == [set(answer.headers["allow"].split(", ")) for answer in answers]
    assert 200 == head.status_code


@pytest.mark.promise("R33")
@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8787", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8787", "governor.internal:80"]
)
async def test_a_host_that_is_ours_is_let_in(host: str) -> None:
    async with Governor(clock=ManualClock()) as governor:
        app = create_app(governor, allowed_hosts=(*host_check.LOOPBACK_NAMES, "Governor.Internal"))
        async with client_of(app) as client:
            assert 200 == (await client.get("/health", headers={"Host": host})).status_code


@pytest.mark.promise("R33")
@pytest.mark.parametrize(
    "host", ["", "evil.example", "localhost.evil.example", "evil.localhost", "127.0.0.1.evil.example:80", "[::2]", "::1", "*"]
)
async def test_another_host_is_rejected(host: str) -> None:
    async with watched() as (_, client):
        answers = [await client.get(path, headers={"Host": host}) for path in PATHS]

    assert [400] * len(PATHS) == [told(answer)["status"] for answer in answers]


@pytest.mark.promise("R33")
async def test_two_hosts_or_none_are_rejected_and_any_is_let_in_where_that_is_allowed() -> None:
    async def answer(app: Starlette, *hosts: bytes) -> int:
        sent: list[int] = []

        async def send(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                sent.append(int(str(message["status"])))

        headers = [(b"host", host) for host in hosts]
        scope = {"type": "http", "method": "GET", "path": "/health", "query_string": b"", "headers": headers, "root_path": ""}
        await app(scope, _never, send)  # type: ignore[arg-type]  # with fewer types
        return sent[0]

    async with Governor(clock=ManualClock()) as governor:
        strict, open_ = create_app(governor), create_app(governor, allowed_hosts=["*"])
        answers = [await answer(strict), await answer(strict, b"localhost", b"localhost"), await answer(open_, b"evil.example")]

    assert [400, 400, 200] == answers


async def _never() -> dict[str, object]:
    await anyio.sleep_forever()
    raise AssertionError


@pytest.mark.promise("R33")
@pytest.mark.parametrize("path", [*PATHS, "/nowhere"])
async def test_headers_forbid_browsers_to_load_anything_foreign_and_to_show_it_elsewhere(path: str) -> None:
    async with watched() as (_, client):
        headers = (await client.head(path)).headers

    assert "default-src 'self'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert ("nosniff", "DENY", "no-referrer") == (
        headers["x-content-type-options"],
        headers["x-frame-options"],
        headers["referrer-policy"],
    )
    assert headers.get("cache-control", "no-store") in {"no-store", "no-cache"}


async def test_the_page_and_what_it_loads_are_files_that_browsers_need_not_load_twice() -> None:
    async with watched() as (_, client):
        page = await client.get("/")
        script = await client.get("/dashboard/app.js")
        again = await client.get("/dashboard/app.js", headers={"If-None-Match": script.headers["etag"]})

    assert page.headers["content-type"].startswith("text/html")
    assert script.headers["content-type"].startswith("text/javascript")
    assert (200, 200, 304) == (page.status_code, script.status_code, again.status_code)


# When it cannot answer.


@pytest.mark.parametrize("path", ["/health", "/metrics", f"{API}/status", f"{API}/metrics/github", f"{API}/events"])
async def test_without_a_governor_that_runs_the_answer_is_503(path: str) -> None:
    governor = Governor(clock=ManualClock())
    async with client_of(create_app(governor)) as client:
        before = await client.get(path)
        async with governor:
            pass
        after = await client.get(path)

    assert [BUSY, BUSY] == [told(before)["type"], told(after)["type"]]
    assert [(503, "1")] * 2 == [(answer.status_code, answer.headers["retry-after"]) for answer in (before, after)]


@pytest.mark.promise("R55")
@pytest.mark.parametrize("path", PATHS)
async def test_a_daemon_that_ends_answers_503_and_closes_the_connection(path: str) -> None:
    drain = Drain()
    async with watched(drain=drain) as (_, client):
        drain.begun.set()
        answer = await client.get(path)

    assert (BUSY, 503) == (told(answer)["type"], answer.status_code)
    assert ("1", "close") == (answer.headers["retry-after"], answer.headers["connection"])


async def test_more_requests_than_allowed_at_a_time_are_answered_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_check, "MAX_REQUESTS", 2)
    arrived, release = anyio.Semaphore(0), anyio.Event()

    async def slow(*_: object) -> None:
        arrived.release()
        await release.wait()

    async def nothing(*_: object) -> None:
        """Takes what is sent."""

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    statuses: list[object] = []
    check = host_check.HostCheck(slow, allowed_hosts=["*"], drain=Drain(), hint="a flag")
    request = {"type": "http", "headers": [], "path": "/"}
    probe = {**request, "path": "/health"}
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(check, request, _never, nothing)
        for _ in range(2):
            await arrived.acquire()
        tasks.start_soon(check, request, _never, send)
        await anyio.wait_all_tasks_blocked()
        # For health checks there is room left.
        tasks.start_soon(check, probe, _never, nothing)
        await arrived.acquire()
        release.set()
    # Those have gone: there is room again.
    await check(request, _never, nothing)

    assert [503, None] == statuses
    assert 1 == arrived.value


async def test_more_listeners_than_allowed_are_answered_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Feed, "join", lambda _: None)
    async with watched() as (_, client):
        answer = await client.get(f"{API}/events")

    assert (503, BUSY) == (answer.status_code, told(answer)["type"])


@pytest.mark.promise("R34")
async def test_metrics_without_the_client_library_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "governor.daemon.prometheus", None)
    async with watched() as (_, client):
        problem = told(await client.get("/metrics"))

    assert 501 == problem["status"]
    assert "pip install 'traffic-governor[prometheus]'" in str(problem["detail"])


def test_the_daemon_can_be_imported_without_the_client_library() -> None:
    program = "import sys; sys.modules['prometheus_client'] = None; import governor.daemon.serve"

    assert 0 == subprocess.run([sys.executable, "-c", program], check=False).returncode


# Where it lives.


async def test_the_lifespan_runs_the_governor() -> None:
    governor = Governor()
    app = create_app(governor)
    async with app.router.lifespan_context(app):
        inside = governor.state is GovernorState.RUNNING

    assert (True, False) == (inside, governor.state is GovernorState.RUNNING)


@pytest.mark.promise("R54")
def test_the_lifespan_may_run_again() -> None:
    governor, answers = Governor(), []
    app = create_app(governor)
    for _ in range(3):
        with TestClient(app, base_url="http://localhost") as client:
            answers.append(client.get("/health").status_code)
        answers.append(client.get("/health").status_code)

    assert [200, 503] * 3 == answers


@pytest.mark.promise("R54")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_lifespan_may_begin_in_one_task_and_end_in_another() -> None:
    governor = Governor()
    app = create_app(governor)
    lifespan = app.router.lifespan_context(app)
    await asyncio.create_task(lifespan.__aenter__())
    inside = governor.state is GovernorState.RUNNING
    await asyncio.create_task(lifespan.__aexit__(None, None, None))

    assert (True, False) == (inside, governor.state is GovernorState.RUNNING)


async def test_the_lifespan_leaves_a_governor_alone_that_runs_already() -> None:
    async with Governor() as governor:
        app = create_app(governor)
        async with app.router.lifespan_context(app):
            pass

        assert governor.state is GovernorState.RUNNING


async def test_a_governor_on_another_thread_is_watched_as_well() -> None:
    with Governor() as governor:
        governor.try_permit("github", "GET")
        async with client_of(create_app(governor)) as client:
            status = (await client.get(f"{API}/status")).json()
            metrics = (await client.get("/metrics")).text

    assert ["github:get"] == status["outbound_scopes"]
    assert 'governor_requests_total{scope="github:get"} 1.0' in metrics.splitlines()


async def test_the_routes_fit_into_another_app() -> None:
    async with Governor(clock=ManualClock()) as governor:
        app = Starlette(routes=[Mount("/governor", routes=routes(governor))])
        async with client_of(app) as client:
            status = await client.get(f"/governor{API}/status")
            unknown = await client.get(f"/governor{API}/metrics/nowhere")
            rejected = await client.post(f"/governor{API}/status")
            page = await client.get("/governor/")
            document = (await client.get("/governor/openapi.json")).json()

    assert ("success", 405) == (status.json()["status"], rejected.status_code)
    assert 404 == told(unknown)["status"]
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert [{"url": "/governor"}] == document["servers"]


async def test_started_at_is_the_time_of_day() -> None:
    async with watched() as (governor, client):
        total = (await client.get(f"{API}/status")).json()["global"]

    assert governor.statistics().started_at == total["started_at"]
    assert 0 <= total["now"] - total["started_at"]
    assert msgspec.json.decode(msgspec.json.encode(total)) == total
