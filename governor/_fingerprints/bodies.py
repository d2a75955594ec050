"""Bodies of requests in canonical form, and the parts of a long one that count."""

import re
import zlib
from typing import TYPE_CHECKING, Final

import msgspec

from governor._exports import Later
from governor._fingerprints.addresses import form

if TYPE_CHECKING:
    import unicodedata
else:
    unicodedata = Later("unicodedata")  # Most bodies are of ASCII.

#: The longest body, in bytes, that counts as a whole. Of a longer one, the length and the two ends count.
MAX_BODY: Final = 65_536
#: The most bytes of a body that are folded: those at its two ends.
MAX_FOLDED: Final = 8_192


#: A whole number that is written as a fraction.
_WHOLE: Final = re.compile(rb"(?<=[:,\[])(-?[0-9]{1,15})\.0(?=[,\]}])")


def canonical(body: bytes) -> tuple[bytes, object]:
    """JSON with sorted keys and without white space, and its value; any other body without its boundary, and None.

    Text is composed (NFC), a whole number written as one, and the parameters of a form are in order.
    """
    if body[:2] == b"\x1f\x8b":
        body = _decompressed(body)
    if body[:2] == b"--":
        boundary = body[: body.find(b"\r\n")]
        if len(boundary) > len(b"--"):
            body = body.replace(boundary, b"--").replace(b'"\r\n\r\n', b'"=')  # The name of a field beside its value.
        return body, None
    if len(body) > MAX_BODY:
        return body, None
    if body[:1] not in (b"{", b"["):
        return composed(form(body) or body), None
    try:
        document = msgspec.json.decode(body)
        text = msgspec.json.encode(document, order="sorted")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return body, None
    return composed(_WHOLE.sub(rb"\1", text) if text.count(b".0") else text), document


def composed(text: bytes) -> bytes:
    """The text with each letter and its accents as one character, if there is such a one: Unicode's form NFC."""
    if text.isascii():
        return text
    try:
        return unicodedata.normalize("NFC", text.decode()).encode()
    except UnicodeError:
        return text


def _decompressed(body: bytes) -> bytes:
    """What gzip has compressed; of more than `MAX_BODY` bytes the beginning, and the checksum and length at its end."""
    try:
        whole = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body, MAX_BODY)
    except zlib.error:
        return body
    return whole if len(whole) < MAX_BODY else whole + body[-8:]


def ends(text: bytes, size: int) -> bytes:
    """So many bytes of the text: half of them from its beginning, half from its end."""
    return text if len(text) <= size else text[: size // 2] + text[-(size // 2) :]
