"""Limits that a server reveals: what remains until a reset, windows that its answers state, and the rate learned from denials.

One object for a provider, and one for each scope whose server limits scopes apart. It has no policy until a server reveals
something, so that a provider which says nothing costs nothing.

Bounds: `MAX_UNITS` units of which it is known what remains, and `MAX_WINDOWS` windows; what is revealed of further ones is
ignored.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Self

import msgspec

from governor._units import MINUTE, Duration, Instant
from governor.errors import ConfigError
from governor.hints import Hint, Severity
from governor.policies.arrivals import Arrivals
from governor.policies.contract import REQUESTS, Grant
from governor.policies.gcra import TokenBucket
from governor.policies.learning._refill import refilled_by
from governor.policies.learning.learned_in_flight import DenialLevels, LearnedInFlightPolicy, Level
from governor.policies.learning.learned_rate import LearnedRate, LearnedRatePolicy, LearnedRateState
from governor.policies.learning.rate_learner import MIN_PAUSE
from governor.policies.learning.remaining import RemainingPolicy, RemainingState
from governor.policies.learning.server_word import ServerWord
from governor.policies.shared_limit import SharedLimit
from governor.policies.windows.parameters import StrictWindow
from governor.policies.windows.window import StrictWindowPolicy, StrictWindowState

if TYPE_CHECKING:
    from governor.policies.learning.stated_rate import StatedRate

MAX_UNITS: Final = 8
MAX_WINDOWS: Final = 8
#: Waits that a server sets end later by a random part of this share, and of this span at most.
SPREAD_SHARE: Final = 10
MAX_SPREAD: Final = Duration(10_000_000)
#: So long after a denial others are taken to use the limits as well: strict windows imply nothing of what a server says.
DOUBT: Final = Duration(10 * MINUTE)

History = Iterable[tuple[Instant, int]]


class ServerLimitsState(msgspec.Struct, frozen=True, tag="server_limits"):
    """What remains, by unit; the windows that were adopted, each with its uses; and the rate that was learned."""

    remaining: tuple[RemainingState, ...] = ()
    windows: tuple[tuple[StrictWindow, StrictWindowState], ...] = ()
    learned: LearnedRateState | None = None


_NO_REMAINING: Final[dict[str, RemainingPolicy]] = {}
_NO_WINDOWS: Final[dict[tuple[str, int], StrictWindowPolicy]] = {}


class ServerLimits:
    """The policies that a server has revealed. `adopts`: windows that it states become limits.

    `gentle` is for a provider about which nothing is known: see `LearnedRatePolicy`.
    """

    __slots__ = (
        "_doubted_until",
        "_gentle",
        "_levels",
        "_remaining",
        "_stated",
        "_windows",
        "adopts",
        "at_work",
        "learned",
        "limits",
        "word",
    )

    def __init__(self, *, adopts: bool = False, gentle: bool = False) -> None:
        self.adopts = adopts
        self._gentle = gentle
        # Replaced whenever something is added: most servers say nothing, and the empty ones are the same for all.
        self._remaining = _NO_REMAINING
        self._windows = _NO_WINDOWS
        self._doubted_until = Instant(0)
        #: The rate that was learned from denials; None before the first one.
        self.learned = LearnedRatePolicy(Instant(0), gentle=True) if gentle else None
        #: How fast the server says that it may be asked; None unless it is asked gently.
        self._stated = _nothing_stated() if gentle else None
        #: The limit of calls at work that denials have shown, and what denials had in common before; None if nothing.
        self.at_work: LearnedInFlightPolicy | None = None
        self._levels: DenialLevels | None = None
        #: Whether what the server says of waits has proved true.
        self.word = ServerWord()
        #: All policies, each with the queue of the scopes that wait for it.
        self.limits: tuple[SharedLimit, ...] = ()
        if self.learned is not None:
            self._collect()

    def hear(
        self,
        now: Instant,
        grant: Grant,
        hint: Hint,
        *,
        most: Duration,
        spread: float = 0.0,
        history: History = (),
        windows: Iterable[StrictWindow] = (),
        buckets: Iterable[TokenBucket] = (),
        denied: bool = False,
    ) -> tuple[bool, bool]:
        """The answer to a grant says this. Returns whether that is news, and whether there are other `limits` now.

        What the strict `windows` imply that hold for the same calls is no news, unless the server has denied a call lately, and
        neither is what agrees with the `buckets`.
        With other limits, pipelines must be rebuilt.

        Nothing is believed for longer than `most`. `spread` is a random number below 1, by which the end of what the server
        says moves later. `history` are the units granted before, if this is not known here: see `knows`. `denied` tells whether
        the answer denies the call, so that the server does not count it.
        """
        news, faster = True, False
        if hint.severity is Severity.THROTTLED:
            self._doubted_until = Instant(now + DOUBT)
        if hint.remaining is not None:
            span = min(hint.reset or hint.window or 0, most)
            policy = self._policy(hint.dimension, history)
            if span and self._stated is not None and self.learned is not None and hint.dimension == REQUESTS and hint.limit:
                said = (hint.name, hint.limit)
                rate = self._stated.hear(grant.granted_at, said, hint.remaining, Duration(max(span, hint.window or span)))
                faster = _follow(self.learned, now, grant, rate)
            if span and policy is not None:
                if self.adopts and hint.window is None:
                    self._slide(now, grant.granted_at, hint, Instant(now + span), policy, denied=denied)
                doubted = now < self._doubted_until
                known = () if doubted else (*windows, *(one.parameters for one in self._windows.values()))
                refilled = refilled_by(() if doubted else buckets, hint.dimension, hint.limit, hint.remaining, span)
                news = policy.learn(
                    now,
                    grant,
                    hint.remaining,
                    Instant(now + span),
                    limit=hint.limit,
                    window=None if hint.window is None else min(hint.window, most),
                    name=hint.name,
                    implied_by=_longest(known, hint),
                    refilled=refilled,
                    spread=min(spread_of(span, spread / 2), most - span),
                )
        if self.adopts and hint.limit is not None and hint.window is not None and hint.window <= most:
            self._adopt(now, hint.dimension, hint.limit, hint.window, history)
        return news, self._collect() or faster

    def knows(self, hint: Hint, most: Duration) -> bool:
        """Whether it is known how many units of this kind were granted, or it does not matter: see `hear`.

        It matters if the hint says what remains, or a window that becomes a limit.
        """
        unit, window = hint.dimension, hint.window
        adopted = self.adopts and hint.limit and window is not None and window <= most and len(self._windows) < MAX_WINDOWS
        return unit in self._remaining or not (hint.remaining is not None or (adopted and (unit, window) not in self._windows))

    def throttled(
        self,
        now: Instant,
        grant: Grant,
        *,
        sent: float,
        succeeded: bool,
        wait: Duration | None = None,
        limit: int | None = None,
        in_flight: int = 0,
        history: History = (),
    ) -> tuple[Duration | None, bool]:
        """The server has denied a call without saying what its limit is: see `LearnedRatePolicy.throttled`.

        `in_flight` are the calls to it, the denied one included, and `history` those that were granted before the first denial.
        Returns the pause that is due, and whether there are other `limits` now. A denial that the limit of calls at work
        explains changes no rate.
        """
        known = self.learned is not None
        learned = self.learned_rate(now)
        if not known:
            learned.learner.recall(history)
        if self.at_work is not None and self.at_work.explains(in_flight):
            # Denials in a row are of another limit: places become free while calls end.
            since = self.at_work.throttled_at
            late = grant.granted_at <= since
            if late or learned.learner.has_accepted(now, since, grant.granted_at, succeeded=succeeded):
                return (MIN_PAUSE if self.at_work.throttled(now, grant.granted_at, in_flight) else None), False
        pause = learned.throttled(now, grant, sent=sent, succeeded=succeeded, wait=wait, limit=limit)
        if known and pause is not None and self.at_work is None:
            self._compare(now, Level(now, in_flight, learned.learner.accepted(now)))
        return pause, self._collect()

    def learned_rate(self, now: Instant) -> LearnedRatePolicy:
        """The rate that is learned from denials, from now on if there was none."""
        if self.learned is None:
            self.learned = LearnedRatePolicy(now)
        return self.learned

    def watch(self, now: Instant) -> bool:
        """Counts calls from now on, so that a denial shows what was granted before it. Returns whether that is new."""
        if self.learned is not None:
            return False
        self.learned_rate(now)
        return self._collect()

    def _compare(self, now: Instant, level: Level) -> None:
        """A denial has changed the rate. If it and those before show a limit of calls at work, the rate was none."""
        self._levels = self._levels or DenialLevels()
        most = self._levels.add(level)
        if most is not None:
            self.at_work = LearnedInFlightPolicy(now, most - 1, level.in_flight - 1)
            self._levels = None
            self.learned_rate(now).learner.relieve(now)

    def shows_span(self, now: Instant, limit: int | None) -> bool:
        """Whether the server has accepted about as many calls in a span as it states, so that it counts that span."""
        return self.learned is not None and self.learned.learner.window.stated_span(now, limit) is not None

    def beside(self, provider: Self) -> Self:
        """The same object for a scope of this provider: it adopts windows if the provider does, whatever it was made for."""
        self.adopts = provider.adopts
        return self

    def accepted(self, now: Instant) -> tuple[int, ...] | None:
        """The calls that the server has accepted in each of the `SPANS` of a window; None while no rate is learned."""
        return None if self.learned is None else self.learned.learner.accepted(now)

    def reset(self) -> None:
        """Forgets everything. There are other `limits` now: pipelines must be rebuilt."""
        self._remaining, self._windows = _NO_REMAINING, _NO_WINDOWS
        self.learned = self._unlearned()
        self.at_work = self._levels = None
        self._doubted_until = Instant(0)
        self._stated = _nothing_stated() if self._gentle else None
        self.word = ServerWord()
        self._collect()

    def _unlearned(self) -> LearnedRatePolicy | None:
        return LearnedRatePolicy(Instant(0), gentle=True) if self._gentle else None

    def is_slowed(self, now: Instant) -> bool:
        """Whether a denial matters from which a rate was learned."""
        return self.learned is not None and self.learned.rests_at() > now

    def forget_stated(self) -> bool:
        """Drops what the server has said of its limits; what was learned from denials stays. Returns the same as `hear`."""
        self._remaining, self._windows = _NO_REMAINING, _NO_WINDOWS
        return self._collect()

    def _policy(self, unit: str, history: History) -> RemainingPolicy | None:
        policy = self._remaining.get(unit)
        if policy is None and len(self._remaining) < MAX_UNITS:
            policy = RemainingPolicy(unit, history)
            self._remaining = {**self._remaining, unit: policy}
        return policy

    def _adopt(self, now: Instant, unit: str, amount: int, window: Duration, history: History) -> None:
        """A window becomes a limit. Of several of one length the largest does: which calls the others count is not known.

        Units that were granted before count in it, as far as they are known.
        """
        known = self._windows.get((unit, window))
        if known is None and len(self._windows) >= MAX_WINDOWS:
            return
        if known is not None and known.capacity() >= amount:
            return
        try:
            limit = StrictWindow(amount, window, unit)
        except ConfigError:
            return  # No unit, or no window, that a limit can have.
        counted = self._remaining.get(unit) or RemainingPolicy(unit, history)
        uses = counted.uses(now, window) if known is None else known.state()
        self._windows = {**self._windows, (unit, window): _window(limit, uses)}

    def _slide(
        self, now: Instant, granted_at: Instant, hint: Hint, reset: Instant, policy: RemainingPolicy, *, denied: bool
    ) -> None:
        """A limit that is seen to slide becomes a strict window of its span, as long as its answers agree with that."""
        if self._stated is None or hint.limit is None or hint.remaining is None or hint.dimension != REQUESTS:
            return
        said, used = (hint.name, hint.limit), hint.limit - hint.remaining
        if denied:
            moved = self._stated.refute(said)
        else:
            oldest, in_order = policy.oldest(used), policy.oldest(used, granted_at)
            moved = self._stated.slides(now, granted_at, said, used, reset, oldest=oldest, in_order=in_order)
        if moved is None:
            return
        windows = {key: window for key, window in self._windows.items() if key != (REQUESTS, moved.before)}
        if moved.after is not None and len(windows) < MAX_WINDOWS:
            uses = policy.uses(now, moved.after, instead_of=said)
            windows[REQUESTS, moved.after] = _window(StrictWindow(hint.limit, moved.after), uses)
        self._windows = windows

    def _collect(self) -> bool:
        """Updates `limits`. True if there are others."""
        learned = tuple(one for one in (self.at_work, self.learned) if one is not None)
        known = {limit.policy: limit for limit in self.limits}
        policies = (*self._windows.values(), *self._remaining.values(), *learned)
        if tuple(known) == policies:
            return False
        self.limits = tuple(known.get(policy) or SharedLimit(policy) for policy in policies)
        return True

    def rests_at(self) -> Instant:
        """The instant from which on nothing is known that matters."""
        return max((limit.policy.rests_at() for limit in self.limits), default=Instant(0))

    def state(self) -> ServerLimitsState:
        """The state as a frozen record, for `restore`."""
        return ServerLimitsState(
            tuple(policy.state() for policy in self._remaining.values()),
            tuple((policy.parameters, policy.state()) for policy in self._windows.values()),
            None if self.learned is None else self.learned.state(),
        )

    @classmethod
    def restored(cls, state: ServerLimitsState) -> Self:
        """What was known in this state."""
        server = cls()
        server.restore(state)
        return server

    def restore(self, state: ServerLimitsState) -> None:
        """Continues from a state that `state` returned."""
        for one in state.remaining:
            policy = RemainingPolicy(one.unit)
            policy.restore(one)
            self._remaining = {**self._remaining, one.unit: policy}
        for limit, uses in state.windows:
            self._windows = {**self._windows, (limit.unit, limit.per): _window(limit, uses)}
        if state.learned is not None:
            self.learned = _restored(state.learned, gentle=self._gentle)
        self._collect()


def _window(limit: StrictWindow, uses: StrictWindowState) -> StrictWindowPolicy:
    """A window of a server. It counts by arrival, as no outcome tells of the calls before it was known."""
    policy = StrictWindowPolicy(limit)
    policy.assume(Arrivals())
    policy.restore(uses)
    return policy


def _restored(state: LearnedRateState, *, gentle: bool) -> LearnedRatePolicy:
    """A learned rate of another life. One that is not gentle goes on as after a denial."""
    policy = LearnedRatePolicy(state.filled_at, gentle=gentle)
    if gentle:
        policy.restore(state)
    elif state.rate < LearnedRate().capacity:
        policy.throttled(state.filled_at, Grant(state.filled_at, 0), sent=state.rate)
    return policy


def _nothing_stated() -> "StatedRate":
    # Loaded on first use, because most providers are not asked gently.
    from governor.policies.learning.stated_rate import StatedRate

    return StatedRate()


def _follow(learned: LearnedRatePolicy, now: Instant, grant: Grant, rate: float) -> bool:
    """The server states limits of this rate, or of one that is not believed yet: 0. Returns whether calls may be sent sooner.

    The first answer that states a limit returns a token: the answer to the next call tells whether the server counts calls.
    """
    learner = learned.learner
    first, before = learner.stated is None and not learner.forgets_at(), learner.rate
    learned.settle(now, grant, None, -1 if first else 0)
    learner.state_rate(now, rate)
    learned.settle(now, grant, None, 0)
    return first or learner.rate > before


def _longest(windows: Iterable[object], hint: Hint) -> Duration | None:
    """The length of the longest of these windows that allow no more of the same unit than the server does."""
    if hint.limit is None:
        return None
    return max(
        (
            window.per
            for window in windows
            if isinstance(window, StrictWindow) and window.unit == hint.dimension and window.amount <= hint.limit
        ),
        default=None,
    )


def explains(hints: Iterable[Hint]) -> bool:
    """Whether an answer that says "rate limited" says which limit is used up, and until when."""
    return any(hint.severity is Severity.EXHAUSTED and hint.reset for hint in hints)


def spread_of(span: int, spread: float) -> Duration:
    """How much later than the server says a wait ends: `spread`, below 1, of a tenth of it, and of `MAX_SPREAD`."""
    return Duration(int(min(span // SPREAD_SHARE, MAX_SPREAD) * spread))
