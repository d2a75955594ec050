"""The estimate of what a request will use, before it is sent: tokens of the input, and of the longest output that it allows.

The input is estimated as a quarter of the bytes of a JSON body; data in base64, such as an image, counts as `PER_FILE` tokens.
Long text without blanks, such as a sequence of DNA, is no file: base64 has capitals, small letters and digits.
The output is what the request allows at most (`max_tokens` and its kin, times `n`), or `UNSAID_OUTPUT` if a request for text
does not say. A body that is not JSON, or that is read while it is sent, counts nothing; neither does a request that only has
tokens counted.
"""

import re
from collections.abc import Callable
from math import ceil
from typing import Any, Final, NamedTuple

import msgspec

from governor_client._request import Request
from governor_client._usage import MAX_TOKENS

#: Tokens of a file in the body, such as an image.
PER_FILE: Final = 1_000
#: Tokens of the output of a request for text that sets no maximum.
UNSAID_OUTPUT: Final = 1_000
_BYTES_PER_TOKEN: Final = 4
#: Ends of paths whose requests ask only how many tokens another request would have: Anthropic, Gemini, Bedrock and OpenAI.
_COUNTING: Final = ("/count_tokens", ":countTokens", "/count-tokens", "/responses/input_tokens")
#: Base64 without a line break; most text has blanks.
_FILE: Final = re.compile(rb"[A-Za-z0-9+/_=-]{2048,}+")
#: What base64 of this length has, unless the file is the same byte again and again.
_KINDS: Final = (re.compile(rb"[A-Z]"), re.compile(rb"[a-z]"), re.compile(rb"[0-9]"))


class Estimate(NamedTuple):
    """Tokens that a request is expected to use, at most, and the model that it names."""

    input: int
    output: int
    model: str | None = None


#: What a program may put in place of `estimate`: None stands for it.
Estimator = Callable[[Request], Estimate]


#: A field that is not there.
_NOTHING: Final = msgspec.Raw()


class _Body(msgspec.Struct):
    """What is read of a body; all else is skipped. What has another type than APIs say is as good as not there."""

    model: Any = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    max_output_tokens: Any = None
    max_tokens_to_sample: Any = None
    n: Any = None
    #: Gemini takes both spellings.
    generation: Any = msgspec.field(default=None, name="generationConfig")
    generation_config: Any = None
    inference: Any = msgspec.field(default=None, name="inferenceConfig")
    messages: msgspec.Raw = _NOTHING
    prompt: msgspec.Raw = _NOTHING
    contents: msgspec.Raw = _NOTHING
    instructions: msgspec.Raw = _NOTHING


_read: Final = msgspec.json.Decoder(_Body)


def estimate(request: Request) -> Estimate:
    """The estimate of a request."""
    body = request.body
    if body is None:
        return Estimate(0, 0)
    if request.path.endswith(_COUNTING):
        return Estimate(0, 0)
    try:
        said = _read.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        # Not JSON, or other JSON than that of an API for models.
        return Estimate(_tokens(body) if body.lstrip()[:1] in (b"{", b"[") else 0, 0)
    model = said.model if isinstance(said.model, str) and said.model else _model_of(request.path)
    return Estimate(_tokens(body), _output(said, request.path), model)


def _tokens(body: bytes) -> int:
    size, files = len(body), 0
    for run in _FILE.finditer(body):
        if all(kind.search(body, *run.span()) for kind in _KINDS):
            size -= run.end() - run.start()
            files += 1
    return -(-size // _BYTES_PER_TOKEN) + files * PER_FILE


def _output(said: _Body, path: str) -> int:
    generation = said.generation or said.generation_config
    allowed = (
        said.max_completion_tokens,
        said.max_tokens,
        said.max_output_tokens,
        said.max_tokens_to_sample,
        *_inside(generation, "maxOutputTokens", "max_output_tokens"),
        *_inside(said.inference, "maxTokens"),
    )
    most = next((amount for amount in map(_amount, allowed) if amount is not None), None)
    if most is None:
        texts = (said.messages, said.prompt, said.contents, said.instructions)
        most = UNSAID_OUTPUT if any(map(bytes, texts)) or path.endswith("/responses") else 0
    answers = next(filter(None, map(_amount, (said.n, *_inside(generation, "candidateCount", "candidate_count")))), 1)
    return min(most * answers, MAX_TOKENS)


def _inside(table: Any, *names: str) -> tuple[Any, ...]:
    return tuple([table.get(name) for name in names]) if isinstance(table, dict) else ()


def _amount(value: Any) -> int | None:
    return ceil(min(value, MAX_TOKENS)) if type(value) in (int, float) and value >= 0 else None


def _model_of(path: str) -> str | None:
    """The model of a path such as `/v1beta/models/gemini-2.0-flash:generateContent`."""
    found = re.search(r"/(?:models?|deployments)/([^/:?]+)", path)
    return None if found is None else found[1]
