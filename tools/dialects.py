"""Writes the table of dialects of the reference from their data.

Run as `python -m tools.dialects`; a test compares the page with the data.
"""

from pathlib import Path
from typing import Final

from governor.hints import Dialect, built_in_dialects
from governor.hints.dialect import read_dialects

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "reference" / "dialects.md"
BEGIN: Final = "<!-- The table is written by `python -m tools.dialects`. -->\n"


def table() -> str:
    """The rows of the table, one for each dialect."""
    rows = ["| provider | also | limits | rate limited | wait | source | date |", "|---|---|---|---|---|---|---|"]
    own = read_dialects(ROOT / "governor" / "hints" / "dialects")
    rows += [_row(name, own[name]) for name in built_in_dialects()]
    return "\n".join(rows) + "\n"


def page() -> str:
    """The page with its table written anew."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[0] + BEGIN + "\n" + table()


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
    PAGE.write_text(page(), encoding="utf-8")
