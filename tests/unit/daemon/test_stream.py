"""The end of a stream of events, and the release of its listener."""

import re
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
import trio
import trio.testing

from governor import Governor, UsageError
from governor.daemon.feed import Feed
from governor.daemon.host_check import Drain
from governor.daemon.reading import Observer
from governor.daemon.stream import EventStream
from governor.testing import loop_clock

Message = dict[str, Any]


class Wire:
    """One connection: what was sent on it, when, and how its two ends behave."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, Message]] = []
        self.gone = anyio.Event()
        self.blocked_from = float("inf")

    async def send(self, message: Any) -> None:
        if anyio.current_time() >= self.blocked_from:
            await anyio.sleep_forever()
        self.sent.append((anyio.current_time(), message))

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    def statuses(self) -> list[str]:
        """The snapshots and changes that have come as a whole."""
        text = b"".join(message.get("body", b"") for _, message in self.sent).decode()
        return re.findall(r"event: (snapshot|changes)\ndata: .*\n\n", text)

    def is_complete(self) -> bool:
        """Has the response come to its proper end?"""
        return self.sent[-1][1] == {"type": "http.response.body", "body": b"", "more_body": False}


def stream(act: Callable[[Wire, Drain, Governor], Coroutine[Any, Any, None]]) -> tuple[Wire, float, int]:
    """A stream during which something is done, in virtual time: its wire, how long it went on, and who listens afterwards."""
    wire = Wire()

    async def main() -> tuple[float, int]:
        start = anyio.current_time()
        governor = Governor(clock=loop_clock())
        # The hour is one of virtual time, and passes in a moment.
        with anyio.fail_after(3600):
            async with governor, anyio.create_task_group() as tasks:
                drain, feed = Drain(), Feed(Observer(governor))
                listener = feed.join()
                assert listener is not None
                tasks.start_soon(act, wire, drain, governor)
                await EventStream(feed, listener, drain)({"type": "http"}, wire.receive, wire.send)
                took = anyio.current_time() - start
                tasks.cancel_scope.cancel()
        return took, len(feed._listeners)

    took, left = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return wire, took, left


@pytest.mark.promise("R55")
def test_it_ends_properly_when_the_daemon_is_about_to_end() -> None:
    async def act(wire: Wire, drain: Drain, governor: Governor) -> None:
        await anyio.sleep(2.5)
        drain.begun.set()

    wire, took, left = stream(act)

    assert (2.5, True, 0) == (took, wire.is_complete(), left)
    assert ["snapshot", "changes", "changes"] == wire.statuses()


def test_it_ends_when_the_listener_has_gone() -> None:
    async def act(wire: Wire, drain: Drain, governor: Governor) -> None:
        await anyio.sleep(0.25)
        wire.gone.set()

    _, took, left = stream(act)

    assert (0.25, 0) == (took, left)


@pytest.mark.promise("R55")
def test_it_ends_properly_with_the_governor() -> None:
    async def act(wire: Wire, drain: Drain, governor: Governor) -> None:
        await anyio.sleep(0.25)
        assert governor._access.portal is not None
        governor._access.portal.ended = True

    wire, took, left = stream(act)

    assert (1.0, True, 0) == (took, wire.is_complete(), left)


def test_a_listener_that_takes_nothing_for_ten_seconds_is_dropped() -> None:
    async def act(wire: Wire, drain: Drain, governor: Governor) -> None:
        wire.blocked_from = anyio.current_time() + 2.5

    wire, took, left = stream(act)

    # The changes of the third second are not taken; nor, for as long again, is the end.
    assert (3 + 10 + 10, False, 0) == (took, wire.is_complete(), left)
    assert ["snapshot", "changes", "changes"] == wire.statuses()


@pytest.mark.anyio
async def test_a_stream_is_sent_once() -> None:
    wire, drain = Wire(), Drain()
    async with Governor() as governor:
        feed = Feed(Observer(governor))
        listener = feed.join()
        assert listener is not None
        response = EventStream(feed, listener, drain)
        drain.begun.set()
        await response({"type": "http"}, wire.receive, wire.send)
        sent = len(wire.sent)

        with pytest.raises(UsageError, match="create another one with a new listener"):
            await response({"type": "http"}, wire.receive, wire.send)

    assert (sent, 0) == (len(wire.sent), len(feed._listeners))
