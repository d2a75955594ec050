"""Budgets: amounts that the callers with certain labels may use in any window of time, over all scopes.

A budget has a strict window for each unit. A use counts from the instant of its grant, with the estimate of its permit first,
and with what it really used as soon as that is known: what it did not use is free again, and what it used beyond is added at
the instant at which it becomes known. So a window holds at most the amount, and what the calls on the way have used beyond
their estimates.

Bounds: an account holds at most `SLOTS` dates for a window, and one more; uses close in time share one, so that they leave the
window late by at most a 256th of it, and never early. A budget has accounts for `MAX_LABELS` labels. Accounts without uses are
dropped. While none can be, all further labels share one account, with the amounts of one label, until its uses have left.
"""

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from math import ceil
from types import MappingProxyType
from typing import Final, final

import msgspec

from governor._units import NEVER, SECOND, Duration, Instant
from governor.errors import ConfigError
from governor.policies import _checks
from governor.policies.contract import REQUESTS, Request

SLOTS: Final = 256
MAX_LABELS: Final = 1024
#: The unit of money. Its amounts are whole millionths of a dollar.
USD: Final = "usd"
_MILLION: Final = 1_000_000
_MAX_USD: Final = 1_000_000
#: The shortest time between two searches for accounts without uses.
_SWEEP_INTERVAL: Final = SECOND


class BudgetLimit(msgspec.Struct, frozen=True):
    """At most `amount` units in any window of length `per`. Of the unit `usd`, `amount` counts millionths."""

    unit: str
    amount: int
    per: Duration


class Budget(msgspec.Struct, frozen=True):
    """The parameters of a budget: labels, or patterns with `*`, and limits, for `each` label apart or for all together."""

    labels: tuple[str, ...]
    limits: tuple[BudgetLimit, ...]
    each: bool = True

    def covers(self, label: str) -> bool:
        """Whether calls with this label count. Upper and lower case differ."""
        return any(label == pattern or fnmatchcase(label, pattern) for pattern in self.labels)


@final
class _Window:
    """The uses of one account in one window, by the end of the slot to which they belong."""

    __slots__ = ("_grain", "_per", "slots", "total")

    def __init__(self, per: int) -> None:
        self._per = per
        self._grain = -(-per // SLOTS)
        #: Oldest first.
        self.slots: dict[int, int] = {}
        self.total = 0

    def add(self, now: int, amount: int) -> None:
        """Dates an amount; not before the latest one, as slots are in order."""
        end = max(self._end(now), next(reversed(self.slots), 0))
        self.slots[end] = self.slots.get(end, 0) + amount
        self.total += amount

    def remove(self, dated: int, amount: int) -> None:
        """Removes an amount that was dated so, as far as it is still in the window."""
        end = self._end(dated)
        removed = min(amount, self.slots.get(end, 0))
        if removed:
            self.slots[end] -= removed
            self.total -= removed

    def forget(self, now: int) -> None:
        """Drops what has left the window."""
        while self.slots and (end := next(iter(self.slots))) + self._per <= now:
            self.total -= self.slots.pop(end)

    def earliest(self, now: int, amount: int, most: int) -> int:
        """When the window has room for an amount if nothing else is used before."""
        self.forget(now)
        excess = self.total + amount - most
        if excess <= 0:
            return now
        if amount > most:
            return NEVER
        for end, used in self.slots.items():
            excess -= used
            if excess <= 0:
                return end + self._per
        raise AssertionError("an empty window has room")

    def carry_over(self, before: "_Window") -> None:
        """The same uses count."""
        for end, used in before.slots.items():
            self.add(end, used)

    def _end(self, at: int) -> int:
        return -(-at // self._grain) * self._grain


class BudgetState(msgspec.Struct, frozen=True):
    """The state of a budget: for each account and window the uses, by the end of the slot to which they belong.

    `lost` is what an account that is opened begins with.
    """

    parameters: Budget
    accounts: dict[str, tuple[dict[int, int], ...]]
    shared: tuple[dict[int, int], ...]
    lost: tuple[dict[int, int], ...]


@final
class BudgetPolicy:
    """The state machine of one budget: an account for each label, or one for all."""

    __slots__ = ("_accounts", "_lost", "_shared", "_since", "_sweep_at", "parameters")

    def __init__(self, parameters: Budget, since: int = 0) -> None:
        self.parameters = parameters
        #: Of each limit, since when it is in force: what was granted before spent nothing of it.
        self._since = [since] * len(parameters.limits)
        self._accounts: dict[str, tuple[_Window, ...]] = {}
        # What any account may have used, so that one that is opened begins with it.
        self._lost = tuple(_Window(limit.per) for limit in parameters.limits)
        self._shared = self._open()
        self._sweep_at = 0

    def earliest(self, now: Instant, label: str, request: Request) -> Instant:
        """When the account of a label has room for a request. It needs room for one unit even if it names none."""
        account = self._account(now, label)
        return Instant(
            max(
                window.earliest(now, max(1, _amount(request, limit.unit)), limit.amount)
                for window, limit in zip(account, self.parameters.limits, strict=True)
            )
        )

    def commit(self, now: Instant, label: str, request: Request) -> None:
        """Spends a request."""
        for window, limit in zip(self._opened(now, label), self.parameters.limits, strict=True):
            window.add(now, _amount(request, limit.unit))

    def refund(self, now: Instant, granted_at: Instant, label: str, request: Request) -> None:
        """Returns what a request spent that was never made."""
        self.settle(now, granted_at, label, request, {limit.unit: 0 for limit in self.parameters.limits})

    def settle(self, now: Instant, granted_at: Instant, label: str, request: Request, used: Mapping[str, int]) -> None:
        """Corrects what a request spent that used these amounts. Nothing if the budget is younger than the grant."""
        for window, limit, since in zip(self._opened(now, label), self.parameters.limits, self._since, strict=True):
            if limit.unit in used and granted_at >= since:
                change = used[limit.unit] - _amount(request, limit.unit)
                if change > 0:
                    window.add(now, change)
                else:
                    window.remove(granted_at, -change)

    def used(self, now: Instant) -> Mapping[str, tuple[int, ...]]:
        """What each account has used, in the order of the limits; the shared one under the empty label."""
        accounts = {**self._accounts, "": self._shared}
        for account in accounts.values():
            for window in account:
                window.forget(now)
        amounts = {label: tuple(window.total for window in account) for label, account in accounts.items()}
        return {label: each for label, each in amounts.items() if any(each)}

    def carry_over(self, before: "BudgetPolicy") -> None:
        """Continues from the accounts of a budget of the same name: what it has used of a unit counts on."""
        if self.parameters.each != before.parameters.each:
            return
        units = {limit.unit: place for place, limit in enumerate(before.parameters.limits)}
        for place, limit in enumerate(self.parameters.limits):
            if limit.unit in units:
                self._since[place] = before._since[units[limit.unit]]
        for label, account in before._accounts.items():
            self._go_on(self._accounts.setdefault(label, self._open()), account, units)
        self._go_on(self._shared, before._shared, units)
        self._go_on(self._lost, before._lost, units)

    def state(self) -> BudgetState:
        """The state as a frozen record, for `restored`."""
        accounts = {label: _slots(account) for label, account in self._accounts.items()}
        return BudgetState(self.parameters, accounts, _slots(self._shared), _slots(self._lost))

    @classmethod
    def restored(cls, state: BudgetState) -> "BudgetPolicy":
        """A budget that continues from a state that `state` returned, under its parameters."""
        policy = cls(state.parameters)
        for account, slots in (
            (policy._lost, state.lost),
            (policy._shared, state.shared),
            *((policy._accounts.setdefault(label, policy._new()), slots) for label, slots in state.accounts.items()),
        ):
            for window, used in zip(account, slots, strict=True):
                for end, amount in used.items():
                    window.add(end, amount)
        return policy

    def abandoned(self, now: Instant, units: Callable[[BudgetLimit], int]) -> None:
        """A process has died in which any account may have used so many `units` of a limit more than the state says."""
        accounts = [self._lost, *self._accounts.values()]
        if not self.parameters.each or self._in_use(now, self._shared):
            accounts.append(self._shared)
        for account in accounts:
            for window, limit in zip(account, self.parameters.limits, strict=True):
                if units(limit) > 0:
                    window.add(now, units(limit))

    def use_up(self, at: Instant) -> None:
        """Takes all that any account has left."""
        accounts = [self._lost, *self._accounts.values()]
        if not self.parameters.each or self._in_use(at, self._shared):
            accounts.append(self._shared)
        for account in accounts:
            for window, limit in zip(account, self.parameters.limits, strict=True):
                window.forget(at)
                window.add(at, max(0, limit.amount - window.total))

    def _go_on(self, account: tuple[_Window, ...], before: tuple[_Window, ...], units: Mapping[str, int]) -> None:
        for window, limit in zip(account, self.parameters.limits, strict=True):
            if limit.unit in units:
                window.carry_over(before[units[limit.unit]])

    def _opened(self, now: Instant, label: str) -> tuple[_Window, ...]:
        """The account of a label, which is open from now on."""
        account = self._account(now, label)
        if account is not self._shared:
            self._accounts[label] = account
        return account

    def _account(self, now: Instant, label: str) -> tuple[_Window, ...]:
        if not self.parameters.each:
            return self._shared
        own = self._accounts.get(label)
        if own is not None:
            return own
        # A label that has used the shared account must not begin anew beside it.
        if self._in_use(now, self._shared) or (len(self._accounts) >= MAX_LABELS and not self._sweep(now)):
            return self._shared
        return self._open()

    def _sweep(self, now: Instant) -> bool:
        """Drops the accounts without uses. False if there are none, or if it was tried a moment ago."""
        if now < self._sweep_at:
            return False
        self._sweep_at = now + _SWEEP_INTERVAL
        self._accounts = {label: account for label, account in self._accounts.items() if self._in_use(now, account)}
        return len(self._accounts) < MAX_LABELS

    def _in_use(self, now: Instant, account: tuple[_Window, ...]) -> bool:
        for window in account:
            window.forget(now)
        return any(window.total for window in account)

    def _open(self) -> tuple[_Window, ...]:
        account = self._new()
        for window, lost in zip(account, self._lost, strict=True):
            window.carry_over(lost)
        return account

    def _new(self) -> tuple[_Window, ...]:
        return tuple(_Window(limit.per) for limit in self.parameters.limits)


@final
class Budgets:
    """All budgets of a governor. A call must fit into every budget that covers its label."""

    __slots__ = ("_covering", "_policies", "units")

    def __init__(self, budgets: Mapping[str, Budget] = MappingProxyType({})) -> None:
        self._policies: dict[str, BudgetPolicy] = {}
        #: Of labels that were looked up, the budgets that cover them.
        self._covering: dict[str, tuple[BudgetPolicy, ...]] = {}
        #: The units that budgets count.
        self.units: frozenset[str] = frozenset()
        self.reconfigure(budgets)

    def reconfigure(self, budgets: Mapping[str, Budget], now: int = 0) -> None:
        """Other budgets from now on. What was used under a name counts on."""
        before, self._policies = self._policies, {name: BudgetPolicy(budget, now) for name, budget in budgets.items()}
        self._covering.clear()
        self.units = frozenset(limit.unit for budget in budgets.values() for limit in budget.limits)
        for name, policy in self._policies.items():
            if name in before:
                policy.carry_over(before[name])

    def restore(self, now: Instant, states: Mapping[str, BudgetState]) -> None:
        """Continues from the states of budgets by name, whose parameters may differ."""
        for name, policy in self._policies.items():
            if name in states:
                policy.carry_over(BudgetPolicy.restored(states[name]))

    def covering(self, label: str) -> tuple[BudgetPolicy, ...]:
        """The budgets that cover a label."""
        found = self._covering.get(label)
        if found is None:
            if len(self._covering) >= MAX_LABELS:
                self._covering.clear()
            found = tuple(policy for policy in self._policies.values() if policy.parameters.covers(label))
            self._covering[label] = found
        return found

    def earliest(self, now: Instant, label: str, request: Request) -> Instant:
        """When all budgets that cover a label have room for a request. `NEVER` if one is smaller than the request."""
        return max((policy.earliest(now, label, request) for policy in self.covering(label)), default=now)

    def commit(self, now: Instant, label: str, request: Request) -> bool:
        """Spends a request, after `earliest` returned `now`. False if no budget covers the label."""
        covering = self.covering(label)
        for policy in covering:
            policy.commit(now, label, request)
        return bool(covering)

    def refund(self, now: Instant, granted_at: Instant, label: str, request: Request) -> None:
        """Returns what a request spent that was never made."""
        for policy in self.covering(label):
            policy.refund(now, granted_at, label, request)

    def settle(self, now: Instant, granted_at: Instant, label: str, request: Request, used: Mapping[str, int]) -> None:
        """Corrects what a request spent that used these amounts."""
        for policy in self.covering(label):
            policy.settle(now, granted_at, label, request, used)

    def use_up(self, at: Instant) -> None:
        """Takes all that is left, of every label."""
        for policy in self._policies.values():
            policy.use_up(at)

    def policies(self) -> Iterable[tuple[str, BudgetPolicy]]:
        """The budgets by name."""
        return self._policies.items()

    def __bool__(self) -> bool:
        return bool(self._policies)


def _slots(account: tuple[_Window, ...]) -> tuple[dict[int, int], ...]:
    return tuple(dict(window.slots) for window in account)


def whole_amount(field: str, unit: str, amount: float) -> int:
    """An amount as policies count it: a whole number; of dollars, millionths, rounded up. Raises `ConfigError`."""
    if unit != USD:
        return _checks.whole(field, amount, minimum=0)
    if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not 0 <= amount <= _MAX_USD:
        raise ConfigError(field, amount, f"a number of dollars from 0 to {_MAX_USD:,}")
    # A float is not exact: 0.1 must not become 100,001 millionths.
    return ceil(round(amount * _MILLION, 3))


def _amount(request: Request, unit: str) -> int:
    return request.amount(None if unit == REQUESTS else unit)
