"""Streams of SDKs through a governor: one permit and one outcome, however a stream ends."""

from collections.abc import Callable
from contextlib import suppress

import pytest

from governor import CounterRecord, Governor
from tests.sdks.conftest import in_progress
from tests.sdks.driver import Driver, Stream, run
from tests.sdks.setup import Setup
from tests.support.provider import End, Provider

Counted = Callable[[], CounterRecord]


@pytest.fixture
def stream(driver: Driver) -> Stream:
    """The stream of the driver."""
    assert driver.stream is not None
    return driver.stream


def test_a_stream_that_ends_records_its_status_once(
    driver: Driver, stream: Stream, provider: Provider, governor: Governor, counted: Counted
) -> None:
    provider.at(stream.path, stream.events(End.COMPLETE))

    said = run(stream.call, Setup(url=provider.url, governor=governor))

    assert ("pong", 1) == (said, len(provider.to(stream.path)))
    assert (1, 1, 0) == (counted().requests, counted().answered_2xx, in_progress(counted()))


def test_a_stream_that_breaks_records_a_failure_once(
    driver: Driver, stream: Stream, provider: Provider, governor: Governor, counted: Counted
) -> None:
    provider.at(stream.path, stream.events(End.BROKEN))

    with suppress(Exception):  # Some SDKs take what has come for the whole answer.
        run(stream.call, Setup(url=provider.url, governor=governor, own_retries=False))

    assert 1 == len(provider.to(stream.path))
    assert (1, 1, 0) == (counted().requests, counted().failures, in_progress(counted()))


def test_a_stream_that_its_reader_leaves_records_its_status_once(
    driver: Driver, stream: Stream, provider: Provider, governor: Governor, counted: Counted
) -> None:
    provider.at(stream.path, stream.events(End.SILENT))

    said = run(stream.call, Setup(url=provider.url, governor=governor, leave_after=1))

    assert ("po", 1) == (said, len(provider.to(stream.path)))
    assert (1, 1, 0) == (counted().requests, counted().answered_2xx, in_progress(counted()))
