"""Fingerprints of requests, and digests of their answers: see the package."""

import re
from hashlib import blake2b
from types import NoneType
from typing import Final, final

from governor._fingerprints import answers, prompts
from governor._fingerprints.addresses import parameters, unescaped
from governor._fingerprints.asking import asks
from governor._fingerprints.bodies import MAX_BODY, MAX_FOLDED, canonical, composed, ends
from governor._fingerprints.volatile import (
    CURSOR,
    in_session,
    may_page,
    uncounted,
    without_alias,
    without_event,
    without_offset,
    without_random,
    without_session,
)
from governor.errors import ConfigError
from governor.messages import Fingerprint

#: How text is encoded: half of a surrogate pair, as programs cut it, is no mistake.
LENIENT: Final = ("utf-8", "surrogatepass")
#: The longest answer, in bytes, that counts as a whole.
MAX_ANSWER: Final = 16_384
#: The most folded values of a request that are recognized in its answer.
MAX_ECHOES: Final = 64
_SIZE: Final = 8
#: The number of a call of JSON-RPC.
_RPC: Final = re.compile(rb'"id":"?([0-9A-Za-z_-]+)"?,"jsonrpc"')
#: Words that are searched for, and no statement of a language.
_SEARCH: Final = re.compile(rb'"(?:q|query|search|search_?(?:query|term)|keywords?)":"((?:[^"\\{}<>=*();]|\\"){1,200})"')
_SEARCHED: Final = re.compile(rb"[0-9A-Za-z_\x80-\xff]+")
#: A body that only says which session, trace or message it is about.
_LOOKUP: Final = re.compile(rb'\n\{"(?:session|trace|message|msg|run)_?[iI][dD]":"[^"]*"\}')
#: The longest request that may be known as plain: without numbers and words that are searched for.
_MAX_PLAIN: Final = 512
_DIGIT: Final = re.compile(rb"[0-9]")
_SPACES: Final = bytes.maketrans(b"\t\n\v\f\r", b" " * 5)


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
        head, asked = f"{method.upper()} {address}\n".encode(*LENIENT), parameters(query.encode(*LENIENT))
        if "%" in url:
            head, asked = composed(unescaped(head)), composed(asked)
        whole, document = canonical(body.encode(*LENIENT) if isinstance(body, str) else body or b"")
        exact = self._digest(b"%b%b\n%d\n%b" % (head, asked, len(whole), ends(whole, MAX_BODY)))
        text = b"%b\n%b" % (asked, ends(whole, MAX_FOLDED))
        waits, reads, polls = asks(head, text)
        within = in_session(head)
        if (is_plain(text) and not within) or is_data(text):
            return Fingerprint(exact, exact, waits=waits, reads=reads, polls=polls)
        found: list[bytes] = []
        told = prompts.folded(asked, text, document) if prompts.is_prompt(text) else text
        folded_head, told = without_session(head, told, found) if within else (head, told)
        pages = may_page(told) and CURSOR.search(told) is not None
        told, place = without_offset(_folded(told, found, pages=pages), found)
        folded = uncounted(told, found)
        echoes = frozenset(value.strip(b"_.:+-") for value in found[:MAX_ECHOES])
        shape = self._digest(folded_head + folded) if folded != text or folded_head != head else exact
        return Fingerprint(exact, shape, echoes, waits, reads, polls, pages, place)

    def answer(self, status: int | None, body: bytes | None, fingerprint: Fingerprint | None = None) -> bytes:
        """The digest of an answer: equal for answers that say the same.

        Not compared is what it says about itself, and values that it repeats from the request.
        """
        return self._digest(_compared(status, body or b"", fingerprint))

    def answer_and_gist(self, status: int | None, body: bytes, fingerprint: Fingerprint) -> tuple[bytes, bytes]:
        """The digest of an answer, and that of what it says, whichever thing it is about: equal for two that are made alike."""
        text = _compared(status, body, fingerprint)
        return self._digest(text), self._digest(answers.gist(text))

    def _digest(self, text: bytes) -> bytes:
        return blake2b(text, digest_size=_SIZE, key=self._secret).digest()


def _compared(status: int | None, body: bytes, fingerprint: Fingerprint | None) -> bytes:
    size = len(body) if len(body) > MAX_ANSWER else 0
    text = answers.compared(status, ends(body, MAX_ANSWER), fingerprint.echoes if fingerprint else frozenset())
    place = fingerprint.place if fingerprint is not None and fingerprint.place and not answers.is_past_end(body) else b""
    return b"%d %d %b\n%b" % (status or 0, size, place, text)


def is_plain(text: bytes) -> bool:
    """Whether nothing is folded in a request, because it is short and has neither numbers nor words that are searched for."""
    if len(text) > _MAX_PLAIN or _DIGIT.search(text) is not None:
        return False
    has = text.count
    searched = has(b'"q') or has(b'"search') or has(b'"keyword')
    return not (searched or has(b"  ") or has(b' "') or has(b"\t") or has(b"\n") > 1 or prompts.is_prompt(text))


def is_data(text: bytes) -> bool:
    """Whether a request has rows of JSON, whose numbers are data, or nothing but the identifier of what it asks for."""
    return text.count(b"}\n{") > 0 or _LOOKUP.fullmatch(text) is not None


def _folded(text: bytes, found: list[bytes], *, pages: bool) -> bytes:
    """The text without what differs between repetitions but for counters; what may be in the answer is added to `found`."""
    has = text.count
    if has(b'"jsonrpc"'):
        found += _RPC.findall(text)
        text = _RPC.sub(b"#", text)
    if has(b'"query":"'):
        text = without_alias(text, found)
    text = without_event(text, found)
    if pages:
        text = CURSOR.sub(b"#", text)
    return _SEARCH.sub(_words, _spaced(text))


def _spaced(text: bytes) -> bytes:
    """The text without what is random, and with single spaces."""
    text = without_random(text)
    has = text.count
    if has(b"  ") or has(b' "') or has(b"\t") or has(b"\n") > 1:
        text = text.translate(_SPACES).strip()
        while text.count(b"  "):
            text = text.replace(b"  ", b" ")
        text = text.replace(b' "', b'"')
    return text


def _words(found: re.Match[bytes]) -> bytes:
    """What is searched for, whatever the order, case and punctuation of its words."""
    return b" ".join(sorted(set(_SEARCHED.findall(found[1].lower()))))
