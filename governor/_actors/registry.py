"""Registry of scopes: their actors, which of them are passive, and the records of scopes that have made room.

Bound: at `max_scopes` a passive scope makes room for another one. It is dropped if it is as good as new, or else set aside as a
record, from which it goes on when it is asked again. If none can go, or there is no room for its record, there is no room.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, final

import anyio

from governor._actors.actor import ScopeActor
from governor._actors.builder import MAX_KEPT, Builder
from governor._actors.counters import Counters
from governor._actors.set_aside import ScopeRecord, SetAside
from governor._units import to_seconds
from governor.clock import Clock
from governor.policies.pipeline_state import PipelineState
from governor.statistics import CounterRecord

if TYPE_CHECKING:
    from governor._actors.keeper import Keeper

#: Passive scopes that are looked at to make room for one other, at most.
MAX_LOOKED_AT: Final = 16
#: Records of scopes that are set aside, at most: so many times `max_scopes`.
MAX_SET_ASIDE: Final = 4


@final
class Registry:
    """The scopes of one governor. Belongs to the actors' thread.

    `on_forgotten` is called with an actor that has been dropped: its addresses must go.
    """

    def __init__(
        self,
        builder: Builder,
        *,
        now: Clock,
        on_forgotten: Callable[[ScopeActor], None],
        keeper: "Keeper | None" = None,
    ) -> None:
        self.actors: dict[str, ScopeActor] = {}
        # Their names in order, as of the latest look at them.
        self._names: list[str] = []
        self._renamed = False
        #: The live actors.
        self.awake: dict[ScopeActor, None] = {}
        self.set_aside = SetAside() if keeper is None else SetAside(keeper.forget)
        self._builder = builder
        self._keeper = keeper
        self._now = now
        self._on_forgotten = on_forgotten
        # The first to make room first.
        self._passive: OrderedDict[ScopeActor, None] = OrderedDict()
        # The counters of scopes without an actor, and of outcomes that come after theirs has been dropped.
        self._forgotten = CounterRecord()
        self._late = Counters()
        self._any_awake = anyio.Event()
        #: No actor starts any more: one that is made denies all asks.
        self.closed = False

    def get(self, scope: str) -> ScopeActor | None:
        """The actor of a scope, started on first use. None if there is no room for another scope."""
        actor = self.actors.get(scope)
        # `_has_room`, and `start` below, without their calls, for each new scope.
        if actor is None and (len(self.actors) < self._builder.config.global_.max_scopes or self._make_room()):
            record = self.set_aside.records.get(scope)
            if record is None:
                if self._keeper is not None and not self._keeper.has_room(scope, self._max_kept()):
                    return None
                actor = self._builder.new(scope)
            else:
                actor = self._builder.revived(scope, record)
                self.set_aside.remove(scope)
                self._forgotten -= record.counters
            self.actors[scope] = actor
            self._renamed = True
            if self.closed or not self.awake:
                self.start(actor)
            else:
                self.awake[actor] = None
        return actor

    def knows(self, name: str) -> bool:
        """Whether there is a scope of this name, or a record of it, or a record that an earlier life has left of a provider."""
        if name in self.actors or name in self.set_aside.records:
            return True
        return self._keeper is not None and self._keeper.earlier.knows(name)

    def at_rest(self, name: str) -> Iterator[tuple[str, PipelineState]]:
        """The scopes of a provider that have no actor, and how they stand."""
        for scope in self.set_aside.names(name):
            yield scope, self.set_aside.records[scope].state
        if self._keeper is not None:
            yield from self._keeper.earlier.scopes(name)

    def change(self, scope: str, part: Callable[[ScopeActor], None]) -> bool:
        """Changes a scope that is known. One that is set aside stays so; one of an earlier life begins.

        False if there is no room for it to begin.
        """
        record = self.set_aside.records.get(scope)
        if record is None:
            actor = self.get(scope)
            if actor is not None:
                part(actor)
            return actor is not None
        actor = self._builder.revived(scope, record)
        part(actor)
        self.set_aside.keep(scope, self._record(actor, record.counters), now=self._now(), most=len(self.set_aside) + 1)
        if self._keeper is not None:
            self._keeper.set_aside(scope)
        return True

    def names(self) -> list[str]:
        """The scopes with an actor, in order. Not to be changed."""
        if self._renamed:
            # The names of before are in order, so that few new ones among many are sorted in time for the new ones.
            before = [name for name in self._names if name in self.actors]
            self._names, self._renamed = sorted([*before, *(self.actors.keys() - set(before))]), False
        return self._names

    def start(self, actor: ScopeActor) -> None:
        """The actor begins, or goes on after it was passive."""
        if self.closed:
            actor.close()
        else:
            self.is_awake(actor)

    def is_awake(self, actor: ScopeActor) -> None:
        """The actor is or gets live."""
        if not self.awake:
            self._any_awake.set()
        self.awake[actor] = None
        self._passive.pop(actor, None)

    def counters(self) -> CounterRecord:
        """The sums of all scopes that have no actor."""
        return self._forgotten + self._late.record()

    def shown(self, name: str, record: ScopeRecord) -> ScopeActor:
        """An actor of a scope that is set aside, to look at."""
        return self._builder.revived(name, record)

    async def passivate_idle(self) -> None:
        """Passivates actors that no call has asked for a whole period. Sleeps while none is awake."""
        seen: dict[ScopeActor, int] = {}
        while True:
            await self._any_awake.wait()
            await anyio.sleep(to_seconds(self._builder.config.global_.idle_after))
            for actor in [one for one in self.awake if one.is_idle() and seen.get(one) == one.ledger.asks()]:
                del self.awake[actor]
                actor.passivate()
                self._passive[actor] = None
            seen = {actor: actor.ledger.asks() for actor in self.awake}
            if not self.awake:
                self._any_awake = anyio.Event()

    def _make_room(self) -> bool:
        # There may be more scopes than allowed, since that was changed.
        for _ in range(MAX_LOOKED_AT):
            if self._has_room() or not self._passive:
                break
            actor, _ = self._passive.popitem(last=False)
            # One that cannot go yet has another turn after all others.
            if not self._drop(actor):
                self._passive[actor] = None
        return self._has_room()

    def _max_kept(self) -> int:
        """The most records of scopes, and of their providers, that a store may have."""
        return 2 * (1 + MAX_SET_ASIDE) * self._builder.config.global_.max_scopes + MAX_KEPT

    def _has_room(self) -> bool:
        return len(self.actors) < self._builder.config.global_.max_scopes

    def _drop(self, actor: ScopeActor) -> bool:
        """Drops a passive actor. What it has to remember is set aside; one with outcomes still to come stays."""
        if not actor.may_be_dropped():
            return False
        now, scope, ledger = self._now(), actor.scope, actor.ledger
        pipeline = ledger.pipeline
        counters = ledger.counters.record(pipeline.breaker.openings)
        if counters.under_way and pipeline.needs_outcome:
            return False
        if not pipeline.at_rest(now):
            if counters.under_way:
                return False
            most = MAX_SET_ASIDE * self._builder.config.global_.max_scopes
            if not self.set_aside.keep(scope, self._record(actor, counters), now=now, most=most):
                return False
            if self._keeper is not None:
                self._keeper.set_aside(scope)
        elif not all(map(self._builder.keep, pipeline.providers)):
            return False
        elif self._keeper is not None:
            self._keeper.forget(scope)
        self._forgotten += counters
        del self.actors[scope]
        self._renamed = True
        actor.drop(self._late)
        self._on_forgotten(actor)
        return True

    def _record(self, actor: ScopeActor, counters: CounterRecord) -> ScopeRecord:
        """Where an actor stands."""
        pipeline = actor.ledger.pipeline
        return ScopeRecord(
            pipeline.state(),
            pipeline.settings(),
            counters,
            actor.ledger.units,
            pipeline.providers,
            self._builder.changes,
            pipeline.rests_at(self._now()),
        )
