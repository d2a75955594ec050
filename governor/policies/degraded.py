"""Degraded mode: a pause of all outbound traffic, entered on failures in a row or on excess over the request cap.

Failures in a row count over all scopes, and must come from several providers. A provider whose circuit breaker is not closed
adds none: its breaker deals with them. Excess is what the cap, and only the cap, has denied within 60 seconds.

The table of providers that have failed holds `MAX_PROVIDERS`; at the bound, the provider whose latest failure is the oldest is
dropped from it, with its failures.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from governor._fields import FailureRun
from governor._units import MINUTE, Duration, DurationLike, Instant
from governor.errors import Reason
from governor.policies import _checks
from governor.policies._sliding_log import SlidingLog, SlidingLogState
from governor.policies.contract import Grant, Request, Result

WINDOW: Final = MINUTE
#: The most providers that are remembered: of those that failed in the run, and of those that the cap denied.
MAX_PROVIDERS: Final = 256
#: The most providers that are named as the cause of a pause.
MAX_NAMED: Final = 10


class Cause(StrEnum):
    """Why traffic was paused."""

    FAILURES = "failures"
    CAP = "cap"


class Degraded(msgspec.Struct, frozen=True, kw_only=True):
    """When to pause all outbound traffic, and for how long. Raises `ConfigError`.

    A run of at least `failures` in a row, in which at least `providers` take part, pauses everything for `cooldown`. A provider
    takes part once it has failed twice; once is enough where `failures` is less than two for each. With `providers` 1, all
    failures count alike, whichever provider they come from. More than `excess` requests that the cap denies within 60 seconds
    have the same effect. None, for `failures` or `excess`: never.
    """

    failures: int | None = 10
    providers: int = 2
    excess: int | None = None
    cooldown: Duration = MINUTE

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            failures: int | None = 10,
            providers: int = 2,
            excess: int | None = None,
            cooldown: DurationLike = MINUTE,
        ) -> None: ...

    def __post_init__(self) -> None:
        _checks.integers(self)
        if self.failures is not None:
            _checks.whole("failures", self.failures)
        _checks.whole("providers", self.providers, maximum=MAX_PROVIDERS)
        if self.excess is not None:
            _checks.whole("excess", self.excess, minimum=0)
        _checks.span(self, "cooldown")


class DegradedState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of degraded mode. `blamed` are the failures of the run by provider, the latest last."""

    until: Instant = Instant(0)
    failures: int = 0
    spells: int = 0
    cause: Cause | None = None
    culprits: tuple[str, ...] = ()
    blamed: Mapping[str, int] = {}
    broken: Mapping[str, int] = {}
    denied: SlidingLogState = SlidingLogState((), Instant(-1))


class DegradedPolicy(FailureRun):
    """The state machine: the end of the pause, the run of failures, and what the cap has denied."""

    __slots__ = (
        "_blamed",
        "_broken",
        "_denied",
        "_excess",
        "_excess_before",
        "_excess_since",
        "_taking_part",
        "cause",
        "culprits",
        "due",
        "parameters",
        "spells",
        "until",
    )

    reason = Reason.DEGRADED

    def __init__(self, parameters: Degraded) -> None:
        self.parameters = parameters
        #: Traffic is paused while now is before this instant.
        self.until = Instant(0)
        #: Failures in a row over all scopes, except those of providers whose breaker is not closed.
        self.failures = 0
        #: Whether the run is long enough, so that `decide` must follow.
        self.due = False
        #: How often it has begun.
        self.spells = 0
        #: The cause of the latest pause, and the providers that caused it, the worst first.
        self.cause: Cause | None = None
        self.culprits: tuple[str, ...] = ()
        self._blamed: dict[str, int] = {}
        self._taking_part = 0
        #: The number of breakers of each provider that are not closed.
        self._broken: dict[str, int] = {}
        self._denied = SlidingLog(WINDOW, parameters.excess or 1)
        # By provider, for one to two windows: only to name the providers that caused a pause.
        self._excess: dict[str, int] = {}
        self._excess_before: dict[str, int] = {}
        self._excess_since = Instant(0)

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """`now`, or the end of the cooldown."""
        return max(now, self.until)

    def commit(self, now: Instant, request: Request) -> int:
        """Nothing is spent."""
        return 0

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """Nothing was spent."""

    # Failures.

    def record(self, now: Instant, grant: Grant, result: Result, provider: str = "") -> None:
        """Counts failures in a row. Grants from before the end of the latest cooldown do not count."""
        if grant.granted_at < self.until or result is Result.NEUTRAL:
            return
        if result is Result.SUCCESS:
            self._begin_run()
        elif self.parameters.failures is not None and provider not in self._broken:
            self.failures += 1
            self._blame(provider)
            enough = self.parameters.providers == 1 or self._taking_part >= self.parameters.providers
            self.due = enough and self.failures >= self.parameters.failures

    def decide(self, now: Instant, *, healthy: bool) -> None:
        """Pauses traffic if the run is `due`, unless another provider is known to be `healthy`. Begins a new run either way."""
        if self.due and not healthy:
            blamed = sorted(self._blamed.items(), key=lambda item: (-item[1], item[0]))
            least = self._least()
            self.enter(now, Cause.FAILURES, [provider for provider, count in blamed if count >= least])
        self._begin_run()

    def blames(self, provider: str) -> bool:
        """Whether the provider has failed in this run."""
        return provider in self._blamed

    def breaker_opened(self, provider: str) -> None:
        """Counts one more breaker of the provider that is open or half-open."""
        self._broken[provider] = self._broken.get(provider, 0) + 1

    def breaker_closed(self, provider: str) -> None:
        """Counts one breaker less."""
        left = self._broken.pop(provider, 0) - 1
        if left > 0:
            self._broken[provider] = left

    def _least(self) -> int:
        """The number of failures with which a provider takes part in the run."""
        failures, providers = self.parameters.failures or 1, self.parameters.providers
        return 1 if providers == 1 or failures < 2 * providers else 2

    def _blame(self, provider: str) -> None:
        count = self._blamed.pop(provider, 0) + 1
        if len(self._blamed) >= MAX_PROVIDERS:
            oldest = next(iter(self._blamed))
            self._taking_part -= self._blamed.pop(oldest) >= self._least()
        self._blamed[provider] = count
        self._taking_part += count == self._least()

    def _begin_run(self) -> None:
        self.failures = 0
        self.due = False
        self._blamed.clear()
        self._taking_part = 0

    # Excess.

    def deny(self, now: Instant, request: Request, provider: str = "") -> None:
        """Counts a request that the cap, and nothing else, has denied. During a cooldown this changes nothing."""
        most = self.parameters.excess
        if most is None or now < self.until:
            return
        self._denied.add(now, request.cost)
        self._denied.forget(now)
        self._charge(now, provider, request.cost)
        if self._denied.total > most:
            sums = {name: self._excess_before.get(name, 0) + cost for name, cost in self._excess.items()}
            sums = self._excess_before | sums
            self.enter(now, Cause.CAP, sorted(sums, key=lambda name: (-sums[name], name)))

    def excess(self, now: Instant) -> int:
        """Requests that the cap has denied in the 60 seconds up to `now`."""
        return self._denied.used(now)

    def forecast(self, now: Instant) -> "DegradedPolicy":
        """Grants do not change it."""
        return self

    def _charge(self, now: Instant, provider: str, cost: int) -> None:
        age = now - self._excess_since
        if age >= WINDOW:
            self._excess_before = self._excess if age < 2 * WINDOW else {}
            self._excess, self._excess_since = {}, now
        if provider in self._excess or len(self._excess) < MAX_PROVIDERS:
            self._excess[provider] = self._excess.get(provider, 0) + cost

    def _forget_excess(self) -> None:
        self._denied = SlidingLog(WINDOW, self.parameters.excess or 1)
        self._excess, self._excess_before = {}, {}

    # The pause.

    def enter(self, now: Instant, cause: Cause = Cause.FAILURES, culprits: Iterable[str] = ()) -> None:
        """Pauses traffic for one cooldown from `now`. During a cooldown this changes nothing."""
        if now >= self.until:
            self.until = Instant(now + self.parameters.cooldown)
            self.spells += 1
            self.cause = cause
            self.culprits = tuple(islice(culprits, MAX_NAMED))
            self._begin_run()
            self._forget_excess()

    def leave(self, now: Instant) -> None:
        """Ends the cooldown, if any. The counts of failures and of excess begin again."""
        self.until = min(self.until, now)
        self._begin_run()
        self._forget_excess()

    # State.

    def reconfigure(self, parameters: Degraded) -> None:
        """Changes the parameters in place, because all scopes share this policy. A cooldown that has begun keeps its end."""
        self.parameters = parameters
        denied = SlidingLog(WINDOW, parameters.excess or 1)
        denied.restore(self._denied.state())
        self._denied = denied
        self._taking_part = sum(count >= self._least() for count in self._blamed.values())
        if parameters.failures is None:
            self._begin_run()

    def state(self) -> DegradedState:
        """The state as a frozen record, for `restore`. It holds how much the cap has denied, and not to which providers."""
        return DegradedState(
            until=self.until,
            failures=self.failures,
            spells=self.spells,
            cause=self.cause,
            culprits=self.culprits,
            blamed=dict(self._blamed),
            broken=dict(self._broken),
            denied=self._denied.state(),
        )

    def restore(self, state: DegradedState) -> None:
        """Continues from a state that `state` returned."""
        self.until = state.until
        self.failures = state.failures
        self.due = False
        self.spells = state.spells
        self.cause = state.cause
        self.culprits = state.culprits
        self._blamed = dict(state.blamed)
        self._broken = dict(state.broken)
        self._taking_part = sum(count >= self._least() for count in self._blamed.values())
        self._denied.restore(state.denied)
