"""Actor of a scope whose state is kept in a store: it grants no more than the store says that it may have granted.

Its plain grants count down the mark ahead of the scope: see `Granting.grab`. At the end of a step the store learns what has
changed, and a call that cannot wait in the queue waits for the store.
"""

from typing import final

from governor._actors.actor import ScopeActor
from governor._actors.common import Common
from governor._actors.keeper import Keeper
from governor._actors.ledger import Ledger
from governor._actors.lifecycle import IDLE
from governor._actors.permit import Permit
from governor._actors.queue import Waiter
from governor.messages import Acquire, Denied
from governor.policies.loops import Loops
from governor.policies.pipeline import Pipeline
from governor.policies.retry import Retry


@final
class KeptLedger(Ledger, eq=False, gc=True, kw_only=True):
    """The accounts of a scope whose policies are kept."""

    _keeper: Keeper

    def use(self, pipeline: Pipeline) -> None:
        """Grants by these policies from now on, and keeps them."""
        self._keeper.attach(self.scope, pipeline)
        super().use(pipeline)


@final
class KeptScopeActor(ScopeActor):
    """The address of one scope whose state is kept."""

    __slots__ = ("_keeper",)

    def __init__(
        self,
        scope: str,
        pipeline: Pipeline,
        *,
        common: Common,
        retry: Retry,
        loops: Loops,
        keeper: Keeper,
    ) -> None:
        self._keeper = keeper
        keeper.attach(scope, pipeline)
        super().__init__(scope, pipeline, common=common, retry=retry, loops=loops)
        ledger = self.ledger
        self.ledger = KeptLedger(
            scope, pipeline, ledger.budget, ledger.clock, ledger.announcer, ledger.counters, _keeper=keeper
        )
        self.copy()

    def acquire(self, acquire: Acquire, waiter: Waiter | None) -> Permit | Denied | None:
        """As that of `ScopeActor`. A call that cannot wait in the queue waits for the store here, if nothing else denies it."""
        pipeline, request = self.ledger.pipeline, acquire.request
        mark = pipeline.mark
        if waiter is None and mark is not None and mark.is_tight(request) and self.life.state is IDLE:
            now = self._clock()
            if pipeline.verdict(now, request).by is mark:
                mark.wait(now, request)
        return super().acquire(acquire, waiter)

    def copy(self) -> None:
        """As that of `ScopeActor`, at the end of a step: what has changed is written, and the records that are wanted are."""
        super().copy()
        pipeline = self.ledger.pipeline
        mark = pipeline.mark
        assert mark is not None
        self._keeper.look_at(self.scope, pipeline)
        mark.flush()
