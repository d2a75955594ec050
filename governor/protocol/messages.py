"""Messages between a process, a *member* of the machine, and the daemon, the *owner* of the limits.

The structs of `governor.messages` travel inside. Instants are on the owner's clock, in microseconds; a member hands them back
as it got them, and measures spans on its own clock. A member numbers its asks, plans, uses and pings in one ascending sequence
of its connection, from 1; the answer has the same number. Each answer makes all leases of the connection last for another
`Welcome.ttl` seconds: at the member from the sending of the message that was answered, at the owner from the sending of the
answer.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec

from governor._units import Instant, decode_duration
from governor.errors import Reason
from governor.messages import (
    Acquire,
    Answered,
    Denied,
    Hinted,
    InboundRequest,
    PlanRetry,
    Report,
    RetryGivenUp,
    RetryPlan,
    Settled,
)
from governor.policies.contract import Grant

#: The version of the protocol. Owner and member must have the same.
VERSION: Final = 1

#: Requests to an API in one message, and ends of requests.
MAX_BATCH: Final = 512
#: Groups in one message, so that it is not longer than a frame; and limits that one limit on endpoints consists of.
MAX_PARTS: Final = 64
MAX_LIMITS: Final = 16
#: Characters of the place and of the limits of a limit on endpoints.
MAX_PLACE: Final = 300
MAX_LIMIT_TEXT: Final = 200

#: A number of a message: above 0 in whatever is answered.
Number = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
#: A number of permits, calls or units.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
#: The name of a scope, in lower case: `github:get`.
Scope = Annotated[str, msgspec.Meta(min_length=1, max_length=302)]

#: The label of a caller.
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
#: What may be changed by hand.
Action = Literal["close", "open", "reset", "resume", "recall"]


#: An HTTP status; 0 for none.
Status = Annotated[int, msgspec.Meta(ge=0, le=999)]


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The first message of a member.

    After the loss of an owner, `held` says how many places its calls hold in each scope that have not ended, as many as each
    costs, and `used` what its calls have used since, by scope and unit; `by_caller` is the same by the label of the caller, for
    budgets. `alone` says that it may have granted calls without an owner since. An `operator` looks and acts, and is not shown
    among the processes.
    """

    version: int
    pid: int
    name: Annotated[str, msgspec.Meta(max_length=64)] = ""
    held: Mapping[Scope, Count] = {}
    used: Mapping[Scope, Mapping[str, Count]] = {}
    operator: bool = False
    by_caller: Mapping[Label, Mapping[str, Count]] = {}
    alone: bool = False


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Ask for a permit. The answer is `Granted` or `AskDenied`; a `Leased` may come with it."""

    number: Number
    scope: Scope
    acquire: Acquire


class Withdraw(msgspec.Struct, frozen=True, tag="withdraw"):
    """The call no longer waits for the permit that was asked for under this number.

    `Read` answers if it was still waiting. A permit that was granted meanwhile the member gives back, as `Unused`.
    """

    number: Number


class Unused(msgspec.Struct, frozen=True, tag="unused"):
    """Tell that a grant was never used."""

    grant: Grant


#: An outcome as it travels.
ToldOutcome = Answered | Hinted | Settled | Report | RetryGivenUp | Unused


class Told(msgspec.Struct, frozen=True, omit_defaults=True, tag="told"):
    """Tell an outcome. `permit` is the number of the ask that was granted, 0 for a leased permit, -1 for one of `Hello.held`.

    With a `number` other than 0, `Read` answers once the
    owner has read it, as it must have a failure before the member uses another leased permit.
    """

    scope: Scope
    outcome: ToldOutcome
    permit: Annotated[int, msgspec.Meta(ge=-1, le=2**62)] = 0
    number: Number = 0


class LeaseUse(msgspec.Struct, frozen=True, omit_defaults=True):
    """What has become of leased permits of one scope and generation since the last report.

    `used` were taken by calls, `back` will never be. `successes` counts the calls that succeeded, by HTTP status, with 0 for
    none; `deposits` those that were the first attempt of an operation.
    """

    scope: Scope
    generation: Number
    used: Count = 0
    back: Count = 0
    successes: Mapping[Status, Count] = {}
    deposits: Count = 0
    #: How many more permits the member would use soon.
    wanted: Count = 0


class LeaseReport(msgspec.Struct, frozen=True, tag="lease_report"):
    """Tell what has become of leased permits. `Read` answers, after a `Leased` for each scope that wants more and gets some.

    Without uses it only refreshes the leases of the connection. A member reports what has been used and has succeeded in a
    scope before it tells a failure of that scope.
    """

    number: Number
    uses: tuple[LeaseUse, ...] = ()


class Plan(msgspec.Struct, frozen=True, tag="plan"):
    """Ask whether a failed attempt may be repeated. The answer is `Planned`."""

    number: Number
    scope: Scope
    plan: PlanRetry


class EndpointLimits(msgspec.Struct, frozen=True, tag="endpoint_limits"):
    """A limit on single endpoints, which programs have in their code: `limits` as text, each for one client.

    `place` identifies it, with its limits, in all processes that run the same code. `name` is that of its group.
    """

    place: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PLACE)]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    limits: Annotated[tuple[Annotated[str, msgspec.Meta(max_length=MAX_LIMIT_TEXT)], ...], msgspec.Meta(max_length=MAX_LIMITS)]


#: An inbound group: one of the settings, by name, or a limit on endpoints.
Group = Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | EndpointLimits


class Requests(msgspec.Struct, frozen=True, omit_defaults=True):
    """Requests to one group, in the order of their arrival. With `announce`, verdicts carry what is left of the limits."""

    group: Group
    requests: Annotated[tuple[InboundRequest, ...], msgspec.Meta(max_length=MAX_BATCH)]
    announce: bool = False


class Admit(msgspec.Struct, frozen=True, tag="admit"):
    """Ask whether requests to the API of the member may proceed, `MAX_BATCH` in all. `Admitted` answers, at once.

    The requests have the ascending numbers from `first` on, which name those that keep a place.
    """

    number: Number
    first: Number
    parts: Annotated[tuple[Requests, ...], msgspec.Meta(max_length=MAX_PARTS)]


class Readmit(msgspec.Struct, frozen=True, tag="readmit"):
    """Tell which requests of one group are in flight since before this connection, by number: their places are taken again."""

    group: Group
    requests: Annotated[Mapping[Number, InboundRequest], msgspec.Meta(max_length=MAX_BATCH)]


class Ended(msgspec.Struct, frozen=True, omit_defaults=True, tag="ended"):
    """Tell how requests of one group have ended: how many with which status, and of those that kept a place, each by number."""

    group: Group
    statuses: Mapping[Status, Count] = {}
    places: Annotated[Mapping[Number, Status], msgspec.Meta(max_length=MAX_BATCH)] = {}


class Query(msgspec.Struct, frozen=True, tag="query"):
    """Ask for a document: `statistics`, or `about` for the process of the owner. The answer is `Answer`."""

    number: Number
    document: Annotated[str, msgspec.Meta(max_length=64)]


class Act(msgspec.Struct, frozen=True, tag="act"):
    """Change something by hand. The answer is `Acted`.

    `close` lets no call of the scope or provider `name` through for `open_for`, a duration such as `10m`; `open` ends that, and
    closes circuit breakers; `reset` also forgets what the server has said and rejected; `resume` ends degraded mode; `recall`
    recalls what the processes of that name, or number, hold ahead.
    """

    number: Number
    action: Action
    name: Annotated[str, msgspec.Meta(max_length=302)] = ""
    open_for: Annotated[str, msgspec.Meta(max_length=64)] = ""


class Welcome(msgspec.Struct, frozen=True, tag="welcome"):
    """The owner's answer to `Hello`, at `now`. Leases last for `ttl` seconds unless they are refreshed.

    All members make the keys of their clients with the same `secret`. `inbound` is a digest of the owner's inbound settings.
    """

    version: int
    ttl: float
    now: Instant
    secret: bytes = b""
    inbound: str = ""


class Rejected(msgspec.Struct, frozen=True, tag="rejected"):
    """The owner's other answer, to whatever it cannot accept. The connection ends after it."""

    reason: str


class Granted(msgspec.Struct, frozen=True, omit_defaults=True, tag="granted"):
    """The permit that was asked for. A `held` one keeps a place, at the owner, until its outcome has been reported."""

    number: int
    grant: Grant
    held: bool = False


class AskDenied(msgspec.Struct, frozen=True, tag="ask_denied"):
    """The denial of what was asked for."""

    number: int
    denied: Denied


class Read(msgspec.Struct, frozen=True, tag="read"):
    """The owner has read the message of this number."""

    number: int


class Leased(msgspec.Struct, frozen=True, tag="leased"):
    """Permits granted ahead, each for one request."""

    scope: str
    generation: int
    count: int
    granted_at: Instant
    #: The generation of the circuit breaker.
    breaker: int


class Recall(msgspec.Struct, frozen=True, tag="recall"):
    """Ask for all permits of the generations before this one, none of which may be used any more. A `LeaseReport` answers."""

    scope: str
    generation: int


class Forget(msgspec.Struct, frozen=True, tag="forget"):
    """An operator has reset a scope, or a provider: its calls that were repeated are forgotten."""

    name: str


class Planned(msgspec.Struct, frozen=True, tag="planned"):
    """The plan that was asked for."""

    number: int
    plan: RetryPlan


class Exceeded(msgspec.Struct, frozen=True, omit_defaults=True):
    """The limit that a request exceeds, as an `InboundDenied`, whose `bucket` is the text of the limit here."""

    group: str
    limit: str
    retry_after: float
    bucket: str
    dry_run: bool = False
    reason: Reason = Reason.RATE_LIMIT
    name: str = ""


class Left(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is left of a limit, as an `AvailableQuota`, with the text of the limit."""

    name: str
    requests: int
    limit: str
    by_address: bool = False


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """The decision on one request: granted, unless a limit is `exceeded` that is not in a dry run, or the owner `overloaded`.

    A granted one that is `held` keeps a place until an `Ended` names its number.
    """

    exceeded: Exceeded | None = None
    left: Left | None = None
    held: bool = False
    overloaded: bool = False

    @property
    def granted(self) -> bool:
        """Whether the request may proceed."""
        return not self.overloaded and (self.exceeded is None or self.exceeded.dry_run)


class Admitted(msgspec.Struct, frozen=True, tag="admitted"):
    """The verdicts on the requests of an `Admit`, in their order. None says granted, and nothing else."""

    number: int
    verdicts: tuple[Verdict | None, ...]


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """A part of a document, as JSON. More follow, with the same number, while there is `more`."""

    number: int
    document: bytes
    more: bool = False


class Acted(msgspec.Struct, frozen=True, tag="acted"):
    """Done, unless there is an `error`, which says why nothing was. `recall` has recalled so many `permits` of `processes`."""

    number: int
    error: str = ""
    processes: int = 0
    permits: int = 0


FromMember = Hello | Ask | Withdraw | Told | LeaseReport | Plan | Admit | Readmit | Ended | Query | Act
FromOwner = Welcome | Rejected | Granted | AskDenied | Read | Leased | Recall | Forget | Planned | Admitted | Answer | Acted

#: Decode what the other side sends.
FROM_MEMBER: Final[msgspec.msgpack.Decoder[FromMember]] = msgspec.msgpack.Decoder(FromMember, dec_hook=decode_duration)
FROM_OWNER: Final[msgspec.msgpack.Decoder[FromOwner]] = msgspec.msgpack.Decoder(FromOwner, dec_hook=decode_duration)
