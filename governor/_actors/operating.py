"""What an operator does by hand: closes, opens and resets a scope, or a provider with all of its scopes."""

from collections.abc import Callable
from functools import partial
from typing import Final, final

from governor._actors.actor import ScopeActor
from governor._actors.building import Builder
from governor._actors.registry import Registry
from governor._units import Duration, DurationLike, Instant
from governor.clock import Clock
from governor.config import provider_name, provider_of, scope_name
from governor.errors import ConfigError, UsageError
from governor.policies.breakers.parameters import Breaker
from governor.policies.provider import ProviderPolicies

#: What may be missing, in words.
_USED: Final = "that has been used"


@final
class Operations:
    """The operations of one governor. Belongs to the actors' thread. `publish` has the scopes of a provider look again.

    Each raises `ConfigError` for what has not been used, or is no name or duration, and `UsageError` without room for a scope.
    """

    def __init__(self, scopes: Registry, builder: Builder, *, now: Clock, publish: Callable[[str], None]) -> None:
        self._scopes = scopes
        self._builder = builder
        self._now = now
        self._publish = publish

    def set_breaker(self, scope: str, open_for: DurationLike | None) -> None:
        """Opens the breaker of a scope for `open_for`, or closes it (None)."""
        span = None if open_for is None else _span(open_for)
        actor = self._actor(scope_name(scope))
        actor.change(partial(actor.logic.set_breaker, span))

    def close(self, name: str, open_for: DurationLike) -> None:
        """Grants no call of a scope, or of a provider, for that long."""
        name, span = _name(name), _span(open_for)
        if ":" in name:
            self.set_breaker(name, open_for)
            return
        shared = self._provider(name)
        shared.own_hold().until = Instant(self._now() + span)
        self._moved(shared)

    def open(self, name: str) -> None:
        """Ends what `close` has begun, and closes the breaker."""
        name = _name(name)
        for actor in self._each(name):
            if not actor.ledger.pipeline.breaker.unrestricted:
                actor.change(partial(actor.logic.set_breaker, None))
        if ":" not in name:
            shared = self._provider(name)
            shared.own_hold().until = Instant(0)
            self._moved(shared)

    def reset(self, name: str) -> None:
        """Opens it, and forgets what its server has said and rejected."""
        name = _name(name)
        self.open(name)
        if ":" not in name:
            shared = self._provider(name)
            shared.reset()
            self._moved(shared)
        for actor in self._each(name):
            actor.change(actor.logic.reset)

    def _moved(self, shared: ProviderPolicies) -> None:
        self._builder.keep(shared)
        self._publish(shared.name)

    def _each(self, name: str) -> list[ScopeActor]:
        """The scope of that name, or all scopes of the provider that are not at rest."""
        if ":" in name:
            return [self._actor(name)]
        known = [*self._scopes.actors, *self._scopes.set_aside.names(name)]
        return [self._actor(scope) for scope in dict.fromkeys(known) if provider_of(scope) == name]

    def _actor(self, scope: str) -> ScopeActor:
        if scope not in self._scopes.actors and self._scopes.set_aside.records.get(scope) is None:
            unknown = f"there is no scope {scope!r}, or it has not been used yet"
            raise ConfigError("scope", scope, f"a scope {_USED}", message=unknown)
        actor = self._scopes.get(scope)
        if actor is None:
            raise UsageError(f"there is no room for the scope {scope!r}, which is set aside; see max_scopes")
        return actor

    def _provider(self, name: str) -> ProviderPolicies:
        config = self._builder.config
        if name not in self._builder.providers and name not in config.provider and name not in config.outbound:
            unknown = f"there is no provider {name!r}, or it has not been used yet"
            raise ConfigError("scope", name, f"a provider {_USED}", message=unknown)
        return self._builder.provider(name)


def _name(name: str) -> str:
    return scope_name(name) if ":" in name else provider_name(name, field="scope")


def _span(open_for: DurationLike) -> Duration:
    """Validated like the setting of that name."""
    return Breaker(open_for=open_for).open_for
