"""The record that makes one SDK known to the tests."""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.sdks.setup import Setup
from tests.support.provider import End, Reply

Call = Callable[[Setup], Any]


@dataclass(frozen=True, kw_only=True)
class Stream:
    """An answer that comes in two events: how it is asked for, and what the provider sends."""

    call: Call
    path: str
    events: Callable[[End], Reply]


@dataclass(frozen=True, kw_only=True)
class Driver:
    """How a program calls one SDK, and what the provider of the SDK answers.

    `call` makes one call and returns `pong`, and may be a coroutine function. It takes from the setup what it needs, and leaves
    everything else to the SDK.
    """

    name: str
    #: The distribution whose version is in the table.
    package: str
    #: The HTTP library beneath.
    library: str
    #: What a program writes to govern the SDK.
    governed_by: str
    #: The retries of the SDK as it comes, and what a program writes to switch them off.
    retries: str = "none"
    switched_off_by: str = ""
    method: str = "POST"
    path: str
    reply: Reply
    #: Replies of the other paths that a call needs, and the number of requests to them.
    others: Mapping[str, Reply] = field(default_factory=dict)
    call: Call
    stream: Stream | None = None
    #: The requests of a call in an outage, by the policy of the tests; 1 for a permit around a call, which is not repeated.
    attempts: int = 3
    #: Whether the retries of the SDK multiply with those of the governor, because nothing tells it to stop.
    multiplies: bool = False
    #: The exception of the SDK for an answer 429.
    denied: str

    def __str__(self) -> str:
        return self.name.replace(" ", "-").replace(",", "")


def run(call: Call, setup: Setup) -> Any:
    """What the call returns; a coroutine runs in an event loop of its own."""
    said = call(setup)
    return asyncio.run(said) if inspect.iscoroutine(said) else said
