from datetime import UTC, datetime

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor_client import _server_wait
from governor_client._server_wait import server_wait

#: The moment that RFC 9110 uses in its examples of dates.
NOW = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _clock_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_server_wait, "wall_clock", NOW.timestamp)


def said(value: str, name: str = "Retry-After") -> float | None:
    return server_wait(httpx2.Headers({name.encode(): value.encode()}))


@pytest.mark.promise("R05")
@pytest.mark.parametrize(
    ("value", "seconds"), [("0", 0.0), ("120", 120.0), (" 7 ", 7.0), ("1.5", 1.5), ("31622400", 31_622_400.0)]
)
def test_a_number_is_seconds(value: str, seconds: float) -> None:
    assert seconds == said(value)


@pytest.mark.promise("R05")
@pytest.mark.parametrize(
    "date",
    [
        "Sun, 06 Nov 1994 08:50:37 GMT",
        "Sunday, 06-Nov-94 08:50:37 GMT",
        "Sun Nov  6 08:50:37 1994",
        "1994-11-06T08:50:37Z",
        "1994-11-06T09:50:37+01:00",
        "1994-11-06T08:50:37",
    ],
)
def test_a_date_in_any_of_its_forms_is_a_wait_until_then(date: str) -> None:
    assert 60.0 == said(date)


@pytest.mark.promise("R05")
@pytest.mark.parametrize("value", ["31622401", "9" * 35, "9" * 100_000, "1e300", "1773769074339", "infinity"])
def test_an_absurd_number_is_the_longest_wait(value: str) -> None:
    assert 31_622_400 == said(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "-1",
        "nan",
        "0x10",
        "٣",
        "1.5.2",
        "Sun, 06 Nov 1994 08:49:36 GMT",
        "Sun, 32 Nov 1994 08:49:36 GMT",
        "a" * 100_000,
    ],
)
def test_what_cannot_be_meant_says_nothing(value: str) -> None:
    assert said(value) is None


def test_a_date_is_measured_against_the_date_of_the_answer() -> None:
    headers = {"retry-after": "Sun, 06 Nov 1994 10:00:30 GMT", "date": "Sun, 06 Nov 1994 10:00:00 GMT"}

    assert 30.0 == server_wait(headers)


def test_the_longest_of_several_values_counts_and_those_that_cannot_be_read_do_not() -> None:
    headers = httpx2.Headers([("Retry-After", "5"), ("Retry-After", "soon, Sun, 06 Nov 1994 08:50:37 GMT, 30")])

    assert 60.0 == server_wait(headers)


@pytest.mark.parametrize("name", ["retry-after-ms", "X-Amz-Retry-After", "x-ms-retry-after-ms"])
def test_the_longest_of_several_headers_counts(name: str) -> None:
    both = [httpx2.Headers({name: text, "Retry-After": "2"}) for text in ("250", "2500", "soon")]

    assert [2.0, 2.5, 2.0] == [server_wait(headers) for headers in both]
    assert 0.25 == said("250", name)


@given(
    st.text() | st.from_regex(r"[0-9.,:TZ+-]{0,30}") | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,5} [A-Z][a-z]{2} [0-9: +-]{0,20}")
)
def test_whatever_is_said_the_answer_is_a_wait_or_none(value: str) -> None:
    wait = server_wait(httpx2.Headers({b"Retry-After": value.encode("utf-8", "surrogatepass")}))

    assert wait is None or 0 <= wait <= 31_622_400
