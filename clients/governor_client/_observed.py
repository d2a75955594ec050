"""The bodies of answers, observed as they pass: whole ones at once, streams in chunks, decoded.

An observer belongs to one answer. It sees what the program reads, and also that the answer breaks off or is closed early. An
observer that fails is dropped; the program does not notice.
"""

import logging
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from importlib import import_module
from operator import methodcaller
from typing import Any, Final, Protocol, final

_log: Final = logging.getLogger("governor")

#: The number of decoded bytes of one answer after which it is observed no further.
MAX_OBSERVED: Final = 64 * 1024 * 1024
#: The number of bytes that are decoded at a time.
_AT_ONCE: Final = 65_536
#: The number of bytes that are given at a time to what may make 32,768 times as many of them.
_SLICE: Final = 256


class Observer(Protocol):
    """Sees the body of one answer."""

    def feed(self, data: bytes, /) -> None:
        """A part of the body, decoded, in order."""
        ...

    def end(self, *, whole: bool) -> None:
        """The body has ended; if not `whole`, parts of it were not seen. Called once, before the outcome is reported."""
        ...


@final
class Observation:
    """The observers of one answer, and what decodes it for them. `encoding` is the `Content-Encoding` of the answer."""

    __slots__ = ("_decode", "_encoding", "_left", "_observers", "_whole")

    def __init__(self, observers: Iterable[Observer], encoding: str | None) -> None:
        self._observers = list(observers)
        self._encoding = encoding
        self._decode: Callable[[bytes], Iterable[bytes]] | None = None
        self._left = MAX_OBSERVED
        self._whole = True

    def saw(self, data: bytes, *, decoded: bool = False) -> None:
        """A part of the body has passed, as it was sent, or `decoded` by the library already."""
        if not self._observers or not data or not self._whole:
            return
        try:
            if not decoded and self._decode is None:
                self._decode = _decoder(self._encoding)
            for part in (data,) if decoded or self._decode is None else self._decode(data):
                self._left -= len(part)
                if self._left < 0:
                    self._whole = False
                    return
                self._each(methodcaller("feed", part))
        except Exception:
            self._whole = False  # An encoding that is unknown or broken.

    def end(self, *, whole: bool) -> None:
        """The body has ended. Later calls do nothing."""
        self._each(methodcaller("end", whole=whole and self._whole))
        self._observers.clear()

    def _each(self, call: Callable[[Observer], None]) -> None:
        for observer in tuple(self._observers):
            try:
                call(observer)
            except Exception as error:
                self._observers.remove(observer)
                _log.error("An observer of answers failed, and the answer goes on.", exc_info=error)


def _decoder(encoding: str | None) -> Callable[[bytes], Iterable[bytes]] | None:
    """What decodes a body in parts; None if it is sent as it is. Raises an exception if the encoding cannot be decoded here."""
    match (encoding or "identity").strip().lower():
        case "identity":
            return None
        case "gzip" | "x-gzip" | "deflate":
            return _inflating()
        case "br":
            # Before brotli 1.2 there is no limit: TypeError.
            return _in_parts(partial(import_module("brotli").Decompressor().process, output_buffer_limit=_AT_ONCE))
        case "zstd":
            return _zstd()
        case other:
            raise ValueError(other)


def _in_parts(decode: Callable[[bytes], bytes]) -> Callable[[bytes], Iterator[bytes]]:
    """Decodes data with what returns a bounded part at a time, and the rest, without further data, until nothing is left."""

    def parts(data: bytes) -> Iterator[bytes]:
        while part := decode(data):
            yield part
            data = b""

    return parts


def _zstd() -> Callable[[bytes], Iterable[bytes]]:
    for name in ("compression.zstd", "backports.zstd"):
        with suppress(ModuleNotFoundError):
            return _limited(import_module(name).ZstdDecompressor())
    # It has no limit. Four bytes may stand for 128 KiB (RFC 8878, section 3.1.1.2).
    decode = import_module("zstandard").ZstdDecompressor().decompressobj().decompress
    return lambda data: (decode(data[at : at + _SLICE]) for at in range(0, len(data), _SLICE))


def _limited(zstd: Any) -> Callable[[bytes], Iterable[bytes]]:
    return _in_parts(lambda data: b"" if zstd.eof else zstd.decompress(data, _AT_ONCE))


def _inflating() -> Callable[[bytes], Iterable[bytes]]:
    """gzip, zlib, or, as some servers send it, deflate without a header."""
    inflating: Any = None

    def inflate(data: bytes) -> Iterator[bytes]:
        nonlocal inflating
        if inflating is None:
            # Without a header, this would begin a block that is of no kind, or has padding: no compressor writes that.
            has_header = data[0] == 0x1F or data[0] & 15 == zlib.DEFLATED
            inflating = zlib.decompressobj(zlib.MAX_WBITS | 32 if has_header else -zlib.MAX_WBITS)
        while part := inflating.decompress(data, _AT_ONCE):
            yield part
            data = inflating.unconsumed_tail

    return inflate
