"""Answers of real providers are obeyed: those that are data in a dialect, and those that only the common rules understand.

`provider_answers.json` has one answer a row: the provider, its status, headers and body, and the seconds for which calls are
held, or null. Names of headers and bodies are those that the providers document or send; the numbers are ours.
"""

import json
from pathlib import Path
from typing import Final

import pytest

from governor._units import HOUR, SECOND, Duration
from governor.hints import built_in_dialects, is_silent, is_throttled, read_hints

pytestmark = pytest.mark.promise("R11")

#: The answers come on 2023-11-14 at 22:13:20 UTC.
NOW: Final = 1_700_000_000.0
ROWS: Final = json.loads((Path(__file__).parents[2] / "support" / "provider_answers.json").read_text(encoding="utf-8"))
ANSWERS: Final[list[tuple[str, int, dict[str, str], bytes | None, float | None]]] = [
    (provider, status, headers, None if body is None else body.encode(), seconds)
    for provider, status, headers, body, seconds in ROWS
]


def test_no_call_leaves_before_what_an_answer_says_nor_is_it_held_for_longer() -> None:
    found = {}
    for row, (provider, status, headers, body, seconds) in enumerate(ANSWERS):
        hints = read_hints(provider, status, headers, now=NOW, body=body)
        held = max((hint.retry_after for hint in hints if hint.retry_after), default=None)
        if held != (None if seconds is None else round(seconds * SECOND)):
            found[row, provider, status] = held, seconds

    assert {} == found
    assert len(ANSWERS) > 200


def test_each_answer_that_denies_a_call_with_a_code_or_in_words_is_a_denial() -> None:
    missed = [
        (provider, status, body)
        for provider, status, headers, body, seconds in ANSWERS
        if body is not None and seconds is not None and not is_throttled(provider, status, headers, body)
    ]

    assert [("wikimedia", 200, b'{"error": {"code": "maxlag"}}')] == missed


def test_with_the_dialect_of_another_provider_they_raise_nothing_are_within_the_bound_and_loosen_nothing() -> None:
    for provider, status, headers, body, _ in ANSWERS:
        for other in (*built_in_dialects(), "some-provider"):
            hints = read_hints(other, status, headers, now=NOW, body=body, max_hint=Duration(HOUR // 4))
            waits = [hint.retry_after or 0 for hint in hints]
            assert max(waits, default=0) <= HOUR // 4
            if status == 429 and "retry-after" in headers:
                stated = read_hints(other, 429, {"retry-after": headers["retry-after"]}, now=NOW)
                assert max(waits) >= min(HOUR // 4, max(hint.retry_after or 0 for hint in stated)), provider
            if status < 400 and body is None and any(waits):
                assert not is_silent(other, tuple(headers))


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "limit: must be at most 100", "type": "invalid_request_error", "code": "invalid_limit"}}',
        b'{"message": "Not Found", "documentation_url": "https://docs.acme.com/rate-limits"}',
        b'{"errors": [{"code": "quota_type_invalid", "detail": "Try again with another id."}]}',
        b"<html><title>403 Forbidden</title></html>",
        b'{"error": {"reason": "storageQuotaExceeded", "message": "The storage quota of the user has been exceeded."}}',
        b'{"error_summary": "insufficient_space", "message": "You have exceeded your disk quota."}',
        b'{"message": "FILE_SIZE_LIMIT_EXCEEDED"}',
        b'{"code": "credit_limit_exceeded", "next": 2, "message": "Available plans: 3"}',
        b'{"message": "The quota of this project is 100. See the pages about quotas."}',
    ],
)
def test_an_error_about_something_else_is_no_denial(body: bytes) -> None:
    assert not is_throttled("some-provider", 400, {}, body)
    assert () == read_hints("some-provider", 400, {}, now=NOW, body=body)
