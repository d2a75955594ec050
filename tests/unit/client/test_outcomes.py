"""When does the governor learn what became of a request, and does it learn it once, wherever the request is cut short?"""

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from governor import Config, CounterRecord, Governor
from governor_client import AsyncGovernedTransport, GovernedTransport

if TYPE_CHECKING:
    from tests.unit.client.conftest import Body, Half, Meet

pytestmark = pytest.mark.anyio

NOTHING_YET = CounterRecord(requests=1)


@pytest.mark.promise("R50")
async def test_the_outcome_of_a_stream_is_known_when_it_has_been_read(meet: "Meet") -> None:
    half = meet(200)

    response = await half.send()
    begun = half.counters()
    await half.read(response)
    await half.close(response)

    assert (NOTHING_YET, CounterRecord(requests=1, answered_2xx=1)) == (begun, half.counters())


@pytest.mark.promise("R50")
async def test_a_stream_that_breaks_is_a_failure_and_is_not_tried_again(meet: "Meet", body: "type[Body]") -> None:
    broken = body(b"half of", httpx.ReadError("reset"))
    half = meet(httpx.Response(200, stream=broken))

    response = await half.send()
    with pytest.raises(httpx.ReadError):
        await half.read(response)
    await half.close(response)

    assert CounterRecord(requests=1, failures=1) == half.counters()


@pytest.mark.promise("R50")
@pytest.mark.parametrize(
    ("status", "counted"),
    [
        (200, CounterRecord(requests=1, answered_2xx=1)),
        (404, CounterRecord(requests=1, answered_4xx=1)),
        (501, CounterRecord(requests=1, answered_5xx=1)),
    ],
)
async def test_a_stream_that_its_reader_closes_early_counts_by_its_status(
    meet: "Meet", body: "type[Body]", status: int, counted: CounterRecord
) -> None:
    unread = body(b"one", b"two")
    half = meet(httpx.Response(status, stream=unread))

    response = await half.send()
    await half.close(response)
    await half.close(response)

    assert (counted, 1) == (half.counters(), unread.closed)


async def test_a_reader_who_stops_in_the_middle_and_closes_is_counted_once(meet: "Meet", body: "type[Body]") -> None:
    half = meet(httpx.Response(200, stream=body(b"one", b"two")))

    response = await half.send()
    if half.blocking:
        pieces = response.iter_raw()
        next(pieces)
        del pieces
    else:
        apieces = response.aiter_raw()
        await anext(apieces)
        await apieces.aclose()  # type: ignore[attr-defined]
    await half.close(response)

    assert CounterRecord(requests=1, answered_2xx=1) == half.counters()


async def test_redirects_count_as_neither_success_nor_failure_of_their_own(meet: "Meet") -> None:
    half = meet(302)

    await half.read(await half.send())

    assert CounterRecord(requests=1) == half.counters()
