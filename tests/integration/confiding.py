"""A program that meets secrets everywhere, run by `test_secrets.py`, which searches its output for them.

It serves an API behind the middleware, with the daemon's pages in it, and calls that API with our clients, until all has
happened that can: answers good and bad, retries, refusals, breakers, degraded mode, broken connections, hooks and groups that
fail.

The secret is read from the standard input, and the first argument is the address to call from.
"""

import asyncio
import logging
import sys
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypedDict

import anyio
import anyio.to_thread
import httpx2
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from governor import Config, Governor
from governor.daemon import routes
from governor.instrumentation import AnyEvent
from governor_client import GovernorClient, TrafficControlledHttpClient, TrafficControlMiddleware

SECRET: Final = sys.stdin.read()
ADDRESS: Final = sys.argv[1]

CONFIG: Final = Config.from_mapping(
    {
        "global": {"degraded_after_failures": 6, "degraded_cooldown": "50ms"},
        "outbound": {
            "default": {
                "limits": ["40/hour burst 40"],
                "loops": {"enabled": False},
                "breaker": {"failures": 3, "open_for": "50ms"},
                "retry": {"first_delay": "1ms", "max_delay": "1ms"},
            }
        },
        "inbound": {
            "default": {"limits": ["1000/s"]},
            "chat": {"paths": ["/api/v1/chat"], "limits": ["1/hour burst 1"]},
            "memory": {"paths": ["/api/v1/memory"], "limits": ["1/hour burst 1"], "dry_run": True},
        },
        "logging": {"enabled": True, "directory": "logs"},
    }
)

told: list[AnyEvent] = []
errors: list[Exception] = []


class Secrets(TypedDict):
    """Where in a request secrets may stand, beside its address and its body."""

    params: dict[str, str]
    headers: dict[str, str]


def say(*things: object) -> None:
    """Prints them, each on a line of its own."""
    sys.stdout.writelines(f"{thing}\n" for thing in things)


def secret(place: str) -> str:
    """The secret, with the place that it stands in, so that a leak can be found."""
    return f"{SECRET}-{place}"


def secrets() -> Secrets:
    """One everywhere."""
    names = ("authorization", "cookie", "x-api-key", "x-actor", "x-user-id", "x-session-id", "x-forwarded-for", "user-agent")
    return {
        "params": {"token": secret("query")},
        "headers": {name: secret(name) for name in (*names, "idempotency-key")},
    }


async def answer(request: Request) -> Response:
    """The API: whatever status the path names, and secrets in it as well."""
    await request.body()
    status = int(request.path_params["status"])
    headers = {name: secret(name) for name in ("retry-after", "x-answer", "ratelimit")}
    if status == 302:
        headers["location"] = f"/api/v1/other/302/{secret('location')}"
    return PlainTextResponse(secret("answer"), status, headers)


def fail(event: AnyEvent, /) -> None:
    """A hook with a bug."""
    raise ZeroDivisionError


async def attempt(call: Callable[[], Awaitable[object]]) -> None:
    """Makes a call, and keeps its error."""
    try:
        await call()
    except Exception as error:
        errors.append(error)


async def call_everything(client: TrafficControlledHttpClient, denied: TrafficControlledHttpClient) -> None:
    """Everything that can become of a call. The answers of our own limits ask for pauses: those calls have another provider."""

    async def post(address: str, client: TrafficControlledHttpClient = client) -> None:
        await client.apost(f"{address}/{secret('path')}", json={"text": secret("body")}, **secrets())

    async def stream() -> None:
        async with client.astream("GET", f"/api/v1/other/500/{secret('path')}", **secrets()):
            pass

    for address in ("chat/200", "chat/200", "memory/200", "memory/200"):
        await attempt(partial(post, f"/api/v1/{address}", denied))
    for address in ("other/404", "other/503", "other/302"):
        await attempt(partial(post, f"/api/v1/{address}"))
    await attempt(lambda: post("http://localhost:1"))
    await attempt(lambda: post("ftp://localhost"))
    await attempt(stream)
    for _ in range(60):
        await attempt(lambda: client.aput(f"/api/v1/other/200/{secret('path')}", content=secret("content"), **secrets()))


def call_blocking(client: TrafficControlledHttpClient) -> None:
    """The other way of use."""
    with client:
        client.get(f"/api/v1/other/418/{secret('path')}", **secrets())


async def use_clients(governor: Governor, port: int) -> None:
    """Calls with our clients, from that address."""
    base = f"http://{secret('name')}:{secret('password')}@localhost:{port}"
    client, denied = (
        TrafficControlledHttpClient(
            provider,
            base,
            5.0,
            governor=governor,
            govern_loopback=True,
            transport=httpx2.HTTPTransport(local_address=ADDRESS),
            async_transport=httpx2.AsyncHTTPTransport(local_address=ADDRESS),
            on_event=told.append,
        )
        for provider in ("weather", "own")
    )
    async with client, denied:
        await call_everything(client, denied)
    await attempt(lambda: anyio.to_thread.run_sync(call_blocking, client))
    say(client)


async def read_pages(port: int) -> None:
    """Prints what the daemon shows, and what a denied client is told."""
    transport = httpx2.AsyncHTTPTransport(local_address=ADDRESS)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", transport=transport) as client:
        pages = ("status", "metrics/weather", "metrics/nothing")
        for page in (*(f"/api/v1/traffic-control/{page}" for page in pages), "/metrics", "/openapi.json", "/health", "/"):
            say((await client.get(page)).text)
        denied = await client.get("/api/v1/chat/200/again", headers={"x-actor": secret("x-actor")})
        say(denied.status_code, denied.headers, denied.text)
        async with client.stream("GET", "/api/v1/traffic-control/events") as response:
            lines = response.aiter_lines()
            for _ in range(5):
                say(await anext(lines))


async def break_group(governor: Governor, port: int) -> None:
    """Has a group fail: whatever fails says so in the log."""
    group = governor.inbound._actor("memory")
    assert group is not None
    rules, buckets = group._rules, group._buckets
    group._rules = group._buckets = None  # type: ignore[assignment]  # the mistake
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        await client.get(f"/api/v1/memory/418/{secret('path')}", **secrets())
    group._rules, group._buckets = rules, buckets


async def main() -> None:
    """All of it."""
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("governor").setLevel(logging.DEBUG)
    async with Governor(CONFIG, hooks=[told.append, fail]) as governor:
        app = Starlette(
            routes=[
                Route("/api/v1/{part:str}/{status:int}/{rest:path}", answer, methods=["GET", "POST", "PUT"]),
                *routes(governor),
            ]
        )
        guarded = TrafficControlMiddleware(app, governor)
        server = uvicorn.Server(uvicorn.Config(guarded, port=0, access_log=False, log_level="warning"))
        serve = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        await use_clients(governor, port)
        await read_pages(port)
        await break_group(governor, port)
        statistics = governor.statistics()
        server.should_exit = True
        await serve
        say(governor, GovernorClient(governor), CONFIG, governor.inbound.pseudonyms)
    say(statistics, told, msgspec.json.encode([statistics, told]).decode())
    say(sorted({type(event).__name__ for event in told}))
    for error in errors:
        say(repr(error), *traceback.format_exception(error))


if __name__ == "__main__":
    asyncio.run(main())
