"""Failures of a member that the daemon has not read: while there are some, nothing is taken from a lease."""

from typing import cast

import pytest

from governor._actors.loop_watch import LoopWatch
from governor._failures import Classifier
from governor._member.away import Away
from governor._member.calls import Calls
from governor._member.permits import AskedOwner, Outbox, UnreadFailures
from governor._member.session import Session
from governor._units import Duration, Instant
from governor.messages import Report
from governor.policies.contract import PLAIN, Grant, Result


def test_a_failure_whose_outcome_is_about_to_be_left_outlasts_a_look() -> None:
    failures = UnreadFailures()
    failures.append(None)
    failures.look()

    assert failures


def test_a_failure_of_a_thread_that_was_interrupted_is_dropped_by_the_second_look() -> None:
    failures = UnreadFailures()
    failures.append(None)
    failures.look()
    failures.look()

    assert not failures


class Outside:
    """Stands for the outbox, and for the session."""

    def __init__(self) -> None:
        self.failures = UnreadFailures()

    def tell(self, *_: object, first: bool) -> None:
        assert first


@pytest.mark.promise("R06", "R51")
def test_a_failure_that_was_dropped_too_early_is_unread_from_the_moment_it_is_sent() -> None:
    outside = Outside()
    calls = Calls(cast("Away", None), cast("Outbox", outside), cast("Classifier", None), cast("LoopWatch", None))
    calls.begin(cast("Session", outside))
    owner = AskedOwner("weather", cast("Outbox", outside), cast("Classifier", None), None, connection=1, number=1)
    grant = Grant(Instant(0), 0, PLAIN)
    calls.tell(owner, Report(grant, Result.FAILURE, Duration(0)))
    once = bool(outside.failures)
    calls.failure_read()

    assert once
    assert not outside.failures
