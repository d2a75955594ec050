"""Asks of a member whose daemon comes back."""

import sys
from typing import cast

import pytest

from governor import Denied, Reason
from governor._actors.queue import Waiter
from governor._member.asks import Asks, Permits
from governor._member.away import Away
from governor._member.lease import Leases
from governor._member.stand_in import Parent, StandIn
from governor._units import Instant
from governor.messages import Acquire
from governor.policies.loops import Loops

DENIED = Denied("weather", Reason.SHUTTING_DOWN, None)


class Line:
    """Stands for the actor of this process, and for what finds it. Where one leaves, all those behind it are answered."""

    decides = True
    classifier = watch = failures = None

    def __init__(self) -> None:
        self.waiting: list[Waiter] = []

    def actor(self, scope: str) -> "Line":
        return self

    def exceeds_share(self, actor: "Line", acquire: Acquire) -> bool:
        return False

    def acquire(self, acquire: Acquire, waiter: Waiter) -> None:
        self.waiting.append(waiter)

    def leave(self, waiter: Waiter) -> None:
        if waiter in self.waiting:
            behind = self.waiting[self.waiting.index(waiter) + 1 :]
            self.waiting.clear()
            for one in behind:
                one.give(DENIED)


def test_asks_that_are_answered_while_others_are_taken_back_stay_answered() -> None:
    line = Line()
    asks = Asks(cast("Away", line), cast("Permits", None), time=lambda: 0.0, now=lambda: Instant(0))
    stand_in = StandIn("weather", cast("Parent", line), Leases(lambda: 0).of("weather"), Loops(), 10)
    asks.is_away = True
    waiters = [Waiter(Acquire(), lambda: None) for _ in range(3)]
    for waiter in waiters:
        asks.ask(stand_in, waiter.acquire, waiter)
    asks.keep_all()

    assert [None, DENIED, DENIED] == [waiter.answer for waiter in waiters]
    assert 1 == len(asks) == stand_in.waiting


@pytest.mark.parametrize("locked", [True, False])
def test_successes_are_counted_down_only_under_the_lock_of_the_interpreter(
    locked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: locked, raising=False)
    stand_in = StandIn("weather", cast("Parent", Line()), Leases(lambda: 0).of("weather"), Loops(), 10)

    assert (stand_in.answered is not None) is locked
