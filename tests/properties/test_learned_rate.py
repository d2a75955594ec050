"""Laws of the learned rate: below what was denied, above its floor, and what it makes of providers with hidden limits."""

import heapq
from collections.abc import Callable
from itertools import count
from typing import Final

import pytest

from governor._units import HOUR, MILLISECOND, MINUTE, SECOND, Duration, Instant
from governor.policies.contract import PLAIN, Grant, Request
from governor.policies.learning.cubic import BETA
from governor.policies.learning.learned_rate import LearnedRatePolicy
from governor.policies.learning.learned_window import SPANS
from governor.policies.learning.rate_learner import (
    DOUBLE_AFTER,
    FIRST_RATE,
    MANY,
    MANY_PART,
    MAX_AHEAD,
    MAX_SPELL_PAUSE,
    MAX_UNDER_WAY,
    MIN_RATE,
    MIN_TOOK,
    PROBE_EVERY,
    PROBE_RATE,
    PROBE_WAITS,
    UNDER_WAY_PART,
)
from tests.support import tape as st
from tests.support.tape import given

START: Final = Instant(HOUR)

#: A gap, and then: a grant (None), or a denial of the latest call, after a success or not.
STEPS: Final = st.lists(
    st.tuples(st.sampled_from([0, 1_000, 100_000, 2_000_000, 90_000_000]), st.sampled_from([None, None, None, True, False])),
    max_size=60,
)


@given(STEPS, st.booleans())
def test_it_is_never_below_its_floor_and_never_above_what_was_denied_until_it_probes(
    steps: list[tuple[int, bool | None]], gentle: bool
) -> None:
    policy, now, grant = LearnedRatePolicy(START, gentle=gentle), START, Grant(START, 0)
    for gap, succeeded in steps:
        now = Instant(now + gap)
        if succeeded is None:
            when = policy.earliest(now, PLAIN)
            assert when == now or policy.earliest(Instant(when - 1), PLAIN) > when - 1
            assert (policy.ready <= now) == (when <= now)
            now = when
            policy.commit(now, PLAIN)
            grant = Grant(now, 0)
        else:
            before = policy.rate
            pause = policy.throttled(now, grant, succeeded=succeeded)
            assert policy.throttled(now, grant) is None, "a call that was granted before the reaction says nothing new"
            if pause is not None:
                assert SECOND <= pause <= MAX_SPELL_PAUSE
                # While single calls probe, the rate is below the one that a success brings back.
                assert policy.rate <= before or before <= PROBE_RATE
        assert policy.rate >= MIN_RATE
        # A single call never waits longer than a span, in which the provider has accepted calls.
        assert policy.earliest(now, PLAIN) - now <= SPANS[-1] + SECOND


@pytest.mark.promise("R15")
def test_a_denial_takes_a_third_of_the_rate_and_it_comes_back_slowly() -> None:
    policy, now = LearnedRatePolicy(START), START
    for _ in range(200):
        now = Instant(now + 100 * MILLISECOND)
        policy.commit(now, PLAIN)
    policy.throttled(now, Grant(now, 0))
    rates = [policy.rate]
    for _ in range(5 * PROBE_EVERY // 4):
        now = policy.earliest(now, PLAIN)
        policy.commit(now, PLAIN)
        rates.append(policy.rate)

    assert rates[0] == pytest.approx(10 * BETA, rel=0.01)
    assert rates == sorted(rates)
    assert 10 < rates[-1] < 11


def test_an_unknown_provider_is_asked_twice_as_fast_every_ten_seconds_of_use_and_only_then() -> None:
    policy = LearnedRatePolicy(START, gentle=True)
    busy = _granted(policy, START, Duration(4 * DOUBLE_AFTER))
    quiet = LearnedRatePolicy(START, gentle=True)
    for minute in range(60):
        quiet.commit(Instant(START + minute * MINUTE), PLAIN)

    expected = FIRST_RATE * 10 * (1 + 2 + 4 + 8)
    assert 0.8 * expected < busy < 1.3 * expected
    assert quiet.rate == FIRST_RATE


def test_of_the_calls_that_an_unknown_provider_has_accepted_a_part_is_under_way_and_not_more_than_may_be_denied() -> None:
    took, now = Duration(400 * MILLISECOND), START
    policy = LearnedRatePolicy(START, gentle=True)
    seen = []
    for accepted in range(1, 700):
        now = policy.earliest(now, PLAIN)
        policy.commit(now, PLAIN)
        policy.answered(Instant(now + took), Grant(now, 0))
        seen.append((accepted, policy.rate * took / SECOND))

    most = [max(one / UNDER_WAY_PART + max(0, one - MANY) / MANY_PART, FIRST_RATE) for one, _ in seen]
    assert all(under_way <= risked for (_, under_way), risked in zip(seen, most, strict=True) if risked < MAX_UNDER_WAY)
    assert max(under_way for _, under_way in seen) == MAX_UNDER_WAY
    assert now - START < 30 * SECOND


def test_the_soonest_answers_tell_how_many_calls_would_be_denied() -> None:
    rates = []
    for took in ([400], [400, 1_200, 900, 700], [1_200]):
        policy, now = LearnedRatePolicy(START, gentle=True), START
        for call in range(60):
            now = policy.earliest(now, PLAIN)
            policy.commit(now, PLAIN)
            policy.answered(Instant(now + took[call % len(took)] * MILLISECOND), Grant(now, 0))
        rates.append(policy.rate)

    assert rates[0] >= rates[1] > 0.7 * rates[0] > rates[2]


def test_an_unknown_provider_whose_answers_take_long_is_asked_faster_every_ten_seconds() -> None:
    policy = LearnedRatePolicy(START, gentle=True)
    busy = _granted(policy, START, Duration(2 * DOUBLE_AFTER), Duration(5 * SECOND))

    assert busy <= FIRST_RATE * 10 * (1 + 2) + 1


def test_answers_to_calls_that_are_few_do_not_make_the_rate_grow() -> None:
    policy = LearnedRatePolicy(START, gentle=True)
    for call in range(600):
        now = Instant(START + call * 10 * SECOND)
        policy.commit(now, PLAIN)
        policy.answered(Instant(now + 1000), Grant(now, 0))

    assert policy.rate == FIRST_RATE


@given(st.integers(1, 400), st.integers(20, 2_000), st.booleans())
def test_a_gentle_rate_is_that_of_the_limit_that_the_server_states_and_at_most_four_times_it_but_for_what_may_be_under_way(
    stated: int, took: int, long: bool
) -> None:
    policy, now = LearnedRatePolicy(START, gentle=True), START
    policy.learner.stated = stated / 10
    rates = []
    for _ in range(200 if long else 3):
        now = policy.earliest(now, PLAIN)
        policy.commit(now, PLAIN)
        policy.answered(Instant(now + took * MILLISECOND), Grant(now, 0))
        rates.append(policy.rate)
    # The first answer is known at the second grant. As many as are under way at most may all be denied.
    most = MAX_UNDER_WAY * SECOND / max(took * MILLISECOND, MIN_TOOK)

    assert all(min(stated / 10, most) <= rate * 1.001 for rate in rates[1:])
    assert all(rate <= max(MAX_AHEAD * stated / 10, FIRST_RATE) * 1.001 for rate in rates)


def test_a_permit_that_was_granted_ahead_says_nothing_about_how_soon_calls_are_answered() -> None:
    policy = LearnedRatePolicy(START, gentle=True)
    policy.answered(Instant(START + 1), Grant(START, 0, ahead=True))
    busy = _granted(policy, START, DOUBLE_AFTER)

    assert busy <= FIRST_RATE * 10 + 1


def _granted(policy: LearnedRatePolicy, start: Instant, span: Duration, took: Duration | None = None) -> int:
    """The calls of a program that makes as many as it may, each of which is answered so soon."""
    now = start
    for granted in count():
        now = policy.earliest(now, PLAIN)
        if now > start + span:
            return granted
        policy.commit(now, PLAIN)
        if took is not None:
            policy.answered(Instant(now + took), Grant(now, 0))
    raise AssertionError


def test_what_was_denied_is_forgotten_in_the_end() -> None:
    policy = LearnedRatePolicy(START)
    policy.commit(START, PLAIN)
    policy.throttled(START, Grant(START, 0), sent=1.0)
    later = policy.rests_at()
    policy.commit(later, PLAIN)

    assert later <= START + HOUR
    assert policy.available(later) > 1_000


def test_an_unknown_provider_is_asked_no_faster_than_it_has_denied_however_long_ago_that_was() -> None:
    policy, now = _at_16_a_second()
    policy.throttled(now, Grant(now, 0))
    peak, later = policy.rate / BETA, Instant(policy.rests_at() + HOUR)
    for _ in range(30):
        later = policy.earliest(later, PLAIN)
        policy.commit(later, PLAIN)

    assert policy.rate == pytest.approx(peak)


def test_an_unknown_provider_that_is_not_asked_for_a_minute_is_asked_gently_again() -> None:
    policy, now = _at_16_a_second()
    policy.commit(Instant(now + SPANS[-1] - 1), PLAIN)
    before = policy.rate
    policy.commit(Instant(now + 2 * SPANS[-1]), PLAIN)

    assert before == 16
    assert policy.rate == FIRST_RATE


@pytest.mark.parametrize(("wait", "part"), [(SECOND, 0.99), (10 * MINUTE, 0.98), (HOUR, 0.98)])
def test_after_a_wait_that_the_server_asks_for_the_rate_is_below_the_one_that_it_has_denied(wait: int, part: float) -> None:
    policy, now = _at_16_a_second()
    policy.throttled(now, Grant(now, 0), wait=Duration(wait))
    learner = policy.learner
    assert learner._curve is not None
    peak = learner._curve.peak
    _granted(policy, Instant(now + wait), SECOND)

    assert policy.rate <= part * peak


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=20))
def test_leased_permits_take_their_tokens_and_return_them(leases: list[tuple[int, int]]) -> None:
    policy = LearnedRatePolicy(START, gentle=True)
    for wanted, taken in leases:
        before = policy.available(START)
        leased = min(wanted, policy.leasable(START))
        policy.lease(START, leased)
        assert policy.available(START) == before - leased
        taken = min(taken, leased)
        policy.collect(START, taken)
        policy.reclaim(START, leased - taken)
        assert policy.available(START) == before - taken


def test_a_request_that_costs_more_than_fits_waits_for_a_full_bucket_and_is_paid_off_afterwards() -> None:
    policy = LearnedRatePolicy(START, gentle=True)
    large = Request(20)
    policy.commit(policy.earliest(START, large), large)

    assert policy.earliest(START, PLAIN) == START + 10_000_000


class Leaky:
    """A provider with a bucket."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate, self.burst, self.left, self.at = rate, burst, float(burst), 0

    def __call__(self, now: int) -> bool:
        self.left = min(self.burst, self.left + (now - self.at) * self.rate / SECOND)
        self.at = now
        granted = self.left >= 1
        self.left -= granted
        return granted


class Windows:
    """A provider with fixed windows."""

    def __init__(self, amount: int, per: Duration, offset: int) -> None:
        self.amount, self.per, self.offset, self.window, self.used = amount, per, offset, 0, 0

    def __call__(self, now: int) -> bool:
        window = (now + self.offset) // self.per
        if window != self.window:
            self.window, self.used = window, 0
        self.used += 1
        return self.used <= self.amount


class Sliding:
    """A provider that grants so many in any span."""

    def __init__(self, amount: int, per: Duration) -> None:
        self.amount, self.per, self.calls = amount, per, list[int]()

    def wait(self, now: int) -> Duration:
        """What it asks for, in whole seconds: until the oldest call leaves the span."""
        return Duration(-(-(self.calls[0] + self.per - now) // SECOND) * SECOND)

    def __call__(self, now: int) -> bool:
        self.calls = [at for at in self.calls if at > now - self.per]
        granted = len(self.calls) < self.amount
        if granted:
            self.calls.append(now)
        return granted


def play(
    server: Callable[[int], bool],
    span: Duration,
    service: int = 0,
    delay: int = 100 * MILLISECOND,
    wait: Callable[[int], Duration] | None = None,
    limit: int | None = None,
) -> tuple[int, list[int]]:
    """Asks as fast as the policy lets it, and pauses after a denial: the calls that were accepted, and when others were denied.

    A call that is accepted takes `service` longer than one that is denied. `wait` is what the server asks for, and `limit` what
    it states.
    """
    policy, now, pause_until = LearnedRatePolicy(Instant(0), gentle=True), Instant(0), 0
    answers: list[tuple[int, int, bool]] = []
    accepted, denied = 0, list[int]()
    fresh = False
    while now < span:
        due = max(policy.earliest(now, PLAIN), pause_until)
        if answers and answers[0][0] <= due:
            at, granted_at, granted = heapq.heappop(answers)
            now = Instant(at)
            policy.answered(now, Grant(Instant(granted_at), 0))
            if granted:
                fresh = True
            else:
                denied.append(at)
                asked = None if wait is None else wait(at)
                pause = policy.throttled(now, Grant(Instant(granted_at), 0), succeeded=fresh, wait=asked, limit=limit)
                pause = pause if asked is None else asked
                if pause is not None:
                    fresh, pause_until = False, max(pause_until, now + pause)
            continue
        now = Instant(due)
        policy.commit(now, PLAIN)
        granted = server(now + delay // 2)
        accepted += granted
        heapq.heappush(answers, (now + delay + (service if granted else 0), now, granted))
    return accepted, denied


@pytest.mark.parametrize(
    ("server", "possible", "service"),
    [
        (Leaky(10, 10), 18_000, 0),
        (Leaky(1, 5), 1_800, 0),
        (Windows(10, MINUTE, 17_000_000), 300, 0),
        (Windows(60, MINUTE, 17_000_000), 1_800, 0),
        (Windows(600, MINUTE, 17_000_000), 18_000, 0),
        (Windows(10, SECOND, 300_000), 18_000, 0),
        (Sliding(30, MINUTE), 900, 0),
        (Sliding(60, MINUTE), 1_800, 5 * MINUTE),
        (Sliding(300, MINUTE), 9_000, 20 * SECOND),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else type(value).__name__,
)
def test_most_of_a_hidden_limit_is_used_with_few_denials_and_never_many_in_a_minute(
    server: Callable[[int], bool], possible: int, service: int
) -> None:
    accepted, denied = play(server, Duration(HOUR // 2), service)

    assert accepted >= 0.85 * possible
    assert len(denied) <= 0.01 * accepted + 4
    assert max(sum(at - MINUTE < other <= at for other in denied) for at in denied) <= max(6, possible // 30 // 20)


def test_a_bucket_is_found_within_seconds_if_the_server_answers_soon_and_asks_for_short_waits() -> None:
    first, _ = play(Leaky(100, 100), MINUTE, 300 * MILLISECOND, wait=lambda _: SECOND)
    accepted, denied = play(Leaky(100, 100), Duration(3 * MINUTE), 300 * MILLISECOND, wait=lambda _: SECOND)

    assert first >= 0.69 * 60 * 100
    assert accepted >= 0.85 * 180 * 100
    assert len(denied) <= 0.001 * accepted


@pytest.mark.parametrize("amount", [25, 60, 90])
def test_a_sliding_minute_that_asks_for_short_waits_is_found_out_by_two_denials(amount: int) -> None:
    server = Sliding(amount, MINUTE)
    accepted, denied = play(server, Duration(HOUR // 2), wait=server.wait)

    assert accepted >= 0.9 * 30 * amount
    assert len([at for at in denied if at < 3 * MINUTE]) <= max(3, amount / UNDER_WAY_PART)
    assert len(denied) <= max(5, 0.005 * accepted)


def test_a_sliding_minute_whose_limit_is_stated_denies_once() -> None:
    server = Sliding(60, MINUTE)
    accepted, denied = play(server, Duration(HOUR // 2), wait=server.wait, limit=60)

    assert accepted >= 0.95 * 30 * 60
    assert len({at // MINUTE for at in denied}) <= 2


def test_the_rate_is_not_raised_beyond_that_of_the_last_denial_by_a_program_that_does_not_need_it() -> None:
    policy, now = LearnedRatePolicy(START), START
    for _ in range(100):
        now = Instant(now + 100 * MILLISECOND)
        policy.commit(now, PLAIN)
    policy.throttled(now, Grant(now, 0))
    most = 0.0
    for _ in range(100):
        for gap in (3 * SECOND, SECOND // 2, SECOND // 2):  # 5 a second, in bursts.
            now = Instant(now + gap)
            for _ in range(7):
                policy.commit(now, PLAIN)
            most = max(most, policy.rate)

    assert most <= 10.01


def test_the_calls_of_a_fixed_window_are_sent_as_fast_as_before_and_the_next_denial_is_risked_after_ten_waits() -> None:
    """80 in a minute, used up at 4 a second."""
    policy, now, sent = LearnedRatePolicy(START), START, list[Instant]()
    for _ in range(81):
        now = Instant(now + SECOND // 4)
        policy.commit(now, PLAIN)
    policy.throttled(now, Grant(now, 0), wait=MINUTE)
    denied_at, again = now, Instant(now + MINUTE)
    while now < denied_at + 3 * MINUTE:
        now = max(policy.earliest(now, PLAIN), again)
        policy.commit(now, PLAIN)
        sent.append(now)
    in_the_first = sum(at < again + 30 * SECOND for at in sent)
    most = max(sum(at - MINUTE < other <= at for other in sent) for at in sent)
    curve = policy.learner._curve
    assert curve is not None

    assert 0.9 * 80 <= in_the_first
    assert most <= 80
    assert curve.flat_after == PROBE_WAITS * MINUTE / SECOND


def _at_16_a_second() -> tuple[LearnedRatePolicy, Instant]:
    """A gentle rate that has doubled three times, and was used since."""
    policy, now = LearnedRatePolicy(START, gentle=True), START
    while policy.rate < 16:
        now = policy.earliest(now, PLAIN)
        policy.commit(now, PLAIN)
    for _ in range(40):
        now = policy.earliest(now, PLAIN)
        policy.commit(now, PLAIN)
    return policy, now


def test_the_first_denial_of_a_gentle_rate_brings_back_the_one_before_it_doubled() -> None:
    policy, now = _at_16_a_second()
    policy.throttled(now, Grant(now, 0))

    assert policy.rate == pytest.approx(8 * BETA)


def test_a_short_wait_means_that_the_limit_is_between_the_last_two_rates() -> None:
    policy, now = _at_16_a_second()
    policy.throttled(now, Grant(now, 0), wait=SECOND)
    after = policy.rate
    _granted(policy, now, Duration(30 * SECOND))

    assert after == pytest.approx(8 * BETA)
    assert policy.rate == pytest.approx(12, rel=0.05)


def test_a_rate_that_was_accepted_for_ten_seconds_is_that_of_a_bucket_that_asks_for_a_short_wait() -> None:
    policy, now = _at_16_a_second()
    while policy.learner.window.used(now)[0] < 155:
        now = policy.earliest(now, PLAIN)
        policy.commit(now, PLAIN)
    assert policy.rate == 16
    policy.throttled(now, Grant(now, 0), wait=SECOND)
    after = policy.rate
    _granted(policy, now, Duration(30 * SECOND))

    assert after == pytest.approx(15.5 * BETA, rel=0.02)
    assert policy.rate == pytest.approx(15.5, rel=0.05)


@pytest.mark.parametrize(("ahead", "denied"), [(False, 20), (True, 27)])
def test_calls_sent_after_the_denied_one_are_none_of_the_rate_that_a_short_wait_means(ahead: bool, denied: int) -> None:
    """20 calls in the second before a call, and more until its denial is read. One that was granted ahead was sent later."""
    policy, sent = LearnedRatePolicy(START), [Instant(START + 50_000 * number) for number in range(40)]
    sent += [Instant(sent[-1] + 10_000 * number) for number in range(1, 20)]
    for now in sent:
        policy.commit(now, PLAIN)
    policy.throttled(sent[-1], Grant(Instant(sent[39] + 1), 0, ahead=ahead), wait=SECOND)

    assert policy.rate == pytest.approx(denied * BETA, rel=0.05)


def test_a_second_with_a_pause_in_it_says_nothing_about_the_rate_that_was_denied() -> None:
    policy, now = LearnedRatePolicy(START), START
    for _ in range(400):
        now = Instant(now + 10_000)
        policy.commit(now, PLAIN)
    policy.throttled(now, Grant(now, 0), wait=SECOND)
    now = Instant(now + SECOND)
    for _ in range(60):
        now = max(policy.earliest(now, PLAIN), Instant(now + 10_000))
        policy.commit(now, PLAIN)
    before = policy.rate
    policy.throttled(now, Grant(now, 0), wait=SECOND)

    assert policy.rate == pytest.approx(before * BETA)


def test_the_calls_since_a_single_denial_count_when_others_in_a_row_have_ended() -> None:
    policy, now, denied = LearnedRatePolicy(START, gentle=True), START, list[Instant]()
    for calls in (40, 100):
        for _ in range(calls):
            now = policy.earliest(now, PLAIN)
            policy.commit(now, PLAIN)
        policy.throttled(now, Grant(now, 0))
        denied.append(now)
    for _ in range(9):
        now = Instant(now + 8 * SECOND)
        policy.commit(now, PLAIN)
        policy.throttled(now, Grant(now, 0), succeeded=False)
    now = Instant(now + MINUTE)
    for _ in range(2):
        policy.commit(now, PLAIN)

    assert policy.rate >= 0.6 * 100 * SECOND / (now - denied[0])


def test_calls_go_on_at_the_instant_of_a_denial_that_continues_a_long_spell() -> None:
    policy, now = LearnedRatePolicy(START), Instant(START + MINUTE)
    for _ in range(4):
        policy.commit(now, PLAIN)
        policy.throttled(now, Grant(now, 0), succeeded=False)
        now = Instant(now + MINUTE)
    for _ in range(2):
        policy.commit(now, PLAIN)
    policy.throttled(now, Grant(now, 0), succeeded=False)
    policy.collect(now, 1)
    policy.collect(now, 1)

    assert policy.rate >= MIN_RATE


def test_a_rate_at_which_many_calls_are_under_way_grows_by_half() -> None:
    policy = LearnedRatePolicy(START, gentle=True)
    _granted(policy, START, Duration(24 * SECOND), Duration(400 * MILLISECOND))
    before = policy.rate
    _granted(policy, Instant(START + 24 * SECOND), DOUBLE_AFTER, Duration(400 * MILLISECOND))

    assert before == MAX_UNDER_WAY / 0.4
    assert policy.rate == 1.5 * before


def test_with_other_settings_the_window_of_accepted_calls_is_still_that_of_the_rate() -> None:
    before, after = LearnedRatePolicy(Instant(0)), LearnedRatePolicy(Instant(0))
    before.commit(Instant(1), PLAIN)
    after.carry_over(Instant(2), before)
    after.commit(Instant(3), PLAIN)

    assert {2} == set(after.learner.window.used(Instant(4)))
