"""The tracker knows recent denials and how long a condition has held."""

from governor import Reason
from governor.conditions import Kind
from governor.cooperative import finish
from governor.daemon.tracker import Tracker
from tests.unit.daemon.statuses import NOW, scope, statistics

SCOPE = "outbound:github:get"


def seen(*looks: tuple[float, int], started: tuple[float, ...] = ()) -> dict[str, int]:
    tracker, recent = Tracker(), dict[str, int]()
    for index, (at, denied) in enumerate(looks):
        started_at = started[index] if started else NOW
        scopes = {SCOPE: scope(denied={Reason.RATE_LIMIT: denied} if denied else {})}
        recent = finish(tracker.look(statistics(scopes, now=NOW + at, started_at=started_at))).recent
    return recent


def test_a_single_reading_tells_nothing_of_recent_denials() -> None:
    assert {} == seen((0, 7))


def test_denials_of_the_last_ten_seconds_are_recent() -> None:
    assert {SCOPE: 5} == seen((0, 7), (10, 12))


def test_denials_of_more_than_ten_seconds_ago_are_not_recent() -> None:
    assert {} == seen((0, 7), (1, 12), (11.5, 12))


def test_all_denials_of_a_new_scope_are_recent() -> None:
    assert {SCOPE: 3} == seen((0, 0), (1, 3))


def test_a_restart_starts_over() -> None:
    assert {} == seen((0, 7), (1, 9), started=(NOW, NOW + 1))


def test_a_clock_set_back_starts_over() -> None:
    assert {} == seen((100, 7), (0, 9))


def test_a_reading_that_ends_after_a_younger_one_starts_nothing_over() -> None:
    assert {SCOPE: 5} == seen((0, 7), (9, 12), (8.9, 11))


def test_readings_in_quick_succession_do_not_shorten_the_window() -> None:
    looks = tuple((number / 1000, number) for number in range(200))

    assert {SCOPE: 199} == seen(*looks)


def test_a_condition_keeps_the_moment_when_it_was_first_seen_until_it_ends() -> None:
    tracker = Tracker()
    looks = [
        finish(tracker.look(statistics({SCOPE: scope(Reason.OVERLOADED if wrong else None, 9.0)}, now=NOW + at))).conditions
        for at, wrong in ((0, True), (5, True), (6, False), (7, True))
    ]

    assert [[NOW], [NOW], [], [NOW + 7]] == [[one.since for one in found] for found in looks]
    assert Kind.DENYING is looks[0][0].kind
