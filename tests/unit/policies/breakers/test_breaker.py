"""Circuit breaker: examples and exact boundaries."""

import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from governor._units import DAY, MINUTE, SECOND, Duration, Instant
from governor.errors import ConfigError
from governor.policies.breakers._call_log import SLOTS
from governor.policies.breakers.breaker import MAX_RAMP, BreakerPolicy
from governor.policies.breakers.parameters import Breaker
from governor.policies.breakers.states import TRANSITIONS, BreakerEvent, BreakerStatus
from governor.policies.contract import PLAIN, Grant, Request, Result

T0 = Instant(1_000 * SECOND)
CLOSED, OPEN, HALF_OPEN = BreakerStatus


def at(seconds: float) -> Instant:
    return Instant(T0 + round(seconds * SECOND))


def begin(policy: BreakerPolicy, now: Instant) -> Grant | None:
    if policy.earliest(now, PLAIN) > now:
        return None
    policy.commit(now, PLAIN)
    return Grant(now, policy.generation)


def probe(policy: BreakerPolicy, now: Instant) -> Grant:
    grant = begin(policy, now)
    assert grant is not None
    return grant


def call(policy: BreakerPolicy, now: Instant, outcomes: str) -> None:
    """Calls that take no time: s, f and n for success, failure and neutral."""
    results = {"s": Result.SUCCESS, "f": Result.FAILURE, "n": Result.NEUTRAL}
    for outcome in outcomes:
        policy.record(now, probe(policy, now), results[outcome])


def opened(parameters: Breaker | None = None) -> BreakerPolicy:
    """A breaker that opened at T0 and is to try again after a minute."""
    policy = BreakerPolicy(parameters or Breaker())
    call(policy, T0, "f" * (policy.parameters.failures or 1))
    assert policy.status is OPEN
    return policy


def half_open(parameters: Breaker | None = None) -> tuple[BreakerPolicy, Grant]:
    """A breaker with its first probe out, since a minute after T0."""
    policy = opened(parameters)
    return policy, probe(policy, at(60))


def test_the_defaults_are_those_that_users_rely_on() -> None:
    expected = Breaker(failures=5, successes=2, open_for=MINUTE, probes=3, probe_deadline=MINUTE)

    assert expected == Breaker()


@pytest.mark.promise("R06")
def test_it_opens_at_the_fifth_failure_in_a_row_and_not_before() -> None:
    policy = BreakerPolicy(Breaker())
    call(policy, T0, "ffff")
    before = policy.status
    call(policy, T0, "f")

    assert (CLOSED, OPEN, 1) == (before, policy.status, policy.openings)


@pytest.mark.promise("R06", "R10")
def test_open_lets_nothing_through_until_the_cooling_ends_and_not_a_microsecond_less() -> None:
    policy = opened()

    assert [at(60)] * 3 == [policy.earliest(now, PLAIN) for now in (T0, Instant(at(60) - 1), at(60))]


@pytest.mark.promise("R06")
def test_half_open_lets_exactly_the_configured_number_of_probes_through_the_first_one_included() -> None:
    policy = opened(Breaker(probes=3))

    assert [True, True, True, False] == [begin(policy, at(60)) is not None for _ in range(4)]
    assert policy.status is HALF_OPEN


@pytest.mark.promise("R06")
def test_enough_successful_probes_close_it() -> None:
    policy, first = half_open(Breaker(probes=3, successes=2))
    second = probe(policy, at(60))
    policy.record(at(61), first, Result.SUCCESS)
    before = policy.status
    policy.record(at(61), second, Result.SUCCESS)

    assert (HALF_OPEN, CLOSED) == (before, policy.status)
    assert T0 == policy.earliest(T0, PLAIN)


@pytest.mark.promise("R06")
def test_a_probe_without_an_outcome_loses_its_place_exactly_at_its_deadline() -> None:
    policy, _ = half_open(Breaker(probes=1, successes=1, probe_deadline=Duration(10 * SECOND)))

    due = policy.earliest(at(61), PLAIN)

    assert due == at(70)
    assert begin(policy, Instant(due - 1)) is None
    assert begin(policy, due) is not None
    assert begin(policy, due) is None


@pytest.mark.promise("R06")
@pytest.mark.parametrize(("result", "status"), [(Result.SUCCESS, CLOSED), (Result.FAILURE, OPEN), (Result.NEUTRAL, HALF_OPEN)])
def test_a_probe_that_was_given_up_says_as_much_as_any_other_when_it_ends(result: Result, status: BreakerStatus) -> None:
    policy, late = half_open(Breaker(probes=1, successes=1, probe_deadline=Duration(10 * SECOND)))
    probe(policy, at(70))

    policy.record(at(71), late, result)

    assert status is policy.status


@pytest.mark.promise("R06")
def test_a_probe_that_was_given_up_and_says_nothing_gives_no_place_back_a_second_time() -> None:
    policy, late = half_open(Breaker(probes=1, successes=1, probe_deadline=Duration(10 * SECOND)))
    probe(policy, at(70))
    before = policy.state()

    policy.record(at(71), late, Result.NEUTRAL)

    assert before == policy.state()
    assert begin(policy, at(71)) is None


@pytest.mark.promise("R06")
def test_probes_that_all_take_longer_than_their_deadline_close_it_and_never_more_than_allowed_are_out() -> None:
    policy, first = half_open(Breaker(probes=2, successes=2, probe_deadline=Duration(10 * SECOND)))
    probes = [first, *(grant for second in range(61, 85) if (grant := begin(policy, at(second))) is not None)]
    policy.record(at(85), probes[0], Result.SUCCESS)
    policy.record(at(86), probes[1], Result.SUCCESS)

    # Each of the two places is free again after ten seconds.
    assert [at(second) for second in (60, 61, 70, 71, 80, 81)] == [grant.granted_at for grant in probes]
    assert policy.status is CLOSED


def answered(policy: BreakerPolicy, now: Instant, grant: Grant, result: Result = Result.SUCCESS) -> Grant:
    """The beginning of an answer is told; the grant as it comes with the outcome."""
    policy.answered(now, grant, result)
    return msgspec.structs.replace(grant, answered_at=now)


@pytest.mark.promise("R06")
@pytest.mark.parametrize(("result", "status"), [(Result.SUCCESS, CLOSED), (Result.FAILURE, OPEN)])
def test_a_probe_has_proved_itself_when_its_answer_begins(result: Result, status: BreakerStatus) -> None:
    policy, first = half_open(Breaker(probes=1, successes=1))

    policy.answered(at(61), first, result)

    assert status is policy.status


@pytest.mark.promise("R06")
@pytest.mark.parametrize("result", list(Result))
def test_what_becomes_of_a_probe_after_its_answer_has_begun_adds_nothing(result: Result) -> None:
    policy, first = half_open(Breaker(probes=3, successes=2))
    begun = answered(policy, at(60), first)
    probe(policy, at(60))
    before = policy.state()

    policy.record(at(500), begun, result)

    assert before == policy.state()
    assert (HALF_OPEN, 1) == (policy.status, policy.successes)


def test_the_answer_to_a_call_from_before_it_opened_proves_nothing() -> None:
    policy = BreakerPolicy(Breaker(failures=1, successes=1))
    old = probe(policy, T0)
    call(policy, T0, "f")
    probe(policy, at(60))
    before = policy.state()

    policy.answered(at(61), old, Result.SUCCESS)

    assert before == policy.state()


@pytest.mark.promise("R06")
@pytest.mark.parametrize(("result", "failures"), [(Result.SUCCESS, 2), (Result.FAILURE, 3), (Result.NEUTRAL, 2)])
def test_closed_it_learns_an_outcome_once_and_at_the_end_since_an_answer_may_break_off(result: Result, failures: int) -> None:
    policy = BreakerPolicy(Breaker(failures=4))
    call(policy, T0, "ff")
    begun = answered(policy, at(1), probe(policy, T0))
    before = policy.failures
    policy.record(at(2), begun, result)

    assert (2, 0 if result is Result.SUCCESS else failures) == (before, policy.failures)


@pytest.mark.promise("R06")
@pytest.mark.parametrize(("began", "status"), [(Instant(at(2) - 1), CLOSED), (at(2), OPEN)])
def test_a_slow_call_is_one_whose_answer_begins_late_however_long_it_goes_on(began: Instant, status: BreakerStatus) -> None:
    policy = BreakerPolicy(Breaker(failures=1, slow_call=Duration(2 * SECOND)))
    begun = answered(policy, began, probe(policy, T0))
    before = policy.status
    policy.record(at(500), begun, Result.SUCCESS)

    assert (CLOSED, status) == (before, policy.status)


@pytest.mark.promise("R06")
@pytest.mark.parametrize(("began", "status"), [(Instant(at(62) - 1), CLOSED), (at(62), OPEN)])
def test_a_probe_whose_answer_begins_late_is_a_failure(began: Instant, status: BreakerStatus) -> None:
    policy, first = half_open(Breaker(failures=1, probes=1, successes=1, slow_call=Duration(2 * SECOND)))

    policy.answered(began, first, Result.SUCCESS)

    assert status is policy.status


def closed_again(parameters: Breaker | None = None) -> BreakerPolicy:
    """A breaker that closed again a minute after T0."""
    policy, first = half_open(parameters or Breaker(failures=1, probes=3, successes=1))
    policy.record(at(60), first, Result.SUCCESS)
    assert policy.status is CLOSED
    return policy


def fill(policy: BreakerPolicy, now: Instant) -> list[Grant]:
    """As many calls as it lets through at one instant, a thousand at most."""
    grants: list[Grant] = []
    while len(grants) < 1_000 and (grant := begin(policy, now)) is not None:
        grants.append(grant)
    return grants


@pytest.mark.promise("R06", "R17")
@pytest.mark.parametrize("probes", [1, 3])
def test_closed_again_it_lets_twice_as_many_through_with_each_round_trip(probes: int) -> None:
    policy = closed_again(Breaker(failures=1, probes=probes, successes=1))
    rounds = []
    for second in range(61, 66):
        grants = fill(policy, at(second))
        rounds.append(len(grants))
        for grant in grants:
            policy.record(at(second), grant, Result.SUCCESS)

    assert [probes * 2**round for round in range(5)] == rounds


@pytest.mark.promise("R06")
def test_an_answer_that_begins_makes_room_on_the_ramp_and_its_end_makes_no_more() -> None:
    policy = closed_again()
    grants = fill(policy, at(61))
    begun = [answered(policy, at(62), grant) for grant in grants]
    second = len(fill(policy, at(62)))
    for grant in begun:
        policy.record(at(500), grant, Result.SUCCESS)

    assert (3, 6, None) == (len(grants), second, begin(policy, at(62)))


@pytest.mark.promise("R06")
def test_failures_and_neutral_outcomes_leave_the_ramp_as_wide_as_it_is() -> None:
    policy = closed_again(Breaker(failures=9, probes=3, successes=1))
    rounds = []
    for result in (Result.FAILURE, Result.NEUTRAL, Result.FAILURE):
        grants = fill(policy, at(61))
        rounds.append(len(grants))
        for grant in grants:
            policy.record(at(61), grant, result)

    assert ([3, 3, 3], 6) == (rounds, policy.failures)


@pytest.mark.promise("R06")
def test_failures_on_the_ramp_open_it_as_ever() -> None:
    policy = closed_again(Breaker(failures=2, probes=3, successes=1))
    for grant in fill(policy, at(61))[:2]:
        policy.record(at(61), grant, Result.FAILURE)

    assert (OPEN, None) == (policy.status, policy.ramp)


@pytest.mark.promise("R06")
def test_a_call_that_is_lost_gives_its_place_on_the_ramp_back_at_the_deadline_of_probes() -> None:
    policy = closed_again(Breaker(failures=1, probes=3, successes=1, probe_deadline=Duration(10 * SECOND)))
    fill(policy, at(61))

    due = policy.earliest(at(62), PLAIN)

    assert at(71) == due
    assert [0, 3, 0] == [len(fill(policy, Instant(now))) for now in (due - 1, due, due)]


@pytest.mark.promise("R06")
@pytest.mark.parametrize("at_once", [1, 2])
def test_the_ramp_ends_when_calls_have_not_used_it_up_for_a_round(at_once: int) -> None:
    policy = closed_again()
    ramps = []
    for second in range(61, 70):
        grants = [probe(policy, at(second)) for _ in range(at_once)]
        for grant in grants:
            ramps.append(policy.ramp)
            policy.record(at(second), grant, Result.SUCCESS)

    assert [3, 4, 5, 6, 7, 8] == ramps[:6]
    assert [None] * (len(ramps) - 6) == ramps[6:]


def test_the_ramp_does_not_end_in_the_very_round_that_uses_it_up_even_if_its_outcomes_come_together() -> None:
    policy = closed_again(Breaker(failures=1, probes=1, successes=1))
    for expected in (1, 2, 4, 8):
        grants = fill(policy, at(61))
        for grant in grants:
            policy.record(at(61), grant, Result.SUCCESS)

        assert (expected, 2 * expected) == (len(grants), policy.ramp)


def test_calls_that_were_given_up_widen_the_ramp_and_do_not_end_it() -> None:
    policy = closed_again(Breaker(failures=1, probes=1, successes=1, probe_deadline=Duration(10 * SECOND)))
    late = [probe(policy, at(second)) for second in (61, 71, 81)][:2]
    for grant in late:
        policy.record(at(82), grant, Result.SUCCESS)

    assert 3 == policy.ramp


def test_the_ramp_ends_at_its_bound() -> None:
    policy = closed_again()
    policy.ramp = MAX_RAMP
    grants = fill(policy, at(61))
    policy.record(at(61), grants[0], Result.SUCCESS)

    assert policy.unrestricted


def test_without_a_ramp_it_lets_everything_through_at_once() -> None:
    policy = closed_again(Breaker(failures=1, probes=3, successes=1, ramp_up=False))

    assert 1_000 == len(fill(policy, at(61)))


def test_a_ramp_goes_on_in_another_machine_and_in_another_generation() -> None:
    policy = closed_again()
    grants = fill(policy, at(61))
    other = BreakerPolicy(policy.parameters)
    other.restore(policy.state())
    other.begin_generation()
    full = begin(other, at(61))
    for grant in grants:
        other.record(at(61), grant, Result.SUCCESS)

    assert (None, 6) == (full, len(fill(other, at(61))))


def test_other_settings_without_a_ramp_end_it() -> None:
    policy = closed_again()
    fill(policy, at(61))
    other = BreakerPolicy(Breaker(ramp_up=False))
    other.restore(policy.state())

    assert (True, ()) == (other.unrestricted, other.state().out)


def test_a_ramp_that_no_call_takes_part_in_does_not_keep_its_scope_from_being_forgotten() -> None:
    policy = closed_again()
    before = policy.at_rest(at(61))
    probe(policy, at(61))

    assert (True, [False, True]) == (before, [policy.at_rest(Instant(at(121) - early)) for early in (1, 0)])


@pytest.mark.parametrize("after", [{"failures": 9}, {"failure_rate": 0.5, "window": MINUTE}], ids=["no window", "a window"])
def test_it_is_at_rest_from_the_instant_that_it_names(after: dict[str, Any]) -> None:
    """Also where it continues from a breaker whose log of calls has a window, and it has none."""
    before = BreakerPolicy(Breaker(failure_rate=0.5, window=MINUTE))
    call(before, at(0), "sf")
    call(before, at(10), "s")
    policy = BreakerPolicy(Breaker(**after))
    policy.restore(before.state())
    rests = policy.rests_at(at(20))

    assert (at(60) if "window" in after else at(20)) == rests
    assert policy.at_rest(rests)
    assert ("window" not in after) is policy.at_rest(Instant(at(60) - 1))


def test_a_late_probe_whose_place_is_free_still_counts() -> None:
    policy, late = half_open(Breaker(probes=1, successes=1, probe_deadline=Duration(10 * SECOND)))

    policy.record(at(1_000), late, Result.SUCCESS)

    assert policy.status is CLOSED


def test_a_success_that_took_as_long_as_a_slow_call_is_a_failure() -> None:
    policy = BreakerPolicy(Breaker(failures=1, slow_call=Duration(2 * SECOND)))
    quick, slow = probe(policy, T0), probe(policy, T0)
    policy.record(Instant(at(2) - 1), quick, Result.SUCCESS)
    before = policy.status
    policy.record(at(2), slow, Result.SUCCESS)

    assert (CLOSED, OPEN, at(2)) == (before, policy.status, policy.last_failure)


def test_a_slow_call_that_was_cancelled_says_nothing() -> None:
    policy = BreakerPolicy(Breaker(failures=1, slow_call=Duration(2 * SECOND)))

    policy.record(at(3), probe(policy, T0), Result.NEUTRAL)

    assert policy.status is CLOSED


def test_a_window_of_calls_forgets_the_oldest_call() -> None:
    policy = BreakerPolicy(Breaker(failures=None, failure_rate=0.5, window_calls=4, minimum_calls=4))
    call(policy, T0, "fsssfss")
    before = policy.status
    call(policy, T0, "f")

    assert (CLOSED, OPEN) == (before, policy.status)


@pytest.mark.parametrize(("gap", "status"), [(Duration(10 * SECOND - 1), OPEN), (Duration(10 * SECOND), CLOSED)])
def test_a_window_of_time_forgets_what_is_exactly_as_old_as_the_window(gap: Duration, status: BreakerStatus) -> None:
    window = Duration(10 * SECOND)
    policy = BreakerPolicy(Breaker(failures=None, failure_rate=1.0, window=window, minimum_calls=2))
    call(policy, T0, "f")
    call(policy, Instant(T0 + gap), "f")

    assert status is policy.status


@pytest.mark.parametrize("window", [{"window_calls": 4}, {"window": Duration(5 * MINUTE)}])
def test_the_window_begins_anew_when_it_closes(window: dict[str, Any]) -> None:
    policy = BreakerPolicy(Breaker(failures=None, failure_rate=0.5, minimum_calls=2, successes=1, **window))
    call(policy, T0, "ff")
    call(policy, at(60), "s")
    call(policy, at(60), "f")

    assert policy.status is CLOSED


def test_a_clock_that_goes_back_by_more_than_the_window_does_no_harm() -> None:
    policy = BreakerPolicy(Breaker(failures=None, failure_rate=0.9, window=MINUTE, minimum_calls=3))
    call(policy, T0, "f")
    call(policy, Instant(T0 + DAY), "s")
    call(policy, T0, "fs")

    assert policy.status is CLOSED


@pytest.mark.parametrize(
    ("parameters", "outcomes", "listens"),
    [
        (Breaker(), "", False),
        (Breaker(), "s", False),
        (Breaker(), "f", True),
        (Breaker(), "fs", False),
        (Breaker(failures=1), "f", True),
        (Breaker(failure_rate=0.5, window_calls=10), "", True),
        (Breaker(slow_call=SECOND), "", True),
    ],
)
def test_it_listens_to_successes_when_one_could_change_something(parameters: Breaker, outcomes: str, *, listens: bool) -> None:
    policy = BreakerPolicy(parameters)
    call(policy, T0, outcomes)

    assert listens is policy.listens


@pytest.mark.promise("R06")
def test_these_are_all_the_changes_there_are() -> None:
    expected = {
        (CLOSED, BreakerEvent.TRIPPED): OPEN,
        (OPEN, BreakerEvent.COOLED): HALF_OPEN,
        (HALF_OPEN, BreakerEvent.TRIPPED): OPEN,
        (HALF_OPEN, BreakerEvent.RECOVERED): CLOSED,
        (CLOSED, BreakerEvent.FORCED_OPEN): OPEN,
        (OPEN, BreakerEvent.FORCED_OPEN): OPEN,
        (HALF_OPEN, BreakerEvent.FORCED_OPEN): OPEN,
        (OPEN, BreakerEvent.FORCED_CLOSED): CLOSED,
        (HALF_OPEN, BreakerEvent.FORCED_CLOSED): CLOSED,
    }

    assert expected == TRANSITIONS


@pytest.mark.promise("R06")
@pytest.mark.parametrize("force", [lambda policy: policy.force_open(T0, at(5)), lambda policy: policy.force_closed()])
@pytest.mark.parametrize("result", [Result.SUCCESS, Result.FAILURE])
def test_the_outcome_of_a_call_from_before_an_operator_changed_the_state_changes_nothing(
    force: Callable[[BreakerPolicy], None], result: Result
) -> None:
    policy, late = half_open(Breaker(failures=1, successes=1))
    force(policy)
    after = policy.state()
    policy.answered(at(61), late, result)
    policy.record(at(61), late, result)

    assert after == policy.state()


@pytest.mark.promise("R06")
def test_no_outcome_changes_an_open_breaker_although_it_seems_to_be_of_its_generation() -> None:
    policy = opened(Breaker(failures=1))
    policy.begin_generation()
    after = policy.state()
    policy.record(at(1), Grant(at(1), policy.generation), Result.FAILURE)

    assert after == policy.state()


def test_a_breaker_that_an_operator_opens_probes_at_the_given_instant_and_counts_as_opened_once() -> None:
    policy = BreakerPolicy(Breaker())
    policy.force_open(T0, at(5))
    policy.force_open(at(1), at(300))

    assert (OPEN, at(300), 1, True) == (policy.status, policy.earliest(at(2), PLAIN), policy.openings, policy.forced)
    assert begin(policy, at(300)) is not None
    assert (HALF_OPEN, False) == (policy.status, policy.forced)


def test_closing_a_closed_breaker_changes_nothing() -> None:
    policy = BreakerPolicy(Breaker())
    call(policy, T0, "ff")
    before = policy.state()
    policy.force_closed()

    assert before == policy.state()


@pytest.mark.parametrize("status", list(BreakerStatus))
@pytest.mark.parametrize("event", list(BreakerEvent))
def test_any_other_change_raises_and_changes_nothing(status: BreakerStatus, event: BreakerEvent) -> None:
    policies = {CLOSED: BreakerPolicy(Breaker()), OPEN: opened(), HALF_OPEN: half_open()[0]}
    policy = policies[status]
    before = policy.state()
    if (status, event) in TRANSITIONS:
        policy._move(event)

        assert (TRANSITIONS[status, event], before.generation + 1) == (policy.status, policy.generation)
    else:
        with pytest.raises(KeyError):
            policy._move(event)

        assert before == policy.state()


def test_the_cost_of_a_request_does_not_matter() -> None:
    policy = opened(Breaker(probes=2))

    assert [at(60), at(60)] == [policy.earliest(T0, Request(cost)) for cost in (0, 100)]


@pytest.mark.parametrize("rate", [0, 0.0, -0.1, 1.000001, 2, math.nan, math.inf, -math.inf, True, "0.5"])
def test_a_rate_that_cannot_be_is_rejected_by_name(rate: Any) -> None:
    with pytest.raises(ConfigError, match=r"failure_rate is .*; expected a number above 0 and at most 1"):
        Breaker(failure_rate=rate, window_calls=10)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("failures", {"failures": None}),
        ("failure_rate", {"window_calls": 10}),
        ("failure_rate", {"window": MINUTE}),
        ("window", {"failure_rate": 0.5}),
        ("window", {"failure_rate": 0.5, "window_calls": 10, "window": MINUTE}),
        ("minimum_calls", {"failure_rate": 0.5, "window_calls": 9, "minimum_calls": 10}),
        ("successes", {"successes": 4, "probes": 3}),
        ("window_calls", {"failure_rate": 0.5, "window_calls": SLOTS + 1}),
        ("probes", {"probes": SLOTS + 1}),
    ],
)
def test_settings_that_contradict_each_other_are_rejected(field: str, said: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        Breaker(**said)

    assert field == caught.value.field
