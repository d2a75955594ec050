"""The contract of every HTTP adapter for what is read of a request and of its answer without changing either."""

import gzip
import sys
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from governor_client._observed import Observation, Observer
from governor_client._operation import Operation
from governor_client._request import Request
from tests.contracts.adapters import Driver
from tests.contracts.conftest import Opened, counted
from tests.support.provider import End, Provider, Reply, status, stream

BODY = b'{"usage": {"total_tokens": 7}}' * 100
ZIPPED = gzip.compress(BODY)


#: More than is decoded at a time, in one run that compresses well.
MANY = 20_000_000


class Seen:
    """Collects what an observer is shown."""

    def __init__(self) -> None:
        self.body = b""
        self.ends: list[bool] = []

    def feed(self, data: bytes) -> None:
        assert not self.ends
        self.body += data

    def end(self, *, whole: bool) -> None:
        self.ends.append(whole)


@pytest.fixture
def requests() -> list[Request]:
    """The requests of all operations, in order."""
    return []


@pytest.fixture
def seen(requests: list[Request], monkeypatch: pytest.MonkeyPatch) -> list[Seen]:
    """What is shown of each answer, in order."""
    every: list[Seen] = []

    def begin(status: int, headers: object) -> Observer:
        every.append(Seen())
        return every[-1]

    ask: Callable[[Operation[Any]], Any] = Operation.ask

    def observing(operation: Operation[Any]) -> Any:
        requests.append(operation.request)
        operation.observing = (begin,)
        return ask(operation)

    monkeypatch.setattr(Operation, "ask", observing)
    return every


def test_the_port_the_query_and_the_body_of_a_request_are_read_as_they_are_sent(
    driver: Driver, provider: Provider, opened: Opened, seen: list[Seen], requests: list[Request]
) -> None:
    provider.at("*", status(200, b"pong"))
    direct, proxied = opened(), opened(proxy=provider.url)

    direct.call("POST", f"{provider.url}/?a=1&b=x%20y", content=b'{"model": "m"}')
    proxied.call("GET", "http://api.example/?a=1&b=x%20y")
    proxied.call("GET", "http://api.example:8001/?a")
    proxied.call("POST", "http://api.example:80/", content=driver.body(b"once"))

    read = [(request.port, request.query, request.body) for request in requests]
    assert [
        (provider.port, "a=1&b=x%20y", b'{"model": "m"}'),
        (None, "a=1&b=x%20y", None),
        (8001, "a", None),
        (None, "", None),
    ] == read


def test_a_body_that_is_read_whole_is_shown_decoded(provider: Provider, opened: Opened, seen: list[Seen]) -> None:
    headers = {"content-encoding": "gzip", "transfer-encoding": "chunked"}
    reply = Reply(headers=headers, pieces=(ZIPPED[:40], ZIPPED[40:41], ZIPPED[41:]))

    assert BODY == opened().get(provider.at("/", reply)).body

    assert [(BODY, [True])] == [(each.body, each.ends) for each in seen]


def test_an_answer_that_is_retried_is_shown_whole_as_well(provider: Provider, opened: Opened, seen: list[Seen]) -> None:
    url = provider.at("/", status(503, ZIPPED, content_encoding="gzip"), status(200, b"pong"))

    assert 200 == opened().get(url).status

    assert [(BODY, [True]), (b"pong", [True])] == [(each.body, each.ends) for each in seen]


def test_a_stream_is_shown_as_it_passes_and_ends_with_it(provider: Provider, opened: Opened, seen: list[Seen]) -> None:
    session = opened()
    answer = session.begin(provider.at("/", stream(b"po", b"ng")))
    session.drain(answer)
    session.leave(answer)

    assert [(b"pong", [True])] == [(each.body, each.ends) for each in seen]


@pytest.mark.parametrize("end", [End.SILENT, End.BROKEN])
def test_a_stream_that_breaks_off_or_is_abandoned_is_not_whole(
    driver: Driver, end: End, provider: Provider, opened: Opened, seen: list[Seen]
) -> None:
    session = opened()
    answer = session.begin(provider.at("/", stream(b"po", end=end)))
    if end is End.BROKEN:
        with pytest.raises(driver.family):
            session.drain(answer)
    else:
        session.piece(answer)
    session.leave(answer)
    session.settle()
    counted(session.governor)

    assert [(b"po", [False])] == [(each.body, each.ends) for each in seen]


class Parts(list[bytes]):
    """The parts of a body that can be decoded."""

    feed = list[bytes].append

    def end(self, *, whole: bool) -> None:
        assert whole


def _raw_deflate(body: bytes) -> bytes:
    return zlib.compress(body, 1)[2:-4]


@pytest.mark.parametrize(
    ("encoding", "module", "fast", "missing"),
    [
        ("gzip", "gzip", [1], None),
        ("deflate", "zlib", [1], None),
        ("deflate", __name__, [], None),
        ("br", "brotli", [0, 1], None),  # The mode comes first.
        ("zstd", "backports.zstd", [], None),
        ("zstd", "zstandard", [], "backports.zstd"),
    ],
)
def test_a_body_is_decoded_in_parts_of_bounded_size(
    encoding: str, module: str, fast: list[int], missing: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    compress = _raw_deflate if module == __name__ else pytest.importorskip(module).compress
    if missing is not None:
        monkeypatch.setitem(sys.modules, missing, None)
        monkeypatch.setitem(sys.modules, "compression.zstd", None)
    parts = Parts()
    observation, packed = Observation([parts], encoding), compress(BODY + bytes(MANY), *fast)
    for at in (*range(100), slice(100, None)):
        observation.saw(packed[at] if isinstance(at, slice) else packed[at : at + 1])
    observation.end(whole=True)

    assert BODY + bytes(MANY) == b"".join(parts)
    assert max(map(len, parts)) < MANY / 2
