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
#: JSON values that are random in each request, and the time before a line: two patterns, as each skips to its first byte.
_RANDOM: Final = re.compile(rb'"(?:seed|nonce|salt|random)":(?:"[^"]*"|[0-9.]+)')
_LINE_TIME: Final = re.compile(rb"\[[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,}(?:Z|[+-][0-9:]{5})?\]")
ZEROS: Final = bytes.maketrans(b"123456789", b"0" * 9)


def without_random(text: bytes) -> bytes:
    return _LINE_TIME.sub(b"#", _RANDOM.sub(b"#", text))


def uncounted(text: bytes, found: list[bytes]) -> bytes:
    """The text with `_counter` in place of what is named. Equal to `_NAMED.sub`, which tries each letter."""
    last, done, copied, parts = len(text) - 1, 0, 0, list[bytes]()
    for back in reversed([*_NAMED_BACK.finditer(text[::-1].translate(ZEROS))]):
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
            return word + between + uncounted(value, found)
        return named[0]
    is_key = b":" in between or b"=" in between
    if (kind is _LETTERS and not (is_key and value.isdigit())) or (
        kind is _CLOCKS and _TIME.fullmatch(value.rstrip(b".:")) is None
    ):
        return named[0]
    found += VALUE.findall(value)
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
