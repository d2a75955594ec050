"""The interface of a limiter that several processes share."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from benchmarks.contention.subject import Ask, Limit


class SharedSubject(msgspec.Struct, frozen=True):
    """A limiter with one limit for every scope; `path` is `module:name` in `benchmarks`, by which each process finds it.

    `serve` starts what the processes share, with files in an empty folder, and returns its address; it is left after the last
    process has ended. `connect` is called once in each process, and returns the way to ask in a scope, for any thread.
    """

    path: str
    serve: Callable[[Path, Limit], AbstractContextManager[str]]
    connect: Callable[[str, Limit], AbstractContextManager[Callable[[str], Ask]]]
