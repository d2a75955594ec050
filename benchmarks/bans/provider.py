"""The model of a provider: decides about each request on its arrival, denies, bans, and keeps a log.

A request is judged in this order: a ban, an outage, a token that is not valid, the limits. A denied request does not count in a
limit. It counts toward a ban.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from benchmarks.bans.calls import Call
from benchmarks.bans.hints import Hints, Situation, State
from benchmarks.bans.limits import Limit

OK: Final = 200
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
TOO_MANY: Final = 429
UNAVAILABLE: Final = 503
#: The time that an answer without work takes, in microseconds.
_AT_ONCE: Final = 2_000


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A limit, what a call costs in it, and the status of a call beyond it. A call that costs 0 does not count in it.

    `wait` is what a denial says in place of the true wait, in microseconds.
    """

    name: str
    limit: Limit
    cost: Callable[[Call], int] = lambda call: 1
    status: int = TOO_MANY
    wait: int | None = None


class BanRule(msgspec.Struct, frozen=True, kw_only=True):
    """More than `tolerated` answers of `statuses` in `per` microseconds are a ban of `spell`.

    During a ban every request is answered with `status`, and lengthens the ban by `lengthens`, up to `longest` from then.
    """

    tolerated: int
    per: int
    spell: int
    statuses: frozenset[int] = frozenset({UNAUTHORIZED, FORBIDDEN, TOO_MANY})
    status: int = FORBIDDEN
    lengthens: int = 0
    longest: int = 21_600_000_000


class Span(msgspec.Struct, frozen=True):
    """From `since` to just before `until`, in microseconds since the start."""

    since: int
    until: int


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a request: its first byte leaves after `head` microseconds, its last one after `service`."""

    status: int
    headers: Mapping[str, str]
    head: int
    service: int


class Arrival(msgspec.Struct, frozen=True):
    """One line of the log: when which call arrived, and the status of its answer."""

    at: int
    call: int
    status: int


class Provider:
    """A provider with its limits, its ban rule, its bad times, and its way to give hints."""

    def __init__(
        self,
        rules: Sequence[Rule],
        *,
        ban: BanRule | None = None,
        hints: Hints,
        outage: Span | None = None,
        revoked: Span | None = None,
    ) -> None:
        self.rules = rules
        self.ban = ban
        #: The times in which every request is answered 503, or 401.
        self.outage = outage
        self.revoked = revoked
        self.log: list[Arrival] = []
        self.bans: list[Span] = []
        self._hints = hints
        self._denials: deque[int] = deque()
        #: When the last ban ends.
        self.banned_until = 0

    def arrive(self, now: int, call: Call) -> Answer:
        """Judges a request that arrives `now`, not before those that it has judged."""
        status, headers = self._judge(now, call)
        self.log.append(Arrival(now, call.number, status))
        if self.ban is not None and status in self.ban.statuses and now >= self.banned_until:
            self._count(now, self.ban)
        head, service = (call.head, call.service) if status == OK else (_AT_ONCE, _AT_ONCE)
        return Answer(status=status, headers=headers, head=head, service=service)

    def earliest(self, now: int, call: Call) -> int:
        """The first instant from `now` on at which this request would be answered 200, if no other arrives before it."""
        at, before = now, -1
        while at != before:
            before = at
            for span in (self.outage, self.revoked):
                if span is not None and span.since <= at < span.until:
                    at = span.until
            for rule, cost in self._counted(call):
                at = max(at, rule.limit.earliest(at, cost))
        return at

    def _judge(self, now: int, call: Call) -> tuple[int, Mapping[str, str]]:
        if self.ban is not None and now < self.banned_until:
            self._lengthen(now, self.ban)
            return self.ban.status, {}
        if self.outage is not None and self.outage.since <= now < self.outage.until:
            return UNAVAILABLE, {}
        if self.revoked is not None and self.revoked.since <= now < self.revoked.until:
            return UNAUTHORIZED, {}
        counted = self._counted(call)
        denied, denied_until = None, now
        for rule, cost in counted:
            until = rule.limit.earliest(now, cost)
            if until > denied_until:
                denied, denied_until = rule, until
        if denied is None:
            for rule, cost in counted:
                rule.limit.spend(now, cost, now + call.service)
            return OK, self._say(now, counted, None, 0)
        wait = denied_until - now if denied.wait is None else denied.wait
        return denied.status, self._say(now, counted, denied, wait)

    def _counted(self, call: Call) -> list[tuple[Rule, int]]:
        return [(rule, cost) for rule in self.rules if (cost := rule.cost(call))]

    def _say(self, now: int, counted: list[tuple[Rule, int]], denied: Rule | None, wait: int) -> dict[str, str]:
        states = [State(rule.name, rule.limit) for rule, _ in counted]
        return self._hints(Situation(now=now, states=states, denied=denied is not None, wait=wait))

    def _count(self, now: int, rule: BanRule) -> None:
        self._denials.append(now)
        while self._denials[0] <= now - rule.per:
            self._denials.popleft()
        if len(self._denials) > rule.tolerated:
            self._denials.clear()
            self.banned_until = now + rule.spell
            self.bans.append(Span(now, self.banned_until))

    def _lengthen(self, now: int, rule: BanRule) -> None:
        longer = min(self.banned_until + rule.lengthens, max(self.banned_until, now + rule.longest))
        self.banned_until = longer
        self.bans[-1] = Span(self.bans[-1].since, longer)
