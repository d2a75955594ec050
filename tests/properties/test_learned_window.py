"""Laws of the learned window, beside a list of all calls."""

from bisect import bisect_right
from statistics import median_low

from governor._units import MINUTE, SECOND, Duration, Instant
from governor.policies.learning.learned_window import ACCEPTED_AFTER, DISPROVED, SHORT, SPANS, LearnedWindow
from tests.support import tape as st
from tests.support.tape import given

#: A gap before each call, so that calls have instants of their own.
GAPS = st.lists(st.integers(10_000, 4_000_000), min_size=1, max_size=80)

#: By how much a call is granted later than the span says: calls overtake each other, and a log has so many slots.
LATE = SECOND // 2 + MINUTE // 4096 + 1


def inside(calls: list[Instant], now: Instant, span: Duration) -> int:
    return len(calls) - bisect_right(calls, now - span)


def fixed_minute(calls: list[Instant], now: Instant, wait: Duration) -> int:
    """The calls since a window of a minute began, before which no window has held more: a round number in their middle."""
    begins = [now // SECOND - age for age in range(60)] if wait >= MINUTE else [(now + wait - MINUTE) // SECOND]
    held = [[sum(0 <= call // SECOND - begin + 60 * back < 60 for call in calls) for back in range(5)] for begin in begins]
    limits = [counts[0] for counts in held if max(counts) == counts[0]] or [len(calls)]
    # Fewer than 40 are not rounded, and there are at most 80 calls.
    middle = median_low(limits)
    return max(min(limits), min(middle if middle < 40 else (middle + 4) // 10 * 10, max(limits)))


@given(GAPS, st.sampled_from([None, 1, 2, 3, 7, 20, 59, 200]), st.booleans(), st.data())
def test_what_was_accepted_in_the_shortest_span_that_explains_a_denial_is_never_passed_and_always_granted(
    gaps: list[int], seconds: int | None, again: bool, data: st.DataObject
) -> None:
    window, calls, now = LearnedWindow(), list[Instant](), Instant(0)
    for gap in gaps:
        now = Instant(now + gap)
        window.add(now, 1)
        calls.append(now)
    for denied in data.draw(st.sets(st.sampled_from(calls), max_size=3)):
        # The headers and the body of an answer say it both.
        window.remove(denied)
        window.remove(denied)
        calls.remove(denied)
    wait = None if seconds is None else Duration(seconds * SECOND)
    rate = window.deny(now, wait, again=again)
    # Of a span with a limit, seven are more than a minute.
    too_few = inside(calls, now, MINUTE) > 7 * inside(calls, now, SPANS[0])
    span = MINUTE if again or (wait or 0) > SPANS[0] or too_few else SPANS[0]
    # Where every call was denied, nothing shows what is granted.
    known = (again or (wait is not None and wait > SHORT)) and inside(calls, now, span) > 0
    used = inside(calls, now, span)
    if span == MINUTE and wait is not None and wait > SPANS[0]:
        used = min(used, fixed_minute(calls, now, wait))
    most = max(used, span // (10 * SECOND))

    assert rate == (most * SECOND / span if known else None)
    for _ in range(2 * most if known else 0):
        when = window.earliest(now, 1)
        assert when == now or inside(calls, Instant(when - 1 - LATE), span) >= most, "not later than it must"
        now = when
        window.add(now, 1)
        calls.append(now)
        assert inside(calls, now, span) <= most


@given(GAPS, st.integers(0, 60), st.data())
def test_a_call_that_is_not_denied_for_some_time_has_been_accepted(gaps: list[int], back: int, data: st.DataObject) -> None:
    window, calls, now = LearnedWindow(), list[Instant](), Instant(0)
    for gap in gaps:
        now = Instant(now + gap)
        window.add(now, 1)
        calls.append(now)
    after = Instant(now - back * SECOND)
    for call in [call for call in calls if call > after and data.draw(st.booleans())]:
        window.remove(call)
        calls.remove(call)

    recent = [call for call in calls if call > max(after, now - MINUTE) and call <= now - ACCEPTED_AFTER]
    assert window.has_accepted(after, now, now, succeeded=False) == bool(recent)


@given(st.integers(12, 200), st.integers(0, 30), st.sampled_from([0.5, 0.84, 0.86, 1.0]), st.integers(1, 8), st.integers(0, 2))
def test_two_denials_with_as_many_calls_before_each_show_the_span_if_calls_have_become_slower(
    calls: int, more: int, slower: float, apart: int, seconds: int
) -> None:
    """A window that slides asks for short waits, and nothing else shows it."""
    window, wait = LearnedWindow(), Duration(seconds * SECOND)
    window.add(Instant(20 * SECOND), calls)
    first = window.deny(Instant(21 * SECOND), wait, rate=10.0)
    window.add(Instant(21 * SECOND + 1), more)
    second = window.deny(Instant((21 + apart) * SECOND), wait, rate=10.0 * slower)

    shows = slower <= 0.85 and more <= max(2, 0.02 * (calls + more))
    assert (first, second) == (None, (calls + more) * SECOND / SPANS[0] if shows else None)


def test_a_pause_before_a_denial_does_not_make_the_calls_since_the_limit_of_a_short_span() -> None:
    window = LearnedWindow()
    for number in range(62):
        window.add(Instant(number * SECOND if number < 60 else 70 * SECOND), 1)

    assert window.deny(Instant(70 * SECOND), Duration(5 * SECOND)) == 51 / 60
    assert MINUTE == window.span


@given(st.integers(20, 200), st.integers(-2, 5), st.sampled_from([None, 2, 10, 11, 60]))
def test_a_limit_that_is_denied_for_long_before_it_was_probed_loses_a_tenth_and_else_it_is_what_was_accepted(
    calls: int, more: int, seconds: int | None
) -> None:
    window = LearnedWindow()
    window.add(Instant(20 * SECOND), calls)
    window.deny(Instant(21 * SECOND), MINUTE)
    window.follow((calls + more - 0.5) / 60)
    window.add(Instant(90 * SECOND), calls)
    window.deny(Instant(91 * SECOND), None if seconds is None else Duration(seconds * SECOND), least=(calls - 0.5) / 60)

    is_long = seconds is not None and seconds > 10
    assert window.most == (int(DISPROVED * calls) if is_long and more <= 1 else calls)


@given(st.integers(10, 80), st.integers(0, 59), st.integers(11, 59), st.integers(11, 49), st.integers(1, 4))
def test_a_wait_of_less_than_a_minute_ends_with_the_window_in_which_the_accepted_calls_are_the_limit(
    limit: int, begins: int, wait: int, before: int, rate: int
) -> None:
    window, begin = LearnedWindow(), 600 + begins
    for number in range(min(limit, rate * before)):
        window.add(Instant((begin - before) * SECOND + number * SECOND // rate), 1)
    for number in range(limit):
        window.add(Instant(begin * SECOND + number * (59 - wait) * SECOND // limit), 1)
    window.deny(Instant((begin + 60 - wait) * SECOND), Duration(wait * SECOND))

    assert limit == window.most


def test_two_denials_find_the_limit_of_windows_that_begin_at_the_same_second_of_a_minute() -> None:
    """80 in each minute, at full minutes: they are used up at 2 a second from 570 s on, and at 4 a second from 700 s on.

    In an earlier minute 75 were accepted.
    """
    window, found = LearnedWindow(), list[int]()
    window.add(Instant(450 * SECOND), 75)
    for begin, end, rate in [(570, 640, 2), (700, 740, 4)]:
        for number in range((end - begin) * rate):
            window.add(Instant(begin * SECOND + number * SECOND // rate), 1)
        window.add(Instant(end * SECOND), 1)
        window.remove(Instant(end * SECOND))
        window.deny(Instant(end * SECOND), MINUTE)
        found.append(window.most)

    assert [100, 80] == found


@given(st.integers(10, 200), st.floats(1.0, 9.0))
def test_a_limit_that_the_server_states_is_that_of_the_span_with_as_many_calls_and_is_never_passed(
    limit: int, rate: float
) -> None:
    window, now = LearnedWindow(), Instant(0)
    for _ in range(limit):
        now = Instant(now + 40 * SECOND // limit)
        window.add(now, 1)
    known = window.deny(now, Duration(SECOND), limit=limit)
    window.follow(rate * limit)

    assert (known, window.span, window.most) == (limit / 60, MINUTE, limit)
    assert window.stated_span(now, 2 * limit) is None
