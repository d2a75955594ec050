"""JSON between the demo and its provider; durations are whole microseconds."""

from typing import Any, TypeVar

import msgspec

from governor import Duration

Record = TypeVar("Record", bound=msgspec.Struct)


def encode(record: msgspec.Struct) -> bytes:
    """The record as JSON."""
    return msgspec.json.encode(record, enc_hook=_plain)


def decode(text: bytes | str, kind: type[Record]) -> Record:
    """The record in the JSON. Raises `msgspec.DecodeError` for anything else."""
    return msgspec.json.decode(text, type=kind, dec_hook=_duration)


def _plain(value: object) -> int:
    if isinstance(value, Duration):
        return int(value)
    raise NotImplementedError


def _duration(kind: type, value: Any) -> object:
    if kind is Duration:
        return Duration(value)
    raise NotImplementedError
