"""Paths of files as people write them, and files as text."""

import codecs
import os
from pathlib import Path
from typing import Final

FilePath = str | os.PathLike[str]

#: Byte order marks; that of UTF-32 begins like that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def expanded(path: FilePath) -> Path:
    """The path, with `~` for the home of the user, as in a shell; a user that does not exist leaves it as it is."""
    try:
        # `Path.expanduser` raises for a user that does not exist.
        return Path(os.path.expanduser(path))
    except ValueError:
        return Path(path)


def decoded(raw: bytes) -> str:
    """Text in UTF-8, or in UTF-16 or UTF-32 with a byte order mark. Raises `UnicodeDecodeError`."""
    encoding = next((encoding for mark, encoding in _MARKS if raw.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in raw:
        raise UnicodeDecodeError(encoding, raw, 0, 1, "UTF-16 or UTF-32 without a byte order mark")
    return raw.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
