"""Who starts, restarts and retires the actors, and owns what is global?

The supervisor. Global are the request cap, degraded mode and the retry budget of each provider.

It runs on the same thread as the actors and is asked the same way: a direct, synchronous hand-off. At its bound
(`max_scopes`) a scope that rests makes room: it is dropped if it is as good as new, or set aside as a record, from which it
goes on when it is asked again. If there is none, or no room for its record, the newcomer is answered `overloaded`.
"""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, islice
from random import Random
from typing import Final, Literal
from weakref import WeakValueDictionary

import anyio
from anyio.abc import TaskGroup

from governor._actors.counters import CounterRecord, Counters
from governor._actors.group import GroupActor
from governor._actors.portal import Portal
from governor._actors.scope import ScopeActor
from governor._actors.set_aside import ScopeRecord, SetAside
from governor._actors.statistics import Statistics, group_statistics, scope_statistics
from governor._failures import DEFAULT, Classifier
from governor._units import MINUTE, Duration, Instant, to_seconds
from governor.clock import Clock, wall_clock
from governor.config import Config, GlobalSettings, InboundGroup, ScopeSettings, provider_of
from governor.errors import Reason, UsageError
from governor.instrumentation import Announcer, DegradedEntered, DegradedLeft
from governor.instrumentation.notices import Notices
from governor.policies.breaker import BreakerPolicy, BreakerStatus
from governor.policies.degraded import Cause, Degraded, DegradedPolicy
from governor.policies.pipeline import Pipeline, PipelineSettings
from governor.policies.request_cap import WARN_AT, RequestCap, RequestCapPolicy
from governor.policies.retry_budget import RetryBudget, RetryBudgetPolicy

_log: Final = logging.getLogger("governor")

#: Restart intensity, as Erlang/OTP supervisors count it: more crashes than this within the period and the actor stays down
#: until the oldest of them has left the period.
_MAX_CRASHES: Final = 5
_CRASH_INTERVAL: Final = MINUTE
#: How often the use of the cap is looked at after it has been high, until it is no longer, in seconds.
_CALM_INTERVAL: Final = 5.0
#: A share is counted in whole millionths.
_MILLION: Final = 1_000_000
#: Limits of single endpoints. There are as many as a program has in its code.
_MAX_ENDPOINTS: Final = 1000
#: So many scopes at rest are looked at to make room for one newcomer, at most.
_MAX_LOOKED_AT: Final = 16
#: Records of scopes that are set aside, at most: so many times `max_scopes`.
_MAX_SET_ASIDE: Final = 4
#: Changes of settings that a scope which is set aside goes through one by one when it comes back; of older ones it sees none.
_MAX_CHANGES: Final = 16
#: So many scopes are looked at in one step of a survey: about a tenth of a millisecond.
_MAX_SURVEYED: Final = 16


class Supervisor:
    """The parent of all actors of one governor. Lives on the thread of its `portal`.

    `on_forgotten` is called with an actor that has been dropped: whoever keeps its address must ask for it again. `lends` says
    whether permits may be granted ahead.
    """

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
        lends: bool,
        classifier: Classifier = DEFAULT,
    ) -> None:
        policy = config.global_
        self._config = config
        self._now = now
        self._random = random
        self._portal = portal
        self._tasks = tasks
        self._on_forgotten = on_forgotten
        self._announcer = announcer
        self._classifier = classifier
        self._lends = lends
        self._actors: dict[str, ScopeActor] = {}
        self._awake: dict[ScopeActor, None] = {}
        # Those at rest, the first to make room first.
        self._passive: OrderedDict[ScopeActor, None] = OrderedDict()
        self._leasing: set[ScopeActor] = set()
        self._set_aside = SetAside()
        # The counters of scopes without an actor, and of outcomes that come after theirs has been dropped.
        self._forgotten = CounterRecord()
        self._late = Counters()
        self._changes: deque[tuple[Instant, Config]] = deque(maxlen=_MAX_CHANGES)
        self._changed = 0
        self._forgotten_visits = CounterRecord()
        # The scopes of a provider share its budget, which goes with the last of them.
        self._budgets: WeakValueDictionary[str, RetryBudgetPolicy] = WeakValueDictionary()
        self._closed = False
        self._any_awake = anyio.Event()
        self._to_start: deque[ScopeActor | GroupActor] = deque()
        self._any_to_start = anyio.Event()
        self.cap = RequestCapPolicy(RequestCap(policy.requests_per_minute))
        self.degraded = DegradedPolicy(_degraded(policy))
        self._degraded_moved = anyio.Event()
        self._paused = False
        self.cap.watch(on=True)
        self._high_use = anyio.Event()
        self._lines_held_back = anyio.Event()
        self._notices = Notices(wall_clock, lambda: self._lines_held_back.set())
        max_clients = config.inbound_settings.max_clients
        self.groups = {
            name: GroupActor(name, group, max_clients=max_clients, now=now, announcer=announcer)
            for name, group in config.inbound.items()
        }
        #: The groups of limits on single endpoints, by the object that stands for the limit.
        self._endpoints: dict[object, str] = {}
        for group in self.groups.values():
            tasks.start_soon(self._keep_sweeping, group)
        tasks.start_soon(self._announce_recovery)
        tasks.start_soon(self._wait_for_calm)
        tasks.start_soon(self._flush_notices)
        tasks.start_soon(self._start_tasks)
        tasks.start_soon(self._passivate_idle_actors)

    def actor(self, scope: str) -> ScopeActor | None:
        """The actor of a scope, started on first use; None if there are as many scopes as allowed and none makes room."""
        actor = self._actors.get(scope)
        if actor is None and self._make_room():
            record = self._set_aside.get(scope)
            if record is None:
                actor = self._new_actor(scope, self._pipeline(scope))
            else:
                actor = self._revived(scope, record)
                self._set_aside.remove(scope)
                self._forgotten -= record.counters
            self._actors[scope] = actor
            self._start(actor)
        return actor

    def close(self) -> None:
        """Answers everybody who waits, everywhere; from now on every ask is answered `shutting_down`."""
        self._closed = True
        for actor in self._actors.values():
            actor.close(Reason.SHUTTING_DOWN, None)

    def resume(self, actor: ScopeActor) -> None:
        """Lets an actor that was closed go on from where it stands; for tests, which close one to see what its callers do."""
        if not self._closed:
            actor.reopen(actor.pipeline)
            self._start(actor)

    def moved(self) -> None:
        """Another thread runs the loop from now on: actors are sent all outcomes, and none is called where it once lived."""
        for actor in self._actors.values():
            actor.thread = self._portal.thread

    def stuck(self) -> set[int]:
        """The threads that wait, anywhere, for what no passage of time will give: only the outcomes of others can."""
        return {thread for actor in self._actors.values() for thread in actor.stuck()}

    def statistics(self) -> Statistics:
        """What has happened, and how things stand, scope by scope."""
        return next(statistics for statistics in self.survey() if statistics is not None)

    def survey(self, also: str = "") -> Iterator[Statistics | None]:
        """The same in small steps, so that others get their turn in between: None after each step, in the end the record.

        What comes to life meanwhile is left out, and what makes room meanwhile still counts: so sums are true. Of the scopes
        that are set aside only `also`, or those of a provider of that name, are shown.
        """
        counters, visits = self._forgotten + self._late.record(), self._forgotten_visits
        aside = len(self._set_aside)
        actors, group_actors = self._actors.copy(), self.groups.copy()
        scopes, groups = {}, {}
        for number, scope in enumerate(sorted(actors), 1):
            scopes[scope] = of_scope = scope_statistics(actors[scope], self._now())
            counters += of_scope.counters
            if number % _MAX_SURVEYED == 0:
                yield None
        for number, name in enumerate(sorted(group_actors), 1):
            groups[name] = of_group = group_statistics(group_actors[name], self._now())
            visits += of_group.counters
            if number % _MAX_SURVEYED == 0:
                yield None
        for name in self._set_aside.names(also):
            record = self._set_aside.get(name)
            if record is not None and name not in scopes:
                scopes[name] = scope_statistics(self._revived(name, record), self._now())
                yield None
        now = self._now()
        yield Statistics(
            counters=counters,
            inbound=visits,
            requests_last_minute=self.cap.used(now),
            degraded_for=to_seconds(max(0, self.degraded.until - now)),
            degraded_spells=self.degraded.spells,
            degraded_cause=_cause(self.degraded) if now < self.degraded.until else None,
            degraded_providers=self.degraded.culprits if now < self.degraded.until else (),
            scopes=scopes,
            set_aside=aside,
            groups=groups,
            events_dropped=self._announcer.dropped,
            hooks_failed=self._announcer.failed,
        )

    def reconfigure(self, config: Config) -> None:
        """Other settings from now on; everything goes on from where it stands."""
        before, self._config = self._config, config
        self._changes.append((self._now(), config))
        self._changed += 1
        self.cap.reconfigure(RequestCap(config.global_.requests_per_minute))
        self.cap.watch(on=not self._high_use.is_set())
        self.degraded.reconfigure(_degraded(config.global_))
        for scope, actor in list(self._actors.items()):
            if before.global_ != config.global_ or _said(before, scope) != _said(config, scope):
                self._change(actor)
        max_clients = config.inbound_settings.max_clients
        for name, policy in config.inbound.items():
            if name in self.groups:
                self.groups[name].reconfigure(policy, max_clients)
            else:
                self._add_group(name, policy)
        for name in self._endpoints.values():
            self.groups[name].reconfigure(self.groups[name].policy, max_clients)
        known = {*config.inbound, *self._endpoints.values()}
        for name in [name for name in self.groups if name not in known]:
            group = self.groups.pop(name)
            self._forgotten_visits += group.counters.record()
            group.close()

    def endpoint(self, key: object, name: str, policy: InboundGroup) -> GroupActor:
        """The group of a limit on endpoints, known by `key`. It starts with its first request. Raises `UsageError`."""
        known = self._endpoints.get(key)
        if known is not None:
            return self.groups[known]
        if len(self._endpoints) >= _MAX_ENDPOINTS:
            raise UsageError(f"there are more than {_MAX_ENDPOINTS} limits of endpoints; make each once, not for each request")
        names = (f"endpoint:{name}" if number == 1 else f"endpoint:{name}-{number}" for number in count(1))
        group = next(one for one in names if one not in self.groups)
        self._endpoints[key] = group
        self._add_group(group, policy)
        return self.groups[group]

    def known_endpoint(self, key: object) -> GroupActor | None:
        """The same for a limit that is in use already, from any thread; else None."""
        name = self._endpoints.get(key)
        return None if name is None else self.groups.get(name)

    def _add_group(self, name: str, policy: InboundGroup) -> None:
        max_clients = self._config.inbound_settings.max_clients
        group = GroupActor(name, policy, max_clients=max_clients, now=self._now, announcer=self._announcer)
        self.groups[name] = group
        self._to_start.append(group)
        self._any_to_start.set()

    def _change(self, actor: ScopeActor) -> None:
        """Has the actor go on under the settings in force; soon, if a signal handler wants it in the middle of its work."""
        scope, most = actor.scope, self._config.global_.max_waiting
        if not actor.reconfigure(self._pipeline(scope), self._config.for_scope(scope).retry, self._budget(scope), most):
            self._portal.post(partial(self._change, actor))

    def _new_actor(self, scope: str, pipeline: Pipeline) -> ScopeActor:
        policy = self._config.for_scope(scope)
        return ScopeActor(
            scope,
            pipeline,
            portal=self._portal,
            now=self._now,
            retry=policy.retry,
            budget=self._budget(scope),
            random=self._random,
            max_waiting=self._config.global_.max_waiting,
            start=self._start,
            publish=self._publish,
            recall_all=self._recall_all,
            judge=self._judge,
            on_breaker=self._on_breaker,
            on_high_use=self._on_high_use,
            leasing=self._leasing,
            announcer=self._announcer,
            classifier=self._classifier,
        )

    def _budget(self, scope: str) -> RetryBudgetPolicy:
        provider = provider_of(scope)
        parameters = self._config.for_scope(provider).retry_budget
        before = self._budgets.get(provider)
        if before is not None and before.parameters == parameters:
            return before
        self._budgets[provider] = budget = RetryBudgetPolicy(parameters)
        if before is not None:
            budget.restore(before.state())
        return budget

    def _pipeline(self, scope: str, config: Config | None = None) -> Pipeline:
        """Unspent, under the settings in force unless told otherwise."""
        config = config or self._config
        policy = config.for_scope(scope)
        exempt = provider_of(scope) in config.global_.degraded_exempt
        return self._pipeline_of(scope, (policy.breaker, policy.limits, exempt, policy.max_debt))

    def _pipeline_of(self, scope: str, settings: PipelineSettings) -> Pipeline:
        breaker, limits, exempt, max_debt = settings
        return Pipeline(
            breaker,
            limits,
            cap=self.cap,
            degraded=self.degraded,
            provider=provider_of(scope),
            exempt=exempt,
            lends=self._lends,
            max_debt=max_debt,
        )

    def _revived(self, scope: str, record: ScopeRecord) -> ScopeActor:
        """An actor that goes on from a record, as if it had gone through the changes of settings since like all others."""
        pipeline = self._pipeline_of(scope, record.settings)
        pipeline.restore(record.state)
        missed = min(self._changed - record.changes, len(self._changes))
        for at, config in islice(self._changes, len(self._changes) - missed, None):
            changed = self._pipeline(scope, config)
            if changed.settings() != pipeline.settings():
                changed.take_over(at, pipeline)
                pipeline = changed
        actor = self._new_actor(scope, pipeline)
        actor.go_on_from(record.counters, record.units, limits_changed=pipeline.settings() != record.settings)
        return actor

    def _start(self, actor: ScopeActor) -> None:
        if self._closed:
            actor.close(Reason.SHUTTING_DOWN, None)
            return
        self._is_awake(actor)
        self._to_start.append(actor)
        self._any_to_start.set()

    async def _start_tasks(self) -> None:
        """Gives actors their tasks. It takes a task to start one: callbacks of the loop may ask as well, and belong to none."""
        while True:
            await self._any_to_start.wait()
            self._any_to_start = anyio.Event()
            while self._to_start:
                match self._to_start.popleft():
                    case ScopeActor() as actor:
                        self._tasks.start_soon(self._keep_running, actor, name=f"governor {actor.scope}")
                    case GroupActor() as group:
                        self._tasks.start_soon(self._keep_sweeping, group)

    def _is_awake(self, actor: ScopeActor) -> None:
        self._awake[actor] = None
        self._passive.pop(actor, None)
        self._any_awake.set()

    async def _keep_running(self, actor: ScopeActor) -> None:
        crashes: deque[Instant] = deque(maxlen=_MAX_CRASHES + 1)
        while not self._closed:
            try:
                await actor.run()
                return
            except Exception as error:
                _log.error("The actor of %s failed and is restarted.", actor.scope, exc_info=error)
                now = self._now()
                crashes.append(now)
                if len(crashes) > _MAX_CRASHES and now - crashes[0] < _CRASH_INTERVAL:
                    pause = Duration(crashes[0] + _CRASH_INTERVAL - now)
                    _log.error("The actor of %s failed too often and stays down for %.1f s.", actor.scope, to_seconds(pause))
                    actor.close(Reason.OVERLOADED, pause, until=Instant(now + pause))
                    await anyio.sleep(to_seconds(pause))
            if not self._closed:
                actor.reopen(self._successor(actor))
                # It may have been put to rest while it was down.
                self._is_awake(actor)

    def _successor(self, actor: ScopeActor) -> Pipeline:
        """New policies that stand where those of the crashed actor stood; those very ones, if they cannot say where.

        They follow the settings in force, which may have changed in the very moment of the crash.
        """
        successor = self._pipeline(actor.scope)
        try:
            if successor.settings() == actor.pipeline.settings():
                successor.restore(actor.pipeline.state())
            else:
                successor.take_over(self._now(), actor.pipeline)
        except Exception as error:
            _log.error("The policies of %s cannot be copied and go on as they are.", actor.scope, exc_info=error)
            return actor.pipeline
        return successor

    async def _keep_sweeping(self, group: GroupActor) -> None:
        while True:
            try:
                await group.run()
                return
            except Exception as error:
                _log.error("The sweeper of %s failed and is restarted.", group.name, exc_info=error)
                await anyio.sleep(1.0)

    # Degraded mode and the cap.

    def leave_degraded(self) -> None:
        """Ends a pause of all traffic now. The run of failures and the excess over the cap begin anew."""
        self.degraded.leave(self._now())
        for actor in self._actors.values():
            actor.on_published()
        self._announce_left()
        self._degraded_moved.set()

    def _judge(self, now: Instant) -> None:
        """A run of failures is long enough. It begins degraded mode unless another provider is known to be healthy.

        This walks over all scopes that are awake, at most once for each run. Exempt providers are no witnesses, as a pause
        does not stop them. A run of which no provider need take part is not judged by others.
        """
        several = self._config.global_.degraded_after_providers > 1
        healthy = several and any(self._is_witness(actor, now) for actor in self._awake)
        self.degraded.decide(now, healthy=healthy)

    def _is_witness(self, actor: ScopeActor, now: Instant) -> bool:
        pipeline = actor.pipeline
        return not pipeline.exempt and not self.degraded.blames(pipeline.provider) and actor.is_healthy(now)

    def _publish(self) -> None:
        """Degraded mode has begun."""
        for actor in self._actors.values():
            actor.on_published()
        now, degraded = self._now(), self.degraded
        left = Duration(max(0, degraded.until - now))
        self._announce_left()  # Of the pause before, should its end not have been noticed yet.
        self._paused = True
        self._announcer(DegradedEntered(cooldown=to_seconds(left), cause=_cause(degraded), providers=degraded.culprits))
        if degraded.cause is Cause.CAP:
            self._notices.degraded_by_cap(now, self._config.global_.requests_per_minute, degraded.culprits, left)
        else:
            self._notices.degraded_by_failures(now, degraded.culprits, left)
        self._degraded_moved.set()

    def _announce_left(self) -> None:
        if self._paused:
            self._paused = False
            self._announcer(DegradedLeft())
            self._notices.degraded_left(self._now())

    async def _announce_recovery(self) -> None:
        while True:
            await self._degraded_moved.wait()
            self._degraded_moved = moved = anyio.Event()
            while (left := self.degraded.until - self._now()) > 0 and not moved.is_set():
                with anyio.move_on_after(to_seconds(left + 1)):
                    await moved.wait()
            if not moved.is_set():
                self._announce_left()

    def _on_breaker(self, actor: ScopeActor, before: BreakerStatus) -> None:
        """The breaker of a scope has moved."""
        now, scope, breaker = self._now(), actor.scope, actor.pipeline.breaker
        if before is BreakerStatus.CLOSED:
            self.degraded.breaker_opened(provider_of(scope))
        if breaker.status is BreakerStatus.OPEN:
            left = Duration(max(0, breaker.until - now))
            self._notices.breaker_opened(now, scope, _why(breaker, before), left)
        elif breaker.status is BreakerStatus.CLOSED:
            self.degraded.breaker_closed(provider_of(scope))
            self._notices.breaker_closed(now, scope)

    def _on_high_use(self, now: Instant) -> None:
        """Much of the cap may be used. If so, that is logged once, and again only after use has fallen."""
        if self.cap.is_high(now):
            self.cap.watch(on=False)
            self._notices.high_use(now, self.cap.used(now), self.cap.parameters.requests_per_minute, WARN_AT)
            self._high_use.set()

    async def _wait_for_calm(self) -> None:
        while True:
            await self._high_use.wait()
            while not self.cap.is_calm(self._now()):  # noqa: ASYNC110 - nothing happens when use falls
                await anyio.sleep(_CALM_INTERVAL)
            self._high_use = anyio.Event()
            self.cap.watch(on=True)

    async def _flush_notices(self) -> None:
        while True:
            await self._lines_held_back.wait()
            await anyio.sleep(to_seconds(MINUTE))
            self._lines_held_back = anyio.Event()
            self._notices.flush(self._now())

    def _recall_all(self) -> None:
        for actor in tuple(self._leasing):
            actor.recall()

    def _make_room(self) -> bool:
        """Is there room for one more scope? There may be more of them than allowed, since that was changed."""
        for _ in range(_MAX_LOOKED_AT):
            if len(self._actors) < self._config.global_.max_scopes or not self._passive:
                break
            actor, _ = self._passive.popitem(last=False)
            # One that cannot go yet has another turn after all others.
            if not self._drop(actor):
                self._passive[actor] = None
        return len(self._actors) < self._config.global_.max_scopes

    def _drop(self, actor: ScopeActor) -> bool:
        """Drops the actor of a scope at rest. What it has to remember is set aside, unless outcomes are still to come."""
        if not actor.may_be_dropped():
            return False
        now, scope, pipeline, counters = self._now(), actor.scope, actor.pipeline, actor.counters.record()
        if not pipeline.at_rest(now):
            if counters.under_way:
                return False
            budget, rests_at = self._budget(scope), pipeline.rests_at(now)
            state, settings = pipeline.state(), pipeline.settings()
            record = ScopeRecord(state, settings, counters, actor.units, budget, self._changed, rests_at)
            most = _MAX_SET_ASIDE * self._config.global_.max_scopes
            if not self._set_aside.keep(scope, record, now=now, most=most):
                return False
        self._forgotten += counters
        del self._actors[scope]
        actor.drop(self._late)
        self._on_forgotten(actor)
        return True

    async def _passivate_idle_actors(self) -> None:
        """Ends the tasks of actors that nobody asked for a whole period. With nobody awake, this sleeps as well."""
        seen: dict[ScopeActor, int] = {}
        while True:
            await self._any_awake.wait()
            await anyio.sleep(to_seconds(self._config.global_.idle_after))
            for actor in [actor for actor in self._awake if not actor.waiting() and seen.get(actor) == actor.asks()]:
                del self._awake[actor]
                actor.passivate()
                self._passive[actor] = None
            seen = {actor: actor.asks() for actor in self._awake}
            if not self._awake:
                self._any_awake = anyio.Event()


def _said(config: Config, scope: str) -> tuple[ScopeSettings, RetryBudget]:
    """What a configuration says about a scope, and about the budget that the scopes of its provider share."""
    return config.for_scope(scope), config.for_scope(provider_of(scope)).retry_budget


def _degraded(policy: GlobalSettings) -> Degraded:
    cap, share = policy.requests_per_minute, policy.degraded_after_excess
    return Degraded(
        failures=policy.degraded_after_failures,
        providers=policy.degraded_after_providers,
        excess=None if cap is None or share is None else round(share * _MILLION) * cap // _MILLION,
        cooldown=policy.degraded_cooldown,
    )


def _cause(degraded: DegradedPolicy) -> Literal["failures", "cap"]:
    return "cap" if degraded.cause is Cause.CAP else "failures"


def _why(breaker: BreakerPolicy, before: BreakerStatus) -> str:
    """What opened it, in words."""
    if before is BreakerStatus.HALF_OPEN:
        return "again after a failed probe"
    failures, calls = breaker.trip
    if calls is not None:
        return f"after {failures} of {calls} calls failed"
    return "after a failure" if failures == 1 else f"after {failures} failures in a row"
