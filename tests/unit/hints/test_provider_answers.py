"""Answers of real providers are obeyed: those that are data in a dialect, and those that only the common rules understand.

`provider_answers.json` has one answer a row: the provider, its status, headers and body, and the seconds for which calls are
held, or null. `other_answers.json` has answers that fail or mention limits, and deny no call as rate limited. Names of headers
and bodies are those that the providers document or send; the numbers are ours.
"""

import json
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from governor._units import HOUR, SECOND, Duration
from governor.hints import built_in_dialects, dialect_of, is_silent, is_throttled, read_hints

pytestmark = pytest.mark.promise("R11")

#: The answers come on 2023-11-14 at 22:13:20 UTC.
NOW: Final = 1_700_000_000.0
Row: TypeAlias = tuple[str, int, dict[str, str], bytes | None, float | None]


def _rows(name: str) -> list[Row]:
    rows = json.loads((Path(__file__).parents[2] / "support" / name).read_text(encoding="utf-8"))
    return [
        (provider, status, headers, None if body is None else body.encode(), seconds)
        for provider, status, headers, body, seconds in rows
    ]


ANSWERS: Final = _rows("provider_answers.json")
OTHERS: Final = _rows("other_answers.json")


#: Names in these answers whose bodies of status 200 adapters do not read.
NOT_READ: Final = {
    *("apollo-directive", "graphql-directive", "h23", "h24", "hasura", "healthie", "meetup", "monday", "newrelic"),
    *("octopus-energy", "shopify", "shopify-like", "the-graph", "verisure"),
    *(
        "bing-maps",
        "bsc-rpc",
        "chat-clone",
        "h12",
        "h16",
        "hitbtc-like",
        "pybit",
        "pypi",
        "pypi-xmlrpc",
        "qps-cn",
        "rpc-node",
        "wikimedia",
    ),
}


def test_no_call_leaves_before_what_an_answer_says_nor_is_it_held_for_longer() -> None:
    found = {}
    for row, (provider, status, headers, body, seconds) in enumerate([*ANSWERS, *OTHERS]):
        hints = read_hints(provider, status, headers, now=NOW, body=body)
        held = max((hint.retry_after for hint in hints if hint.retry_after), default=None)
        if held != (None if seconds is None else round(seconds * SECOND)):
            found[row, provider, status] = held, seconds

    assert {} == found
    assert len(ANSWERS) > 600


def test_an_answer_that_fails_for_another_reason_or_mentions_limits_is_no_denial() -> None:
    assert [] == [row for row in OTHERS if is_throttled(*row[:4])]
    assert len(OTHERS) > 40


def test_each_answer_that_denies_a_call_with_a_code_or_in_words_is_a_denial() -> None:
    missed = [
        (provider, status, body)
        for provider, status, headers, body, seconds in ANSWERS
        if body is not None and seconds is not None and not is_throttled(provider, status, headers, body)
    ]

    # These ask for a pause: the first with what was asked for, the second because too much is to do.
    assert [("stack-exchange", 200, "backoff"), ("wikimedia", 200, "maxlag")] == [
        (provider, status, word) for provider, status, body in missed for word in ("backoff", "maxlag") if word.encode() in body
    ]


def test_bodies_of_answers_200_that_deny_calls_are_read_by_the_names_of_their_providers() -> None:
    denied = {row[0] for row in ANSWERS if row[1] < 400 and row[3] is not None and row[4] is not None}

    # Some are of no provider, or of GraphQL, which adapters tell by its path; Wikimedia says it in a header as well.
    assert NOT_READ == {provider for provider in denied if not dialect_of(provider).fails_with_200}


def test_with_the_dialect_of_another_provider_they_raise_nothing_are_within_the_bound_and_loosen_nothing() -> None:
    dialects = list(built_in_dialects())
    for row, (provider, status, headers, body, _) in enumerate(ANSWERS):
        for other in (*dialects[row % 8 :: 8], "some-provider"):
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
        b'{"error": {"message": "The batch exceeds the maximum number of requests (50000) per file."}}',
        b'{"message": "The number of requests in this batch was exceeded."}',
        b'{"error": {"type": "request_too_large", "message": "Request exceeds the maximum allowed number of bytes."}}',
        b'{"error": {"message": "You exceeded the maximum context length of 4096 tokens.", "code": "context_length_exceeded"}}',
        b'{"errors": [{"message": "Query exceeds the maximum depth of calls (10)"}]}',
        b'{"errors": [{"extensions": {"code": "MAX_COMPLEXITY_EXCEEDED"}}]}',
        b'{"message": "The mailbox quota was exceeded."}',
        b'{"message": "This project exceeds its member quota."}',
        b'{"error": "frequency limits are not supported on this endpoint"}',
        b'{"error": {"message": "Invalid \'frequency_penalty\': decimal above maximum value."}}',
        b'{"message": "The job has reached the maximum number of retries."}',
        b'{"error": "Too many requests in a batch: at most 50 are allowed."}',
        b'{"message": "Your account has been temporarily blocked because of an unpaid invoice."}',
        b'{"message": "The check has been exceeded 3 times in a row."}',
        b'{"error": {"code": "spend_limit_exceeded", "message": "This exceeds the daily spend limit of the card."}}',
        b"<Error><Code>EntityTooLarge</Code><Message>Your upload exceeds the maximum allowed size</Message></Error>",
        '{"message": "请求体大小超过限制"}'.encode(),
        '{"message": "查询数量超过上限"}'.encode(),
        '{"message": "요청 본문 크기가 제한을 초과했습니다"}'.encode(),
        '{"message": "リクエストのサイズが上限を超えています"}'.encode(),
        '{"message": "Превышен размер файла"}'.encode(),
    ],
)
def test_an_error_about_something_else_is_no_denial(body: bytes) -> None:
    assert not is_throttled("some-provider", 400, {}, body)
    assert () == read_hints("some-provider", 400, {}, now=NOW, body=body)


@pytest.mark.parametrize(
    "said",
    [
        "请求过于频繁",
        "当前并发量已经超过约定并发配额",
        "요청이 너무 많습니다",
        "호출 한도를 초과했습니다",
        "リクエスト数の上限を超えました",
        "Слишком много запросов",
        "Превышено количество запросов",
        "Zu viele Anfragen. Bitte später erneut versuchen",
        "Trop de requêtes, réessayez plus tard",
        "Demasiadas solicitudes en poco tiempo",
        "Muitas requisições",
        "Troppe richieste",
        "Przekroczono limit 20 żądań na minutę",
        "Te veel verzoeken",
        "Çok fazla istek gönderildi",
        "Забагато запитів",
        "Příliš mnoho požadavků",
        "För många anrop",
        "Terlalu banyak permintaan",
        "Quá nhiều yêu cầu",
    ],
)
def test_a_denial_may_be_worded_in_other_languages(said: str) -> None:
    for body in (json.dumps({"message": said}), json.dumps({"message": said}, ensure_ascii=False), said):
        assert is_throttled("some-provider", 403, {}, body.encode())


@pytest.mark.parametrize(
    "body",
    [
        b'{"data": {"message": "Too many requests"}}',
        b'{"id": 1, "status": "throttled"}',
        b'{"choices": [{"message": {"content": "Rate limit exceeded means that you call too often."}}]}',
        b'{"code": 0, "msg": "ok", "data": {"log": "rate limit exceeded"}}',
        b'{"code": 200, "message": "Rate limit exceeded by 3 users today"}',
        b'{"status": "ok", "message": "Rate limit exceeded by 3 users today"}',
        b'{"success": true, "result": "You have been sent too many requests by a friend."}',
        b'[{"code": 5, "message": "Too many requests"}]',
        b'{"error": [], "result": "Rate limit exceeded"}',
        b'{"code": 7, "result": {"log": "Rate limit exceeded"}}',
    ],
)
def test_the_data_of_an_answer_that_succeeded_may_hold_the_words_of_a_denial(body: bytes) -> None:
    assert not is_throttled("some-provider", 200, {}, body)
    assert () == read_hints("some-provider", 200, {}, now=NOW, body=body)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("You sent 20 requests in the last 60 seconds.", 1),
        ("Rate limit exceeded. Retry at most 3 calls a day.", 1),
        ("Rate limit exceeded. Access resumes, and resets at, 23:15:00.", 1),
        ("Rate limit exceeded. Try again in 00:01:30.", 90),
        ("Retry the request in [18] seconds.", 18),
        ("Please wait for the next minute.", 60),
        ("Zu viele Anfragen, bitte in 20 Sekunden erneut versuchen", 20),
        ("Слишком много запросов. Попробуйте через 2 минуты", 120),
        ("Trop de requêtes, réessayez dans 5 minutes", 300),
        ("请求过于频繁, 请30秒后再试", 30),
        ("요청이 너무 많습니다. 10초 후 다시 시도하세요", 10),
        ("Spróbuj ponownie po 30 sekundach.", 30),
        ("Probeer het over 2 minuten opnieuw", 120),
        ("30 saniye sonra tekrar deneyin", 30),
        ("Спробуйте через 5 хвилин", 300),
        ("Zkuste to znovu za 20 sekund", 20),
        ("Försök om 20 sekunder", 20),
        ("Silakan coba lagi dalam 3 menit", 180),
        ("Vui lòng thử lại sau 10 giây", 10),
        ("You are locked from making attempts for the next 7 minutes.", 420),
        ("You will regain access on 2023-11-14 at 22:30 UTC.", 1_000),
        ("The next reset will be tomorrow at midnight UTC.", 3_600),
        ("Requests are blocked, for the remaining period of 1,640 seconds.", 1_640),
        ("Resets on Tue Nov 14 2023 22:30:00 GMT+0000 (Coordinated Universal Time).", 1_000),
        ("We intend at most 10 requests in 5 minutes: no intent to wait", 1),
        ("Zu viele Anfragen: 5 Anfragen in 60 Sekunden sind erlaubt", 1),
    ],
)
def test_a_sentence_names_a_wait_or_none(said: str, seconds: int) -> None:
    body = json.dumps({"message": said}).encode()

    assert [seconds * SECOND] == [hint.retry_after for hint in read_hints("some-provider", 429, {}, now=NOW, body=body)]


@pytest.mark.parametrize(("first", "seconds"), [(True, 30), (False, 1)])
def test_of_a_large_body_the_first_texts_are_read(first: bool, seconds: int) -> None:
    said, rest = ["Try again in 30 seconds."], ["x" * 2_000] * 20
    body = json.dumps({"errors": said + rest if first else rest + said}).encode()

    assert [seconds * SECOND] == [hint.retry_after for hint in read_hints("some-provider", 429, {}, now=NOW, body=body)]


@pytest.mark.parametrize(
    ("said", "limit", "seconds"),
    [
        ("You have reached the rate limit of 15 requests per second", 15, 1),
        ("A trial key is limited to 40 API calls / minute.", 40, 60),
        ("Rate limit exceeded: 5 per 1 minute", 5, 60),
        ("5/minute", 5, 60),
        ("Spike arrest violation. Allowed rate : MessageRate{capacity=80, period=Minutes}", 80, 60),
        ("Spike arrest violation. Allowed rate : 10ps", 10, 1),
        ("At most 5 calls per minute and 500 calls per hour", 5, 60),
        ("1 request per 10 seconds", 1, 10),
        ("max 2 requests/second", 2, 1),
        ("policy user over ratelimit,limit:100,time:1 minute", 100, 60),
        ("400 requests per user per minute", 400, 60),
        ("You have made 120 requests per minute; the limit is 60 requests per minute", None, None),
        ("Rate limit reached on tokens per min. Limit: 10000 / min.", None, None),
        ("You sent 20 requests in the last 60 seconds.", None, None),
        ("1.5 requests per second, 0 per second, 3/4/5 h", None, None),
        ({"limit": 10, "windowSeconds": 45}, 10, 45),
        ({"limit": 3, "period": "second"}, 3, 1),
        ({"requestsPerPeriodAllowed": 10, "periodInMinutes": 2}, 10, 120),
        ({"limit": 10, "windowSeconds": -45, "window": 60, "periodInMinutes": True}, None, None),
        ({"limit": -5, "windowSeconds": 45}, None, None),
        ({"limit": 10**18, "windowSeconds": 45}, None, None),
        ({"daily": {"limit": 9, "windowSeconds": 90}, "hourly": {"limit": 8, "windowSeconds": 90}}, None, None),
    ],
)
def test_a_denial_may_name_its_limit_and_the_window(
    said: str | dict[str, object], limit: int | None, seconds: int | None
) -> None:
    (denial,) = read_hints("some-provider", 429, {}, now=NOW, body=json.dumps({"error": {"message": said}}).encode())

    assert (limit, None if seconds is None else seconds * SECOND) == (denial.limit, denial.window)
    assert denial.remaining is None


@pytest.mark.parametrize(
    ("headers", "states"),
    [
        ({"x-acme-qps-allotted": "25", "x-acme-qps-current": "1"}, [(25, 24, None, 1)]),
        ({"x-acme-qps-allotted": "25", "x-acme-qps-current": "26"}, [(25, 0, None, 1)]),
        (
            {"x-acme-ratelimit-limit": "9", "x-acme-ratelimit-used": "3", "x-acme-ratelimit-period": "60"},
            [(9, 6, None, 60)],
        ),
        (
            {
                "x-ratelimit-limit": "60",
                "x-ratelimit-remaining": "9",
                "x-ratelimit-used-currentrequest": "1",
                "x-ratelimit-policy-number": "5",
            },
            [(60, 9, None, None)],
        ),
        ({"x-acme-ratelimit-limit": "9", "x-acme-ratelimit-used": "9", "x-acme-ratelimit-reset": "5"}, [(9, 0, 5, None)]),
        (
            {"acme-ratelimit-limit": "9", "acme-ratelimit-remaining": "8", "acme-ratelimit-policy": "9;w=60;u=request"},
            [(9, 8, None, 60)],
        ),
        (
            {"ratelimit-usage": "5, 9", "ratelimit-limit": "4, 10", "ratelimit-reset": "5, 60"},
            [(4, 0, 5, None), (10, 1, 60, None)],
        ),
        (
            {"x-ratelimit-limit": "{'minute': 9, 'day': 20}", "x-ratelimit-remaining": "{'minute': 8, 'day': 0}"},
            [(9, 8, None, 60), (20, 0, None, 86_400)],
        ),
        (
            {"api-limits": '{"limits": {"minute": 5, "hour": 20}, "used": {"minute": 4, "hour": 5}}'},
            [(5, 1, None, 60), (20, 15, None, 3_600)],
        ),
        (
            {"x-ratelimit-limit": "60", "x-ratelimit-remaining": "9", "x-apiquota-remaining": "3"},
            [(60, 9, None, None), (None, 3, None, None)],
        ),
        ({"x-ratelimit-delay": "60"}, []),
        ({"x-ratelimit-limit-15m": "9", "x-ratelimit-remaining-15m": "8"}, [(9, 8, None, 900)]),
        ({"ratelimit": '"api";r=8;t=9', "ratelimit-policy": '"fixed window";"api";q=50;w=300'}, [(50, 8, 9, 300)]),
        ({"req-limit-short": "Remaining: 8 Time until reset: 9"}, [(None, 8, 9, None)]),
        (
            {"x-ratelimit-limit": "5, 60;w=60, 5;w=1", "x-ratelimit-remaining": "4", "x-ratelimit-reset": "1"},
            [(5, 4, 1, 1), (60, None, None, 60)],
        ),
        (
            {"ratelimit": '"hour";r=8;t=9', "ratelimit-policy": '"burst";q=100;w=60, "hour";q=10;w=3600'},
            [(10, 8, 9, 3_600), (100, None, None, 60)],
        ),
        (
            {"ratelimit": "limit=10, remaining=8, reset=1", "ratelimit-policy": "10;w=1, 100;w=60"},
            [(10, 8, 1, 1), (100, None, None, 60)],
        ),
        (
            {"x-acme-ratelimit-remaining": "8", "x-acme-ratelimit-time-left": "9"},
            [(None, 8, 9, None)],
        ),
    ],
)
def test_what_is_used_and_what_windows_are_named_is_the_state_of_limits(
    headers: dict[str, str], states: list[tuple[int | None, int | None, int | None, int | None]]
) -> None:
    hints = read_hints("acme", 200, headers, now=NOW)
    seconds = [tuple(None if span is None else span // SECOND for span in (hint.reset, hint.window)) for hint in hints]

    assert states == [(hint.limit, hint.remaining, *spans) for hint, spans in zip(hints, seconds, strict=True)]


def test_a_body_may_begin_with_a_mark_or_be_in_latin_1() -> None:
    said = {"estado": 429, "descripcion": "L\u00edmite de peticiones excedido. Espere al siguiente minuto."}
    text = json.dumps(said, ensure_ascii=False)

    for body in (text.encode(), b"\xef\xbb\xbf" + text.encode(), text.encode("latin-1")):
        assert [60 * SECOND] == [hint.retry_after for hint in read_hints("aemet", 200, {}, now=NOW, body=body)]


def test_a_window_that_is_assumed_gives_way_to_what_the_answer_states() -> None:
    spent = {"x-ratelimit-limit-minute": "5", "x-ratelimit-remaining-minute": "0"}
    same = {**spent, "ratelimit-limit": "5", "ratelimit-remaining": "0", "ratelimit-reset": "13"}
    other = {**spent, "ratelimit-limit": "90", "ratelimit-remaining": "0", "ratelimit-reset": "13"}

    def held(status: int, headers: dict[str, str]) -> int:
        hints = read_hints("some-provider", status, headers, now=NOW)
        # Both say until when no units of the limit are left.
        assert all(hint.reset in (None, hint.retry_after) for hint in hints)
        assert not any(hint.reset is None and hint.window and hint.retry_after != hint.window for hint in hints)
        return max(hint.retry_after or 0 for hint in hints)

    assert [60, 13, 60, 7, 60] == [
        waited // SECOND
        for waited in (
            held(200, spent),
            held(200, same),
            held(200, other),
            held(429, {**spent, "retry-after": "7"}),
            held(429, {**spent, "retry-after": "70"}) - 10 * SECOND,
        )
    ]


def test_a_limit_ends_with_its_own_reset_and_without_one_with_that_of_its_family() -> None:
    orders = {
        "x-ratelimit-session-reset": "30",
        "x-ratelimit-session-remaining": "9",
        "x-ratelimit-sessionorders-remaining": "0",
    }

    def held(headers: dict[str, str]) -> list[int]:
        hints = read_hints("acme", 200, headers, now=NOW)
        return [hint.retry_after // SECOND for hint in hints if hint.retry_after is not None]

    assert [30] == held(orders)
    assert [1] == held({**orders, "x-ratelimit-sessionorders-reset": "1"})


def test_a_period_is_a_window_or_which_limit_is_meant() -> None:
    meant = {"x-ratelimit-limit-period": "15000", "x-ratelimit-remaining-period": "0", "x-ratelimit-reset-period": "9"}
    window = {"x-ratelimit-limit": "60", "x-ratelimit-remaining": "0", "x-ratelimit-window": "5m"}
    (limit,), (windowed,) = read_hints("acme", 200, meant, now=NOW), read_hints("acme", 200, window, now=NOW)

    assert (15_000, 9 * SECOND, None) == (limit.limit, limit.retry_after, limit.window)
    assert (60, 300 * SECOND, 300 * SECOND) == (windowed.limit, windowed.retry_after, windowed.window)


def test_headers_without_a_word_of_limits_are_a_limit_if_they_say_what_remains_and_another_part() -> None:
    spent = {"x-acme-remaining": "0", "x-acme-reset": "30", "x-acme-limit": "9"}
    (hint,) = read_hints("acme", 200, spent, now=NOW)

    assert (9, 0, 30 * SECOND) == (hint.limit, hint.remaining, hint.retry_after)
    assert () == read_hints("acme", 200, {"x-battery-remaining": "0"}, now=NOW)
    (denial,) = read_hints("acme", 429, {"x-acme-limit": "9", "x-acme-reset": "30"}, now=NOW)
    assert SECOND == denial.retry_after


def test_a_wait_in_a_header_of_any_name_has_its_unit() -> None:
    for name, seconds in (("x-acme-retry-after-ms", 2.5), ("x-acme-retry-after", 2_500.0), ("x-acme-backoff-seconds", 2_500.0)):
        (denial,) = read_hints("acme", 429, {name: "2500"}, now=NOW)
        assert seconds * SECOND == denial.retry_after
        assert () == read_hints("acme", 200, {name: "2500"}, now=NOW)


def test_words_of_a_denial_mean_none_with_a_status_about_the_resource_and_codes_none_in_a_page() -> None:
    said, page = b'{"message": "The quota has been exceeded."}', b"<html><body>See <code>Throttling</code></body></html>"

    assert {404, 405, 409, 410, 415} == {one for one in range(400, 418) if not is_throttled("some-provider", one, {}, said)}
    assert not is_throttled("some-provider", 403, {}, page)
    assert is_throttled("some-provider", 403, {}, page.replace(b"html", b"error"))


def test_a_status_alone_says_rate_limited_only_if_it_means_nothing_else() -> None:
    said = {status for status in range(200, 1_000) if is_throttled("some-provider", status, {}, b"")}

    assert {420, 429, 509, 999} == said
    assert said == {status for status in range(200, 1_000) if is_throttled("some-provider", status, {"retry-after": "5"})}
