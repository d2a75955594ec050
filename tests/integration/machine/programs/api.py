"""A service whose workers limit its clients together, by the governor of the machine that GOVERNOR_CONFIG names."""

import os

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from governor.asgi import TrafficControlMiddleware, limit


async def worker(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(os.getpid()))


@limit("3/hour")
async def limited(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(os.getpid()))


async def held(request: Request) -> PlainTextResponse:
    await anyio.sleep(float(request.query_params["seconds"]))
    return PlainTextResponse(str(os.getpid()))


asgi = Starlette(
    routes=[Route("/", worker), Route("/health", worker), Route("/limited", limited), Route("/held", held)],
)
asgi.add_middleware(TrafficControlMiddleware)
