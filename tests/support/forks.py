"""Runs Python programs, each in a process that is forked from this one, which has imported what most of them need.

Reads lines of JSON, `Order`, and answers each with the exit status of its program. The forked process goes on as the program:
what it runs is its main module, and the interpreter ends as it always does. To start an interpreter and to import the project
would take longer than most programs do.
"""

import builtins
import gc
import os
import signal
import sys
import warnings
from importlib import import_module
from types import ModuleType
from typing import Final

import msgspec

#: What most programs import.
MODULES: Final = (
    "anyio._backends._asyncio",
    "anyio._backends._trio",
    "governor._background",
    "governor._supervisor",
    "governor_client._client",
    "importlib.resources.readers",
    "tests.support.leases",
)


class Order(msgspec.Struct, frozen=True):
    """A program, and what it finds: the filter of warnings, the folder, the environment, and files for what it writes."""

    program: str
    warnings: str
    folder: str
    environ: dict[str, str]
    output: str
    errors: str
    #: Seconds after which a signal ends it.
    patience: int


def serve() -> Order | None:
    """Forks a process for each order. Returns the order in that process, and None at the end of input."""
    while line := sys.stdin.buffer.readline():
        order = msgspec.json.decode(line, type=Order)
        if child := os.fork():
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            os.write(1, f"{status}\n".encode())
        else:
            return order
    return None


def become(order: Order) -> None:
    """Gives this process what the program must find."""
    signal.alarm(order.patience)
    for descriptor, name, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, order.output, os.O_WRONLY | os.O_CREAT),
        (2, order.errors, os.O_WRONLY | os.O_CREAT),
    ):
        opened = os.open(name, flags)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.environ)
    sys.argv[:] = ["-c"]
    sys.path[0] = ""
    action, _, category = order.warnings.partition("::")
    warnings.simplefilter(action, getattr(builtins, category) if category else Warning)  # type: ignore[arg-type] # a word
    sys.modules["__main__"] = ModuleType("__main__")


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in MODULES:
            import_module(name)
    gc.freeze()
    if asked := serve():
        become(asked)
        exec(compile(asked.program, "<string>", "exec"), sys.modules["__main__"].__dict__)
