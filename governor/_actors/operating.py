"""What an operator does by hand: closes, opens and resets a scope, or a provider with all of its scopes."""

from collections.abc import Callable
from functools import partial
from typing import Final, final

from governor._actors.actor import ScopeActor
from governor._actors.builder import Builder
from governor._actors.registry import Registry
from governor._units import Duration, DurationLike, Instant
from governor.clock import Clock
from governor.config import DEFAULT, provider_name, provider_of, scope_name
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
        self._change(scope_name(scope), lambda actor: actor.change(partial(actor.logic.set_breaker, span)))

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
        if ":" not in name:
            shared = self._provider(name)
            shared.own_hold().until = Instant(0)
            self._moved(shared)
        self._change_each(name, _close_breaker, as_said=False)

    def reset(self, name: str) -> str:
        """Opens it, and forgets what its server has said and rejected, and which calls are repeated. Returns its whole name."""
        name = _name(name)
        if ":" not in name:
            shared = self._provider(name)
            shared.reset()
            self._moved(shared)
        self._change_each(name, _reset, as_said=True)
        return name

    def _moved(self, shared: ProviderPolicies) -> None:
        self._builder.changed(shared)
        self._publish(shared.name)

    def _change_each(self, name: str, part: Callable[[ScopeActor], None], *, as_said: bool) -> None:
        """Changes the scope of that name, or those of the provider: of the ones without an actor, those that it concerns."""
        if ":" in name:
            self._change(name, part)
            return
        scopes = self._scopes
        known = [scope for scope in scopes.actors if provider_of(scope) == name]
        resting = [scope for scope, state in scopes.at_rest(name) if state.holds_back(as_said=as_said)]
        for scope in (*known, *resting):
            self._change(scope, part)

    def _change(self, scope: str, part: Callable[[ScopeActor], None]) -> None:
        if not self._scopes.knows(scope):
            unknown = f"there is no scope {scope!r}, or it has not been used yet"
            raise ConfigError("scope", scope, f"a scope {_USED}", message=unknown)
        if not self._scopes.change(scope, part):
            raise UsageError(f"there is no room for the scope {scope!r}; see max_scopes")

    def _provider(self, name: str) -> ProviderPolicies:
        config = self._builder.config
        said = {provider_of(one) for one in (*config.provider, *config.outbound) if one != DEFAULT}
        known = name in self._builder.providers or name in said
        if not known and not self._scopes.knows(name) and next(self._scopes.at_rest(name), None) is None:
            unknown = f"there is no provider {name!r}, or it has not been used yet"
            raise ConfigError("scope", name, f"a provider {_USED}", message=unknown)
        return self._builder.provider(name)


def _close_breaker(actor: ScopeActor) -> None:
    if not actor.ledger.pipeline.breaker.unrestricted:
        actor.change(partial(actor.logic.set_breaker, None))


def _reset(actor: ScopeActor) -> None:
    _close_breaker(actor)
    actor.change(actor.logic.reset)
    if actor.watch is not None:
        actor.watch.forget(actor.ledger.scope)
        actor.logic.stopped.forget()


def _name(name: str) -> str:
    return scope_name(name) if isinstance(name, str) and ":" in name else provider_name(name, field="scope")


def _span(open_for: DurationLike) -> Duration:
    """Validated like the setting of that name."""
    return Breaker(open_for=open_for).open_for
