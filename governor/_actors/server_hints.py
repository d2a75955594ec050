"""Server hints: what the answers to the calls of a scope change in its policies and in those of its provider.

Three things follow from an answer: a pause, a bound on what is granted until a reset, and, after a denial that does not say
which limit is used up, a lower rate of the provider.
"""

from collections.abc import Sequence
from random import Random
from typing import Final, Literal, NamedTuple

from governor._actors.effects import CooldownMoved, Effect, Others, ProviderChanged
from governor._actors.leases.leasing import Leasing
from governor._actors.ledger import Ledger
from governor._units import MINUTE, SECOND, Duration, Instant
from governor.hints import Hint, Severity
from governor.messages import Hinted
from governor.policies.contract import REQUESTS, Grant
from governor.policies.learning.learned_window import SHORT, SPANS
from governor.policies.learning.rate_learner import FIRST_RATE, MAX_SPELL_PAUSE
from governor.policies.learning.server_limits import History, ServerLimits, explains, spread_of
from governor.policies.pipeline import Pipeline

#: The number of calls in each of the `SPANS` of a learned window that make a rate.
_TELLING: Final = (10, 30)


class Heard(NamedTuple):
    """What others must do, and whether the scope has other limits now, so that its pipeline must be rebuilt."""

    effects: list[Effect]
    changed: bool


def hear(ledger: Ledger, leasing: Leasing, message: Hinted, *, random: Random, sharing: Others) -> Heard:
    """Has the policies of a scope and its provider learn what an answer says, and recalls leases that it concerns.

    Draws from `random` for each wait, and no more.
    """
    pipeline = ledger.pipeline
    shared = pipeline.shared
    hints = _without_contradictions(message.hints, believed=shared.server.word.holds(ledger.clock()))
    if not all(_limits(pipeline, hint).knows(hint, shared.max_hint) for hint in hints):
        # From now on the grants of the provider are counted: none may be outstanding that is not.
        sharing.recall(shared)
    leasing.collect()
    now = ledger.clock()
    paused, changed = {"provider": False, "scope": False}, {"provider": False, "scope": False}
    denied: Hint | None = None
    is_denied = any(hint.severity is Severity.THROTTLED for hint in hints)
    for hint in hints:
        hint = _believed(hint, shared.max_hint)
        if hint.severity is Severity.THROTTLED:
            denied = hint
        spread = random.random() if hint.retry_after or hint.reset else 0.0
        limits = _limits(pipeline, hint)
        ledgers = sharing.ledgers(shared) if hint.scope == "provider" else [ledger]
        history = () if limits.knows(hint, shared.max_hint) else _history(ledgers, message.grant, hint.dimension)
        news, others = limits.hear(
            now,
            message.grant,
            hint,
            most=shared.max_hint,
            spread=spread,
            history=history,
            windows=shared.windows if hint.scope == "provider" else (),
            buckets=shared.buckets if hint.scope == "provider" else (),
            denied=is_denied,
        )
        changed[hint.scope] |= others
        if hint.retry_after and (news or hint.severity is not Severity.EXHAUSTED):
            cooldown = shared.own_cooldown() if hint.scope == "provider" else pipeline.pause_alone()
            paused[hint.scope] |= cooldown.extend(now, *_spread(hint.retry_after, spread, shared.max_hint))
    if denied is not None:
        learned = _learn(ledger, sharing, message.grant, denied, random, hints)
        paused["provider"] |= learned.paused
        changed[learned.by] |= learned.changed
    if any(paused.values()):
        leasing.recall()
    effects: list[Effect] = []
    if paused["provider"]:
        effects.append(CooldownMoved(pipeline.provider))
    if changed["provider"]:
        effects.append(ProviderChanged(pipeline.provider))
    return Heard(effects, any(changed.values()))


class _Learned(NamedTuple):
    """Whether the provider pauses for longer, and whether it, or the scope, has other limits."""

    paused: bool
    changed: bool
    by: Literal["provider", "scope"] = "provider"


def _learn(ledger: Ledger, sharing: Others, grant: Grant, denied: Hint, random: Random, hints: Sequence[Hint]) -> _Learned:
    """What a denial says about the rate of the provider, and about the word of its server. `hints` are those of its answer."""
    now = ledger.clock()
    shared = ledger.pipeline.shared
    server, word = shared.server, shared.server.word
    wait = None if denied.assumed else denied.retry_after
    succeeded = ledger.has_succeeded()
    ledger.mark_successes()
    changed = word.deny(now, grant.granted_at, wait, succeeded=succeeded) and server.forget_stated()
    used_up = (hint for hint in hints if hint.severity is Severity.EXHAUSTED and hint.dimension == REQUESTS)
    limit = next((hint.limit for hint in used_up if hint.window is None), None)
    contradicts = any(map(_leaves_requests, hints))
    ledgers = sharing.ledgers(shared)
    # A wrong guess costs a denial more. So nothing is guessed from a wait after which denials may soon be many.
    narrow = contradicts or (limit is None and not explains(hints) and (denied.retry_after or 0) >= MINUTE)
    alone = shared.parameters.gentle and narrow and _is_alone(ledger, ledgers, now)
    if alone:
        server, ledgers = ledger.pipeline.own_server, [ledger]
    calls = _calls(ledger, sharing, now) if server.learned is None else ()
    sent = _sent(server, calls, now)
    # A short wait is one of the time in which calls were sent, a second at least, and they may have begun of late.
    short = wait if wait is not None and wait <= SHORT else MINUTE
    spans = [min(span, max(now - since + short, SECOND)) for span, (_, since) in zip(SPANS, sent, strict=True)]
    rates = [units * SECOND / span for (units, _), span, least in zip(sent, spans, _TELLING, strict=True) if units >= least]
    # Few calls say nothing about a rate: a server that says how long to wait is taken at its word, until it denies again
    # although that was kept, or a rate has been learned, which was too high then. So is a short wait if requests are left.
    vague = wait is None or (contradicts and wait <= SHORT)
    again = word.repeated or server.is_slowed(now)
    told = explains(hints) or not (vague or rates)
    if told and not again and not word.broken and not server.shows_span(now, limit):
        return _Learned(False, changed)
    most = max(rates, default=FIRST_RATE)
    # Where the answer does not say how long to wait, a provider that documents a long wait counts for as long.
    lasts = denied.retry_after if wait is None and denied.retry_after is not None and denied.retry_after > SHORT else wait
    in_flight = sum(one.under_way() for one in ledgers)
    # A long wait ends with its window, and of the calls before it some were in an earlier one.
    history = calls if (lasts or 0) <= SHORT else ()
    pause, revealed = server.throttled(
        now, grant, sent=most, succeeded=succeeded, wait=lasts, limit=limit, in_flight=in_flight, history=history
    )
    paused = False
    if pause is not None and (wait is None or word.broken):
        # A wait that has proved false is four times as long each time, as a pause is that the server does not ask for.
        longest = shared.max_hint if denied.banned else MAX_SPELL_PAUSE
        pause = max(pause, min(Duration((wait or 0) << (2 * word.broken)), longest))
        paused = shared.own_cooldown().extend(now, *_spread(pause, random.random(), shared.max_hint))
    return _Learned(paused, changed or revealed, "scope" if alone else "provider")


def _leaves_requests(hint: Hint) -> bool:
    return hint.severity is Severity.NOTICE and hint.dimension == REQUESTS


def _is_alone(ledger: Ledger, ledgers: Sequence[Ledger], now: Instant) -> bool:
    """Whether a denial that does not say which limit is used up is taken for one of a limit of this scope alone.

    So it is if the other scopes of the provider have made enough calls in the last minute, and have no such limit. If the limit
    is one of the provider, one of them is denied soon.
    """
    own, every = ledger.pipeline.heard, ledger.pipeline.shared.server.accepted(now)
    counted = None if own is None else own.accepted(now)
    if own is None or counted is None or every is None:
        return False
    others = (one.pipeline.heard for one in ledgers if one is not ledger)
    used = own.is_slowed(now) or every[-1] - counted[-1] >= _TELLING[0]
    return used and not any(other.is_slowed(now) for other in others if other is not None)


def _without_contradictions(hints: Sequence[Hint], *, believed: bool) -> Sequence[Hint]:
    """The hints without what they say of limits, if the server is not believed, or denies the call although requests are left.

    Such an answer does not speak of the limit that has denied the call, or is wrong. Of other units fewer may be left than the
    call needs.
    """
    if believed and all(hint.severity is not Severity.THROTTLED for hint in hints):
        return hints
    return [
        hint._replace(limit=None, remaining=None, reset=None, window=None)
        if not believed or (hint.severity is Severity.NOTICE and hint.dimension == REQUESTS)
        else hint
        for hint in hints
    ]


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


def _history(ledgers: Sequence[Ledger], grant: Grant, unit: str) -> History:
    """The units granted in these scopes in the last 60 seconds, in order of time: those after a grant, or more, and not less.

    Only the first answer that says what remains needs them: other calls are in flight. The cap knows when requests were
    granted, and not whose they were: of those of all providers, as many count as the scopes have been granted.
    """
    if unit != REQUESTS:
        costly = ((instant, request.amount(unit)) for ledger in ledgers for instant, request in ledger.costly)
        return sorted((instant, units) for instant, units in costly if units)
    at, own = grant.granted_at, grant.request.cost
    left, found, noted = sum(ledger.counters.requests + ledger.further_units for ledger in ledgers) - own, [], False
    # The log has slots, dated by their latest grant: the grant itself may be in a later one.
    for instant, units in reversed(ledgers[0].pipeline.cap.since(Instant(0))):
        if instant <= at and not noted:
            found.append((at, own))
            noted, units = True, units - own
        taken = min(units, left)
        if taken > 0:
            found.append((instant, taken))
            left -= taken
    if not noted:
        found.append((at, own))
    return found[::-1]


def _sent(server: ServerLimits, calls: Sequence[tuple[Instant, int]], now: Instant) -> Sequence[tuple[int, Instant]]:
    """The calls in each of `SPANS`, and the first: as the learned window has counted them, or of `calls` without one."""
    if server.learned is not None:
        return server.learned.learner.window.sent(now)
    since = [[one for one in calls if one[0] >= now - span] for span in SPANS]
    return [(sum(units for _, units in one), one[0][0] if one else now) for one in since]


def _calls(ledger: Ledger, sharing: Others, now: Instant) -> Sequence[tuple[Instant, int]]:
    """The calls to the provider in the longest of `SPANS`, by the instant of their grants.

    While no rate is learned, the cap knows the calls of all providers. This one is taken to have the part of them that it has
    had of all calls so far.
    """
    part, every, counted, calls = sharing.part(ledger.pipeline.shared), 0, 0, list[tuple[Instant, int]]()
    for instant, units in ledger.pipeline.cap.since(Instant(now - SPANS[-1])):
        every += units
        if round(part * every) > counted:
            calls.append((instant, round(part * every) - counted))
            counted = round(part * every)
    return calls
