"""Event streams of AWS (`application/vnd.amazon.eventstream`): the payloads of their messages.

A message is its length, the length of its headers and a checksum, of 4 bytes each, then the headers, the payload, and another
checksum. What Bedrock streams in the format of a model is in Base64 inside of that.

Bound: a message of more than `MAX_MESSAGE` bytes is skipped.
"""

from base64 import b64decode
from collections.abc import Iterator
from typing import Final, final

#: Bytes. Those that say what was used are far smaller.
MAX_MESSAGE: Final = 65_536
#: Bytes before the headers, and without headers and payload.
_PRELUDE: Final = 12
_LEAST: Final = 16
_WRAPPED: Final = b'{"bytes":"'


@final
class Frames:
    """Reads one stream."""

    __slots__ = ("_held", "_skip")

    def __init__(self) -> None:
        self._held = bytearray()
        #: The bytes to come of a message that is too long.
        self._skip = 0

    def payloads(self, data: bytes) -> Iterator[bytes]:
        """The payloads of the messages that end in this part of the stream. Raises `ValueError` for what is none."""
        skipped = data[self._skip :]
        self._skip -= len(data) - len(skipped)
        held = self._held
        held += skipped
        while len(held) >= _PRELUDE:
            length, headers = int.from_bytes(held[:4]), int.from_bytes(held[4:8])
            if length < _LEAST + headers:
                raise ValueError(f"a message of {length} bytes cannot have {headers} bytes of headers")
            if length > MAX_MESSAGE:
                self._skip = max(0, length - len(held))
            elif len(held) < length:
                return
            else:
                yield _unwrapped(bytes(held[_PRELUDE + headers : length - 4]))
            del held[:length]


def _unwrapped(payload: bytes) -> bytes:
    if not payload.startswith(_WRAPPED):
        return payload
    return b64decode(payload[len(_WRAPPED) : payload.find(b'"', len(_WRAPPED))])
