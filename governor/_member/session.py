"""Session of a member: one connection to the daemon as this side sees it, from its hello on. Sans-IO.

Messages of the daemon go in by `handle`, and its own go out by the function that the session was given. It numbers what it
asks, and knows what has no answer yet.

Bound: what has no answer yet is bounded by the callers: one ask for each that waits, one failure for each permit.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, final

from governor._actors.leases.lease import GROWTH, MAX_IDLE_LOOKS, MAX_LEASED_TO_MEMBER
from governor._member.lease import Leases, Reported, use_of
from governor._member.stand_in import StandIn
from governor._units import Instant
from governor.config import provider_of
from governor.errors import GovernorError
from governor.messages import Acquire, Denied, NoRetry, Outcome, PlaceFreed, PlanRetry, RetryPlan
from governor.policies.contract import Grant
from governor.protocol import (
    Acted,
    Admit,
    Admitted,
    Answer,
    Ask,
    AskDenied,
    Ended,
    Forget,
    FromMember,
    FromOwner,
    Granted,
    Leased,
    LeaseReport,
    LeaseUse,
    Plan,
    Planned,
    Query,
    Read,
    Readmit,
    Recall,
    Rejected,
    Requests,
    Told,
    Unused,
    Verdict,
    Welcome,
    Withdraw,
)


class SessionRejected(GovernorError):
    """The daemon does not accept this process, or something that it said."""


class Decided(Protocol):
    """What has come of an ask: a permit's grant, and whether the daemon keeps a place for it, or a denial."""

    def __call__(self, number: int, answer: Grant | Denied, *, held: bool) -> None:
        """Hands over the answer."""


@final
class Session:
    """One connection. Belongs to its thread."""

    def __init__(
        self,
        send: Callable[[FromMember], None],
        leases: Leases,
        *,
        stand_in: Callable[[str], StandIn],
        decided: Decided,
        failure_read: Callable[[], None],
        leased: Callable[[StandIn], None],
        admitted: Callable[[int, Sequence[Verdict | None]], None],
    ) -> None:
        self._send = send
        self._leases = leases
        self._stand_in = stand_in
        self._decided = decided
        self._failure_read = failure_read
        self._leased = leased
        self._admitted = admitted
        self._number = 0
        #: The scopes of asks that were withdrawn and have no answer yet, by their numbers.
        self._withdrawn: dict[int, str] = {}
        #: Numbers of failures that are not read yet.
        self._failures: set[int] = set()
        self._plans: dict[int, Callable[[RetryPlan], object]] = {}
        self._documents: dict[int, tuple[bytearray, Callable[[bytes], object]]] = {}
        #: Reports without an answer, in order, each with the time of its sending.
        self._reports: deque[tuple[int, int]] = deque()
        #: When the last report was sent.
        self.reported_at = leases.clock()

    @property
    def failures(self) -> int:
        """Failures that are not read yet."""
        return len(self._failures)

    @property
    def unanswered_since(self) -> int | None:
        """When the first report was sent that has no answer yet; each is answered at once."""
        return self._reports[0][1] if self._reports else None

    def _next(self) -> int:
        self._number += 1
        self._leases.sent(self._number)
        return self._number

    # What the member says.

    def ask(self, scope: str, acquire: Acquire) -> int:
        """Asks for a permit. Returns the number of the ask."""
        number = self._next()
        self._send(Ask(number, scope, acquire))
        return number

    def withdraw(self, number: int, scope: str) -> None:
        """The call no longer waits for this permit. One that is granted all the same is given back."""
        self._withdrawn[number] = scope
        self._send(Withdraw(number))

    def tell(self, scope: str, outcome: Outcome, permit: int, *, first: bool) -> None:
        """Tells an outcome. `first` waits for the owner to read it, after what was used and has succeeded in the scope."""
        assert not isinstance(outcome, PlaceFreed)  # No place is leased to a process.
        number = 0
        if first:
            self.report([self._stand_in(scope)])
            number = self._next()
            self._failures.add(number)
        self._send(Told(scope, Unused(outcome) if isinstance(outcome, Grant) else outcome, permit, number))

    def report(self, stand_ins: Iterable[StandIn]) -> None:
        """Tells what has become of the leases of these scopes, and what they want, if there is anything to tell."""
        self._leases.lapse()
        uses = [use for one in stand_ins if one.lease.unread and (use := _use(one)) is not None]
        if uses:
            self._report(uses)

    def ping(self) -> None:
        """Refreshes the leases, and finds out whether the daemon answers."""
        self._report(())

    def _report(self, uses: Iterable[LeaseUse]) -> None:
        number = self._next()
        self.reported_at = self._leases.clock()
        self._reports.append((number, self.reported_at))
        self._send(LeaseReport(number, tuple(uses)))

    def look(self, stand_ins: Iterable[StandIn]) -> None:
        """Looks after the leases: reports what was used of each, and returns those of which nothing was for a while."""
        looked = []
        for one in stand_ins:
            lease = one.lease
            if lease.unread:
                one.idle_looks = 0 if lease.is_used else one.idle_looks + 1
                if one.idle_looks >= MAX_IDLE_LOOKS:
                    lease.discard()
                looked.append(one)
        self.report(looked)

    def give_all_back(self, stand_ins: Iterable[StandIn]) -> None:
        """Returns all leases."""
        leased = list(stand_ins)
        for one in leased:
            one.lease.discard()
        self.report(leased)

    def plan(self, scope: str, message: PlanRetry, answer: Callable[[RetryPlan], object]) -> None:
        """Asks for the plan of a retry."""
        number = self._next()
        self._plans[number] = answer
        self._send(Plan(number, scope, message))

    def admit(self, first: int, parts: tuple[Requests, ...]) -> int:
        """Asks whether inbound requests may proceed, with numbers from `first` on. Returns the number of the message."""
        number = self._next()
        self._send(Admit(number, first, parts))
        return number

    def say(self, message: Readmit | Ended) -> None:
        """Says what has become of inbound requests."""
        self._send(message)

    def query(self, document: str, answer: Callable[[bytes], object]) -> None:
        """Asks for a document."""
        number = self._next()
        self._documents[number] = bytearray(), answer
        self._send(Query(number, document))

    def end(self) -> None:
        """The connection has ended: no plan will come."""
        plans, self._plans = self._plans, {}
        for answer in plans.values():
            answer(RetryPlan(None, NoRetry.UNAVAILABLE))

    # What the daemon says.

    def handle(self, message: FromOwner) -> None:
        """Reads one message. Raises `SessionRejected`."""
        match message:
            case Granted(number, grant, held):
                self._answer(number, grant, held=held)
            case AskDenied(number, denied):
                self._answer(number, denied)
            case Read(number):
                self._leases.answered(number)
                self._read(number)
            case Leased(scope, generation, count, granted_at, breaker):
                self._fill_lease(self._stand_in(scope), generation, count, granted_at, breaker)
            case Recall(scope, generation):
                self._recalled(scope, generation)
            case Forget(name):
                self._forget_loops(name)
            case Planned(number, plan):
                self._planned(number, plan)
            case Admitted(number, verdicts):
                self._leases.answered(number)
                self._admitted(number, verdicts)
            case Answer(number, part, more):
                self._received(number, part, more=more)
            case _:
                raise _rejected(message)

    def _answer(self, number: int, answer: Grant | Denied, *, held: bool = False) -> None:
        self._leases.answered(number)
        withdrawn = self._withdrawn.pop(number, None)
        if withdrawn is None:
            self._decided(number, answer, held=held)
        elif isinstance(answer, Grant):
            self.tell(withdrawn, answer, number, first=False)

    def _planned(self, number: int, plan: RetryPlan) -> None:
        self._leases.answered(number)
        answer = self._plans.pop(number, None)
        if answer is not None:
            answer(plan)

    def _read(self, number: int) -> None:
        self._withdrawn.pop(number, None)
        if number in self._failures:
            self._failures.remove(number)
            self._failure_read()
        while self._reports and self._reports[0][0] <= number:
            self._reports.popleft()

    def _fill_lease(self, stand_in: StandIn, generation: int, count: int, granted_at: Instant, breaker: int) -> None:
        permits = stand_in.permits(count, granted_at, breaker)
        before = self._leases.fill(stand_in.scope, permits, count, generation)
        stand_in.idle_looks = 0
        self._leased(stand_in)
        if before:
            self._report([use_of(stand_in.scope, before)])

    def _recalled(self, scope: str, generation: int) -> None:
        lease = self._leases.of(scope)
        before = lease.recall(generation)
        self._report([use_of(scope, before if before.generation < generation else Reported.nothing(generation - 1))])

    def _forget_loops(self, name: str) -> None:
        for scope in list(self._leases.by_scope):
            if name in (scope, provider_of(scope)):
                self._stand_in(scope).forget_loops()

    def _received(self, number: int, part: bytes, *, more: bool) -> None:
        document, answer = self._documents.get(number, (bytearray(), None))
        document += part
        if not more:
            self._leases.answered(number)
            self._documents.pop(number, None)
            if answer is not None:
                answer(bytes(document))


def _rejected(message: Rejected | Welcome | Acted) -> SessionRejected:
    if isinstance(message, Rejected):
        return SessionRejected(f"the daemon rejects this process: {message.reason}")
    return SessionRejected(f"the daemon has said {type(message).__name__}, for which nothing was asked")


def _use(stand_in: StandIn) -> LeaseUse | None:
    reported = stand_in.lease.report()
    wanted = max(0, min(GROWTH * reported.used, MAX_LEASED_TO_MEMBER) - len(stand_in.lease)) if not reported.back else 0
    return use_of(stand_in.scope, reported, wanted) if reported or wanted else None
