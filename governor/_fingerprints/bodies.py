"""Bodies of requests in canonical form, and the parts of a long one that count."""

import zlib
from typing import Final

import msgspec

#: The longest body, in bytes, that counts as a whole. Of a longer one, the length and the two ends count.
MAX_BODY: Final = 65_536
#: The most bytes of a body that are folded: those at its two ends.
MAX_FOLDED: Final = 8_192


def canonical(body: bytes) -> tuple[bytes, object]:
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


def ends(text: bytes, size: int) -> bytes:
    """So many bytes of the text: half of them from its beginning, half from its end."""
    return text if len(text) <= size else text[: size // 2] + text[-(size // 2) :]
