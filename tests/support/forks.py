"""Runs Python programs, each in a process that is forked from this one, which has imported what most of them need.

Each message on the socket that is standard input is an `Order`, with four files: the standard input, output and errors of the
program, and the place for its number and then its exit status. The forked process goes on as the program: what it runs is its
main module, and the interpreter ends as it always does. To start an interpreter and to import the project would take longer
than most programs do.
"""

import builtins
import gc
import os
import signal
import socket
import sys
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final

import msgspec

#: What most programs import.
MODULES: Final = (
    "anyio._backends._asyncio",
    "anyio._backends._trio",
    "governor._background",
    "governor._supervisor",
    "governor.cli",
    "governor.daemon.serve",
    "governor_client._client",
    "importlib.resources.readers",
    "tests.support.leases",
    "uvicorn.lifespan.on",
    "uvicorn.protocols.http.h11_impl",
)


class Order(msgspec.Struct, frozen=True):
    """A program, and what it finds: its arguments, the filter of warnings if any, the folder and the environment."""

    program: str
    argv: list[str]
    warnings: str
    folder: str
    environ: dict[str, str]
    #: Seconds after which a signal ends it; 0 for never.
    patience: int


def serve(orders: socket.socket) -> tuple[Order, list[int]] | None:
    """Forks a process for each order. Returns the order and the files in that process, and None at the end of input."""
    while True:
        message, files, _, _ = socket.recv_fds(orders, 1 << 16, 4)
        forget_those_that_ended()
        while message and not message.endswith(b"\n"):
            message += orders.recv(1 << 16)
        if not message:
            return None
        if os.fork() == 0:
            orders.close()
            *streams, told = files
            fork_watched(streams, told)
            return msgspec.json.decode(message, type=Order), streams
        for file in files:
            os.close(file)


def forget_those_that_ended() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def fork_watched(streams: list[int], told: int) -> None:
    """Returns in a new process. This one tells how that has ended, and ends."""
    child = os.fork()
    if child == 0:
        os.close(told)
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for file in (*streams, 0, 1, 2):
        os.close(file)
    os.write(told, f"{child}\n".encode())
    os.write(told, f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n".encode())
    os._exit(0)


def become(order: Order, streams: list[int]) -> None:
    """Gives this process what the program must find."""
    signal.alarm(order.patience)
    for descriptor, stream in enumerate(streams):
        os.dup2(stream, descriptor)
        os.close(stream)
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.environ)
    sys.argv[:] = order.argv
    sys.path[0] = "" if order.argv[0] == "-c" else str(Path(order.argv[0]).parent)
    if order.warnings:
        action, _, category = order.warnings.partition("::")
        warnings.simplefilter(action, getattr(builtins, category) if category else Warning)  # type: ignore[arg-type] # a word
    sys.modules["__main__"] = ModuleType("__main__")


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in MODULES:
            import_module(name)
    gc.freeze()
    if asked := serve(socket.socket(fileno=os.dup(0))):
        become(*asked)
        exec(compile(asked[0].program, "<string>", "exec"), sys.modules["__main__"].__dict__)
