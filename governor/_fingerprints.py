"""Fingerprints of requests and digests of their answers, by which repetitions are recognized. Nothing readable is kept.

A request has two fingerprints, each a keyed digest (BLAKE2b, RFC 7693) under a random secret of the governor. The exact one is
of the method, the URL and the body, in canonical form if that is JSON, compressed with gzip, or of several parts. In the
shape, what differs between repetitions is folded:

- What a word calls a counter, a time or an identifier of the request: `"attempt":3`, `step 3`, `ts=1700000000`,
  `"trace_id":"…"`. Every other number may be what one of many requests is about.
- The order, case and punctuation of words that are searched for.
- In what is asked of a language model, or of a tool in its place: parameters of sampling, identifiers of calls, and of the
  conversation before it the turns at its end that repeat those before them. The history of an agent in a loop grows.

An answer is compared without what it says about itself: its identifiers, its times, how long it took, and what it used. Of a
stream the text is compared, of a model that calls tools its calls, and of an error the words.

Costs about 20 us for a small request, 85 us for a prompt of 1 KiB and 750 us for one of 11 kB, of which at most 8 KiB are
folded, and 20 us for the answer of a model.
"""

import re
import zlib
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from types import NoneType
from typing import Final, final

import msgspec

from governor.errors import ConfigError
from governor.messages import Fingerprint

#: How text is encoded: half of a surrogate pair, as programs cut it, is no mistake.
LENIENT: Final = ("utf-8", "surrogatepass")
#: The longest body, in bytes, that counts as a whole. Of a longer one, the length and the two ends count.
MAX_BODY: Final = 65_536
#: The most bytes of a body that are folded: those at its two ends.
MAX_FOLDED: Final = 8_192
#: The longest answer, in bytes, that counts as a whole.
MAX_ANSWER: Final = 16_384
#: The most folded values of a request that are recognized in its answer.
MAX_ECHOES: Final = 64

#: The most messages of a turn that is recognized where it repeats.
MAX_TURNS: Final = 8

_SIZE: Final = 8
#: A number, a time or an identifier from its first digit on.
_VALUE: Final = re.compile(rb"[0-9][0-9A-Za-z_.:+-]*")
#: What is asked of a language model, or of a tool in its place.
_PROMPT: Final = re.compile(rb'"(?:messages|prompt|contents|inputText|model)":|"method":"(?:tools/call|message/send)"')
#: Where the messages of a conversation are.
_CONVERSATIONS: Final = ("messages", "contents", "input", "prompt")
#: The value that follows a word, from its first digit on.
_NUMBER: Final = re.compile(rb"[0-9][0-9A-Za-z_.:+-]*+(?: [0-9]{2}:[0-9]{2}[0-9:.]*)?")
#: A word, and the value that follows it: `"retry_count":3`, `step 3`, `req-3`, `"traceId":"a3"`.
_NAMED: Final = re.compile(
    rb"(?<![A-Za-z_-])([A-Za-z_][A-Za-z_-]*+)([\\\"'=:# .(>]{0,5}+)"
    rb'(%b|(?<=[">=])[A-Za-z_:-]{1,40}[0-9][0-9A-Za-z_.:+-]*+)' % _NUMBER.pattern
)
#: Where one may be in the reversed text, in which each digit is 0: from its first digit back to its word. Text has more words
#: than digits, and a pattern with one first byte skips to it.
_NAMED_BACK: Final = re.compile(rb"""0([A-Za-z_:-]{1,40}[">=])?[\\"'=:# .(>]{0,5}+([A-Za-z_-]++)(?<=[A-Za-z_])""")
#: The parts of such a word.
_WORD: Final = re.compile(rb"[A-Z]?[a-z]+|[A-Z]+")
#: Counters, and identifiers of the request itself; single letters only where they are keys; and the clock of the caller. A
#: number of something is named by what it counts.
_COUNTERS: Final = frozenset(
    b"attempt retry retries try tries iteration iter loop cycle turn round step counter seq sequence index idx tick poll ping"
    b" elapsed uptime nonce seed rev request req message msg call run session trace span correlation cachebust cb rand"
    b" idempotency mutation signature assertion".split()
)
#: Parts of a word by which it names a secret of one request.
_SECRETS: Final = frozenset((b"csrf", b"xsrf", b"nonce"))
_LETTERS: Final = frozenset((b"n", b"i", b"k"))
_CLOCKS: Final = frozenset(b"now ts timestamp time date sent created updated expires t _".split())
_SUFFIXES: Final = frozenset(b"id uuid no nr num number count ref key ms sec seconds at on".split())
_TIME: Final = re.compile(
    rb"1[0-9]{9}(?:[0-9]{3}){0,3}(?:\.[0-9]+)?|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,}(?:Z|[+-][0-9:]{5})?"
)
#: Requests that read with `POST`: of JSON-RPC, GraphQL, and the query protocol of AWS.
_READS: Final = re.compile(
    rb'"method":"(?:[a-z0-9]{1,16}_)?(?:get|is|has|list|find|query|fetch|block|chain|gas|fee|estimate|sync|call")'
    rb'|^[^"]*\{(?:"[a-zA-Z]+":(?:"[^"]*"|\{[^{}]*\}|null),)*"query":"(?:\\n| )*(?:query\b|\{)'
    rb"|(?:^|[&\n])(?:Action=|x-amz-target=[A-Za-z0-9_]+\.)(?:Get|Batch_?Get|Describe|List|Receive|Query|Scan)"
)
#: JSON values that are random in each request, and the time before a line: two patterns, as each skips to its first byte.
_RANDOM: Final = re.compile(rb'"(?:seed|nonce|salt|random)":(?:"[^"]*"|[0-9.]+)')
_LINE_TIME: Final = re.compile(rb"\[[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,}(?:Z|[+-][0-9:]{5})?\]")
#: How a model is to answer the same question.
_SAMPLING: Final = re.compile(rb'"(?:temperature|top_p|max_(?:completion_|output_)?tokens)":[0-9.]+')
#: Numbers of steps.
_STEPS: Final = re.compile(
    rb"[0-9](?<![0-9A-Za-z.][0-9])[0-9]{0,3}(?:st|nd|rd|th)?"
    rb"(?= (?:attempt|try|tries|retry|retries|step|turn|iteration|round)s?(?![a-z]))"
)
#: Where each digit is 0: whether there may be one.
_MAY_BE_STEPS: Final = re.compile(rb"0(?:st|nd|rd|th)? (?:attempt|tr|retr|step|turn|iteration|round)")
#: The number of a call of JSON-RPC.
_RPC: Final = re.compile(rb'"id":"?([0-9A-Za-z_-]+)"?,"jsonrpc"')
#: Words that are searched for, and no statement of a language.
_SEARCH: Final = re.compile(rb'"(?:q|query|search|search_?(?:query|term)|keywords?)":"([^"\\{}<>=*();]{1,200})"')
_SEARCHED: Final = re.compile(rb"[0-9A-Za-z_\x80-\xff]+")
#: What asks the server to answer later: `"WaitTimeSeconds":20`, `timeout=30`.
_WAITS: Final = re.compile(
    rb'["&?\n](?i:(?:(?:max_?)?wait(?:_?time)?(?:_?(?:seconds|ms|out))?|(?:long_?)?poll(?:ing)?(?:_?time(?:out)?)?|timeout)'
    rb'"?[=:]"?[1-9])'
)
_ZEROS: Final = bytes.maketrans(b"123456789", b"0" * 9)
_SPACES: Final = bytes.maketrans(b"\t\n\v\f\r", b" " * 5)
#: What an answer says about itself: its identifier, its time, and what it used.
_ABOUT_ITSELF: Final = re.compile(
    rb'"(?:(?:created|created_at|system_fingerprint|obfuscation|signature|thoughtSignature|pid'
    rb"|(?:[rR]equest|response|trace|ray)_?[iI]d|took(?:_ms|Ms)?"
    rb"|(?:started|finished|ended|completed|checked|generated|served|executed|processed)_?[aA]t"
    rb'|(?:queue|prompt|completion|total|query|inference|processing)_?[tT]ime(?:_?[mM][sS])?)":\s*(?:"[^"]*"|[0-9.e-]+)'
    rb'|(?:call|chatcmpl|cmpl|fc|gen|msg|req|resp|rs|run|toolu)[-_][0-9A-Za-z]{6,}"'
    rb'|(?:usage|usage_?[mM]etadata|tokens)":\s*\{(?:[^{}]|\{[^{}]*\})*\})'
)
#: How long an answer took.
_TOOK: Final = re.compile(rb'"[a-z_]{0,20}(?:duration|elapsed|latency)(?:_?(?:[mM]s|ns|seconds))?":\s*(?:"[^"]*"|[0-9.e-]+)')
#: When an answer was made, and which one it is, if it says so once: several times are those of what it is about.
_MADE: Final = re.compile(
    rb'"(?:timestamp|date|time|ts|now|server_?[tT]ime|uuid)":\s*(?:"[0-9]{4}-[0-9]{2}-[0-9]{2}T[^"]{5,30}"|1[0-9]{9,18}(?:\.[0-9]+)?'
    rb'|"[0-9a-f]{8}-[0-9a-f-]{27}")'
)
#: Whether a model calls tools, and what it says beside.
_CALLS: Final = re.compile(rb'"(?:tool_calls":\s*\[\s*\{|type":\s*"tool_use"|functionCall":)')
_BESIDE: Final = re.compile(rb'"(?:content|text|thinking|reasoning(?:_content)?)":\s*"(?:[^"\\]|\\.)*+"')
#: The pieces of a stream.
_STREAM: Final = (b"data:", b"event:")
_PIECE: Final = re.compile(
    rb'"(?:content|text|delta|name|arguments|partial_json|thinking|reasoning(?:_content)?)":\s*"((?:[^"\\]|\\.)*+)"'
)
#: Whether an answer of a status of success is an error, and what may differ in one: words with digits, no numbers of JSON.
_ERROR: Final = re.compile(
    rb'"(?:errors?":\s*(?:\[?\s*\{|"[^"])|isError":\s*true|(?:ok|success)":\s*false|status":\s*"(?:error|fail))'
)
_OF_ERROR: Final = re.compile(rb'(?<![0-9A-Za-z_.-])(?<!":)(?<!": )(?<![\[,])[A-Za-z_]*+[0-9][0-9A-Za-z_.:+/=-]*')
#: An answer that says that something is still being done.
_PENDING: Final = re.compile(
    rb'(?:[sS]tat(?:e|us)|STAT(?:E|US)|[pP]hase)\\*"?[=:]\s*\\*"'
    rb"(?i:pending|queued|waiting|scheduled|not_?started|starting|running|working|active|(?:in[_ -]?)?progress|processing)\\*\""
)
_MAX_PENDING: Final = 2_048
#: An answer that says no more than that something was done: `{"ok":true}`, `{"accepted": 1, "rejected": 0}`, `{}`, `ok`.
_DONE: Final = rb"(?:ok|success|accepted|received|acknowledged|created|updated|done)"
_ACKNOWLEDGED: Final = re.compile(
    rb'(?i)\s*(?:"?%b"?|\{\s*\}|\{(?=[^}]*"(?:%b|result|status|message|errors)")'
    rb'(?:\s*"[a-z_]{1,20}":\s*(?:true|false|null|[0-9]{1,9}|"%b")\s*(?:,|(?=\})))+\})\s*' % (_DONE, _DONE, _DONE)
)


def check(method: object, url: object, body: object) -> None:
    """Raises `ConfigError` for a part of a request that is of another type than a fingerprint is made of."""
    for field, value, kinds, allowed in (
        ("method", method, str, "text such as 'POST'"),
        ("url", url, str, "text such as 'https://api.example/jobs'; str(url) for an object of an HTTP client"),
        ("body", body, (bytes, bytearray, memoryview, str, NoneType), "bytes, text, or None"),
    ):
        if not isinstance(value, kinds):
            raise ConfigError(field, value, allowed)


@final
class Fingerprints:
    """Makes the fingerprints of one governor. `secret` is 16 to 64 random bytes."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def request(self, method: str, url: str, body: bytes | str | None = None) -> Fingerprint:
        """The fingerprint of a request. `url` is compared as it is, JSON in canonical form."""
        address, _, query = url.partition("?")
        head, asked = f"{method.upper()} {address}\n".encode(*LENIENT), query.encode(*LENIENT)
        whole, document = _canonical(body.encode(*LENIENT) if isinstance(body, str) else body or b"")
        exact = self._digest(b"%b%b\n%d\n%b" % (head, asked, len(whole), _ends(whole, MAX_BODY)))
        text = b"%b\n%b" % (asked, _ends(whole, MAX_FOLDED))
        has = text.count  # Four times as fast as `in`, which asks for a buffer.
        waits = bool(has(b"ait") or has(b"imeout") or has(b"oll")) and _WAITS.search(b"&" + text) is not None
        reads = (
            bool(has(b'"method"') or has(b'"query"') or has(b"Action=") or has(b"x-amz-t")) and _READS.search(text) is not None
        )
        told = text
        if _PROMPT.search(text) is not None:
            turns = _unrepeated(document)
            told = text if turns is None else b"%b\n%b" % (asked, _ends(turns, MAX_FOLDED))
            told = _SAMPLING.sub(b"#", told)
            if _MAY_BE_STEPS.search(told.translate(_ZEROS)) is not None:
                told = _STEPS.sub(b"#", told)
            told = _without_itself(told)
        found: list[bytes] = []
        if has(b'"jsonrpc"'):
            found += _RPC.findall(told)
            told = _RPC.sub(b"#", told)
        folded = _SEARCH.sub(_words, _spaced(told))
        folded = _uncounted(folded, found)
        echoes = frozenset(value.strip(b"_.:+-") for value in found[:MAX_ECHOES])
        shape = self._digest(head + folded) if folded != text else exact
        return Fingerprint(exact, shape, echoes, waits, reads)

    def answer(self, status: int | None, body: bytes | None, fingerprint: Fingerprint | None = None) -> bytes:
        """The digest of an answer: equal for answers that say the same.

        Not compared is what it says about itself, and values that it repeats from the request.
        """
        text = body or b""
        size = len(text) if len(text) > MAX_ANSWER else 0
        text = _ends(text, MAX_ANSWER)
        if text.startswith(_STREAM):
            text = b"".join(_PIECE.findall(text)) or text
        text = _told(text)
        if len(_MADE.findall(text)) == 1:
            text = _MADE.sub(b"#", text)
        if fingerprint is not None and fingerprint.echoes:
            text = _VALUE.sub(_without(fingerprint.echoes), text)
        if (status is not None and status >= 400) or text.count(b"Fault>") or _ERROR.search(text) is not None:
            text = _OF_ERROR.sub(b"#", text)
        return self._digest(b"%d %d\n%b" % (status or 0, size, text))

    def _digest(self, text: bytes) -> bytes:
        return blake2b(text, digest_size=_SIZE, key=self._secret).digest()


def is_pending(answer: bytes) -> bool:
    """Whether an answer says that what was asked for is still being done: its repetition is polling."""
    return len(answer) <= _MAX_PENDING and _PENDING.search(answer) is not None


def acknowledges(answer: bytes) -> bool:
    """Whether an answer says no more than that something was done, whatever it was."""
    return len(answer) <= _MAX_PENDING and _ACKNOWLEDGED.fullmatch(answer) is not None


def _spaced(text: bytes) -> bytes:
    """The text without what is random, and with single spaces."""
    text = _without_random(text)
    has = text.count
    if has(b"  ") or has(b' "') or has(b"\t") or has(b"\n") > 1:
        text = text.translate(_SPACES).strip()
        while text.count(b"  "):
            text = text.replace(b"  ", b" ")
        text = text.replace(b' "', b'"')
    return text


def _without_random(text: bytes) -> bytes:
    return _LINE_TIME.sub(b"#", _RANDOM.sub(b"#", text))


def _uncounted(text: bytes, found: list[bytes]) -> bytes:
    """The text with `_counter` in place of what is named. Equal to `_NAMED.sub`, which tries each letter."""
    last, done, copied, parts = len(text) - 1, 0, 0, list[bytes]()
    for back in reversed([*_NAMED_BACK.finditer(text[::-1].translate(_ZEROS))]):
        digit = last - back.start()
        if digit < done:
            continue  # Within the value before it.
        start = last + 1 - back.end()
        label, word = back.groups()
        if label is None and start >= done and _kind(word[::-1]) is None:
            done = _NUMBER.match(text, digit).end()  # type: ignore[union-attr] # There is a digit.
            continue
        named = _NAMED.search(text, max(start, done))
        if named is None:
            break
        parts += text[copied : named.start()], _counter(found, named)
        done = copied = named.end()
    return b"".join((*parts, text[copied:])) if parts else text


def _counter(found: list[bytes], named: re.Match[bytes]) -> bytes:
    """`#` in place of the value if its word calls it a counter, a time or an identifier, and of those adds it to `found`."""
    word, between, value = named.groups()
    kind = _kind(word)
    if kind is None:
        if value[:1].isalpha():  # `"label":"try17"`.
            return word + between + _uncounted(value, found)
        return named[0]
    is_key = b":" in between or b"=" in between
    if (kind is _LETTERS and not (is_key and value.isdigit())) or (
        kind is _CLOCKS and _TIME.fullmatch(value.rstrip(b".:")) is None
    ):
        return named[0]
    found += _VALUE.findall(value)
    return b"%b%b#" % (word, between)


@lru_cache(maxsize=1_024)
def _kind(word: bytes) -> frozenset[bytes] | None:
    """The words to which one belongs by its last part but for a suffix; None for one that says nothing about the request."""
    parts = [part.lower() for part in _WORD.findall(word)] or [word]
    if not _SECRETS.isdisjoint(parts):
        return _COUNTERS
    while len(parts) > 1 and parts[-1] in _SUFFIXES:
        del parts[-1]
    return next((kind for kind in (_COUNTERS, _LETTERS, _CLOCKS) if parts[-1] in kind), None)


def _canonical(body: bytes) -> tuple[bytes, object]:
    """JSON with sorted keys and without white space, and its value; any other body without its boundary, and None."""
    if body[:2] == b"\x1f\x8b":
        body = _decompressed(body)
    if body[:2] == b"--":
        boundary = body[: body.find(b"\r\n")]
        return body.replace(boundary, b"--") if len(boundary) > len(b"--") else body, None
    if body[:1] not in (b"{", b"[") or len(body) > MAX_BODY:
        return body, None
    try:
        document = msgspec.json.decode(body)
        return msgspec.json.encode(document, order="sorted"), document
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return body, None


def _decompressed(body: bytes) -> bytes:
    """What gzip has compressed; of more than `MAX_BODY` bytes the beginning, and the checksum and length at its end."""
    try:
        whole = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body, MAX_BODY)
    except zlib.error:
        return body
    return whole if len(whole) < MAX_BODY else whole + body[-8:]


def _unrepeated(document: object) -> bytes | None:
    """A prompt without the turns at its end that repeat those before them, of up to `MAX_TURNS` messages; None without such."""
    if not isinstance(document, dict):
        return None
    for name in _CONVERSATIONS:
        match document.get(name):
            case list(messages) if len(messages) >= 3:
                pass
            case str(transcript) if transcript.count("\n") >= 3:
                messages = transcript.rstrip().split("\n")
            case _:
                continue
        turns = [_said(message) for message in messages[-MAX_TURNS - 1 :]]
        if turns[-1] not in turns[:-1]:
            return None
        turns = [_said(message) for message in messages[-2 * MAX_TURNS :]]
        size = next((size for size in range(1, len(turns) // 2 + 1) if _repeats(turns, size)), None)
        if size is None:
            return None
        turns = [_said(message) for message in messages]
        while _repeats(turns, size):
            del turns[-size:]
        return msgspec.json.encode({**document, name: messages[: len(turns)]}, order="sorted")
    return None


def _said(message: object) -> bytes:
    return _without_random(_told(msgspec.json.encode(message, order="sorted")))


def _told(text: bytes) -> bytes:
    """What a message says, but for what it says about itself; if it calls tools, its calls."""
    if _CALLS.search(text) is not None:
        text = _BESIDE.sub(b"#", text)
    return _without_itself(text)


def _without_itself(text: bytes) -> bytes:
    text = _ABOUT_ITSELF.sub(b"#", text)
    has = text.count
    return _TOOK.sub(b"#", text) if has(b"duration") or has(b"elapsed") or has(b"latency") else text


def _repeats(turns: list[bytes], size: int) -> bool:
    """Whether the last two turns, each of so many messages, say the same, but for the identifiers of their calls."""
    return len(turns) >= 2 * size and turns[-size:] == turns[-2 * size : -size]


def _ends(text: bytes, size: int) -> bytes:
    return text if len(text) <= size else text[: size // 2] + text[-(size // 2) :]


def _words(found: re.Match[bytes]) -> bytes:
    """What is searched for, whatever the order, case and punctuation of its words."""
    return b" ".join(sorted(set(_SEARCHED.findall(found[1].lower()))))


def _without(echoes: frozenset[bytes]) -> Callable[[re.Match[bytes]], bytes]:
    return lambda match: b"#" if match.group().strip(b"_.:+-") in echoes else match.group()
