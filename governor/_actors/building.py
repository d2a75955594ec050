"""Building actors: their policies as the settings in force say, retry budgets of providers, and scopes that come back.

Bound: a scope that was set aside goes through the latest `MAX_CHANGES` changes of settings, and sees none of the older ones.
"""

import logging
from collections import deque
from itertools import islice
from random import Random
from typing import Final, final
from weakref import WeakValueDictionary

from governor._actors.actor import Parent, ScopeActor
from governor._actors.failures import Failures
from governor._actors.portal import Portal
from governor._actors.set_aside import ScopeRecord
from governor._actors.watch import GlobalWatch
from governor._failures import Classifier
from governor._units import Instant
from governor.clock import Clock
from governor.config import Config, ScopeSettings, provider_of
from governor.instrumentation import Announcer
from governor.policies.cooldown import CooldownPolicy
from governor.policies.pipeline import Pipeline, PipelineSettings
from governor.policies.retry_budget import RetryBudget, RetryBudgetPolicy

_log: Final = logging.getLogger("governor")

MAX_CHANGES: Final = 16
#: Providers whose cooldown is kept although none of their scopes is.
MAX_COOLDOWNS: Final = 1000


@final
class Builder:
    """Builds the actors of one governor, and what they need when settings change. `lends`: permits may be granted ahead."""

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
        lends: bool,
    ) -> None:
        self.config = config
        self._now = now
        self._random = random
        self._portal = portal
        self._failures = failures
        self._parent = parent
        self._watch = watch
        self._announcer = announcer
        self._classifier = classifier
        self._lends = lends
        self._history: deque[tuple[Instant, Config]] = deque(maxlen=MAX_CHANGES)
        #: The number of changes of settings so far.
        self.changes = 0
        # The scopes of a provider share its budget, which goes with the last of them.
        self.budgets: WeakValueDictionary[str, RetryBudgetPolicy] = WeakValueDictionary()
        # The same for its cooldown. One that runs outlives the scopes.
        self._cooldowns: WeakValueDictionary[str, CooldownPolicy] = WeakValueDictionary()
        self._running: dict[str, CooldownPolicy] = {}

    def reconfigure(self, config: Config) -> None:
        """Other settings from now on."""
        self.config = config
        self._history.append((self._now(), config))
        self.changes += 1

    def concerns(self, before: Config, scope: str) -> bool:
        """Whether a scope must change, since `before` was in force."""
        now = self.config
        return before.global_ != now.global_ or _said(before, scope) != _said(now, scope)

    def new(self, scope: str) -> ScopeActor:
        """An actor with unspent policies."""
        return self._actor(scope, self.pipeline(scope))

    def revived(self, scope: str, record: ScopeRecord) -> ScopeActor:
        """An actor that goes on from a record, as if it had gone through the changes of settings since."""
        pipeline = self._pipeline_of(scope, record.settings)
        pipeline.restore(record.state)
        missed = min(self.changes - record.changes, len(self._history))
        for at, config in islice(self._history, len(self._history) - missed, None):
            changed = self.pipeline(scope, config)
            if changed.settings() != pipeline.settings():
                changed.carry_over(at, pipeline)
                pipeline = changed
        actor = self._actor(scope, pipeline)
        actor.go_on_from(record.counters, record.units, limits_changed=pipeline.settings() != record.settings)
        return actor

    def successor(self, actor: ScopeActor) -> Pipeline:
        """New policies that stand where those of the crashed actor stood; those very ones, if they cannot say where.

        They follow the settings in force, which may have changed in the very moment of the crash.
        """
        successor, crashed = self.pipeline(actor.scope), actor.ledger.pipeline
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
        return actor.reconfigure(self.pipeline(scope), settings.retry, self.budget(scope), self.config.global_.max_waiting)

    def budget(self, scope: str) -> RetryBudgetPolicy:
        """The retry budget of the provider of a scope. With other settings it goes on from where it stands."""
        provider = provider_of(scope)
        parameters = self.config.for_scope(provider).retry_budget
        before = self.budgets.get(provider)
        if before is not None and before.parameters == parameters:
            return before
        self.budgets[provider] = budget = RetryBudgetPolicy(parameters)
        if before is not None:
            budget.carry_over(self._now(), before)
        return budget

    def cooldown(self, provider: str) -> CooldownPolicy:
        """The cooldown of a provider."""
        found = self._cooldowns.get(provider)
        if found is None:
            self._cooldowns[provider] = found = CooldownPolicy()
        return found

    def keep_cooldown(self, provider: str) -> None:
        """Keeps a cooldown until it ends, whatever becomes of the scopes. At the bound, the first to end is dropped."""
        now = self._now()
        self._running = {name: policy for name, policy in self._running.items() if policy.until > now}
        self._running[provider] = self.cooldown(provider)
        if len(self._running) > MAX_COOLDOWNS:
            del self._running[min(self._running, key=lambda name: self._running[name].until)]

    def pipeline(self, scope: str, config: Config | None = None) -> Pipeline:
        """Unspent policies, under the settings in force unless told otherwise."""
        config = config or self.config
        settings = config.for_scope(scope)
        exempt = provider_of(scope) in config.global_.degraded_exempt
        return self._pipeline_of(scope, (settings.breaker, settings.limits, exempt, settings.max_debt))

    def _pipeline_of(self, scope: str, settings: PipelineSettings) -> Pipeline:
        breaker, limits, exempt, max_debt = settings
        return Pipeline(
            breaker,
            limits,
            cap=self._watch.cap,
            degraded=self._watch.degraded,
            cooldown=self.cooldown(provider_of(scope)),
            provider=provider_of(scope),
            exempt=exempt,
            lends=self._lends,
            max_debt=max_debt,
        )

    def _actor(self, scope: str, pipeline: Pipeline) -> ScopeActor:
        return ScopeActor(
            scope,
            pipeline,
            portal=self._portal,
            failures=self._failures,
            now=self._now,
            retry=self.config.for_scope(scope).retry,
            budget=self.budget(scope),
            random=self._random,
            max_waiting=self.config.global_.max_waiting,
            parent=self._parent,
            announcer=self._announcer,
            classifier=self._classifier,
        )


def _said(config: Config, scope: str) -> tuple[ScopeSettings, RetryBudget]:
    """What settings say about a scope, and about the budget that the scopes of its provider share."""
    return config.for_scope(scope), config.for_scope(provider_of(scope)).retry_budget
