"""Calls of a process: their permits, what they have used that no daemon was told, and their outcomes."""

from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple, final

from governor._actors.actor import ScopeActor
from governor._actors.loop_watch import LoopWatch
from governor._actors.mailbox import comes_first
from governor._actors.permit import HeldPermit, Permit
from governor._failures import Classifier
from governor._member.away import Away
from governor._member.permits import AskedOwner, LeaseOwner, Outbox, taken_over
from governor._member.session import Session
from governor._member.stand_in import StandIn
from governor.messages import Hinted, Outcome, Report, Settled
from governor.policies.contract import REQUESTS, Grant, Request

#: Labels of which it is counted what they use without the daemon.
MAX_LABELS: Final = 1024


class Used(NamedTuple):
    """What was used, by scope and by the label of the caller, each by unit."""

    by_scope: Mapping[str, Mapping[str, int]]
    by_caller: Mapping[str, Mapping[str, int]]


@final
class Calls:
    """Belongs to the thread of the connection.

    Bound: one place for each permit that holds one, and one sum for each scope and unit that was used without the daemon, and
    for each unit and caller label, of `MAX_LABELS` at most: what further labels use without it is not told.
    """

    def __init__(self, away: Away, outbox: Outbox, classifier: Classifier, watch: LoopWatch) -> None:
        self._away = away
        self._outbox = outbox
        self._classifier = classifier
        self._watch = watch
        #: Permits for which the owner of the limits keeps a place.
        self._held: set[AskedOwner] = set()
        self._used: dict[str, Counter[str]] = {}
        self._by_caller: dict[str, Counter[str]] = {}
        #: The session from its hello on: what ends after that must be told.
        self.session: Session | None = None
        #: The number of the connection.
        self._connection = 0

    # The contents of the hello.

    def begin(self, session: Session) -> None:
        """Another session begins with the hello."""
        self.session = session
        self._connection += 1

    def held(self) -> dict[str, int]:
        """How many places calls hold that have not ended, by scope: as many as each costs."""
        held = Counter[str]()
        for owner in self._held:
            held[owner.scope] += owner.cost
        return held

    def at_the_daemon(self) -> dict[str, list[AskedOwner]]:
        """The calls for which only the daemon keeps a place, by scope."""
        found: dict[str, list[AskedOwner]] = {}
        for owner in self._held:
            if owner.behind is None and owner.kept_at is None:
                found.setdefault(owner.scope, []).append(owner)
        return found

    def used(self) -> Used:
        """What was used that no daemon has been told."""
        return Used(_amounts(self._used), _amounts(self._by_caller))

    def told(self, used: Used) -> bool:
        """The daemon has read this in a hello. False if more has been used since."""
        self._used = _without(self._used, used.by_scope)
        self._by_caller = _without(self._by_caller, used.by_caller)
        return not self._used and not self._by_caller

    def use(self, scope: str, request: Request, caller: str | None = None) -> None:
        """A call has used this, and no daemon knows."""
        self._count(scope, caller, {REQUESTS: request.cost, **(request.units or {})})

    def _count(self, scope: str, caller: str | None, amounts: Mapping[str, int]) -> None:
        self._used.setdefault(scope, Counter()).update(amounts)
        if caller is not None and (caller in self._by_caller or len(self._by_caller) < MAX_LABELS):
            self._by_caller.setdefault(caller, Counter()).update(amounts)

    # Permits.

    def granted(self, stand_in: StandIn, grant: Grant, number: int, *, held: bool) -> Permit:
        """See `Permits.granted`."""
        owner = AskedOwner(  # As in `granted_here`, without a function for both: each permit of a daemon would pay its call.
            stand_in.scope,
            self._outbox,
            self._classifier,
            self._watch,
            connection=self._connection,
            number=number,
            cost=grant.request.cost,
        )
        if held:
            self._held.add(owner)
        return (HeldPermit if held else Permit)(owner, grant.granted_at, grant.generation, grant)

    def granted_here(self, stand_in: StandIn, permit: Permit, actor: ScopeActor, caller: str | None) -> Permit:
        """See `Permits.granted_here`."""
        self.use(stand_in.scope, permit.grant().request, caller)
        owner = AskedOwner(
            stand_in.scope,
            self._outbox,
            self._classifier,
            self._watch,
            connection=self._connection,
            behind=actor,
            caller=caller,
            cost=permit.grant().request.cost,
        )
        if isinstance(permit, HeldPermit):
            self._held.add(owner)
        return taken_over(permit, owner)

    def give_back(self, permit: Permit) -> None:
        """See `Permits.give_back`."""
        owner = permit._owner
        if not permit.reported and isinstance(owner, AskedOwner):
            permit.reported = True
            self.tell(owner, permit.grant())

    # Outcomes.

    def tell(self, owner: AskedOwner | LeaseOwner, outcome: Outcome) -> None:
        """Reports an outcome to the daemon, and to the actor of this process that has granted the permit, if one has."""
        first, permit = comes_first(outcome), 0
        local: ScopeActor | None = None
        if isinstance(owner, AskedOwner):
            known = owner.number and owner.connection == self._connection
            # Of a call that was granted here since the hello, the daemon knows no place.
            is_new = owner.behind is not None and owner.connection == self._connection
            permit = owner.number if known else -1 if owner in self._held and not is_new else 0
            local = owner.behind
            if isinstance(outcome, Report | Grant):
                self._held.discard(owner)
                if owner.kept_at is not None:
                    self._away.end(owner, outcome)
            if local is not None and self.session is None and isinstance(outcome, Report | Settled):
                self._correct(owner, outcome)
        if local is None and self.session is None and isinstance(outcome, Hinted) and self._away.decides:
            # What a server asks for holds for the calls of this process as well.
            local = self._away.actor(owner.scope)
        if local is not None:
            local.outcomes.append(outcome)
            local.deliver(outcome)
        if self.session is not None:
            self.session.tell(owner.scope, outcome, permit, first=first)
            if first and not self._outbox.failures:
                self._outbox.failures.append(None)  # It was taken for that of a thread that was interrupted.
        elif first:
            self.failure_read()

    def _correct(self, owner: AskedOwner, outcome: Report | Settled) -> None:
        """A call that was granted here has used other amounts than was thought, and no daemon knows."""
        request = outcome.grant.request
        changes = {
            unit: amount - request.amount(None if unit == REQUESTS else unit) for unit, amount in (outcome.used or {}).items()
        }
        if any(changes.values()):
            self._count(owner.scope, owner.caller, changes)

    def failure_read(self) -> None:
        """The first of the failures that are not read has been."""
        if self._outbox.failures:
            self._outbox.failures.popleft()


def _amounts(sums: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    return {name: dict(+amounts) for name, amounts in sums.items()}


def _without(sums: Mapping[str, Counter[str]], told: Mapping[str, Mapping[str, int]]) -> dict[str, Counter[str]]:
    left = {
        name: +Counter({unit: amounts[unit] - told.get(name, {}).get(unit, 0) for unit in amounts})
        for name, amounts in sums.items()
    }
    return {name: amounts for name, amounts in left.items() if amounts}
