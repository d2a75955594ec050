"""Requests that are tried again, and what is returned at the end. The same for both transports."""

import gzip
import math
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx2
import pytest

from governor import CounterRecord, Governor, PermitDenied, RateLimited, Reason

if TYPE_CHECKING:
    from tests.unit.client.conftest import Body, Meet, SettingsOf

pytestmark = pytest.mark.anyio


@pytest.mark.promise("R05")
async def test_every_attempt_takes_its_own_permit_and_reports_its_own_outcome(meet: "Meet") -> None:
    half = meet(503, httpx2.ConnectError("refused"), 200)

    assert b"answer 200" == await half.read(await half.send())
    assert CounterRecord(requests=3, answered_5xx=1, failures=1, answered_2xx=1, retries=2) == half.counters()


@pytest.mark.promise("R05")
@pytest.mark.parametrize("buffered", [False, True])
async def test_after_the_last_attempt_its_answer_is_handed_out(meet: "Meet", *, buffered: bool) -> None:
    half = meet(502, 503, 504)

    response = await half.send(buffered=buffered)

    assert (504, b"answer 504") == (response.status_code, await half.read(response))
    assert CounterRecord(requests=3, answered_5xx=3, retries=2) == half.counters()


async def test_after_the_last_attempt_its_error_is_raised(meet: "Meet") -> None:
    last = httpx2.ReadTimeout("slow")
    half = meet(503, httpx2.ConnectError("refused"), last)

    with pytest.raises(httpx2.ReadTimeout) as raised:
        await half.send()

    assert last is raised.value
    assert CounterRecord(requests=3, answered_5xx=1, failures=2, retries=2) == half.counters()


FAILED = CounterRecord(requests=3, failures=3, retries=2)
NEUTRAL = CounterRecord(requests=1, neutral=1)


@pytest.mark.promise("R05")
@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (httpx2.ConnectError(""), FAILED),
        (httpx2.ConnectTimeout(""), FAILED),
        (httpx2.ReadTimeout(""), FAILED),
        (httpx2.WriteTimeout(""), FAILED),
        (httpx2.ReadError(""), FAILED),
        (httpx2.WriteError(""), FAILED),
        (httpx2.CloseError(""), FAILED),
        (httpx2.RemoteProtocolError(""), FAILED),
        (ConnectionResetError(), FAILED),
        (httpx2.ProxyError(""), FAILED),
        (ValueError("please retry: timeout, connection reset, 503"), NEUTRAL),
        (httpx2.PoolTimeout(""), CounterRecord(requests=3, neutral=3, retries=2)),
        (httpx2.UnsupportedProtocol(""), NEUTRAL),
        (httpx2.LocalProtocolError(""), NEUTRAL),
        (httpx2.StreamConsumed(), NEUTRAL),
        (PermitDenied("other:get", Reason.RATE_LIMIT, 1.0), NEUTRAL),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_the_type_of_an_error_decides_what_it_counts_as_and_whether_it_is_worth_a_retry(
    meet: "Meet", error: Exception, counted: CounterRecord
) -> None:
    half = meet(error)

    with pytest.raises(type(error)):
        await half.send()

    assert counted == half.counters()


@pytest.mark.parametrize(
    ("status", "attempts"), [(200, 1), (302, 1), (400, 1), (404, 1), (501, 1), (408, 3), (429, 3), (500, 3)]
)
async def test_the_status_decides_as_the_policy_says(meet: "Meet", status: int, attempts: int) -> None:
    half = meet(status)

    assert status == (await half.send()).status_code
    assert attempts == len(half.provider.asked)


@pytest.mark.promise("R05")
@pytest.mark.parametrize(
    ("method", "headers", "attempts"),
    [
        ("GET", {}, 3),
        ("PUT", {}, 3),
        ("DELETE", {}, 3),
        ("POST", {}, 1),
        ("PATCH", {}, 1),
        ("POST", {"Idempotency-Key": ""}, 1),
        ("POST", {"Idempotency-Key": "a3f"}, 3),
        ("PATCH", {"idempotency-key": "a3f"}, 3),
    ],
)
async def test_only_what_may_be_done_twice_is_tried_again(
    meet: "Meet", method: str, headers: dict[str, str], attempts: int
) -> None:
    half = meet(503)

    await half.send(method, headers=headers)

    assert attempts == len(half.provider.asked)


@pytest.mark.promise("R05")
@pytest.mark.parametrize(
    ("outcome", "attempts"),
    [
        (429, 3),
        (httpx2.ConnectError(""), 3),
        (httpx2.ConnectTimeout(""), 3),
        (ConnectionRefusedError(), 3),
        (httpx2.ReadError(""), 1),
        (httpx2.ReadTimeout(""), 1),
        (TimeoutError(), 1),
    ],
    ids=repr,
)
async def test_a_post_is_tried_again_only_if_it_was_not_processed(
    meet: "Meet", outcome: int | Exception, attempts: int
) -> None:
    half = meet(outcome)

    with suppress(httpx2.TransportError, OSError):
        await half.send("POST")

    assert attempts == len(half.provider.asked)


@pytest.mark.promise("R50")
async def test_a_request_that_says_so_is_sent_once(meet: "Meet") -> None:
    half = meet(503, 200)

    assert 503 == (await half.send(retry=False)).status_code
    assert 1 == len(half.provider.asked)


async def test_a_body_in_memory_is_sent_again_as_it_was(meet: "Meet") -> None:
    half = meet(503, 200)

    await half.send("PUT", content=b"all of it")

    assert [b"all of it", b"all of it"] == half.provider.bodies


async def test_a_body_that_comes_piece_by_piece_is_sent_once(meet: "Meet") -> None:
    half = meet(503, 200)

    assert 503 == (await half.send("PUT", pieces=(b"all ", b"of it"))).status_code
    assert [b"all of it"] == half.provider.bodies


@pytest.mark.promise("R50")
async def test_a_broken_answer_is_tried_again_if_it_belongs_to_the_attempt(meet: "Meet", body: "type[Body]") -> None:
    broken = body(b"half of", httpx2.RemoteProtocolError("closed"))
    half = meet(httpx2.Response(200, stream=broken), 200)

    response = await half.send(buffered=True)

    assert (b"answer 200", 1) == (await half.read(response), broken.closed)
    assert CounterRecord(requests=2, failures=1, answered_2xx=1, retries=1) == half.counters()


async def test_an_answer_that_breaks_while_it_is_kept_is_tried_again_as_its_status_says(
    meet: "Meet", body: "type[Body]"
) -> None:
    broken = body(b"half of", httpx2.ReadError("reset"))
    half = meet(httpx2.Response(503, stream=broken), 200)

    response = await half.send()

    assert (b"answer 200", 1) == (await half.read(response), broken.closed)
    assert CounterRecord(requests=2, failures=1, answered_2xx=1, retries=1) == half.counters()


async def test_an_endless_answer_that_is_tried_again_is_cut_off(meet: "Meet", body: "type[Body]") -> None:
    endless = body(*[b"x" * 1_024] * 65)
    half = meet(httpx2.Response(503, stream=endless), 200)

    assert 200 == (await half.send()).status_code
    assert 1 == endless.closed


async def test_a_buffered_answer_is_still_decoded_by_httpx(meet: "Meet", body: "type[Body]") -> None:
    packed = httpx2.Response(200, headers={"content-encoding": "gzip"}, stream=body(gzip.compress(b"plain")))
    half = meet(packed)

    assert b"plain" == await half.read(await half.send(buffered=True))


@pytest.fixture
async def stingy(settings_of: "SettingsOf") -> AsyncIterator[Governor]:
    """A governor that lets one request through, and says that the next may come in an hour."""
    async with Governor(settings_of(limits=["1/hour"])) as governor:
        yield governor


@pytest.mark.promise("R50")
async def test_a_request_without_a_permit_is_not_sent_and_the_refusal_says_why_and_until_when(
    meet: "Meet", stingy: Governor
) -> None:
    half = meet(200, under=stingy)
    await half.send(pool=1.0)

    with pytest.raises(RateLimited) as raised:
        await half.send(pool=1.0)

    assert ("example:get", Reason.RATE_LIMIT, 3_600) == (
        raised.value.scope,
        raised.value.reason,
        math.ceil(raised.value.retry_after or 0),
    )
    assert 1 == len(half.provider.asked)


@pytest.mark.parametrize("buffered", [False, True])
async def test_a_retry_without_a_permit_leaves_the_answer_in_hand(meet: "Meet", stingy: Governor, *, buffered: bool) -> None:
    half = meet(503, under=stingy)

    response = await half.send(pool=1.0, buffered=buffered)

    assert (503, b"answer 503") == (response.status_code, await half.read(response))
    assert CounterRecord(requests=1, answered_5xx=1, denied={Reason.RATE_LIMIT: 1}) == half.counters()


async def test_a_retry_without_a_permit_leaves_the_error_in_hand_with_the_refusal_as_its_context(
    meet: "Meet", stingy: Governor
) -> None:
    error = httpx2.ConnectError("refused")
    half = meet(error, under=stingy)

    with pytest.raises(httpx2.ConnectError) as raised:
        await half.send(pool=1.0)

    assert (error, RateLimited) == (raised.value, type(half.context))
    assert "It was not retried: example:get was denied" in raised.value.__notes__[0]


async def test_of_an_answer_64_kib_are_kept(meet: "Meet", stingy: Governor, body: "type[Body]") -> None:
    half = meet(httpx2.Response(503, stream=body(b"x" * 65_535, b"y")), under=stingy)

    assert 65_536 == len(await half.read(await half.send(pool=1.0)))


async def test_a_retry_without_a_permit_after_an_answer_that_was_not_kept_is_a_refusal(
    meet: "Meet", stingy: Governor, body: "type[Body]"
) -> None:
    endless = body(b"x" * 65_536, b"y", httpx2.ReadError("read on"))
    half = meet(httpx2.Response(503, stream=endless), under=stingy)

    with pytest.raises(RateLimited):
        await half.send(pool=1.0)

    assert 1 == endless.closed


async def test_an_answer_of_an_earlier_attempt_is_not_handed_out_for_a_later_one(
    meet: "Meet", settings_of: "SettingsOf", body: "type[Body]"
) -> None:
    endless = httpx2.Response(503, stream=body(*[b"x" * 1_024] * 65))
    async with Governor(settings_of(limits=["1/hour burst 2"])) as governor:
        half = meet(500, endless, under=governor)

        with pytest.raises(RateLimited):
            await half.send(pool=1.0)


@pytest.mark.parametrize("pool", [None, math.inf])
async def test_a_request_without_a_pool_timeout_waits_as_long_as_it_takes(
    meet: "Meet", settings_of: "SettingsOf", pool: float | None
) -> None:
    async with Governor(settings_of(limits=["50/s burst 1"])) as governor:
        half = meet(503, 503, 200, under=governor)

        assert 200 == (await half.send(pool=pool)).status_code


async def test_a_governor_that_is_closed_meanwhile_leaves_the_answer_in_hand(meet: "Meet", settings_of: "SettingsOf") -> None:
    governor = Governor(settings_of()).__enter__()

    def closes() -> int:
        governor.__exit__(None, None, None)
        return 503

    half = meet(closes, under=governor)

    assert b"answer 503" == await half.read(await half.send())
