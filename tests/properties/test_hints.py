"""Laws of hints: no text raises, none says more than the bound, none loosens, and reading takes linear time."""

from random import Random
from time import thread_time
from typing import Final

import http_sf
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from governor._units import HOUR, SECOND, Duration
from governor.hints import Hint, Severity, built_in_dialects, dialect_of, is_silent, is_throttled, read_hints, read_wait
from governor.hints.forms import form_of
from governor.hints.ratelimit_fields import items
from tests.support.counting import python_calls
from tests.support.hint_headers import HINT_HEADERS

NOW: Final = 1_700_000_000.0

TEXTS: Final = st.one_of(
    st.text(max_size=60),
    st.integers(-(10**40), 10**40).map(str),
    st.floats().map(str),
    st.from_regex(r"[0-9.,:TZ+eE-]{0,40}"),
    st.from_regex(r"([0-9]{1,9}(\.[0-9]{0,9})?(ns|us|ms|s|m|h|d) ?){1,4}", fullmatch=True),
    st.from_regex(
        r"[A-Z][a-z]{2}, [0-9]{1,2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT(, [0-9]+)?", fullmatch=True
    ),
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    st.from_regex(r'"[a-z]{0,5}";[qrtw]=[0-9]{1,6}(;[qrtw]=[0-9]{1,6}){0,3}(, "[a-z]";r=[0-9]{1,3})?', fullmatch=True),
    st.from_regex(r"(limit|remaining|reset)=[0-9]{1,20}(, (limit|remaining|reset)=[0-9]{1,20}){0,2}", fullmatch=True),
)
HEADERS: Final = st.dictionaries(st.sampled_from(HINT_HEADERS), TEXTS, max_size=6)
BODIES: Final = st.one_of(
    st.none(),
    st.binary(max_size=60),
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5) | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["errors", "error", "type", "details", "retryDelay", "extensions", "code"]), inner
            )
        ),
        max_leaves=12,
    ).map(msgspec.json.encode),
)
PROVIDERS: Final = st.sampled_from([*built_in_dialects(), "some-provider"])
STATUSES: Final = st.sampled_from([200, 202, 301, 400, 401, 403, 404, 420, 429, 430, 500, 503, 529])


def longest(hints: tuple[Hint, ...]) -> int:
    """The wait for which the hints hold the scope of the call; -1 if they do not."""
    return max((hint.retry_after for hint in hints if hint.retry_after is not None), default=-1)


@given(PROVIDERS, st.integers(0, 999))
def test_the_names_of_headers_say_that_an_answer_is_silent_however_they_are_spelled(provider: str, seed: int) -> None:
    random = Random(seed)
    headers = {name: "1" for name in (*dialect_of(provider).markers, *HINT_HEADERS, "x-y") if random.random() < 0.02}
    spelled: list[list[str | bytes]] = [[name, name.title(), name.encode(), name.title().encode()] for name in headers]
    names = tuple(map(random.choice, spelled))

    # Those whose failures are in the bodies of answers 200 are never silent.
    silent = not dialect_of(provider).fails_with_200
    assert silent == is_silent(provider, ("date", b"Content-Type"))
    assert is_silent(provider, names) == (silent and not form_of(dialect_of(provider), headers).speaks)
    assert not is_silent(provider, names) or read_hints(provider, 200, headers, now=NOW) == ()


@given(PROVIDERS, STATUSES, HEADERS, BODIES, st.integers(1, HOUR))
def test_whatever_an_answer_says_its_hints_are_within_the_bound(
    provider: str, status: int, headers: dict[str, str], body: bytes | None, most: int
) -> None:
    for hint in read_hints(provider, status, headers, now=NOW, body=body, max_hint=Duration(most)):
        assert hint.retry_after is None or 0 <= hint.retry_after <= most
        assert hint.reset is None or 0 <= hint.reset <= most
        assert hint.limit is None or hint.limit >= 1
        assert hint.remaining is None or hint.remaining >= 0
        assert hint.window is None or hint.window > 0


@given(PROVIDERS, HEADERS, BODIES)
def test_an_answer_that_says_rate_limited_forbids_calls_of_the_provider(
    provider: str, headers: dict[str, str], body: bytes | None
) -> None:
    hints = read_hints(provider, 429, headers, now=NOW, body=body)

    assert is_throttled(provider, 429, headers, body)
    (denied,) = (hint for hint in hints if hint.severity is Severity.THROTTLED)
    assert denied.scope == "provider"
    assert denied.retry_after is not None
    assert 0 < denied.retry_after


@given(
    PROVIDERS, STATUSES, HEADERS, st.sampled_from(["", "N, ", "none, ", "-1, "]), st.integers(1, 3_600), st.integers(0, 10_000)
)
def test_a_longer_wait_that_is_said_beside_another_is_never_shorter(
    provider: str, status: int, headers: dict[str, str], before: str, first: int, more: int
) -> None:
    short = {**headers, "retry-after": f"{first}"}
    joined = {**headers, "retry-after": f"{before}{first + more} , {first}"}
    said, both = (read_hints(provider, status, one, now=NOW) for one in (short, joined))

    assert longest(both) >= max(longest(said), min(first + more, 3_600) * SECOND)


@given(HEADERS, st.integers(0, 100), st.integers(1, 3_600))
def test_fewer_units_and_a_later_reset_never_shorten_the_wait(headers: dict[str, str], units: int, reset: int) -> None:
    some = {**headers, "x-ratelimit-remaining": str(units), "x-ratelimit-reset": str(reset)}
    none = {**some, "x-ratelimit-remaining": "0"}
    later = {**none, "x-ratelimit-reset": str(reset + 1)}

    waits = [longest(read_hints("some-provider", 200, one, now=NOW)) for one in (some, none, later)]
    assert sorted(waits) == waits


@given(st.integers(1, 10**8), st.sampled_from(["{}", "{}000", "{}000000", "{}000000000"]))
def test_a_reset_in_the_past_is_ignored(before: int, form: str) -> None:
    headers = {"x-ratelimit-remaining": "5", "x-ratelimit-reset": form.format(int(NOW) - before)}

    assert (Hint("requests", remaining=5),) == read_hints("some-provider", 200, headers, now=NOW)


@given(st.integers(1, 3_600), st.integers(-(10**6), 10**6))
def test_a_clock_that_is_wrong_does_not_change_a_wait(seconds: int, wrong: int) -> None:
    headers = {
        "date": "Tue, 14 Nov 2023 22:13:20 GMT",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": str(int(NOW) + seconds),
    }

    assert seconds * SECOND == longest(read_hints("some-provider", 200, headers, now=NOW + wrong))


@pytest.mark.parametrize(
    "text",
    [
        "9" * 100_000,
        "0" * 100_000,
        "1," * 50_000,
        "1,111" * 20_000,
        "a" * 100_000,
        "a, " * 33_000,
        "Sun, " * 20_000,
        " " * 100_000,
        "1s" * 50_000,
        '"' * 100_000,
        '"a";r=1,' * 12_000,
        ";r=" * 33_000,
        "limit" * 20_000,
        "1;w=" * 25_000,
        "(" * 100_000,
        "1/" * 50_000,
        " 1/1 reset=1" * 8_000,
    ],
)
def test_a_header_of_100_kilobytes_is_read_in_a_moment(text: str) -> None:
    headers = dict.fromkeys(HINT_HEADERS, text)
    began = thread_time()
    # An unknown provider has the limits of all dialects.
    for provider in ("some-provider", "github", "zendesk"):
        read_hints(provider, 429, headers, now=NOW)
    read_wait(headers, now=NOW)

    # Each with all headers. Stripping all of each text would take longer.
    assert thread_time() - began < 0.07 * 3


@pytest.mark.parametrize("name", ["x-{}-ratelimit-remaining", "x-{}-remaining", "x-ratelimit-{}-reset", "x-{}-retry-after"])
def test_thousands_of_headers_are_read_in_time_linear_in_their_number(name: str) -> None:
    headers = {name.format(number): "0" for number in range(6_000)}
    began = thread_time()
    read_hints("some-provider", 429, headers, now=NOW)

    # A tenth of it is usual. Comparing each of these headers with each takes five seconds.
    assert thread_time() - began < 2


@pytest.mark.parametrize("key", ["reset", "limit"])
def test_a_body_of_hundreds_of_keys_is_read_in_time_linear_in_their_number(key: str) -> None:
    body = msgspec.json.encode({f"{key}{number}": number for number in range(300)})
    called = python_calls(lambda: read_hints("some-provider", 429, {}, now=NOW, body=body))

    # Each is looked at beside as many others as one object may have. Beside all of them, it would be 90,000 calls.
    assert len(called) < 100 * 300


@given(
    st.lists(
        st.tuples(st.from_regex(r"[a-z0-9 .-]{1,20}", fullmatch=True), st.integers(0, 10**9), st.integers(0, 10**6)), max_size=4
    )
)
@example([])
def test_the_usual_form_of_the_fields_is_read_as_a_structured_field_is(states: list[tuple[str, int, int]]) -> None:
    text = ", ".join(f'"{name}";r={left};t={reset}' for name, left, reset in states)
    parsed = http_sf.parse(text.encode(), tltype="list") if text else []

    assert parsed == [(item.name, {key: int(value) for key, value in item.parameters.items()}) for item in items(text)]


class LookedUp:
    """Headers that can be looked up, and not listed."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers

    def get(self, name: str, /) -> str | None:
        return self._headers.get(name)


@given(PROVIDERS, STATUSES, st.lists(TEXTS, max_size=6), BODIES, st.randoms())
def test_a_dialect_reads_its_headers_where_they_cannot_be_listed_as_where_they_can(
    provider: str, status: int, values: list[str], body: bytes | None, random: Random
) -> None:
    known = [*dialect_of(provider).known, *dialect_of(provider).waits, "retry-after-ms"]
    headers = dict(zip(random.sample(known, min(len(values), 4)), values, strict=False))
    listed = read_hints(provider, status, headers, now=NOW, body=body)

    assert listed == read_hints(provider, status, LookedUp(headers), now=NOW, body=body)
