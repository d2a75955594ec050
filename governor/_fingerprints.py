"""Fingerprints of requests and digests of their answers, by which repetitions are recognized. Nothing readable is kept.

A request has two fingerprints, each a keyed digest (BLAKE2b, RFC 7693) under a random secret of the governor. The exact one is
of the method, the URL and the body, in canonical form if that is JSON. In the shape, counters, times and identifiers of the
query and of the body are folded, and white space: two requests that differ only in these have one shape. Not folded is what
a request is about: the path; JSON values such as `user_id`, and `id` but for that of JSON-RPC; numbers of five digits or more,
unless they are seconds since 1970, and decimal fractions; hexadecimal numbers; names in addresses of mail.

Costs about 6 us for a small request, and 40 us for 1 KiB of text, of which at most 8 KiB are folded.
"""

import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Final, final

import msgspec

from governor.messages import Fingerprint

#: The longest body, in bytes, that counts as a whole. Of a longer one, the length and the two ends count.
MAX_BODY: Final = 65_536
#: The most bytes of a body that are folded: those at its two ends.
MAX_FOLDED: Final = 8_192
#: The longest answer, in bytes, that counts as a whole.
MAX_ANSWER: Final = 16_384
#: The most folded values of a request that are recognized in its answer.
MAX_ECHOES: Final = 64

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
    rb'"(?:(?:created|created_at|system_fingerprint|request_?[iI]d|RequestId|response_?[iI]d|trace_?[iI]d|took'
    rb'|(?:queue|prompt|completion|total)_time)":\s*(?:"[^"]*"|[0-9.e-]+)'
    rb'|(?:call|chatcmpl|cmpl|fc|gen|msg|req|resp|rs|run|toolu)[-_][0-9A-Za-z]{6,}")'
)


@final
class Fingerprints:
    """Makes the fingerprints of one governor. `secret` is 16 to 64 random bytes."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def request(self, method: str, url: str, body: bytes | str | None = None) -> Fingerprint:
        """The fingerprint of a request. `url` is compared as it is, JSON in canonical form."""
        address, _, query = url.partition("?")
        head = f"{method.upper()} {address}\n".encode()
        whole = _canonical(body.encode() if isinstance(body, str) else body or b"")
        exact = self._digest(b"%b%b\n%d\n%b" % (head, query.encode(), len(whole), _ends(whole, MAX_BODY)))
        text = b"%b\n%b" % (query.encode(), _ends(whole, MAX_FOLDED))
        has = text.count  # Four times as fast as `in`, which asks for a buffer.
        waits = bool(has(b"ait") or has(b"imeout") or has(b"oll")) and _WAITS.search(text) is not None
        plain = _plain(text)
        echoes = frozenset(value.strip(b"_.:+-") for value in _VALUE.findall(plain)[:MAX_ECHOES])
        shape = self._digest(head + _folded(plain)) if echoes or plain != text else exact
        return Fingerprint(exact, shape, echoes, waits)

    def answer(self, status: int | None, body: bytes | None, fingerprint: Fingerprint | None = None) -> bytes:
        """The digest of an answer: equal for answers that say the same.

        Not compared are its own identifier and time of creation, and values that it repeats from the request.
        """
        text = body or b""
        size = len(text) if len(text) > MAX_ANSWER else 0
        text = _ABOUT_ITSELF.sub(b"#", _ends(text, MAX_ANSWER))
        if fingerprint is not None and fingerprint.echoes:
            text = _VALUE.sub(_without(fingerprint.echoes), text)
        return self._digest(b"%d %d\n%b" % (status or 0, size, text))

    def _digest(self, text: bytes) -> bytes:
        return blake2b(text, digest_size=_SIZE, key=self._secret).digest()


def _plain(text: bytes) -> bytes:
    """The text without what is random or white space, and with marks in place of the digits of what the request is about."""
    text = _RANDOM.sub(b"#", text)
    has = text.count
    if has(b"  ") or has(b' "') or has(b"\t") or has(b"\n") > 1:
        text = b" ".join(text.split()).replace(b' "', b'"')
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


def _canonical(body: bytes) -> bytes:
    """JSON with sorted keys and without white space; any other body as it is."""
    if body[:1] not in (b"{", b"[") or len(body) > MAX_BODY:
        return body
    try:
        return msgspec.json.encode(msgspec.json.decode(body), order="sorted")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return body


def _ends(text: bytes, size: int) -> bytes:
    return text if len(text) <= size else text[: size // 2] + text[-(size // 2) :]


def _folded(text: bytes) -> bytes:
    """The text with `#` in place of each word that has a digit, from its last letter or sign before the digit on."""
    return _BEGINNING.sub(b"#", _VALUE.sub(b"#", text)[::-1])


def _without(echoes: frozenset[bytes]) -> Callable[[re.Match[bytes]], bytes]:
    return lambda match: b"#" if match.group().strip(b"_.:+-") in echoes else match.group()
