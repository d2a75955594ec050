"""Writes two tables of the dialects from their files: that of the reference, and the one that programs read.

Run as `python -m tools.dialects`; tests compare both with the files.
"""

from pathlib import Path
from typing import Final

import msgspec

from governor.hints import Dialect
from governor.hints.dialect import DialectFile, read_dialects

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "reference" / "dialects.md"
FILES: Final = ROOT / "governor" / "hints" / "dialects"
TABLE: Final = FILES / "table.json"
BEGIN: Final = "<!-- The table is written by `python -m tools.dialects`. -->\n"


def table() -> str:
    """The rows of the table, one for each dialect."""
    rows = ["| provider | also | limits | rate limited | wait | source | date |", "|---|---|---|---|---|---|---|"]
    rows += [_row(name, dialect) for name, dialect in read_dialects(FILES).items()]
    return "\n".join(rows) + "\n"


def page() -> str:
    """The page with its table written anew."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[0] + BEGIN + "\n" + table()


def data() -> str:
    """The table that programs read: one dialect a line, as its file says it."""
    said = {name: _said(dialect) for name, dialect in read_dialects(FILES).items()}
    return "{\n" + ",\n".join(f'"{name}":{msgspec.json.encode(one).decode()}' for name, one in said.items()) + "\n}\n"


def _said(dialect: Dialect) -> DialectFile:
    return DialectFile(**{field: getattr(dialect, field) for field in DialectFile.__struct_fields__})


def _row(name: str, dialect: Dialect) -> str:
    also = ", ".join(f"`{alias}`" for alias in dialect.aliases)
    markers = [reader.marker for reader in dialect.readers] + [field.state for field in dialect.fields]
    limits = ", ".join(f"`{marker}`" for marker in dict.fromkeys(markers)) or "not said"
    denied = ", ".join(str(status) for status in sorted({status for one in dialect.throttled for status in one.status}))
    denied += (
        ", bodies of 200"
        if dialect.fails_with_200
        else ", bodies"
        if any((one.where or "").startswith("$") for one in dialect.throttled)
        else ""
    )
    return (
        f"| `{name}` | {also} | {limits} | {denied} | {dialect.wait} | [{dialect.title}]({dialect.source}) | {dialect.date} |"
    )


if __name__ == "__main__":
    TABLE.write_text(data(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
