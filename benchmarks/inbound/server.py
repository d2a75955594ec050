"""Which server is put under load? `python -m benchmarks.inbound.server NAME`: uvicorn with one application, on a free port.

Prints the port, and serves until its standard input is closed.
"""

import asyncio
import socket
import sys

import uvicorn

from benchmarks.inbound.apps import PAIRS


async def serve(name: str) -> None:
    """Serves the application of this name, or `without-` it the one that it is compared with."""
    bare_name = name.removeprefix("without-")
    opens = PAIRS[bare_name][name != bare_name]
    async with opens() as app:
        config = uvicorn.Config(app, lifespan="off", ws="none", log_config=None, access_log=False, proxy_headers=False)
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
            print(listener.getsockname()[1], flush=True)
            ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            await ended
            server.should_exit = True
            await serving


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
