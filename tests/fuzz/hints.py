"""Coverage-guided fuzzing of the readers of hints: `.venv/bin/python -m tests.fuzz.hints -max_total_time=600 -timeout=30`.

It needs `pip install atheris`. The laws are those of `tests/properties/test_hints.py`; the inputs follow the branches of the
readers. An input that breaks a law, or takes more seconds than `-timeout` says, is written to `crash-…` or `timeout-…`.
"""

import json
import sys
from typing import Any, Final

import atheris  # type: ignore[import-untyped] # installed by hand

with atheris.instrument_imports(include=["governor.hints"]):
    from governor.hints import Hint, built_in_dialects, forbids_retry, is_throttled, read_hints, read_wait

from governor._units import HOUR, SECOND, Duration
from tests.support.hint_headers import HINT_HEADERS

NOW: Final = 1_700_000_000.0
PROVIDERS: Final = [*built_in_dialects(), "some-provider"]
STATUSES: Final = [200, 301, 400, 401, 403, 404, 413, 420, 429, 430, 500, 503, 529]
NAMES: Final = [
    *(*HINT_HEADERS, "x-ratelimit-remaining", "x-ratelimit-reset", "x-should-retry", "x-quota-left", "x-limit-window"),
    *(
        "x-acme-remaining",
        "x-acme-reset",
        "x-acme-call-limit",
        "x-acme-retry-after",
        "x-acme-backoff-ms",
        "x-ratelimit-hour-left",
    ),
]
#: Characters of most headers, so that half of the texts are nearly valid.
USUAL: Final = '0123456789.,;:=+-TZ"() abcdefghijklmnopqrstuvwyzGMTNovFri{}[]'

#: Parts of the keys and sentences of denials.
WORDS: Final = [
    *(
        "again",
        "resets",
        "until",
        "wait",
        "retry",
        "banned",
        "blocked",
        "locked",
        "your ip",
        "you have been",
        "limit",
        "exceeded",
    ),
    *(" ", " in ", " at ", " after ", " for ", " of ", "_", ":", "=", "-", ".", " (", "the ", "end of the ", "a few ", "next "),
    *(
        "midnight",
        "tomorrow",
        "minutes",
        "hour",
        "day",
        "s",
        "ms",
        "utc",
        "pacific",
        "am",
        "too many requests",
        "秒",
        "请求频繁",
    ),
    *("0", "7", "30", "22:30", "00:01:30", "99.23:59:59", "11-14", "02-30", "2023-11-14", "1700000060", "9" * 19, "+0800"),
    *("error", "message", "retry_after", "reset_at", "lockout_seconds", "expires_at", "FLOOD_WAIT_", "capacity=80, period=m"),
    *("żądań", "ponownie po ", "sekund", "dakika sonra", "for the next ", "rate of requests", "too often"),
]
#: Keys whose values may be numbers: those of limits and of what belongs to them.
KEYS: Final = [
    "limit",
    "windowSeconds",
    "period_in_minutes",
    "windowMs",
    "exceeded",
    "remaining",
    "used_pct",
    "reset",
    "retryAfter",
]


def longest(hints: tuple[Hint, ...]) -> int:
    """The wait for which the hints hold the scope of the call; -1 if they do not."""
    return max((hint.retry_after for hint in hints if hint.retry_after is not None), default=-1)


def check(provider: str, status: int, headers: dict[str, str], body: bytes | None, most: int) -> None:
    """Raises if reading this answer raises, says more than the bound, or is loosened by another wait beside it."""
    hints = read_hints(provider, status, headers, now=NOW, body=body, max_hint=Duration(most))
    for hint in hints:
        assert hint.retry_after is None or 0 <= hint.retry_after <= most, hint
        assert hint.reset is None or 0 <= hint.reset <= most, hint
        assert hint.limit is None or hint.limit >= 1, hint
        assert hint.remaining is None or hint.remaining >= 0, hint
        assert hint.window is None or hint.window > 0, hint
    forbids_retry(headers)
    read_wait(headers, now=NOW)
    if status == 429:
        assert is_throttled(provider, status, headers, body)
        assert longest(hints) > 0, hints
    # Without a wait, or with one of zero, a 429 is taken to last until the latest reset; another wait may be shorter than that.
    said = headers.get("retry-after")
    stricter = {**headers, "retry-after": "100" if said is None else f"{said}, 100"}
    both = longest(read_hints(provider, status, stricter, now=NOW, body=body, max_hint=Duration(most)))
    assert both >= min(100 * SECOND, most), both
    if read_wait({"retry-after": said or ""}, now=NOW):
        assert both >= longest(hints), (hints, both)


def one_input(data: bytes) -> None:
    """One answer, made of these bytes."""
    take = atheris.FuzzedDataProvider(data)
    provider, status = take.PickValueInList(PROVIDERS), take.PickValueInList(STATUSES)
    most = take.ConsumeIntInRange(1, HOUR)
    headers = {take.PickValueInList(NAMES): _text(take) for _ in range(take.ConsumeIntInRange(0, 5))}
    body = take.ConsumeBytes(take.ConsumeIntInRange(0, 300)) if take.ConsumeBool() else None
    if body is not None and take.ConsumeBool():
        said: dict[str, object] = {_words(take): _words(take) for _ in range(take.ConsumeIntInRange(1, 3))}
        while take.ConsumeBool():
            said[take.PickValueInList(KEYS)] = take.PickValueInList(
                [take.ConsumeInt(8), take.ConsumeRegularFloat(), True, False, None]
            )
        body = json.dumps(said).encode()
    check(provider, status, headers, body, most)


def _words(take: Any) -> str:
    """A text that is nearly one of a denial."""
    return "".join(take.PickValueInList(WORDS) for _ in range(take.ConsumeIntInRange(1, 9)))


def _text(take: Any) -> str:
    size = take.ConsumeIntInRange(0, 60)
    if take.ConsumeBool():
        text: str = take.ConsumeUnicodeNoSurrogates(size)
        return text
    return "".join(USUAL[byte % len(USUAL)] for byte in take.ConsumeBytes(size))


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
