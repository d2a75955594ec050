"""Drivers of the SDKs that reach the models of others: Hugging Face, Ollama, LiteLLM."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.sdks.llm import MESSAGES, MODEL, delta, read
from tests.sdks.setup import TIMEOUT, Setup
from tests.support.provider import End, Reply, stream

# Hugging Face.


@contextmanager
def the_hub(setup: Setup) -> Iterator[None]:
    """The hub, whose client is one for the process."""
    import httpx2
    import huggingface_hub
    from huggingface_hub.utils._http import default_client_factory

    huggingface_hub.set_client_factory(lambda: setup.httpx2_client() or httpx2.Client(timeout=TIMEOUT))
    try:
        yield
    finally:
        huggingface_hub.set_client_factory(default_client_factory)


def hub_call(setup: Setup) -> str:
    """A request of the hub, which repeats what fails."""
    from huggingface_hub.utils import http_backoff

    with the_hub(setup):
        response = http_backoff("GET", f"{setup.url}/ping", **setup.without_retries(max_retries=0))
        said: str = response.json()["name"]
        return said


def hub_chat(setup: Setup) -> str:
    import huggingface_hub

    with the_hub(setup):
        client = huggingface_hub.InferenceClient(base_url=f"{setup.url}/v1", api_key="key", timeout=TIMEOUT)
        said: str = client.chat_completion(MESSAGES, model=MODEL).choices[0].message.content
        return said


def hub_stream(setup: Setup) -> str:
    import huggingface_hub

    with the_hub(setup):
        client = huggingface_hub.InferenceClient(base_url=f"{setup.url}/v1", api_key="key", timeout=TIMEOUT)
        return read(setup, client.chat_completion(MESSAGES, model=MODEL, stream=True), delta)


# Ollama.


def ollama_message(text: str, *, done: bool = False) -> dict[str, Any]:
    return {
        "model": MODEL,
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": text},
        "done": done,
    }


def ollama_events(end: End = End.COMPLETE) -> Reply:
    """The answer of Ollama in lines of JSON."""
    lines = (json.dumps(ollama_message(text)).encode() + b"\n" for text in ("po", "ng"))
    return stream(*lines, kind="application/x-ndjson", end=end)


def ollama_options(setup: Setup, *, is_async: bool = False) -> dict[str, Any]:
    if setup.governor is None:
        return {"host": setup.url, "timeout": TIMEOUT}
    from governor_client.httpx import AsyncGovernedTransport, GovernedTransport

    kind = AsyncGovernedTransport if is_async else GovernedTransport
    return {"host": setup.url, "timeout": TIMEOUT, "transport": kind(setup.provider, **setup.govern())}


def ollama_call(setup: Setup) -> str:
    import ollama

    with ollama.Client(**ollama_options(setup)) as sdk:
        said: str = sdk.chat(MODEL, MESSAGES).message.content
        return said


def ollama_stream(setup: Setup) -> str:
    import ollama

    with ollama.Client(**ollama_options(setup)) as sdk:
        return read(setup, sdk.chat(MODEL, MESSAGES, stream=True), lambda chunk: chunk.message.content)


async def ollama_async_call(setup: Setup) -> str:
    import ollama

    async with ollama.AsyncClient(**ollama_options(setup, is_async=True)) as sdk:
        said: str = (await sdk.chat(MODEL, MESSAGES)).message.content
        return said


# LiteLLM, which sends with the SDK of OpenAI or by itself.


def litellm_openai(setup: Setup) -> str:
    import litellm

    litellm.client_session = setup.httpx_client()
    litellm.in_memory_llm_clients_cache.flush_cache()
    said: str = (
        litellm.completion(
            model=f"openai/{MODEL}",
            messages=MESSAGES,
            api_base=f"{setup.url}/v1",
            api_key="key",
            timeout=TIMEOUT,
            **setup.without_retries(max_retries=0),
        )
        .choices[0]
        .message.content
    )
    return said


def litellm_anthropic(setup: Setup) -> str:
    import litellm
    from litellm.llms.custom_httpx.http_handler import HTTPHandler

    client = setup.httpx_client()
    litellm.in_memory_llm_clients_cache.flush_cache()
    said: str = (
        litellm.completion(
            model=f"anthropic/{MODEL}",
            messages=MESSAGES,
            api_base=setup.url,
            api_key="key",
            timeout=TIMEOUT,
            client=None if client is None else HTTPHandler(client=client),
            **setup.without_retries(max_retries=0),
        )
        .choices[0]
        .message.content
    )
    return said
