"""One line governs an application in each common framework."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import anyio
import httpx2
import pytest
from fastapi import BackgroundTasks, FastAPI, Header
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from governor import _default
from governor._default import current
from governor_client import TrafficControlMiddleware

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R25", "R51")]


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A process without a governor, and the file that configures one: twice for everybody, once for introspection."""
    file = tmp_path / "governor.toml"
    file.write_text(
        '[inbound]\npreset = "venom"\n'
        '[inbound.default]\nlimits = ["1/day burst 2"]\n[inbound.models_introspection]\nlimits = ["1/day burst 1"]\n',
        encoding="utf-8",
    )
    monkeypatch.setattr(_default, "_started", {})
    monkeypatch.setenv("GOVERNOR_CONFIG", str(file))
    yield
    assert current() is None, "the governor ends with the application"


@asynccontextmanager
async def alive(app: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of an application between its startup and its shutdown."""
    up, down, gone = anyio.Event(), anyio.Event(), anyio.Event()
    messages: list[tuple[anyio.Event | None, str]] = [(None, "lifespan.startup"), (down, "lifespan.shutdown")]

    async def receive() -> dict[str, str]:
        event, kind = messages.pop(0)
        if event is not None:
            await event.wait()
        return {"type": kind}

    async def send(message: Any) -> None:
        (up if message["type"] == "lifespan.startup.complete" else gone).set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(app, {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
        await up.wait()
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as client:
            yield client
        down.set()
        await gone.wait()


async def statuses(client: httpx2.AsyncClient, times: int, path: str, **headers: str) -> list[int]:
    return [(await client.get(path, headers=headers)).status_code for _ in range(times)]


async def answer(request: Request) -> Response:
    return PlainTextResponse(request.url.path)


async def test_fastapi() -> None:
    done: list[str] = []
    app = FastAPI()
    app.add_middleware(TrafficControlMiddleware)

    @app.get("/items/{item}")
    async def read(item: str, tasks: BackgroundTasks, actor: Annotated[str | None, Header()] = None) -> dict[str, str | None]:
        tasks.add_task(done.append, item)
        return {"item": item, "actor": actor}

    async with alive(app) as client:
        answer = (await client.get("/items/1", headers={"X-Actor": "ann", "Actor": "ann"})).json()
        denied = await statuses(client, 2, "/items/2", **{"X-Actor": "ann"})
        free = await statuses(client, 5, "/docs")

    assert ({"item": "1", "actor": "ann"}, [200, 429], 5 * [200], ["1", "2"]) == (answer, denied, free, done)


async def test_around_a_mounted_application_the_whole_path_counts() -> None:
    inner = TrafficControlMiddleware(Starlette(routes=[Route("/introspection", answer), Route("/{rest:path}", answer)]))
    app = Starlette(routes=[Mount("/api/v1/models", inner), Route("/free", answer)])
    # A mounted application has no lifespan: what starts its governor is the first request, if nothing else has.
    async with alive(TrafficControlMiddleware(app)) as client:
        around_all = await statuses(client, 3, "/free")
        around_one = await statuses(client, 1, "/api/v1/models/introspection")

    assert ([200, 200, 429], [429]) == (around_all, around_one)
