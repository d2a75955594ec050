"""The table of SDKs in the documentation, as it was measured."""

from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Final, NamedTuple

from tests.sdks.catalog import DRIVERS
from tests.sdks.driver import Driver

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "reference" / "sdks.md"
#: Each table stands between lines of the page that name it.
BEGIN: Final = "<!-- {}: the tests write this table, `SDKS=write make test-sdks` -->"
END: Final = "<!-- end of {} -->"

#: The names of the tables and their columns.
TABLES: Final = {
    "measured": ("SDK", "version", "sends with", "alone", "governed", "both", "a denial raises", "times"),
    "lines": ("SDK", "governed by", "retries of its own", "switched off by"),
}


class Measured(NamedTuple):
    """What one call sends in an outage: after 503, and when connections break."""

    alone: tuple[int, int]
    governed: tuple[int, int]
    both: tuple[int, int]
    #: The exception for a denial that comes as an answer, and how often the SDK asked with its own retries.
    denied: str
    asked: int


def rows(driver: Driver, version: str, measured: Measured) -> dict[str, str]:
    """The lines of one SDK in the tables."""
    counts = (f"{after_503} / {broken}" for after_503, broken in (measured.alone, measured.governed, measured.both))
    return {
        "measured": _row(driver.name, version, driver.library, *counts, f"`{measured.denied}`", str(measured.asked)),
        "lines": _row(driver.name, driver.governed_by, driver.retries, driver.switched_off_by),
    }


def committed(name: str) -> dict[str, str]:
    """The lines of a table of the page, by the SDK."""
    table = _parts(name)[1]
    return {line.split(" | ")[0].removeprefix("| "): line for line in table.splitlines()[2:] if line}


def write(driver: Driver, rows: dict[str, str]) -> None:
    """Replaces the lines of one SDK. Tests in several processes may write at the same time."""
    with PAGE.open(encoding="utf-8") as page:
        flock(page, LOCK_EX)
        for name, headings in TABLES.items():
            before, _, after = _parts(name)
            lines = committed(name) | {driver.name: rows[name]}
            table = (_row(*headings), f"|{'---|' * len(headings)}", *(lines[one.name] for one in DRIVERS if one.name in lines))
            text = "\n".join((before, BEGIN.format(name), "", *table, "", END.format(name), after))
            PAGE.write_text(text, encoding="utf-8")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _parts(name: str) -> tuple[str, str, str]:
    """The page before a table, the table, and the page after it."""
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(f"\n{BEGIN.format(name)}\n")
    table, end, after = rest.partition(f"{END.format(name)}\n")
    assert begin, f"{PAGE} has no line for the table {name!r}"
    assert end, f"the table {name!r} of {PAGE} has no end"
    return before, table.strip("\n"), after
