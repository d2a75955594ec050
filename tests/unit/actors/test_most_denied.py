"""Those who are denied most often lately: a few of any number, and they fade."""

from collections import Counter
from random import Random

import pytest

from governor._actors.inbound.most_denied import MAX_KEYS, MostDenied
from governor._units import HOUR, MINUTE, Instant
from tests.support import tape as st
from tests.support.tape import given

NOW = Instant(10 * HOUR)


def counted(keys: list[bytes]) -> MostDenied:
    most_denied = MostDenied()
    for key in keys:
        most_denied.count(NOW, key)
    return most_denied


def test_at_first_no_key_is_counted() -> None:
    assert [] == MostDenied().top(NOW)


def test_counts_of_few_keys_are_exact_and_the_largest_is_first() -> None:
    assert [(b"b", 3), (b"a", 2), (b"c", 1)] == counted([b"a", b"b", b"c", b"b", b"a", b"b"]).top(NOW)


@pytest.mark.promise("R24")
def test_of_any_number_only_a_few_are_known() -> None:
    assert MAX_KEYS == len(counted([b"%d" % number for number in range(10_000)]).top(NOW))


@pytest.mark.promise("R24")
def test_a_frequent_key_is_not_lost_among_many_rare_ones() -> None:
    keys = [b"%d" % number for number in range(10_000)] + [b"loud"] * 1_000
    Random(1).shuffle(keys)

    assert b"loud" == counted(keys).top(NOW)[0][0]


#: Drawn first, because long lists are rare otherwise.
LENGTHS = st.sampled_from([5, 50, 400])
KEYS = st.integers(0, 60).map(lambda number: b"%d" % number)


@given(LENGTHS.flatmap(lambda length: st.lists(KEYS, min_size=length, max_size=length)))
def test_no_count_is_too_low_and_every_key_with_a_fair_share_is_known(keys: list[bytes]) -> None:
    known, truth = dict(counted(keys).top(NOW)), Counter(keys)

    assert [] == [key for key, count in known.items() if count < truth[key]]
    assert [] == [key for key, count in truth.items() if count > len(keys) / MAX_KEYS and key not in known]
    assert sum(known.values()) == len(keys)


def test_every_minute_all_counts_are_halved() -> None:
    most_denied = counted([b"a"] * 8 + [b"b"] * 3)
    ages = [most_denied.top(Instant(NOW + minute * MINUTE)) for minute in range(5)]

    assert [[8, 3], [4, 1], [2], [1], []] == [[count for _, count in top] for top in ages]


@pytest.mark.parametrize("minutes", [4, 60, 10**9])
def test_after_a_pause_no_key_is_left(minutes: int) -> None:
    assert [] == counted([b"a"] * 8).top(Instant(NOW + minutes * MINUTE))


def test_a_microsecond_before_the_minute_nothing_has_faded() -> None:
    most_denied = counted([b"a"] * 8)

    assert [(b"a", 8)] == most_denied.top(Instant(NOW + MINUTE - 1))
    assert [(b"a", 4)] == most_denied.top(Instant(NOW + MINUTE))


def test_a_clock_that_goes_back_changes_nothing() -> None:
    most_denied = counted([b"a"] * 8)

    assert [(b"a", 8)] == most_denied.top(Instant(0))
    most_denied.count(Instant(0), b"a")
    assert [(b"a", 9)] == most_denied.top(NOW)
