"""Fingerprints of requests and digests of their answers, by which repetitions are recognized. Nothing readable is kept.

A request has two fingerprints, each a keyed digest (BLAKE2b, RFC 7693) under a random secret of the governor. The exact one is
of the method, the URL and the body, in canonical form if that is JSON. In the shape, counters, times and identifiers of the
query and of the body are folded, and white space: two requests that differ only in these have one shape. What a request is
about is not folded:

- Of most requests, only what a word calls a counter, a time or an identifier of the request is folded: `"attempt":3`,
  `step 3`, `ts=1700000000`, `"trace_id":"…"`. Every other number may be what one of many requests is about.
- What is asked of a language model, or of a tool in its place, is text that a program writes: every number may be a counter,
  but for JSON values such as `user_id`, and `id` but for that of JSON-RPC; numbers of five digits or more, unless they are
  seconds since 1970, and decimal fractions; hexadecimal numbers; names in addresses of mail. Of the conversation before it,
  the turns at its end that repeat those before them are left out: the history of an agent in a loop grows with each call.

Costs about 6 us for a small request, and 40 us for 1 KiB of text, of which at most 8 KiB are folded.
"""

import re
from collections.abc import Callable
from functools import lru_cache, partial
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
#: Its letters before the first digit, in reverse.
_BEGINNING: Final = re.compile(rb"#[0-9A-Za-z]+")
#: JSON values that name another thing than the request itself, whose digits count.
_REFERENCE: Final = re.compile(
    rb'"(?!(?:request|client_request|trace|span|correlation|message|call|tool_call|session|run)_?[iI]d")'
    rb'[0-9A-Za-z_]*(?:_id|Id)":"?[0-9A-Za-z-]+'
    rb'|"id":"?[0-9]+(?![0-9A-Za-z-]|"?,"jsonrpc")'
)
#: Amounts, coordinates, numbers of things, and hexadecimal numbers. Counters are shorter; seconds since 1970 have 10 digits, of
#: which the first is a 1, and their parts 3, 6 or 9 more.
_DATA: Final = re.compile(
    rb'[0-9](?<![0-9A-Za-z_.+-][0-9])(?<![^"]:[0-9])(?:(?<=0)x[0-9a-fA-F]{8,}|[0-9]{0,8}\.[0-9]+'
    rb"|(?<!1)[0-9]{4,}|[0-9]{4,8}(?![0-9])|[0-9]{10,11}(?![0-9])|[0-9]{13,14}(?![0-9])|[0-9]{16,17}(?![0-9])|[0-9]{19,})"
    rb"(?!\.?[0-9A-Za-z_:+-])"
)
_MAIL: Final = re.compile(rb"[0-9][0-9A-Za-z_.+-]{0,31}@")
#: What is asked of a language model, or of a tool in its place.
_PROMPT: Final = re.compile(rb'"(?:messages|prompt|contents|inputText|model)":|"method":"(?:tools/call|message/send)"')
#: Where the messages of a conversation are.
_CONVERSATIONS: Final = ("messages", "contents", "input")
#: A word, and the value that follows it: `"retry_count":3`, `step 3`, `req-3`, `"traceId":"a3"`.
_NAMED: Final = re.compile(
    rb"(?<![A-Za-z_-])([A-Za-z_][A-Za-z_-]*+)([\\\"'=:# .(]{0,5}+)"
    rb'([0-9][0-9A-Za-z_.:+-]*+(?: [0-9]{2}:[0-9]{2}[0-9:.]*)?|(?<=")[A-Za-z_-]{1,40}[0-9][0-9A-Za-z_.:+-]*+)'
)
#: The parts of such a word.
_WORD: Final = re.compile(rb"[A-Z]?[a-z]+|[A-Z]+")
#: Counters, and identifiers of the request itself; single letters only where they are keys; and the clock of the caller. A
#: number of something is named by what it counts.
_COUNTERS: Final = frozenset(
    b"attempt retry retries try tries iteration iter loop cycle turn round step counter seq sequence index idx tick poll ping"
    b" elapsed uptime nonce seed rev request req message msg call run session trace span correlation cachebust cb rand".split()
)
_LETTERS: Final = frozenset((b"n", b"i", b"k"))
_CLOCKS: Final = frozenset(b"now ts timestamp time date sent created updated t _".split())
_SUFFIXES: Final = frozenset(b"id uuid no nr num number count ref key ms sec seconds at on".split())
_TIME: Final = re.compile(
    rb"1[0-9]{9}(?:[0-9]{3}){0,3}(?:\.[0-9]+)?|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,}(?:Z|[+-][0-9:]{5})?"
)
#: Requests that read with `POST`: of JSON-RPC, GraphQL, and the query protocol of AWS.
_READS: Final = re.compile(
    rb'"method":"(?:[a-z0-9]{1,16}_)?(?:get|is|has|list|find|query|fetch|block|chain|gas|fee|estimate|sync|call")'
    rb'|^[^"]*\{(?:"[a-zA-Z]+":(?:"[^"]*"|\{[^{}]*\}|null),)*"query":"(?:\\n| )*(?:query\b|\{)'
    rb"|(?:^|[&\n])Action=(?:Get|Describe|List|Receive)"
)
#: JSON values that are random in each request.
_RANDOM: Final = re.compile(rb'"(?:seed|nonce|salt|random)":(?:"[^"]*"|[0-9.]+)')
#: What asks the server to answer later: `"WaitTimeSeconds":20`, `timeout=30`.
_WAITS: Final = re.compile(
    rb'(?i)(?:["&?\n]|^)(?:(?:max_?)?wait(?:_?time)?(?:_?(?:seconds|ms|out))?|(?:long_?)?poll(?:ing)?(?:_?time(?:out)?)?|timeout)'
    rb'"?[=:]"?[1-9]'
)
#: Digits of a counter.
_MAX_COUNTER: Final = 4
_NO_DIGITS: Final = bytes(set(range(256)) - set(b"0123456789"))
#: Digits that are not folded.
_KEPT: Final = bytes.maketrans(b"0123456789", bytes(range(0x80, 0x8A)))
#: What an answer says about itself: its identifier and its time.
_ABOUT_ITSELF: Final = re.compile(
    rb'"(?:(?:created|created_at|system_fingerprint|request_?[iI]d|RequestId|response_?[iI]d|trace_?[iI]d|took(?:_ms|Ms)?'
    rb'|(?:queue|prompt|completion|total|query|inference|processing)_?[tT]ime(?:_?[mM][sS])?)":\s*(?:"[^"]*"|[0-9.e-]+)'
    rb'|(?:call|chatcmpl|cmpl|fc|gen|msg|req|resp|rs|run|toolu)[-_][0-9A-Za-z]{6,}"'
    rb'|usage":\s*\{(?:[^{}]|\{[^{}]*\})*\})'
)
#: When an answer was made, and which one it is, if it says so once: several times are those of what it is about.
_MADE: Final = re.compile(
    rb'"(?:timestamp|date|time|ts|now|server_?[tT]ime|uuid)":\s*(?:"[0-9]{4}-[0-9]{2}-[0-9]{2}T[^"]{5,30}"|1[0-9]{9,18}(?:\.[0-9]+)?'
    rb'|"[0-9a-f]{8}-[0-9a-f-]{27}")'
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
        waits = bool(has(b"ait") or has(b"imeout") or has(b"oll")) and _WAITS.search(text) is not None
        reads = bool(has(b'"method"') or has(b'"query"') or has(b"Action=")) and _READS.search(text) is not None
        if _PROMPT.search(text) is not None:
            turns = _unrepeated(document)
            told = text if turns is None else b"%b\n%b" % (asked, _ends(turns, MAX_FOLDED))
            plain = _marked(_spaced(told))
            found = _VALUE.findall(plain)
            folded = _folded(plain) if found else plain
        else:
            found = []
            folded = _NAMED.sub(partial(_counter, found), _spaced(text))
        echoes = frozenset(value.strip(b"_.:+-") for value in found[:MAX_ECHOES])
        shape = self._digest(head + folded) if folded != text else exact
        return Fingerprint(exact, shape, echoes, waits, reads)

    def answer(self, status: int | None, body: bytes | None, fingerprint: Fingerprint | None = None) -> bytes:
        """The digest of an answer: equal for answers that say the same.

        Not compared are its own identifier and time of creation, and values that it repeats from the request.
        """
        text = body or b""
        size = len(text) if len(text) > MAX_ANSWER else 0
        text = _ABOUT_ITSELF.sub(b"#", _ends(text, MAX_ANSWER))
        if len(_MADE.findall(text)) == 1:
            text = _MADE.sub(b"#", text)
        if fingerprint is not None and fingerprint.echoes:
            text = _VALUE.sub(_without(fingerprint.echoes), text)
        return self._digest(b"%d %d\n%b" % (status or 0, size, text))

    def _digest(self, text: bytes) -> bytes:
        return blake2b(text, digest_size=_SIZE, key=self._secret).digest()


def _spaced(text: bytes) -> bytes:
    """The text without what is random, and with single spaces."""
    text = _RANDOM.sub(b"#", text)
    has = text.count
    if has(b"  ") or has(b' "') or has(b"\t") or has(b"\n") > 1:
        text = b" ".join(text.split()).replace(b' "', b'"')
    return text


def _counter(found: list[bytes], named: re.Match[bytes]) -> bytes:
    """`#` in place of the value if its word calls it a counter, a time or an identifier, and of those adds it to `found`."""
    word, between, value = named.groups()
    kind = _kind(word)
    if kind is None and value[:1].isalpha():  # `"label":"try17"`.
        return word + between + _NAMED.sub(partial(_counter, found), value)
    is_key = b":" in between or b"=" in between
    if (
        kind is None
        or (kind is _LETTERS and not (is_key and value.isdigit()))
        or (kind is _CLOCKS and _TIME.fullmatch(value) is None)
    ):
        return named[0]
    found += _VALUE.findall(value)
    return b"%b%b#" % (word, between)


@lru_cache(maxsize=1_024)
def _kind(word: bytes) -> frozenset[bytes] | None:
    """The words to which one belongs by its last part but for a suffix; None for one that says nothing about the request."""
    parts = [part.lower() for part in _WORD.findall(word)] or [word]
    while len(parts) > 1 and parts[-1] in _SUFFIXES:
        del parts[-1]
    return next((kind for kind in (_COUNTERS, _LETTERS, _CLOCKS) if parts[-1] in kind), None)


def _marked(text: bytes) -> bytes:
    """The text with marks in place of the digits of what a prompt is about."""
    has = text.count
    digits = text.translate(None, _NO_DIGITS)
    if digits:
        if has(b'id"') or has(b'Id"'):
            text = _REFERENCE.sub(_kept, text)
        if has(b"@"):
            text = _MAIL.sub(_kept, text)
        if len(digits) > _MAX_COUNTER or has(b"."):
            text = _DATA.sub(_kept, text)
    return text


def _kept(found: re.Match[bytes]) -> bytes:
    """The text with digits that are not folded."""
    return found[0].translate(_KEPT)


def _canonical(body: bytes) -> tuple[bytes, object]:
    """JSON with sorted keys and without white space, and its value; any other body as it is, and None."""
    if body[:1] not in (b"{", b"[") or len(body) > MAX_BODY:
        return body, None
    try:
        document = msgspec.json.decode(body)
        return msgspec.json.encode(document, order="sorted"), document
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return body, None


def _unrepeated(document: object) -> bytes | None:
    """A prompt without the turns at its end that repeat those before them, of up to `MAX_TURNS` messages; None without such."""
    if not isinstance(document, dict):
        return None
    name = next((name for name in _CONVERSATIONS if isinstance(document.get(name), list)), None)
    if name is None or len(document[name]) < 3:
        return None
    turns = [_said(turn) for turn in document[name][-2 * MAX_TURNS :]]
    size = next((size for size in range(1, len(turns) // 2 + 1) if _repeats(turns, size)), None)
    if size is None:
        return None
    turns = [_said(turn) for turn in document[name]]
    while _repeats(turns, size):
        del turns[-size:]
    return msgspec.json.encode({**document, name: document[name][: len(turns)]}, order="sorted")


def _said(message: object) -> bytes:
    return _ABOUT_ITSELF.sub(b"#", msgspec.json.encode(message, order="sorted"))


def _repeats(turns: list[bytes], size: int) -> bool:
    """Whether the last two turns, each of so many messages, say the same, but for the identifiers of their calls."""
    return len(turns) >= 2 * size and turns[-size:] == turns[-2 * size : -size]


def _ends(text: bytes, size: int) -> bytes:
    return text if len(text) <= size else text[: size // 2] + text[-(size // 2) :]


def _folded(text: bytes) -> bytes:
    """The text with `#` in place of each word that has a digit, from its last letter or sign before the digit on."""
    return _BEGINNING.sub(b"#", _VALUE.sub(b"#", text)[::-1])


def _without(echoes: frozenset[bytes]) -> Callable[[re.Match[bytes]], bytes]:
    return lambda match: b"#" if match.group().strip(b"_.:+-") in echoes else match.group()
