"""The headers of providers are read as their documents say, by their own dialect and without one.

Every row agrees; none is listed as different. A row without a time is read at one at which its dates are in the past.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest

from governor._units import HOUR, SECOND
from governor.hints import Headers, Hint, Severity, counts_toward_ban, dialect_of, read_hints
from governor.hints.values import duration

LATER: Final = 1_900_000_000.0

#: What the file calls a value of a hint.
FIELDS: Final = {
    "dim": "dimension",
    "limit": "limit",
    "remaining": "remaining",
    "q": "limit",
    "r": "remaining",
    "policy": "name",
    "bucket": "name",
}
SPANS: Final = {"reset_in_s": "reset", "t": "reset", "w": "window"}


def cases(vectors: Path) -> Any:
    return json.loads((vectors / "provider_headers_dialects.json").read_text(encoding="utf-8"))


def test_every_row_is_read_as_its_provider_means_it(vectors: Path) -> None:
    rows = cases(vectors)["cases"]

    assert [] == [case["provider"] for case in rows if not _agrees(case, _hints(case, case["provider"].split()[0]))]
    assert len(rows) == 14


def test_the_names_that_most_servers_share_are_read_without_a_dialect(vectors: Path) -> None:
    own = {"Anthropic", "Atlassian", "Shopify"}
    rows = [case for case in cases(vectors)["cases"] if case["provider"].split()[0] not in own]

    assert [] == [case["provider"] for case in rows if not _agrees(_nameless(case), _hints(case, "some-provider"))]


@pytest.mark.parametrize("provider", [None, "some-provider"])
def test_no_call_leaves_before_the_longest_wait_of_a_row(vectors: Path, provider: str | None) -> None:
    for case in cases(vectors)["cases"]:
        if "retry_after_s" in case:
            hints = _hints(case, provider or case["provider"].split()[0])

            held = max(hint.retry_after for hint in hints if hint.retry_after is not None and hint.scope == "provider")
            assert case["retry_after_s"] * SECOND <= held <= HOUR


def test_durations_are_read_as_go_writes_them(vectors: Path) -> None:
    rows = cases(vectors)["go_duration"]

    assert [round(row["s"] * SECOND) for row in rows] == [duration(row["raw"]) for row in rows]


def test_what_counts_toward_a_ban_is_counted(vectors: Path) -> None:
    file = cases(vectors)
    said = {case["provider"]: case["counts_toward_ban"] for case in file["cases"] if "counts_toward_ban" in case}
    (rule,) = (rule for rule in file["ban_rules"] if rule["provider"] == "Discord")

    assert said == {
        case["provider"]: counts_toward_ban("discord", 429, _headers(case))
        for case in file["cases"]
        if case["provider"] in said
    }
    assert rule["statuses"] == list(dialect_of("discord").ban.statuses)
    assert rule["statuses"] == [status for status in range(200, 600) if counts_toward_ban("discord", status, {})]


def _headers(case: Any) -> Headers:
    headers: Mapping[str, str] = {name.lower(): value for name, value in case["headers"].items()}
    return headers


def _hints(case: Any, provider: str) -> tuple[Hint, ...]:
    now = case.get("now_unix") or (datetime.fromisoformat(case["now"]).timestamp() if "now" in case else LATER)
    status = 429 if "retry_after_s" in case else 200
    return read_hints(provider, status, _headers(case), now=now)


def _nameless(case: Any) -> Any:
    return case | {"expect": [{key: value for key, value in row.items() if key != "bucket"} for row in case.get("expect", [])]}


def _agrees(case: Any, hints: tuple[Hint, ...]) -> bool:
    """Whether there is a hint for each state that the row expects, and the wait that it expects."""
    waits = [hint.retry_after for hint in hints if hint.severity is Severity.THROTTLED]
    expected = [case["retry_after_s"] * SECOND] if "retry_after_s" in case else []
    return waits == expected and all(any(_is(hint, row) for hint in hints) for row in case.get("expect", []))


def _is(hint: Hint, row: Mapping[str, Any]) -> bool:
    said = hint._asdict()
    # What a client has used follows from the limit and from what remains.
    row = {key: value for key, value in row.items() if key != "used"}
    assert row.keys() <= FIELDS.keys() | SPANS.keys(), "this row expects something that is new"
    return all(said[FIELDS[key]] == value for key, value in row.items() if key in FIELDS) and all(
        said[SPANS[key]] == round(value * SECOND) for key, value in row.items() if key in SPANS
    )
