"""Calls of a process: their permits, what they have used that no daemon was told, and their outcomes."""

from collections import Counter
from collections.abc import Mapping
from typing import final

from governor._actors.actor import ScopeActor
from governor._actors.loop_watch import LoopWatch
from governor._actors.mailbox import comes_first
from governor._actors.permit import HeldPermit, Permit
from governor._failures import Classifier
from governor._member.away import Away
from governor._member.permits import AskedOwner, LentOwner, Outbox, taken_over
from governor._member.session import Session
from governor._member.stand_in import StandIn
from governor.messages import Hinted, Outcome, Report
from governor.policies.contract import REQUESTS, Grant, Request


@final
class Calls:
    """Belongs to the thread of the connection.

    Bound: one place for each permit that holds one, and one sum for each scope and unit that was used without the daemon.
    """

    def __init__(self, away: Away, outbox: Outbox, classifier: Classifier, watch: LoopWatch) -> None:
        self._away = away
        self._outbox = outbox
        self._classifier = classifier
        self._watch = watch
        #: Permits for which the owner of the limits keeps a place.
        self._held: set[AskedOwner] = set()
        self._used: dict[str, Counter[str]] = {}
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
        """Permits of calls that have not ended and hold a place, by scope."""
        return Counter(owner.scope for owner in self._held)

    def used(self) -> dict[str, dict[str, int]]:
        """What was used that no daemon has been told, by scope and unit."""
        return {scope: dict(amounts) for scope, amounts in self._used.items()}

    def told(self, used: Mapping[str, Mapping[str, int]]) -> bool:
        """The daemon has read this in a hello. False if more has been used since."""
        for scope, amounts in used.items():
            left = self._used[scope]
            left.subtract(amounts)
            self._used[scope] = +left
        self._used = {scope: amounts for scope, amounts in self._used.items() if amounts}
        return not self._used

    def use(self, scope: str, request: Request) -> None:
        """A call has used this, and no daemon knows."""
        used = self._used.setdefault(scope, Counter())
        used[REQUESTS] += request.cost
        used.update(request.units or {})

    # Permits.

    def granted(self, stand_in: StandIn, grant: Grant, number: int, *, held: bool) -> Permit:
        """See `Permits.granted`."""
        owner = self._owner(stand_in.scope, number=number)
        if held:
            self._held.add(owner)
        return (HeldPermit if held else Permit)(owner, grant.granted_at, grant.generation, grant)

    def granted_here(self, stand_in: StandIn, permit: Permit, actor: ScopeActor) -> Permit:
        """See `Permits.granted_here`."""
        self.use(stand_in.scope, permit.grant().request)
        owner = self._owner(stand_in.scope, behind=actor)
        if isinstance(permit, HeldPermit):
            self._held.add(owner)
        return taken_over(permit, owner)

    def _owner(self, scope: str, number: int = 0, behind: ScopeActor | None = None) -> AskedOwner:
        return AskedOwner(
            scope, self._outbox, self._classifier, self._watch, connection=self._connection, number=number, behind=behind
        )

    def give_back(self, permit: Permit) -> None:
        """See `Permits.give_back`."""
        owner = permit._owner
        if not permit.reported and isinstance(owner, AskedOwner):
            permit.reported = True
            self.tell(owner, permit.grant())

    # Outcomes.

    def tell(self, owner: AskedOwner | LentOwner, outcome: Outcome) -> None:
        """Reports an outcome to the daemon, and to the actor of this process that has granted the permit, if one has."""
        first, permit = comes_first(outcome), 0
        local: ScopeActor | None = None
        if isinstance(owner, AskedOwner):
            known = owner.number and owner.connection == self._connection
            permit = owner.number if known else -1 if owner in self._held else 0
            local = owner.behind
            if isinstance(outcome, Report | Grant):
                self._held.discard(owner)
        if local is None and self.session is None and isinstance(outcome, Hinted) and self._away.decides:
            # What a server asks for holds for the calls of this process as well.
            local = self._away.actor(owner.scope)
        if local is not None:
            local.outcomes.append(outcome)
            local.deliver(outcome)
        if self.session is not None:
            self.session.tell(owner.scope, outcome, permit, first=first)
        elif first:
            self.failure_read()

    def failure_read(self) -> None:
        """The first of the failures that are not read has been."""
        if self._outbox.failures:
            self._outbox.failures.popleft()
