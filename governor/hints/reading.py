"""From an answer to hints.

An answer is read in this order: whether it says "rate limited"; the state of each limit; how long to wait. Where two values
disagree, the strictest holds: the least that remains, the latest reset, the longest wait.
"""

import re
from collections.abc import Iterable
from typing import Final, Literal

from governor._units import MILLISECOND, SECOND, Duration, to_duration
from governor.hints.body import decode, texts
from governor.hints.dialect import STANDARD, Condition, Dialect, LimitSources, dialect_of
from governor.hints.hint import MAX_HINT, Headers, Hint, Severity
from governor.hints.ratelimit_fields import Item, items, policies
from governor.hints.retry_after import WAITS, longest_wait
from governor.hints.values import MAX_FIELD, VERY_LONG, Clock, count, span, values

#: Hints of one answer; further ones are dropped, after those that forbid calls.
MAX_HINTS: Final = 32
_MAX_NAME: Final = 128
_UNIT: Final = {"s": SECOND, "ms": MILLISECOND}

Scope = Literal["scope", "provider"]


def read_hints(
    provider: str | Dialect,
    status: int,
    headers: Headers,
    *,
    now: float,
    body: bytes | None = None,
    max_hint: Duration = MAX_HINT,
) -> tuple[Hint, ...]:
    """What an answer says about the limits of the provider; empty for most answers.

    `provider` names the dialect: an unknown name is read as generically as possible. `now` is in seconds since 1970, and holds
    where the answer has no `Date`. A `body` is read if it is JSON of at most 64 KiB. No span of a hint is longer than
    `max_hint`. Raises nothing, whatever the answer says.
    """
    dialect = dialect_of(provider) if isinstance(provider, str) else provider
    if status < 400 and (body is None or not dialect.reads_body):
        get = headers.get
        for marker in dialect.markers:
            if get(marker) is not None:
                break
        else:
            return ()
    return _Answer(dialect, status, headers, body, now, max_hint).hints()


def is_throttled(provider: str | Dialect, status: int, headers: Headers, body: bytes | None = None) -> bool:
    """Whether the answer denies the call as rate limited: a 429, and what else the provider says in its dialect."""
    dialect = dialect_of(provider) if isinstance(provider, str) else provider
    return _Answer(dialect, status, headers, body, 0.0, MAX_HINT).is_throttled()


def counts_toward_ban(provider: str | Dialect, status: int, headers: Headers) -> bool:
    """Whether the provider counts the answer before it bans a client: statuses 401, 403 and 429, unless it says otherwise."""
    dialect = dialect_of(provider) if isinstance(provider, str) else provider
    if status not in dialect.ban.statuses:
        return False
    return not _Answer(dialect, status, headers, None, 0.0, MAX_HINT).holds_one_of(dialect.ban.exempt)


class _Answer:
    """An answer while it is read."""

    __slots__ = ("_body", "_clock", "_decoded", "_dialect", "_headers", "_max_hint", "_status")

    def __init__(
        self, dialect: Dialect, status: int, headers: Headers, body: bytes | None, now: float, max_hint: Duration
    ) -> None:
        self._dialect = dialect
        self._status = status
        self._headers = headers
        self._clock = Clock(headers, now)
        self._max_hint = max_hint
        self._body = body
        self._decoded: object = None

    def hints(self) -> tuple[Hint, ...]:
        throttled = self.is_throttled()
        scope = self._scope()
        found = [
            *(hint for limit in self._dialect.limits if (hint := self._limit(limit, scope, throttled)) is not None),
            *(
                hint
                for field in (STANDARD, *self._dialect.fields)
                for hint in self._fields(field.state, field.policy, field.reset, scope)
            ),
        ]
        wait = self._wait(throttled)
        if throttled and wait <= 0:
            wait = self._until(found)
        if throttled or wait > 0:
            severity = Severity.THROTTLED if throttled else Severity.PAUSE
            found.append(Hint("requests", retry_after=self._span(wait), severity=severity))
        if len(found) > MAX_HINTS:
            found.sort(key=lambda hint: hint.retry_after or 0, reverse=True)
        return tuple(found[:MAX_HINTS])

    def is_throttled(self) -> bool:
        return self.holds_one_of(self._dialect.throttled)

    def holds_one_of(self, conditions: Iterable[Condition]) -> bool:
        return any(self._holds(condition) for condition in conditions)

    def _holds(self, condition: Condition) -> bool:
        if condition.status and self._status not in condition.status:
            return False
        if condition.source is None:
            return True
        said = [text.strip().lower() for text in self._texts(condition.source)]
        if condition.absent:
            return not said
        if condition.equals:
            return any(text in condition.equals for text in said)
        if condition.contains:
            return any(part in text for text in said for part in condition.contains)
        return bool(said)

    def _scope(self) -> Scope:
        return "provider" if self.holds_one_of(self._dialect.provider_wide) else self._dialect.scope

    def _limit(self, sources: LimitSources, scope: Scope, throttled: bool) -> Hint | None:
        """The state of a limit; None if the answer does not say it."""
        remaining = self._least(sources.remaining)
        limit = self._least(sources.limit)
        if sources.ratio is not None and (ratio := self._first(sources.ratio)) is not None:
            used, _, of = ratio.partition("/")
            spent, all_of = count(used.strip()), count(of.strip())
            if spent is not None and all_of:
                limit, remaining = all_of, max(0, all_of - spent)
        if remaining is None and (not throttled or not sources.reset) and (limit is None or sources.remaining is not None):
            return None
        reset = max((self._latest(source, _UNIT[sources.unit]) for source in sources.reset), default=-1)
        if remaining is None and limit is None and reset < 0:
            return None
        window = self._window(sources, limit)
        return self._state(sources.dimension, limit, remaining, reset, window, self._first(sources.name), scope)

    def _fields(self, state: str, policy: str, reset_source: str | None, scope: Scope) -> list[Hint]:
        """The states that a field RateLimit says, or its equivalent of a provider."""
        text, said = self._headers.get(state), self._headers.get(policy)
        if text is None and said is None:
            return []
        known = policies(said[:_MAX_STATED]) if said is not None else {}
        stated = [Item(name, {}) for name, _ in known.items()] if text is None else items(text)
        later = -1 if reset_source is None else self._latest(reset_source, SECOND)
        found = []
        for name, parameters in stated:
            quota = known.get(name) or (next(iter(known.values())) if len(known) == 1 and (not name or "" in known) else {})
            remaining = count(parameters.get("r", ""))
            limit = count(parameters.get("q") or quota.get("q", ""))
            if remaining is None and limit is None:
                continue
            reset = max(_span(parameters.get("t", ""), self._clock), -1 if text is None else later)
            window = _span(quota.get("w") or parameters.get("w", ""), self._clock)
            dimension = quota.get("qu") or parameters.get("qu") or "requests"
            found.append(self._state(dimension, limit, remaining, reset, window, name or None, scope))
        return found

    def _state(
        self, dimension: str, limit: int | None, remaining: int | None, reset: int, window: int, name: str | None, scope: Scope
    ) -> Hint:
        """A hint about a limit whose `reset` and `window` are negative if they are not known."""
        exhausted = remaining == 0 and limit != 0
        wait = reset if reset > 0 else window if window > 0 else self._dialect.wait
        return Hint(
            dimension[:_MAX_NAME],
            limit or None,
            None if limit == 0 else remaining,
            None if reset < 0 else self._span(reset),
            self._span(wait) if exhausted else None,
            Severity.EXHAUSTED if exhausted else Severity.NOTICE,
            scope,
            None if window <= 0 or window == VERY_LONG else Duration(window),
            None if name is None else name[:_MAX_NAME],
        )

    def _window(self, sources: LimitSources, limit: int | None) -> int:
        if sources.interval is not None and (said := self._latest(sources.interval, SECOND)) > 0:
            return said
        if sources.window is not None:
            return to_duration(sources.window, field="window")
        # An old draft of the IETF adds the policies to the limit: `100, 100;w=60`.
        stated = self._first(sources.limit) or ""
        found = _OLD_POLICY.findall(stated, 0, MAX_FIELD) if ";" in stated else []
        return next((_span(window, self._clock) for quota, window in found if count(quota) == limit), -1)

    def _wait(self, throttled: bool) -> int:
        """The longest wait that the answer asks for; -1 if it asks for none."""
        longest = -1
        for name, unit in WAITS if self._status >= 400 else WAITS[:1]:
            text = self._headers.get(name)
            if text is not None:
                longest = max(longest, longest_wait(text, self._clock, unit))
        if throttled:
            longest = max((longest, *(self._latest(source, SECOND) for source in self._dialect.waits)))
        return longest

    def _until(self, found: list[Hint]) -> int:
        """The wait after an answer that says "rate limited" and not for how long, from what it says about limits.

        It is the latest reset of the limits of which nothing remains, or of which the answer does not say what remains. If
        units of all limits remain, the limit that denied the call is not among them.
        """
        waits = [hint.retry_after or hint.reset for hint in found if not hint.remaining]
        return max((self._dialect.wait, *(wait for wait in waits if wait)))

    def _texts(self, source: str) -> list[str]:
        if source[0] != "$":
            text = self._headers.get(source)
            return [] if text is None else [text]
        if self._body is not None:
            self._decoded = decode(self._body)
            self._body = None
        return [] if self._decoded is None else texts(self._decoded, source)

    def _first(self, source: str | None) -> str | None:
        return None if source is None else next(iter(self._texts(source)), None)

    def _least(self, source: str | None) -> int | None:
        """The smallest number of units that the source says; None if it says none."""
        if source is None:
            return None
        found = [units for text in self._texts(source) for value in values(text) if (units := count(value)) is not None]
        return min(found, default=None)

    def _latest(self, source: str, unit: int) -> int:
        """The latest reset that the source says, as a span; -1 if it says none."""
        found = [_span(value, self._clock, unit) for text in self._texts(source) for value in values(text)]
        return max(found, default=-1)

    def _span(self, wait: int) -> Duration:
        return Duration(min(max(wait, 0), self._max_hint))


#: Characters of a field RateLimit-Policy that is read: it is kept for the next answer.
_MAX_STATED: Final = 2_048
_OLD_POLICY: Final = re.compile(r"([0-9]{1,15})\s*;\s*w=([0-9]{1,15})")


def _span(text: str, clock: Clock, unit: int = SECOND) -> int:
    wait = span(text, clock, unit=unit) if text else None
    return -1 if wait is None else wait
