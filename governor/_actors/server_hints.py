"""Server hints: what the answers to the calls of a scope change in its policies and in those of its provider.

Three things follow from an answer: a pause, a bound on what is granted until a reset, and, after a denial that does not say
which limit is used up, a lower rate of the provider.
"""

from random import Random
from typing import Final, NamedTuple

from governor._actors.effects import CooldownMoved, Effect, Others, ProviderChanged
from governor._actors.ledger import Ledger
from governor._actors.lender import Lender
from governor._units import SECOND, Duration, Instant
from governor.hints import Hint, Severity
from governor.messages import Hinted
from governor.policies.learned_rate import FIRST_RATE
from governor.policies.pipeline import Pipeline
from governor.policies.server_limits import History, ServerLimits, explains, spread_of

#: The span over which the rate of a provider is measured that has denied a call for the first time, and the number of calls in
#: it that make a rate.
_MEASURED: Final = Duration(5 * SECOND)
_TELLING: Final = 5


class Heard(NamedTuple):
    """What others must do, and whether the scope has other limits now, so that its pipeline must be rebuilt."""

    effects: list[Effect]
    changed: bool


def hear(ledger: Ledger, lender: Lender, message: Hinted, *, random: Random, sharing: Others) -> Heard:
    """Has the policies of a scope and its provider learn what an answer says, and recalls leases that it concerns.

    Draws from `random` for each wait, and no more.
    """
    pipeline = ledger.pipeline
    shared = pipeline.shared
    if not all(_limits(pipeline, hint).knows(hint) for hint in message.hints):
        # From now on the grants of the provider are counted: none may be outstanding that is not.
        sharing.recall(shared)
    lender.collect()
    now = ledger.clock()
    paused, changed = {"provider": False, "scope": False}, {"provider": False, "scope": False}
    denied: Hint | None = None
    for hint in message.hints:
        hint = _believed(hint, shared.max_hint)
        if hint.severity is Severity.THROTTLED:
            denied = hint
        spread = random.random() if hint.retry_after or hint.reset else 0.0
        limits = _limits(pipeline, hint)
        history = () if limits.knows(hint) else _history(ledger, sharing.granted(shared))
        news, others = limits.hear(
            now,
            message.grant,
            hint,
            most=shared.max_hint,
            spread=spread,
            history=history,
            windows=shared.windows if hint.scope == "provider" else (),
        )
        changed[hint.scope] |= others
        if hint.retry_after and (news or hint.severity is not Severity.EXHAUSTED):
            cooldown = shared.cooldown if hint.scope == "provider" else pipeline.own_cooldown
            paused[hint.scope] |= cooldown.extend(now, *_spread(hint.retry_after, spread, shared.max_hint))
    sent = _sent(ledger, now)
    # Few calls say nothing about a rate: a server that says how long to wait is taken at its word.
    if denied is not None and not explains(message.hints) and (denied.assumed or sent >= _TELLING):
        succeeded = ledger.has_succeeded()
        rate = sent * SECOND / _MEASURED if sent >= _TELLING else FIRST_RATE
        pause, revealed = shared.server.throttled(now, message.grant, sent=rate, succeeded=succeeded)
        changed["provider"] |= revealed
        if pause is not None and denied.assumed:
            paused["provider"] |= shared.cooldown.extend(now, *_spread(pause, random.random(), shared.max_hint))
        ledger.mark_successes()
    if any(paused.values()):
        lender.recall()
    effects: list[Effect] = []
    if paused["provider"]:
        effects.append(CooldownMoved(pipeline.provider))
    if changed["provider"]:
        effects.append(ProviderChanged(pipeline.provider))
    return Heard(effects, any(changed.values()))


def _limits(pipeline: Pipeline, hint: Hint) -> ServerLimits:
    return pipeline.shared.server if hint.scope == "provider" else pipeline.own_server


def _spread(wait: Duration, spread: float, most: Duration) -> tuple[Duration, Duration]:
    """The wait, a random part of half of its spread longer, and the other half, in which those who have waited are paced."""
    half = spread_of(wait, 0.5)
    return Duration(min(wait + int(half * spread), most)), half


def _believed(hint: Hint, most: Duration) -> Hint:
    """The hint within the bound of the provider."""
    if max(hint.retry_after or 0, hint.reset or 0) <= most:
        return hint
    shorter = {name: min(span, most) for name in ("retry_after", "reset") if (span := getattr(hint, name)) is not None}
    return hint._replace(**shorter)


def _history(ledger: Ledger, granted: int) -> History:
    """The grants of the provider in the last 60 seconds, as far as they are known: not more than those of all providers.

    Only the first answer that says what remains needs them: other calls are in flight. The cap knows when calls were granted,
    and not whose they were.
    """
    left, found = granted, []
    for instant, units in reversed(ledger.pipeline.cap.since(Instant(0))):
        if left <= 0:
            break
        found.append((instant, min(units, left)))
        left -= units
    return found[::-1]


def _sent(ledger: Ledger, now: Instant) -> int:
    """The calls to all providers together, in the latest seconds."""
    return sum(units for _, units in ledger.pipeline.cap.since(Instant(now - _MEASURED)))
