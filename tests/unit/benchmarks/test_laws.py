"""The judges of the stress notice every excess, and nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.laws import Admission, Span, admitted_while_closed, excess_over_bucket, most_at_once, most_in_window

admissions = st.lists(
    st.builds(
        lambda before, width, cost: Admission(before, before + width, cost),
        st.integers(0, 30),
        st.sampled_from([0, 1, 2, 20]),
        st.integers(1, 3),
    ),
    max_size=12,
)


def in_window(found: list[Admission], begin: int, end: int) -> int:
    return sum(one.cost for one in found if one.before >= begin and one.after <= end)


@given(found=admissions, amount=st.integers(1, 3), per=st.integers(1, 4), burst=st.integers(1, 5))
def test_the_excess_over_a_bucket_is_that_of_the_worst_window(
    found: list[Admission], amount: int, per: int, burst: int
) -> None:
    windows = [(first.before, last.after) for first in found for last in found if in_window(found, first.before, last.after)]
    excesses = [(in_window(found, begin, end) - burst) * per - amount * (end - begin) for begin, end in windows]

    assert max([-burst * per, *excesses]) == excess_over_bucket(found, amount=amount, per=per, burst=burst)


@given(found=admissions, width=st.integers(1, 20))
def test_the_most_in_a_window_is_what_lies_in_the_fullest(found: list[Admission], width: int) -> None:
    windows = [in_window(found, begin, begin + width - 1) for begin in range(31)]

    assert max(windows) == most_in_window(found, width)


def test_those_that_meet_are_there_at_once_and_those_that_follow_are_not() -> None:
    assert 2 == most_at_once([Span(0, 5), Span(4, 9), Span(5, 7), Span(7, 8)])


def test_an_admission_counts_as_while_closed_only_if_it_was_for_all_its_time() -> None:
    found = [Admission(3, 4), Admission(5, 8), Admission(6, 7), Admission(6, 12)]

    assert [Admission(5, 8), Admission(6, 7)] == admitted_while_closed(found, [Span(5, 10), Span(5, 9), Span(20, 10)])
