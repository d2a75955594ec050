"""JSON between the demo and its provider; durations are whole microseconds."""

from typing import TypeVar

import msgspec

from governor._units import decode_duration, encode_duration

Record = TypeVar("Record", bound=msgspec.Struct)


def encode(record: msgspec.Struct) -> bytes:
    """The record as JSON."""
    return msgspec.json.encode(record, enc_hook=encode_duration)


def decode(text: bytes | str, kind: type[Record]) -> Record:
    """The record in the JSON. Raises `msgspec.DecodeError` for anything else."""
    return msgspec.json.decode(text, type=kind, dec_hook=decode_duration)
