"""Two scopes of one owner and three processes, message by message, against everything that the limits must never see.

Real are the actors, the sessions of the owner, the messages as they travel, and the leases of the processes. Around them
stand a clock that moves by hand, clocks of processes that run slower, and channels that delay for as long as hypothesis likes,
lose what is in flight when a process dies, and order nothing between connections. A process that does nothing for a while is
one that was stopped.
"""

from bisect import insort
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat, starmap
from random import Random
from threading import Event
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from governor import Grant, Instant, Permit, Result
from governor._actors.actor import ScopeActor
from governor._actors.alarm import Alarms
from governor._actors.common import Common
from governor._actors.effects import Effect, Signal
from governor._actors.failures import Failures
from governor._actors.inbound.group import GroupActor
from governor._member.lease import Leases, Reported, use_of
from governor._owner.members import TTL
from governor._owner.session import Session
from governor._units import DAY, SECOND, Duration
from governor.instrumentation import Announcer
from governor.messages import Acquire, Report
from governor.policies.arrivals import Arrivals
from governor.policies.breakers.parameters import Breaker
from governor.policies.breakers.states import BreakerStatus
from governor.policies.budget import Budgets
from governor.policies.composition import compose
from governor.policies.contract import Request
from governor.policies.degraded import Degraded, DegradedPolicy
from governor.policies.gcra import TokenBucket
from governor.policies.in_flight import InFlight
from governor.policies.request_cap import WINDOW, RequestCap, RequestCapPolicy
from governor.policies.retry import Retry
from governor.protocol import (
    FROM_MEMBER,
    FROM_OWNER,
    VERSION,
    Act,
    Acted,
    Ask,
    AskDenied,
    FrameReader,
    FromMember,
    FromOwner,
    Granted,
    Group,
    Hello,
    Leased,
    LeaseReport,
    Read,
    Recall,
    Told,
    Unused,
    Welcome,
    Withdraw,
    encode,
)
from tests.properties.test_lease_machine import NoSharing
from tests.support.portals import StillPortal

START: Final = 10 * DAY
#: A bucket, from which permits are leased, and places in flight.
BUCKET, PLACES = "bucket:get", "places:get"
#: A leased permit knows its owner, which is of no use here.
ANY_OWNER: Final[Any] = None
WHO: Final = st.integers(0, 2)
SOME: Final = st.integers(1, 8)
GAPS: Final = st.one_of(
    st.integers(0, 3),
    st.integers(0, 100_000),
    st.sampled_from([TTL // 4, TTL, TTL + TTL // 10, TTL + TTL // 10 + 1, 3 * SECOND, 61 * SECOND]),
)
#: What a process may hold after the connection is lost, and no other has been made, before the owner gives up on it.
LASTS: Final = TTL + TTL // 10


@dataclass
class Process:
    """A process, its clock in nanoseconds, and the two directions of its connection."""

    leases: Leases
    session: Session | None = None
    to_owner: deque[bytes] = field(default_factory=deque)
    to_process: deque[bytes] = field(default_factory=deque)
    number: int = 0
    #: Of asks that wait for their answer, the scope.
    asked: dict[int, str] = field(default_factory=dict)
    withdrawn: set[int] = field(default_factory=set)
    #: Failures that the owner has not read, as far as the process knows.
    unread: set[int] = field(default_factory=set)
    #: Calls in flight: the number of the ask, or -1 for those of an earlier connection, and the grant.
    calls: list[tuple[int, Grant]] = field(default_factory=list)
    #: When the connection was lost, until the owner has read the hello of another one.
    lost_at: int | None = None
    #: What was used and not reported when it was lost.
    used: dict[str, int] = field(default_factory=dict)
    #: Set when it dies; another process in its place has an event of its own.
    death: Event = field(default_factory=Event)


class MachineLeases(RuleBasedStateMachine):
    """Every rule is one action of a process, of the owner, or of time."""

    sharing: Final = NoSharing()
    arrivals = Arrivals(linger=Duration(0))

    @initialize(
        amount=st.sampled_from([1, 50]),
        burst=st.sampled_from([30, 100]),
        cap=st.sampled_from([60, 10_000]),
        failures=st.integers(1, 3),
        places=st.integers(1, 3),
        slower=st.tuples(*[st.integers(0, 8)] * 3),
    )
    def begin(self, amount: int, burst: int, cap: int, failures: int, places: int, slower: tuple[int, ...]) -> None:
        self.now = START
        self.ttl, self.opens_at, self.budgets = TTL, Instant(0), Budgets()
        self.failures = Failures()
        #: Sessions whose connection is lost, until their leases have run out.
        self.gone: list[Session] = []
        self.leasing: set[ScopeActor] = set()
        self.portal = StillPortal(lambda: self.now / SECOND)
        self.alarms = Alarms(self.portal)
        self.cap = RequestCapPolicy(RequestCap(cap))
        self.degraded = DegradedPolicy(Degraded(failures=1000, providers=1))
        self.bucket, self.places = TokenBucket(amount, Duration(SECOND), burst), places
        self.actors = {
            BUCKET: self._actor(BUCKET, Breaker(failures=failures), self.bucket),
            PLACES: self._actor(PLACES, Breaker(failures=1000), InFlight(places)),
        }
        clocks = [partial(self._slow_clock, percent) for percent in slower]
        self.processes = [Process(Leases(clock)) for clock in clocks]
        #: When calls were made in the bucket, and in any scope.
        self.used: list[int] = []
        self.all_used: list[int] = []
        for process in self.processes:
            self._connect(process)

    def _slow_clock(self, percent: int) -> int:
        return self.now * 1000 * (100 - percent) // 100

    def _actor(self, name: str, breaker: Breaker, limit: TokenBucket | InFlight) -> ScopeActor:
        return ScopeActor(
            name,
            compose(breaker, [limit], cap=self.cap, degraded=self.degraded, arrivals=self.arrivals),
            common=Common(
                portal=self.portal,
                failures=self.failures,
                clock=self.clock,
                random=Random(0),
                parent=self,
                announcer=Announcer(lambda: 0.0),
                max_waiting=100,
            ),
            retry=Retry(),
        )

    # What actors know of their supervisor, and sessions of the governor.

    def is_any_healthy(self, now: Instant) -> bool:
        return False

    def perform(self, actor: ScopeActor, effect: Effect) -> None:
        if effect is Signal.PAUSED:
            for one in self.actors.values():
                one.on_published()

    def recall_all(self) -> None:
        for actor in tuple(self.leasing):
            actor.recall()

    def clock(self) -> Instant:
        return Instant(self.now)

    def actor(self, scope: str) -> ScopeActor | None:
        return self.actors[scope]

    secret, inbound = b"", ""

    def group(self, group: Group) -> GroupActor | None:
        raise AssertionError

    def wait_for_others(self) -> None:
        raise AssertionError

    def query(self, session: Session, number: int, document: str) -> None:
        raise AssertionError

    def act(self, message: Act) -> Acted:
        raise AssertionError

    # The limits.

    def _use(self, scope: str, at: int) -> None:
        """A call has been made."""
        insort(self.all_used, at)
        if scope == BUCKET:
            insort(self.used, at)

    def _never_used(self, scope: str, grant: Grant) -> None:
        for _ in range(grant.request.cost):
            self.all_used.remove(grant.granted_at)
        if scope == BUCKET:
            self.used.remove(grant.granted_at)

    @invariant()
    def no_limit_is_exceeded(self) -> None:
        """Looked at after each rule, since what a step of an actor raises is not seen."""
        if not hasattr(self, "processes"):
            return
        # In every span no more than the burst and what it refills: as a bucket that is filled by each use, and drains.
        amount, per, level, before = self.bucket.amount, self.bucket.per, 0, 0
        for one in self.used:
            level = max(0, level - (one - before) * amount) + per
            before = one
            assert level <= self.bucket.burst * per, "the limit of the bucket"
        most = self.cap.parameters.most
        assert all(last - first >= WINDOW for first, last in zip(self.all_used, self.all_used[most:], strict=False)), "the cap"
        assert not any(actor.life.down for actor in self.actors.values())

    @invariant()
    def no_more_calls_are_in_flight_than_allowed(self) -> None:
        if not hasattr(self, "processes"):
            return
        alive = sum(_places(process) for process in self.processes if not self._is_abandoned(process))
        assert alive <= self.places

    def _is_abandoned(self, process: Process) -> bool:
        return process.lost_at is not None and self.now >= process.lost_at + LASTS

    # Time.

    @rule(gap=GAPS)
    def pass_time(self, gap: int) -> None:
        self.now += gap

    # Processes.

    def _connect(self, process: Process) -> None:
        process.to_owner, process.to_process = deque(), deque()
        process.session = Session(self, partial(self._sent, process, process.to_process), process.death.is_set)
        process.number = 0
        process.asked.clear()
        process.withdrawn.clear()
        process.unread.clear()
        process.leases.begin(TTL * 1000)
        process.calls = [(-1, grant) for _, grant in process.calls]
        held = {PLACES: _places(process)} if process.calls else {}
        used = {scope: {"requests": count} for scope, count in process.used.items()}
        process.used = {}
        process.leases.sent(0)
        self._say(process, Hello(VERSION, 1, "", held, used))

    def _sent(self, process: Process, channel: deque[bytes], message: FromOwner) -> None:
        if isinstance(message, Granted):
            # What is lost on the way counts nevertheless.
            for _ in range(message.grant.request.cost):
                self._use(process.asked[message.number], message.grant.granted_at)
        channel.append(encode(message))

    def _say(self, process: Process, message: FromMember) -> None:
        process.to_owner.append(encode(message))

    def _next(self, process: Process) -> int:
        process.number += 1
        process.leases.sent(process.number)
        return process.number

    @rule(who=WHO, scope=st.sampled_from([BUCKET, BUCKET, PLACES]), count=SOME, timeout=st.sampled_from([0.0, 0.0, 1.0, None]))
    def ask(self, who: int, scope: str, count: int, timeout: float | None, cost: int = 1) -> None:
        process = self.processes[who]
        if process.session is not None:
            for _ in range(count):
                number = self._next(process)
                process.asked[number] = scope
                self._say(
                    process,
                    Ask(number, scope, Acquire(Request(cost), timeout=timeout) if cost > 1 else Acquire(timeout=timeout)),
                )

    @rule(who=WHO)
    def withdraw(self, who: int) -> None:
        process = self.processes[who]
        waiting = [number for number in process.asked if number not in process.withdrawn]
        if process.session is not None and waiting:
            process.withdrawn.add(waiting[0])
            self._say(process, Withdraw(waiting[0]))

    @rule(who=WHO, most=st.integers(1, 100))
    def use(self, who: int, most: int) -> None:
        """Calls take what was leased."""
        process = self.processes[who]
        for _ in range(0 if process.unread else most):
            try:
                permit = process.leases.of(BUCKET).pop()
            except StopIteration:
                return
            self._use(BUCKET, self.now)
            breaker = self.actors[BUCKET].ledger.pipeline.breaker
            told = process.session is not None and not process.to_process and not process.to_owner
            assert not told or breaker.generation == permit.grant().generation or breaker.status is BreakerStatus.CLOSED

    @rule(who=WHO, wanted=st.sampled_from([0, 5, 50, 500]))
    def report(self, who: int, wanted: int) -> None:
        """The process says what has become of its permits; if it has none, this only refreshes its leases."""
        process = self.processes[who]
        if process.session is not None:
            process.leases.lapse()
            self._report(process, process.leases.of(BUCKET).report(), wanted)

    def _report(self, process: Process, reported: Reported, wanted: int = 0) -> None:
        self._say(process, LeaseReport(self._next(process), (use_of(BUCKET, reported, wanted),)))

    @rule(who=WHO)
    def fail(self, who: int) -> None:
        """A call fails, and from then on nothing is used before the owner has read that."""
        process = self.processes[who]
        if process.session is not None:
            self.report(who, 0)
            number = self._next(process)
            process.unread.add(number)
            generation = self.actors[BUCKET].ledger.pipeline.breaker.generation
            self._say(process, Told(BUCKET, Report(Grant(Instant(self.now), generation), Result.FAILURE), 0, number))

    @rule(who=WHO, status=st.sampled_from([200, None]))
    def end_call(self, who: int, status: int | None) -> None:
        process = self.processes[who]
        if process.session is not None and process.calls:
            number, grant = process.calls.pop(0)
            outcome = Unused(grant) if status is None else Report(grant, Result.SUCCESS, status)
            if status is None and number > 0:
                self._never_used(PLACES, grant)
            self._say(process, Told(PLACES, outcome, number))

    @rule(who=WHO, count=st.integers(1, 20))
    def read(self, who: int, count: int) -> None:
        """Messages of the owner arrive."""
        process = self.processes[who]
        reader = FrameReader(FROM_OWNER)
        for _ in range(min(count, len(process.to_process))):
            for message in reader.feed(process.to_process.popleft()):
                self._hear(process, message)

    def _hear(self, process: Process, message: FromOwner) -> None:
        leases = process.leases
        match message:
            case Welcome():
                leases.answered(0)
            case Leased(scope, generation, count, granted_at, breaker):
                permits = starmap(Permit, repeat((ANY_OWNER, granted_at, breaker), count))
                before = leases.fill(scope, permits, count, generation)
                if before:
                    self._report(process, before)
            case Recall(scope, generation):
                self._report(process, leases.of(scope).recall(generation))
            case Granted(number, grant, _):
                leases.answered(number)
                scope = process.asked.pop(number)
                if number in process.withdrawn:
                    self._never_used(scope, grant)
                    self._say(process, Told(scope, Unused(grant), number))
                elif scope == PLACES:
                    process.calls.append((number, grant))
            case AskDenied(number, _):
                leases.answered(number)
                del process.asked[number]
            case Read(number):
                leases.answered(number)
                process.asked.pop(number, None)
                process.unread.discard(number)
            case _:
                raise AssertionError(message)

    @rule(who=WHO, wanted=st.sampled_from([5, 50, 500]))
    def exchange(self, who: int, wanted: int) -> None:
        """Everything arrives, and what is wanted is leased."""
        self.report(who, wanted)
        self.owner_reads(who, 1000)
        self.read(who, 1000)

    @rule(who=WHO, before=st.integers(0, 5))
    def is_recalled(self, who: int, before: int) -> None:
        """An operator recalls everything from a process, which keeps none of it."""
        self.exchange(who, 500)
        self.use(who, before)
        session = self.processes[who].session
        if session is not None:
            session.leases.recall_all()
            self.read(who, 1000)
            self.owner_reads(who, 1000)
            assert 0 == session.leases.leased
            self.takes_all((who + 1) % 3)

    # What it takes several steps for.

    @rule(
        who=WHO, before=st.integers(0, 5), gap=st.sampled_from([0, TTL * 9 // 10, TTL * 105 // 100, LASTS]), looks=st.booleans()
    )
    def is_stopped(self, who: int, before: int, gap: int, looks: bool) -> None:
        """A process is stopped with what it holds, and goes on; then another one takes whatever it can get."""
        self.exchange(who, 500)
        self.use(who, before)
        if looks:
            self.owner_looks()
        self.now += gap
        self.owner_looks()
        self.use(who, 1000)
        self.takes_all((who + 1) % 3)

    @rule(who=WHO, gap=st.integers(1, TTL // 12))
    def uses_the_last_of_its_time(self, who: int, gap: int) -> None:
        """A process with a slow clock uses its lease when another clock says that it has ended, and others have taken all."""
        self.exchange(who, 500)
        self.now += TTL
        self.owner_looks()
        self.now += gap
        self.takes_all((who + 1) % 3, deaf=who)
        self.use(who, 1000)

    @rule(who=WHO)
    def takes_all(self, who: int, deaf: int | None = None) -> None:
        for _ in range(2):
            self.ask(who, BUCKET, 60, 0.0)
            self.owner_reads(who, 1000)
            for other in range(3):
                if other == deaf:
                    continue
                self.read(other, 1000)
                self.owner_reads(other, 1000)
            self.read(who, 1000)

    @rule(who=WHO, failures=st.integers(1, 3))
    def fails_elsewhere(self, who: int, failures: int) -> None:
        self.exchange(who, 500)
        for _ in range(failures):
            self.fail((who + 1) % 3)
        self.owner_reads((who + 1) % 3, 1000)
        self.read(who, 1000)
        self.owner_reads(who, 1000)
        self.read(who, 1000)
        self.use(who, 1000)

    @rule(who=WHO, cost=st.integers(1, 2))
    def call(self, who: int, cost: int = 1) -> None:
        self.ask(who, PLACES, 3, 0.0, cost)
        self.owner_reads(who, 1000)
        self.read(who, 1000)

    @rule(who=WHO, gap=st.sampled_from([0, TTL // 2, TTL]), later=st.sampled_from([0, LASTS]), cost=st.integers(1, 3))
    def comes_back(self, who: int, gap: int, later: int, cost: int) -> None:
        self.call(who, cost)
        self.lose(who, survives=True, arrives=0)
        self.owner_looks()
        self.now += gap
        self.call((who + 1) % 3)
        self.reconnect(who)
        self.exchange(who, 5)
        self.now += later
        self.owner_looks()
        self.call((who + 1) % 3)

    @rule(who=WHO, survives=st.booleans(), arrives=st.integers(0, 5))
    def lose(self, who: int, survives: bool, arrives: int) -> None:
        """The connection is lost, or the process dies: of what is in flight, some arrives first."""
        process = self.processes[who]
        if process.session is None:
            return
        self.owner_reads(who, arrives)
        process.session.lost()
        if process.session.due:
            self.gone.append(process.session)
        if process.session.greeted:
            process.lost_at = self.now
        process.session = None
        process.to_owner.clear()
        process.to_process.clear()
        used = process.leases.end()
        process.used = used if survives else {}
        if not survives:
            process.calls.clear()
            process.death.set()
            process.death = Event()

    @rule(who=WHO)
    def reconnect(self, who: int) -> None:
        process = self.processes[who]
        if process.session is None:
            self._forget_abandoned(process)
            self._connect(process)

    def _forget_abandoned(self, process: Process) -> None:
        if self._is_abandoned(process):
            process.calls.clear()  # The owner has given up on them, and stated when it does.

    # The owner.

    @rule(who=WHO, count=st.integers(1, 20))
    def owner_reads(self, who: int, count: int) -> None:
        process = self.processes[who]
        if process.session is None:
            return
        reader = FrameReader(FROM_MEMBER)
        for _ in range(min(count, len(process.to_owner))):
            for message in reader.feed(process.to_owner.popleft()):
                if isinstance(message, Hello):
                    self._forget_abandoned(process)
                    process.lost_at = None
                process.session.handle(message)
                if isinstance(message, Hello):
                    if self._is_abandoned(process):
                        process.calls.clear()  # It comes too late for them.
                    process.lost_at = None
        process.session.finish()

    @rule()
    def owner_looks(self) -> None:
        for session in (*(process.session for process in self.processes if process.session is not None), *self.gone):
            if session.due:
                session.look()
        self.gone[:] = [session for session in self.gone if session.due]
        self.portal.turn()
        for actor in self.actors.values():
            if actor.steps().alarm.at <= self.portal.time():
                actor.steps().alarm.ring()

    @invariant()
    def what_is_leased_is_known(self) -> None:
        if hasattr(self, "processes"):
            sessions = [*(process.session for process in self.processes if process.session is not None), *self.gone]
            leased = sum(session.leases.leased for session in sessions)

            assert leased == self.actors[BUCKET].leasing.outstanding == self.cap.leased

    def teardown(self) -> None:
        """All processes die, and nothing is held any more once the system says so of all, and no connection was lost before."""
        if not hasattr(self, "processes"):
            return
        if any(one._has_ended() is False for one in self.gone):
            self.now += LASTS
        for who in range(3):
            self.lose(who, survives=False, arrives=1000)
        self.owner_looks()
        self.owner_looks()

        assert 0 == self.cap.leased == self.actors[BUCKET].leasing.outstanding
        assert [] == self.gone
        assert self.places == self.actors[PLACES].ledger.pipeline.limits[0].available(self.clock())


def _places(process: Process) -> int:
    return sum(grant.request.cost for _, grant in process.calls)


TestMachineLeases: Final = pytest.mark.promise("R60", "R61")(MachineLeases.TestCase)
TestMachineLeases.settings = settings(stateful_step_count=60)


@pytest.mark.parametrize("waiting", [0, 1])
def test_an_outcome_is_read_before_the_asks_that_have_arrived_with_it(waiting: int) -> None:
    machine = MachineLeases()
    machine.begin(amount=1, burst=30, cap=60, failures=1, places=1, slower=(0, 0, 0))
    machine.ask(0, PLACES, 1, 0.0)
    machine.owner_reads(0, 1000)
    machine.read(0, 1000)
    machine.ask(0, PLACES, waiting, None)
    machine.owner_reads(0, 1000)
    machine.ask(0, PLACES, 1, 0.0)
    machine.end_call(0, 200)
    before = len(machine.processes[0].calls)
    machine.owner_reads(0, 1000)
    machine.read(0, 1000)

    # That which waits comes before those that have arrived with the outcome.
    assert (0, [2]) == (before, [number for number, _ in machine.processes[0].calls])


@pytest.mark.promise("R04", "R60")
@pytest.mark.parametrize(
    ("linger", "worked_on"), [(Duration(SECOND // 2), SECOND // 2), (None, 60_000)], ids=["given", "measured"]
)
def test_places_of_a_process_that_has_died_come_back_a_margin_and_the_linger_after_their_grant(
    linger: Duration | None, worked_on: int
) -> None:
    machine = MachineLeases()
    machine.arrivals = Arrivals(margin=Duration(2 * SECOND), linger=linger)
    machine.begin(amount=1, burst=30, cap=60, failures=1, places=1, slower=(0, 0, 0))
    machine.call(0)
    machine.now += 20_000
    machine.end_call(0, 200)
    machine.call(0)
    granted_at = machine.now
    machine.now += 20_000
    machine.lose(0, survives=False, arrives=0)
    machine.owner_looks()
    machine.now = granted_at + 2 * SECOND + worked_on - 1
    machine.call(1)
    before = len(machine.processes[1].calls)
    machine.now += 1
    machine.call(1)

    assert (0, 1) == (before, len(machine.processes[1].calls))


@pytest.mark.promise("R60")
def test_a_call_takes_all_of_its_places_again_at_another_connection_until_it_ends() -> None:
    machine = MachineLeases()
    machine.begin(amount=1, burst=30, cap=60, failures=1, places=2, slower=(0, 0, 0))
    machine.call(0, 2)
    machine.lose(0, survives=True, arrives=0)
    machine.reconnect(0)
    machine.exchange(0, 5)
    machine.now += LASTS
    machine.owner_looks()
    machine.call(1, 1)
    before = len(machine.processes[1].calls)
    machine.end_call(0, 200)
    machine.owner_reads(0, 1000)
    machine.call(1, 2)

    assert (0, 2) == (before, _places(machine.processes[1]))
