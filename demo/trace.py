"""Arrival times of a recorded trace.

A trace is CSV with a column TIMESTAMP (date and time, up to nanoseconds), or JSON lines with a `timestamp` in milliseconds.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

import msgspec

from governor.errors import ConfigError

_NANOSECONDS: Final = 1_000_000_000
_MOMENT: Final = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?")
_MOMENT_FORM: Final = "a date and time such as 2023-11-16 18:15:46.6805900"
_MILLISECONDS_FORM: Final = 'an object with a number of milliseconds, such as {"timestamp": 1250}'
#: Of a value that cannot be read, as much as a message needs.
_SHOWN: Final = 80

#: Where a moment stands, how it is written there, and what it is in nanoseconds.
_Moment = tuple[int, str, int]


def read_trace(path: Path) -> Iterator[float]:
    """Seconds between the first arrival and each, in order; the file is read only as far as they are asked for.

    Raises `ConfigError`, naming file, line and value, for what cannot be read or goes back in time, and for a trace without
    arrivals.
    """
    try:
        # Bytes that are no UTF-8 only matter in a timestamp, and are then shown for what they are.
        with path.open(encoding="utf-8-sig", errors="backslashreplace", newline="") as file:
            beginning = file.read(1)
            file.seek(0)
            yield from _since_first(path, _json_lines(path, file) if beginning == "{" else _csv(path, file))
    except OSError as error:
        raise ConfigError("--trace", str(path), f"a file that can be read (here: {error.strerror})") from None


def _since_first(path: Path, moments: Iterable[_Moment]) -> Iterator[float]:
    first = latest = None
    for line, shown, moment in moments:
        if first is None or latest is None:
            first = latest = moment
        if moment < latest:
            raise _mistake(path, line, shown, "a moment that is not before the one above it")
        latest = moment
        yield (moment - first) / _NANOSECONDS
    if first is None:
        raise ConfigError(str(path), "", "a trace with at least one arrival")


def _csv(path: Path, file: TextIO) -> Iterator[_Moment]:
    rows = csv.reader(file)
    try:
        titles = next(rows, [])
        if "TIMESTAMP" not in titles:
            raise _mistake(path, 1, ",".join(titles), "column titles with TIMESTAMP among them, or lines of JSON")
        column = titles.index("TIMESTAMP")
        for row in rows:
            if row:
                shown = row[column] if column < len(row) else ",".join(row)
                yield rows.line_num, shown, _nanoseconds(path, rows.line_num, shown)
    except csv.Error as error:
        raise _mistake(path, rows.line_num, str(error), "a row of CSV") from None


def _nanoseconds(path: Path, line: int, text: str) -> int:
    """Since 1970. By hand below the second, because `datetime` knows microseconds only."""
    said = _MOMENT.fullmatch(text.strip())
    if said is None:
        raise _mistake(path, line, text, _MOMENT_FORM)
    try:
        moment = datetime.fromisoformat(said[1] + (said[3] or "+00:00"))
        seconds = round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    except (ValueError, OverflowError):
        raise _mistake(path, line, text, _MOMENT_FORM) from None
    return seconds * _NANOSECONDS + int((said[2] or "0").ljust(9, "0"))


class _Line(msgspec.Struct):
    timestamp: float


def _json_lines(path: Path, file: TextIO) -> Iterator[_Moment]:
    decoder = msgspec.json.Decoder(_Line)
    for number, line in enumerate(file, start=1):
        text = line.strip()
        if text:
            try:
                moment = round(decoder.decode(text).timestamp * 1_000_000)
            except (msgspec.DecodeError, OverflowError):
                raise _mistake(path, number, text, _MILLISECONDS_FORM) from None
            yield number, text, moment


def _mistake(path: Path, line: int, value: str, allowed: str) -> ConfigError:
    return ConfigError(f"{path}: line {line}", value[:_SHOWN], allowed)
