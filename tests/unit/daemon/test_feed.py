"""What a listener receives, and what happens at the bounds."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

import anyio
import msgspec
import pytest
import trio
import trio.testing

from governor import Config, Governor, Permit, Statistics
from governor.daemon.documents import Status
from governor.daemon.feed import KEPT, MAX_EVENTS, MAX_LISTENERS, MAX_READINGS, PERIOD, Feed, Listener, Message
from governor.daemon.reading import Observer, Unreadable, read_statistics
from governor.testing import ManualClock, loop_clock
from tests.support.merging import heard

pytestmark = pytest.mark.anyio

CONFIG: Final = Config.from_mapping({"outbound": {"weather": {"breaker": {"failures": 1}}}})


def parsed(message: Message) -> tuple[str, bytes]:
    """The kind of a message and its data. An event comes together with its entry in the timeline."""
    first, _, rest = b"".join(message).decode().partition("\n\n")
    assert not rest or rest.startswith("event: timeline\n")
    kind, data = first.split("\n")
    return kind.removeprefix("event: "), data.removeprefix("data: ").encode()


async def next_of(kind: str, messages: AsyncGenerator[Message]) -> bytes:
    """The data of the next message of this kind."""
    async for message in messages:
        if message[0].startswith(b"event: %b\n" % kind.encode()):
            return parsed(message)[1]
    raise AssertionError(f"the feed has ended without {kind}")


def joined(feed: Feed) -> Listener:
    listener = feed.join()
    assert listener is not None
    return listener


async def test_a_listener_gets_when_to_come_back_and_then_a_snapshot() -> None:
    async with Governor(CONFIG, clock=ManualClock()) as governor:
        feed = Feed(Observer(governor))
        async with aclosing(feed.messages(joined(feed))) as messages:
            first, second = await anext(messages), await anext(messages)

    kind, data = parsed(second)
    assert ([b"retry: 1000\n\n"], "snapshot") == (first, kind)
    assert "success" == msgspec.json.decode(data, type=Status).status


async def test_a_listener_hears_of_a_breaker_that_opens_before_the_next_changes_show_it() -> None:
    async with Governor(CONFIG, clock=ManualClock()) as governor:
        feed = Feed(Observer(governor))
        async with aclosing(feed.messages(joined(feed))) as messages:
            await next_of("snapshot", messages)
            permit = governor.try_permit("weather", "GET")
            assert isinstance(permit, Permit)
            permit.record(status=500)
            event = msgspec.json.decode(await next_of("breaker_changed", messages))
            status = msgspec.json.decode(await next_of("changes", messages))

    assert ("weather:get", "closed", "open", 60.0) == (event["scope"], event["before"], event["after"], event["probes_in"])
    assert "open" == status["scopes"]["outbound:weather:get"]["circuit_breaker"]["state"]


async def test_a_snapshot_is_not_older_than_who_asks_for_it() -> None:
    async with Governor(CONFIG, clock=ManualClock()) as governor:
        feed = Feed(Observer(governor))
        async with aclosing(feed.messages(joined(feed))) as early:
            await next_of("snapshot", early)
            governor.try_permit("weather", "GET")
            async with aclosing(feed.messages(joined(feed))) as late:
                status = msgspec.json.decode(await next_of("snapshot", late), type=Status)

    assert ["weather:get"] == status.outbound_scopes


def test_the_status_is_sent_once_a_second_and_read_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[float] = []
    times: dict[int, list[float]] = {0: [], 1: [], 2: []}

    async def counted(governor: Governor) -> Statistics:
        reads.append(anyio.current_time())
        return await read_statistics(governor)

    async def listen(feed: Feed, number: int) -> None:
        async with aclosing(feed.messages(joined(feed))) as messages:
            for kind in ["snapshot", *["changes"] * 9]:
                await next_of(kind, messages)
                times[number].append(anyio.current_time())

    async def main() -> None:
        async with Governor(CONFIG, clock=loop_clock()) as governor, anyio.create_task_group() as tasks:
            feed = Feed(Observer(governor))
            for number in times:
                tasks.start_soon(listen, feed, number)

    monkeypatch.setattr("governor.daemon.reading.read_statistics", counted)
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    start = reads[0]
    assert [[start + second * PERIOD for second in range(10)]] * 3 == list(times.values())
    assert 10 == len(reads)


@pytest.mark.promise("R33")
@pytest.mark.parametrize(("missed", "kind"), [(0, "changes"), (MAX_READINGS - 2, "changes"), (MAX_READINGS - 1, "snapshot")])
def test_a_late_listener_gets_the_changes_since_its_reading_and_a_later_one_the_whole_status(missed: int, kind: str) -> None:
    async def next_status(messages: AsyncGenerator[Message], status: Any = None) -> tuple[str, Any]:
        while len(message := await anext(messages)) == 1:
            pass
        kind, data = parsed(message)
        return kind, heard(status, kind, msgspec.json.decode(data))

    async def main() -> tuple[Any, Any, str]:
        async with Governor(CONFIG, clock=loop_clock()) as governor:
            feed = Feed(Observer(governor))
            async with aclosing(feed.messages(joined(feed))) as late, aclosing(feed.messages(joined(feed))) as early:
                (_, known), (_, before) = await next_status(early), await next_status(late)
                for number in range(1 + missed):
                    governor.try_permit(f"provider{number}")
                    _, known = await next_status(early, known)
                kind, found = await next_status(late, before)
        return known, found, kind

    known, found, told = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    assert (known, kind) == (found, told)
    assert 1 + missed == len(known["outbound_scopes"])


async def test_events_that_do_not_fit_are_dropped_and_said_to_be_missed() -> None:
    listener = Listener(0.0)
    for number in range(MAX_EVENTS + 44):
        listener.offer(b"%d" % number)
    events = listener.take()

    assert [b"%d" % number for number in range(MAX_EVENTS)] == events[:MAX_EVENTS]
    assert [b'event: missed\ndata: {"events":44}\n\n'] == events[MAX_EVENTS:]
    assert [] == listener.take()


@pytest.mark.parametrize(("listened", "taken"), [(KEPT - 0.001, False), (KEPT, True)])
def test_one_more_takes_the_place_of_the_one_that_has_listened_longest(listened: float, taken: bool) -> None:
    async def main() -> tuple[bool, list[int]]:
        async with Governor(CONFIG, clock=loop_clock()) as governor:
            feed = Feed(Observer(governor))
            first = [joined(feed)]
            await trio.sleep(listened)
            listeners = first + [joined(feed) for _ in range(MAX_LISTENERS - 1)]
            one_more = feed.join()
            return one_more is not None, [number for number, one in enumerate(listeners) if one.ended.is_set()]

    found = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    assert (taken, [0] if taken else []) == found


async def test_one_listener_too_many_is_not_taken_until_another_leaves() -> None:
    async with Governor(CONFIG, clock=ManualClock()) as governor:
        feed = Feed(Observer(governor))
        listeners = [joined(feed) for _ in range(MAX_LISTENERS)]
        rejected = feed.join()
        feed.leave(listeners[0])

        assert rejected is None
        joined(feed)


async def test_the_governor_announces_nothing_when_nothing_listens() -> None:
    async with Governor(CONFIG, clock=ManualClock()) as governor:
        feed = Feed(Observer(governor))
        states = [bool(governor._listeners.announcer.listening)]
        first, second = joined(feed), joined(feed)
        states.append(bool(governor._listeners.announcer.listening))
        feed.leave(first)
        states.append(bool(governor._listeners.announcer.listening))
        feed.leave(second)
        states.append(bool(governor._listeners.announcer.listening))

    assert [False, True, True, False] == states


async def test_the_feed_ends_with_the_governor() -> None:
    async with Governor(CONFIG, clock=ManualClock()) as governor:
        feed = Feed(Observer(governor))
        listener = joined(feed)
    async with aclosing(feed.messages(listener)) as messages:
        await anext(messages)
        with pytest.raises(Unreadable, match="does not run"):
            await anext(messages)
