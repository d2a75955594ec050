"""Laws of the rate that a server states: believed once it counts the calls, and that of the slowest limit."""

import pytest

from governor._units import SECOND, Duration, Instant
from governor.policies.learning.stated_rate import MAX_STATED, StatedRate
from tests.support import tape as st
from tests.support.tape import given

pytestmark = pytest.mark.promise("R15")

#: Of each answer: which limit it states, to which call, what remains, and for how many seconds.
ANSWERS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 20), st.integers(0, 5), st.integers(1, 60)), min_size=1, max_size=30
)
AMOUNTS = (10, 60, 5000)


@given(ANSWERS)
def test_it_is_that_of_the_slowest_limit_over_its_longest_span_once_each_has_counted_a_later_call(
    answers: list[tuple[int, int, int, int]],
) -> None:
    stated = StatedRate()
    latest, counted, longest = dict[int, tuple[int, int]](), set[int](), dict[int, int]()
    for limit, call, left, seconds in answers:
        said = (f"limit {limit}", AMOUNTS[limit])
        rate = stated.hear(Instant(call), said, left, Duration(seconds * SECOND))
        before = latest.get(limit, (call, left))
        if call > before[0] and left < before[1]:
            counted.add(limit)
        if limit not in latest or call > before[0]:
            latest[limit] = (call, left)
        longest[limit] = max(longest.get(limit, 0), seconds)
        slowest = min(AMOUNTS[one] / span for one, span in longest.items())
        assert rate == pytest.approx(slowest if counted == set(longest) else 0.0)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=20))
def test_a_number_that_does_not_fall_is_not_believed(gaps: list[int]) -> None:
    stated, at = StatedRate(), Instant(0)
    for gap in gaps:
        at = Instant(at + gap)
        assert stated.hear(at, (None, 100), 90, Duration(SECOND)) == 0.0


def test_a_server_that_states_ever_other_limits_states_no_rate_and_takes_no_memory() -> None:
    stated = StatedRate()
    for number in range(1000):
        stated.hear(Instant(0), (None, 1 + number), 1, Duration(SECOND))
        rate = stated.hear(Instant(1), (None, 1 + number), 0, Duration(SECOND))
        assert (rate > 0) == (number < MAX_STATED)

    assert len(stated._limits) <= MAX_STATED + 1
