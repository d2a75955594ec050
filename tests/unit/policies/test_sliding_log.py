"""Sliding log: examples and exact boundaries."""

import pytest

from governor._units import MINUTE, SECOND, Duration, Instant
from governor.policies._sliding_log import SLOTS, SlidingLog

T0 = Instant(1_000 * SECOND)
#: With this window a merged slot spans exactly one second.
LONG = Duration(SLOTS * SECOND)


def at(seconds: float) -> Instant:
    return Instant(T0 + round(seconds * SECOND))


def exact_log() -> SlidingLog:
    return SlidingLog(MINUTE, SLOTS)


def merging_log() -> SlidingLog:
    return SlidingLog(LONG, SLOTS + 1)


def dates(log: SlidingLog) -> list[tuple[int, int]]:
    return list(log.state().slots)


def test_a_unit_leaves_exactly_one_window_after_its_date() -> None:
    log = exact_log()
    log.add(T0, 3)

    assert (3, 0) == (log.used(Instant(T0 + MINUTE - 1)), log.used(Instant(T0 + MINUTE)))


def test_looking_changes_nothing() -> None:
    log = exact_log()
    log.add(T0, 3)
    before = log.state()

    log.used(at(1_000))
    log.freed(2)

    assert (before, 3) == (log.state(), log.total)


def test_the_oldest_units_are_freed_first() -> None:
    log = exact_log()
    log.add(at(0), 2)
    log.add(at(1), 1)

    assert [at(60), at(60), at(61)] == [log.freed(count) for count in (1, 2, 3)]


def test_no_policy_asks_when_more_will_be_free_than_the_log_holds() -> None:
    log = exact_log()
    log.add(T0, 2)

    with pytest.raises(AssertionError):
        log.freed(3)


def test_units_of_the_same_instant_share_a_slot() -> None:
    log = exact_log()
    for _ in range(5):
        log.add(T0, 1)

    assert [(T0, 5)] == dates(log)


def test_what_has_left_is_forgotten_when_something_is_added() -> None:
    log = exact_log()
    log.add(at(0), 1)
    log.add(at(60), 1)

    assert [(at(60), 1)] == dates(log)
    assert log.total == 1


def test_up_to_as_many_units_as_there_are_slots_each_keeps_its_own_date() -> None:
    log = exact_log()
    for number in range(10):
        log.add(Instant(T0 + number), 1)

    assert [(T0 + number, 1) for number in range(10)] == dates(log)


def test_beyond_that_uses_close_in_time_are_dated_by_the_newest() -> None:
    log = merging_log()
    log.add(at(0), 1)
    log.add(at(0.4), 1)
    log.add(Instant(at(1) - 1), 1)
    log.add(at(1), 1)

    assert [(at(1) - 1, 3), (at(1), 1)] == dates(log)


def test_a_merged_window_has_a_bounded_number_of_slots() -> None:
    log = merging_log()
    for number in range(20_000):
        log.add(at(number / 2), 1)

    # Give or take one: the oldest slot leaves when the next one is opened.
    assert SLOTS + 1 >= len(dates(log))


def test_a_use_in_the_past_is_dated_by_the_latest_instant_seen() -> None:
    log = exact_log()
    log.add(at(10), 1)
    log.add(at(5), 1)

    assert [(at(10), 2)] == dates(log)


def test_a_use_in_the_past_of_an_empty_log_is_dated_as_well() -> None:
    log = exact_log()
    log.add(at(0), 1)
    log.forget(at(100))

    log.add(Instant(T0 - 1), 1)

    assert 1 == log.used(T0)


def test_units_are_taken_back_from_where_they_are_dated() -> None:
    log = exact_log()
    for second in range(3):
        log.add(at(second), 2)

    log.remove(at(1), 1)

    assert [(at(0), 2), (at(1), 1), (at(2), 2)] == dates(log)
    assert log.total == 5


def test_units_are_taken_back_from_a_merged_slot() -> None:
    log = merging_log()
    for second in (0.0, 0.5, 1.5):
        log.add(at(second), 1)

    log.remove(at(0), 1)

    assert [(at(0.5), 1), (at(1.5), 1)] == dates(log)


def test_units_that_have_left_are_not_taken_from_others() -> None:
    log = exact_log()
    log.add(at(0), 1)
    log.add(at(60), 1)

    log.remove(at(0), 1)

    assert [(at(60), 1)] == dates(log)


def test_units_that_have_left_a_merged_log_are_not_taken_from_the_next_slot() -> None:
    log = merging_log()
    log.add(at(0), 1)
    log.add(at(0.9), 1)
    log.add(at(1), 1)
    log.forget(Instant(at(0.9) + LONG))

    log.remove(at(0.9), 1)

    assert [(at(1), 1)] == dates(log)


def test_units_that_had_left_before_a_restart_are_not_taken_from_others() -> None:
    log, other = exact_log(), exact_log()
    log.add(at(0), 1)
    log.add(at(60), 1)
    other.restore(log.state())

    other.remove(at(0), 1)

    assert [(at(60), 1)] == dates(other)


def test_uses_that_are_taken_back_do_not_pile_up() -> None:
    log = exact_log()
    log.add(T0, 1)
    for number in range(1, 1_000):
        log.add(Instant(T0 + number), 1)
        log.remove(Instant(T0 + number), 1)

    assert 1 == log.total
    assert 3 >= len(dates(log))


def test_uses_that_are_taken_back_do_not_pile_up_between_others() -> None:
    log = exact_log()
    for number in range(0, 3_000, 3):
        for further in range(3):
            log.add(Instant(T0 + number + further), 1)
        log.remove(Instant(T0 + number), 1)
        log.remove(Instant(T0 + number + 1), 1)

    assert [(T0 + number + 2, 1) for number in range(0, 3_000, 3)] == dates(log)


def test_a_restored_log_goes_on_where_the_other_one_stood() -> None:
    log, other = exact_log(), exact_log()
    for second in (0, 1, 1, 5):
        log.add(at(second), 1)

    other.restore(log.state())
    for either in (log, other):
        either.add(at(4), 1)
        either.add(at(61), 2)

    assert log.state() == other.state()
    assert log.total == other.total == 4
