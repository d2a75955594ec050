"""The provider of the demo judges as it documents, because it is the judge of the governor."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.rules import READ, WRITE, Ban, Gatekeeper, Rules
from governor import ConfigError, Duration, Instant, StrictWindow
from governor._units import SECOND

LATER: Final = Duration(3600 * SECOND)


def rules(*, reads: int = 2, tolerance: int = 2, outage: tuple[Duration, Duration] = (LATER, LATER)) -> Rules:
    return Rules(
        reads=StrictWindow(reads, SECOND),
        writes=StrictWindow(1, SECOND),
        outage_from=outage[0],
        outage_until=outage[1],
        tolerance=tolerance,
        tolerance_window=Duration(10 * SECOND),
        ban=Duration(5 * SECOND),
    )


def statuses(gatekeeper: Gatekeeper, method: str, *arrivals: int) -> list[int]:
    return [gatekeeper.arrive(Instant(at), method)[0] for at in arrivals]


def test_what_is_beyond_the_limit_is_denied_until_the_oldest_is_a_window_old() -> None:
    assert [200, 200, 429, 429, 200] == statuses(Gatekeeper(rules()), READ, 0, 10, 20, SECOND - 1, SECOND)


def test_a_refusal_says_how_long_to_wait() -> None:
    gatekeeper = Gatekeeper(rules(reads=1))
    gatekeeper.arrive(Instant(5), READ)

    assert (429, SECOND - 10) == gatekeeper.arrive(Instant(15), READ)


def test_reads_and_writes_have_limits_of_their_own() -> None:
    gatekeeper = Gatekeeper(rules(reads=1))

    assert [200, 429] == statuses(gatekeeper, READ, 0, 1)
    assert [201, 429] == statuses(gatekeeper, WRITE, 2, 3)


def test_tolerance_ends_with_one_refusal_too_many() -> None:
    gatekeeper = Gatekeeper(rules(reads=1))

    assert [200, 429, 429, 429, 403] == statuses(gatekeeper, READ, 0, 1, 2, 3, 4)


def test_old_refusals_are_forgotten() -> None:
    gatekeeper = Gatekeeper(rules(reads=1))
    statuses(gatekeeper, READ, 0, 1, 2)

    assert [200, 429, 200] == statuses(gatekeeper, READ, 10 * SECOND, 10 * SECOND + 1, 11 * SECOND + 1)


def test_a_ban_is_over_after_its_time_without_a_request() -> None:
    gatekeeper = Gatekeeper(rules(reads=1, tolerance=0))
    banned_at = 1

    assert [200, 429, 200] == statuses(gatekeeper, READ, 0, banned_at, banned_at + 5 * SECOND)
    assert [Ban(Duration(banned_at), Duration(banned_at + 5 * SECOND))] == gatekeeper.log().bans


def test_every_request_during_a_ban_starts_it_anew_whatever_its_method() -> None:
    gatekeeper = Gatekeeper(rules(reads=1, tolerance=0))
    statuses(gatekeeper, READ, 0, 1)

    assert [403] == statuses(gatekeeper, WRITE, 5 * SECOND)
    assert [403, 200] == statuses(gatekeeper, READ, 10 * SECOND - 1, 15 * SECOND - 1)
    assert [Ban(Duration(1), Duration(15 * SECOND - 1))] == gatekeeper.log().bans


def test_the_bad_moment_is_counted_from_the_first_request_and_uses_the_limit_up() -> None:
    gatekeeper = Gatekeeper(rules(outage=(SECOND, Duration(2 * SECOND))))
    start = 77

    assert [200] == statuses(gatekeeper, READ, start)
    assert [503, 503, 429] == statuses(gatekeeper, READ, start + SECOND, start + SECOND + 1, start + SECOND + 2)
    assert [200] == statuses(gatekeeper, READ, start + 2 * SECOND)


def test_the_log_counts_every_request_once() -> None:
    gatekeeper = Gatekeeper(rules())
    statuses(gatekeeper, READ, 0, 1, 2)
    statuses(gatekeeper, WRITE, 3)
    log = gatekeeper.log()

    assert (4, 3, 2, 1) == (log.count(), log.count(200, 201), log.count(200), log.count(429))
    assert 3 == log.span


def test_the_log_of_an_idle_provider_is_empty() -> None:
    log = Gatekeeper(rules()).log()

    assert (0, [], 0) == (log.count(), log.bans, log.span)


def test_a_bad_moment_that_ends_before_it_begins_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="outage_until"):
        rules(outage=(LATER, SECOND))


@given(st.lists(st.integers(0, SECOND), max_size=60), st.integers(1, 5))
def test_no_window_holds_more_than_the_limit_and_nothing_is_denied_that_fits(gaps: list[int], most: int) -> None:
    gatekeeper = Gatekeeper(rules(reads=most, tolerance=1000))
    now = 0
    let_in: list[int] = []
    for gap in gaps:
        now += gap
        fits = sum(at > now - SECOND for at in let_in) < most

        assert (200 if fits else 429) == gatekeeper.arrive(Instant(now), READ)[0]

        let_in += [now] if fits else []
