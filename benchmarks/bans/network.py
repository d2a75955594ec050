"""The way between a client and the model of a provider: latency, jitter, and answers that come in parts.

A transport for httpx2, so that a contender sends what it would send over a socket. A request that its caller gives up arrives
all the same, and the provider works on it.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from random import Random
from typing import Final

import httpx2
import msgspec

from benchmarks.bans.calls import Call
from benchmarks.bans.provider import Answer, Provider
from benchmarks.bans.virtual_time import SECOND, VirtualLoop

#: The extension of a request that holds its call.
CALL: Final = "benchmark.call"


class Latency(msgspec.Struct, frozen=True):
    """Microseconds of one way: at least `base`, and up to `jitter` more, drawn evenly."""

    base: int
    jitter: int

    def draw(self, seed: int, call: int, attempt: int) -> tuple[int, int]:
        """The time there and the time back, of one attempt of one call: the same for every contender."""
        random = Random((seed << 40) + (call << 12) + attempt)
        return self.base + int(random.random() * self.jitter), self.base + int(random.random() * self.jitter)


class Wire(httpx2.AsyncBaseTransport):
    """Sends requests to the model, in virtual time."""

    def __init__(self, loop: VirtualLoop, provider: Provider, latency: Latency, seed: int) -> None:
        self._loop = loop
        self._provider = provider
        self._latency = latency
        self._seed = seed
        self._attempts: Counter[int] = Counter()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Sends one request and returns when the head of the answer is there."""
        call = request.extensions[CALL]
        there, back = self._latency.draw(self._seed, call.number, self._attempts[call.number])
        self._attempts[call.number] += 1
        arrived: asyncio.Future[Answer] = self._loop.create_future()
        at = self._loop.now + there
        self._loop.call_at(at / SECOND, self._arrive, call, arrived)
        answer = await arrived
        await self._sleep_until(at + answer.head + back)
        stream = _Body(self, at + answer.service + back, _usage(call) if answer.status < 400 and call.prompt else b"{}")
        headers = [("content-type", "application/json"), *answer.headers.items()]
        return httpx2.Response(answer.status, headers=headers, stream=stream, request=request)

    def _arrive(self, call: Call, arrived: "asyncio.Future[Answer]") -> None:
        answer = self._provider.arrive(self._loop.now, call)
        if not arrived.done():
            arrived.set_result(answer)

    async def _sleep_until(self, at: int) -> None:
        if at > self._loop.now:
            await asyncio.sleep((at - self._loop.now) / SECOND)


class _Body(httpx2.AsyncByteStream):
    """The body of an answer, complete at an instant."""

    def __init__(self, wire: Wire, complete_at: int, content: bytes) -> None:
        self._content = content
        self._wire = wire
        self._complete_at = complete_at

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await self._wire._sleep_until(self._complete_at)
        yield self._content


def _usage(call: Call) -> bytes:
    """The body of an answer that says how many tokens the call used, as OpenAI and as Anthropic name them."""
    usage = {"prompt_tokens": call.prompt, "completion_tokens": call.output, "total_tokens": call.prompt + call.output}
    return msgspec.json.encode({"usage": {**usage, "input_tokens": call.prompt, "output_tokens": call.output}})
