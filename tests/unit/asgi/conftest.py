"""A bare application, and requests to it without a server."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

import msgspec
import pytest

from governor import Config, Governor
from governor.asgi.types import App, Message, Receive, Scope, Send
from governor.testing import ManualClock
from governor_client import TrafficControlMiddleware

Pairs = Iterable[tuple[bytes, bytes]]


class Reply:
    """What came of one request."""

    def __init__(self, messages: list[Message]) -> None:
        self.messages = messages

    @property
    def kinds(self) -> list[str]:
        """The types of its messages."""
        return [message["type"] for message in self.messages]

    @property
    def status(self) -> int:
        """The status with which the answer began."""
        status: int = self.messages[0]["status"]
        return status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers with which the answer began."""
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def problem(self) -> Mapping[str, Any]:
        """The body of a refusal."""
        problem: Mapping[str, Any] = msgspec.json.decode(self.messages[1]["body"])
        return problem


class Ask:
    """Sends requests to an application, as a server does."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(
        self,
        path: str = "/",
        *,
        client: tuple[str, int] | None = ("198.51.100.1", 4711),
        headers: Pairs = (),
        kind: str = "http",
        **scope: object,
    ) -> Reply:
        """One request."""
        messages: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b""}

        async def send(message: Message) -> None:
            messages.append(message)

        whole: Scope = {"type": kind, "path": path, "client": client, "headers": list(headers), **scope}
        await self.app(whole, receive, send)
        return Reply(messages)


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    """Says yes to everything."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"yes"})


@pytest.fixture
def app() -> App:
    """An application that says yes."""
    return plain


@pytest.fixture
def clock() -> ManualClock:
    """The governor's time."""
    return ManualClock()


#: Two requests of each client, one more each second; nothing else is in the way.
TIGHT: Mapping[str, object] = {
    "limits": ["1/s burst 2"],
    "address_limits": ["1000/s burst 1000"],
    "total_limits": ["1000/s burst 1000"],
}


@pytest.fixture
def configured() -> Callable[..., Config]:
    """Makes settings, in words of `[inbound]` and of its default group."""

    def make(default: Mapping[str, object] = {}, **inbound: object) -> Config:
        return Config.from_mapping({"inbound": {"preset": "venom", "default": {**TIGHT, **default}, **inbound}})

    return make


@pytest.fixture
async def governor(configured: Callable[..., Config], clock: ManualClock) -> AsyncIterator[Governor]:
    """A governor with tight limits in the event loop of the test."""
    async with Governor(configured(), clock=clock) as governor:
        yield governor


@pytest.fixture
def ask(app: App, governor: Governor) -> Ask:
    """Requests to the application behind the middleware."""
    return Ask(TrafficControlMiddleware(app, governor))


@pytest.fixture
def asking() -> type[Ask]:
    """Makes the same for other applications."""
    return Ask
