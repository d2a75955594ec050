"""Verdict: when the policies of a scope grant a request, and which of them is the last to."""

import msgspec

from governor._units import Instant
from governor.policies.ban_guard import BanGuard
from governor.policies.contract import Policy
from governor.policies.mark import Mark


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The earliest instant at which a request can be granted, and the policy that prevents an earlier one (None: now).

    `sooner` means that an outcome may bring the instant forward: the end of a call in flight, or the answer to a probe or to a
    call of a breaker in its ramp; but not to before `not_before`, because of the other policies.
    """

    when: Instant
    by: Policy | BanGuard | Mark | None
    sooner: bool = False
    not_before: Instant = Instant(0)
