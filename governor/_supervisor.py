"""Supervisor: the parent of all actors of one governor. Starts, restarts and passivates them, and performs their effects.

It runs on the actors' thread and is called directly. The registry keeps the bound on scopes (`max_scopes`); a call in a scope
that finds no room is answered `overloaded`.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from random import Random
from typing import TYPE_CHECKING, Final, assert_never, final

import anyio
from anyio.abc import TaskGroup

from governor._actors.actor import ScopeActor
from governor._actors.alarm import Alarms
from governor._actors.builder import Builder
from governor._actors.effects import BansMoved, BreakerMoved, CooldownMoved, Crashed, Effect, ProviderChanged, Signal
from governor._actors.failures import Failures
from governor._actors.loop_watch import LoopWatch
from governor._actors.portal import Portal
from governor._actors.registry import Registry
from governor._actors.sharing import Sharing
from governor._actors.watch import GlobalWatch
from governor._exports import Later
from governor._failures import DEFAULT, Classifier
from governor._state import LifeState
from governor._units import MINUTE, Duration, Instant, to_seconds
from governor.clock import Clock, wall_clock
from governor.config import Config
from governor.cooperative import batched
from governor.errors import Reason
from governor.instrumentation import Announcer
from governor.policies.ban_guard import News
from governor.policies.budget import Budget
from governor.statistics import CounterSum, GroupStatistics, MemberStatistics, Moment, ScopeStatistics, Statistics

if TYPE_CHECKING:
    from governor._actors import operating
    from governor._actors import survey as records
    from governor._actors.inbound import groups as inbound
    from governor._actors.inbound.group import GroupActor
else:
    inbound = Later("governor._actors.inbound.groups")
    operating = Later("governor._actors.operating")
    records = Later("governor._actors.survey")

_log: Final = logging.getLogger("governor")

#: Restart intensity, as Erlang/OTP supervisors count it: more crashes than this within the interval and the actor stays down
#: until the oldest of them has left the interval.
_MAX_CRASHES: Final = 5
_CRASH_INTERVAL: Final = MINUTE
#: Scopes that are looked at in one step of a survey: about a tenth of a millisecond.
_MAX_SURVEYED: Final = 24
#: The same of inbound groups.
_MAX_GROUPS_SURVEYED: Final = 4
#: Seconds by which the wall clock may drift before moments are computed from its new reading.
_MAX_DRIFT: Final = 0.5


@final
class Supervisor:
    """The parent of all actors of one governor. Belongs to the thread of its `portal`.

    `on_forgotten` is called with an actor that has been dropped: its addresses must go. `leases` says whether permits may be
    granted ahead.
    """

    #: It decides on inbound requests itself.
    gate = None
    #: See `Backend`.
    anywhere = False

    def __init__(
        self,
        config: Config,
        *,
        now: Clock,
        random: Random,
        portal: Portal,
        tasks: TaskGroup,
        on_forgotten: Callable[[ScopeActor], None],
        announcer: Announcer,
        leases: bool,
        classifier: Classifier = DEFAULT,
        state: LifeState | None = None,
    ) -> None:
        now = now if state is None else state.clock
        self.config = config
        self.clock = now
        self._portal = portal
        self._tasks = tasks
        self._announcer = announcer
        #: The actors with permits granted ahead that are outstanding.
        self.leasing: set[ScopeActor] = set()
        self.alarms = Alarms(portal)
        self.failures = Failures()
        self._watch = GlobalWatch(config.global_, now=now, announcer=announcer)
        self._watch.budgets.reconfigure(_budgets(config))
        self.cap, self.degraded, self.budgets = self._watch.cap, self._watch.degraded, self._watch.budgets
        #: Keeps the state in a store; None without one.
        self.keeper = None if state is None else state.keep(now=now, portal=portal, wake=lambda: _serve_waiting(self))
        if self.keeper is not None:
            self.keeper.restore_global(self.cap, self.degraded, self._watch.budgets)
            self._watch.restored()
        self._builder = Builder(
            config,
            now=now,
            random=random,
            portal=portal,
            failures=self.failures,
            parent=self,
            watch=self._watch,
            announcer=announcer,
            classifier=classifier,
            leases=leases,
            watch_loops=LoopWatch(clock=now, portal=portal, announcer=announcer),
            keeper=self.keeper,
        )
        self._scopes = Registry(self._builder, now=now, on_forgotten=on_forgotten, keeper=self.keeper)
        #: The actor of a scope, started on first use. None if there is no room for another scope. The first call waits for it.
        self.actor: Callable[[str], ScopeActor | None] = self._scopes.get
        self.sharing = Sharing(self._builder, actors=self._scopes.actors, leasing=self.leasing, portal=portal)
        #: The processes that are connected to the governor.
        self.members: Callable[[], tuple[MemberStatistics, ...]] = tuple
        self._to_start: deque[Callable[[], object]] = deque()
        # The instants of the latest crashes, of the actors that have crashed within the interval.
        self._crashes: dict[ScopeActor, deque[Instant]] = {}
        self._any_to_start = anyio.Event()
        # The wall clock at instant 0 of the governor's clock, kept while the two agree.
        self._wall = -math.inf
        #: When the governor was started, in seconds since 1970.
        self.started_at: float | None = None
        for task in (*self._watch.tasks(), self.alarms.run, self._start_tasks, self._scopes.passivate_idle):
            tasks.start_soon(task)
        if self.keeper is not None:
            tasks.start_soon(self.keeper.look)

    @cached_property
    def groups(self) -> "inbound.Groups":
        """The inbound groups. Made when they are first needed, on any thread: few programs have an API of their own."""
        made = inbound.Groups(self.config, now=self.clock, announcer=self._announcer, start=self._start_sweeping)
        # Several threads may get here at once. The first to enter its own has made them.
        groups: inbound.Groups = self.__dict__.setdefault("groups", made)
        return groups

    @property
    def operations(self) -> "operating.Operations":
        """What an operator may do."""
        return operating.Operations(self._scopes, self._builder, now=self.clock, publish=self._publish)

    @property
    def actors(self) -> Mapping[str, ScopeActor]:
        """The actors by scope."""
        return self._scopes.actors

    def close(self) -> None:
        """Answers every call that waits; from now on every ask is answered `shutting_down`."""
        self._scopes.closed = True
        for actor in self._scopes.actors.values():
            actor.close()

    def resume(self, actor: ScopeActor) -> None:
        """Reopens an actor that was taken down by hand, as `governor.testing` does."""
        if not self._scopes.closed and actor.reopen(actor.ledger.pipeline):
            self._scopes.is_awake(actor)

    def moved(self) -> None:
        """Another thread runs the loop from now on: actors are sent all outcomes, and none is called where it once lived."""
        for actor in self._scopes.actors.values():
            actor.thread = self._portal.thread

    def stuck(self) -> set[int]:
        """The threads that wait, anywhere, for what no passage of time will give: only the outcomes of others can."""
        return {thread for actor in self._scopes.actors.values() for thread in actor.stuck()}

    def statistics(self) -> Statistics:
        """What has happened, and how things stand, scope by scope."""
        return next(statistics for statistics in self.survey() if statistics is not None)

    def survey(self, also: str = "") -> Iterator[Statistics | None]:
        """The same in small steps, so that others get their turn in between: None after each step, in the end the record.

        What comes to life meanwhile is left out, and what makes room meanwhile still counts: so sums are true. Of the scopes
        that are set aside only `also`, or those of a provider of that name, are shown.
        """
        counters, visits = CounterSum(self._scopes.counters()), CounterSum(self.groups.forgotten)
        aside = len(self._scopes.set_aside)
        actors, group_actors = self._scopes.actors.copy(), self.groups.by_name.copy()
        scopes: dict[str, ScopeStatistics] = {}
        groups: dict[str, GroupStatistics] = {}
        for part in batched(self._scopes.names(), _MAX_SURVEYED):
            now, wall = self._moments()
            found = [records.scope_statistics(actors[scope], now, wall) for scope in part]
            scopes.update(zip(part, found, strict=True))
            counters.add([of_scope.counters for of_scope in found])
            yield None
        for part in batched(sorted(group_actors), _MAX_GROUPS_SURVEYED):
            groups |= {name: records.group_statistics(group_actors[name], self.clock()) for name in part}
            visits.add([groups[name].counters for name in part])
            yield None
        for name in self._scopes.set_aside.names(also):
            record = self._scopes.set_aside.records.get(name)
            if record is not None and name not in scopes:
                scopes[name] = records.scope_statistics(self._scopes.shown(name, record), *self._moments())
                yield None
        now = self.clock()
        yield Statistics(
            now=wall_clock(),
            started_at=self.started_at,
            counters=counters.record(),
            inbound=visits.record(),
            requests_last_minute=self._watch.cap.used(now),
            requests_per_minute=self.config.global_.requests_per_minute,
            degraded_for=to_seconds(max(0, self._watch.degraded.until - now)),
            degraded_spells=self._watch.degraded.spells,
            degraded_cause=self._watch.cause if now < self._watch.degraded.until else None,
            degraded_providers=self._watch.degraded.culprits if now < self._watch.degraded.until else (),
            scopes=scopes,
            budgets=records.budget_statistics(self._watch.budgets, now),
            provider_limits=self.sharing.limits(now),
            set_aside=aside,
            groups=groups,
            members=self.members(),
            events_dropped=self._announcer.dropped,
            hooks_failed=self._announcer.failed,
        )

    def _moments(self) -> tuple[Instant, Moment]:
        """The present moment, on the governor's clock and on the wall clock."""
        now = self.clock()
        wall = wall_clock() - to_seconds(now)
        if abs(wall - self._wall) > _MAX_DRIFT:
            self._wall = wall
        return now, self._wall + to_seconds(now)

    def reconfigure(self, config: Config) -> None:
        """Other settings from now on; everything goes on from where it stands."""
        before, self.config = self.config, config
        self._builder.reconfigure(config)
        self._watch.reconfigure(config.global_)
        self._watch.budgets.reconfigure(_budgets(config), self.clock())
        self.sharing.reconfigure()
        for scope, actor in list(self._scopes.actors.items()):
            if self._builder.concerns(before, scope):
                self.sharing.change(actor)
        # Also where there are none yet: another thread may be about to make them, of the settings before.
        self.groups.reconfigure(config)

    # Effects.

    def perform(self, actor: ScopeActor, effect: Effect) -> None:
        """Does what a step of an actor asks for."""
        match effect:
            case Signal.PAUSED:
                self._publish()
                self._watch.entered()
            case Signal.HIGH_USE:
                self._watch.high_use()
            case Signal.RESUMED:
                self._scopes.start(actor)
            case Crashed(error):
                self._to_start.append(partial(self._tasks.start_soon, self._restart, actor, error))
                self._any_to_start.set()
            case BreakerMoved(before):
                self._watch.breaker_moved(actor.scope, actor.ledger.pipeline.breaker, before)
            case CooldownMoved(provider):
                self._publish(provider)
            case ProviderChanged(provider):
                self.sharing.rebuild(provider, but=actor)
            case BansMoved(provider, news):
                self._bans_moved(actor, provider, news)
            case _:
                assert_never(effect)

    def _bans_moved(self, actor: ScopeActor, provider: str, news: News) -> None:
        shared, now = actor.ledger.pipeline.shared, self.clock()
        if News.COUNT in news:
            scopes = [one for one in self._scopes.actors.values() if one.ledger.pipeline.provider == provider]
            for one in scopes:
                one.recall()
                one.catch_up()
            shared.ban_budget.count(now, sum(one.ledger.under_way() + one.leased_elsewhere for one in scopes))
        self._publish(provider)
        for closed, name, run in (
            (News.PROVIDER_CLOSED, provider, shared.rejections),
            (News.SCOPE_CLOSED, actor.scope, actor.ledger.pipeline.guard.own),
        ):
            if closed in news:
                self._watch.closed(name, shared.ban_budget.rejections(now), Duration(run.until - now))

    def recall_all(self) -> None:
        """Recalls what is granted ahead, in every scope."""
        for actor in tuple(self.leasing):
            actor.recall()

    def is_any_healthy(self, now: Instant) -> bool:
        """Whether a provider that has no part in the current run of failures is known to be healthy.

        Looks at all scopes that are awake. Exempt providers do not count, as a pause does not stop them; nor does any, where a
        run of failures of one provider is enough for a pause.
        """
        several = self.config.global_.degraded_after_providers > 1
        return several and any(self._is_witness(actor, now) for actor in self._scopes.awake)

    def _is_witness(self, actor: ScopeActor, now: Instant) -> bool:
        pipeline = actor.ledger.pipeline
        return not pipeline.exempt and not self.degraded.blames(pipeline.provider) and actor.is_healthy(now)

    def leave_degraded(self) -> None:
        """Ends a pause of all traffic now. The run of failures and the excess over the cap begin anew."""
        self.degraded.leave(self.clock())
        self._publish()
        self._watch.left()

    def _publish(self, provider: str | None = None) -> None:
        for actor in self._scopes.actors.values():
            if provider is None or actor.ledger.pipeline.provider == provider:
                actor.on_published()

    # Tasks.

    def _start_sweeping(self, group: "GroupActor") -> None:
        self._to_start.append(partial(self._tasks.start_soon, self._keep_sweeping, group))
        self._any_to_start.set()

    async def _start_tasks(self) -> None:
        """Starts tasks. It takes a task to start one: callbacks of the loop may ask as well, and belong to none."""
        while True:
            await self._any_to_start.wait()
            self._any_to_start = anyio.Event()
            while self._to_start:
                self._to_start.popleft()()

    async def _restart(self, actor: ScopeActor, error: Exception) -> None:
        """Reopens an actor that has crashed; after too many crashes later."""
        _log.error("The actor of %s failed and is restarted.", actor.scope, exc_info=error)
        now = self.clock()
        for one in [one for one, dates in self._crashes.items() if now - dates[-1] >= _CRASH_INTERVAL]:
            del self._crashes[one]
        crashes = self._crashes.setdefault(actor, deque(maxlen=_MAX_CRASHES + 1))
        crashes.append(now)
        if len(crashes) > _MAX_CRASHES and now - crashes[0] < _CRASH_INTERVAL:
            pause = Duration(crashes[0] + _CRASH_INTERVAL - now)
            _log.error("The actor of %s failed too often and stays down for %.1f s.", actor.scope, to_seconds(pause))
            actor.stop(Reason.OVERLOADED, pause, until=Instant(now + pause))
            await anyio.sleep(to_seconds(pause))
        # It may have been reopened by hand meanwhile.
        if not self._scopes.closed and actor.reopen(self._builder.successor(actor)):
            self._scopes.is_awake(actor)

    async def _keep_sweeping(self, group: "GroupActor") -> None:
        while True:
            try:
                await group.sweep()
                return
            except Exception as error:
                _log.error("The sweeper of %s failed and is restarted.", group.name, exc_info=error)
                await anyio.sleep(1.0)


def _budgets(config: Config) -> dict[str, Budget]:
    return {name: settings.budget(name) for name, settings in config.budget.items()}


def _serve_waiting(supervisor: Supervisor) -> None:
    """Calls that have waited for the store may go on."""
    for actor in tuple(supervisor._scopes.awake):
        if actor.waiting:
            actor.change(bool)
