"""Places that the calls of one connected process take: permits whose outcome a limit, or the breaker, waits for.

Bound: `MAX_HELD` permits; of calls that began under an earlier owner one number for each scope.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, final

from governor._actors.actor import ScopeActor
from governor._actors.permit import HeldPermit
from governor._units import Instant
from governor.errors import Reason
from governor.messages import Report
from governor.policies.arrivals import Ending
from governor.policies.contract import PLAIN, Grant, Request, Result

#: Permits of one process whose outcome a limit waits for.
MAX_HELD: Final = 65_536
#: Stands for the number of the ask in outcomes of calls that began under an earlier owner.
ADOPTED: Final = -1


@final
class _Adopted:
    """Places of one scope whose calls began under an earlier owner: how many, since when, and by which breaker."""

    __slots__ = ("_actor", "_generation", "_since", "left")

    def __init__(self, actor: ScopeActor, since: Instant, generation: int, places: int) -> None:
        self._actor = actor
        self._since = since
        self._generation = generation
        self.left = places

    def take(self, places: int) -> HeldPermit:
        """A permit of this many places, which are no longer among those that are left."""
        self.left -= places
        request = PLAIN if places == 1 else Request(places)
        grant = Grant(self._since, self._generation, request)
        return HeldPermit(self._actor, self._since, self._generation, grant)


@final
class Places:
    """The held permits of one process. Belongs to the actors' thread."""

    def __init__(self, clock: Callable[[], Instant]) -> None:
        self._clock = clock
        self._held: dict[int, HeldPermit] = {}
        #: Of calls that began under an earlier owner, by scope.
        self._adopted: dict[str, _Adopted] = {}

    def __len__(self) -> int:
        return len(self._held) + sum(adopted.left for adopted in self._adopted.values())

    def __contains__(self, number: int) -> bool:
        return number in self._held

    @property
    def full(self) -> bool:
        """Whether there is no room for another permit."""
        return len(self._held) >= MAX_HELD

    def keep(self, number: int, permit: HeldPermit) -> None:
        """Keeps a permit by the number of its ask."""
        self._held[number] = permit

    def adopt(self, actor: ScopeActor, count: int) -> None:
        """Takes this many places, 1 or more, for calls that began under an earlier owner. Once for each scope."""
        actor.change(partial(self._take, actor, count))

    def _take(self, actor: ScopeActor, count: int) -> None:
        pipeline, now = actor.ledger.pipeline, self._clock()
        for policy in pipeline.all_limits:
            # The earlier owner has granted no more than a rate allows, whatever the process says: it owes nothing.
            spent = count if policy.reason is Reason.CONCURRENCY else min(count, policy.available(now))
            policy.commit(now, Request(spent))
        pipeline.cap.commit(now, Request(count))
        self._adopted[actor.scope] = _Adopted(actor, now, pipeline.breaker.generation, count)
        pipeline.regate()

    def find(self, number: int, scope: str, *, ended: bool, cost: int) -> HeldPermit | None:
        """The permit behind an outcome, if it is kept here; no longer, if the call has `ended`.

        A call that began under an earlier owner took as many places as it cost.
        """
        permit: HeldPermit | None = None
        if number == ADOPTED:
            adopted = self._adopted.get(scope)
            places = 0 if adopted is None else min(cost, adopted.left)
            if adopted is not None and ended and places > 0:
                permit = adopted.take(places)
        else:
            permit = self._held.pop(number, None) if ended else self._held.get(number)
        if permit is not None and ended:
            permit.reported = True
        return permit

    def give_up(self) -> None:
        """All calls have been given up: the process is gone."""
        adopted = [some.take(some.left) for some in self._adopted.values() if some.left]
        permits = [*self._held.values(), *adopted]
        self._held.clear()
        self._adopted.clear()
        for permit in permits:
            permit.reported = True
            report = Report(permit.grant(), Result.NEUTRAL, ending=Ending.GIVEN_UP)
            permit._owner.outcomes.append(report)
            permit._owner.deliver(report)
