"""What differs between repetitions of a request: counters, times, identifiers of the request, and random values.

A number that no word calls so may be what one of many requests is about, and stays.
"""

import re
from functools import lru_cache
from typing import Final

#: A number, a time or an identifier from its first digit on.
VALUE: Final = re.compile(rb"[0-9][0-9A-Za-z_.:+-]*")
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
#: A label in the reversed text that is one word.
_LABEL: Final = re.compile(rb'[A-Za-z_-]*[A-Za-z_][">=]')
#: The parts of such a word.
_WORD: Final = re.compile(rb"[A-Z]?[a-z]+|[A-Z]+")
#: Counters, and identifiers of the request itself; single letters only where they are keys; and the clock of the caller. A
#: number of something is named by what it counts.
_COUNTERS: Final = frozenset(
    b"attempt retry retries try tries iteration iter loop cycle turn round step counter seq sequence index idx tick poll ping"
    b" elapsed uptime nonce seed rev request req message msg run session trace span correlation cachebust cb rand"
    b" idempotency mutation signature assertion traceparent".split()
)
#: How the parts of a word begin by which it names a secret of one request.
_SECRETS: Final = (b"csrf", b"xsrf", b"nonce")
_LETTERS: Final = frozenset((b"n", b"i", b"k"))
_CLOCKS: Final = frozenset(b"now ts timestamp time date sent requested created updated expires t _".split())
_SUFFIXES: Final = frozenset(b"id uuid no nr num number count ref key ms sec seconds at on".split())
_TIME: Final = re.compile(
    rb"1[0-9]{9}(?:[0-9]{3}){0,3}(?:\.[0-9]+)?|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,}(?:Z|[+-][0-9:]{4,5})?"
    rb"|[0-9]{8}T[0-9]{6}(?:\.[0-9]+)?Z?"
)
#: A time of a whole minute.
_MINUTE: Final = re.compile(
    rb"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::00(?:\.0+)?)?(?:Z|[+-][0-9:]{4,5})?|[0-9]{8}T[0-9]{4}00(?:\.0+)?Z?"
)
#: The fewest digits of an identifier of a request.
_MIN_RANDOM: Final = 10
#: JSON values that are random in each request, and the time before a line: two patterns, as each skips to its first byte.
_RANDOM: Final = re.compile(
    rb'"(?:seed|nonce|salt|random|hmac|sig|signature|traceparent|tracestate|baggage|progressToken|csrf_?[Tt]oken)"'
    rb':(?:"[^"]*"|[0-9.]+)'
    rb'|"(?:[a-z]+:)?Message-I[dD]":"[^"]*"'
    rb'|"(?:[a-z]+:)?[Dd]ate":"[A-Z][a-z]{2}, [0-9]{1,2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8}[^"]*"'
    rb'|"(?:now|ts|[Tt]imestamp|sent(?:_?[aA]t)?)":'
    rb'"[^"]{0,24}(?<![0-9])20[0-9]{2}[, ]{1,2}[0-9]{1,2}:[0-9]{2}:[0-9]{2}[^"]{0,40}"'
)
#: Where a list goes on, as its server encodes it.
CURSOR: Final = re.compile(
    rb'(?:[cC]ursor|[pP]age_?[tT]oken|[cC]ontinuation(?:_?[tT]oken)?|[sS]croll_?[iI]d)"?[:=] ?"?'
    rb"(?=[A-Za-z_/+-]*[0-9])(?=[0-9_/+-]*[A-Za-z])[0-9A-Za-z_/+-]{12,}={0,2}"
)
#: A nonce of an envelope, and a number to get past caches, as JavaScript draws it.
_NONCE: Final = re.compile(rb"Nonce>[^<]*|(?<==)0\.[0-9]{12,20}")
#: When an envelope of SOAP was made, and which one it is.
_ENVELOPE: Final = re.compile(rb"(?:MessageID|Created|Expires)(?: [^<>]*)?>[^<]*")
#: The identifier of an event in an envelope of CloudEvents.
_EVENT: Final = re.compile(rb'"id":"([^"]*)"(?=(?:,"[a-z]+":"[^"]*")*?,"specversion":")')
#: The number of an attempt in an address; `/attempts/17` is one of many things.
_ATTEMPT: Final = re.compile(rb"/(attempt|retry|try)/[0-9]{1,2}(?![0-9A-Za-z])")
#: Where a page begins, and how long it is.
_OFFSET: Final = re.compile(
    rb'((?:^|["&\n])(?:offset|skip|page(?:_?[nN]o|_?[nN]umber|_?[iI]ndex)?)"?[:=]"?)([0-9]{1,12})(?![0-9])'
)
_LENGTH: Final = re.compile(
    rb'["&\n](?:limit|size|count|rows|take|top|per_?[pP]age|page_?[sS]ize|max_?[rR]esults)"?[:=]"?[0-9]'
)
#: A session, a thread or a run of one client, and an element of its page, in an address that says what is run in it. What is
#: written to many of them is a batch.
_SESSION: Final = re.compile(
    rb"/(sessions?|threads?|runs?|conversations?|containers?|element)"
    rb"/((?:[a-z]{2,12}[-_])?(?:[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{16,64}|(?<=_)[0-9A-Za-z]{16,64})|f\.[0-9A-Fa-f]{32}\.[0-9A-Fa-f.de]+)"
    rb"(?=/(?:runs?(?:/wait)?$|run|exec|invoke|query|text|chat|tools?|element|click|value|actions?|url)\b)"
)
_MAY_BE_WITHIN: Final = re.compile(rb"/(?:sessions?|threads?|runs?|conversations?|containers?|element|attempt|retry|try)/")
#: In GraphQL, a name that has a digit: of an operation, and of what is asked for.
_OPERATION: Final = re.compile(rb"((?:query|mutation|subscription) )[A-Za-z_]*[0-9]\w*(?=[ ({])")
_OPERATION_NAME: Final = re.compile(rb'"operationName":"[A-Za-z_]*[0-9]\w*"')
_ALIAS: Final = re.compile(rb"(?<=[{ ,])([A-Za-z_]*[0-9]\w*): ?(?=[A-Za-z_]+ ?[({])")
_LINE_TIME: Final = re.compile(rb"\[[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,}(?:Z|[+-][0-9:]{5})?\]")
ZEROS: Final = bytes.maketrans(b"123456789", b"0" * 9)


def may_page(text: bytes) -> bool:
    """Whether there may be a cursor."""
    has = text.count
    return bool(has(b"ursor") or has(b"age_token") or has(b"ageToken") or has(b"ontinuation") or has(b"croll"))


def without_random(text: bytes) -> bytes:
    text = _LINE_TIME.sub(b"#", _RANDOM.sub(b"#", text))
    has = text.count
    if has(b"nvelope"):
        text = _ENVELOPE.sub(b"#", text)
    return _NONCE.sub(b"#", text) if has(b"Nonce>") or has(b"=0.") else text


def without_event(text: bytes, found: list[bytes]) -> bytes:
    """The text without the identifiers of events in envelopes of CloudEvents, which are added to `found`."""
    if text.count(b'"specversion":"'):
        found += _EVENT.findall(text)
        text = _EVENT.sub(b"#", text)
    return text


def without_offset(text: bytes, found: list[bytes]) -> tuple[bytes, bytes]:
    """The text without where a page of stated length begins, and that; each number is added to `found`."""
    has = text.count
    if not (has(b"ffset") or has(b"skip") or has(b"page")) or _LENGTH.search(b"&" + text) is None:
        return text, b""
    offsets = [number for _, number in _OFFSET.findall(text)]
    found += offsets
    return (_OFFSET.sub(rb"\1#", text), b",".join(offsets)) if offsets else (text, b"")


def in_session(head: bytes) -> bool:
    """Whether the address names a session in which something is done, or an attempt."""
    return _MAY_BE_WITHIN.search(head) is not None and (_SESSION.search(head) or _ATTEMPT.search(head)) is not None


def without_session(head: bytes, text: bytes, found: list[bytes]) -> tuple[bytes, bytes]:
    """A method with its address, and the rest, without the session in which something is done, which is added to `found`."""
    sessions = _SESSION.findall(head)
    for _, name in sessions:
        found += VALUE.findall(name)
        text = text.replace(name, b"#")
    return _ATTEMPT.sub(rb"/\1/#", _SESSION.sub(rb"/\1/#", head)), text


def without_alias(text: bytes, found: list[bytes]) -> bytes:
    """A query of GraphQL without its name, and without the names for its answer, which are added to `found`."""
    found += (b'"%b"' % name for name in _ALIAS.findall(text))
    return _OPERATION.sub(rb"\1#", _OPERATION_NAME.sub(b"#", _ALIAS.sub(b"", text)))


def uncounted(text: bytes, found: list[bytes]) -> bytes:
    """The text with `_counter` in place of what is named. Equal to `_NAMED.sub`, which tries each letter."""
    last, done, copied, parts = len(text) - 1, 0, 0, list[bytes]()
    for back in reversed([*_NAMED_BACK.finditer(text[::-1].translate(ZEROS))]):
        digit = last - back.start()
        if digit < done:
            continue  # Within the value before it.
        start = last + 1 - back.end()
        label, word = back.groups()
        if start >= done and _kind(word[::-1]) is None:
            # `"quantity":2` has what begins like a label, but with no more separators than five it is none.
            if label is None or (label == b':"' and back.end() - back.start() <= len(word) + 6):
                done = _NUMBER.match(text, digit).end()  # type: ignore[union-attr] # There is a digit.
                continue
            # `"sku":"A-17"`: neither word says anything.
            if _LABEL.fullmatch(label) is not None and _kind(label[-2::-1]) is None:
                done = VALUE.match(text, digit).end()  # type: ignore[union-attr] # There is a digit.
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
            return word + between + uncounted(value, found)
        return named[0]
    is_key = b":" in between or b"=" in between
    if (
        (kind is _LETTERS and not (is_key and value.isdigit()))
        or (kind is _CLOCKS and (not _is_moment(value.rstrip(b".:")) or _compares(named)))
        or (kind is _COUNTERS and _is_thing(word, value))
    ):
        return named[0]
    found += VALUE.findall(value)
    return b"%b%b#" % (word, between)


def _is_moment(value: bytes) -> bool:
    """Whether a value is a time that a clock shows: that of a whole minute is a day or an hour of which many are asked for."""
    if _TIME.fullmatch(value) is None or _MINUTE.fullmatch(value) is not None:
        return False
    return not value[:10].isdigit() or int(value[:10]) % 60 > 0 or value[10:].strip(b".0") != b""


def _is_thing(word: bytes, value: bytes) -> bool:
    """Whether a value is the number of one of many things, as in `"message_id":17`, and no identifier of the request."""
    return len(value) < _MIN_RANDOM and value.isdigit() and word[-2:].lower() == b"id"


def _compares(named: re.Match[bytes]) -> bool:
    """Whether a time is compared with in a statement, `ts > 17`, and is not that of an element, `<ts>17</ts>`."""
    return b">" in named[2] and named.string[named.end() : named.end() + 1] != b"<"


@lru_cache(maxsize=1_024)
def _kind(word: bytes) -> frozenset[bytes] | None:
    """The words to which one belongs by its last part but for a suffix; None for one that says nothing about the request."""
    parts = [part.lower() for part in _WORD.findall(word)] or [word]
    if any(part.startswith(_SECRETS) for part in parts):
        return _COUNTERS
    while len(parts) > 1 and parts[-1] in _SUFFIXES:
        del parts[-1]
    return next((kind for kind in (_COUNTERS, _LETTERS, _CLOCKS) if parts[-1] in kind), None)
