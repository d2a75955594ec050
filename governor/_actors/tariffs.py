"""Tariffs of accounts: what their limits count in points, and how long it takes for points to return."""

from collections.abc import Iterable, Mapping
from typing import Final, assert_never

from governor._store.records import StoredGlobal, StoredProvider, StoredScope
from governor._units import DAY, NEVER, SECOND
from governor.policies.account import Tariff, limits_of, tariff_of
from governor.policies.budget import Budgets
from governor.policies.contract import REQUESTS, Limit, Request
from governor.policies.in_flight import InFlight
from governor.policies.request_cap import WINDOW, RequestCapPolicy
from governor.policies.shared_limit import Share, SharedLimit

#: In so many microseconds whatever a server has revealed is over, as well as the calls that were given up.
_REVEALED: Final = DAY

Stored = StoredScope | StoredProvider | StoredGlobal


def shared_tariff(limits: Iterable[SharedLimit]) -> Tariff | None:
    """That of limits that scopes share."""
    return tariff_of(limits_of(limit.policy for limit in limits))


def global_tariff(cap: RequestCapPolicy, budgets: Budgets) -> Tariff | None:
    """That of what all scopes share."""
    most = cap.parameters.requests_per_minute
    capped = [] if most is None else [(REQUESTS, most, most * SECOND / WINDOW)]
    amounts = [limit for _, policy in budgets.policies() for limit in policy.parameters.limits]
    return tariff_of([*capped, *((limit.unit, limit.amount, limit.amount * SECOND / limit.per) for limit in amounts)])


def shared_points(shares: tuple[Share, ...], quanta: Mapping[str, int], request: Request) -> int:
    """The points that a request costs in limits that its scope shares with others: none where it takes of no counted unit."""
    known = (share for share in shares if share.limit.unit in quanta)
    return max((-(-share.amount(request) // quanta[share.limit.unit]) for share in known), default=0)


def recovery_time(stored: Stored, tariff: Tariff, ahead: int) -> int:
    """Microseconds, and more than enough, in which so many points return that were granted after a record."""
    match stored:
        case StoredScope(settings=(_, limits, _, _, _)):
            return max((_refill(limit, tariff.units(limit.unit, ahead)) for limit in limits), default=_REVEALED)
        case StoredProvider(parameters=parameters):
            return max((_refill(limit, tariff.units(limit.unit, ahead)) for limit in parameters.limits), default=_REVEALED)
        case StoredGlobal():
            return NEVER
        case _:
            assert_never(stored)


def _refill(limit: Limit, units: int) -> int:
    found = limit.refill_time(units)
    return max(_REVEALED, found) if found is not None else _REVEALED if isinstance(limit, InFlight) else NEVER
