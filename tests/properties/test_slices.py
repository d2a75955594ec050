"""A walk in slices through dictionaries that change meanwhile."""

from collections.abc import Sequence
from typing import Final

import pytest

from governor._units import SECOND, Instant
from governor.config import parse_limit
from governor.policies.clients import _slices
from governor.policies.clients._slices import SliceWalk, slices
from governor.policies.clients.tables import build
from tests.support import tape as st
from tests.support.tape import given

NAMES: Final = st.integers(0, 30)
#: What is added and removed before a slice is taken: the dictionary, the key, and whether it is added.
CHANGES: Final = st.lists(st.tuples(st.integers(0, 2), NAMES, st.booleans()), max_size=3)


@pytest.mark.promise("R24")
@given(st.lists(st.lists(NAMES, unique=True), min_size=3, max_size=3), st.lists(CHANGES, max_size=40), st.integers(1, 6))
def test_each_key_that_stays_is_visited_once_in_a_turn_the_oldest_first_and_few_at_a_time(
    first: Sequence[Sequence[int]], changes: Sequence[Sequence[tuple[int, int, bool]]], slice_of: int
) -> None:
    tables = [{b"%d" % name: None for name in names} for names in first]
    walk, turn, stayed, visited = SliceWalk(), 0, list(tables[0]), list[bytes]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_slices, "MAX_SLICE", slice_of)
        for step, some in enumerate(changes):
            if step:
                for place, name, is_added in some:
                    key = b"%d" % name
                    if is_added:
                        tables[place].setdefault(key)
                    else:
                        tables[place].pop(key, None)
                        stayed = [other for other in stayed if place != turn or other != key]
            if not visited:
                stayed = list(tables[turn])
            found = walk.slice(tables)
            visited += found
            assert (turn, True) == (walk.place, len(found) <= slice_of)
            if walk.at_end:
                assert stayed == [key for key in visited if key in stayed]
                turn, visited = (turn + 1) % 3, []


@given(st.lists(st.integers(0, 20), min_size=1, max_size=5), st.integers(1, 6))
def test_so_many_slices_are_a_round(sizes: Sequence[int], slice_of: int) -> None:
    tables = [[b"%d/%d" % (place, number) for number in range(size)] for place, size in enumerate(sizes)]
    walk = SliceWalk()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_slices, "MAX_SLICE", slice_of)
        found = {key for _ in range(slices(sum(sizes), len(sizes))) for key in walk.slice(tables)}

    assert {key for table in tables for key in table} == found


@pytest.mark.promise("R24")
@pytest.mark.parametrize("limit", ["1/s burst 2", "2 per 2s strict"])
def test_a_client_that_a_full_table_drops_between_two_slices_is_passed_over(limit: str) -> None:
    table, now = build(parse_limit(limit), 8 * 256), Instant(100 * SECOND)

    def spend(name: int) -> None:
        if table.earliest(now, b"%d\0" % name) <= now:
            table.commit(now, b"%d\0" % name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_slices, "MAX_SLICE", 1)
        for name in range(8):
            spend(name)
        first = table.sweep(now)
        for name in range(8, 40):
            spend(name)
        later = Instant(now + 10 * SECOND)
        swept = sum(table.sweep(later) for _ in range(7))

    assert (0, True) == (first, swept < 7)
