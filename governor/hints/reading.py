"""Reading of answers: the hints that one answer gives.

An answer is read in this order: whether it says "rate limited"; the state of each limit; how long to wait. Where two values
disagree, the strictest holds: the least that remains, the latest reset, the longest wait.

What reads fields RateLimit, and what reads the wording of denials, is loaded with the first answer that has them.
"""

from collections.abc import Iterable
from typing import Final

from governor._units import MILLISECOND, SECOND, Duration
from governor.hints.body import Body, texts
from governor.hints.dialect import Condition, Dialect, LimitReader, LimitSources, PolicyFields, dialect_of
from governor.hints.forms import Form, form_of
from governor.hints.hint import BAN_WAIT, MAX_HINT, Headers, Hint, Scope, Severity, agree
from governor.hints.patterns import fields_reader, wording_reader
from governor.hints.retry_after import ALWAYS_MEANT, MEANT_OF_JOBS, denied_wait, longest_wait
from governor.hints.values import (
    MAX_FIELD,
    MAX_LENGTH,
    VERY_LONG,
    Clock,
    count,
    joined,
    least,
    listed,
    policies_in,
    ratio,
    refilled_in,
    shortened,
    span,
    split,
    values,
)

#: Hints of one answer; further ones are dropped, after those that forbid calls.
MAX_HINTS: Final = 32


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
    if not form.speaks and status < 400 and body is None:
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

    __slots__ = ("_body", "_clock", "_dialect", "_has_guessed", "_headers", "_max_hint", "_status")

    def __init__(
        self, dialect: Dialect, status: int, headers: Headers, body: bytes | None, now: float, max_hint: Duration
    ) -> None:
        self._dialect = dialect
        self._status = status
        self._headers = headers
        self._clock = Clock(headers, now)
        self._max_hint = max_hint
        self._body = None if body is None else Body(body)
        #: Whether a limit is held for as long as its window, because its reset is not said.
        self._has_guessed = False

    def hints(self, form: Form) -> tuple[Hint, ...]:
        throttled = self._status in self._dialect.throttled_statuses or self.is_throttled()
        scope = self._scope() if self._dialect.provider_wide else self._dialect.scope
        found: list[Hint] = []
        for reader in form.throttled_readers if throttled else form.readers:
            if self._body is not None or not reader.only_in_body:
                found += self._limit(reader, scope, throttled)
        for field in form.fields:
            found += self._fields(field, self._headers.get(field.state), scope)
        if throttled:
            found.append(self._denial(form, found))
        else:
            if self._has_guessed:
                agree(found, -1)
            if (form.waits or self._dialect.usage or self._body is not None) and (wait := self._stated_wait(form)) > 0:
                found.append(Hint("requests", retry_after=self._span(wait), severity=_PAUSE))
        if len(found) > MAX_HINTS:
            found.sort(key=lambda hint: hint.retry_after or 0, reverse=True)
            del found[MAX_HINTS:]
        return tuple(found)

    def _denial(self, form: Form, found: list[Hint]) -> Hint:
        """The wait of an answer that says "rate limited", beside the limits that it states."""
        wait, assumed = self._wait(form), False
        if self._has_guessed:
            agree(found, wait)
        unsaid = wait <= 0
        if unsaid:
            wait, assumed = self._until(found)
        else:
            # A limit of which the answer does not say what remains may be the one that denies the call.
            for hint in found:
                if hint.remaining is None and hint.reset is not None and hint.reset > wait:
                    wait = hint.reset
        limit, window, banned = None, None, False
        if self._body is not None:
            wording = wording_reader()
            limit, window = wording.limit_of(self._body.leaves()) or (None, None)
            banned = unsaid and wording.says_ban(self._body.leaves())
        if banned:
            wait, assumed = max(wait, BAN_WAIT), False
        held = Duration(min(wait, self._max_hint))
        return Hint("requests", limit, None, None, held, _THROTTLED, window=window, assumed=assumed, banned=banned)

    def is_throttled(self) -> bool:
        if self._status in self._dialect.throttled_statuses or self.holds_one_of(self._dialect.throttled):
            return True
        if self._status >= 400:
            wording = wording_reader()
            code = next((said for name in _CODES if (said := self._headers.get(name)) is not None), None)
            if (code is not None and wording.is_code(code[:MAX_LENGTH])) or self._headers.get(_DENIED) is not None:
                return True
            if self._body is None or not wording.says_throttled(self._body.leaves()):
                return False
            # Of a resource, words such as "quota exceeded" do not mean the rate of calls, unless a wait is beside them.
            return self._status not in _OF_A_RESOURCE or wording.wait_of(self._body.leaves(), self._clock) > 0
        if self._body is None:
            return False
        return bool(wording_reader().says_failed(self._body.document()))

    def holds_one_of(self, conditions: Iterable[Condition]) -> bool:
        for condition in conditions:
            if (not condition.status or self._status in condition.status) and self._holds(condition):
                return True
        return False

    def _holds(self, condition: Condition) -> bool:
        if condition.where is None:
            return True
        if self._body is None if condition.where[0] == "$" else self._headers.get(condition.where) is None:
            return condition.absent
        said = [text[:MAX_FIELD].strip().lower() for text in self._texts(condition.where)]
        if condition.absent:
            return not said
        if condition.equals:
            return any(text in condition.equals for text in said)
        if condition.contains:
            return any(part in text for text in said for part in condition.contains)
        return bool(said)

    def _scope(self) -> Scope:
        return "provider" if self.holds_one_of(self._dialect.provider_wide) else self._dialect.scope

    def _limit(self, reader: LimitReader, scope: Scope, throttled: bool) -> list[Hint]:
        """The state of a limit, or of several that are said in one header; empty if the answer does not say it."""
        sources = reader.sources
        get = self._first if reader.in_body else self._headers.get
        text = None if sources.remaining is None else get(sources.remaining)
        if (sources.used is not None or (text is not None and ("," in text or "/" in text or "{" in text))) and (
            several := self._several(reader, scope)
        ):
            return several
        remaining = None if text is None else least(text)
        stated = None if sources.limit is None else get(sources.limit)
        limit = None if stated is None else least(stated)
        reset = -1
        for source in sources.reset:
            if (until := self._latest(source, reader.unit)) > reset:
                reset = until
        if reader.is_calculated:
            limit, remaining, reset = self._calculated(sources, throttled, limit, remaining, reset)
        if remaining is None and limit is None and reset < 0:
            return []
        window = reader.window
        if sources.interval is not None or (stated is not None and ";" in stated):
            window = self._window(reader, limit, stated)
        name = None if sources.name is None else get(sources.name)
        found = [self._state(sources.dimension, limit, remaining, reset, window, name, scope)]
        if stated is not None and ";" in stated:  # The limits beside the one of which it is known what remains.
            others = [one for one in policies_in(stated, self._clock) if one[0] != limit]
            found += [self._state(sources.dimension, quota, None, -1, span, None, scope) for quota, span in others]
        return found

    def _calculated(
        self, sources: LimitSources, throttled: bool, limit: int | None, remaining: int | None, reset: int
    ) -> tuple[int | None, int | None, int]:
        """The limit, what remains and the reset, of which some follow from others: what is used, what comes back."""
        get = self._first
        if sources.ratio is not None:
            used, of = ratio(get(sources.ratio) or "")
        else:
            used, of = (get(source or "-") or "" for source in (sources.used, sources.limit))
        spent, all_of = count(used.strip()), count(of.strip())
        if spent is not None and all_of:
            limit, remaining = all_of, max(0, all_of - spent)
        if throttled and sources.refill is not None:
            needed = 1 if sources.needed is None else count(get(sources.needed) or "1") or 1
            if (refilled := refilled_in(get(sources.refill), needed - (remaining or 0))) > 0:
                remaining, reset = 0, max(reset, refilled)
        return limit, remaining, reset

    def _several(self, reader: LimitReader, scope: Scope) -> list[Hint]:
        """The states of limits that are said in one header each, `1, 15000`: as many of each part, in the same order."""
        sources, get = reader.sources, self._headers.get
        parted = split if reader.windows else listed
        limits, used, left = (parted(get(source or "")) for source in (sources.limit, sources.used, sources.remaining))
        resets = parted(next((text for source in sources.reset if (text := get(source)) is not None), None))
        return [
            self._state(sources.dimension, limit, remaining, _span(until, self._clock, reader.unit), window, None, scope)
            for limit, remaining, until, window in joined(limits, used, left, resets, reader.windows)[:MAX_HINTS]
        ]

    def _fields(self, field: PolicyFields, text: str | None, scope: Scope) -> list[Hint]:
        """The states that a field RateLimit says, or its equivalent of a provider; without one, its policies."""
        reading = fields_reader()
        none, said = reading.NO_POLICY, self._headers.get(field.policy)
        known = reading.policies(said[:_MAX_STATED]) if said is not None else {}
        stated = [] if text is None else reading.states(text)
        later = -1 if field.reset is None or text is None else self._latest(field.reset, SECOND)
        found, left = [], dict(known)
        for name, remaining, until, own in stated:
            policy = left.pop(key := name or str(own.limit or ""), None) or known.get(key)
            if policy is None and len(known) == 1 and (not name or len(stated) == 1 or next(iter(known)).isdecimal()):
                policy = next(iter(known.values()))
                left.clear()
            policy = policy or none
            limit, window, dimension = policy
            if own is not none:
                limit = limit if own.limit is None else own.limit
                window = own.window if window < 0 else window
                dimension = dimension or own.unit
            if remaining is None and limit is None:
                continue
            reset = _span(until, self._clock) if isinstance(until, str) else until
            reset = max(reset, later) if later > 0 else reset
            found.append(self._state(dimension or "requests", limit, remaining, reset, window, name or None, scope))
        for name, (limit, window, dimension) in left.items():
            if limit is not None:
                said = None if name.isdecimal() else name or None
                found.append(self._state(dimension or "requests", limit, None, -1, window, said, scope))
        return found

    def _state(
        self, dimension: str, limit: int | None, remaining: int | None, reset: int, window: int, name: str | None, scope: Scope
    ) -> Hint:
        """A hint about a limit whose `reset` and `window` are negative if they are not known."""
        if limit == 0:
            limit = remaining = None
        most = self._max_hint
        exhausted = remaining == 0
        until = None if reset < 0 else reset if reset <= most else most
        wait = None
        if exhausted:
            wait = self._span(reset if reset > 0 else window if window > 0 else self._dialect.wait)
            self._has_guessed = self._has_guessed or reset <= 0 < window
        return Hint(
            dimension if len(dimension) <= MAX_LENGTH else dimension[:MAX_LENGTH],
            limit,
            remaining,
            None if until is None else Duration(until),
            wait,
            _EXHAUSTED if exhausted else _NOTICE,
            scope,
            None if window <= 0 or window == VERY_LONG else Duration(window),
            None if name is None else name if len(name) <= MAX_LENGTH and name.isascii() else shortened(name),
            exhausted and reset <= 0 and window <= 0,
        )

    def _window(self, reader: LimitReader, limit: int | None, stated: str | None) -> int:
        """The window of a limit, which the answer may have `stated`; -1 if it is not known."""
        interval = reader.sources.interval
        unit = MILLISECOND if reader.sources.interval_unit == "ms" else SECOND
        if interval is not None and (policy := self._headers.get(interval)) is not None and ";" in policy:
            stated = policy
        elif interval is not None and (said := self._latest(interval, unit)) > 0:
            return said
        if reader.window > 0 or stated is None or ";" not in stated:
            return reader.window
        return next((window for quota, window in policies_in(stated, self._clock) if quota == limit), -1)

    def _stated_wait(self, form: Form, *, denied: bool = False) -> int:
        """The longest wait that Retry-After, its relatives, and the dialect's values in bodies ask for; -1 if none does."""
        longest = -1
        of_a_job = form.waits and not denied and self._status < 400 and self._is_of_a_job()
        meant = MEANT_OF_JOBS if of_a_job else ALWAYS_MEANT
        for name, unit in form.waits:
            # Below 400 only the standard, and gRPC, say that a wait is meant for the next call.
            if name in meant or self._status >= 400:
                text = self._headers.get(name)
                if text is not None and (wait := longest_wait(text, self._clock, unit)) > longest:
                    longest = wait
        for name in self._dialect.usage:
            if (text := self._headers.get(name)) is not None:
                longest = max(longest, wording_reader().used_up(text, self._clock, self._dialect.wait))
        if self._body is not None:
            for source in self._dialect.waits:
                if source[0] == "$":
                    longest = max(longest, self._latest(source, SECOND))
            if self._status >= 500 or self._status == _TOO_LARGE:
                longest = max(longest, wording_reader().retry_of(self._body.leaves(), self._clock))
        return longest

    def _is_of_a_job(self) -> bool:
        """Whether the answer is about work that is done later, so that its `Retry-After` says when to ask for the result."""
        names = (*_JOBS, _LOCATION) if self._status == _ACCEPTED else _JOBS
        return any(self._headers.get(name) is not None for name in names)

    def _wait(self, form: Form) -> int:
        """The longest wait that an answer asks for which says "rate limited"; -1 if it asks for none."""
        longest = self._stated_wait(form, denied=True)
        for name, unit in form.denied_waits:
            longest = max(longest, denied_wait(name, self._headers.get(name) or "", self._clock, unit))
        if self._body is not None:
            longest = max(longest, wording_reader().wait_of(self._body.leaves(), self._clock))
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
        return [] if self._body is None else texts(self._body.document(), source)

    def _first(self, source: str) -> str | None:
        return self._headers.get(source) if source[0] != "$" else next(iter(self._texts(source)), None)

    def _latest(self, source: str, unit: int) -> int:
        """The latest reset that the source says, as a span; -1 if it says none."""
        if source[0] != "$":
            text = self._headers.get(source)
            if text is None:
                return -1
            text = text[:MAX_FIELD]
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
_PAUSE: Final = Severity.PAUSE
_THROTTLED: Final = Severity.THROTTLED
#: Characters of a field RateLimit-Policy that is read: it is kept for the next answer.
_MAX_STATED: Final = 2_048
#: Statuses about a resource.
_OF_A_RESOURCE: Final = frozenset({404, 405, 409, 410, 415})
#: A status that the standard lets have a `Retry-After`, as those of the server: older gateways deny calls with it.
_TOO_LARGE: Final = 413
#: The headers that name work which is done later; one of them does so only in the answer that says that a call was accepted.
_JOBS: Final = ("operation-location", "azure-asyncoperation")
_LOCATION: Final = "location"
_ACCEPTED: Final = 202
#: Headers that say the code of an error.
_CODES: Final = ("x-amzn-errortype", "x-ms-error-code", "x-error-code", "x-error", "x-mashery-error-code")
#: What Envoy adds to its denials, whose status can be set.
_DENIED: Final = "x-envoy-ratelimited"


def _span(text: str, clock: Clock, unit: int = SECOND) -> int:
    wait = span(text, clock, unit=unit) if text else None
    return -1 if wait is None else wait
