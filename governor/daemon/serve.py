"""`governor serve`: the daemon, from start to end.

It ends in this order, so that no request is cut off. New requests get a 503, on connections that are then closed, and event
streams end. When no connection is left, or the drain time is over, the port is closed, requests in progress are finished, and
the governor is closed, which denies all waiting calls.
"""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Protocol, cast

import anyio
import uvicorn
from anyio.lowlevel import current_token

from governor import Config, ConfigError, Governor, GovernorError
from governor.daemon.app import create_app
from governor.daemon.connections import AcceptErrors, BoundedProtocol
from governor.daemon.doorway import Drain
from governor.daemon.loop import current_post
from governor.daemon.options import Options, parse, url_host

#: Seconds for requests under way, after the time to drain; then they are cut off.
_LAST_CALL: Final = 10
#: Seconds between two looks whether a connection is left.
_LOOK_EVERY: Final = 0.02


def main(arguments: Sequence[str]) -> int:
    """Serves until a signal ends it. Answers 0, or 1 if the address cannot be had, 2 for a mistake in the settings."""
    options = parse(arguments)
    try:
        governor = Governor(Config.load(options.config))
    except ConfigError as mistake:
        _say(str(mistake))
        return 2
    try:
        listener = _listen(options.host, options.port)
    except OSError as error:
        _say(f"cannot listen on {url_host(options.host)}:{options.port}: {error.strerror or error}")
        return 1
    with listener:
        anyio.run(_serve, governor, listener, options)
    return 0


class _AsyncioLoop(Protocol):
    def set_exception_handler(self, handler: Callable[[object, dict[str, Any]], None]) -> None: ...

    def default_exception_handler(self, context: dict[str, Any]) -> None: ...


class _Server(uvicorn.Server):
    """Uvicorn, which leaves signals to us: it would end the process by the signal that it got, and not with status 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(governor: Governor, listener: socket.socket, options: Options) -> None:
    drain = Drain()
    app = create_app(
        governor,
        allowed_hosts=options.allowed_hosts(),
        drain=drain,
        hint="`--allow-host`",
        policy_file=options.policy_file(os.environ),
    )
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
            http=BoundedProtocol,
            ws="none",
            timeout_graceful_shutdown=_LAST_CALL,
        )
    )

    loop = cast("_AsyncioLoop", current_token().native_token)
    loop.set_exception_handler(AcceptErrors(loop.default_exception_handler))

    def end() -> None:
        # Who asks twice does not want to wait.
        server.force_exit = drain.begun.is_set()
        drain.begun.set()

    signals = {signal.SIGTERM: end, signal.SIGINT: end}
    if sys.platform != "win32":
        signals[signal.SIGHUP] = partial(_reload, governor, options.config)
    with _handled(signals):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_end_when_drained, server, drain, options.drain)
            _announce(options.host, listener)
            await server.serve(sockets=[listener])
            tasks.cancel_scope.cancel()


async def _end_when_drained(server: uvicorn.Server, drain: Drain, seconds: float) -> None:
    await drain.begun.wait()
    with anyio.move_on_after(seconds):
        while server.server_state.connections and not server.force_exit:  # noqa: ASYNC110 - uvicorn has no event for it
            await anyio.sleep(_LOOK_EVERY)
    server.should_exit = True


def _reload(governor: Governor, path: str | None) -> None:
    """Reads the settings again. A mistake changes nothing."""
    try:
        governor.reconfigure(Config.load(path))
    except GovernorError as mistake:
        _say(f"settings not changed: {mistake}")
    else:
        _say("settings read again")


@contextmanager
def _handled(signals: Mapping[signal.Signals, Callable[[], object]]) -> Iterator[None]:
    """Has functions called on this loop when signals come, and afterwards what was there before."""
    post = current_post()
    before = {number: signal.signal(number, partial(_hand_over, post, call)) for number, call in signals.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hand_over(post: Callable[[Callable[[], object]], object], call: Callable[[], object], *_: object) -> None:
    post(call)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=1024)


def _announce(host: str, listener: socket.socket) -> None:
    print(f"governor serve: listening on http://{url_host(host)}:{listener.getsockname()[1]}/", flush=True)


def _say(words: str) -> None:
    print(f"governor serve: {words}", file=sys.stderr, flush=True)
