"""The details of a gRPC error, in the trailer `grpc-status-details-bin`: how long to wait, if a `RetryInfo` says it.

The trailer is a `google.rpc.Status` in base64. Of its messages only the fields on the way to the wait are read: the details are
field 3; a detail has its type in field 1 and its message in field 2; `retry_delay` is field 1 of `google.rpc.RetryInfo`, and
has seconds in field 1 and nanoseconds in field 2.
"""

from base64 import b64decode
from collections.abc import Iterator
from typing import Final

from governor._units import SECOND
from governor.hints.values import MAX_FIELD, VERY_LONG

_RETRY_INFO: Final = b"google.rpc.RetryInfo"
#: Kinds of fields: numbers of 64 bits, of variable length, bytes with their length before them, and numbers of 32 bits.
_64_BITS, _VARIABLE, _BYTES, _32_BITS = 1, 0, 2, 5


def retry_delay(text: str) -> int:
    """The wait that the details name, in microseconds; -1 if they name none."""
    try:
        status = b64decode(text[:MAX_FIELD].encode() + b"==")
        details = [dict(_fields(detail)) for number, detail in _fields(status) if number == 3 and isinstance(detail, bytes)]
        return max((_delay(one.get(2)) for one in details if _is_retry_info(one.get(1))), default=-1)
    except (ValueError, IndexError):  # It is no base64, or ends within a field.
        return -1


def _is_retry_info(kind: int | bytes | None) -> bool:
    return isinstance(kind, bytes) and kind.rpartition(b"/")[2] == _RETRY_INFO


def _delay(info: int | bytes | None) -> int:
    delay = dict(_fields(info)).get(1) if isinstance(info, bytes) else None
    said = dict(_fields(delay)) if isinstance(delay, bytes) else {}
    seconds, nanoseconds = said.get(1, 0), said.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanoseconds, int) or max(seconds, nanoseconds) >= 2**63:
        return -1  # A negative number has its highest bit set.
    return min(seconds * SECOND - -nanoseconds // 1_000, VERY_LONG) if said else -1


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The numbers and values of the fields of a message. Raises `IndexError` for one that ends within a field."""
    at = 0
    while at < len(message):
        key, at = _number(message, at)
        kind = key & 7
        if kind == _VARIABLE:
            value, at = _number(message, at)
            yield key >> 3, value
            continue
        size, at = _number(message, at) if kind == _BYTES else ({_64_BITS: 8, _32_BITS: 4}.get(kind, len(message)), at)
        if at + size > len(message):
            raise IndexError
        yield key >> 3, message[at : at + size]
        at += size


def _number(message: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends: seven bits a byte, the lowest first."""
    number = shift = 0
    while True:
        number |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if message[at - 1] < 0x80:
            return number, at
