"""Laws of reading the usage of an answer as it passes."""

import json
from base64 import b64encode
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor_client._estimate import Estimate, estimate
from governor_client._frames import MAX_MESSAGE, Frames
from governor_client._request import Reading, Request
from governor_client._usage import MAX_OBJECT, Usage, UsageReader

pytestmark = pytest.mark.promise("R03")

AMOUNT = st.integers(0, 10**6)
#: What a model has said may look like a usage, as text and as arguments of a tool.
TEXT = st.sampled_from(['"usage": {"input_tokens": 9}', "a\\", '\\"', "x" * 300, "é\n\u2028", "}]", "[DONE]"]) | st.text()
VALUE = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.just("usage"), inner, max_size=3),
    max_leaves=8,
)
SAID = st.lists(st.fixed_dictionaries({"type": TEXT, "delta": st.fixed_dictionaries({"input": VALUE}), "choices": VALUE}))


def read(data: bytes, cuts: list[int], *, sse: bool) -> Usage | None:
    """The usage of a body that arrives in parts."""
    reader = UsageReader(sse=sse)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        reader.feed(data[start:end])
    return reader.usage


def event(value: object, newline: str) -> bytes:
    """One event."""
    return f"event: x{newline}data: {json.dumps(value)}{newline}{newline}".encode()


@given(said=SAID, taken=AMOUNT, output=AMOUNT, cuts=st.lists(st.integers(0, 2000)), newline=st.sampled_from(["\n", "\r\n"]))
def test_a_usage_is_read_wherever_the_body_is_cut_and_whatever_the_model_says(
    said: list[Any], taken: int, output: int, cuts: list[int], newline: str
) -> None:
    expected = Usage(taken, output, 0, taken)
    body = json.dumps({"content": said, "usage": {"prompt_tokens": taken, "completion_tokens": output}, "end": said})
    openai = [*said, {"choices": [], "usage": {"input_tokens": taken, "output_tokens": output}}]
    anthropic = [
        {"type": "message_start", "message": {"content": said, "usage": {"input_tokens": taken, "output_tokens": 1}}},
        *said,
        {"type": "message_delta", "usage": {"output_tokens": output}},
    ]
    gemini = [{"usageMetadata": {"promptTokenCount": taken, "totalTokenCount": taken + part}} for part in (output // 2, output)]
    streams = [b"".join(event(each, newline) for each in stream) for stream in (openai, anthropic, gemini)]

    assert expected == read(body.encode(), cuts, sse=False)
    assert expected == read(json.dumps(gemini).encode(), cuts, sse=False)
    assert [expected] * 3 == [read(stream, cuts, sse=True) for stream in streams]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135}, Usage(32, 103, 0, 32)),  # xAI thinks in the total.
        ({"tokens": {"input_tokens": 71.0, "output_tokens": 7.0}}, Usage(71, 7, 0, 71)),  # Cohere, whose numbers are doubles.
        (
            {
                "inputTokens": 4,
                "outputTokens": 51,
                "totalTokens": 1579,
                "cacheReadInputTokens": 1024,
                "cacheWriteInputTokens": 500,
            },
            Usage(504, 51, 1024, 504, 500),
        ),
        (
            {"input_tokens": 9, "output_tokens": 7, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 600},
            Usage(29, 7, 600, 29, 20),
        ),
        # LiteLLM, for a model of Anthropic.
        (
            {
                "prompt_tokens": 629,
                "completion_tokens": 7,
                "total_tokens": 636,
                "prompt_tokens_details": {"cached_tokens": 600},
                "cache_creation_input_tokens": 20,
                "cache_read_input_tokens": 600,
            },
            Usage(29, 7, 600, 629, 20),
        ),
        ({"prompt_tokens": 90, "completion_tokens": 7, "prompt_cache_hit_tokens": 60}, Usage(30, 7, 60, 90)),  # DeepSeek
        ({"prompt_tokens": 10**10, "total_tokens": True}, None),
    ],
)
def test_thoughts_and_caches_count_as_each_provider_says_them(said: dict[str, object], expected: Usage | None) -> None:
    assert expected == read(json.dumps({"usage": said}).encode(), [], sse=False)


def message(payload: bytes, headers: bytes = b"\x0b:event-type\x07\x00\x08metadata") -> bytes:
    """A message of an event stream of AWS, with checksums that nothing checks."""
    lengths = (16 + len(headers) + len(payload)).to_bytes(4) + len(headers).to_bytes(4)
    return lengths + b"sums" + headers + payload + b"sums"


def test_the_usage_of_a_stream_of_bedrock_is_read_wherever_it_is_cut() -> None:
    said = {"usage": {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9}, "p": "abc"}
    metrics = {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 7, "outputTokenCount": 2}}
    chunk = {"bytes": b64encode(json.dumps(metrics).encode()).decode(), "p": "ab"}
    text = message(b'{"delta": {"text": "{\\"usage"}}') + message(b"x" * MAX_MESSAGE)
    streams = [text + message(json.dumps(last, separators=(",", ":")).encode()) for last in (said, chunk)]
    found = set[Usage | None]()
    for body in streams:
        for cut in (*range(90), *range(len(body) - 90, len(body))):
            reader, frames = UsageReader(sse=False), Frames()
            for part in (body[:cut], body[cut:]):
                for payload in frames.payloads(part):
                    reader.event(payload)
            found.add(reader.usage)
            assert 2 == reader.events

    assert {Usage(7, 2, 0, 7)} == found
    with pytest.raises(ValueError, match="cannot have"):
        list(Frames().payloads(bytes(12)))


PART = st.binary(max_size=40) | st.sampled_from([b'{"usage":', b"data: ", b'{"', b"\\", b"\n", b"]", b"9" * 5000])


def test_a_long_string_may_be_cut_anywhere_and_a_tool_may_have_arguments_of_that_name() -> None:
    text, arguments = (
        "\\" * 3 + "x" * 300 + '\\"}, "usage": {"input_tokens": 9}',
        {"usage": {"input_tokens": 9, "output_tokens": 9}},
    )
    usage = {"input_tokens": 7, "output_tokens": 2}
    body = json.dumps({"text": text + text, "tool": {"input": arguments}, "usage": usage, "more": arguments}).encode()

    assert {Usage(7, 2, 0, 7)} == {read(body, [cut], sse=False) for cut in range(len(body))}


@given(parts=st.lists(PART))
def test_no_body_raises_and_what_is_held_is_bounded(parts: list[bytes]) -> None:
    for sse in (False, True):
        reader = UsageReader(sse=sse)
        for part in parts:
            reader.feed(part)
            held = len(reader._held) + len(reader._capture or b"") + len(reader._path)
            assert held <= MAX_OBJECT + max(map(len, parts), default=0) + 1000
        assert reader.usage is None or reader.usage.tokens >= 0


@given(body=st.binary(max_size=60) | VALUE.map(lambda value: json.dumps({"max_tokens": value, "messages": value}).encode()))
def test_an_estimate_is_at_least_the_input_and_never_raises(body: bytes) -> None:
    request = Request("POST", "h", "/v1", {}, original=body, reading=Reading(body=lambda original: original))
    estimated = estimate(request)

    assert estimated.output >= 0
    assert estimated.input in (0, -(-len(body) // 4))


def test_the_output_that_a_request_allows_counts_and_a_file_counts_as_one() -> None:
    bodies: list[dict[str, Any]] = [
        {"model": "m", "max_completion_tokens": 7, "n": 2, "messages": []},
        {"generationConfig": {"maxOutputTokens": 9}, "contents": []},
        {"max_tokens": 5, "messages": [{"image": b64encode(bytes(range(256)) * 1_200).decode()}]},
        {"model": "e", "input": "text"},
        {"model": "m", "messages": []},
        {"model": 7, "max_tokens": 6.0, "n": "2", "messages": []},
        {"generationConfig": {"max_output_tokens": 9, "candidate_count": 2}, "contents": []},  # LiteLLM
        {"max_tokens": "no number", "generationConfig": [], "messages": []},
        {"max_tokens": 10**30, "n": 9, "messages": []},
    ]
    read = Reading(body=lambda original: json.dumps(original).encode())
    estimates = [estimate(Request("POST", "h", "/v1", {}, original=body, reading=read)) for body in bodies]

    assert [14, 9, 5, 0, 1000, 6, 18, 1000, 10**9] == [each.output for each in estimates]
    assert Estimate(1012, 5) == estimates[2]
    # It only asks how many tokens another request would have.
    assert Estimate(0, 0) == estimate(Request("POST", "h", "/v1/messages/count_tokens", {}, original=bodies[0], reading=read))


@pytest.mark.parametrize("letters", ["word", "ACGT", "0123456789", "WordWORD", "abc123"])
def test_long_text_without_blanks_is_no_file(letters: str) -> None:
    body = json.dumps({"max_tokens": 5, "messages": [letters * 5_000]}).encode()
    request = Request("POST", "h", "/v1", {}, original=body, reading=Reading(body=lambda original: original))

    assert Estimate(-(-len(body) // 4), 5) == estimate(request)
