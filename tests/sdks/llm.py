"""Drivers of the SDKs of language models: each asks for a completion, whose answer is `pong`."""

import json
from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any

from tests.sdks.setup import Setup
from tests.support.provider import End, Reply, answer, events

MODEL = "m"
MESSAGES: Any = [{"role": "user", "content": "ping"}]


def read(setup: Setup, chunks: Iterable[Any], text: Callable[[Any], str | None]) -> str:
    """The text of a stream, up to the event after which its reader leaves."""
    said = []
    for chunk in chunks:
        said.append(text(chunk) or "")
        if not setup.reads(len(said)):
            break
    return "".join(said)


async def aread(setup: Setup, chunks: AsyncIterable[Any], text: Callable[[Any], str | None]) -> str:
    """`read` for async code."""
    said = []
    async for chunk in chunks:
        said.append(text(chunk) or "")
        if not setup.reads(len(said)):
            break
    return "".join(said)


# The format of OpenAI, which others use as well.

COMPLETION = answer(
    {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "pong"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
)


def completion_events(end: End = End.COMPLETE) -> Reply:
    """The answer of OpenAI in pieces; without its last line if it is not complete."""
    chunks = [
        {
            "id": "1",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": MODEL,
            "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}],
        }
        for text in ("po", "ng")
    ]
    return events(*chunks, *(["data: [DONE]"] if end is End.COMPLETE else []), end=end)


def delta(chunk: Any) -> str | None:
    """The text of a chunk in the format of OpenAI."""
    text: str | None = chunk.choices[0].delta.content if chunk.choices else None
    return text


def openai_client(setup: Setup) -> Any:
    import openai

    return openai.OpenAI(
        api_key="key", base_url=f"{setup.url}/v1", http_client=setup.httpx2_client(), **setup.without_retries(max_retries=0)
    )


def openai_async_client(setup: Setup) -> Any:
    import openai

    return openai.AsyncOpenAI(
        api_key="key",
        base_url=f"{setup.url}/v1",
        http_client=setup.httpx2_async_client(),
        **setup.without_retries(max_retries=0),
    )


def groq_client(setup: Setup) -> Any:
    import groq

    return groq.Groq(
        api_key="key", base_url=setup.url, http_client=setup.httpx_client(), **setup.without_retries(max_retries=0)
    )


def groq_async_client(setup: Setup) -> Any:
    import groq

    return groq.AsyncGroq(
        api_key="key", base_url=setup.url, http_client=setup.httpx_async_client(), **setup.without_retries(max_retries=0)
    )


def complete(client: Callable[[Setup], Any]) -> Callable[[Setup], str]:
    """A call in the format of OpenAI."""

    def call(setup: Setup) -> str:
        with client(setup) as sdk:
            said: str = sdk.chat.completions.create(model=MODEL, messages=MESSAGES).choices[0].message.content
            return said

    return call


def complete_stream(client: Callable[[Setup], Any]) -> Callable[[Setup], str]:
    """`complete` as a stream."""

    def call(setup: Setup) -> str:
        with client(setup) as sdk, sdk.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True) as chunks:
            return read(setup, chunks, delta)

    return call


def acomplete(client: Callable[[Setup], Any]) -> Callable[[Setup], Any]:
    """`complete` for async code."""

    async def call(setup: Setup) -> str:
        async with client(setup) as sdk:
            said: str = (await sdk.chat.completions.create(model=MODEL, messages=MESSAGES)).choices[0].message.content
            return said

    return call


def acomplete_stream(client: Callable[[Setup], Any]) -> Callable[[Setup], Any]:
    """`complete_stream` for async code."""

    async def call(setup: Setup) -> str:
        async with (
            client(setup) as sdk,
            await sdk.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True) as chunks,
        ):
            return await aread(setup, chunks, delta)

    return call


# Anthropic.

MESSAGE = {
    "id": "1",
    "type": "message",
    "role": "assistant",
    "model": MODEL,
    "content": [{"type": "text", "text": "pong"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}


def message_events(end: End = End.COMPLETE) -> Reply:
    """The answer of Anthropic in pieces."""
    begin: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}} for text in ("po", "ng")),
    ]
    rest: list[dict[str, Any]] = [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    return named_events(*begin, *(rest if end is End.COMPLETE else []), end=end)


def named_events(*data: dict[str, Any], end: End) -> Reply:
    """An event stream whose events bear the name that their data calls `type`."""
    return events(*(f"event: {one['type']}\ndata: {json.dumps(one)}" for one in data), end=end)


def anthropic_client(setup: Setup) -> Any:
    import anthropic

    return anthropic.Anthropic(
        api_key="key", base_url=setup.url, http_client=setup.httpx2_client(), **setup.without_retries(max_retries=0)
    )


def anthropic_async_client(setup: Setup) -> Any:
    import anthropic

    return anthropic.AsyncAnthropic(
        api_key="key", base_url=setup.url, http_client=setup.httpx2_async_client(), **setup.without_retries(max_retries=0)
    )


def anthropic_call(setup: Setup) -> str:
    with anthropic_client(setup) as sdk:
        said: str = sdk.messages.create(model=MODEL, max_tokens=9, messages=MESSAGES).content[0].text
        return said


def anthropic_stream(setup: Setup) -> str:
    with (
        anthropic_client(setup) as sdk,
        sdk.messages.stream(model=MODEL, max_tokens=9, messages=MESSAGES) as chunks,
    ):
        return read(setup, chunks.text_stream, str)


async def anthropic_async_call(setup: Setup) -> str:
    async with anthropic_async_client(setup) as sdk:
        said: str = (await sdk.messages.create(model=MODEL, max_tokens=9, messages=MESSAGES)).content[0].text
        return said


async def anthropic_async_stream(setup: Setup) -> str:
    async with (
        anthropic_async_client(setup) as sdk,
        sdk.messages.stream(model=MODEL, max_tokens=9, messages=MESSAGES) as chunks,
    ):
        return await aread(setup, chunks.text_stream, str)


# Mistral.


def mistral_client(setup: Setup) -> Any:
    from mistralai.client import Mistral

    return Mistral(
        api_key="key",
        server_url=setup.url,
        client=setup.httpx2_client(),
        async_client=setup.httpx2_async_client(),
        timeout_ms=5_000,
    )


def mistral_call(setup: Setup) -> str:
    with mistral_client(setup) as sdk:
        said: str = sdk.chat.complete(model=MODEL, messages=MESSAGES).choices[0].message.content
        return said


def mistral_stream(setup: Setup) -> str:
    with mistral_client(setup) as sdk, sdk.chat.stream(model=MODEL, messages=MESSAGES) as chunks:
        return read(setup, chunks, lambda chunk: delta(chunk.data))


async def mistral_async_call(setup: Setup) -> str:
    async with mistral_client(setup) as sdk:
        said: str = (await sdk.chat.complete_async(model=MODEL, messages=MESSAGES)).choices[0].message.content
        return said


async def mistral_async_stream(setup: Setup) -> str:
    async with mistral_client(setup) as sdk, await sdk.chat.stream_async(model=MODEL, messages=MESSAGES) as chunks:
        return await aread(setup, chunks, lambda chunk: delta(chunk.data))


# Google.


def candidate(text: str) -> dict[str, Any]:
    return {"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}}]}


def genai_events(end: End = End.COMPLETE) -> Reply:
    """The answer of Gemini in pieces."""
    return events(candidate("po"), candidate("ng"), end=end)


def genai_client(setup: Setup) -> Any:
    from google import genai
    from google.genai import types

    clients = {"httpx_client": setup.httpx2_client(), "httpx_async_client": setup.httpx2_async_client()}
    options = types.HttpOptions(
        base_url=setup.url,
        timeout=5_000,
        **{name: client for name, client in clients.items() if client is not None},
        **setup.with_retries(retry_options=types.HttpRetryOptions(attempts=3)),
    )
    return genai.Client(api_key="key", http_options=options)


def genai_call(setup: Setup) -> str:
    with genai_client(setup) as sdk:
        said: str = sdk.models.generate_content(model=MODEL, contents="ping").text
        return said


def genai_stream(setup: Setup) -> str:
    with genai_client(setup) as sdk:
        chunks = sdk.models.generate_content_stream(model=MODEL, contents="ping")
        return read(setup, chunks, lambda chunk: chunk.text)


async def genai_async_call(setup: Setup) -> str:
    async with genai_client(setup).aio as sdk:
        said: str = (await sdk.models.generate_content(model=MODEL, contents="ping")).text
        return said


async def genai_async_stream(setup: Setup) -> str:
    async with genai_client(setup).aio as sdk:
        chunks = await sdk.models.generate_content_stream(model=MODEL, contents="ping")
        return await aread(setup, chunks, lambda chunk: chunk.text)


# Cohere.

COHERE = answer(
    {
        "id": "1",
        "finish_reason": "COMPLETE",
        "message": {"role": "assistant", "content": [{"type": "text", "text": "pong"}]},
    }
)


def cohere_events(end: End = End.COMPLETE) -> Reply:
    """The answer of Cohere in pieces."""
    deltas = ({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": text}}}} for text in ("po", "ng"))
    return named_events(*deltas, end=end)


def cohere_call(setup: Setup) -> str:
    import cohere

    client = cohere.ClientV2(
        "key", base_url=setup.url, httpx_client=setup.httpx_client(), **setup.without_retries(max_retries=0)
    )
    said: str = client.chat(model=MODEL, messages=MESSAGES).message.content[0].text
    return said


def cohere_stream(setup: Setup) -> str:
    import cohere

    client = cohere.ClientV2(
        "key", base_url=setup.url, httpx_client=setup.httpx_client(), **setup.without_retries(max_retries=0)
    )
    return read(setup, client.chat_stream(model=MODEL, messages=MESSAGES), lambda event: event.delta.message.content.text)


async def cohere_async_call(setup: Setup) -> str:
    import cohere

    async with cohere.AsyncClientV2(
        "key", base_url=setup.url, httpx_client=setup.httpx_async_client(), **setup.without_retries(max_retries=0)
    ) as client:
        said: str = (await client.chat(model=MODEL, messages=MESSAGES)).message.content[0].text
        return said
