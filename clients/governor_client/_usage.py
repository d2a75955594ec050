"""The tokens that an answer says it has used, read from its body as it passes: JSON, event streams (SSE), and those of AWS.

Knows the shapes of OpenAI (chat, with `stream_options.include_usage`; responses; embeddings), Anthropic, Gemini, Cohere,
Bedrock and what copies them. An object `usage` or `usageMetadata` counts where those APIs write it, and not inside of what a
model has said. The time is linear in the body; the memory is bounded: a part of a key, and one object of `MAX_OBJECT` bytes.
"""

import re
from collections.abc import Mapping
from math import ceil
from typing import Final, NamedTuple, final

import msgspec

#: Bytes. A larger object is not read.
MAX_OBJECT: Final = 16_384
#: A body with more strings and brackets than this is read no further: about a second of work.
MAX_MARKS: Final = 1_000_000
#: Bytes. A longer string is no key that is looked for.
_MAX_KEY: Final = 256

#: A string, which is a key if a colon follows; one that has no end yet; a bracket. All that lies between is skipped.
_MARK: Final = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"(\s*+:)?|(")|([{}\[\]])', re.DOTALL)
#: Where one of them begins.
_BEGIN: Final = re.compile(rb'["{}\[\]]')
_BLANK: Final = re.compile(rb"\s*+\Z")
#: The rest of a string.
_REST: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
#: Where an object with the amounts stands, from the outside in; None is an element of a list.
_PLACES: Final = frozenset(
    {
        (b"usage",),
        (b"usageMetadata",),
        (b"message", b"usage"),
        (b"response", b"usage"),
        (b"response", b"usageMetadata"),
        (b"x_groq", b"usage"),
        (b"meta", b"tokens"),
        (b"delta", b"usage"),
        (b"amazon-bedrock-invocationMetrics",),
        (None, b"usageMetadata"),
        (None, b"usage"),
    }
)
_DEPTH: Final = max(map(len, _PLACES))
#: The names of amounts. The first that is there counts.
_INPUTS: Final = ("prompt_tokens", "input_tokens", "promptTokenCount", "inputTokens", "inputTokenCount")
_OUTPUTS: Final = ("completion_tokens", "output_tokens", "outputTokens", "candidatesTokenCount", "outputTokenCount")
_TOTALS: Final = ("total_tokens", "totalTokenCount", "totalTokens")
#: Input that was read from a cache, as a part of the input; and input that was read from a cache, or written to it, beside the
#: input, as Anthropic and Bedrock say it.
_CACHED: Final = ("cached_tokens", "cachedContentTokenCount", "prompt_cache_hit_tokens")
_CACHE_READS: Final = ("cache_read_input_tokens", "cacheReadInputTokens")
_CACHE_WRITES: Final = ("cache_creation_input_tokens", "cacheWriteInputTokens")
_NAMES: Final = frozenset({*_INPUTS, *_OUTPUTS, *_TOTALS, *_CACHED, *_CACHE_READS, *_CACHE_WRITES})
#: Objects inside of it that have further amounts.
_INNER: Final = frozenset({"prompt_tokens_details", "input_tokens_details", "tokens"})
#: A larger amount is no number of tokens.
MAX_TOKENS: Final = 10**9


class Usage(NamedTuple):
    """Tokens of one call. `cached` is what was read from a cache; `counted_input` is the input as limits count it.

    `input` is without `cached`, and with what was `written` to a cache. OpenAI and Gemini count cached tokens in limits, and
    Anthropic does not.
    """

    input: int
    output: int
    cached: int
    counted_input: int
    written: int = 0

    @property
    def tokens(self) -> int:
        """Input and output, as limits count them."""
        return self.counted_input + self.output


@final
class UsageReader:
    """Reads one body. `feed` takes its parts; `usage` is what they have said so far."""

    __slots__ = (
        "_capture",
        "_depth",
        "_held",
        "_in_string",
        "_key",
        "_line",
        "_marks",
        "_path",
        "_said",
        "_sse",
        "events",
        "final",
    )

    def __init__(self, *, sse: bool) -> None:
        self._sse = sse
        #: Of an event stream: the beginning of a line as long as it is not known what it is; then whether it holds data.
        self._line: bytes | bool = b""
        #: The latest amounts by name. A later object corrects an earlier one, name by name.
        self._said: dict[str, int] = {}
        self._marks = 0
        #: The events so far, each of which has a token at least in streams of text.
        self.events = 0
        #: Whether the latest amounts are those of the whole answer, and no more will follow.
        self.final = False
        self._reset()

    def _reset(self) -> None:
        self._depth = 0
        #: The keys of the open brackets, as far as they matter.
        self._path: list[bytes | None] = []
        self._key: bytes | None = None
        #: What the next part goes on from: a string that may be a key, or half of an escape.
        self._held = b""
        self._in_string = False
        #: The object that is being read.
        self._capture: bytearray | None = None

    def feed(self, data: bytes) -> None:
        """A part of the body."""
        if not self._sse:
            self._scan(data)
            return
        for line in data.splitlines(keepends=True):
            self._feed_line(line)

    def _feed_line(self, line: bytes) -> None:
        ended = line.endswith((b"\n", b"\r"))
        if isinstance(self._line, bytes):
            line = self._line + line
            if len(line) < 6 and not ended:
                self._line = line
                return
            if not line.strip():
                self._reset()  # The end of an event.
            self._line, line = line.startswith(b"data:"), line[5:]
            self.events += self._line
        if self._line:
            self._scan(line)
        if ended:
            self._line = b""

    def event(self, payload: bytes) -> None:
        """A whole event of a stream of another form than `feed` takes."""
        self._reset()
        self.events += 1
        self._scan(payload)

    @property
    def usage(self) -> Usage | None:
        """What the body has said; None if that is nothing.

        What a total has beyond the input is output: Gemini, xAI and others count what a model thinks in the total alone.
        """
        taken, output, total = self._first(_INPUTS), self._first(_OUTPUTS), self._first(_TOTALS)
        if taken is None and output is None and total is None:
            return None
        if taken is None and output is None:
            taken = total
        taken, output = taken or 0, output or 0
        read, written = self._first(_CACHE_READS), self._first(_CACHE_WRITES)
        if "prompt_tokens" in self._said or (read is None and written is None):
            # All of it is part of the input, although some gateways say it in both ways.
            cached = min(taken, self._first(_CACHED) or 0)
            return Usage(taken - cached, max(output, (total or 0) - taken), cached, taken, min(taken - cached, written or 0))
        read, written = read or 0, written or 0
        counted = taken + written
        return Usage(counted, max(output, (total or 0) - counted - read), read, counted, written)

    def _first(self, names: tuple[str, ...]) -> int | None:
        return next((self._said[name] for name in names if name in self._said), None)

    # JSON.

    def _scan(self, data: bytes) -> None:
        data, self._held = self._held + data, b""
        at = 0
        if self._in_string:
            rest = _REST.match(data)
            if rest is None:
                self._hold_string(data, 0, 0)
                return
            self._in_string, at = False, rest.end()
            self._take(data[:at])
        past = at
        while (begin := _BEGIN.search(data, past)) is not None and (mark := _MARK.match(data, begin.start())) is not None:
            past = mark.end()
            self._marks += 1
            if self._marks > MAX_MARKS or self._hold(mark, data, at):
                return
            if mark[4] is not None and mark[4] in b"{[":
                self._open(mark[4])
            self._take(data[at:past])
            at = past
            if mark[4] is None:
                self._key = mark[1] if mark[2] else None
            elif mark[4] in b"}]":
                self._close()
        self._take(data[at:])

    def _hold(self, mark: "re.Match[bytes]", data: bytes, at: int) -> bool:
        """Whether the string is held back: its end, or the colon that makes it a key, may be in the next part."""
        if mark[3] is None and (mark[1] is None or mark[2] or not _BLANK.match(data, mark.end())):
            return False
        if len(data) - mark.start() <= _MAX_KEY:
            self._take(data[at : mark.start()])
            self._held = data[mark.start() :]
            return True
        if mark[3] is not None:
            self._hold_string(data, at, mark.end())
            return True
        return False

    def _hold_string(self, data: bytes, at: int, begin: int) -> None:
        """The rest of the data is a part of a long string, which may end in half of an escape."""
        escapes = len(data) - len(data[begin:].rstrip(b"\\")) - begin
        self._held = b"\\" if escapes % 2 else b""
        self._in_string = True
        self._take(data[at : len(data) - len(self._held)])

    def _open(self, bracket: bytes) -> None:
        self._depth += 1
        if self._depth <= _DEPTH + 1:
            self._path.append(self._key)
            # The outermost bracket has no key, and a list around everything is a place of its own.
            place = tuple(self._path[1:])
            if bracket == b"{" and self._capture is None and place in _PLACES:
                self._capture = bytearray()
        self._key = None

    def _close(self) -> None:
        if self._path and self._depth == len(self._path):
            if self._capture is not None and tuple(self._path[1:]) in _PLACES:
                # Anthropic begins with the input, and Gemini repeats the amounts in each event.
                self.final = self._path[-1] == b"usage" and self._path[-2] != b"message"
                self._learn(bytes(self._capture))
                self._capture = None
            self._path.pop()
        self._depth = max(0, self._depth - 1)
        self._key = None

    def _take(self, data: bytes) -> None:
        if self._capture is not None and len(self._capture) <= MAX_OBJECT:
            self._capture += data

    def _learn(self, written: bytes) -> None:
        if len(written) > MAX_OBJECT:
            return
        try:
            # What lies between the key and the bracket was taken too.
            said = msgspec.json.decode(written[written.index(b"{") :])
        except (msgspec.DecodeError, ValueError, RecursionError):
            return
        if isinstance(said, dict):
            self._merge(said)

    def _merge(self, said: Mapping[str, object]) -> None:
        for name, value in said.items():
            if name in _NAMES and isinstance(value, (int, float)) and value is not True and 0 <= value <= MAX_TOKENS:
                self._said[name] = ceil(value)
            elif name in _INNER and isinstance(value, dict):
                self._merge(value)
