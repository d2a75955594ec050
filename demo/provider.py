"""The provider of the demo: an HTTP server on loopback, in a process of its own.

Run as `python -m demo.provider RULES`, with the rules as JSON. It prints the port that it got, serves until its
standard input is closed, and prints its log as JSON. So it ends with the process that started it.
"""

import os
import socket
import sys
from contextlib import suppress
from math import ceil
from threading import Thread
from time import monotonic_ns
from typing import Final

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from demo.rules import READ, WRITE, Gatekeeper, Rules
from demo.wire import decode, encode
from governor._units import Instant, to_seconds

#: Seconds that an answer takes once a request has been let in.
_SERVICE_TIME: Final = 0.01
_WORDS: Final = {
    200: "here you are",
    201: "written",
    403: "banned for continuing after 429",
    429: "too many requests",
    503: "the service has a bad moment",
}


def app(gatekeeper: Gatekeeper) -> Starlette:
    """The API: reads and writes below `/items`."""

    async def items(request: Request) -> JSONResponse:
        # The instant of arrival: nothing has been awaited since the request line was read.
        status, wait = gatekeeper.arrive(Instant(monotonic_ns() // 1000), request.method)
        headers = {name: str(value) for name, value in gatekeeper.announce(request.method).items()}
        if wait is not None:
            headers["Retry-After"] = str(ceil(to_seconds(wait)))
        if status < 400:
            await request.body()
            await anyio.sleep(_SERVICE_TIME)
        return JSONResponse({"message": _WORDS[status]}, status, headers)

    return Starlette(routes=[Route("/items/{name}", items, methods=[READ, WRITE])])


def main() -> None:
    """Serves until standard input ends."""
    gatekeeper = Gatekeeper(decode(sys.argv[1], Rules))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = uvicorn.Server(
            # Idle connections are kept for longer than any run: that they break is no part of this demo.
            uvicorn.Config(
                app(gatekeeper),
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_keep_alive=3600,
                timeout_graceful_shutdown=1,
            )
        )
        Thread(target=_stop_at_end_of_input, args=(server,), daemon=True).start()
        print(listener.getsockname()[1], flush=True)
        server.run(sockets=[listener])
    # Not through `sys.stdout`, which complains at the end of the process if its reader has gone.
    with suppress(BrokenPipeError):
        os.write(1, encode(gatekeeper.log()) + b"\n")


def _stop_at_end_of_input(server: uvicorn.Server) -> None:
    # Not through `sys.stdin`, whose lock this thread would still hold if the server ended by itself.
    while os.read(0, 1024):
        pass
    server.should_exit = True


if __name__ == "__main__":
    main()
