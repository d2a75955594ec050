"""The daemon: `governor serve`, its signals and its shutdown.

The shutdown completes requests in progress. First the daemon drains: it answers new requests with 503, closes their connections
and ends the event streams. When no connection is left, or the time to drain is over, it closes the port, finishes the remaining
requests and closes the governor, which denies all waiting calls.
"""

import errno
import gc
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import Any, Final, Protocol, cast

import anyio
import uvicorn
from anyio.lowlevel import current_token

from governor import ConfigError, Governor, GovernorError
from governor.config.variable_names import unread_policy_file
from governor.daemon.app import create_app
from governor.daemon.connections import AcceptErrors, BoundedProtocol
from governor.daemon.host_check import Drain
from governor.daemon.loop import current_post
from governor.daemon.machine import Processes, Where, end_when_idle, settings, where
from governor.daemon.options import Options, parse, url_host
from governor.daemon.systemd import inherited_sockets, notified

#: When the garbage collector looks: at all young objects after so many new ones, and at older ones after so many such looks. A
#: new scope is a hundred objects that stay: with the defaults every seventieth of them would wait for a look at the older ones.
_COLLECTIONS: Final = (1_000, 100)
#: Seconds for the remaining requests after the time to drain; then their connections are closed.
_SHUTDOWN_TIMEOUT: Final = 10
#: What may be handed over, by name.
_FAMILIES: Final = {"http": (socket.AF_INET, socket.AF_INET6), "machine": (getattr(socket, "AF_UNIX", None),)}
#: Seconds between two checks for remaining connections.
_CHECK_INTERVAL: Final = 0.02


def main(arguments: Sequence[str]) -> int:
    """Serves until a signal. Returns the exit status: 0, 1 if the address is not available, 2 for a mistake in the settings."""
    options = parse(arguments)
    try:
        config, named = settings(options.config)
        governor = Governor(config)
        handed_over = _handed_over(inherited_sockets())
    except ConfigError as mistake:
        _say(str(mistake))
        return 2
    if config.policy_file is None and (advice := unread_policy_file()):
        _say(f"{advice}, or use --config")
    try:
        listener = handed_over.get("http") or listen(options.host, options.port)
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        why = "the port is in use; choose another one with --port" if in_use else error.strerror or error
        _say(f"cannot listen on {url_host(options.host)}:{options.port}: {why}")
        return 1
    gc.freeze()  # What has been imported stays.
    gc.set_threshold(*_COLLECTIONS)
    with listener:
        return anyio.run(_serve, governor, listener, where(options.socket, named, handed_over.get("machine")), options)


class _AsyncioLoop(Protocol):
    def set_exception_handler(self, handler: Callable[[object, dict[str, Any]], None]) -> None: ...

    def default_exception_handler(self, context: dict[str, Any]) -> None: ...


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers, which would end the process by the received signal instead of with status 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(governor: Governor, listener: socket.socket, machine: Where | None, options: Options) -> int:
    async with AsyncExitStack() as stack:
        processes: Processes | None = None
        try:
            # The app leaves it running: requests are finished first, and processes are served until then.
            await stack.enter_async_context(governor)
            if machine is not None:
                processes = await stack.enter_async_context(governor.listen(machine or None))
        except GovernorError as error:  # The state folder, or the socket, belongs to another process.
            _say(str(error))
            return 1
        await _serve_http(governor, listener, processes, options)
    return 0


async def _serve_http(governor: Governor, listener: socket.socket, processes: Processes | None, options: Options) -> None:
    drain = Drain()
    app = create_app(
        governor,
        allowed_hosts=options.allowed_hosts(),
        drain=drain,
        hint="`--allow-host`",
        admin_token=options.admin_token,
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
            timeout_graceful_shutdown=_SHUTDOWN_TIMEOUT,
        )
    )

    loop = cast("_AsyncioLoop", current_token().native_token)
    loop.set_exception_handler(AcceptErrors(loop.default_exception_handler))

    def end() -> None:
        # A second signal ends the process without draining.
        server.force_exit = drain.begun.is_set()
        drain.begun.set()

    signals = {signal.SIGTERM: end, signal.SIGINT: end}
    if sys.platform != "win32":
        signals[signal.SIGHUP] = partial(_reload, governor, options.config)
    with _handled(signals):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_end_when_drained, server, drain, options.drain)
            _announce(listener)
            if processes is not None:
                print(f"governor serve: processes share its limits on {processes.address}", flush=True)
                if options.exit_idle is not None:
                    tasks.start_soon(end_when_idle, processes, options.exit_idle, end)
            with notified():
                await server.serve(sockets=[listener])
            tasks.cancel_scope.cancel()


async def _end_when_drained(server: uvicorn.Server, drain: Drain, seconds: float) -> None:
    await drain.begun.wait()
    with anyio.move_on_after(seconds):
        while server.server_state.connections and not server.force_exit:  # noqa: ASYNC110 - uvicorn has no event for this
            await anyio.sleep(_CHECK_INTERVAL)
    server.should_exit = True


def _reload(governor: Governor, path: str | None) -> None:
    """Reloads the settings. After a mistake the old settings stay in force."""
    try:
        governor.reconfigure(settings(path)[0])
    except GovernorError as mistake:
        _say(f"settings not changed: {mistake}")
    else:
        _say("settings read again")


@contextmanager
def _handled(signals: Mapping[signal.Signals, Callable[[], object]]) -> Iterator[None]:
    """Calls these functions on the current loop when signals arrive; restores the previous handlers at the end."""
    post = current_post()
    before = {number: signal.signal(number, partial(_hand_over, post, call)) for number, call in signals.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hand_over(post: Callable[[Callable[[], object]], object], call: Callable[[], object], *_: object) -> None:
    post(call)


def _handed_over(sockets: Mapping[str, socket.socket]) -> Mapping[str, socket.socket]:
    """The sockets that systemd has handed over: `http`, and `machine` for other processes. Raises `ConfigError` for others."""
    for name, handed in sockets.items():
        if handed.family not in _FAMILIES.get(name, ()):
            allowed = "a socket of IP with the name http, or a unix socket with the name machine"
            raise ConfigError("LISTEN_FDNAMES", name, allowed)
    return sockets


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens at the address. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=1024)
    # Without it the body of an answer waits up to 40 ms for the client to confirm the headers: asyncio sets it only on sockets
    # that it made. Connections inherit it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _announce(listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    print(f"governor serve: listening on http://{url_host(host)}:{port}/", flush=True)


def _say(words: str) -> None:
    print(f"governor serve: {words}", file=sys.stderr, flush=True)
