"""Limits of tokens with real SDKs: the estimate is charged before a call, and what its answer or stream says after it."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple

import pytest

from governor import CounterRecord, Governor
from governor_client._estimate import UNSAID_OUTPUT
from tests.sdks import llm
from tests.sdks.conftest import in_progress
from tests.sdks.driver import Driver, run
from tests.sdks.setup import Setup
from tests.support.governors import only_retries
from tests.support.provider import End, Provider, Reply, answer, events

pytestmark = pytest.mark.promise("R03")

#: The SDKs of these tests, blocking and async.
PACKAGES: Final = ("openai", "anthropic", "google-genai")
LIMIT: Final = 100_000


class Told(NamedTuple):
    """Answers that say what was used: as a whole, and as a stream."""

    whole: Reply
    events: Callable[[End], Reply]
    #: The largest output that the request allows.
    output: int
    #: The input that a stream has said when it breaks off, if it says it before its end.
    input: int | None


def _openai() -> Told:
    usage = {"prompt_tokens": 70, "completion_tokens": 7, "total_tokens": 77}
    completion = json.loads(llm.COMPLETION.pieces[0])

    def stream(end: End) -> Reply:
        pieces = [piece.decode().removesuffix("\n\n") for piece in llm.completion_events(End.BROKEN).pieces]
        last = {**json.loads(pieces[-1].removeprefix("data: ")), "choices": [], "usage": usage}
        return events(*pieces, *([last, "data: [DONE]"] if end is End.COMPLETE else []), end=end)

    return Told(answer({**completion, "usage": usage}), stream, UNSAID_OUTPUT, None)


def _anthropic() -> Told:
    begun = {**llm.MESSAGE, "usage": {"input_tokens": 70, "output_tokens": 1}}
    delta = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 7},
    }

    def stream(end: End) -> Reply:
        first = {"type": "message_start", "message": {**begun, "content": [], "stop_reason": None}}
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "pong"}}
        rest: list[dict[str, Any]] = [{"type": "content_block_stop", "index": 0}, delta, {"type": "message_stop"}]
        return llm.named_events(first, block, text, *(rest if end is End.COMPLETE else []), end=end)

    return Told(answer({**begun, "usage": {"input_tokens": 70, "output_tokens": 7}}), stream, 9, 70)


def _gemini() -> Told:
    def said(text: str, output: int) -> dict[str, Any]:
        counts = {"promptTokenCount": 70, "candidatesTokenCount": output, "totalTokenCount": 70 + output}
        return {**llm.candidate(text), "usageMetadata": counts}

    def stream(end: End) -> Reply:
        return events(said("po", 3), *([said("ng", 7)] if end is End.COMPLETE else []), end=end)

    return Told(answer(said("pong", 7)), stream, UNSAID_OUTPUT, 70)


@pytest.fixture
def told(driver: Driver) -> Told:
    """The answers of the driver's provider."""
    return {"openai": _openai, "anthropic": _anthropic, "google-genai": _gemini}[driver.package]()


@pytest.fixture
def governor() -> Iterator[Governor]:
    """A governor with a limit of tokens, and no retries."""
    with Governor(only_retries("1ms", limits=[f"{LIMIT} tokens per hour strict"], retry={"attempts": 1})) as governor:
        yield governor


def used(governor: Governor) -> int:
    """The tokens that the limit counts."""
    return LIMIT - governor.statistics().scopes["provider:post"].limits[0].available


def estimate(provider: Provider, output: int) -> int:
    """What the request is expected to use: a token for four bytes, and the largest output."""
    return -(-len(provider.requests[0].body) // 4) + output


def test_an_answer_is_charged_with_what_it_says(driver: Driver, told: Told, provider: Provider, governor: Governor) -> None:
    provider.at(driver.path, told.whole)
    said = run(driver.call, Setup(url=provider.url, governor=governor))

    assert ("pong", 77) == (said, used(governor))


def test_a_stream_is_charged_with_what_it_says_at_its_end(
    driver: Driver, told: Told, provider: Provider, governor: Governor
) -> None:
    assert driver.stream is not None
    provider.at(driver.stream.path, told.events(End.COMPLETE))
    said = run(driver.stream.call, Setup(url=provider.url, governor=governor))

    assert ("pong", 77) == (said, used(governor))


@pytest.mark.parametrize("end", [End.BROKEN, End.SILENT], ids=["breaks off", "is left"])
def test_a_stream_without_an_end_stays_charged_with_the_output_that_it_may_have_had(
    end: End, driver: Driver, told: Told, provider: Provider, governor: Governor, counted: Callable[[], CounterRecord]
) -> None:
    assert driver.stream is not None
    provider.at(driver.stream.path, told.events(end))
    leave = 1 if end is End.SILENT else None
    with suppress(Exception):
        run(driver.stream.call, Setup(url=provider.url, governor=governor, own_retries=False, leave_after=leave))

    expected = estimate(provider, told.output) if told.input is None else told.input + told.output
    assert (1, 0, expected) == (len(provider.requests), in_progress(counted()), used(governor))
