"""Paths of files, and the text of files."""

import codecs
import os
from pathlib import Path
from typing import Final

from governor.errors import ConfigError

FilePath = str | os.PathLike[str]

#: Byte order marks, UTF-32 first: its mark begins with that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def expanded(path: FilePath) -> Path:
    """The path with `~` expanded, as in a shell. A user that does not exist leaves the path unchanged."""
    try:
        # `Path.expanduser` raises for a user that does not exist.
        return Path(os.path.expanduser(path))
    except ValueError:
        return Path(path)


def checked_path(value: object, field: str) -> Path:
    """The value as a path. Raises `ConfigError` if it is none, or none that the file system can hold."""
    try:
        if not isinstance(value, (str, Path)) or not str(value) or b"\0" in os.fsencode(value):
            raise ConfigError(field, value, "a path, as text")
    except UnicodeEncodeError:  # Lone surrogates.
        raise ConfigError(field, value, "a path that the file system can hold") from None
    return Path(value)


def decoded(raw: bytes) -> str:
    """Decodes UTF-8, or UTF-16 or UTF-32 with a byte order mark. Raises `UnicodeDecodeError`."""
    encoding = next((encoding for mark, encoding in _MARKS if raw.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in raw:
        raise UnicodeDecodeError(encoding, raw, 0, 1, "UTF-16 or UTF-32 without a byte order mark")
    return raw.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
