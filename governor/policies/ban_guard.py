"""Ban guard of one scope: the ban budget and the runs of rejections of its provider and of the scope itself, asked together."""

from enum import Enum, Flag, auto
from typing import ClassVar, Final

import msgspec

from governor._lazy import always
from governor._units import NEVER, Instant
from governor.errors import Reason
from governor.policies.ban_budget import BanBudget
from governor.policies.contract import Request
from governor.policies.provider import ProviderPolicies
from governor.policies.rejection_run import LISTENING, NO_REJECTIONS, RejectionRunPolicy, RejectionRunState

#: The statuses of answers that reject a call, where nothing else is known about the answer.
REJECTED: Final = frozenset({401, 403, 429})
_LIMITED: Final = 429


class Rejection(Enum):
    """What an answer says about a ban of the client."""

    #: The server has answered the call.
    NONE = "none"
    #: The server has rejected the call as one too many, which counts toward a ban.
    LIMITED = "limited"
    #: The server has rejected the call because of its credentials or of a ban.
    FORBIDDEN = "forbidden"

    @classmethod
    def of(cls, status: int) -> "Rejection | None":
        """What the status alone says; None for a failure of the server, which says nothing."""
        if status >= 500:
            return None
        if status not in REJECTED:
            return cls.NONE
        return cls.LIMITED if status == _LIMITED else cls.FORBIDDEN


_NO_REJECTION: Final = (None, Rejection.NONE)


class News(Flag):
    """What an answer has changed for other scopes of the provider."""

    NOTHING = 0
    #: Calls under way must be counted from now on.
    COUNT = auto()
    #: The scope, or the provider, has closed for a spell.
    SCOPE_CLOSED = auto()
    PROVIDER_CLOSED = auto()
    #: Scopes of the provider must look again.
    CHANGED = auto()


#: A run without a rejection. Nothing changes it: neither a success nor a permit does before the first rejection.
_NO_RUN: Final = RejectionRunPolicy(BanBudget())


class BanGuard(msgspec.Struct, eq=False, gc=False):
    """The guard of the scope of that name. Its provider shares the budget and one run; the run `own` is of the scope alone.

    Call `look` before it is used.
    """

    reason: ClassVar[Reason] = Reason.BAN_BUDGET

    name: str
    _shared: ProviderPolicies
    #: Until a call is rejected, one that all scopes share.
    own: RejectionRunPolicy = msgspec.field(default_factory=always(_NO_RUN))
    #: What has changed since it was last read.
    news: News = News.NOTHING
    #: Whether every call must be asked for and must report its end, and whether it matters that a call has been answered.
    #: Attributes, because every request reads them.
    restricted: bool = False
    listens: bool = False

    def look(self) -> None:
        """Copies what holds for the provider by now. Call it after another scope has changed that."""
        shared, own = self._shared, self.own
        run = shared.rejections
        counting = shared.ban_budget.counting
        self.restricted = counting or run.spells > 0 or own.spells > 0
        self.listens = self.restricted or run.run >= LISTENING or own.run >= LISTENING

    def earliest(self, now: Instant, request: Request) -> tuple[Instant, bool]:
        """When a call may be made, and whether the answer to another call may bring that forward."""
        when, hangs = now, False
        for run in (self._shared.rejections, self.own):
            if run.spells and (due := run.earliest(now)) > when:
                when, hangs = due, run.hangs(now)
        if self._shared.ban_budget.counting and (due := self._shared.ban_budget.earliest(now, request)) > when:
            when, hangs = due, self._shared.ban_budget.hangs(now)
        return when, hangs

    def commit(self, now: Instant) -> None:
        """A call is granted."""
        self._shared.ban_budget.commit(now)
        self._shared.rejections.commit(now)
        self.own.commit(now)

    def learn(self, now: Instant, granted_at: Instant, rejection: Rejection | None) -> None:
        """A call has been answered; None: without an answer that counts, or it was never made."""
        if self.own is _NO_RUN and self._shared.rejections is NO_REJECTIONS and rejection in _NO_REJECTION:
            return  # As nearly all calls.
        if rejection is Rejection.LIMITED or rejection is Rejection.FORBIDDEN:
            self._shared.begin_rejections()
        budget, run, own = self._shared.ban_budget, self._shared.rejections, self.own
        if rejection is Rejection.FORBIDDEN and not own.run and not own.spells:
            self.own = own = RejectionRunPolicy(budget.parameters)
        if rejection is None:
            self._tell(News.CHANGED, run.let_go(granted_at) | own.let_go(granted_at))
            return
        if rejection is Rejection.NONE:
            self._tell(News.CHANGED, run.succeed(granted_at) | own.succeed(granted_at))
            return
        self._tell(News.COUNT, budget.reject(now))
        if rejection is Rejection.LIMITED:
            self._tell(News.CHANGED, run.let_go(granted_at) | own.let_go(granted_at))
            return
        for one, closed in ((run, News.PROVIDER_CLOSED), (own, News.SCOPE_CLOSED)):
            before = one.spells
            if one.reject(now, granted_at, self.name):
                self._tell(News.CHANGED, True)
                self._tell(closed, one.spells > before)

    def free(self, now: Instant, granted_at: Instant) -> bool:
        """A call is no longer under way. False if calls under way are not counted. Call it after `learn`."""
        budget = self._shared.ban_budget
        if not budget.counting:
            return False
        self._tell(News.CHANGED, budget.answer(now, granted_at))
        return True

    def reset(self) -> None:
        """Forgets all rejections of the scope."""
        self.own.reset()
        self._tell(News.CHANGED, True)

    def rests_at(self) -> Instant:
        """The instant from which on it is at rest, without what belongs to the provider; `NEVER` while it probes."""
        return NEVER if self.own.spells else Instant(0)

    def state(self) -> RejectionRunState:
        """The state of the scope's own run."""
        return self.own.state()

    def restore(self, state: RejectionRunState) -> None:
        """Continues from a state that `state` returned."""
        self.own = RejectionRunPolicy(self._shared.ban_budget.parameters)
        self.own.restore(state)

    def _tell(self, news: News, there_is: bool) -> None:
        if there_is:
            self.news |= news
