"""The limits of a scope that take part in granting ahead, in this process and to others."""

from collections.abc import Sequence
from typing import cast

from governor.policies.contract import REQUESTS, Leasable, LimitPolicy
from governor.policies.in_flight import InFlightPolicy
from governor.policies.shared_limit import Share


def leasing(
    limits: Sequence[LimitPolicy], shares: Sequence[Share], together: tuple[LimitPolicy, ...]
) -> tuple[Leasable, ...] | None:
    """The limits that plain requests take units of; None if a limit cannot lease.

    Of what counts other units, a plain request takes nothing, and places in flight are leased apart. `together` is all limits,
    and the answer for most.
    """
    own = []
    for limit in limits:  # Not in a comprehension, which costs a call: every new scope comes by here.
        if limit.leases_places:
            continue
        if not limit.leases:
            return None
        if limit.parameters.unit == REQUESTS:
            own.append(limit)
    for share in shares:
        if share.policy.leases_places:
            continue
        if not share.policy.leases:
            return None
        if share.counts_plain:
            own.append(share.policy)
    return cast("tuple[Leasable, ...]", together if len(own) == len(together) else tuple(own))


def places(limits: Sequence[LimitPolicy]) -> tuple[InFlightPolicy, ...]:
    """The limits whose places are leased, each as often as the others."""
    return tuple([limit for limit in limits if isinstance(limit, InFlightPolicy) and limit.leases_places])


def leases_elsewhere(limits: Sequence[LimitPolicy], shares: Sequence[Share]) -> bool:
    """Whether other processes may have leases, which report how many permits were used, and nothing of each."""
    if len(limits) > 1:
        return False
    for limit in limits:
        if not (limit.leases and limit.leases_elsewhere):
            return False
    return not shares or all(share.policy.leases and share.policy.leases_elsewhere for share in shares)
