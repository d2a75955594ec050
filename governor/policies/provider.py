"""Policies of a provider: what all of its scopes share.

One object for each provider of a governor, and one for each key of it that has limits. The pipelines of its scopes hold it, so
that what one scope learns or spends counts for all of them at once. Like every policy it belongs to the thread of the actors.

To add a policy that only pauses the provider, with the attributes `until` and `reason`, add it to `pauses`: pipelines fold it
into their gate, so that it costs a granted request nothing. Whatever moves its `until` must have the scopes of the provider
look again; `governor._actors.effects.CooldownMoved` does that.

Policies that are asked for every request are `limits`, and those that a server reveals, `stated`. When there are others,
the scopes rebuild their pipelines; `governor._actors.effects.ProviderChanged` does that.
"""

from collections.abc import Iterable
from math import inf
from typing import TYPE_CHECKING, Final, Self

import msgspec
from msgspec.structs import replace

from governor._exports import Later
from governor._lazy import always
from governor._units import NEVER, Duration, Instant
from governor.hints import MAX_HINT
from governor.policies.arrivals import Arrivals
from governor.policies.ban_budget import BanBudget, BanBudgetPolicy, BanBudgetState, unspent
from governor.policies.contract import REQUESTS, Limit, LimitPolicy
from governor.policies.cooldown import NO_COOLDOWN, NO_HOLD, CooldownPolicy, CooldownState
from governor.policies.gcra import TokenBucket
from governor.policies.limits import build, predecessors
from governor.policies.rejection_run import NO_REJECTIONS, RejectionRunPolicy, RejectionRunState
from governor.policies.retry_budget import RetryBudget, RetryBudgetPolicy, RetryBudgetState
from governor.policies.shared_limit import ONE_REQUEST, MethodCost, Share, SharedLimit, shares
from governor.policies.windows.parameters import StrictWindow

if TYPE_CHECKING:
    from governor.policies.learning import server_limits
else:
    server_limits = Later("governor.policies.learning.server_limits")

#: The pauses of a provider that has none.
_UNPAUSED: Final = (NO_COOLDOWN, NO_HOLD)


class ProviderParameters(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the policies of a provider are made of. `max_debt` is that of a `LimitPolicy`, and `arrivals` what it assumes."""

    limits: tuple[Limit, ...] = ()
    max_debt: float = inf
    arrivals: Arrivals = Arrivals()
    retry_budget: RetryBudget = RetryBudget()
    ban_budget: BanBudget = BanBudget()
    #: Whether each request takes a unit at least of each limit of requests.
    all_count: bool = True
    #: What the server says is believed for so long at most.
    max_hint: Duration = MAX_HINT
    #: Whether windows that the server states become limits, and whether it is asked gently until it denies a call.
    adopts: bool = False
    gentle: bool = False


#: Those of a provider without limits.
_UNLIMITED: Final = ProviderParameters()


class ProviderState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of what the scopes of a provider share, with the limits of the provider in order."""

    cooldown: CooldownState
    hold: CooldownState
    budget: RetryBudgetState
    ban_budget: BanBudgetState
    rejections: RejectionRunState
    limits: tuple[msgspec.Struct, ...]
    #: None if it has said nothing.
    server: "server_limits.ServerLimitsState | None"


class ProviderPolicies(msgspec.Struct, eq=False, weakref=True):
    """The shared policies of one provider, or of one key of a provider.

    A record, which the garbage collector need not look at before it refers to what that looks at, such as limits.
    """

    name: str
    parameters: ProviderParameters
    #: The retry budget.
    budget: RetryBudgetPolicy
    #: What the server has rejected, and the run of it; to count a rejection, see `begin_rejections`.
    ban_budget: BanBudgetPolicy
    rejections: RejectionRunPolicy = msgspec.field(default_factory=always(NO_REJECTIONS))
    #: A pause that the server has asked for, and one that an operator has set: see `own_cooldown` and `own_hold`.
    cooldown: CooldownPolicy = msgspec.field(default_factory=always(NO_COOLDOWN))
    hold: CooldownPolicy = msgspec.field(default_factory=always(NO_HOLD))
    #: All policies that only pause the provider, in the order in which they are asked.
    pauses: tuple[CooldownPolicy, ...] = _UNPAUSED
    #: The limits over all scopes together.
    limits: tuple[SharedLimit, ...] = ()
    #: What the server has said about its limits; None before it has said anything, unless it is asked gently.
    heard: "server_limits.ServerLimits | None" = None
    _numbered: int = 0
    # Shares of the limits for scopes whose requests take one each.
    _shares: tuple[Share, ...] = ()

    @classmethod
    def of(cls, name: str = "", parameters: ProviderParameters = _UNLIMITED) -> Self:
        """The policies of a provider that has been asked for nothing."""
        shared = cls(name, parameters, RetryBudgetPolicy(parameters.retry_budget), unspent(parameters.ban_budget))
        if shared.ban_budget.counting:
            shared.begin_rejections()
        shared.limits = tuple([SharedLimit(limit) for limit in shared._build(parameters.limits)])
        if parameters.gentle:
            shared.heard = shared._new_server()
        return shared

    def another(self, name: str) -> Self:
        """What `of` makes for another provider with these parameters. To be called on one that nothing has happened to."""
        if self.limits or self.heard is not None or self.ban_budget.counting:
            return self.of(name, self.parameters)
        return replace(self, name=name, budget=RetryBudgetPolicy(self.parameters.retry_budget))

    @property
    def server(self) -> "server_limits.ServerLimits":
        """What the server says about its limits, to add to it."""
        if self.heard is None:
            self.heard = self._new_server()
        return self.heard

    def own_cooldown(self) -> CooldownPolicy:
        """The pause that the server asks for, to begin one: before, one record serves all providers that have never paused."""
        if self.cooldown is NO_COOLDOWN:
            self.cooldown = CooldownPolicy()
            self.pauses = (self.cooldown, self.hold)
        return self.cooldown

    def own_hold(self) -> CooldownPolicy:
        """The pause that an operator sets, likewise."""
        if self.hold is NO_HOLD:
            self.hold = CooldownPolicy(NO_HOLD.reason)
            self.pauses = (self.cooldown, self.hold)
        return self.hold

    def begin_rejections(self) -> None:
        """Has the provider count rejections by itself from now on: before, one record serves all that have rejected nothing."""
        if self.rejections is NO_REJECTIONS:
            self.ban_budget = BanBudgetPolicy(self.parameters.ban_budget)
            self.rejections = RejectionRunPolicy(self.parameters.ban_budget, wide=True)

    def _new_server(self) -> "server_limits.ServerLimits":
        return server_limits.ServerLimits(adopts=self.parameters.adopts, gentle=self.parameters.gentle)

    @property
    def stated(self) -> tuple[SharedLimit, ...]:
        """The limits that the server has revealed."""
        return () if self.heard is None else self.heard.limits

    def shares(self, cost: MethodCost) -> tuple[Share, ...]:
        """The limits of the settings as a scope with this cost uses them. All whose requests take one each have the same."""
        if cost is not ONE_REQUEST:
            return shares(self.limits, cost)
        if not self._shares:
            self._shares = shares(self.limits, ONE_REQUEST)
        return self._shares

    @property
    def told(self) -> tuple[LimitPolicy, ...]:
        """The limits that statistics show: those of the settings, and that of calls at work if denials have shown one."""
        own = tuple([shared.policy for shared in self.limits])
        return own if self.heard is None or self.heard.at_work is None else (*own, self.heard.at_work)

    def number(self) -> int:
        """The number of a call that begins to wait in any scope of the provider: from 1, by arrival."""
        self._numbered += 1
        return self._numbered

    def _build(self, limits: Iterable[Limit]) -> tuple[LimitPolicy, ...]:
        return tuple([build(limit, self.parameters.max_debt, self.parameters.arrivals) for limit in limits])

    def reconfigure(self, now: Instant, parameters: ProviderParameters) -> None:
        """Other parameters from now on; everything goes on from where it stands. Nothing may be leased.

        Limits carry over their state as those of a scope do, and keep their queue.
        """
        before, self.parameters = self.parameters, parameters
        if parameters.retry_budget != before.retry_budget:
            budget, self.budget = self.budget, RetryBudgetPolicy(parameters.retry_budget)
            self.budget.carry_over(now, budget)
        if parameters.ban_budget != before.ban_budget:
            self.begin_rejections()
            counted, self.ban_budget = self.ban_budget, BanBudgetPolicy(parameters.ban_budget)
            self.ban_budget.carry_over(now, counted)
            self.rejections.parameters = parameters.ban_budget
        if self.heard is not None:
            self.heard.adopts = parameters.adopts
        if (parameters.limits, parameters.max_debt, parameters.arrivals) != (before.limits, before.max_debt, before.arrivals):
            self._replace_limits(now, parameters.limits)

    def _replace_limits(self, now: Instant, limits: Iterable[Limit]) -> None:
        old = {shared.policy: shared.queue for shared in self.limits}
        changed = []
        for policy, origin in zip(new := self._build(limits), predecessors(new, tuple(old)), strict=True):
            if origin is not None:
                policy.carry_over(now, origin)
            # Of two limits that go on from the same one, the first has its queue.
            changed.append(SharedLimit(policy, old.pop(origin, None) if origin is not None else None))
        self.limits, self._shares = tuple(changed), ()

    @property
    def windows(self) -> tuple[StrictWindow, ...]:
        """The strict windows in which every request of the provider counts."""
        found = (limit for limit in self.parameters.limits if isinstance(limit, StrictWindow))
        return tuple(limit for limit in found if limit.unit != REQUESTS or self.parameters.all_count)

    @property
    def buckets(self) -> tuple[TokenBucket, ...]:
        """The token buckets of the provider."""
        return tuple(limit for limit in self.parameters.limits if isinstance(limit, TokenBucket))

    @property
    def max_hint(self) -> Duration:
        """What the server says is believed for so long at most."""
        return self.parameters.max_hint

    def reset(self) -> None:
        """Forgets what the server has said and rejected, and ends all pauses. Its scopes must rebuild their pipelines."""
        self.cooldown, self.hold = self.pauses = _UNPAUSED
        if self.heard is not None:
            self.heard.reset()
        self.ban_budget.reset()
        self.rejections.reset()

    def state(self) -> ProviderState:
        """The state as a frozen record, for `restore`."""
        return ProviderState(
            cooldown=self.cooldown.state(),
            hold=self.hold.state(),
            budget=self.budget.state(),
            ban_budget=self.ban_budget.state(),
            rejections=self.rejections.state(),
            limits=tuple(shared.policy.state() for shared in self.limits),
            server=None if self.heard is None else self.heard.state(),
        )

    def restore(self, state: ProviderState) -> None:
        """Continues from a state that `state` returned under the same parameters. To be called before any scope exists."""
        if state.cooldown != self.cooldown.state():
            self.own_cooldown().restore(state.cooldown)
        if state.hold != self.hold.state():
            self.own_hold().restore(state.hold)
        self.budget.restore(state.budget)
        self.begin_rejections()
        self.ban_budget.restore(state.ban_budget)
        self.rejections.restore(state.rejections)
        for shared, one in zip(self.limits, state.limits, strict=True):
            shared.policy.restore(one)
        if state.server is not None:
            self.server.restore(state.server)

    def rests_at(self) -> Instant:
        """The instant from which on a new object would be the same, if nothing happens; `NEVER` while calls are in flight."""
        if self.rejections.spells:
            return NEVER
        ends = (*(pause.until for pause in self.pauses), *(shared.policy.rests_at() for shared in self.limits))
        heard_until = Instant(0) if self.heard is None else self.heard.rests_at()
        return max(self.budget.rests_at(), self.ban_budget.rests_at(), heard_until, *ends)
