"""The types of the ban benchmark: a scenario, a contender, and what is recorded of a run."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from functools import lru_cache
from typing import Final, Protocol

import httpx2
import msgspec

from benchmarks.bans.calls import Call, Workload
from benchmarks.bans.hints import Hints
from benchmarks.bans.network import CALL, Latency
from benchmarks.bans.provider import Arrival, Provider, Span

#: The requests that a contender sends for one call, at most.
ATTEMPTS: Final = 6


class Said(StrEnum):
    """What the provider of a scenario says about its limits."""

    HINTS = "hints"
    NOTHING = "nothing"
    WRONG = "wrong"


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A provider, and a program that calls it. Times in microseconds.

    The program makes its calls in `span`; the run ends after twice that. `provider` makes the model from a seed and hints.
    `policy` is what the provider documents, in the shape of a policy file, and `rate` the same as far as a limiter of requests
    can keep it: requests, and seconds. `provider_name` decides the dialect. `quick` scenarios are part of a quick run.
    Those `over_http` run in real time.
    """

    name: str
    title: str
    span: int
    workload: Workload
    provider: Callable[[int, Hints], Provider]
    hints: Hints
    said: Said
    policy: Mapping[str, object]
    rate: tuple[int, float]
    latency: Latency = Latency(base=20_000, jitter=200_000)
    provider_name: str = "acme"
    seeds: int = 1
    quick: bool = False
    over_http: bool = False


class Clock(Protocol):
    """The clock of a run: that of the loop in virtual time, or a real one."""

    @property
    def now(self) -> int:
        """Microseconds since the start."""

    def time(self) -> float:
        """Seconds since the start."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a contender is given for one run."""

    scenario: Scenario
    clock: Clock
    wire: httpx2.AsyncBaseTransport
    seed: int


#: Makes one call, retries included. Returns whether it was answered; raises nothing.
Make = Callable[[Call], Awaitable[bool]]


class Contender(Protocol):
    """A client under test."""

    @property
    def name(self) -> str:
        """Its name on the command line."""

    @property
    def title(self) -> str:
        """What it is, for a table."""

    @property
    def knows(self) -> str:
        """What it knows of the limits."""

    def open(self, job: Job) -> AbstractAsyncContextManager[Make]:
        """Opens it for one run."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run, as the program and the provider have seen it. `answered` has an instant for each call, or None."""

    scenario: Scenario
    contender: str
    seed: int
    calls: Sequence[Call]
    answered: Sequence[int | None]
    log: Sequence[Arrival]
    bans: Sequence[Span]


class DeniedError(Exception):
    """An answer of 400 or more, for contenders that retry on exceptions."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(f"answered {response.status_code}")
        self.status = response.status_code
        self.retry_after = response.headers.get("retry-after")


def request_of(call: Call) -> httpx2.Request:
    """The request of a call, to a path of its own; its body is as long as its prompt, at 4 bytes per token.

    The text has blanks, as prompts have: 2,000 letters without one are a file in base64, whose size says nothing about tokens.
    """
    url = _url(call.key or "items", call.number)
    if not call.prompt:
        return httpx2.Request(call.method, url, extensions={CALL: call})
    body = {
        "model": call.key or "m",
        "max_tokens": call.max_tokens,
        "messages": [{"role": "user", "content": "the " * call.prompt}],
    }
    return httpx2.Request(call.method, url, json=body, extensions={CALL: call})


async def send(wire: httpx2.AsyncBaseTransport, call: Call) -> httpx2.Response:
    """Sends a call once and reads the answer. Raises `DeniedError` for a status of 400 or more."""
    response = await wire.handle_async_request(request_of(call))
    await response.aread()
    if response.status_code >= 400:
        raise DeniedError(response)
    return response


@lru_cache(maxsize=16_384)
def _url(name: str, number: int) -> httpx2.URL:
    return httpx2.URL(f"https://api.example/{name}/{number}")
