"""What a permit reports to its owner, and how often."""

import asyncio
import copy
import gc
import pickle
import urllib.error
from collections import deque
from collections.abc import Callable
from email.message import Message
from operator import length_hint
from sys import maxsize
from threading import Thread, get_ident
from typing import Any

import msgspec
import pytest

from governor import ConfigError, Denied, Permit, RateLimited, Reason, UsageError, _build
from governor._actors.counters import Counters
from governor._actors.leases.permits_ahead import LeasedHeldPermit, LeasedPermit
from governor._actors.loop_watch import LoopWatch
from governor._actors.permit import MAX_SUCCESSES, HeldPermit
from governor._failures import DEFAULT
from governor._fields import PermitSource, Tally
from governor._units import Instant
from governor.hints import Hint
from governor.messages import Answered, Outcome, Report
from governor.policies.arrivals import Ending
from governor.policies.ban_guard import Rejection
from governor.policies.contract import Grant, Request, Result
from governor.policies.degraded import Degraded, DegradedPolicy

GRANT = Grant(Instant(5), 1, Request(2, {"tokens": 10}), (0,))


class Listener(PermitSource):
    """An owner that writes down what it is told."""

    scope = "github:get"
    counters: Counters
    degraded: DegradedPolicy

    def __init__(self, *, listens: bool = True, awaits_answers: bool = False, thread: int | None = None) -> None:
        self.thread = get_ident() if thread is None else thread
        self.counters = Counters()
        self.degraded = DegradedPolicy(Degraded())
        self.listens = listens
        self.awaits_answers = awaits_answers
        self.gathers = False
        self.classifier = DEFAULT
        self.watch: LoopWatch | None = None
        self.answered: Tally | None = None
        self.successes: deque[int | None] = deque()
        self.failures: list[object] = []
        self.outcomes: deque[Outcome] = deque()
        self.told: list[tuple[str, Outcome]] = []

    def wake(self) -> None:
        raise AssertionError

    def prepare(self) -> None:
        raise AssertionError

    def succeed(self, permit: Permit, granted_at: Instant, generation: int, status: int | None) -> bool:
        return False

    def deliver(self, outcome: Outcome, *, later: bool = False) -> None:
        assert outcome is self.outcomes[-1]
        self.told.append(("send" if later or get_ident() != self.thread else "tell", outcome))

    def results(self) -> list[Result]:
        return [message.result for _, message in self.told if isinstance(message, Report)]


@pytest.fixture
def owner() -> Listener:
    """An owner on this thread who wants to know everything."""
    return Listener()


@pytest.fixture
def permit(owner: Listener) -> Permit:
    """A permit of that owner."""
    return Permit(owner, Instant(5), 1, GRANT)


@pytest.mark.promise("R06")
@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, "success"),
        (301, "success"),
        (404, "success"),
        (429, "success"),
        (499, "success"),
        (500, "failure"),
        (599, "failure"),
    ],
)
def test_mistakes_of_the_caller_are_no_failures_of_the_provider(owner: Listener, status: int, result: str) -> None:
    Permit(owner, Instant(5), 1, GRANT).record(status=status)

    assert [result] == [told.value for told in owner.results()]


def _hint(**said: Any) -> Hint:
    return Hint(**{"dimension": "requests", **said})


class _Status(int):
    __slots__ = ()


@pytest.mark.promise("R19")
@pytest.mark.parametrize(
    ("what", "report"),
    [
        ("status", lambda permit: permit.record(status="503", error=OSError())),
        ("status", lambda permit: permit.record(status=10**20)),
        ("status", lambda permit: permit.record(status="200")),
        ("status", lambda permit: permit.record(status=-1)),
        ("status", lambda permit: permit.record(status=0.5)),
        ("error", lambda permit: permit.record(error="timeout")),
        ("status", lambda permit: permit.answered(status="429", rejection=Rejection.LIMITED)),
        ("status", lambda permit: permit.answered(status=10**20, rejection=Rejection.LIMITED)),
        ("rejection", lambda permit: permit.answered(rejection="limited")),
        ("hints", lambda permit: permit.hints("throttled")),
        ("hints", lambda permit: permit.hints(Hint("requests", remaining=3))),
        ("hints", lambda permit: permit.hints([_hint(remaining="3")])),
        ("hints", lambda permit: permit.hints([_hint(retry_after=1.5)])),
        ("hints", lambda permit: permit.hints([_hint(severity="throttled")])),
        ("hints", lambda permit: permit.hints([_hint(scope=["provider"])])),
        ("hints", lambda permit: permit.hints([_hint(dimension=5)])),
        ("hints", lambda permit: permit.hints([_hint(name=5)])),
        ("used", lambda permit: permit.record(used={1: 1})),
        ("used", lambda permit: permit.record(used=900)),
        ("used", lambda permit: permit.settle(**{"\udcff": 1})),
        ("used", lambda permit: permit.settle(**{"x" * 101: 1})),
        ("used", lambda permit: permit.settle(**{f"x{n}": 1 for n in range(101)})),
    ],
)
def test_what_would_make_the_actor_fail_for_all_its_callers_is_a_mistake_of_this_one(
    owner: Listener, permit: Permit, what: str, report: Callable[[Permit], None]
) -> None:
    with pytest.raises(ConfigError, match=f"^{what} is "):
        report(permit)

    assert [] == owner.told


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_permit_cannot_be_copied_since_its_place_would_be_given_back_twice(
    permit: Permit, copied: Callable[[Permit], object]
) -> None:
    with pytest.raises(UsageError, match="allows one call and cannot be copied"):
        copied(permit)


def test_a_status_is_reported_as_a_plain_number(owner: Listener, permit: Permit) -> None:
    permit.record(status=_Status(503))

    ((_, report),) = owner.told
    assert isinstance(report, Report)
    assert (503, int) == (report.status, type(report.status))


def test_an_outcome_is_reported_with_all_that_is_known(owner: Listener, permit: Permit) -> None:
    permit.record(status=200, used={"tokens": 7})

    assert [("tell", Report(GRANT, Result.SUCCESS, 200, {"tokens": 7}))] == owner.told
    assert permit.reported


def test_an_outcome_is_reported_once(owner: Listener, permit: Permit) -> None:
    permit.record(status=503)
    for again in (permit.record, permit.give_back):
        with pytest.raises(UsageError, match="github:get has been reported before"):
            again()

    assert [Result.FAILURE] == owner.results()


@pytest.mark.promise("R06")
@pytest.mark.parametrize(("thread", "way"), [(0, "send"), (None, "tell")])
def test_the_beginning_of_an_answer_is_reported_once_and_the_outcome_refers_to_it(thread: int | None, way: str) -> None:
    owner = Listener(awaits_answers=True, thread=thread)
    permit = Permit(owner, Instant(5), 1, GRANT)
    for status in (200, 500):
        permit.answered(status=status)
    permit.record(status=200)
    permit.answered(status=200)
    (first, began), (_, outcome) = owner.told

    assert (way, Answered(GRANT, 200)) == (first, began)
    assert isinstance(outcome, Report)
    assert outcome.answered is began


def test_the_beginning_of_an_answer_is_not_told_to_an_owner_who_does_not_wait_for_it() -> None:
    owner = Listener(listens=False)
    permit = Permit(owner, Instant(5), 1)
    permit.answered(status=200)
    permit.record(status=200)

    assert ([], 1) == (owner.told, owner.counters.answered_2xx)


def test_a_success_after_an_answer_that_nothing_waits_for_is_read_in_place() -> None:
    class InPlace(Listener):
        def succeed(self, permit: Permit, granted_at: Instant, generation: int, status: int | None) -> bool:
            self.told.append(("succeed", Grant(granted_at, generation)))
            return True

    quiet, curious = InPlace(), InPlace(awaits_answers=True)
    for owner in (quiet, curious):
        permit = Permit(owner, Instant(5), 1)
        permit.answered(status=200)
        permit.record(status=200)

    assert [("succeed", Grant(Instant(5), 1))] == quiet.told
    assert ["tell", "tell"] == [way for way, _ in curious.told]


def test_a_hint_of_a_ban_is_reported_whatever_the_status() -> None:
    owner = Listener()
    Permit(owner, Instant(5), 1).answered(status=400, rejection=Rejection.LIMITED)

    assert [("tell", Answered(Grant(Instant(5), 1), 400, Rejection.LIMITED))] == owner.told
    assert [Rejection.LIMITED, Rejection.NONE, None] == [Rejection.of(status) for status in (429, 499, 500)]


def test_a_call_whose_answer_has_begun_was_made_and_is_not_given_back(owner: Listener, permit: Permit) -> None:
    permit.answered(status=200)
    with pytest.raises(UsageError, match="github:get has begun: record its outcome"):
        permit.give_back()

    assert not permit.reported


def test_a_held_permit_that_is_forgotten_after_its_answer_began_says_so() -> None:
    owner = Listener(awaits_answers=True)
    HeldPermit(owner, Instant(5), 1, GRANT).answered(status=200)
    gc.collect()

    (_, began), (_, outcome) = owner.told

    assert isinstance(began, Answered)
    assert Report(GRANT, Result.NEUTRAL, answered=began, ending=Ending.GIVEN_UP) == outcome


def test_a_permit_given_back_says_that_nothing_was_sent(owner: Listener, permit: Permit) -> None:
    permit.give_back()
    with pytest.raises(UsageError):
        permit.record(status=200)

    assert [("tell", GRANT)] == owner.told
    assert permit.reported


def test_leaving_the_block_is_a_success(owner: Listener, permit: Permit) -> None:
    with permit:
        pass

    assert [Result.SUCCESS] == owner.results()


@pytest.mark.promise("R06")
@pytest.mark.parametrize(
    ("error", "report"),
    [
        (TimeoutError(), Report(GRANT, Result.FAILURE, ending=Ending.GIVEN_UP)),
        (ConnectionResetError(), Report(GRANT, Result.FAILURE, ending=Ending.GIVEN_UP)),
        (ConnectionRefusedError(), Report(GRANT, Result.FAILURE, ending=Ending.UNKNOWN)),
        (urllib.error.HTTPError("", 503, "", Message(), None), Report(GRANT, Result.FAILURE, 503, ending=Ending.REJECTED)),
        (urllib.error.HTTPError("", 429, "", Message(), None), Report(GRANT, Result.SUCCESS, 429, ending=Ending.REJECTED)),
        (KeyError("customer_id"), Report(GRANT, Result.NEUTRAL, ending=Ending.UNKNOWN)),
    ],
)
def test_an_exception_in_the_block_counts_as_what_it_says(
    owner: Listener, permit: Permit, error: Exception, report: Report
) -> None:
    with pytest.raises(type(error)), permit:
        raise error

    assert [("tell", msgspec.structs.replace(report, error=type(error).__name__))] == owner.told


@pytest.mark.parametrize(
    ("status", "error", "report"),
    [
        (200, ConnectionResetError(), Report(GRANT, Result.FAILURE, 200, ending=Ending.GIVEN_UP)),
        (200, KeyError(), Report(GRANT, Result.SUCCESS, 200)),
        (503, KeyError(), Report(GRANT, Result.FAILURE, 503, ending=Ending.REJECTED)),
        (200, asyncio.CancelledError(), Report(GRANT, Result.NEUTRAL, 200, ending=Ending.GIVEN_UP)),
    ],
)
def test_an_error_after_a_status_is_that_of_an_answer_that_broke_off_or_changes_nothing(
    owner: Listener, permit: Permit, status: int, error: BaseException, report: Report
) -> None:
    permit.record(status=status, error=error)

    assert [("tell", msgspec.structs.replace(report, error=type(error).__name__))] == owner.told


def test_cancellation_in_the_block_is_neutral(owner: Listener, permit: Permit) -> None:
    with pytest.raises(asyncio.CancelledError), permit:
        raise asyncio.CancelledError

    assert [Result.NEUTRAL] == owner.results()


def test_a_refusal_inside_the_block_says_nothing_about_the_provider(owner: Listener, permit: Permit) -> None:
    with pytest.raises(RateLimited), permit:
        raise Denied("openai", Reason.RATE_LIMIT, 1.0).exception()

    assert [Result.NEUTRAL] == owner.results()


def test_what_was_recorded_in_the_block_stands(owner: Listener, permit: Permit) -> None:
    with pytest.raises(ValueError, match="too late"), permit:
        permit.record(status=200)
        raise ValueError("too late")

    assert [Result.SUCCESS] == owner.results()


def test_from_another_thread_an_outcome_is_sent() -> None:
    owner = Listener()
    permits = [Permit(owner, Instant(5), 1, GRANT) for _ in range(2)]

    def elsewhere() -> None:
        permits[0].record(status=200)
        permits[1].give_back()

    thread = Thread(target=elsewhere)
    thread.start()
    thread.join()

    assert [("send", Report(GRANT, Result.SUCCESS, 200)), ("send", GRANT)] == owner.told


def test_a_plain_success_is_only_counted_when_the_owner_does_not_listen() -> None:
    owner = Listener(listens=False)
    for status in (200, 204, 404, None):
        Permit(owner, Instant(5), 1).record(status=status)
    counters = owner.counters.record()

    assert [] == owner.told
    assert (2, 1, 1) == (counters.answered_2xx, counters.answered_4xx, counters.others)


@pytest.mark.promise("R12")
@pytest.mark.parametrize("status", [401, 403, 429])
def test_a_rejected_call_is_reported_although_the_owner_does_not_listen(status: int) -> None:
    owner = Listener(listens=False)
    permit = Permit(owner, Instant(5), 1)
    permit.answered(status=status)
    permit.record(status=status)

    assert ["tell", "tell"] == [how for how, _ in owner.told]


def test_from_another_thread_it_is_left_to_be_counted_later() -> None:
    owner = Listener(listens=False, thread=0)
    for status in (200, 404, None):
        Permit(owner, Instant(5), 1).record(status=status)

    assert ([], [200, 404, None]) == (owner.told, list(owner.successes))


@pytest.mark.promise("R06", "R08")
@pytest.mark.parametrize(("thread", "way"), [(0, "send"), (None, "tell")])
def test_unless_a_failure_may_have_been_sent_before_it(thread: int | None, way: str) -> None:
    owner = Listener(listens=False, thread=thread)
    owner.failures.append(object())
    Permit(owner, Instant(5), 1, GRANT).record(status=200)

    assert [(way, Report(GRANT, Result.SUCCESS, 200))] == owner.told
    assert not owner.successes


def test_and_only_counted_if_its_status_is_200_and_that_is_counted() -> None:
    owner = Listener(listens=False, thread=0)
    owner.answered = Tally()
    permits = [Permit(owner, Instant(5), 1) for _ in range(4)]
    for permit, status in zip(permits, (200, 404, 200, 201), strict=True):
        permit.record(status=status)

    assert (2, [404, 201]) == (maxsize - length_hint(owner.answered), list(owner.successes))
    assert all(permit.reported for permit in permits)


def test_nor_are_more_left_than_may_lie_unread() -> None:
    owner = Listener(listens=False, thread=0)
    for _ in range(MAX_SUCCESSES + 1):
        Permit(owner, Instant(5), 1, GRANT).record(status=200)

    assert [("send", Report(GRANT, Result.SUCCESS, 200))] == owner.told
    assert MAX_SUCCESSES == len(owner.successes)


def test_a_success_that_ends_a_row_of_failures_anywhere_is_reported() -> None:
    owner = Listener(listens=False)
    owner.degraded.failures = 3
    Permit(owner, Instant(5), 1).record(status=200)

    assert [Result.SUCCESS] == owner.results()


def test_a_held_permit_that_is_forgotten_reports_neutral() -> None:
    owner = Listener()
    HeldPermit(owner, Instant(5), 1, GRANT)
    gc.collect()

    assert [("send", Report(GRANT, Result.NEUTRAL, ending=Ending.GIVEN_UP))] == owner.told


def test_a_held_permit_that_was_used_reports_nothing_more() -> None:
    owner = Listener()
    HeldPermit(owner, Instant(5), 1, GRANT).record(status=200)
    gc.collect()

    assert [Result.SUCCESS] == owner.results()


def test_a_permit_shows_its_scope_and_whether_it_was_reported(permit: Permit) -> None:
    before = repr(permit)
    permit.give_back()

    assert "<Permit for github:get, not reported yet>" == before
    assert "<Permit for github:get, reported>" == repr(permit)


@pytest.mark.skipif(_build.name() != "pure Python", reason="fields in C are stored in C")
@pytest.mark.parametrize("kind", [Permit, HeldPermit, LeasedPermit, LeasedHeldPermit])
def test_the_interpreter_stores_the_fields_of_a_permit_itself(kind: type[Permit]) -> None:
    own = vars(kind)  # What a class inherits, msgspec replaces.

    assert (object.__setattr__, object.__delattr__) == (own.get("__setattr__"), own.get("__delattr__"))
