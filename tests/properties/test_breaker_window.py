"""The failure rate over a window of time, against a naive oracle that keeps every call and counts anew at each decision.

`BREAKER_DECISIONS=1000000 pytest tests/properties/test_breaker_window.py` takes longer, and looks at more.
"""

import os
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice, takewhile
from random import Random
from typing import Final

import pytest

from governor._units import DAY, MILLISECOND, SECOND, Duration, Instant
from governor.policies.breakers._call_log import SLOTS, CallLog
from governor.policies.breakers.breaker import BreakerPolicy
from governor.policies.breakers.parameters import Breaker
from governor.policies.breakers.states import BreakerStatus
from governor.policies.contract import Grant, Result

pytestmark = pytest.mark.promise("R06")

DECISIONS: Final = int(os.environ.get("BREAKER_DECISIONS", "50000"))
START: Final = Instant(10 * DAY)
RESULTS: Final = {False: Result.SUCCESS, True: Result.FAILURE}

Call = tuple[int, bool]


def test_the_example_of_a_rate_of_a_tenth_that_opened_a_breaker_at_half() -> None:
    window = Duration(10 * SECOND)
    policy = BreakerPolicy(Breaker(failures=None, failure_rate=0.5, window=window, minimum_calls=10))
    calls = [(0, False)] * 10 + [(2_000, True)] * 5 + [(2_500, True)] + [(window + 2_450, False)] * 30
    for after, failed in calls:
        end(policy, START + after, failed=failed)

    assert policy.rate is not None
    assert (BreakerStatus.CLOSED, 31, 1) == (policy.status, policy.rate.calls, policy.rate.failures)


def test_no_decision_differs_from_that_of_a_naive_oracle_however_calls_are_spaced() -> None:
    random = Random(8)
    decisions: list[tuple[bool, bool]] = []
    while len(decisions) < DECISIONS:
        parameters = breaker(random)
        policy, seen = BreakerPolicy(parameters), list[Call]()
        for now, failed in islice(adversarial(random, parameters), random.choice([50, 200, 200, 4_000])):
            seen.append((now, failed))
            end(policy, now, failed=failed)
            decisions.append((too_many(parameters, seen, now), policy.status is BreakerStatus.OPEN))
            if any(decisions[-1]):
                break

    assert [] == [number for number, (expected, opened) in enumerate(decisions) if expected is not opened]
    assert 100 < sum(opened for _, opened in decisions)


@pytest.mark.parametrize("seed", range(4))
def test_with_more_dates_than_slots_failures_and_successes_leave_together_and_late_by_less_than_a_slot(seed: int) -> None:
    random = Random(seed)
    window = Duration(random.choice([SLOTS, 3 * SLOTS - 1, 50_000, 1_000_003]))
    grain = -(-window // SLOTS)
    log, now, seen = CallLog(window), START, list[Call]()
    for number in range(4 * SLOTS):
        now = Instant(now + random.choice([0, 1, 1, 2, grain // 2, max(0, window // (2 * SLOTS))]))
        failed = random.random() < 0.3
        seen.append((now, failed))
        log.add(now, int(failed))
        if number % 61 == 0:
            seen = [one for one in seen if one[0] > now - window - grain]
            inside = [one for one in seen if one[0] > now - window]
            late = seen[: len(seen) - len(inside)]
            failures = sum(failed for _, failed in inside)
            exact = len({date for date, _ in [*late, *inside]}) < SLOTS

            assert len(inside) <= log.calls <= len(inside) + len(late) * (not exact)
            assert failures <= log.failures <= failures + (log.calls - len(inside))
            assert (log.failures > 0) is (log.without_failures_at(now) > now)
            assert len(log.state().slots) <= 2 * SLOTS + 1


def test_calls_that_share_a_slot_stay_until_its_newest_member_leaves() -> None:
    grain = 10
    log = CallLog(Duration(SLOTS * grain))
    for number in range(SLOTS):
        log.add(Instant(START + number), 0)
    began = START + SLOTS - 1
    for later, failed in ((grain - 1, True), (grain, True)):
        log.add(Instant(began + later), int(failed))

    sizes = []
    for leaves in (began + grain - 1, began + grain):
        for early in (1, 0):
            log.forget(Instant(leaves + log.window - early))
            sizes.append((log.calls, log.failures))

    # The newest of the dates that fitted waited for the failure that was merged into its slot, and left with it.
    assert [(3, 2), (1, 1), (1, 1), (0, 0)] == sizes


def test_a_state_goes_on_with_the_same_slots() -> None:
    random = Random(1)
    log, other = CallLog(Duration(50_000)), CallLog(Duration(50_000))
    now = START
    for _ in range(2 * SLOTS):
        now = Instant(now + random.randint(0, 9))
        log.add(now, random.randint(0, 1))
    other.restore(log.state())
    for _ in range(SLOTS):
        now = Instant(now + random.randint(0, 9))
        for one in (log, other):
            one.add(now, int(now % 2 == 0))

    assert (log.state(), log.calls, log.failures) == (other.state(), other.calls, other.failures)


def test_a_clock_that_goes_back_dates_calls_at_the_newest_date() -> None:
    log = CallLog(Duration(SECOND))
    log.add(START, 1)
    log.add(Instant(START - DAY), 1)
    log.add(Instant(START + SECOND - 1), 0)
    before = (log.calls, log.failures, log.without_failures_at(Instant(START + SECOND - 1)))
    log.forget(Instant(START + SECOND))

    assert ((3, 2, START + SECOND), (1, 0)) == (before, (log.calls, log.failures))


def end(policy: BreakerPolicy, now: int, *, failed: bool) -> None:
    policy.record(Instant(now), Grant(Instant(now), policy.generation), RESULTS[failed])


def breaker(random: Random) -> Breaker:
    window = random.choice([10 * SECOND, 60 * SECOND, MILLISECOND, 7, SLOTS, SLOTS + 1, 1_000_003, random.randint(1, 10**8)])
    return Breaker(
        failures=None,
        failure_rate=random.choice([0.1, 0.25, 0.5, 0.5, 0.6, 1.0]),
        window=Duration(window),
        minimum_calls=random.choice([1, 2, 5, 10, 40]),
    )


def adversarial(random: Random, parameters: Breaker) -> Iterator[Call]:
    """Bursts at one instant, calls clustered within a slot, at its border, and at the very instant at which others leave."""
    window = parameters.window or 0
    slot = -(-window // SLOTS)
    now, dates = int(START), [int(START)]
    badness = random.choice([0.02, 0.2, 0.5])
    while True:
        match random.randrange(8):
            case 0:
                now += random.choice([slot - 1, slot, slot + 1])
            case 1:
                now += random.choice([window - 1, window, window + 1])
            case 2 | 3:
                # Just before, when and just after an earlier call leaves the window.
                now = max(now, random.choice(dates[-300:]) + window + random.randint(-1, 1))
            case 4:
                now += random.randint(0, window)
            case _:
                now += random.randint(0, slot)
        failed = random.random() < badness
        for _ in range(random.choice([1, 1, 1, 2, 5, 10])):
            yield now, failed
        dates.append(now)


def too_many(parameters: Breaker, seen: list[Call], now: int) -> bool:
    assert parameters.window is not None
    assert parameters.failure_rate is not None
    gone = now - parameters.window
    inside = [failed for _, failed in takewhile(lambda call: call[0] > gone, reversed(seen))]
    share = Fraction(parameters.failure_rate).limit_denominator(10**6)
    return len(inside) >= parameters.minimum_calls and any(inside) and sum(inside) >= share * len(inside)
