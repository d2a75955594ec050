"""The governor of a middleware that was given none, or one that runs elsewhere."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from time import monotonic
from typing import Any, cast

import anyio
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from governor import Config, ConfigError, Governor, GovernorState, _default, default
from governor._actors.inbound.group import GroupActor
from governor._default import current, reset
from governor._governor import running
from governor.asgi.types import App, Message, Receive, Scope, Send
from governor.messages import InboundDenied, InboundRequest
from governor.testing import ManualClock
from governor_client import TrafficControlMiddleware

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R51")]

Ask = Any
Configured = Callable[..., Config]

UP: Message = {"type": "lifespan.startup"}
DOWN: Message = {"type": "lifespan.shutdown"}


@pytest.fixture(autouse=True)
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], object]]:
    """A process without a governor; says what one is to be configured with."""
    file = tmp_path / "governor.toml"
    file.write_text('[inbound.default]\nlimits = ["1/day burst 1"]\n')
    monkeypatch.setattr(_default, "_started", {})
    monkeypatch.setenv("GOVERNOR_CONFIG", str(file))
    yield file.write_text
    for governor in _default._started.values():
        governor.__exit__(None, None, None)


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """What frameworks do."""
    while (message := await receive())["type"] == "lifespan.startup":
        await send({"type": f"{message['type']}.complete"})
    await send({"type": f"{message['type']}.complete"})


class Life:
    """The server's side of a lifespan. While it is up, `meanwhile` is called."""

    def __init__(self, meanwhile: Callable[[], Any]) -> None:
        self.sent: list[Message] = []
        #: The types of what was sent while a governor ran.
        self.sent_running: list[str] = []
        self._messages = [UP, DOWN]
        self._meanwhile = meanwhile

    async def receive(self) -> Message:
        """The next message of the server."""
        message = self._messages.pop(0)
        if message is DOWN:
            await self._meanwhile()
        return message

    async def send(self, message: Message) -> None:
        """What the application answers."""
        self.sent.append(message)
        if current() is not None:
            self.sent_running.append(message["type"])


async def test_from_startup_to_shutdown_there_is_a_governor_for_the_whole_process(app: App, asking: type[Ask]) -> None:
    seen: list[object] = []

    async def both(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(current())
        await (lifespan if scope["type"] == "lifespan" else app)(scope, receive, send)

    application = TrafficControlMiddleware(both)

    async def meanwhile() -> None:
        seen.append(default())
        seen.extend([(await asking(application)()).status for _ in range(2)])

    life = Life(meanwhile)
    await application({"type": "lifespan"}, life.receive, life.send)
    governor = seen[0]

    assert isinstance(governor, Governor)
    assert [governor, governor, governor, 200, 429] == seen
    assert [True, None] == [governor.state is GovernorState.CLOSED, current()]
    assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == [message["type"] for message in life.sent]
    # A server may cancel the lifespan as soon as its shutdown is complete.
    assert ["lifespan.startup.complete"] == life.sent_running
    assert 503 == (await asking(application)()).status


@pytest.mark.promise("R53")
async def test_a_mistake_in_the_settings_fails_the_startup(said: Callable[[str], object], app: App) -> None:
    said('[inbound.default]\nlimits = ["nonsense"]\n')
    life = Life(anyio.lowlevel.checkpoint)
    with pytest.raises(ConfigError):
        await TrafficControlMiddleware(app)({"type": "lifespan"}, life.receive, life.send)

    assert ["lifespan.startup.failed"] == [message["type"] for message in life.sent]
    assert "inbound.default.limits[0] is 'nonsense'" in life.sent[0]["message"]


def alive() -> list[Governor]:
    """All that run. Those whose loop another test has thrown away do not."""
    return [governor for governor in running if governor.state is GovernorState.RUNNING]


async def test_one_that_runs_already_is_asked(app: App, asking: type[Ask], configured: Configured) -> None:
    statuses: list[int] = []
    async with Governor(configured(), clock=ManualClock()):
        application = TrafficControlMiddleware(lifespan)
        asked = asking(TrafficControlMiddleware(app))

        async def meanwhile() -> None:
            statuses.extend([(await asked()).status for _ in range(3)])
            statuses.append(len(alive()))

        life = Life(meanwhile)
        await application({"type": "lifespan"}, life.receive, life.send)
        still_running = current() is not None

    assert [200, 200, 429, 1] == statuses
    assert still_running


async def test_a_server_without_a_lifespan_gets_one_with_the_first_request(app: App, asking: type[Ask]) -> None:
    ask = asking(TrafficControlMiddleware(app))
    statuses: list[int] = []

    async def request() -> None:
        statuses.append((await ask()).status)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(request)

    assert [200, 429, 429, 429, 429] == sorted(statuses)
    assert [default()] == alive()


def test_that_one_outlives_the_loop_so_that_a_loop_for_each_request_forgets_nothing(app: App, asking: type[Ask]) -> None:
    ask = asking(TrafficControlMiddleware(app))
    statuses = [anyio.run(ask, backend=backend).status for backend in ("asyncio", "trio", "asyncio")]

    assert ([200, 429, 429], default()) == (statuses, current())


@pytest.mark.parametrize("said_first", [True, False])
def test_a_client_for_each_request_meets_the_same_limits_as_one_with_a_lifespan(app: App, said_first: bool) -> None:
    application = Starlette(routes=[Route("/{path:path}", lambda _: PlainTextResponse("hello"))])
    application.add_middleware(TrafficControlMiddleware)
    lives: list[list[int]] = []
    for with_lifespan in (said_first, not said_first, said_first):
        client = TestClient(application)
        with client if with_lifespan else nullcontext():
            lives.append([client.get("/hello").status_code for _ in range(3)])
        reset()

    assert [[200, 429, 429]] * 3 == lives


@pytest.mark.promise("R53")
def test_a_mistake_in_the_settings_is_raised_to_a_test_client(said: Callable[[str], object], app: App) -> None:
    said('[inbound.default]\nlimits = ["nonsense"]\n')

    with pytest.raises(ConfigError, match="nonsense"), TestClient(cast("Any", TrafficControlMiddleware(app))):
        pass


def test_one_that_is_given_and_run_by_the_lifespan_runs_again_with_the_next(configured: Configured) -> None:
    governor = Governor(configured())

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with governor:
            yield

    application = Starlette(routes=[Route("/", lambda _: PlainTextResponse("hello"))], lifespan=lifespan)
    application.add_middleware(TrafficControlMiddleware, governor=governor)
    lives = []
    for _ in range(3):
        with TestClient(application) as client:
            lives.append([client.get("/").status_code for _ in range(3)])
        lives.append([client.get("/").status_code])

    assert [[200, 200, 429], [503]] * 3 == lives


async def test_an_application_that_knows_no_lifespan_gets_one_all_the_same(app: App, asking: type[Ask]) -> None:
    async def only_http(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await app(scope, receive, send)

    application = TrafficControlMiddleware(only_http)
    life = Life(anyio.lowlevel.checkpoint)
    with pytest.raises(AssertionError):
        await application({"type": "lifespan"}, life.receive, life.send)
    statuses = [(await asking(application)()).status for _ in range(2)]

    assert [200, 429] == statuses


async def test_a_mistake_that_no_startup_reported_is_logged(
    said: Callable[[str], object], app: App, asking: type[Ask], caplog: pytest.LogCaptureFixture
) -> None:
    said("nonsense")
    statuses = [(await asking(TrafficControlMiddleware(app))()).status for _ in range(2)]

    assert ([200, 200], True) == (statuses, "governor.toml:1:9: invalid TOML" in caplog.text)


@pytest.mark.promise("R54")
async def test_one_on_another_thread_decides_and_counts_and_announces(
    app: App, asking: type[Ask], configured: Configured
) -> None:
    with Governor(configured(announce=True), clock=ManualClock()) as governor:
        ask = asking(TrafficControlMiddleware(app, governor))
        replies = [await ask() for _ in range(3)]
        deadline = monotonic() + 20
        while (counted := governor.statistics().groups["default"].counters).answered_2xx < 2:
            assert monotonic() < deadline
            await anyio.sleep(0.001)

    assert [200, 200, 429] == [reply.status for reply in replies]
    assert ['"client";r=1;t=1', '"client";r=0;t=2', '"client";r=0;t=1'] == [reply.headers["ratelimit"] for reply in replies]
    assert (2, 2) == (counted.requests, counted.answered_2xx)
    assert [503, 200] == [(await ask()).status, (await ask("/health")).status]


@pytest.mark.promise("R54")
async def test_what_is_asked_from_elsewhere_is_decided_on_the_governors_own_thread(
    app: App, asking: type[Ask], configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[bool] = []
    original = GroupActor.admit

    with Governor(configured()) as governor:

        def watched(actor: GroupActor, one: InboundRequest) -> InboundDenied | None:
            threads.append(governor.inbound.is_local())
            return original(actor, one)

        monkeypatch.setattr(GroupActor, "admit", watched)
        await asking(TrafficControlMiddleware(app, governor))()

    assert [True] == threads


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
async def test_a_copy_of_one_in_a_forked_child_lets_requests_pass(
    app: App, asking: type[Ask], configured: Configured, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with Governor(configured(), clock=ManualClock()) as governor:
        ask = asking(TrafficControlMiddleware(app, governor))
        with monkeypatch.context() as patch:
            patch.setattr(governor._access, "process", -1)
            assert governor._access.portal is not None
            governor._access.portal.ended = True
            statuses = [(await ask()).status for _ in range(3)]
            governor._access.portal.ended = False

    assert ([200, 200, 200], True) == (statuses, "is not running in this process" in caplog.text)
