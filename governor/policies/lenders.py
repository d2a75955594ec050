"""The limits of a scope that take part in granting ahead, in this process and to others."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Final, cast

from governor.policies.contract import REQUESTS, Lending, LimitPolicy
from governor.policies.request_cap import RequestCapPolicy
from governor.policies.shared_limit import Share

# Without a call of Python: every new scope comes by here.
_LENDS: Final = attrgetter("lends")
_LENDS_ELSEWHERE: Final = attrgetter("lends_elsewhere")


def lenders(
    limits: Sequence[LimitPolicy], shares: Sequence[Share], spending: tuple[LimitPolicy | RequestCapPolicy, ...]
) -> tuple[Lending | RequestCapPolicy, ...]:
    """The limits that plain requests take units of, and the cap; empty if a limit cannot lend.

    Of what counts other units, a plain request takes nothing. `spending` is all limits and the cap, and the answer for most.
    """
    *every, cap = spending
    if not all(map(_LENDS, every)):
        return ()
    if all(limit.unit == REQUESTS for limit in limits) and all(share.counts_plain for share in shares):
        return cast("tuple[Lending | RequestCapPolicy, ...]", spending)
    own = [cast("Lending", limit) for limit in limits if limit.unit == REQUESTS]
    return (*own, *[cast("Lending", share.policy) for share in shares if share.counts_plain], cast("RequestCapPolicy", cap))


def lends_elsewhere(limits: Sequence[LimitPolicy], shares: Sequence[Share]) -> bool:
    """Whether other processes may have leases, which report how many permits were used, and nothing of each."""
    if len(limits) > 1:
        return False
    every = (*limits, *(share.policy for share in shares)) if shares else limits
    return all(map(_LENDS, every)) and all(map(_LENDS_ELSEWHERE, every))
