"""The server under load: `python -m benchmarks.inbound.server NAME` runs uvicorn with one application, on a free port.

Prints the port, and serves until its standard input is closed.
"""

import asyncio
import sys

import uvicorn

from benchmarks.inbound.apps import PAIRS


async def serve(name: str) -> None:
    """Serves the application of this name, or `without-` it the one that it is compared with."""
    bare_name = name.removeprefix("without-")
    opens = PAIRS[bare_name][name != bare_name]
    async with opens() as app:
        # It makes its own socket: on one that is handed to it, asyncio would leave out TCP_NODELAY, and answers would wait for
        # acknowledgements, 40 ms each.
        server = uvicorn.Server(
            uvicorn.Config(
                app, port=0, lifespan="off", ws="none", log_config=None, access_log=False, proxy_headers=False, backlog=128
            )
        )
        ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        await ended
        server.should_exit = True
        await serving


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
