"""What the scopes of a provider share, seen from the supervisor: serving, recalling and changing those scopes.

A provider has no task of its own: all actors run on one thread, and the shared limits and their queues belong to it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, final

from governor._actors.builder import Builder
from governor._actors.ledger import Ledger
from governor._actors.portal import Portal
from governor._exports import Later
from governor._units import Instant
from governor.policies.pipeline import Pipeline
from governor.policies.provider import ProviderPolicies
from governor.policies.shared_limit import LimitQueue
from governor.statistics import LimitStatistics

if TYPE_CHECKING:
    from governor._actors import survey as records
    from governor._actors.actor import ScopeActor
else:
    records = Later("governor._actors.survey")


@final
class Sharing:
    """Serves, recalls and changes the scopes of providers. `leasing` and `actors` are those of the supervisor."""

    def __init__(
        self, builder: Builder, *, actors: "Mapping[str, ScopeActor]", leasing: "set[ScopeActor]", portal: Portal
    ) -> None:
        self._builder = builder
        self._actors = actors
        self._leasing = leasing
        self._portal = portal
        #: Queues of shared limits in which something has moved, and whether they are being served.
        self._to_serve: dict[LimitQueue, None] = {}
        self._serving = False

    def serve(self, queues: Iterable[LimitQueue]) -> None:
        """Serves the scopes that stand first in these queues of shared limits, and in all that move on because of that.

        A scope that is served may move on other queues, and calls this again: they are added to what is still to be done, or
        scopes would be served within each other, as deep as the queue is long.
        """
        self._to_serve.update(dict.fromkeys(queues))
        if self._serving:
            return
        self._serving = True
        try:
            while self._to_serve:
                first = self._to_serve.popitem()[0].first()
                if first is not None:
                    first.on_turn()
        finally:
            self._serving = False

    def recall(self, provider: ProviderPolicies) -> bool:
        """Recalls what is granted ahead in the scopes of a provider. False if nothing was."""
        actors = [actor for actor in self._leasing if actor.ledger.pipeline.shared is provider]
        for actor in actors:
            actor.recall()
        return bool(actors)

    def limits(self, now: Instant) -> dict[str, tuple[LimitStatistics, ...]]:
        """The limits of providers and keys that have any, as they stand."""
        leased: Counter[ProviderPolicies] = Counter()
        places: Counter[ProviderPolicies] = Counter()
        for actor in self._leasing:
            for provider in actor.ledger.pipeline.providers:
                leased[provider] += actor.outstanding
                places[provider] += actor.free_places
        # There may be thousands of providers, of which few have limits.
        told = sorted((name, provider) for name, provider in self._builder.limited.items() if provider.told)
        return {
            name: tuple(records.limit_statistics(limit, now, leased[provider], places[provider]) for limit in provider.told)
            for name, provider in told
        }

    def reconfigure(self) -> None:
        """Changes the providers for which other settings are in force now, and their scopes."""
        for provider in self._builder.changed_providers():
            self._change(provider)

    def rebuild(self, provider: str, *, but: "ScopeActor | None" = None) -> None:
        """Has the scopes of a provider, except one, rebuild their pipelines, because it has other limits."""
        for actor in self._scopes(self._builder.provider(provider)):
            if actor is not but:
                self.change(actor)

    def pipeline(self, ledger: Ledger) -> Pipeline:
        """Policies for a scope whose server has revealed other limits, with nothing spent of its own."""
        shared = ledger.pipeline.shared
        if shared.told:
            self._builder.limited[shared.name] = shared
        return self._builder.pipeline(ledger.scope, own_server=ledger.pipeline.heard)

    def ledgers(self, provider: ProviderPolicies) -> list[Ledger]:
        """The ledgers of the scopes of a provider."""
        return [actor.ledger for actor in self._scopes(provider)]

    def part(self, provider: ProviderPolicies) -> float:
        """What part of all requests so far has gone to this provider, by the scopes that are alive."""
        own = sum(ledger.counters.requests for ledger in self.ledgers(provider))
        return own / max(own, 1, sum(actor.counters.requests for actor in self._actors.values()))

    def change(self, actor: "ScopeActor") -> None:
        """Has a scope go on under the settings in force."""
        if not self._builder.change(actor):
            # Called by a signal handler in the middle of a step of the actor: soon.
            self._portal.post(partial(self.change, actor))

    def _change(self, provider: ProviderPolicies) -> None:
        """Changes a provider and all of its scopes at once: none may spend from limits that have been replaced."""
        actors = self._scopes(provider)
        if any(actor.life.busy for actor in actors):
            self._portal.post(partial(self._change, provider))
            return
        self._builder.change_provider(provider)
        for actor in actors:
            self.change(actor)

    def _scopes(self, provider: ProviderPolicies) -> "list[ScopeActor]":
        return [actor for actor in self._actors.values() if provider in actor.ledger.pipeline.providers]
