"""How much each call may take: the one table of counts. Higher ones fail; lower ones say that the table can be lowered."""

import sys
import warnings
from collections.abc import Sequence
from typing import Final, NamedTuple

from governor import _build

#: The Python that bytes and blocks are counted on: they differ from version to version.
BYTES_OF: Final = ("cpython", (3, 11))
#: By how much bytes vary all the same: an integer or a table may just have grown.
BYTES_VARY: Final = 64


class Allowed(NamedTuple):
    """Python calls; bytes that are allocated at the same time; blocks that 50 calls leave behind.

    On trio some calls ask whether tasks can be woken here: `on_trio` is how many Python calls that adds.
    """

    calls: int
    bytes: int
    blocks: int = 0
    on_trio: int = 0


ALLOWED: Final = {
    "pair": Allowed(4, 184),
    "async with": Allowed(9, 820),
    "denied": Allowed(5, 128),
    "two limits": Allowed(5, 184),
    "strict window": Allowed(10, 192, on_trio=3),
    "strict window, answered": Allowed(34, 728, on_trio=4),
    "strict window of the provider": Allowed(10, 248, on_trio=3),
    "in flight": Allowed(10, 192, on_trio=3),
    "failed, and a pair": Allowed(138, 888, blocks=10, on_trio=4),
    "failure rate": Allowed(9, 192, blocks=50, on_trio=3),
    "written ahead": Allowed(18, 0),
    "written ahead, strict window": Allowed(27, 0, on_trio=3),
    "leased pair": Allowed(2, 120),
    "asked of a daemon": Allowed(46, 0),
    "message round trip": Allowed(6, 1281),
}

#: Python calls of this project in one request to an application.
INBOUND: Final = {"governed": 8, "denied": 11, "announced": 24}
#: Those that find out whether the loop of trio runs, more.
INBOUND_ON_TRIO: Final = 4

#: Python calls in reading the hints of an answer, with two limits in those of OpenAI and the IETF.
HINTS: Final = {
    "silent": 2,
    "openai": 25,
    "openai denied": 28,
    "github": 19,
    "github denied": 21,
    "ietf": 21,
    "ietf denied": 21,
}

#: Modules of this project that a program loads, at most: `import governor` alone, one name of it, a first permit, an answer.
IMPORTS: Final = {"import": 4, "client": 5, "errors": 6, "version": 9, "permit": 148, "answer": 17}

#: The first permit of a scope, and what the scope takes at rest: Python calls, bytes, and objects that the collector tracks.
NEW_SCOPE: Final = {"calls": 26, "bytes": 1_700, "objects": 5}

#: Python calls of this project in one GET, on the thread of the caller.
ADAPTERS: Final = {
    "httpx2": 10,
    "httpx2-async": 14,
    "httpx": 10,
    "httpx-async": 15,
    "client": 14,
    "client-async": 18,
    "client-of-httpx": 14,
    "client-of-httpx-async": 24,
    "requests": 8,
    "requests-mounted": 7,
    "urllib3": 9,
    "aiohttp": 20,
    "aiohttp-middleware": 10,
}


class CanBeLowered(UserWarning):
    """The code takes less than the table allows."""


def compare(name: str, what: str, allowed: int, counted: int, called: Sequence[str] = ()) -> None:
    """Raises `AssertionError` if more is counted than the table allows, and warns if it is less."""
    assert counted <= allowed, f"{name}: {counted} {what}, and {allowed} are allowed. {' '.join(called)}"
    if counted < allowed and not _build.is_compiled():  # The table is that of pure Python.
        message = f"{name}: {counted} {what}, and {allowed} are allowed: lower it in tests/counts/allowed.py"
        warnings.warn(message, CanBeLowered, stacklevel=2)


def counts_bytes() -> bool:
    """Whether the table is about the bytes of this Python."""
    return (sys.implementation.name, sys.version_info[:2]) == BYTES_OF
