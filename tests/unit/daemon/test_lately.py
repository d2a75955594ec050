"""Is it known how often each scope has refused in the last ten seconds, and no longer ago?"""

from governor.daemon.lately import Lately
from tests.unit.daemon.statuses import NOW, scope, status

SCOPE = "outbound:github:get"


def seen(*looks: tuple[float, int], started: tuple[float, ...] = ()) -> dict[str, int]:
    lately = Lately()
    for index, (at, refused) in enumerate(looks):
        started_at = started[index] if started else NOW
        scopes = {SCOPE: scope(denied={"rate_limit_exceeded": refused} if refused else {})}
        lately.add(status(scopes, now=NOW + at, started_at=started_at))
    return dict(lately(SCOPE))


def test_nothing_is_known_after_one_look() -> None:
    assert {} == seen((0, 7))


def test_refusals_since_the_look_ten_seconds_ago_are_recent() -> None:
    assert {"rate_limit_exceeded": 5} == seen((0, 7), (10, 12))


def test_refusals_of_more_than_ten_seconds_ago_are_not() -> None:
    assert {} == seen((0, 7), (1, 12), (11.5, 12))


def test_what_a_scope_has_refused_since_it_came_to_life_is_recent() -> None:
    assert {"rate_limit_exceeded": 3} == seen((0, 0), (1, 3))


def test_a_daemon_that_was_started_anew_counts_anew() -> None:
    assert {} == seen((0, 7), (1, 9), started=(NOW, NOW + 1))


def test_a_clock_that_was_set_back_begins_anew() -> None:
    assert {} == seen((100, 7), (0, 9))


def test_a_scope_that_nobody_has_seen_has_refused_nothing() -> None:
    assert {} == Lately()(SCOPE)


def test_looks_that_follow_each_other_quickly_are_bounded() -> None:
    looks = tuple((number / 1000, number) for number in range(1, 200))

    assert {"rate_limit_exceeded": 31} == seen(*looks)
