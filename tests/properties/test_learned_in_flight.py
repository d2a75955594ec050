"""Laws of the learned limit of calls at work: when denials show it, what it grants, and what it makes of a hidden limit."""

from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Final

import pytest

from governor._units import AFTER_OUTCOME, HOUR, MINUTE, NEVER, SECOND, Duration, Instant
from governor.policies.contract import PLAIN, Grant, Request, Result
from governor.policies.learning.learned_in_flight import (
    FORGOTTEN_AFTER,
    LEAST_CALLS,
    MAX_PROBE_EVERY,
    PROBE_EVERY,
    DenialLevels,
    LearnedInFlightPolicy,
    Level,
)
from governor.policies.learning.server_limits import ServerLimits
from tests.support import tape as st
from tests.support.tape import given

pytestmark = pytest.mark.promise("R15")

START: Final = Instant(HOUR)
TENTH: Final = SECOND // 10

#: Seconds that pass; then a grant of so many calls, or the end of the oldest call (0), its return (-1), or a denial (-2).
STEPS: Final = st.lists(st.tuples(st.sampled_from([0, 1, 1, 90]), st.integers(-2, 3)), max_size=60)


@given(STEPS, st.integers(1, 8), st.integers(0, 8))
def test_no_more_calls_are_in_flight_than_it_says_but_for_one_that_is_larger_and_then_alone(
    steps: list[tuple[int, int]], most: int, before: int
) -> None:
    policy, now = LearnedInFlightPolicy(START, most, before), START
    out: list[Grant] = []
    for gap, step in steps:
        now = Instant(now + gap * SECOND)
        old = before if now < START + FORGOTTEN_AFTER else 0
        held = old + sum(grant.request.cost for grant in out)
        if step > 0:
            request = PLAIN if step == 1 else Request(step)
            free = held + step <= policy.most or not held
            assert (policy.earliest(now, request) <= now) == free
            if free and now > START:
                policy.commit(now, request)
                out.append(Grant(now, 0, request))
        elif step == -2:
            earlier = policy.most
            news = policy.throttled(now, now, max(1, held))
            assert 1 <= policy.most <= earlier
            assert policy.most == (max(1, min(earlier, max(1, held)) - 1) if news else earlier)
            assert not policy.throttled(now, now, 1), "granted before the reaction"
        elif out and step == 0:
            policy.record(now, out.pop(0), Result.SUCCESS)
        elif out:
            policy.refund(now, out.pop(0), None)
        held = (before if now < START + FORGOTTEN_AFTER else 0) + sum(grant.request.cost for grant in out)
        assert policy.available(now) == max(0, policy.most - held)
        # Before the places of earlier calls end, `ready` may be late, and `earliest` decides.
        assert policy.ready > now or policy.earliest(now, PLAIN) <= now
        assert policy.wakes_at(now) == (START + FORGOTTEN_AFTER if before and now < START + FORGOTTEN_AFTER else NEVER)
        assert policy.forecast(now).available(now) == policy.available(now)


@given(st.integers(0, 6), st.integers(1, 5))
def test_the_end_of_a_call_that_was_sent_before_frees_its_place_and_none_of_the_others(before: int, ended: int) -> None:
    policy, now = LearnedInFlightPolicy(START, 10, before), Instant(START + SECOND)
    policy.commit(now, PLAIN)
    for _ in range(ended):
        policy.record(now, Grant(START, 0), Result.SUCCESS)

    assert policy.available(now) == 10 - 1 - max(0, before - ended)


def test_it_is_raised_by_one_and_then_by_a_tenth_after_calls_that_found_it_full_which_denials_double() -> None:
    policy, now = LearnedInFlightPolicy(START, 40), START

    def until_raised() -> tuple[int, int]:
        nonlocal now
        most, calls = policy.most, 0
        out = list[Grant]()
        while policy.most == most:
            now = Instant(now + 1)
            if policy.earliest(now, PLAIN) == AFTER_OUTCOME:
                calls += 1
                policy.record(now, out.pop(), Result.SUCCESS)
            policy.commit(now, PLAIN)
            out.append(Grant(now, 0))
        for grant in out:
            policy.record(now, grant, Result.SUCCESS)
        return policy.most, calls + 1

    raised = [until_raised(), until_raised()]
    for _ in range(6):
        policy.throttled(Instant(now + 1), Instant(now + 1), policy.most)
        now = Instant(now + 1)
    later = until_raised()

    assert raised == [(41, PROBE_EVERY), (45, PROBE_EVERY)]
    assert later == (40, MAX_PROBE_EVERY)


#: Of each denial the calls in flight, and those accepted in ten seconds and in a minute.
LEVELS: Final = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(0, 200)), min_size=1, max_size=6)


@given(LEVELS)
def test_denials_show_a_limit_of_calls_at_work_only_if_as_many_were_in_flight_and_no_span_had_as_many_calls(
    levels: list[tuple[int, int, int]],
) -> None:
    known, latest = DenialLevels(), list[tuple[int, int, int]]()
    for number, (in_flight, short, more) in enumerate(levels):
        latest = [*latest, (in_flight, short, short + more)][-3:]
        shown = known.add(Level(Instant(START + number * MINUTE), in_flight, (short, short + more)))
        if shown is None:
            continue
        flights, shorts, longs = zip(*latest, strict=True)
        assert shown == min(flights) >= LEAST_CALLS
        assert len(latest) >= 2
        assert max(flights) - min(flights) <= max(2, 0.1 * max(flights))
        exactly = len(latest) == 3 and len(set(flights)) == 1
        least = [0.5 if exactly else max(2, 0.1 * max(counts)) for counts in (shorts, longs)]
        assert all(max(counts) - min(counts) > more for counts, more in zip((shorts, longs), least, strict=True))
        # By Little's law, the calls of a minute took two seconds each, or more, and so did those of ten seconds.
        assert all(30 * flight >= minute and 5 * flight >= ten for flight, ten, minute in latest)


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        (((20, 200), (10, 300)), None),
        (((40, 100), (26, 150)), None),
        (((20, 100), (25, 150)), 5),
        (((17, 80), (16, 94)), None),
        (((17, 80), (16, 94), (17, 86)), 5),
        (((17, 80), (17, 94), (17, 86)), None),
    ],
)
def test_calls_of_a_second_and_spans_with_as_many_calls_show_nothing_unless_exactly_as_many_were_in_flight_three_times(
    counts: tuple[tuple[int, int], ...], shown: int | None
) -> None:
    known = DenialLevels()
    found = [known.add(Level(Instant(START + number * MINUTE), 5, used)) for number, used in enumerate(counts)]

    assert found == [None] * (len(counts) - 1) + [shown]


class Provider:
    """Works on so many calls at once, and denies those that come while it does. Denials are heard at once."""

    def __init__(self, at_work: int, seed: int) -> None:
        self._at_work, self._random, self._ends = at_work, Random(seed), list[tuple[Instant, int]]()
        self.sent, self.denied, self.most = 0, 0, 0

    def run(self, server: ServerLimits, minutes: int, busy: float) -> None:
        """Calls wait all the time, or are made at random; they take from one second to fifteen."""
        now, grants, wanted = START, dict[int, Grant](), float(START)
        for number in count():
            wanted = max(wanted + self._random.expovariate(busy) * SECOND, float(START))
            now = max(now, Instant(int(wanted)))
            while (when := max(limit.policy.earliest(now, PLAIN) for limit in server.limits)) > now:
                now = self._end(server, grants) if when >= AFTER_OUTCOME else when
            if now > START + minutes * MINUTE:
                return
            while self._ends and self._ends[0][0] <= now:
                self._end(server, grants)
            for limit in server.limits:
                limit.policy.commit(now, PLAIN)
            grant = Grant(now, 0)
            self.sent += 1
            if len(self._ends) < self._at_work:
                grants[number] = grant
                heappush(self._ends, (Instant(now + int(self._random.uniform(1, 15) * SECOND)), number))
                self.most = max(self.most, len(self._ends))
                continue
            self.denied += 1
            server.throttled(now, grant, sent=2.0, succeeded=True, wait=Duration(5 * SECOND), in_flight=len(self._ends) + 1)
            for limit in server.limits:
                limit.policy.record(now, grant, Result.NEUTRAL)
            now = Instant(now + 5 * SECOND)

    def _end(self, server: ServerLimits, grants: dict[int, Grant]) -> Instant:
        at, number = heappop(self._ends)
        for limit in server.limits:
            limit.policy.record(at, grants[number], Result.SUCCESS)
        del grants[number]
        return at


@pytest.mark.parametrize("at_work", [12, 30])
@pytest.mark.parametrize("seed", range(2))
def test_of_a_hidden_limit_of_calls_at_work_most_places_are_used_and_few_calls_are_denied(at_work: int, seed: int) -> None:
    server, provider = ServerLimits(gentle=True), Provider(at_work, seed)
    # In the mean of the time nine tenths of the places are wanted.
    provider.run(server, 40, busy=0.9 * at_work / 8)

    assert server.at_work is not None
    assert at_work - 2 <= server.at_work.most <= at_work + 1
    assert provider.denied < 0.01 * provider.sent
    assert provider.sent > 0.85 * 2400 * 0.9 * at_work / 8


def test_a_denial_that_the_limit_explains_changes_no_rate_and_denials_in_a_row_do() -> None:
    server, provider = ServerLimits(gentle=True), Provider(20, 1)
    provider.run(server, 20, busy=2.2)
    assert server.at_work is not None
    assert server.learned is not None
    at = Instant(START + HOUR)
    for number in range(40):
        server.learned.commit(Instant(at - MINUTE + number * SECOND), PLAIN)
    rate = server.learned.rate  # After an hour without calls it has begun anew.

    explained = server.throttled(at, Grant(Instant(at - TENTH), 0), sent=2.0, succeeded=True, in_flight=server.at_work.most)
    assert explained == (SECOND, False)
    assert server.learned.rate >= rate
    soon = Instant(at + SECOND)
    server.learned.commit(soon, PLAIN)
    server.throttled(soon, Grant(soon, 0), sent=2.0, succeeded=False, in_flight=server.at_work.most)

    assert server.learned.rate < rate


def test_a_reset_forgets_it() -> None:
    server, provider = ServerLimits(gentle=True), Provider(20, 1)
    provider.run(server, 20, busy=2.2)
    server.reset()

    assert server.at_work is None
    assert len(server.limits) == 1
