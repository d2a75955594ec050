"""The limits of a scope that take part in granting ahead, in this process and to others."""

from collections.abc import Sequence
from typing import cast

from governor.policies.contract import REQUESTS, Lending, LimitPolicy
from governor.policies.shared_limit import Share


def lenders(limits: Sequence[LimitPolicy], shares: Sequence[Share]) -> tuple[Lending, ...] | None:
    """The limits that plain requests take units of; None if a limit cannot lend.

    Of what counts other units, a plain request takes nothing.
    """
    if not all(limit.lends for limit in (*limits, *[share.policy for share in shares])):
        return None
    own = [limit for limit in limits if limit.unit == REQUESTS]
    return (*cast("list[Lending]", own), *[cast("Lending", share.policy) for share in shares if share.counts_plain])


def lends_elsewhere(limits: Sequence[LimitPolicy], shares: Sequence[Share]) -> bool:
    """Whether other processes may have leases, which report how many permits were used, and nothing of each."""
    if len(limits) > 1:
        return False
    return all(limit.lends and limit.lends_elsewhere for limit in (*limits, *[share.policy for share in shares]))
