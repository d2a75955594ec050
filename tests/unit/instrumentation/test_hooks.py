"""Hooks receive every event, and none of them disturbs another one."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from threading import Event as Flag

import pytest

from governor.errors import UsageError
from governor.instrumentation import Announcer, AnyEvent, DegradedLeft, Retried
from governor.instrumentation.hooks import MAX_EVENTS

#: Seconds after which a test that waits for another thread gives up.
PATIENCE = 10.0


def event(number: int) -> Retried:
    return Retried(scope="weather", attempt=number)


def numbers(events: list[AnyEvent]) -> list[int]:
    return [one.attempt for one in events if isinstance(one, Retried)]


@contextmanager
def announcing(*hooks: Callable[[AnyEvent], object]) -> Iterator[Announcer]:
    """An announcer that is started, and closed afterwards: then the hooks have been told of everything."""
    announcer = Announcer(count(1000.0).__next__)
    for hook in hooks:
        announcer.add(hook)
    announcer.start()
    yield announcer
    announcer.close(PATIENCE)


def hook_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "governor hook"}


def test_every_hook_gets_every_event_in_order() -> None:
    first: list[AnyEvent] = []
    second: list[AnyEvent] = []
    with announcing(first.append, second.append) as announcer:
        for number in range(100):
            announcer(event(number))

    assert list(range(100)) == numbers(first) == numbers(second)


def test_events_carry_the_time_of_day_at_which_they_happened() -> None:
    told: list[AnyEvent] = []
    with announcing(told.append) as announcer:
        announcer(DegradedLeft())
        announcer(DegradedLeft())

    assert [DegradedLeft(at=1000.0), DegradedLeft(at=1001.0)] == told


def test_without_hooks_nothing_is_done_and_no_clock_is_read() -> None:
    with announcing() as announcer:
        announcer(event(1))
        listening = bool(announcer.listening)
        announcer.add(lambda _: None)
        announcer(event(2))

    assert not listening
    assert 1001.0 == announcer._wall_clock()


def test_no_thread_is_there_before_the_start_without_hooks_and_after_the_end() -> None:
    others = hook_threads()
    announcer = Announcer(lambda: 0.0)
    remove = announcer.add(lambda _: None)
    before = hook_threads() - others
    announcer.start()
    announcer.add(lambda _: None)
    running = hook_threads() - others
    remove()
    announcer.close(PATIENCE)
    for thread in running:
        thread.join(PATIENCE)
    with announcing():
        without = hook_threads() - others

    assert (set(), 2, set()) == (before, len(running), without)
    assert [False, False] == [thread.is_alive() for thread in running]


def test_a_hook_that_fails_fails_alone_and_gets_the_next_event() -> None:
    told: list[AnyEvent] = []
    attempts: list[AnyEvent] = []

    def fail(event: AnyEvent) -> None:
        attempts.append(event)
        raise ZeroDivisionError

    with announcing(fail, told.append) as announcer:
        for number in range(3):
            announcer(event(number))

    assert [0, 1, 2] == numbers(told) == numbers(attempts)
    assert 3 == announcer.failed


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()], ids=lambda error: type(error).__name__)
def test_a_hook_that_wants_to_end_everything_ends_nothing(error: BaseException) -> None:
    told: list[AnyEvent] = []

    def leave(event: AnyEvent) -> None:
        told.append(event)
        raise error

    with announcing(leave) as announcer:
        announcer(event(1))
        announcer(event(2))

    assert ([1, 2], 2) == (numbers(told), announcer.failed)


def test_of_failures_in_a_row_the_first_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: AnyEvent) -> None:
        if event.at not in (1002.0, 1005.0):
            raise ZeroDivisionError

    with caplog.at_level(logging.ERROR, "governor"), announcing(fail) as announcer:
        for number in range(8):
            announcer(event(number))

    assert 6 == announcer.failed
    assert ["A hook failed on Retried. It will receive the next event."] * 3 == [one.getMessage() for one in caplog.records]


def test_a_logger_that_fails_as_well_changes_nothing() -> None:
    told: list[AnyEvent] = []

    def fail(event: AnyEvent) -> None:
        told.append(event)
        raise ZeroDivisionError

    def deny(_: logging.LogRecord) -> bool:
        raise ValueError

    logger = logging.getLogger("governor")
    logger.addFilter(deny)
    try:
        with announcing(fail) as announcer:
            announcer(event(1))
            announcer(event(2))
    finally:
        logger.removeFilter(deny)

    assert [1, 2] == numbers(told)


def test_a_hook_that_never_comes_back_keeps_neither_the_others_nor_the_end_waiting() -> None:
    told: list[AnyEvent] = []
    everything = Flag()
    for_ever = Flag()

    def tell(event: AnyEvent) -> None:
        told.append(event)
        if len(told) == 3:
            everything.set()

    announcer = Announcer(lambda: 0.0)
    announcer.add(lambda _: for_ever.wait(PATIENCE))
    announcer.add(tell)
    announcer.start()
    for number in range(3):
        announcer(event(number))
    in_time = everything.wait(PATIENCE)
    announcer.close(timeout=0.01)
    still_there = not for_ever.is_set()
    for_ever.set()

    assert (True, True, [0, 1, 2]) == (in_time, still_there, numbers(told))


def test_a_slow_hook_misses_what_does_not_fit_and_that_is_counted() -> None:
    slow: list[AnyEvent] = []
    quick: list[AnyEvent] = []
    begun, go_on = Flag(), Flag()

    def wait(event: AnyEvent) -> None:
        begun.set()
        go_on.wait(PATIENCE)
        slow.append(event)

    with announcing(wait) as announcer:
        announcer(event(-1))
        begun.wait(PATIENCE)
        for number in range(MAX_EVENTS):
            announcer(event(number))
        announcer.add(quick.append)
        for number in range(MAX_EVENTS, MAX_EVENTS + 5):
            announcer(event(number))
        dropped = announcer.dropped
        go_on.set()

    assert 5 == dropped
    assert list(range(-1, MAX_EVENTS)) == numbers(slow)
    assert list(range(MAX_EVENTS, MAX_EVENTS + 5)) == numbers(quick)


def test_a_hook_that_is_taken_out_gets_nothing_that_happens_afterwards() -> None:
    told: list[AnyEvent] = []
    first = Flag()

    def tell(event: AnyEvent) -> None:
        told.append(event)
        first.set()

    with announcing() as announcer:
        remove = announcer.add(tell)
        announcer(event(1))
        first.wait(PATIENCE)
        remove()
        remove()
        announcer(event(2))
        listening = bool(announcer.listening)

    assert ([1], False) == (numbers(told), listening)


def test_the_thread_of_a_hook_that_is_taken_out_ends() -> None:
    others = hook_threads()
    with announcing() as announcer:
        remove = announcer.add(lambda _: None)
        (thread,) = hook_threads() - others
        announcer.add(lambda _: None)
        remove()
        thread.join(PATIENCE)
        still_there = thread.is_alive()

    assert not still_there


def test_a_hook_that_was_added_twice_is_taken_out_once() -> None:
    told: list[AnyEvent] = []
    with announcing() as announcer:
        remove = announcer.add(told.append)
        announcer.add(told.append)
        remove()
        announcer(event(1))

    assert [1] == numbers(told)


def test_a_hook_may_take_itself_out_add_others_and_announce() -> None:
    first: list[AnyEvent] = []
    second: list[AnyEvent] = []
    done = Flag()

    def hand_over(event: AnyEvent) -> None:
        first.append(event)
        announcer.add(take_over)
        remove()
        announcer(Retried(scope="weather", attempt=2))

    def take_over(event: AnyEvent) -> None:
        second.append(event)
        done.set()

    with announcing() as announcer:
        remove = announcer.add(hand_over)
        announcer(event(1))
        done.wait(PATIENCE)

    assert ([1], [2]) == (numbers(first), numbers(second))


def test_a_hook_that_causes_the_events_it_gets_does_not_keep_the_end_waiting() -> None:
    told: list[AnyEvent] = []

    def repeat(event: AnyEvent) -> None:
        told.append(event)
        announcer(event)

    with announcing(repeat) as announcer:
        announcer(event(1))

    assert told
    assert not announcer.listening


def test_a_hook_may_close_the_announcer_and_is_not_waited_for() -> None:
    closed = Flag()

    def close(event: AnyEvent) -> None:
        announcer.close(PATIENCE * 10)
        closed.set()

    announcer = Announcer(lambda: 0.0)
    announcer.add(close)
    announcer.start()
    announcer(event(1))

    assert closed.wait(PATIENCE)


def test_after_the_end_a_hook_is_a_mistake() -> None:
    with announcing() as announcer:
        pass

    with pytest.raises(UsageError, match="has been closed"):
        announcer.add(lambda _: None)


def test_hooks_that_are_added_early_get_what_happens_after_the_start() -> None:
    told: list[AnyEvent] = []
    announcer = Announcer(lambda: 0.0)
    announcer.add(told.append)
    announcer.start()
    announcer(event(1))
    announcer.close(PATIENCE)

    assert [1] == numbers(told)


def test_a_pause_is_announced_when_there_is_nothing_more_and_the_end_after_everything() -> None:
    told: list[object] = []
    paused = Flag()

    def pause() -> None:
        told.append("pause")
        paused.set()

    announcer = Announcer(lambda: 0.0)
    announcer.add(lambda event: told.append("event"), pause=pause, last=lambda: told.append("last"))
    announcer(event(1))
    announcer(event(2))
    announcer.start()
    paused.wait(PATIENCE)
    announcer.close(PATIENCE)

    assert ["event", "event", "pause", "last"] == told


def test_the_end_comes_even_if_the_hook_and_its_pauses_fail() -> None:
    told: list[str] = []

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    announcer = Announcer(lambda: 0.0)
    announcer.add(fail, pause=fail, last=lambda: told.append("last"))
    announcer.start()
    announcer(event(1))
    announcer.close(PATIENCE)

    assert ["last"] == told
    assert announcer.failed >= 1


def test_threads_that_add_and_take_out_at_the_same_time_lose_no_hook() -> None:
    told: list[AnyEvent] = []
    start = threading.Barrier(8)

    def come_and_go() -> None:
        start.wait(PATIENCE)
        for _ in range(25):
            announcer.add(lambda _: None)()

    with announcing() as announcer:
        threads = [threading.Thread(target=come_and_go) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        announcer.add(told.append)
        announcer(event(1))

    assert [1] == numbers(told)
