"""Laws of the span that answers show: never shorter than that of a window that slides, and not seen where none does."""

from bisect import bisect_right, insort
from collections.abc import Callable
from itertools import accumulate
from random import Random
from typing import Final

import pytest

from governor._units import HOUR, MILLISECOND, NEVER, SECOND, Duration, Instant
from governor.hints import Hint, Severity
from governor.policies.contract import PLAIN, Grant
from governor.policies.learning.server_limits import ServerLimits
from governor.policies.learning.sliding_span import SlidingSpan
from governor.policies.windows.window import StrictWindowPolicy
from tests.support import tape as st
from tests.support.tape import given

pytestmark = pytest.mark.promise("R15")

#: What a server says to a call that arrives then: whether it is accepted, how many calls are counted, and the reset.
Server = Callable[[int], tuple[bool, int, int]]

#: Between two calls, in milliseconds.
GAPS: Final = st.lists(st.sampled_from([0, 5, 40, 300, 900, 2_500]), min_size=20, max_size=120)
#: The ways there and back, in milliseconds, drawn in turns.
WAYS: Final = st.lists(st.integers(1, 120), min_size=2, max_size=9)


def sliding(amount: int, per: int) -> Server:
    calls: list[int] = []

    def arrive(now: int) -> tuple[bool, int, int]:
        calls[:] = [at for at in calls if at > now - per]
        accepted = len(calls) < amount
        if accepted:
            calls.append(now)
        return accepted, len(calls), calls[0] + per

    return arrive


def fixed(amount: int, per: int, offset: int) -> Server:
    used = dict[int, int]()

    def arrive(now: int) -> tuple[bool, int, int]:
        window = (now + offset) // per
        accepted = used.get(window, 0) < amount
        used[window] = used.get(window, 0) + accepted
        return accepted, used[window], (window + 1) * per - offset

    return arrive


def bucket(amount: int, per: int) -> Server:
    state = [float(amount), 0.0]

    def arrive(now: int) -> tuple[bool, int, int]:
        left = min(amount, state[0] + (now - state[1]) * amount / per)
        accepted = left >= 1
        state[:] = left - accepted, now
        return accepted, amount - int(state[0]), now + int((amount - state[0]) * per / amount)

    return arrive


def answers(server: Server, gaps: list[int], ways: list[int], others: int = 0) -> list[tuple[Instant, Instant, bool, int, int]]:
    """For each call when its answer is read, when it was granted, whether it was accepted, and what the answer says."""
    granted = [SECOND + at * MILLISECOND for at in accumulate(gaps)]
    arrivals = [(at + ways[number % len(ways)] * MILLISECOND, at) for number, at in enumerate(granted)]
    # Every so many-th call is followed by one of another client.
    arrivals += [(at + 1, -1) for number, (at, _) in enumerate(arrivals) if others and number % others == 0]
    found = []
    for number, (arrival, at) in enumerate(sorted(arrivals)):
        accepted, used, reset = server(arrival)
        back = ways[(3 * number + 1) % len(ways)] * MILLISECOND
        if at >= 0:
            found.append((Instant(arrival + back), Instant(at), accepted, used, -(-reset // SECOND) * SECOND))
    return sorted(found)


def spans(found: list[tuple[Instant, Instant, bool, int, int]]) -> tuple[SlidingSpan, list[Duration]]:
    """What is known after each answer."""
    span, known = SlidingSpan(), list[Duration]()
    granted: list[Instant] = []
    for _, at, *_ in found:
        insort(granted, at)
    for read, at, accepted, used, reset in found:
        if accepted:
            ends = bisect_right(granted, read), bisect_right(granted, at)
            oldest, in_order = (granted[end - used] if end >= used else NEVER for end in ends)
            span.hear(read, at, used, Instant(reset), oldest, in_order)
            if span.span is not None:
                known.append(span.span)
    return span, known


@given(st.integers(3, 60), st.integers(1_000, 20_000), GAPS, WAYS, st.integers(0, 4))
def test_the_span_is_never_shorter_than_the_window_if_others_use_it_too(
    amount: int, per: int, gaps: list[int], ways: list[int], others: int
) -> None:
    span, known = spans(answers(sliding(amount, per * MILLISECOND), gaps, ways, others))

    assert all(one >= per * MILLISECOND for one in known)
    assert span.most >= per * MILLISECOND


@pytest.mark.parametrize(("amount", "per"), [(40, 2), (20, 5), (60, 30), (100, 10)])
@pytest.mark.parametrize("pace", [0.5, 0.9])
def test_a_program_that_uses_a_part_of_it_knows_it_after_one_window_and_to_a_tenth(amount: int, per: int, pace: float) -> None:
    gap = int(per * 1000 / (pace * amount))
    found = answers(sliding(amount, per * SECOND), [gap] * int(1.3 * per * 1000 / gap), [20, 35, 50])
    _, known = spans(found)
    _, early = spans([one for one in found if one[0] < found[0][1] + per * SECOND])

    assert known
    assert known[-1] <= 1.1 * per * SECOND + 2 * gap * MILLISECOND
    assert not early


@pytest.mark.parametrize(
    "make",
    [
        lambda: fixed(40, 5 * SECOND, 2 * SECOND),
        lambda: fixed(30, 10 * SECOND, SECOND),
        lambda: bucket(20, 10 * SECOND),
        lambda: bucket(60, 60 * SECOND),
    ],
    ids=["40 in 5 s", "30 in 10 s", "2/s", "1/s"],
)
@pytest.mark.parametrize("gap", [130, 300, 450, 800])
def test_a_fixed_window_and_a_bucket_show_none(make: Callable[[], Server], gap: int) -> None:
    _, known = spans(answers(make(), [gap] * 200, [20, 35, 50]))

    assert not known


def test_a_fixed_window_is_hardly_ever_taken_for_one_that_slides_by_programs_that_pause() -> None:
    taken = 0
    for seed in range(200):
        random = Random(seed)
        mean, per, amount = random.choice([20, 100, 500, 3_000]), random.choice([2, 10, 30, 60]), random.choice([5, 40, 200])
        gaps = [int(random.expovariate(1 / mean)) if random.random() < 0.9 else random.randrange(20_000) for _ in range(150)]
        _, known = spans(answers(fixed(amount, per * SECOND, random.randrange(per * SECOND)), gaps, [20, 35, 50]))
        taken += any(one < per * SECOND for one in known)

    assert taken <= 4


def _heard(limits: ServerLimits, now: int, at: int, used: int, *, denied: bool = False) -> bool:
    """An answer about 40 calls in 2 seconds, whose reset is in as many. Returns whether the limits changed."""
    severity = Severity.EXHAUSTED if used == 40 else Severity.NOTICE
    hint = Hint("requests", 40, 40 - used, Duration(2 * SECOND), severity=severity)
    return limits.hear(Instant(now), Grant(Instant(at), 0, PLAIN), hint, most=Duration(3600 * SECOND), denied=denied)[1]


def _windows(limits: ServerLimits) -> list[StrictWindowPolicy]:
    return [limit.policy for limit in limits.limits if isinstance(limit.policy, StrictWindowPolicy)]


def _play(limits: ServerLimits, calls: int) -> int:
    """Calls to a server that accepts 40 in any 2 seconds, 80 ms apart, each answered before the next. The instant after."""
    server = sliding(40, 2 * SECOND)
    now: int = SECOND
    for _ in range(calls):
        for limit in limits.limits:
            limit.policy.commit(Instant(now), PLAIN)
        _, used, _ = server(now + 20 * MILLISECOND)
        _heard(limits, now + 40 * MILLISECOND, now, used)
        now += 80 * MILLISECOND
    return now


def test_an_unknown_provider_whose_window_slides_gets_a_strict_window_that_knows_the_calls_so_far() -> None:
    limits = ServerLimits(adopts=True, gentle=True)
    now = _play(limits, 30)
    (window,) = _windows(limits)

    assert 2 * SECOND <= window.parameters.per <= 2.2 * SECOND
    # 25 or 26 were made in the last 2 seconds.
    assert 40 - 28 <= window.available(Instant(now)) <= 40 - 25


def test_a_denial_by_the_limit_ends_the_window_for_good() -> None:
    limits = ServerLimits(adopts=True, gentle=True)
    now = _play(limits, 30)
    changed = _heard(limits, now + 40 * MILLISECOND, now, 40, denied=True)
    after = [_windows(limits)]
    _play(limits, 60)

    assert changed
    assert [*after, _windows(limits)] == [[], []]


def test_in_the_next_life_the_calls_of_a_stated_window_leave_it_although_none_of_them_ends() -> None:
    limits = ServerLimits(adopts=True)
    stated = Hint("requests", limit=40, window=Duration(2 * SECOND))
    limits.hear(Instant(0), Grant(Instant(0), 0), stated, most=Duration(HOUR))
    for _ in range(5):
        _windows(limits)[0].commit(Instant(SECOND), PLAIN)
    (window,) = _windows(ServerLimits.restored(limits.state()))

    assert (35, 40) == (window.available(Instant(2 * SECOND)), window.available(Instant(5 * SECOND)))


def test_an_answer_to_a_call_that_was_given_back_before_a_window_was_stated_counts_nothing() -> None:
    limits = ServerLimits(adopts=True)
    left, stated = Hint("requests", 40, 39, HOUR), Hint("requests", limit=40, window=Duration(2 * SECOND))
    limits.hear(Instant(0), Grant(Instant(0), 0), left, most=HOUR)
    (remaining,) = (limit.policy for limit in limits.limits)
    remaining.commit(Instant(SECOND), PLAIN)
    grant = Grant(Instant(SECOND), 0)
    limits.hear(Instant(SECOND), grant, left, most=HOUR)
    remaining.refund(Instant(SECOND), grant, 0)
    limits.hear(Instant(HOUR), Grant(Instant(HOUR), 0), stated, most=HOUR)

    assert 40 == _windows(limits)[0].available(Instant(HOUR))


def test_a_call_from_before_all_that_are_known_gives_nothing_back_to_a_stated_window() -> None:
    limits = ServerLimits(adopts=True)
    now, stated = Instant(200 * SECOND), Hint("requests", limit=40, window=HOUR)
    calls = [(Instant(second * SECOND), 1) for second in range(150, 160)]
    limits.hear(now, Grant(calls[-1][0], 0), stated, most=HOUR, history=calls)
    (window,) = _windows(limits)
    left = [window.available(now)]
    for granted_at in (Instant(140 * SECOND), calls[3][0]):
        window.refund(now, Grant(granted_at, 0), None)
        left.append(window.available(now))

    assert [30, 30, 31] == left


def test_where_the_settings_have_limits_no_window_is_adopted() -> None:
    limits = ServerLimits(adopts=False, gentle=True)
    _play(limits, 60)

    assert _windows(limits) == []
