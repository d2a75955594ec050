"""Places that the calls of one connected process take: permits whose outcome a limit, or the breaker, waits for.

Bound: `MAX_HELD` permits.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, final

from governor._actors.actor import ScopeActor
from governor._actors.permit import HeldPermit
from governor._owner.checks import ProtocolError
from governor._units import Instant
from governor.messages import Report
from governor.policies.arrivals import Ending
from governor.policies.contract import PLAIN, Result

#: Permits of one process whose outcome a limit waits for.
MAX_HELD: Final = 65_536
#: Stands for the number of the ask in outcomes of calls that began under an earlier owner.
ADOPTED: Final = -1


@final
class Places:
    """The held permits of one process. Belongs to the actors' thread."""

    def __init__(self, clock: Callable[[], Instant]) -> None:
        self._clock = clock
        self._held: dict[int, HeldPermit] = {}
        #: Of calls that began under an earlier owner, by scope.
        self._adopted: dict[str, list[HeldPermit]] = {}

    def __len__(self) -> int:
        return len(self._held) + sum(map(len, self._adopted.values()))

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
        """Takes places for calls that began under an earlier owner. Raises `ProtocolError` for too many."""
        if len(self) + count > MAX_HELD:
            raise ProtocolError(f"a process holds at most {MAX_HELD:,} permits")
        actor.change(partial(self._take, actor, count))

    def _take(self, actor: ScopeActor, count: int) -> None:
        pipeline, now = actor.ledger.pipeline, self._clock()
        permits = self._adopted.setdefault(actor.scope, [])
        for _ in range(count):
            for policy in pipeline.spending:
                policy.commit(now, PLAIN)
            permits.append(HeldPermit(actor, now, pipeline.breaker.generation))
        pipeline.regate()

    def find(self, number: int, scope: str, *, ended: bool) -> HeldPermit | None:
        """The permit behind an outcome, if it is kept here; no longer, if the call has `ended`."""
        if number == ADOPTED:
            adopted = self._adopted.get(scope)
            permit = adopted.pop() if adopted and ended else None
        else:
            permit = self._held.pop(number, None) if ended else self._held.get(number)
        if permit is not None and ended:
            permit.reported = True
        return permit

    def give_up(self) -> None:
        """All calls have been given up: the process is gone."""
        permits = [*self._held.values(), *(permit for permits in self._adopted.values() for permit in permits)]
        self._held.clear()
        self._adopted.clear()
        for permit in permits:
            permit.reported = True
            report = Report(permit.grant(), Result.NEUTRAL, ending=Ending.GIVEN_UP)
            permit._owner.outcomes.append(report)
            permit._owner.deliver(report)
