import http_sf
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from governor import Admission, AvailableQuota, Duration, Limit, TokenBucket
from governor._units import SECOND
from governor.asgi.responses import Response, denial, quota_fields
from governor.asgi.types import Headers
from governor.messages import InboundDenied, InboundRequest

pytestmark = pytest.mark.promise("R22")

REQUEST = InboundRequest(b"a" + bytes(range(15)), b"i" + bytes(range(100, 115)))
BUCKET = TokenBucket(20, SECOND, 200)


def denied(by: InboundDenied) -> Response:
    response = denial(Admission(by), REQUEST)
    assert response is not None
    return response


def left(name: str, requests: int, limit: Limit) -> Headers:
    return quota_fields(Admission(least=AvailableQuota(name, requests, limit)), REQUEST)


def fields(headers: object) -> dict[bytes, bytes]:
    assert isinstance(headers, list | tuple)
    return dict(headers)


def test_a_denial_names_the_limit_and_when_to_retry() -> None:
    answer = denied(InboundDenied("chat", "client", 4.2, BUCKET))

    assert (
        429,
        {
            b"content-type": b"application/problem+json",
            b"content-length": str(len(answer.body)).encode(),
            b"retry-after": b"5",
            b"ratelimit-policy": b'"client";q=200;w=10;pk=:AAECAwQ=:',
            b"ratelimit": b'"client";r=0;t=5',
        },
    ) == (answer.status, fields(answer.headers))


@pytest.mark.parametrize(("limit", "key"), [("client", bytes(range(5))), ("address", bytes(range(100, 105))), ("total", None)])
def test_whom_a_limit_counts_is_said_by_a_pseudonym(limit: str, key: bytes | None) -> None:
    answer = denied(InboundDenied("chat", limit, 1.0, BUCKET))
    parsed = http_sf.parse(fields(answer.headers)[b"ratelimit-policy"], tltype="list")

    assert [(limit, {"q": 200, "w": 10} | ({"pk": key} if key else {}))] == parsed


@given(st.floats(min_value=1e-6, max_value=1e9))
def test_a_wait_is_in_whole_seconds_rounded_up_and_at_least_one(wait: float) -> None:
    answer = fields(denied(InboundDenied("chat", "client", wait, BUCKET)).headers)
    seconds = int(answer[b"retry-after"])

    assert max(1.0, wait) <= seconds < wait + 1
    assert [("client", {"r": 0, "t": seconds})] == http_sf.parse(answer[b"ratelimit"], tltype="list")


@given(st.integers(1, 10**12), st.integers(1, 366 * 86_400 * 10**6), st.integers(1, 10**12), st.floats(0, 1e300))
@example(1, 366 * 86_400 * 10**6, 10**12, 1e300)
def test_no_limit_is_too_large_for_its_fields(amount: int, per: int, burst: int, wait: float) -> None:
    bucket = TokenBucket(amount, Duration(per), burst)
    over = InboundDenied("chat", "total", wait, bucket)

    policy = fields(denied(over).headers)[b"ratelimit-policy"]
    state = fields(left("total", burst, bucket))[b"ratelimit"]

    assert [("total", {"q": burst, "w": min(10**15 - 1, -(-burst * per // (amount * 10**6)))})] == http_sf.parse(
        policy, tltype="list"
    )
    assert [("total", {"r": burst, "t": 0})] == http_sf.parse(state, tltype="list")


@pytest.mark.parametrize(("number", "seconds"), [(200, 0), (199, 1), (180, 1), (179, 2), (0, 10)])
def test_what_is_left_is_said_with_the_time_until_all_is_there_again(number: int, seconds: int) -> None:
    told = fields(left("client", number, BUCKET))

    assert f'"client";r={number};t={seconds}'.encode() == told[b"ratelimit"]


def test_an_answer_can_be_given_again_whatever_was_done_to_it() -> None:
    over = Admission(InboundDenied("chat", "client", 4.2, BUCKET, dry_run=True))
    quota_fields(over, REQUEST).clear()

    assert 2 == len(quota_fields(over, REQUEST))


@pytest.mark.promise("R25")
def test_a_response_is_kept_as_it_is_and_the_reason_of_a_close_fits_into_its_frame() -> None:
    response = Response(429, ((b"retry-after", b"1"),), b"", 200 * "m")
    response.messages({"type": "http"})[0]["headers"].append((b"x-frame-options", b"DENY"))

    assert [(b"retry-after", b"1")] == response.messages({"type": "http"})[0]["headers"]
    assert 123 * "m" == response.messages({"type": "websocket"})[0]["reason"]
