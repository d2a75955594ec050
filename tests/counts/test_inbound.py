"""No request to an application takes more Python calls than the table allows."""

from typing import Any, Final

import pytest

from governor import Config, Governor
from governor.asgi import TrafficControlMiddleware
from tests.counts.allowed import INBOUND, INBOUND_ON_TRIO, compare
from tests.counts.subjects import at_once
from tests.support.counting import TRIES, WARM_UP, calls_in

WIDE: Final = ["1000000/s burst 1000000"]
ALL: Final = {"limits": WIDE, "address_limits": WIDE, "total_limits": WIDE}
SETTINGS: Final = {
    "governed": {"default": ALL},
    "denied": {"default": {**ALL, "limits": ["1/day burst 1"]}},
    "announced": {"default": ALL, "announce": True},
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


async def receive() -> Any:
    raise AssertionError


async def send(message: Any) -> None:
    pass


@pytest.mark.anyio
@pytest.mark.parametrize("name", SETTINGS)
async def test_a_request_takes_no_more_calls_than_allowed(name: str, anyio_backend_name: str) -> None:
    headers = [(b"host", b"localhost"), (b"x-actor", b"someone")]
    async with Governor(Config.from_mapping({"inbound": SETTINGS[name]})) as governor:
        middleware = TrafficControlMiddleware(app, governor)

        def call() -> None:
            scope = {"type": "http", "method": "GET", "path": "/things", "client": ("192.0.2.1", 7), "headers": headers}
            at_once(middleware(scope, receive, send))

        for _ in range(WARM_UP):
            call()
        called = min((calls_in(call, "governor") for _ in range(TRIES)), key=len)

    allowed = INBOUND[name] + INBOUND_ON_TRIO * (anyio_backend_name == "trio")
    compare(name, "Python calls", allowed, len(called), called)
