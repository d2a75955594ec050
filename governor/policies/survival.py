"""Survival: what the policies of another life are worth, after a death of which only a bound is known.

A life of a governor ends in order, and all that it has granted is known; or the process dies, and all that is known is the last
record of each account and how many points it may have granted since. The one that takes over counts those as granted at the
instant at which it does.
"""

from collections.abc import Iterable
from functools import partial
from typing import Final, NamedTuple

from governor._units import Instant
from governor.policies.budget import BudgetLimit, Budgets
from governor.policies.contract import LimitPolicy, Request
from governor.policies.in_flight import InFlightPolicy
from governor.policies.mark import Tariff
from governor.policies.request_cap import RequestCapPolicy

#: A limit with a larger capacity is none that is known: a server has not revealed it, or not yet.
_KNOWN: Final = 2**40


class Death(NamedTuple):
    """A process has died, and another one has taken over at this instant.

    An account may have granted so many points that no record knows of; None: everything, because there is no record.
    """

    at: Instant
    points: int | None


def mourn(limits: Iterable[LimitPolicy], tariff: Tariff | None, deaths: Iterable[Death]) -> None:
    """Counts as used what may have been granted, in limits of one account, death by death."""
    known = tuple(limits)
    for at, points in deaths:
        for limit in known:
            limit.abandoned(at, _lost(limit, tariff, points))


def _lost(limit: LimitPolicy, tariff: Tariff | None, points: int | None) -> int:
    capacity = limit.capacity()
    if points == 0:
        return 0
    if points is None:
        return capacity if capacity < _KNOWN else 0
    if tariff is not None:
        return tariff.units(limit.unit, points)
    # Places in flight alone are not counted by an account: all of them may be taken.
    return capacity if isinstance(limit, InFlightPolicy) else 0


def mourn_all(cap: RequestCapPolicy, budgets: Budgets, tariff: Tariff | None, deaths: Iterable[Death]) -> None:
    """The same for what all scopes share."""
    capped = cap.parameters.requests_per_minute
    for at, points in deaths:
        lost = capped if points is None else points
        if capped is not None and lost:
            cap.commit(at, Request(lost))
        for _, policy in budgets.policies():
            policy.abandoned(at, partial(_amount, tariff, points))


def _amount(tariff: Tariff | None, points: int | None, limit: BudgetLimit) -> int:
    return limit.amount if points is None or tariff is None else tariff.units(limit.unit, points)
