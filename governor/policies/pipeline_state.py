"""The state of the policies of one scope, as it is set aside and can be stored, and what is the same of all new ones."""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from governor._exports import Later
from governor.policies.breakers.states import BreakerState, BreakerStatus
from governor.policies.cooldown import CooldownState
from governor.policies.limits import decode_state
from governor.policies.rejection_run import RejectionRunState

if TYPE_CHECKING:
    from governor.policies.learning import server_limits
else:
    server_limits = Later("governor.policies.learning.server_limits")

#: What is dropped of a scope that keeps within its largest debt.
NOTHING_DROPPED: Final[Mapping[str, int]] = {}


@lru_cache(maxsize=64)
def born_first(limits: int) -> tuple[int, ...]:
    """The generations from which on so many new limits know of grants."""
    return (0,) * limits


class PipelineState(msgspec.Struct, frozen=True):
    """The state of one scope: of its breaker, limits and cooldown, as it is set aside and can be stored as JSON.

    `born` is the generation of the breaker from which on each limit knows of grants, `receipts_born` that of the receipts.
    """

    breaker: BreakerState
    limits: tuple[msgspec.Struct, ...]
    born: tuple[int, ...] = ()
    receipts_born: int = 0
    cooldown: CooldownState = CooldownState()
    rejections: RejectionRunState = RejectionRunState()
    #: What its server has said about this scope alone; None if nothing.
    server: "server_limits.ServerLimitsState | None" = None

    def own_server(self) -> "server_limits.ServerLimits | None":
        """What its server has said about this scope alone, to go on from."""
        return None if self.server is None else server_limits.ServerLimits.restored(self.server)

    def holds_back(self, *, as_said: bool) -> bool:
        """Whether the breaker is not simply closed, or, with `as_said`, the server has said or rejected anything."""
        if self.breaker.status is not BreakerStatus.CLOSED or self.breaker.ramp is not None:
            return True
        said = self.cooldown, self.rejections, self.server
        return as_said and said != (CooldownState(), RejectionRunState(), None)

    @classmethod
    def decode(cls, written: bytes) -> "PipelineState":
        """The state that `msgspec.json.encode` wrote, with limits of any registered kind. Raises `msgspec.ValidationError`."""
        said = msgspec.json.decode(written, type=_Written)
        return cls(said.breaker, tuple(map(decode_state, said.limits)), *msgspec.structs.astuple(said)[2:])


class _Written(msgspec.Struct, frozen=True):
    """A `PipelineState` whose limits have not been decoded."""

    breaker: BreakerState
    limits: tuple[msgspec.Raw, ...]
    born: tuple[int, ...]
    receipts_born: int
    cooldown: CooldownState
    rejections: RejectionRunState
    #: What its server has said about this scope alone; None if nothing.
    server: "server_limits.ServerLimitsState | None" = None
