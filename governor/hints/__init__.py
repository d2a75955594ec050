"""Hints: what servers say about their limits, in one form.

`read_hints` turns an answer into hints. It is pure: it gets the status, the headers, a small body and the time, and reads
nothing else. How a provider spells its limits is its dialect, one data file in `dialects/`.

Each name is loaded on first use: what reads an answer is not loaded before one has headers.
"""

from typing import TYPE_CHECKING

from governor._exports import exports

if TYPE_CHECKING:
    from governor.hints.dialect import Dialect, built_in_dialects, dialect_of
    from governor.hints.forms import is_silent
    from governor.hints.hint import MAX_HINT, MIN_WAIT, Headers, Hint, Severity
    from governor.hints.reading import counts_toward_ban, is_throttled, read_hints
    from governor.hints.retry_after import forbids_retry, read_wait
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "dialect": "Dialect built_in_dialects dialect_of",
            "forms": "is_silent",
            "hint": "MAX_HINT MIN_WAIT Headers Hint Severity",
            "reading": "counts_toward_ban is_throttled read_hints",
            "retry_after": "forbids_retry read_wait",
        },
    )

__all__ = [
    "MAX_HINT",
    "MIN_WAIT",
    "Dialect",
    "Headers",
    "Hint",
    "Severity",
    "built_in_dialects",
    "counts_toward_ban",
    "dialect_of",
    "forbids_retry",
    "is_silent",
    "is_throttled",
    "read_hints",
    "read_wait",
]
