"""Outcomes that a connected process reports, as the actors of the governor read them."""

from collections.abc import Callable
from typing import final

import msgspec

from governor._actors.actor import ScopeActor
from governor._owner.answers import Answers
from governor._owner.checks import checked_grant, checked_used
from governor._owner.places import Places
from governor._units import Instant
from governor.messages import Answered, Hinted, Outcome, Report, RetryGivenUp, Settled
from governor.policies.contract import Request
from governor.protocol import Told, Unused


@final
class Outcomes:
    """Those of one process. Belongs to the actors' thread."""

    def __init__(self, places: Places, clock: Callable[[], Instant]) -> None:
        self._places = places
        self._clock = clock
        self._answers = Answers()

    def read(self, actor: ScopeActor, told: Told) -> Outcome:
        """The outcome as the actor reads it: of the very grant that the owner has given, if it knows that."""
        outcome = told.outcome
        if isinstance(outcome, RetryGivenUp):
            return outcome
        ended = isinstance(outcome, Report | Unused)
        permit = self._places.find(told.permit, told.scope, ended=ended, cost=outcome.grant.request.cost)
        grant = checked_grant(outcome.grant, actor, self._clock()) if permit is None else permit.grant()
        if permit is None and actor.ledger.pipeline.needs_outcome:
            # No place is kept for this call: the process has granted it after its hello, or the outcome comes a second time.
            grant = msgspec.structs.replace(grant, request=Request(0, grant.request.units), receipts=None)
        call = (told.scope, told.permit, 0 if told.permit else int(grant.granted_at))
        match outcome:
            case Unused():
                return grant
            case Answered():
                outcome.grant = grant
                self._answers.began(call, outcome)
                return outcome
            case Hinted():
                return msgspec.structs.replace(outcome, grant=grant)
            case Settled(_, used, answered):
                if permit is not None:
                    permit._grant = grant.corrected(checked_used(used))
                return Settled(grant, checked_used(used), self._answers.of(call, answered, ended=False))
            case Report(_, result, status, used, answered, error, ending):
                amounts = None if used is None else checked_used(used)
                began = self._answers.of(call, answered, ended=True)
                return Report(grant, result, status, amounts, began, error, ending)
