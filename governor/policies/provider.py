"""Policies of a provider: what all of its scopes share.

One object for each provider of a governor. The pipelines of its scopes hold it, so that what one scope learns or spends counts
for all of them at once. Like every policy it belongs to the thread of the actors.

To add a policy that only pauses the provider, with the attributes `until` and `reason`, add it to `pauses`: pipelines fold it
into their gate, so that it costs a granted request nothing. Whatever moves its `until` must have the scopes of the provider
look again; `governor._actors.effects.CooldownMoved` does that.
"""

from governor._units import Instant
from governor.policies.cooldown import CooldownPolicy
from governor.policies.retry_budget import RetryBudget, RetryBudgetPolicy


class ProviderPolicies:
    """The shared policies of one provider."""

    __slots__ = ("__weakref__", "budget", "cooldown", "name", "pauses")

    def __init__(self, name: str = "", *, budget: RetryBudget | None = None) -> None:
        self.name = name
        #: A pause that the server has asked for.
        self.cooldown = CooldownPolicy()
        #: The retry budget.
        self.budget = RetryBudgetPolicy(RetryBudget() if budget is None else budget)
        #: All policies that only pause the provider, in the order in which they are asked.
        self.pauses: tuple[CooldownPolicy, ...] = (self.cooldown,)

    def reconfigure(self, now: Instant, *, budget: RetryBudget) -> None:
        """Other settings from now on; everything goes on from where it stands."""
        if budget != self.budget.parameters:
            before, self.budget = self.budget, RetryBudgetPolicy(budget)
            self.budget.carry_over(now, before)

    def rests_at(self) -> Instant:
        """The instant from which on a new object would be the same, if nothing happens."""
        return max(self.budget.rests_at(), *(pause.until for pause in self.pauses))
