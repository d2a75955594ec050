"""Over real HTTP: after an answer that says when to come back, no call of any method of its provider leaves before."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any, Final

import httpx2
import pytest

from governor import Config, Denied, Governor, Permit, Reason
from governor.hints import dialect_of
from governor_client import GovernedTransport
from tests.support.provider import End, Provider, Reply, answer, loopback_provider, raw, status

pytestmark = pytest.mark.promise("R11")

METHODS: Final = ("GET", "POST", "PUT", "DELETE", "PATCH")
#: A row that names no instant is answered at one at which its dates are in the past.
LATER: Final = datetime(2030, 1, 1, tzinfo=UTC)
DATE: Final = re.compile(r"<(HTTP-date|ISO-8601) now\+(\d+)s>")

#: Answers as the documentation of these providers shows them: headers, status, and how long no call may leave.
DOCUMENTED: Final = {
    "sentry": (
        {"X-Sentry-Rate-Limit-Remaining": "0", "X-Sentry-Rate-Limit-Limit": "40", "X-Sentry-Rate-Limit-Reset": "+20"},
        200,
        20,
    ),
    "okta": ({"X-Rate-Limit-Limit": "600", "X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": "+45"}, 429, 45),
    "docker hub": ({"ratelimit-limit": "100;w=600", "ratelimit-remaining": "0;w=600"}, 429, 600),
    "contentful": ({"X-Contentful-RateLimit-Hour-Remaining": "0", "X-Contentful-RateLimit-Reset": "900"}, 429, 900),
    "linear": ({"X-RateLimit-Requests-Remaining": "0", "X-RateLimit-Requests-Reset": "+60000ms"}, 429, 60),
    "cloudflare": ({"Ratelimit": '"default";r=0;t=30', "Ratelimit-Policy": '"default";q=1200;w=300'}, 429, 30),
    "crossref": ({"X-Rate-Limit-Limit": "50", "X-Rate-Limit-Interval": "1s"}, 429, 1),
    "datadog": (
        {"X-RateLimit-Limit": "100", "X-RateLimit-Period": "60", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "17"},
        429,
        17,
    ),
    "vimeo": ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "iso+90"}, 429, 90),
    "lemlist": ({"Retry-After": "2", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "js+7"}, 429, 7),
    "mailerlite": ({"X-RateLimit-Remaining": "0", "X-RateLimit-Retry-After": "33"}, 429, 33),
    "twitch": ({"Ratelimit-Limit": "800", "Ratelimit-Remaining": "0", "Ratelimit-Reset": "+12"}, 429, 12),
    "imgur": ({"X-RateLimit-UserLimit": "500", "X-RateLimit-UserRemaining": "0", "X-RateLimit-UserReset": "+600"}, 429, 600),
    "mistral": ({"x-ratelimit-remaining-tokens-minute": "0", "x-ratelimit-limit-tokens-minute": "500000"}, 429, 60),
    "akamai": ({"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0", "X-RateLimit-Next": "iso+15"}, 429, 15),
    "zoom": ({"X-RateLimit-Type": "QPS", "Retry-After": "http+40"}, 429, 40),
    "etsy": ({"x-limit-per-second": "10", "x-remaining-this-second": "0"}, 429, 1),
    "together": (
        {"x-ratelimit-limit": "10", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "9", "x-tokenlimit-remaining": "5"},
        200,
        9,
    ),
    "anything": ({"x-acme-ratelimit-requests-remaining": "0", "x-acme-ratelimit-requests-reset-after-ms": "8000"}, 200, 8),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Provider]:
    with loopback_provider() as provider:
        yield provider


@pytest.fixture
def governor() -> Iterator[Governor]:
    said = {"global": {"requests_per_minute": None}, "outbound": {"default": {"limits": []}}}
    with Governor(Config.from_mapping(said)) as governor:
        yield governor


_numbers = count()


def held(governor: Governor, server: Provider, provider: str, reply: Reply) -> list[float]:
    """One call, and then, for each method, for how long after the answer no call of it may leave: 0 for at once."""
    url = server.at(f"/{next(_numbers)}", reply)
    transport = GovernedTransport(provider, governor=governor, govern_loopback=True)
    with httpx2.Client(transport=transport) as client:
        began = monotonic()
        client.get(url, extensions={"governor.retry": False})
        answers = [governor.try_permit(provider, method) for method in METHODS]
        since = monotonic() - began  # The wait begins when the answer is read.
    for permit in answers:
        if isinstance(permit, Permit):
            permit.give_back()
    return [(one.retry_after or 0.0) + since if isinstance(one, Denied) else 0.0 for one in answers]


def test_every_row_of_the_dialects_holds_the_whole_provider(governor: Governor, server: Provider, vectors: Path) -> None:
    rows = json.loads((vectors / "provider_headers_dialects.json").read_text(encoding="utf-8"))["cases"]
    for index, row in enumerate(rows):
        word = row["provider"].split()[0].lower()
        for provider in (f"{word}-{index}" if len(word) > 3 else word, f"unknown{index}"):
            code = 429 if "retry_after_s" in row else 200
            waits = held(governor, server, provider, Reply(status=code, headers={**row["headers"], "Date": _date(_now(row))}))

            assert min(waits) >= _expected(row), (row["provider"], provider, waits)


def _now(row: Mapping[str, Any]) -> datetime:
    if "now" in row:
        return datetime.fromisoformat(row["now"])
    return datetime.fromtimestamp(row["now_unix"], UTC) if "now_unix" in row else LATER


def _expected(row: Mapping[str, Any]) -> float:
    """The longest wait of a row, in seconds."""
    spent = [
        one.get("reset_in_s", one.get("t", 1)) for one in row.get("expect", ()) if 0 in (one.get("remaining"), one.get("r"))
    ]
    return float(max([row.get("retry_after_s", 0), *spent]))


def test_every_row_of_retry_after_holds_the_whole_provider(governor: Governor, server: Provider, vectors: Path) -> None:
    file = json.loads((vectors / "retry_after_parse.json").read_text(encoding="utf-8"))
    now = datetime.fromtimestamp(file["now_ms"] // 1_000, UTC)
    for index, row in enumerate(file["cases"]):
        headers = {name: DATE.sub(lambda found: _later(found, now), value) for name, value in row["headers"].items()}
        waits = held(governor, server, f"some{index}", Reply(status=429, headers={**headers, "Date": _date(now)}))
        least = row.get("expect_delay_ms", row.get("expect_delay_ms_between", [1_000])[0]) or 1_000

        assert min(waits) >= least / 1_000, (row, waits)


def _later(found: re.Match[str], now: datetime) -> str:
    moment = now + timedelta(seconds=int(found[2]))
    return _date(moment) if found[1] == "HTTP-date" else moment.isoformat().replace("+00:00", "Z")


def _date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_answers_of_providers_without_a_dialect_are_understood(governor: Governor, server: Provider, name: str) -> None:
    said, code, expected = DOCUMENTED[name]
    headers = {header: _value(value) for header, value in said.items()}
    waits = held(governor, server, name.replace(" ", "-"), Reply(status=code, headers={**headers, "Date": _date(LATER)}))

    assert min(waits) >= expected
    assert max(waits) <= expected * 1.1 + 1


def test_answers_of_many_providers_hold_every_method(governor: Governor, server: Provider) -> None:
    rows = json.loads((Path(__file__).parents[2] / "support" / "provider_answers.json").read_text(encoding="utf-8"))
    # One of each provider whose limits hold all methods, and only the bodies that are read as they pass to the program.
    read = {row[0]: row for row in rows if dialect_of(row[0]).scope == "provider" and (row[3] is None or row[1] >= 400)}
    for provider, code, headers, body, seconds in Random(20_261_127).sample(sorted(read.values()), 24):
        said = {"Date": _date(datetime.fromtimestamp(1_700_000_000, UTC)), **headers}
        waits = held(governor, server, provider, Reply(status=code, headers=said, pieces=((body or "").encode(),)))
        expected = 0.0 if seconds is None else seconds

        assert min(waits) >= expected, (provider, code, headers, body, waits)
        # No wait that a server sets is below a second, and each is up to a tenth longer.
        assert max(waits) <= expected * 1.1 + 1.1, (provider, code, headers, body, waits)


def _value(value: str) -> str:
    kind, _, seconds = value.partition("+")
    if not seconds:
        return value
    moment = LATER + timedelta(seconds=int(seconds.removesuffix("ms")) / (1_000 if seconds.endswith("ms") else 1))
    match kind:
        case "iso":
            return moment.isoformat()
        case "http":
            return _date(moment)
        case "js":
            return moment.strftime("%a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)")
        case _:
            return str(int(moment.timestamp() * (1_000 if seconds.endswith("ms") else 1)))


def test_no_more_calls_leave_than_remain(governor: Governor, server: Provider) -> None:
    reply = status(200, x_ratelimit_limit="60", x_ratelimit_remaining="7", x_ratelimit_reset="300")
    url = server.at("/remaining", reply)
    transport = GovernedTransport("acme", governor=governor, govern_loopback=True, on_refusal="response", wait=0)
    with httpx2.Client(transport=transport) as client:
        codes = [client.request(METHODS[number % 5], url).status_code for number in range(20)]

    assert [200] * 8 + [429] * 12 == codes
    assert 8 == len(server.to("/remaining"))


def test_a_denial_that_is_no_429_opens_no_breaker_and_counts_as_rate_limited(governor: Governor, server: Provider) -> None:
    for provider, reply in (
        ("github", status(403, b'{"message": "You have exceeded a secondary rate limit."}', x_ratelimit_remaining="50")),
        ("anthropic", raw(b"HTTP/1.1 529 Overloaded\r\ncontent-length: 2\r\n\r\n{}", End.COMPLETE)),
        ("shopify", answer({"errors": [{"extensions": {"code": "THROTTLED"}}]})),
    ):
        url = server.at(f"/{provider}/graphql", reply)
        transport = GovernedTransport(provider, governor=governor, govern_loopback=True)
        with httpx2.Client(transport=transport) as client:
            client.post(url, extensions={"governor.retry": False})
        denied = governor.try_permit(provider, "GET")
        scope = governor.statistics().scopes[f"{provider}:post"]

        assert isinstance(denied, Denied)
        assert (denied.reason, scope.counters.answered_429, scope.counters.answered_5xx) == (Reason.COOLDOWN, 1, 0)


def test_a_wait_in_a_body_holds_the_provider(governor: Governor, server: Provider) -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]
    body = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": details}}
    waits = held(governor, server, "gemini", answer(body, 429))

    assert min(waits) >= 34.5


def test_a_provider_that_answers_200_to_everything_denies_calls_in_small_bodies(governor: Governor, server: Provider) -> None:
    rejected = {"error": ["EService: Throttled: 1700000030"]}
    date = {"Date": _date(datetime.fromtimestamp(1_700_000_000, UTC))}
    small, large = json.dumps(rejected).encode(), json.dumps({**rejected, "result": "x" * 5_000}).encode()

    assert min(held(governor, server, "kraken", Reply(status=200, headers=date, pieces=(small,)))) >= 30
    assert 1 == governor.statistics().scopes["kraken:get"].counters.answered_429
    node = json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": -32005, "message": "Rate limit exceeded"}}).encode()
    for name in ("json-rpc-main", "tencent-ads"):
        assert min(held(governor, server, name, Reply(status=200, headers=date, pieces=(node,)))) >= 1
    # One that is large is data, and bodies of other providers are not read.
    for provider, body in (("kraken-futures", large), ("acme", small)):
        assert {0.0} == set(held(governor, server, provider, Reply(status=200, headers=date, pieces=(body,))))
