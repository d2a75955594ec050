"""Actor of a scope whose state is kept in a store: it grants no more than the store says that it may have granted.

The only difference to other actors is on the hot path, which counts down the mark ahead of the scope, and at the end of a step,
at which the store learns what has changed.
"""

from typing import Literal, final, overload

from governor._actors.actor import ScopeActor
from governor._actors.common import Common
from governor._actors.granting import READY
from governor._actors.keeper import Keeper
from governor._actors.lifecycle import BUSY, IDLE, Event
from governor._actors.permit import Permit
from governor._actors.queue import Waiter
from governor._units import NEVER, Instant
from governor.messages import Acquire, Denied
from governor.policies.loops import Loops
from governor.policies.mark import Mark
from governor.policies.pipeline import Pipeline
from governor.policies.retry import Retry


@final
class KeptScopeActor(ScopeActor):
    """The address of one scope whose state is kept."""

    __slots__ = ("_keeper", "_mark")

    _mark: Mark

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
        self.ledger.attach = keeper.attach
        self.kept = True
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

    @overload
    def grab(self) -> Permit | None: ...

    @overload
    def grab(self, deny: Literal[True]) -> Permit | Denied | None: ...

    def grab(self, deny: bool = False) -> Permit | Denied | None:  # noqa: C901 - what nearly every call costs, written out
        """As that of `ScopeActor`, written out once more, with the mark ahead: see there."""
        clock, life = self._clock, self.life
        now = clock()
        if now < self.gate or self.inbox or self.failures or life.state is not IDLE:
            return self._deny(now) if deny else None
        mark, cap = self._mark, self._cap
        if not cap.left:
            return None
        if self._shared and now < max(map(READY, self._shared)):
            return None
        left, bucket = mark.left, self._bucket
        if left and bucket is not None and now < cap.slot_ends:
            # There is no call until the permit: with the bucket and the cap the mark is counted down, or none of them.
            full = now * bucket.ticks
            tat = bucket.tat
            tat = (tat if tat > full else full) + bucket.plain
            if tat - full <= bucket.slack:
                mark.left = left - 1
                bucket.tat = tat
                cap.left -= 1
                if now > cap.latest:
                    cap.latest = now
                self.counters.requests += 1
                make = self._make
                return make(self, now, self._generation)
        life.state = BUSY
        try:
            if left:
                mark.left = left - 1
            elif not mark.renew(now):
                return None
            spending = self._spending or self._all_spending()
            ready = spending.commit(now)
            if ready:
                self.gate, self._reason = max(self.gate, Instant(ready)), None
            self.counters.requests += 1
            make = self._make
            return make(self, now, self._generation)
        except Exception as error:
            steps = self.steps()
            steps.crashed(error)
            steps.end()
            return None
        except BaseException:
            self.gate = NEVER  # Ctrl-C, perhaps after a bucket has spent its last: the next ask takes a step, which copies all.
            raise
        finally:
            if life.state is BUSY:
                life.state = IDLE
            elif life.busy:
                life.apply(Event.END)

    def copy(self) -> None:
        """As that of `ScopeActor`, at the end of a step: what has changed is written, and the records that are wanted are."""
        super().copy()
        pipeline = self.ledger.pipeline
        mark = pipeline.mark
        assert mark is not None
        self._mark = mark
        self._keeper.look_at(self.scope, pipeline)
        mark.flush()
