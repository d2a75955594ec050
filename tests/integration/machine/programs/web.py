"""A service whose workers call a provider: the address is in PROVIDER, the governor of the machine in GOVERNOR_SOCKET."""

import os
from collections.abc import Callable, Iterable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from governor_client import TrafficControlledHttpClient

client = TrafficControlledHttpClient("demo", os.environ["PROVIDER"], govern_loopback=True)


async def call(request: Request) -> PlainTextResponse:
    answer = await client.aget("/items/web")
    return PlainTextResponse(f"{answer.status_code} from {os.getpid()}")


#: For `uvicorn --workers`.
asgi = Starlette(routes=[Route("/call", call)])


def wsgi(environ: dict[str, object], start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    """For gunicorn."""
    answer = client.get("/items/web")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{answer.status_code} from {os.getpid()}".encode()]
