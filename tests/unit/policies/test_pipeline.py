"""The policies of one scope together: examples and exact boundaries."""

from typing import Any

import msgspec
import pytest

from governor._units import MINUTE, NEVER, SECOND, Duration, Instant
from governor.errors import Reason
from governor.policies.apart import only_the_cap_denies
from governor.policies.breakers.parameters import Breaker
from governor.policies.breakers.states import BreakerStatus
from governor.policies.composition import compose
from governor.policies.contract import PLAIN, Grant, Limit, Request, Result
from governor.policies.degraded import Degraded, DegradedPolicy
from governor.policies.gcra import TokenBucket
from governor.policies.in_flight import InFlight
from governor.policies.pipeline import Pipeline
from governor.policies.pipeline_state import PipelineState
from governor.policies.provider import ProviderPolicies
from governor.policies.request_cap import RequestCap, RequestCapPolicy
from governor.policies.windows.parameters import StrictWindow

T0 = Instant(1_000 * SECOND)


def at(seconds: float) -> Instant:
    return Instant(T0 + round(seconds * SECOND))


def pipeline(*limits: Limit, cap: int = 1_000, exempt: bool = False, breaker: Breaker | None = None) -> Pipeline:
    return compose(
        breaker or Breaker(),
        limits,
        cap=RequestCapPolicy(RequestCap(cap)),
        degraded=DegradedPolicy(Degraded()),
        exempt=exempt,
    )


def ask(subject: Pipeline, now: Instant, request: Request = PLAIN) -> Grant | None:
    return subject.commit(now, request) if subject.verdict(now, request).when <= now else None


def grant(subject: Pipeline, now: Instant, request: Request = PLAIN) -> Grant:
    granted = ask(subject, now, request)
    assert granted is not None
    return granted


def answer(subject: Pipeline, now: Instant, request: Request = PLAIN) -> tuple[Instant, Reason | None]:
    verdict = subject.verdict(now, request)
    return verdict.when, None if verdict.by is None else verdict.by.reason


def fail(subject: Pipeline, now: Instant, times: int = 1) -> None:
    for _ in range(times):
        subject.record(now, grant(subject, now), Result.FAILURE)


def balances(subject: Pipeline, now: Instant) -> tuple[int, ...]:
    return (*(limit.available(now) for limit in subject.limits), subject.cap.used(now))


def test_when_all_would_grant_it_is_now_and_no_policy_is_the_reason() -> None:
    assert (T0, None) == answer(pipeline(TokenBucket(1, SECOND, 1), InFlight(1)), T0)


@pytest.mark.promise("R08")
def test_nothing_is_leased_from_the_moment_at_which_an_operator_opens_the_breaker() -> None:
    subject = pipeline(TokenBucket(100, Duration(SECOND), 100))
    before = subject.leasable(T0)
    subject.force_breaker(T0, at(60))

    assert (True, 0) == (before > 0, subject.leasable(T0))


@pytest.mark.promise("R60")
@pytest.mark.parametrize(
    ("limits", "here", "elsewhere"),
    [
        ([TokenBucket(100, SECOND, 100)], 12, True),
        ([TokenBucket(100, SECOND, 100), TokenBucket(1, SECOND, 80)], 10, False),
        ([StrictWindow(100, SECOND)], 12, False),
        ([TokenBucket(100, SECOND, 100, "tokens")], 12, False),
        ([InFlight(100)], 12, False),
    ],
)
def test_threads_have_leases_of_more_limits_than_other_processes(limits: list[Limit], here: int, elsewhere: bool) -> None:
    subject = pipeline(*limits)

    assert (here, elsewhere) == (min(12, subject.leasable(T0)), subject.leases_elsewhere)


@pytest.mark.promise("R08")
def test_failures_of_all_scopes_are_one_row() -> None:
    first = pipeline(breaker=Breaker(failures=100))
    second = compose(Breaker(failures=100), (), cap=first.cap, degraded=first.degraded, provider=ProviderPolicies.of("second"))
    fail(first, T0, 5)
    fail(second, T0, 4)
    before = first.degraded.due
    fail(second, T0)

    assert (False, True) == (before, first.degraded.due)


def test_used_nothing_is_no_correction_for_a_unit_that_is_not_named() -> None:
    subject = pipeline(TokenBucket(1, SECOND, 10), TokenBucket(1, SECOND, 10, "tokens"))

    subject.record(T0, grant(subject, T0, Request(1, {"tokens": 4})), Result.SUCCESS, {"tokens": 0})

    assert (9, 10, 1) == balances(subject, T0)


def test_the_first_call_after_the_cooling_is_granted_as_a_probe_of_the_new_generation() -> None:
    subject = pipeline(breaker=Breaker(failures=1, probes=1, successes=1))
    fail(subject, T0)

    subject.record(at(60), grant(subject, at(60)), Result.SUCCESS)

    assert subject.breaker.status is BreakerStatus.CLOSED


@pytest.mark.promise("R07", "R08")
def test_only_the_cap_denies_when_no_other_policy_does() -> None:
    subject = pipeline(TokenBucket(1, SECOND, 3), cap=2)
    free = only_the_cap_denies(subject, T0, PLAIN)
    grant(subject, T0)
    grant(subject, T0)
    reached = only_the_cap_denies(subject, T0, PLAIN)
    subject.limits[0].commit(T0, PLAIN)

    assert (False, True, False) == (free, reached, only_the_cap_denies(subject, T0, PLAIN))


def test_a_request_larger_than_the_cap_does_not_reach_it() -> None:
    assert not only_the_cap_denies(pipeline(cap=2), T0, Request(3))


def test_the_gate_is_open_when_all_but_the_cap_grant_plain_requests() -> None:
    subject = pipeline(cap=1)
    grant(subject, T0)

    assert subject.gate <= T0
    assert subject.cap.ready > T0


def test_the_gate_is_closed_while_degraded_and_opens_by_itself() -> None:
    subject = pipeline()
    subject.degraded.enter(T0)
    subject.regate()

    assert at(60) == subject.gate


def test_the_gate_is_not_closed_by_degraded_mode_for_the_exempt() -> None:
    subject = pipeline(exempt=True)
    subject.degraded.enter(T0)
    subject.regate()

    assert subject.gate <= T0


def test_the_gate_is_closed_unless_the_breaker_is() -> None:
    subject = pipeline(breaker=Breaker(failures=1, probes=1, successes=1))
    fail(subject, T0)
    gates = [subject.gate]
    for _ in range(3):
        probe = grant(subject, at(60))
        gates.append(subject.gate)
        subject.record(at(60), probe, Result.SUCCESS)
        gates.append(subject.gate)

    # Open; a probe; then it is closed and ramps up until two more calls have succeeded.
    assert [*[NEVER] * 6, 0] == gates


@pytest.mark.promise("R06")
def test_what_a_call_has_really_used_does_not_hide_when_its_answer_began() -> None:
    tokens = TokenBucket(1000, SECOND, 1000, "tokens")
    subject = pipeline(tokens, breaker=Breaker(failures=1, slow_call=Duration(2 * SECOND)))
    slow = grant(subject, T0)
    subject.answered(at(1), slow, 200)
    begun = msgspec.structs.replace(slow, answered_at=at(1))
    subject.record(at(60), begun, Result.SUCCESS, {"tokens": 900})

    assert BreakerStatus.CLOSED is subject.breaker.status


@pytest.mark.parametrize(
    ("limits", "holds"),
    [
        ((), False),
        ((TokenBucket(1, SECOND, 1),), False),
        ((TokenBucket(1, SECOND, 1), StrictWindow(1, SECOND)), True),
        ((InFlight(1),), True),
    ],
)
def test_a_scope_holds_its_permits_when_a_limit_waits_for_outcomes(limits: tuple[Limit, ...], *, holds: bool) -> None:
    assert holds is pipeline(*limits).needs_outcome


def test_a_fresh_pipeline_is_at_rest() -> None:
    assert pipeline(TokenBucket(1, SECOND, 1), StrictWindow(1, MINUTE), InFlight(1)).at_rest(T0)


@pytest.mark.parametrize("limit", [TokenBucket(1, MINUTE, 1), StrictWindow(1, MINUTE)])
def test_a_limit_is_at_rest_exactly_when_everything_has_come_back(limit: Limit) -> None:
    subject = pipeline(limit)
    subject.record(T0, grant(subject, T0), Result.SUCCESS)

    assert (False, True) == (subject.at_rest(Instant(at(60) - 1)), subject.at_rest(at(60)))


def test_a_call_in_flight_and_a_breaker_that_remembers_a_failure_are_not_at_rest() -> None:
    calling, failed, opened = pipeline(InFlight(1)), pipeline(), pipeline(breaker=Breaker(failures=1))
    grant(calling, T0)
    fail(failed, T0)
    fail(opened, T0)

    assert [False] * 3 == [subject.at_rest(at(1_000)) for subject in (calling, failed, opened)]


@pytest.mark.parametrize(("rate", "forgotten"), [({"window": MINUTE}, True), ({"window_calls": 20}, False)])
def test_a_breaker_with_a_failure_in_its_window_is_not_at_rest(rate: dict[str, Any], *, forgotten: bool) -> None:
    subject = pipeline(breaker=Breaker(failure_rate=0.5, **rate))
    fail(subject, T0)
    subject.record(T0, grant(subject, T0), Result.SUCCESS)

    assert not subject.at_rest(Instant(at(60) - 1))
    assert forgotten is subject.at_rest(at(60))


def test_the_state_of_an_open_breaker_closes_the_gate_of_another_pipeline() -> None:
    subject, other = pipeline(breaker=Breaker(failures=1)), pipeline(breaker=Breaker(failures=1))
    fail(subject, T0)

    other.restore(subject.state())

    assert NEVER == other.gate


def test_the_state_can_be_written_down() -> None:
    subject = pipeline(TokenBucket(1, SECOND, 3), StrictWindow(9, MINUTE), InFlight(5))
    grant(subject, T0)

    assert subject.state() == PipelineState.decode(msgspec.json.encode(subject.state()))
