"""Messages between calls and actors, and their answers.

The same structs travel in process and, later, over a wire. On the actor's own loop a plain ask needs none of them: the call
itself is the message.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final, final

import msgspec

from governor._units import Duration, Instant
from governor.errors import PermitDenied, Reason, permit_denied
from governor.hints import Hint
from governor.policies.arrivals import Ending
from governor.policies.ban_guard import Rejection
from governor.policies.contract import PLAIN, Grant, Limit, Request, Result
from governor.policies.loops import Call, Loops
from governor.policies.service_order import Priority

#: Routes that one request matches, at most.
MAX_ROUTES: Final = 256
#: The highest cost of one request to our own API.
MAX_COST: Final = 10**12
#: The longest name of a tier, which is in ASCII.
MAX_TIER: Final = 100

#: Bytes of the longest key.
MAX_KEY: Final = 64
#: The key of a client or of an address: evenly distributed bytes, such as a digest.
Key = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_KEY)]


@final
class Fingerprint(msgspec.Struct, frozen=True, gc=False):
    """The exact fingerprint of a request and its shape. Made by `Governor.fingerprint`.

    `echoes` are the folded values of the request, which are folded in its answer as well. They last as long as the call.
    `waits`: whether the request asks the server to answer later, as a long poll does. `reads`: whether it only reads.
    `polls`: whether it waits for something to come or to become free, by its name. `pages`: whether it asks for
    where a list goes on, so that only an answer with something in it tells about those of the same shape. `place`: where the
    page begins, which is folded: all answers but pages past the end of the list are those of this place.
    """

    exact: bytes
    shape: bytes
    echoes: frozenset[bytes] = frozenset()
    waits: bool = False
    reads: bool = False
    polls: bool = False
    pages: bool = False
    place: bytes = b""


class WatchedCall(msgspec.Struct):
    """A call whose repetition is watched for. The loop guard fills in the rest when it sees the call."""

    fingerprint: Fingerprint
    #: When it asked for its permit first.
    asked_at: Instant | None = None
    call: Call | None = None
    rule: Loops = Loops()


class Acquire(msgspec.Struct, frozen=True, omit_defaults=True, tag="acquire"):
    """Ask for a permit. `timeout` is the longest wait in seconds: 0 does not wait, None waits as long as it takes.

    `attempt` counts the tries of one operation from 1; None stands for a request that is not part of a retried operation.
    `caller` is the label of the caller, if it has one, `priority` decides who goes first of those that wait, and
    `watched` is the call if its repetition is watched for.
    """

    request: Request = PLAIN
    timeout: float | None = 0.0
    attempt: int | None = None
    caller: str | None = None
    priority: Priority = "interactive"
    watched: WatchedCall | None = None

    @property
    def suits_lease(self) -> bool:
        """Whether a permit granted ahead could serve it: one request, the only one or the first of an operation."""
        return self.request is PLAIN and self.attempt in (None, 1)

    @property
    def is_retry(self) -> bool:
        """Whether it repeats an earlier attempt, which the retry budget pays for."""
        return self.attempt is not None and self.attempt > 1


class Leave(msgspec.Struct, frozen=True, tag="leave"):
    """The call no longer waits: remove it from the queue, or give back what was granted meanwhile."""


class Answered(msgspec.Struct, tag="answered"):
    """Tell that the answer to a grant has begun, with this HTTP status. The `Report` that follows says how it ended."""

    grant: Grant
    status: int | None = None
    #: What the answer says about a ban; None if only its status is known.
    rejection: Rejection | None = None
    #: Whether the call has been taken out of the calls under way that a ban budget counts. The actor fills it in.
    freed: bool = False
    #: When it was read. The actor fills it in, since clocks are read on its thread only; an actor that is not interested is
    #: not told, and leaves it empty.
    at: Instant | None = None


#: Stands for an answer that nothing waits for. Nothing is written in it, since no actor reads it as a message.
NOT_TOLD: Final = Answered(Grant(Instant(0), 0))


class Hinted(msgspec.Struct, frozen=True, tag="hinted"):
    """Tell what the answer to a grant says about the limits of its server. Spans begin when this is read."""

    grant: Grant
    hints: tuple[Hint, ...]


class Settled(msgspec.Struct, frozen=True, tag="settled"):
    """Tell what a grant has really used, by unit, before its `Report`, whose grant has the corrected amounts."""

    grant: Grant
    used: Mapping[str, int]
    answered: Answered | None = None


class Report(msgspec.Struct, frozen=True, omit_defaults=True, tag="report"):
    """Tell what became of a grant: the HTTP status if there was one, and what was really used, by unit.

    `answered` is what was told of the beginning of its answer, if anything was. `ending` says whether the request may still
    arrive, or may still be worked on.
    """

    grant: Grant
    result: Result
    status: int | None = None
    used: Mapping[str, int] | None = None
    answered: Answered | None = None
    #: The class name of the error, if there was one; never its text, which may hold what must not be shown.
    error: str | None = None
    ending: Ending = Ending.ANSWERED


class RetryGivenUp(msgspec.Struct, frozen=True, tag="retry_given_up"):
    """Tell that the retry that was planned after a call will not be made: its place in the retry budget is free again."""


class PlaceFreed(msgspec.Struct, frozen=True, tag="place_freed"):
    """Tell that a place in flight which was leased in this generation is free, and that no call has used it. In one process."""

    generation: int


#: What the holder of a permit tells. A grant alone says that it was never used.
Outcome = Answered | Hinted | Settled | Report | RetryGivenUp | Grant | PlaceFreed


class PlanRetry(msgspec.Struct, frozen=True, tag="plan_retry"):
    """Ask whether, and after which delay, attempt number `attempt`, which has failed, may be followed by another.

    `remaining` is what is left of the caller's time, `server_wait` what the server asked for.
    """

    attempt: int
    remaining: Duration | None = None
    server_wait: Duration | None = None


class NoRetry(StrEnum):
    """Why a failed attempt is not followed by another one."""

    METHOD = "method_not_repeatable"
    STATUS = "status_not_retried"
    #: The call got no answer and is not idempotent: a repetition could have its effect a second time.
    UNCERTAIN = "may_have_been_processed"
    ATTEMPTS = "attempts_used_up"
    DEADLINE = "deadline_too_close"
    BUDGET = "retry_budget_used_up"
    #: The governor's loop does not answer, or has ended, or there is no room for another scope.
    UNAVAILABLE = "governor_unavailable"


class RetryPlan(msgspec.Struct, frozen=True, gc=False, tag="retry_plan"):
    """The next attempt begins after `delay` seconds. If there is to be none, `delay` is None and `reason` says why."""

    delay: float | None
    reason: NoRetry | None = None

    def __bool__(self) -> bool:
        """Whether there is to be another attempt."""
        return self.delay is not None


class InboundRequest(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="inbound_request"):
    """Ask whether a request to our own API may proceed. It is known by the keys of its client and of its address.

    `routes` are the indexes of the routes of the group that the request matches. `tier` names the limits of the client; None
    stands for those of the group. The request costs as much as `cost` plain ones.
    """

    client: Key
    address: Key
    routes: Annotated[tuple[Annotated[int, msgspec.Meta(ge=0)], ...], msgspec.Meta(max_length=MAX_ROUTES)] = ()
    tier: Annotated[str, msgspec.Meta(max_length=MAX_TIER)] | None = None
    cost: Annotated[int, msgspec.Meta(ge=1, le=MAX_COST)] = 1


class InboundDenied(msgspec.Struct, frozen=True, gc=False, tag="inbound_denied"):
    """An inbound request exceeds a limit: of its `client`, its `address`, the `total` of the group, or of a `route`.

    `retry_after` is in seconds. `bucket` is the limit, of whichever kind. In a `dry_run` the request is granted all the same.
    `name` is that of the route, else empty.
    """

    group: str
    limit: str
    retry_after: float
    bucket: Limit
    dry_run: bool = False
    reason: Reason = Reason.RATE_LIMIT
    name: str = ""


class AvailableQuota(msgspec.Struct, frozen=True, gc=False, tag="available_quota"):
    """What is left of a limit: its name, how many more requests it would grant now, the limit itself, and what it counts by."""

    name: str
    requests: int
    limit: Limit
    by_address: bool = False


class Denied(msgspec.Struct, frozen=True, gc=False, tag="denied"):
    """The answer no. `retry_after` is in seconds; None says that waiting cannot help.

    With `again`, a call that can wait so long asks once more: it is delayed, and not denied.
    """

    scope: str
    reason: Reason
    retry_after: float | None
    again: bool = False

    def exception(self) -> PermitDenied:
        """The same as an exception, for places where a permit was promised."""
        return permit_denied(self.scope, self.reason, self.retry_after)
