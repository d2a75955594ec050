"""One scenario of callers on other threads that meet the actors' own thread between any two bytecodes.

The governor, its actors, their mailboxes and leases are the real ones. What stands around them is a clock that is moved between
bytecodes, an event loop that does one callback at a time, and locks that are waited for by giving the turn away.
"""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Final, cast
from unittest.mock import patch

from anyio.abc import TaskGroup

from benchmarks.laws import Admission, excess_over_bucket, most_in_window
from governor import Config, Denied, Governor, InFlight, Permit, PermitDenied, Reason, StrictWindow, TokenBucket
from governor._actors import asking, portal
from governor._actors.actor import ScopeActor
from governor._actors.alarm import Alarm
from governor._actors.leases.permits_ahead import LeasedHeldPermit
from governor._life import Life
from governor._supervisor import Supervisor
from governor._units import DAY, MINUTE, SECOND, Instant, to_seconds
from governor.instrumentation import Announcer
from governor_client import GovernorClient
from tests.interleaving.stepper import SteppedLock, Stepper, Stuck
from tests.support.portals import StillPortal

START: Final = 10 * DAY


@dataclass(frozen=True)
class Ask:
    """What a caller does: ask in a scope and, if the answer is yes, report a status; None gives the permit back."""

    scope: str
    status: int | None = 200
    #: None does not wait; a number of seconds waits in the queue.
    timeout: float | None = None
    #: How many requests at once; callers elsewhere ask for one.
    cost: int = 1


@dataclass(frozen=True)
class Scenario:
    """What there is, and who does what: each of `scripts` is one caller elsewhere, `here` is what the actors' own loop asks."""

    limits: str
    scripts: Sequence[Sequence[Ask]]
    here: Sequence[Ask] = ()
    #: From when on a call counts as used in a strict window.
    counted: str = "arrival"
    cap: int = 10**9
    failures: int = 10**9
    degraded_after: int = 10**9
    #: How far the clock may move whenever the turn changes, in microseconds, and how often it does.
    ticks: Sequence[int] = ()
    tick_every: int = 20
    #: Functions of which each bytecode may be the last of a turn: see `Stepper`.
    closely: tuple[str, ...] = ()

    @property
    def scopes(self) -> tuple[str, ...]:
        return tuple(sorted({ask.scope for script in (*self.scripts, self.here) for ask in script}))

    def config(self) -> Config:
        return Config.from_mapping(
            {
                "global": {
                    "requests_per_minute": self.cap,
                    "degraded_after_failures": self.degraded_after,
                    "degraded_after_providers": 1,
                    "degraded_cooldown": "1h",
                },
                "outbound": {
                    "default": {
                        "limits": [self.limits],
                        "counted": self.counted,
                        "breaker": {"failures": self.failures, "open_for": "1h"},
                    }
                },
            }
        )


@dataclass
class Seen:
    """What the callers of one scope have seen."""

    admitted: list[Admission] = field(default_factory=list)
    denied: list[Reason] = field(default_factory=list)
    outcomes: list[int | None] = field(default_factory=list)
    #: Calls in flight: counted after a permit was given, until before its outcome is reported.
    in_flight: int = 0
    most_in_flight: int = 0


class _NoTasks:
    """Actors have no tasks here: the loop rings their alarms itself."""

    def start_soon(self, *_: object, name: object = None) -> None:
        pass


class World:
    """One scenario, in one order of events."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.now = START
        self.seen = {scope: Seen() for scope in scenario.scopes}
        #: How many permits came out of a lease.
        self.leased = 0
        self._random = Random(seed)
        self._stepper = Stepper(self._random, between=self._tick, rest=self._rest, closely=scenario.closely)
        self._governor = Governor(scenario.config())
        self._portal: StillPortal | None = None

    def run(self) -> None:
        """From the first ask until everything is at rest again; raises what went wrong."""
        self._stepper.add("loop", self._loop)
        for number, script in enumerate(self.scenario.scripts):
            self._stepper.add(f"caller {number}", partial(self._call, script))
        with self._patched():
            self._stepper.run()
        self._check_laws()

    @contextmanager
    def _patched(self) -> Iterator[None]:
        def lock() -> SteppedLock:
            return SteppedLock(self._stepper, self._seconds)

        with ExitStack() as patches:
            for module in (asking, portal):
                patches.enter_context(patch.object(module, "Lock", lock))
            yield

    # Time.

    def _seconds(self) -> float:
        return self.now / SECOND

    def _tick(self) -> None:
        if self.scenario.ticks and self._random.randrange(self.scenario.tick_every) == 0:
            self.now += self._random.choice(self.scenario.ticks)

    def _rest(self) -> bool:
        """No task can go on: either it is time for an alarm, or a call will never be answered."""
        alarm = self._next_alarm()
        unread = [actor.scope for actor in self._actors() if actor.inbox or actor.unread]
        if unread:
            raise Stuck(f"{unread} have messages that no task reads")
        if alarm == math.inf:
            return False
        self.now = max(self.now, math.ceil(alarm * SECOND))
        return True

    # The actors' own thread.

    def _actors(self) -> list[ScopeActor]:
        supervisor = self._governor._access.backend
        return [] if not isinstance(supervisor, Supervisor) else list(supervisor._scopes.actors.values())

    def _loop(self) -> None:
        governor = self._governor
        stepped = StillPortal(self._seconds)
        supervisor = Supervisor(
            governor.config,
            now=lambda: Instant(self.now),
            random=Random(0),
            portal=stepped,
            tasks=cast("TaskGroup", _NoTasks()),
            on_forgotten=lambda actor: governor._access.forget(governor._access.addresses, actor),
            announcer=Announcer(lambda: 0.0),
            leases=True,
        )
        governor._access.process = os.getpid()
        governor._access.begin(cast("Life", SimpleNamespace(addresses={}, portal=stepped)), supervisor)
        for scope in self.scenario.scopes:
            governor._access.find(scope, None, None)
        self._portal = stepped
        script = list(self.scenario.here)
        while script or not self._is_over():
            if script and self._random.random() < 0.3:
                self._ask_here(script.pop())
            elif not self._work():
                self._stepper.wait(lambda: bool(script) or self._has_work() or self._is_over())
        self._check_accounts(supervisor)

    def _is_over(self) -> bool:
        return self._stepper.left == 1 and self._next_alarm() == math.inf and not self._has_work()

    def _next_alarm(self) -> float:
        return min((alarm.at for alarm in self._alarms()), default=math.inf)

    def _has_work(self) -> bool:
        return self._portal is not None and bool(self._portal.posts or self._due())

    def _alarms(self) -> list[Alarm]:
        return [actor._steps.alarm for actor in self._actors() if actor._steps is not None]

    def _due(self) -> list[Alarm]:
        now = self._seconds()
        return [alarm for alarm in self._alarms() if alarm.at <= now]

    def _work(self) -> bool:
        assert self._portal is not None
        if self._portal.posts:
            self._portal.posts.popleft()()
            return True
        for alarm in self._due():
            alarm.ring()
            return True
        return False

    def _ask_here(self, ask: Ask) -> None:
        before = self.now
        answer = self._governor.try_permit(ask.scope, cost=ask.cost)
        self._take(ask, before, answer)

    # Callers elsewhere.

    def _call(self, script: Sequence[Ask]) -> None:
        self._stepper.wait(lambda: self._portal is not None)
        client = GovernorClient(self._governor)
        for ask in script:
            before = self.now
            closed = self._is_closed(ask.scope)
            if ask.timeout is None:
                answer = client.try_permit(ask.scope)
            else:
                try:
                    answer = client.permit(ask.scope, timeout=ask.timeout).__enter__()
                except PermitDenied as refusal:
                    answer = Denied(refusal.scope, refusal.reason, refusal.retry_after)
            assert not (closed and isinstance(answer, Permit)), f"granted in {ask.scope} after the failure was reported"
            # What the actor grants on request carries its grant along, as do permits of strict windows that are granted ahead.
            self.leased += isinstance(answer, LeasedHeldPermit) or (isinstance(answer, Permit) and answer._grant is None)
            self._take(ask, before, answer)

    def _is_closed(self, scope: str) -> bool:
        """Has a failure been reported that is enough to close this scope, or all of them?"""
        anywhere = any(500 in seen.outcomes for seen in self.seen.values())
        here = 500 in self.seen[scope].outcomes
        return (self.scenario.failures == 1 and here) or (self.scenario.degraded_after == 1 and anywhere)

    def _take(self, ask: Ask, before: int, answer: Permit | Denied) -> None:
        seen = self.seen[ask.scope]
        if isinstance(answer, Denied):
            seen.denied.append(answer.reason)
            return
        seen.in_flight += ask.cost
        seen.most_in_flight = max(seen.most_in_flight, seen.in_flight)
        if "flight" in self.scenario.limits:
            self._stepper.wait(lambda: True)  # While others go on.
        seen.in_flight -= ask.cost
        if ask.status is None:
            answer.give_back()
        else:
            seen.admitted.append(Admission(before, self.now, ask.cost))
            answer.record(status=ask.status)
        seen.outcomes.append(ask.status)

    # What must hold.

    def _check_accounts(self, supervisor: Supervisor) -> None:
        """Every call has been answered and every lease recalled: the counters equal what the callers have seen."""
        now = supervisor.statistics()
        assert supervisor.cap.leased == 0, "something is still granted ahead"
        assert all(scope.leased == scope.waiting == 0 for scope in now.scopes.values()), now
        assert not supervisor.failures, "a failure was never read"
        for name, seen in self.seen.items():
            (limit,) = now.scopes[name].limits
            assert "flight" not in limit.limit or limit.available == limit.capacity, "a place was lost, or is free twice"
            counters = now.scopes[name].counters
            # Granted to a call that gave up in that moment, because the clock had jumped: refunded, and counted so.
            unseen = counters.requests - len(seen.outcomes)
            assert 0 <= unseen <= seen.denied.count(Reason.OVERLOADED), (name, counters)
            expected = (seen.outcomes.count(None) + unseen, seen.outcomes.count(200), seen.outcomes.count(500))
            assert expected == (counters.neutral, counters.answered_2xx, counters.answered_5xx), (name, counters)

    def _check_laws(self) -> None:
        everything = [one for seen in self.seen.values() for one in seen.admitted]
        assert most_in_window(everything, MINUTE) <= self.scenario.cap, "more than the cap within a minute"
        for name, seen in self.seen.items():
            limit = self._governor.config.for_scope(name).limits[0]
            if isinstance(limit, InFlight):
                assert seen.most_in_flight <= limit.amount, f"more than {name} may have in flight"
                continue
            if isinstance(limit, StrictWindow):
                assert most_in_window(seen.admitted, limit.per) <= limit.amount, f"more than {name} may have in a window"
            elif seen.admitted:
                assert isinstance(limit, TokenBucket)
                excess = excess_over_bucket(seen.admitted, amount=limit.amount, per=limit.per, burst=limit.burst)
                assert excess <= 0, f"more than {name} may have: {to_seconds(excess):.6f}"
