"""Copy on write: parts of a pipeline that most scopes never change. One object serves all, until a scope changes its own."""

from typing import TYPE_CHECKING

import msgspec

from governor._exports import Later
from governor._lazy import always
from governor.policies.breakers.breaker import BreakerPolicy
from governor.policies.cooldown import NO_COOLDOWN, CooldownPolicy
from governor.policies.provider import ProviderPolicies

if TYPE_CHECKING:
    from governor.policies.learning import server_limits
else:
    server_limits = Later("governor.policies.learning.server_limits")


class CopyOnWrite(msgspec.Struct, eq=False, gc=False, kw_only=True):
    """The breaker of a scope, its own pause, and what its server has said about this scope alone."""

    #: What the scopes of the provider share.
    shared: ProviderPolicies
    #: What the scopes of its key share, if it has one that limits anything.
    key: ProviderPolicies | None = None
    #: To change it, see `own_breaker`.
    breaker: BreakerPolicy
    #: A pause of this scope alone; to begin one, see `pause_alone`.
    own_cooldown: CooldownPolicy = msgspec.field(default_factory=always(NO_COOLDOWN))
    #: What the server has said about the limits of this scope alone; None before it has said anything.
    heard: "server_limits.ServerLimits | None" = None

    def own_breaker(self) -> BreakerPolicy:
        """The breaker, to change it."""
        if self.breaker.shared:
            self.breaker = BreakerPolicy(self.breaker.parameters)
        return self.breaker

    def pause_alone(self) -> CooldownPolicy:
        """The pause of this scope alone, to begin one."""
        if self.own_cooldown is NO_COOLDOWN:
            self.own_cooldown = CooldownPolicy()
        return self.own_cooldown

    @property
    def providers(self) -> tuple[ProviderPolicies, ...]:
        """What the scopes of the provider share, and what the scopes of its key share."""
        return (self.shared,) if self.key is None else (self.shared, self.key)

    @property
    def pauses(self) -> tuple[CooldownPolicy, ...]:
        """What only pauses the scope, apart from degraded mode: of the provider, and of the scope alone."""
        return (*self.shared.pauses, self.own_cooldown)

    @property
    def own_server(self) -> "server_limits.ServerLimits":
        """What the server says about the limits of this scope alone, to add to it."""
        if self.heard is None:
            self.heard = server_limits.ServerLimits().beside(self.shared.server)
        return self.heard
