"""Retry-After and its relatives are read as other libraries read them.

Every row of the published file agrees; none is listed as different.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from governor_client import _server_wait

#: How the file writes a date that lies some seconds after the time at which it is read.
DATE: Final = re.compile(r"<(HTTP-date|ISO-8601) now\+(\d+)s>")

FORMATS: Final[dict[str, Callable[[datetime], str]]] = {
    "HTTP-date": lambda moment: format_datetime(moment, usegmt=True),
    "ISO-8601": lambda moment: moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
}


def test_every_row_of_the_file_is_read_as_expected(vectors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = json.loads((vectors / "retry_after_parse.json").read_text(encoding="utf-8"))
    now = datetime.fromtimestamp(file["now_ms"] / 1_000, UTC)
    monkeypatch.setattr(_server_wait, "wall_clock", now.timestamp)

    disagreeing = [case for case in file["cases"] if not _agrees(case, now)]

    assert [] == disagreeing
    assert len(file["cases"]) == 10


def _agrees(case: Any, now: datetime) -> bool:
    headers = {name: DATE.sub(lambda found: _date(found, now), value) for name, value in case["headers"].items()}
    wait = _server_wait.server_wait(httpx2.Headers(headers))
    match case:
        case {"expect": None}:
            return wait is None
        case {"expect_delay_ms": delay}:
            return wait == float(delay) / 1_000
        case {"expect_delay_ms_between": [least, most]}:
            return wait is not None and float(least) <= wait * 1_000 <= float(most)
        case _:
            pytest.fail(f"this row expects something in a way that is new: {case}")


def _date(found: re.Match[str], now: datetime) -> str:
    return FORMATS[found[1]](now + timedelta(seconds=int(found[2])))
