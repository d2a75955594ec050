"""Queue forecast: examples in which several policies, or several costs, hold up a queue."""

import pytest

from governor._actors.queue import Waiter, WaitQueue
from governor._units import AFTER_OUTCOME, MINUTE, NEVER, SECOND, Instant
from governor.config.text import parse_limit
from governor.messages import Acquire
from governor.policies.breakers.parameters import Breaker
from governor.policies.composition import compose
from governor.policies.contract import PLAIN, Request, Result
from governor.policies.degraded import Degraded, DegradedPolicy
from governor.policies.pipeline import Pipeline
from governor.policies.queue_forecast import MAX_FORECAST, earliest_behind
from governor.policies.request_cap import RequestCap, RequestCapPolicy
from governor.policies.verdict import Verdict

pytestmark = pytest.mark.promise("R04", "R10")

T0 = Instant(1_000 * SECOND)


def at(seconds: float) -> Instant:
    return Instant(T0 + round(seconds * SECOND))


def pipeline(*limits: str, breaker: Breaker | None = None, cap: int = 10**9) -> Pipeline:
    return compose(
        breaker or Breaker(),
        [parse_limit(limit) for limit in limits],
        cap=RequestCapPolicy(RequestCap(cap)),
        degraded=DegradedPolicy(Degraded()),
    )


def call(subject: Pipeline, now: Instant, request: Request = PLAIN, result: Result = Result.SUCCESS) -> None:
    assert subject.verdict(now, request).when <= now
    subject.record(now, subject.commit(now, request), result)


def queue_of(*requests: Request) -> WaitQueue:
    queue = WaitQueue()
    for request in requests:
        queue.join(Waiter(Acquire(request), lambda: None))
    return queue


def test_a_request_too_large_to_go_before_what_is_ahead_of_it_holds_up_those_behind_it() -> None:
    subject = pipeline("4 per 15s strict")
    call(subject, T0)

    assert [at(15), at(30), at(30)] == [
        earliest_behind(subject, T0, request, queue).when
        for request, queue in ((Request(4), queue_of()), (PLAIN, queue_of(Request(4))), (PLAIN, queue_of(Request(4), PLAIN)))
    ]


def test_two_limits_that_hold_up_a_queue_in_turns_take_longer_than_each_alone() -> None:
    subject = pipeline("10 per 100s strict", "1/s burst 1")
    for second in range(10):
        call(subject, at(second))

    # Ten from 100 s on, second by second, and the next ten a window after those.
    assert [at(100), at(109), at(200), at(209), at(300)] == [
        earliest_behind(subject, at(50), PLAIN, queue_of(*[PLAIN] * ahead)).when for ahead in (0, 9, 10, 19, 20)
    ]


def test_a_bucket_is_spent_only_once_an_open_breaker_lets_anything_through() -> None:
    subject = pipeline("1/s burst 1", breaker=Breaker(failures=1, probes=5))
    call(subject, T0, result=Result.FAILURE)

    assert [at(60), at(61), at(64)] == [
        earliest_behind(subject, T0, PLAIN, queue_of(*[PLAIN] * ahead)).when for ahead in (0, 1, 4)
    ]


def test_behind_the_probes_a_newcomer_hangs_on_an_outcome_that_cannot_come_before_them() -> None:
    subject = pipeline("1/s burst 1", breaker=Breaker(failures=1, probes=3))
    call(subject, T0, result=Result.FAILURE)

    verdict = earliest_behind(subject, T0, PLAIN, queue_of(*[PLAIN] * 3))

    # The third probe goes at 62 s, and the bucket has the next token at 63 s. If no outcome comes at all, the first probe is
    # given up a minute after it went.
    assert Verdict(at(120), subject.breaker, sooner=True, not_before=at(63)) == verdict


def test_in_a_pause_a_newcomer_that_will_wait_for_an_outcome_gets_the_end_of_the_pause() -> None:
    subject = pipeline("1 in flight")
    subject.commit(T0, PLAIN)
    subject.degraded.enter(T0)

    for queue in (queue_of(), queue_of(PLAIN), queue_of(Request(1, {"tokens": 3}))):
        assert (AFTER_OUTCOME, True, at(60)) == (
            (verdict := earliest_behind(subject, T0, PLAIN, queue)).when,
            verdict.sooner,
            verdict.not_before,
        )


def test_what_can_never_be_granted_is_denied_beside_any_queue_and_holds_up_none_once_a_limit_is_smaller() -> None:
    subject = pipeline("4 per 15s strict")
    call(subject, T0, Request(4))

    assert NEVER == earliest_behind(subject, T0, Request(5), queue_of(Request(2))).when
    assert at(15) == earliest_behind(subject, T0, PLAIN, queue_of(Request(5), Request(2))).when


@pytest.mark.parametrize(("asked_at", "expected"), [(2, (15, 17, 17, 30)), (5, (15, 18, 18, 30))])
def test_calls_on_the_way_in_a_strict_window_are_taken_to_arrive_now_or_have_arrived_within_the_margin(
    asked_at: int, expected: tuple[int, ...]
) -> None:
    subject = pipeline("4 per 15s strict")
    call(subject, T0)
    subject.commit(at(1), Request(3))

    assert list(map(at, expected)) == [
        earliest_behind(subject, at(asked_at), request, queue).when
        for request, queue in (
            (PLAIN, queue_of()),
            (Request(3), queue_of(PLAIN)),
            (Request(2), queue_of(PLAIN, PLAIN)),
            (Request(4), queue_of(PLAIN)),
        )
    ]


def test_behind_a_hundred_thousand_plain_requests_nothing_is_stepped_through(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = pipeline("10/s burst 100", cap=1000)
    for tenth in range(1200):
        if subject.verdict(at(tenth / 10), PLAIN).when <= at(tenth / 10):
            call(subject, at(tenth / 10))
    now = at(120)
    while subject.verdict(now, PLAIN).when <= now:
        call(subject, now)
    queue = queue_of(*[PLAIN] * 100_000)
    monkeypatch.setattr(WaitQueue, "calls", None)

    # The cap has about 700 of its 1,000 places taken, and never fills up at this pace.
    assert 690 < subject.cap.used(now)
    assert at(120 + 10_000.1) == earliest_behind(subject, now, PLAIN, queue).when


def test_behind_more_than_is_stepped_through_the_bound_is_not_too_early_and_not_far_off() -> None:
    subject = pipeline("100 per minute strict", "1000 tokens/s burst 1000")
    costs = [Request(1, {"tokens": 100 * (number % 7)}) for number in range(MAX_FORECAST + 1)]
    before, behind = (
        earliest_behind(subject, T0, PLAIN, queue_of(*costs[:-1])).when,
        earliest_behind(subject, T0, PLAIN, queue_of(*costs)).when,
    )

    assert at(67.4) == before
    # At most what the tokens take, and a window more.
    assert before <= behind <= at(2 * 60 + 37.5)


def test_a_queue_whose_members_all_go_at_once_holds_none_up() -> None:
    subject = pipeline("5 per minute strict")
    subject.degraded.enter(T0)

    assert Verdict(Instant(T0 + MINUTE), subject.degraded) == earliest_behind(subject, T0, PLAIN, queue_of(*[PLAIN] * 4))
    assert Verdict(Instant(T0 + MINUTE), subject.degraded) == earliest_behind(subject, T0, Request(2), queue_of(Request(2)))
