"""Loop guard: recognizes a caller that makes the same call again and again, and gets the same answer.

A call is known by the key of its fingerprint, which includes its scope and the label of its caller, and by that of its shape,
in which counters, times and identifiers are folded. A *repetition* begins soon after the answer to the same call: with no
pause of `pause` since then, in which the caller made no call, and with up to seven other calls between them. So a cycle of up
to eight calls is recognized by each of its calls; a timer that waits longer, and copies of a call that are under way at the
same time, are no repetitions. What happens depends on the answers:

- They are the same: a loop. It is warned of, then its calls are delayed, then denied for `cooldown`. After it one call is
  granted as a probe: with the same answer once more the call is denied again. A caller with a label that has had nothing but
  answers with the gist of the one before, two thirds of `similar` times in a row, is in a cycle: the calls that it has made
  twice are denied.
- They change: polling. After `repeats` of them, calls are spaced by `polling_interval`. Where runs of equal answers have
  ended before, such a call is denied only after four times as many as in the longest of them.

Only answers count. An error, a timeout, and an answer that asks to come back later say nothing.

Bound: `MAX_SEEN` keys that were seen once or twice (two generations, the older of which is dropped as a whole), `MAX_SUSPECTS`
that were repeated (the least suspicious of the oldest is dropped), and `MAX_CALLERS` labels; 16 MB at most. The error at the
bound: a repetition is missed if half of `MAX_SEEN` other keys come between, each call having two. No other call is ever
taken for a repetition, but for a collision of 64 bits.
"""

from collections.abc import Collection, Hashable
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, final

import msgspec

from governor._units import MILLISECOND, MINUTE, SECOND, Duration, DurationLike, Instant
from governor.errors import ConfigError
from governor.policies import _checks

MAX_SEEN: Final = 32_768
MAX_SUSPECTS: Final = 4_096
MAX_CALLERS: Final = 1_024
#: The length of the longest cycle that is recognized.
MAX_CYCLE: Final = 8
#: The number of calls that are delayed before the first one that is denied.
DELAYED: Final = 3
#: From so many equal answers in a row on, calls are decided on one by one.
_SUSPECT: Final = 2
#: From so many equal answers in a row on, a call may belong to a cycle.
_IN_CYCLE: Final = 2
#: A run of equal answers may become so many times as long as the longest that has ended by itself.
_LONGER: Final = 4
#: The oldest suspects among which the least suspicious is looked for.
_OLDEST: Final = 32


class Loops(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of the loop guard, which does nothing unless `enabled`. Raises `ConfigError`.

    The same call is granted `repeats` times in a row with the same answer, and calls that differ only in counters, times and
    identifiers `similar` times; then it is denied for `cooldown`. The last three are delayed before that, by `delay`, and twice
    as much each. A call counts as repeated if it begins less than `pause` after the last answer; for a caller with a label,
    `labeled_pause`. Calls whose answers change are spaced by `polling_interval` after `repeats` of them. Adapters watch the
    `methods`, in upper case.

    Durations are text or `timedelta`, from 1 microsecond to 366 days.
    """

    enabled: bool = True
    repeats: int = 8
    similar: int = 18
    pause: Duration = Duration(2 * SECOND)
    labeled_pause: Duration = Duration(10 * SECOND)
    delay: Duration = Duration(500 * MILLISECOND)
    cooldown: Duration = MINUTE
    polling_interval: Duration = Duration(100 * MILLISECOND)
    methods: frozenset[str] = frozenset({"POST", "PUT", "PATCH", "DELETE"})

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            enabled: bool = True,
            repeats: int = 8,
            similar: int = 18,
            pause: DurationLike = "2s",
            labeled_pause: DurationLike = "10s",
            delay: DurationLike = "500ms",
            cooldown: DurationLike = "1m",
            polling_interval: DurationLike = "100ms",
            methods: Collection[str] = ("POST", "PUT", "PATCH", "DELETE"),
        ) -> None: ...

    def __post_init__(self) -> None:
        _checks.integers(self)
        for field in ("repeats", "similar"):
            _checks.whole(field, getattr(self, field), minimum=DELAYED)
        for field in ("pause", "labeled_pause", "delay", "cooldown", "polling_interval"):
            _checks.span(self, field)
        msgspec.structs.force_setattr(self, "methods", frozenset(self.methods))
        for method in self.methods:
            if not method.isascii() or not method or method != method.upper():
                raise ConfigError("methods", method, "methods in upper case, for instance ['POST', 'PUT']")


class Stage(StrEnum):
    """How far a loop has gone."""

    WARNED = "warned"
    DENIED = "denied"


class Suspicion(NamedTuple):
    """What the guard says about a call: it waits for `wait`, or is denied for that time."""

    wait: Duration
    denied: bool
    #: Whether it is the first denial since the latest answer.
    first: bool = False
    #: The key by which it is known: that of the call, or that of its shape.
    key: Hashable = None


class Call(NamedTuple):
    """A call as the guard knows it: the keys of its fingerprint and its shape, its caller and its scope."""

    key: Hashable
    shape: Hashable
    caller: str | None
    scope: str = ""


@final
class _Entry:
    """The calls of one key, since the latest pause between them."""

    __slots__ = ("answer", "changes", "counted_at", "gist", "longest", "number", "pauses", "run", "scope", "stale", "until")

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.answer: bytes | None = None
        self.gist: bytes | None = None
        #: How often in a row the answer was the same, how often its gist, and how often the answer changed.
        self.run = 0
        self.stale = 0
        self.changes = 0
        #: The most equal answers in a row that another one has followed before they were denied.
        self.longest = 0
        #: When the latest answer came that counts. The calls that were under way then are no repetitions.
        self.counted_at = Instant(0)
        #: The number of the latest call among those of its caller, and the pauses that the caller had made by then.
        self.number = -1
        self.pauses = 0
        #: Until when it is denied; 0 if it was not denied.
        self.until = Instant(0)

    def begin(self, said: tuple[bytes, bytes]) -> None:
        """The first answer after a pause, and its gist."""
        self.answer, self.gist = said
        self.run = self.stale = 1
        self.changes = self.longest = 0
        self.until = Instant(0)

    def change(self, said: tuple[bytes, bytes]) -> None:
        """Another answer than before, and its gist, which may be that of the one before."""
        self.longest = 0 if self.until else max(self.longest, self.run)
        self.stale = self.stale + 1 if said[1] == self.gist else 1
        if self.stale == 1:
            self.until = Instant(0)
        self.answer, self.gist = said
        self.run = 1
        self.changes += 1


@final
class _Caller:
    """The calls of one caller: how many, the pauses between them, when the last one ended, and how many told nothing new."""

    __slots__ = ("failure", "last", "number", "pauses", "stale")

    def __init__(self, now: Instant) -> None:
        self.number = 0
        self.pauses = 0
        self.last = now
        #: The gist of the latest answer that was an error.
        self.failure: bytes | None = None
        #: How many in a row were repetitions, and had the answer that they had before.
        self.stale = 0


@final
class LoopGuard:
    """The state machine, one for a governor. Any thread may call `suspects` and `knows`."""

    __slots__ = ("_callers", "_older", "_seen", "_suspects")

    def __init__(self) -> None:
        self._seen: dict[Hashable, _Entry] = {}
        self._older: dict[Hashable, _Entry] = {}
        self._suspects: dict[Hashable, _Entry] = {}
        self._callers: dict[str | None, _Caller] = {}

    def suspects(self, call: Call) -> bool:
        """Whether the guard must be asked before this call. Any thread may look: it is one look-up in each of two entries."""
        return call.key in self._suspects or call.shape in self._suspects

    def knows(self, call: Call) -> bool:
        """Whether the call may be a repetition. Any thread may look."""
        return any(key in table for key in (call.key, call.shape) for table in (self._seen, self._older, self._suspects))

    def __len__(self) -> int:
        """The number of keys that are known."""
        return len(self._seen) + len(self._older) + len(self._suspects)

    def ask(self, now: Instant, rule: Loops, call: Call, asked_at: Instant | None = None) -> Suspicion | None:
        """Whether the call must wait, or is denied; None if neither. `asked_at`: when it asked first, if it has waited."""
        asked_at = now if asked_at is None else asked_at
        found = self._judge(now, rule, call, call.key, asked_at)
        if call.shape == call.key or (found is not None and found.denied):
            return found
        similar = self._judge(now, rule, call, call.shape, asked_at)
        return max(filter(None, (found, similar)), key=lambda each: (each.denied, each.wait), default=None)

    def _judge(self, now: Instant, rule: Loops, call: Call, key: Hashable, asked_at: Instant) -> Suspicion | None:
        entry = self._suspects.get(key)
        if entry is None:
            return None
        if now < entry.until:
            return Suspicion(Duration(entry.until - now), denied=True, key=key)
        if not self._repeats(rule, call, entry, asked_at):
            return None
        if entry.until:
            entry.until = Instant(now + rule.cooldown)  # One call is the probe.
            return None
        limit = _limit(rule, call, key)
        beyond = entry.run - max(limit, entry.longest * _LONGER)
        if call.caller is not None and entry.stale >= _IN_CYCLE and (caller := self._callers.get(call.caller)) is not None:
            beyond = max(beyond, caller.stale - _cycle(rule))
        if beyond >= 0:
            entry.until = Instant(now + rule.cooldown)
            return Suspicion(rule.cooldown, denied=True, first=True, key=key)
        due = entry.counted_at
        if beyond >= -DELAYED:
            due = Instant(due + (rule.delay << (beyond + DELAYED)))
        elif entry.changes >= limit and key == call.key:
            due = Instant(due + rule.polling_interval)
        return Suspicion(Duration(due - now), denied=False) if now < due else None

    def answered(
        self,
        now: Instant,
        rule: Loops,
        call: Call,
        asked_at: Instant,
        answer: bytes,
        *,
        gist: bytes | None = None,
        similar: bool = True,
        failed: bool = False,
    ) -> Stage | None:
        """A granted call that asked at `asked_at` was answered. Returns the stage that a loop has reached with it, if any.

        `gist` stands for the answer where only whole cycles count, and is the `answer` itself by default. `similar` says
        whether the answer tells something about calls of the same shape, and `failed` whether it is an error.
        """
        said = answer, answer if gist is None else gist
        caller = self._caller(now, call.caller)
        if asked_at - caller.last >= _pause(rule, call):
            caller.pauses += 1
        caller.last = max(now, caller.last)
        stage: Stage | None = None
        counted, repeated, early = False, False, True
        for key in (call.key, call.shape) if similar and call.shape != call.key else (call.key,):
            entry = self._learn(now, rule, call, caller, key, asked_at, said)
            if entry is None:
                continue
            half = _half(_limit(rule, call, key))
            counted, repeated, early = True, repeated or entry.stale >= _SUSPECT, early and entry.run < half
            stage = Stage.WARNED if entry.run == half else Stage.DENIED if entry.until else stage
        caller.number += 1
        alike = failed and said[1] == caller.failure  # Another call that fails as the one before it: neither new nor repeated.
        if failed:
            caller.failure = said[1]
        if counted:
            if repeated:
                caller.stale += 1
            elif not alike:
                caller.stale = 0
            if call.caller is not None and caller.stale == _half(_cycle(rule)) and early:
                return Stage.WARNED
        return stage

    def _learn(
        self,
        now: Instant,
        rule: Loops,
        call: Call,
        caller: _Caller,
        key: Hashable,
        asked_at: Instant,
        said: tuple[bytes, bytes],
    ) -> _Entry | None:
        """The entry of the key, with what was said: an answer and its gist.

        None if the call was under way together with the last one that counts.
        """
        entry = self._entry(key, call.scope)
        if entry.answer is not None and asked_at < entry.counted_at:
            if said[0] != entry.answer:
                entry.change(said)
            return None
        if entry.answer is None or not self._repeats(rule, call, entry, asked_at, answered=True):
            entry.begin(said)
        elif said[0] != entry.answer:
            entry.change(said)
        else:
            entry.run += 1
            entry.stale += 1
        if entry.until:
            entry.until = Instant(now + rule.cooldown)  # The probe.
        entry.counted_at = now
        entry.number, entry.pauses = caller.number, caller.pauses
        polled = key == call.key and entry.changes >= rule.repeats
        self._place(key, entry, suspect=entry.stale >= _SUSPECT or polled)
        return entry

    def _repeats(self, rule: Loops, call: Call, entry: _Entry, asked_at: Instant, *, answered: bool = False) -> bool:
        """Whether a call that asked at this time repeats those of the entry."""
        if entry.until:
            return asked_at < entry.until + rule.cooldown
        caller = self._callers.get(call.caller)
        if caller is not None and 0 < caller.number - entry.number <= MAX_CYCLE:
            return entry.pauses == caller.pauses and (answered or asked_at - caller.last < _pause(rule, call))
        return asked_at - entry.counted_at < _pause(rule, call)

    def forget(self, scope: str) -> None:
        """Forgets the calls of a scope that were repeated. Any thread may look meanwhile."""
        self._suspects = {key: entry for key, entry in self._suspects.items() if entry.scope != scope}

    # The tables.

    def _caller(self, now: Instant, label: str | None) -> _Caller:
        found = self._callers.pop(label, None)
        if found is None:
            found = _Caller(now)
            if len(self._callers) >= MAX_CALLERS:
                del self._callers[next(iter(self._callers))]
        self._callers[label] = found  # The latest is the last to be dropped.
        return found

    def _entry(self, key: Hashable, scope: str) -> _Entry:
        return self._suspects.get(key) or self._seen.get(key) or self._older.get(key) or _Entry(scope)

    def _place(self, key: Hashable, entry: _Entry, *, suspect: bool) -> None:
        suspects = self._suspects
        if suspect:
            if key not in suspects:
                if len(suspects) >= MAX_SUSPECTS:
                    oldest = islice(suspects.items(), _OLDEST)
                    del suspects[min(oldest, key=lambda each: (each[1].until, each[1].run, each[1].counted_at))[0]]
                suspects[key] = entry
                self._seen.pop(key, None)
                self._older.pop(key, None)
        elif key not in self._seen:
            suspects.pop(key, None)
            self._older.pop(key, None)
            if len(self._seen) >= MAX_SEEN // 2:
                self._older, self._seen = self._seen, {}
            self._seen[key] = entry


def _pause(rule: Loops, call: Call) -> Duration:
    return rule.pause if call.caller is None else rule.labeled_pause


def _limit(rule: Loops, call: Call, key: Hashable) -> int:
    return rule.repeats if key == call.key else rule.similar


def _cycle(rule: Loops) -> int:
    """How many answers in a row that tell nothing new make a cycle."""
    return rule.similar * 2 // 3


def _half(limit: int) -> int:
    return (limit + 1) // 2
