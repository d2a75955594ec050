"""Frames: how messages are written into a stream of bytes, and read from it. Sans-IO.

A frame is the length of its message, four bytes with the most significant first, and the message in MessagePack.

Bound: a message has at most `MAX_FRAME` bytes. A reader keeps at most one incomplete frame and what was fed last.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final, Generic, TypeVar, final

import msgspec

from governor._units import encode_duration

#: Bytes of the length in front of each message.
HEADER: Final = 4
#: The longest message, in bytes.
MAX_FRAME: Final = 1_048_576

Message = TypeVar("Message")
_length: Final = Struct(">I")
_length_at: Final = _length.unpack_from
_encoder: Final = msgspec.msgpack.Encoder(enc_hook=encode_duration)


class FrameError(ValueError):
    """The bytes are not a frame of this protocol: the stream cannot be read on."""


def encode(message: msgspec.Struct) -> bytes:
    """The frame of a message. Raises `FrameError` if the message is longer than `MAX_FRAME`."""
    content = _encoder.encode(message)
    if len(content) > MAX_FRAME:
        raise FrameError(f"a message of {len(content):,} bytes is longer than the {MAX_FRAME:,} that a frame can hold")
    return _length.pack(len(content)) + content


@final
class FrameReader(Generic[Message]):
    """Reads messages from a stream of bytes that arrives in parts. The decoder is `FROM_MEMBER` or `FROM_OWNER`."""

    __slots__ = ("_buffer", "_decoder")

    def __init__(self, decoder: msgspec.msgpack.Decoder[Message]) -> None:
        self._decoder = decoder
        self._buffer = bytearray()

    @property
    def incomplete(self) -> int:
        """Bytes of a frame whose rest has not arrived."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are complete now. Raises `FrameError` at a message that is too long, or of no known type."""
        kept = self._buffer
        unread: bytes | bytearray = data
        if kept:
            kept += data
            unread = kept
        decode, start, fed = self._decoder.decode, 0, len(unread)
        try:
            while fed - start >= HEADER:
                (length,) = _length_at(unread, start)
                if length > MAX_FRAME:
                    raise FrameError(f"a frame of {length:,} bytes is longer than the {MAX_FRAME:,} that are allowed")
                end = start + HEADER + length
                if fed < end:
                    break
                content, start = unread[start + HEADER : end], end
                try:
                    message = decode(content)
                except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
                    raise FrameError(f"a frame does not hold a message of this protocol: {error}") from error
                yield message
        finally:
            # Most reads end where a frame does: then nothing is kept.
            if unread is kept:
                del kept[:start]
            else:
                kept += unread[start:]
