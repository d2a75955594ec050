"""Laws of the pipeline: all or nothing, the true instant, the policy that names it."""

from collections.abc import Mapping
from typing import Final, cast

import pytest

from governor._units import AFTER_OUTCOME, DAY, Duration, Instant
from governor.policies.apart import only_the_cap_denies
from governor.policies.breakers.parameters import Breaker
from governor.policies.composition import compose
from governor.policies.contract import PLAIN, Grant, LimitPolicy, Policy, Request, Result
from governor.policies.degraded import Degraded, DegradedPolicy
from governor.policies.gcra import TokenBucket
from governor.policies.in_flight import InFlight
from governor.policies.mark import Mark
from governor.policies.pipeline import Pipeline
from governor.policies.request_cap import WINDOW, RequestCap, RequestCapPolicy
from governor.policies.verdict import Verdict
from governor.policies.windows.parameters import StrictWindow
from governor.policies.windows.window import StrictWindowPolicy
from tests.support import tape as st
from tests.support.tape import given

START: Final = 10 * DAY

UNITS: Final = st.sampled_from(["requests", "tokens"])
SPANS: Final = st.integers(1, 30).map(Duration)
LIMITS: Final = st.one_of(
    st.builds(TokenBucket, st.integers(1, 4), SPANS, st.integers(1, 5), UNITS),
    st.builds(StrictWindow, st.integers(1, 5), SPANS, UNITS),
    st.builds(InFlight, st.integers(1, 4)),
)
REQUESTS: Final = st.just(PLAIN) | st.builds(Request, st.integers(1, 6), st.builds(dict, tokens=st.integers(0, 6)) | st.none())
GAPS: Final = st.just(0) | st.integers(0, 5) | st.integers(0, 40) | st.integers(WINDOW - 2, WINDOW + 2)

#: How one call ends: an outcome, with what was really used, or given back.
End = Result | Mapping[str, int] | None
#: How much later than the step before, what is asked for, and which calls end then and how.
Step = tuple[int, Request, list[tuple[int, End]]]

USED: Final = st.fixed_dictionaries({"requests": st.integers(1, 7), "tokens": st.integers(0, 7)})
ENDS: Final[st.SearchStrategy[End]] = st.none() | st.sampled_from(Result) | USED
STEP: Final = st.tuples(GAPS, REQUESTS, st.lists(st.tuples(st.integers(0, 3), ENDS), max_size=3))
#: The length is drawn first, because long lists are rare otherwise, and most faults show only in long ones.
STEPS: Final = (st.integers(0, 30) | st.just(30)).flatmap(lambda length: st.lists(STEP, min_size=length, max_size=length))


@st.composite
def pipelines(draw: st.DrawFn) -> Pipeline:
    """Spans of microseconds, so that everything happens within one window of the cap."""
    probes = draw(st.integers(1, 3))
    return compose(
        Breaker(
            failures=draw(st.integers(1, 4)),
            open_for=draw(SPANS),
            probes=probes,
            successes=draw(st.integers(1, probes)),
            probe_deadline=draw(SPANS),
        ),
        draw(st.lists(LIMITS, max_size=3)),
        cap=RequestCapPolicy(RequestCap(draw(st.integers(1, 12)))),
        degraded=DegradedPolicy(Degraded(failures=draw(st.integers(2, 6)), cooldown=draw(SPANS))),
        exempt=draw(st.booleans()),
    )


def everything(subject: Pipeline) -> object:
    """Where all of it stands, the shared policies included."""
    return subject.state(), subject.cap.state(), subject.degraded.state(), subject.gate


def balances(subject: Pipeline, now: int) -> tuple[int, ...]:
    return (*(limit.available(Instant(now)) for limit in subject.limits), subject.cap.used(Instant(now)))


def end(subject: Pipeline, now: int, grant: Grant, how: End) -> None:
    if how is None:
        subject.refund(Instant(now), grant)
    elif isinstance(how, Result):
        subject.record(Instant(now), grant, how)
    else:
        subject.record(Instant(now), grant, Result.SUCCESS, how)


def end_some(subject: Pipeline, now: int, under_way: list[Grant], ends: list[tuple[int, End]]) -> None:
    for which, how in ends:
        if which < len(under_way):
            end(subject, now, under_way.pop(which), how)


def hangs_on_an_outcome(subject: Pipeline) -> bool:
    """A strict window with calls on the way names an instant at which there *can* be room, and a later one as time goes by."""
    return any(isinstance(limit, StrictWindowPolicy) and bool(limit.state().on_the_way) for limit in subject.limits)


@pytest.mark.promise("R03", "R07", "R10")
@given(pipelines(), STEPS)
def test_a_denied_request_spends_nothing_and_a_granted_one_spends_everywhere(subject: Pipeline, steps: list[Step]) -> None:
    now, under_way = START, list[Grant]()
    for gap, request, ends in steps:
        now += gap
        before, balance = everything(subject), balances(subject, now)
        denied = subject.verdict(Instant(now), request).when > now
        only_the_cap_denies(subject, Instant(now), request)
        subject.at_rest(Instant(now))

        assert before == everything(subject)
        if not denied:
            under_way.append(subject.commit(Instant(now), request))
            spent = [request.amount(None if limit.unit == "requests" else limit.unit) for limit in subject.limits]
            expected = [had - cost for had, cost in zip(balance, spent, strict=False)]
            assert (*expected, balance[-1] + request.cost) == balances(subject, now)
        end_some(subject, now, under_way, ends)


@pytest.mark.promise("R03", "R10")
@given(pipelines(), STEPS)
def test_the_instant_is_true_and_the_policy_that_names_it_is_the_reason(subject: Pipeline, steps: list[Step]) -> None:
    now, under_way = START, list[Grant]()
    for gap, request, ends in steps:
        now += gap
        verdict = subject.verdict(Instant(now), request)
        if verdict.by is not None:
            assert not isinstance(verdict.by, Mark)
            assert verdict.by.earliest(Instant(now), request) == verdict.when > now
        if now < verdict.when < AFTER_OUTCOME:
            assert subject.verdict(Instant(verdict.when - 1), request).when > verdict.when - 1
            if not hangs_on_an_outcome(subject):
                now = verdict.when
                assert Verdict(Instant(now), None) == subject.verdict(Instant(now), request)
        if subject.verdict(Instant(now), request).when <= now:
            under_way.append(subject.commit(Instant(now), request))
        end_some(subject, now, under_way, ends)


@pytest.mark.promise("R10")
@given(pipelines(), STEPS)
def test_no_limit_names_a_later_instant_and_none_before_names_the_same(subject: Pipeline, steps: list[Step]) -> None:
    now, under_way = START, list[Grant]()
    for gap, request, ends in steps:
        now += gap
        verdict = subject.verdict(Instant(now), request)
        order: list[Policy] = [*([] if subject.exempt else [subject.degraded]), subject.breaker, *subject.limits, subject.cap]
        named = [(policy, policy.earliest(Instant(now), request)) for policy in order]
        first = next((policy for policy, when in named if when == verdict.when > now), None)

        assert max(when for _, when in named) == verdict.when
        assert first is verdict.by
        if verdict.when <= now:
            under_way.append(subject.commit(Instant(now), request))
        end_some(subject, now, under_way, ends)


@pytest.mark.promise("R03")
@given(pipelines(), STEPS)
def test_a_grant_given_back_at_once_was_never_made(subject: Pipeline, steps: list[Step]) -> None:
    now, under_way = START, list[Grant]()
    for gap, request, ends in steps:
        now += gap
        if subject.verdict(Instant(now), request).when <= now:
            before = balances(subject, now)
            subject.refund(Instant(now), subject.commit(Instant(now), request))

            assert before == balances(subject, now)
            assert Verdict(Instant(now), None) == subject.verdict(Instant(now), request)
            under_way.append(subject.commit(Instant(now), request))
        end_some(subject, now, under_way, ends)


class Broken(RuntimeError):
    """What a policy with a bug raises."""


class BrokenCap(RequestCapPolicy):
    """Cannot commit; asked for, like any other cap, last of all."""

    def commit(self, now: Instant, request: Request) -> int:
        raise Broken


@pytest.mark.promise("R03")
@given(pipelines(), STEPS, st.integers(0, 3))
def test_when_one_of_them_fails_to_commit_nothing_is_spent(subject: Pipeline, steps: list[Step], place: int) -> None:
    now, under_way = START, list[Grant]()
    whole = subject.all_limits
    broken = (*whole[:place], cast("LimitPolicy", BrokenCap(RequestCap())), *whole[place:])
    for gap, request, ends in steps:
        now += gap
        if subject.verdict(Instant(now), request).when <= now:
            before = balances(subject, now)
            subject.all_limits = broken
            with pytest.raises(Broken):
                subject.commit(Instant(now), request)
            subject.all_limits = whole

            assert before == balances(subject, now)
            assert Verdict(Instant(now), None) == subject.verdict(Instant(now), request)
            under_way.append(subject.commit(Instant(now), request))
        end_some(subject, now, under_way, ends)


@pytest.mark.promise("R03")
@given(pipelines(), REQUESTS, st.integers(1, 6), st.integers(0, 6))
def test_settling_at_once_is_as_good_as_having_asked_for_what_was_used(
    subject: Pipeline, asked: Request, requests: int, tokens: int
) -> None:
    now = Instant(START)
    twin = compose(
        subject.breaker.parameters,
        [limit.parameters for limit in subject.limits],
        cap=RequestCapPolicy(subject.cap.parameters),
        degraded=DegradedPolicy(subject.degraded.parameters),
    )
    used = Request(requests, {"tokens": tokens})
    subject.record(now, subject.commit(now, asked), Result.SUCCESS, {"requests": requests, "tokens": tokens})
    twin.record(now, twin.commit(now, used), Result.SUCCESS)

    # The cap counts what was let out, and what was let out is what was asked for.
    assert balances(twin, now)[:-1] == balances(subject, now)[:-1]
    for limit, other in zip(subject.limits, twin.limits, strict=True):
        assert limit.earliest(now, Request(1, {"tokens": 1})) == other.earliest(now, Request(1, {"tokens": 1}))


@given(pipelines(), STEPS)
def test_at_and_after_the_gate_all_but_the_cap_grant_a_plain_request(subject: Pipeline, steps: list[Step]) -> None:
    now, under_way = START, list[Grant]()
    for gap, request, ends in steps:
        now += gap
        verdict = subject.verdict(Instant(now), PLAIN)
        if now >= subject.gate:
            assert verdict.by in (None, subject.cap)
            assert now < subject.cap.ready or verdict.by is None
        if subject.verdict(Instant(now), request).when <= now:
            under_way.append(subject.commit(Instant(now), request))
        end_some(subject, now, under_way, ends)


@given(pipelines(), STEPS)
def test_a_pipeline_at_rest_answers_like_a_new_one(subject: Pipeline, steps: list[Step]) -> None:
    now, under_way = START, list[Grant]()
    for gap, request, ends in steps:
        now += gap
        if subject.at_rest(Instant(now)):
            new = compose(
                subject.breaker.parameters,
                [limit.parameters for limit in subject.limits],
                cap=subject.cap,
                degraded=subject.degraded,
                exempt=subject.exempt,
            )
            assert new.verdict(Instant(now), request).when == subject.verdict(Instant(now), request).when
        if subject.verdict(Instant(now), request).when <= now:
            under_way.append(subject.commit(Instant(now), request))
        end_some(subject, now, under_way, ends)


@given(pipelines(), STEPS, st.integers(0, 30))
def test_a_pipeline_restored_in_mid_run_behaves_like_the_one_that_went_on(
    subject: Pipeline, steps: list[Step], cut: int
) -> None:
    other = subject
    now, under_way = START, list[Grant]()
    twins: list[Pipeline] = [subject]
    for number, (gap, request, ends) in enumerate(steps):
        now += gap
        if number == cut:
            other = compose(
                subject.breaker.parameters,
                [limit.parameters for limit in subject.limits],
                cap=RequestCapPolicy(subject.cap.parameters),
                degraded=DegradedPolicy(subject.degraded.parameters),
                exempt=subject.exempt,
            )
            other.restore(subject.state())
            other.cap.restore(subject.cap.state())
            other.degraded.restore(subject.degraded.state())
            other.regate()
            twins = [subject, other]
        verdicts = [twin.verdict(Instant(now), request).when for twin in twins]

        assert len(set(verdicts)) == 1
        if verdicts[0] <= now:
            grants = [twin.commit(Instant(now), request) for twin in twins]
            assert all(grant == grants[0] for grant in grants)
            under_way.append(grants[0])
        for twin in twins[1:]:
            end_some(twin, now, under_way.copy(), ends)
        end_some(subject, now, under_way, ends)
    assert (subject.state(), subject.cap.state()) == (other.state(), other.cap.state())
