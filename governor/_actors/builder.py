"""Builder of actors: their policies as the settings in force say, the policies of providers, and scopes that come back.

Bounds: a scope that was set aside goes through the latest `MAX_CHANGES` changes of settings, and sees none of the older ones.
Of providers without a scope, those that have spent something are kept, up to `MAX_KEPT`; beyond, their last scopes stay.
"""

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Final, final
from weakref import WeakValueDictionary, ref

from msgspec.structs import replace

from governor._actors.actor import ScopeActor
from governor._actors.common import Common, Parent
from governor._actors.failures import Failures
from governor._actors.loop_watch import LoopWatch
from governor._actors.portal import Portal
from governor._actors.set_aside import ScopeRecord
from governor._actors.watch import GlobalWatch
from governor._failures import Classifier
from governor._units import Instant
from governor.clock import Clock
from governor.config import DEFAULT, Config, ProviderSettings, ScopeSettings, keyed_of, provider_of
from governor.instrumentation import Announcer
from governor.policies.composition import alike, compose
from governor.policies.pipeline import Pipeline, PipelineSettings
from governor.policies.provider import ProviderParameters, ProviderPolicies
from governor.policies.shared_limit import ONE_REQUEST, MethodCost

if TYPE_CHECKING:
    from governor._actors.keeper import Keeper
    from governor.policies.learning.server_limits import ServerLimits

_log: Final = logging.getLogger("governor")

MAX_CHANGES: Final = 16
#: Providers whose policies are kept although none of their scopes is.
MAX_KEPT: Final = 10_000


@final
class Builder:
    """Builds the actors of one governor, and what they need when settings change. `leases`: permits may be granted ahead."""

    def __init__(
        self,
        config: Config,
        *,
        now: Clock,
        random: Random,
        portal: Portal,
        failures: Failures,
        parent: Parent,
        watch: GlobalWatch,
        announcer: Announcer,
        classifier: Classifier,
        leases: bool,
        watch_loops: LoopWatch | None = None,
        keeper: "Keeper | None" = None,
    ) -> None:
        self._common = Common(
            portal=portal,
            failures=failures,
            clock=now,
            random=random,
            parent=parent,
            announcer=announcer,
            max_waiting=config.global_.max_waiting,
            classifier=classifier,
            watch=watch_loops,
        )
        self._keeper = keeper
        self._make: Callable[..., ScopeActor] = ScopeActor if keeper is None else _kept(keeper)
        self._now = now
        self._watch = watch
        self._leases = leases
        self._history: deque[tuple[Instant, Config]] = deque(maxlen=MAX_CHANGES)
        #: The number of changes of settings so far.
        self.changes = 0
        # What the scopes of each provider share. It goes with the last of them, or when it is at rest, and its entry when there
        # are so many. A `WeakValueDictionary` would take four Python calls for each new scope.
        self._providers: dict[str, ref[ProviderPolicies]] = {}
        self._prune_at = 64
        #: Those of them that have or had limits.
        self.limited: WeakValueDictionary[str, ProviderPolicies] = WeakValueDictionary()
        self._kept: dict[str, ProviderPolicies] = {}
        # At so many, those at rest are dropped; at the bound not before this instant, when the first of them is.
        self._sweep_at = 64
        self._full_until = Instant(0)
        self._use(config)

    def _use(self, config: Config) -> None:
        self.config = config
        #: The providers of which the settings say anything: all others are alike, and looked up once for all of them.
        self._named = {provider_of(name) for name in (*config.provider, *config.outbound, *config.global_.degraded_exempt)}
        # What those of the others are copied from, and never used itself.
        self._others: ProviderPolicies | None = None
        self._settings_of_others = config.outbound[DEFAULT]
        # A pipeline for each section of settings, from which those of scopes are copied. The sections live as long as `config`.
        self._models: dict[tuple[int, bool], Pipeline] = {}

    def reconfigure(self, config: Config) -> None:
        """Other settings from now on."""
        self._use(config)
        self._common.max_waiting = config.global_.max_waiting
        self._history.append((self._now(), config))
        self.changes += 1

    def concerns(self, before: Config, scope: str) -> bool:
        """Whether a scope must change, since `before` was in force."""
        now = self.config
        return before.global_ != now.global_ or _said(before, scope) != _said(now, scope)

    def new(self, scope: str) -> ScopeActor:
        """An actor with unspent policies, or with those that earlier lives have left."""
        # Looked up once, and written out: the first call of a scope waits for all of this.
        name = scope.partition(":")[0].partition("/")[0]  # `provider_of`
        provider = self.provider(name)
        if name in self._named:
            settings, keyed = self.config.for_scope(scope), self.config.keyed_section(scope)
            exempt = name in self.config.global_.degraded_exempt
        else:
            settings, keyed, exempt = self._settings_of_others, None, False
        key = None if keyed is None else self.provider(keyed)
        if provider.heard is not None:
            pipeline = self._pipeline_of(scope, self._said(scope, settings, self.config), provider=provider)
        else:
            model = self._models.get((id(settings), exempt)) or self._make_model(settings, exempt, provider)
            sharing = provider.shares(self._cost(scope, name)) if provider.limits else ()
            if key is not None and keyed is not None:
                sharing += key.shares(self._cost(scope, keyed))
            pipeline = alike(model, scope, provider, key=key, sharing=sharing)
        if self._keeper is not None:
            pipeline = self._keeper.scope(scope, pipeline, self._pipeline_of)
        return self._make(scope, pipeline, common=self._common, retry=settings.retry, loops=settings.loops)

    def revived(self, scope: str, record: ScopeRecord) -> ScopeActor:
        """An actor that goes on from a record, as if it had gone through the changes of settings since."""
        own_server = record.state.own_server()
        pipeline = self._pipeline_of(scope, record.settings, own_server)
        pipeline.restore(record.state)
        missed = min(self.changes - record.changes, len(self._history))
        for at, config in islice(self._history, len(self._history) - missed, None):
            changed = self.pipeline(scope, config, own_server=own_server)
            if changed.settings() != pipeline.settings():
                changed.carry_over(at, pipeline)
                pipeline = changed
        settings = self.config.for_scope(scope)
        actor = self._make(scope, pipeline, common=self._common, retry=settings.retry, loops=settings.loops)
        actor.go_on_from(record.counters, record.units, limits_changed=pipeline.settings() != record.settings)
        return actor

    def successor(self, actor: ScopeActor) -> Pipeline:
        """New policies that stand where those of the crashed actor stood; those very ones, if they cannot say where.

        They follow the settings in force, which may have changed in the very moment of the crash.
        """
        crashed = actor.ledger.pipeline
        successor = self.pipeline(actor.scope, own_server=crashed.heard)
        try:
            if successor.settings() == crashed.settings():
                successor.restore(crashed.state())
            else:
                successor.carry_over(self._now(), crashed)
        except Exception as error:
            _log.error("The policies of %s cannot be copied and go on as they are.", actor.scope, exc_info=error)
            return crashed
        return successor

    def change(self, actor: ScopeActor) -> bool:
        """Has an actor go on under the settings in force. False if a step of the actor runs."""
        scope, settings = actor.scope, self.config.for_scope(actor.scope)
        actor.loops = settings.loops
        pipeline = self.pipeline(scope, own_server=actor.ledger.pipeline.heard)
        return actor.reconfigure(pipeline, settings.retry, self.config.global_.max_waiting)

    def provider(self, name: str) -> ProviderPolicies:
        """What the scopes of a provider share."""
        known = self._providers.get(name)
        found = None if known is None else known()
        if found is None:
            if len(self._providers) >= self._prune_at:
                for gone in [other for other, known in self._providers.items() if known() is None]:
                    del self._providers[gone]
                self._prune_at = 2 * len(self._providers) + 64
            if "/" in name or name in self._named:
                found = ProviderPolicies.of(name, self._look_up(name))
            else:
                found = (self._others or self._make_others(name)).another(name)
            self._providers[name] = ref(found)
            if self._keeper is not None:
                found = self._keeper.provider(found)
                self._providers[name] = ref(found)
                self.keep(found)  # It may have to remember something without a scope.
            if found.limits:
                self.limited[name] = found
        return found

    @property
    def providers(self) -> dict[str, ProviderPolicies]:
        """What the scopes of each provider share."""
        return {name: shared for name, known in self._providers.items() if (shared := known()) is not None}

    def changed_providers(self) -> list[ProviderPolicies]:
        """The providers for which other settings are in force than they know of."""
        return [shared for shared in self.providers.values() if shared.parameters != self._parameters(shared.name)]

    def change_provider(self, shared: ProviderPolicies) -> None:
        """Has what the scopes of a provider share go on under the settings in force. They have to be changed as well."""
        shared.reconfigure(self._now(), self._parameters(shared.name))
        if shared.limits:
            self.limited[shared.name] = shared

    def _parameters(self, provider: str) -> ProviderParameters:
        """Those of a provider, or of the section of a key. What a server reveals belongs to its provider."""
        if "/" in provider or provider in self._named:
            return self._look_up(provider)
        return (self._others or self._make_others(provider)).parameters

    def _make_others(self, one: str) -> ProviderPolicies:
        self._others = others = ProviderPolicies.of(parameters=self._look_up(one))
        return others

    def _look_up(self, provider: str) -> ProviderParameters:
        scope, config = self.config.for_scope(provider), self.config
        whole = config.for_provider(provider_of(provider))
        settings = config.provider.get(provider) if keyed_of(provider) else whole
        known = bool(keyed_of(provider)) or config.limits_provider(provider)
        return ProviderParameters(
            limits=() if settings is None else settings.limits,
            max_debt=scope.max_debt,
            arrivals=scope.arrivals,
            retry_budget=scope.retry_budget,
            ban_budget=whole.ban_budget,
            all_count=(settings or whole).all_count,
            max_hint=whole.max_hint,
            adopts=not known,
            gentle=whole.unknown == "adaptive" and not known,
        )

    def keep(self, shared: ProviderPolicies) -> bool:
        """Keeps the policies of a provider until they are at rest, whatever becomes of its scopes. False at the bound."""
        now = self._now()
        if shared.rests_at() <= now or shared.name in self._kept:
            return True
        if len(self._kept) >= self._sweep_at and now >= self._full_until:
            self._kept = {name: kept for name, kept in self._kept.items() if kept.rests_at() > now}
            self._sweep_at = min(2 * len(self._kept) + 64, MAX_KEPT)
            full = len(self._kept) >= MAX_KEPT
            self._full_until = min(kept.rests_at() for kept in self._kept.values()) if full else now
        if len(self._kept) >= MAX_KEPT:
            return False
        self._kept[shared.name] = shared
        return True

    def changed(self, shared: ProviderPolicies) -> None:
        """An operator has changed a provider: that is remembered without a scope, and written where state is kept."""
        self.keep(shared)
        if self._keeper is not None:
            self._keeper.changed(shared)

    def pipeline(self, scope: str, config: Config | None = None, *, own_server: "ServerLimits | None" = None) -> Pipeline:
        """Unspent policies, under the settings in force unless told otherwise, with what a server has said about the scope."""
        config = config or self.config
        return self._pipeline_of(scope, self._said(scope, config.for_scope(scope), config), own_server)

    def _said(self, scope: str, settings: ScopeSettings, config: Config) -> PipelineSettings:
        exempt = provider_of(scope) in config.global_.degraded_exempt
        return settings.breaker, settings.limits, exempt, settings.max_debt, settings.arrivals

    def _pipeline_of(
        self,
        scope: str,
        settings: PipelineSettings,
        own_server: "ServerLimits | None" = None,
        *,
        provider: ProviderPolicies | None = None,
    ) -> Pipeline:
        breaker, limits, exempt, max_debt, arrivals = settings
        name = provider_of(scope)
        keyed = self.config.keyed_section(scope) if name in self._named else None
        return compose(
            breaker,
            limits,
            cap=self._watch.cap,
            budgets=self._watch.budgets,
            degraded=self._watch.degraded,
            provider=self.provider(name) if provider is None else provider,
            cost=self._cost(scope, name),
            key=None if keyed is None else self.provider(keyed),
            key_cost=ONE_REQUEST if keyed is None else self._cost(scope, keyed),
            scope=scope,
            own_server=own_server,
            exempt=exempt,
            leases=self._leases,
            max_debt=max_debt,
            arrivals=arrivals,
            kept=self._keeper is not None,
        )

    def _make_model(self, settings: ScopeSettings, exempt: bool, provider: ProviderPolicies) -> Pipeline:
        """What scopes with these settings are copied from."""
        said = (settings.breaker, settings.limits, exempt, settings.max_debt, settings.arrivals)
        # With a provider of its own, which is not among those that there are, and no limits beside those of the scope.
        parameters = replace(provider.parameters, limits=())
        model = self._pipeline_of("", said, provider=ProviderPolicies.of(parameters=parameters))
        self._models[id(settings), exempt] = model
        return model

    def _cost(self, scope: str, section: str) -> MethodCost:
        settings = self.config.provider.get(section) or self.config.provider[DEFAULT]
        if not settings.cost:
            return ONE_REQUEST
        return MethodCost(*settings.cost_of(scope.partition(":")[2]))


def _kept(keeper: "Keeper") -> Callable[..., ScopeActor]:
    from governor._actors.kept_actor import KeptScopeActor  # Loads the store, which few governors have.

    return partial(KeptScopeActor, keeper=keeper)


def _said(config: Config, scope: str) -> tuple[ScopeSettings, ProviderSettings, str | None, ProviderSettings | None]:
    """What settings say about a scope, and about its provider and its key. What these have themselves: `changed_providers`."""
    keyed = config.keyed_section(scope)
    return config.for_scope(scope), config.for_provider(provider_of(scope)), keyed, config.provider.get(keyed or "")
