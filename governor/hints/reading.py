"""From an answer to hints.

An answer is read in this order: whether it says "rate limited"; the state of each limit; how long to wait. Where two values
disagree, the strictest holds: the least that remains, the latest reset, the longest wait.
"""

import re
from collections.abc import Iterable
from typing import Final, Literal

from governor._units import SECOND, Duration
from governor.hints.body import decode, texts
from governor.hints.dialect import Condition, Dialect, LimitReader, PolicyFields, dialect_of
from governor.hints.forms import Form, form_of
from governor.hints.hint import MAX_HINT, Headers, Hint, Severity
from governor.hints.ratelimit_fields import NO_POLICY, State, policies, states
from governor.hints.retry_after import RETRY_AFTER, longest_wait
from governor.hints.values import MAX_FIELD, VERY_LONG, Clock, count, least, span, values

#: Hints of one answer; further ones are dropped, after those that forbid calls.
MAX_HINTS: Final = 32
_MAX_NAME: Final = 128

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
    form = form_of(dialect, headers)
    if not form.speaks and status < 400 and (body is None or not dialect.reads_body):
        return ()
    return _Answer(dialect, status, headers, body, now, max_hint).hints(form)


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

    __slots__ = ("_body", "_clock", "_decoded", "_dialect", "_has_body", "_headers", "_max_hint", "_status")

    def __init__(
        self, dialect: Dialect, status: int, headers: Headers, body: bytes | None, now: float, max_hint: Duration
    ) -> None:
        self._dialect = dialect
        self._status = status
        self._headers = headers
        self._clock = Clock(headers, now)
        self._max_hint = max_hint
        self._body = body
        self._has_body = body is not None
        self._decoded: object = None

    def hints(self, form: Form) -> tuple[Hint, ...]:
        get = self._headers.get
        throttled = self.is_throttled()
        scope = self._scope()
        readers = form.throttled_readers if throttled else form.readers
        found = [hint for reader in readers if (hint := self._limit(reader, scope)) is not None]
        for field in form.fields:
            found += self._fields(field, get(field.state), scope)
        wait, assumed = self._wait(form, throttled), False
        if throttled and wait <= 0:
            wait, assumed = self._until(found)
        if throttled or wait > 0:
            severity = Severity.THROTTLED if throttled else Severity.PAUSE
            found.append(Hint("requests", retry_after=self._span(wait), severity=severity, assumed=assumed))
        if len(found) > MAX_HINTS:
            found.sort(key=lambda hint: hint.retry_after or 0, reverse=True)
        return tuple(found[:MAX_HINTS])

    def is_throttled(self) -> bool:
        return self._status in self._dialect.throttled_statuses or self.holds_one_of(self._dialect.throttled)

    def holds_one_of(self, conditions: Iterable[Condition]) -> bool:
        for condition in conditions:
            if (not condition.status or self._status in condition.status) and self._holds(condition):
                return True
        return False

    def _holds(self, condition: Condition) -> bool:
        if condition.where is None:
            return True
        said = [text.strip().lower() for text in self._texts(condition.where)]
        if condition.absent:
            return not said
        if condition.equals:
            return any(text in condition.equals for text in said)
        if condition.contains:
            return any(part in text for text in said for part in condition.contains)
        return bool(said)

    def _scope(self) -> Scope:
        wide = self._dialect.provider_wide
        return "provider" if wide and self.holds_one_of(wide) else self._dialect.scope

    def _limit(self, reader: LimitReader, scope: Scope) -> Hint | None:
        """The state of a limit; None if the answer does not say it."""
        sources = reader.sources
        get = self._first if reader.in_body else self._headers.get
        remaining = limit = None
        if sources.remaining is not None and (text := get(sources.remaining)) is not None:
            remaining = least(text)
        stated = None if sources.limit is None else get(sources.limit)
        if stated is not None:
            limit = least(stated)
        if sources.ratio is not None and (ratio := get(sources.ratio)) is not None:
            used, _, of = ratio.partition("/")
            spent, all_of = count(used.strip()), count(of.strip())
            if spent is not None and all_of:
                limit, remaining = all_of, max(0, all_of - spent)
        reset = -1
        for source in sources.reset:
            if (until := self._latest(source, reader.unit)) > reset:
                reset = until
        if remaining is None and limit is None and reset < 0:
            return None
        name = None if sources.name is None else get(sources.name)
        return self._state(sources.dimension, limit, remaining, reset, self._window(reader, limit, stated), name, scope)

    def _fields(self, field: PolicyFields, text: str | None, scope: Scope) -> list[Hint]:
        """The states that a field RateLimit says, or its equivalent of a provider; without one, its policies."""
        said = self._headers.get(field.policy)
        known = policies(said[:_MAX_STATED]) if said is not None else {}
        stated = [State(name, None, "", NO_POLICY) for name in known] if text is None else states(text)
        later = -1 if field.reset is None or text is None else self._latest(field.reset, SECOND)
        found = []
        for name, remaining, until, own in stated:
            policy = known.get(name)
            if policy is None:
                policy = next(iter(known.values())) if len(known) == 1 and (not name or "" in known) else NO_POLICY
            limit = policy.limit if own.limit is None else own.limit
            if remaining is None and limit is None:
                continue
            reset = _span(until, self._clock) if isinstance(until, str) else until
            window = own.window if policy.window < 0 else policy.window
            dimension = policy.unit or own.unit or "requests"
            found.append(self._state(dimension, limit, remaining, max(reset, later), window, name or None, scope))
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
            _EXHAUSTED if exhausted else _NOTICE,
            scope,
            None if window <= 0 or window == VERY_LONG else Duration(window),
            None if name is None else name[:_MAX_NAME],
            exhausted and reset <= 0 and window <= 0,
        )

    def _window(self, reader: LimitReader, limit: int | None, stated: str | None) -> int:
        """The window of a limit, which the answer may have `stated`; -1 if it is not known."""
        interval = reader.sources.interval
        if interval is not None and (said := self._latest(interval, SECOND)) > 0:
            return said
        if reader.window > 0 or stated is None or ";" not in stated:
            return reader.window
        # An old draft of the IETF adds the policies to the limit: `100, 100;w=60`.
        found = _OLD_POLICY.findall(stated, 0, MAX_FIELD)
        return next((_span(window, self._clock) for quota, window in found if count(quota) == limit), -1)

    def _wait(self, form: Form, throttled: bool) -> int:
        """The longest wait that the answer asks for; -1 if it asks for none."""
        longest = -1
        for name, unit in form.waits:
            text = self._headers.get(name)
            # Below 400 only the standard says that a wait is meant for the next call.
            if text is not None and (name == RETRY_AFTER or self._status >= 400):
                longest = max(longest, longest_wait(text, self._clock, unit))
        if throttled:
            for source in self._dialect.waits:
                if self._has_body or source[0] != "$":
                    longest = max(longest, self._latest(source, SECOND))
        return longest

    def _until(self, found: list[Hint]) -> tuple[int, bool]:
        """The wait after an answer that says "rate limited" and not for how long, and whether that is assumed.

        It is the latest reset of the limits of which nothing remains, or of which the answer does not say what remains. If
        units of all limits remain, the limit that denied the call is not among them. A reset that has passed says nothing.
        """
        waits = {hint: wait for hint in found if not hint.remaining and (wait := hint.retry_after or hint.reset)}
        return max((self._dialect.wait, *waits.values())), all(hint.assumed for hint in waits)

    def _texts(self, source: str) -> list[str]:
        if source[0] != "$":
            text = self._headers.get(source)
            return [] if text is None else [text]
        if not self._has_body:
            return []
        if self._body is not None:
            self._decoded = decode(self._body)
            self._body = None
        return [] if self._decoded is None else texts(self._decoded, source)

    def _first(self, source: str) -> str | None:
        return self._headers.get(source) if source[0] != "$" else next(iter(self._texts(source)), None)

    def _latest(self, source: str, unit: int) -> int:
        """The latest reset that the source says, as a span; -1 if it says none."""
        if source[0] != "$":
            text = self._headers.get(source)
            if text is None:
                return -1
            if "," not in text:
                wait = span(text.strip(' "'), self._clock, unit=unit)
                return -1 if wait is None else wait
        waits = [_span(value, self._clock, unit) for text in self._texts(source) for value in values(text)]
        return max(waits, default=-1)

    def _span(self, wait: int) -> Duration:
        return Duration(wait if 0 <= wait <= self._max_hint else self._max_hint if wait > 0 else 0)


# Copies: a look-up in an enumeration costs as much as reading a number.
_EXHAUSTED: Final = Severity.EXHAUSTED
_NOTICE: Final = Severity.NOTICE
#: Characters of a field RateLimit-Policy that is read: it is kept for the next answer.
_MAX_STATED: Final = 2_048
_OLD_POLICY: Final = re.compile(r"([0-9]{1,15})\s*;\s*w=([0-9]{1,15})")


def _span(text: str, clock: Clock, unit: int = SECOND) -> int:
    wait = span(text, clock, unit=unit) if text else None
    return -1 if wait is None else wait
