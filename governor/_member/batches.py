"""Batches of admissions: what a process asks the daemon, what it was granted, and what it decides by itself. Sans-IO.

One batch is on its way at a time. Requests that arrive meanwhile are collected into the next one, so that a round trip is
shared by as many requests as arrive in its time. The daemon answers a batch at once. If it does not within `VERDICT_TIMEOUT`,
or if it is away, this process decides, without a wait: see `deciding_here`.

Requests whose task or thread has gone end at once, whether they still wait, are on their way, or were granted meanwhile.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import islice
from typing import Final, TypeVar, final

from governor._actors.asking import overloaded
from governor._actors.inbound.group import GroupActor
from governor._actors.portal import Post
from governor._admission import Admission, EndpointGroup
from governor._member.deciding_here import DecidingHere
from governor._member.session import Session, SessionRejected
from governor._units import SECOND
from governor.config import describe, parse_limit
from governor.errors import ConfigError
from governor.messages import AvailableQuota, InboundDenied, InboundRequest
from governor.policies.contract import Limit
from governor.policies.gcra import TokenBucket
from governor.protocol import (
    MAX_BATCH,
    MAX_LIMIT_TEXT,
    MAX_PARTS,
    MAX_PLACE,
    Ended,
    EndpointLimits,
    Exceeded,
    Group,
    Readmit,
    Requests,
    Verdict,
)

T = TypeVar("T")
_log: Final = logging.getLogger("governor")

#: Seconds in which the daemon must answer a batch.
VERDICT_TIMEOUT: Final = 1.0
#: Limits on endpoints whose messages are kept.
_MAX_KNOWN: Final = 1000


class Asked:
    """A request without a decision, and how to wake its task or thread."""

    __slots__ = ("admission", "announce", "gone", "group", "post", "request", "wake")

    def __init__(self, group: str | EndpointGroup, request: InboundRequest, announce: bool) -> None:
        self.group = group
        self.request = request
        self.announce = announce
        #: Where `wake` runs: on an event loop, or if None in any place.
        self.post: Post | None = None
        self.wake: Callable[[], object] = _nothing
        self.admission: Admission | None = None
        #: Whether its task or thread no longer waits.
        self.gone = False


class GrantedRequest:
    """A granted request that has not ended. With a number it may keep a place; the actor is that of this process, if any."""

    __slots__ = ("actor", "group", "number", "request")

    def __init__(self, group: Group, request: InboundRequest, number: int, actor: GroupActor | None) -> None:
        self.group = group
        self.request = request
        self.number = number
        self.actor = actor


class _Ends:
    """Ends of requests of one group that the daemon was not told."""

    __slots__ = ("places", "statuses")

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.places: dict[int, int] = {}


End = Callable[[GrantedRequest, int | None], object]


@final
class Batches:
    """Belongs to the thread of the connection. `time` reads the clock of its event loop, in seconds.

    `end` is called from any thread when a granted request has ended, and has `ended` called on this one.
    """

    def __init__(self, here: DecidingHere, *, time: Callable[[], float], end: End) -> None:
        self._here = here
        self._time = time
        self._end = end
        self._waiting: deque[Asked] = deque()
        #: The requests on their way, since `_sent_at`. Some may have been decided here meanwhile.
        self._batch: list[Asked] = []
        self._number = self._first = self._next = 0
        self._sent_at = 0.0
        self._session: Session | None = None
        #: Whether this process decides; and whether it is known who does.
        self._decides = self.known = False
        self._curious: list[Asked] = []
        self.closed = False
        #: Requests that were granted.
        self.granted = 0
        #: Granted requests that keep a place, and those that were decided here, by number.
        self._held: dict[int, GrantedRequest] = {}
        self._ends: dict[Group, _Ends] = {}
        self._endpoints: dict[object, EndpointLimits] = {}
        self._answered: list[Asked] = []

    def __len__(self) -> int:
        """Requests that have not been sent."""
        return len(self._waiting)

    @property
    def is_busy(self) -> bool:
        """Whether a batch is on its way, so that `look` must be called."""
        return bool(self._batch)

    # What other threads have left.

    def ask(self, asked: Asked) -> None:
        """A request without a decision."""
        if self.closed:
            self._answered.append(asked)
        elif self._decides:
            self._decide(asked)
        else:
            self._waiting.append(asked)

    def wonder(self, asked: Asked) -> None:
        """One that waits until it is known who decides."""
        if self.known or self.closed:
            self._give(asked, Admission())
        else:
            self._curious.append(asked)

    def forget(self, asked: Asked) -> None:
        """Its task or thread no longer waits."""
        asked.gone = True
        if asked.admission is not None and asked.admission.granted:
            asked.admission.end(None)

    def ended(self, request: GrantedRequest, status: int) -> None:
        """A granted request has ended; 0 stands for no status."""
        if request.actor is not None:
            request.actor.ended(status or None, request.request)
        held = self._held.pop(request.number, None) is not None
        if self._session is not None and (held or request.actor is None):
            self._tell(request.group, status, request.number if held else 0)

    def _tell(self, group: Group, status: int, number: int) -> None:
        """A request has ended that the daemon has granted, or keeps a place for."""
        ends = self._ends.get(group) or self._ends.setdefault(group, _Ends())
        if number:
            ends.places[number] = status
        else:
            ends.statuses[status] += 1

    # Batches.

    def send(self) -> None:
        """Sends what there is to send, and wakes those that have been answered."""
        self._send()
        self._wake()

    def _send(self) -> None:
        session = self._session
        if session is None:
            return
        ends, self._ends = self._ends, {}
        for group, one in ends.items():
            if one.statuses:
                session.say(Ended(group, statuses=one.statuses))
            for part in _parts(one.places):
                session.say(Ended(group, places=part))
        if not self._batch and self._waiting:
            self._send_batch(session)

    def _send_batch(self, session: Session) -> None:
        parts: dict[tuple[Group, bool], list[Asked]] = {}
        count = 0
        while self._waiting and count < MAX_BATCH and len(parts) < MAX_PARTS:
            asked = self._waiting.popleft()
            if not asked.gone:
                parts.setdefault((self._group(asked.group), asked.announce), []).append(asked)
                count += 1
        if count:
            self._batch = [asked for part in parts.values() for asked in part]
            self._first, self._next = self._next + 1, self._next + count
            self._sent_at = self._time()
            messages = [Requests(group, tuple(one.request for one in part), told) for (group, told), part in parts.items()]
            self._number = session.admit(self._first, tuple(messages))

    def _group(self, group: str | EndpointGroup) -> Group:
        if isinstance(group, str):
            return group
        known = self._endpoints.get(group.key)
        if known is None:
            if len(self._endpoints) >= _MAX_KNOWN:
                self._endpoints.clear()
            # A text that is cut off has no effect, and the daemon warns of it.
            limits = tuple(describe(limit)[:MAX_LIMIT_TEXT] for limit in group.policy.limits)
            known = EndpointLimits((group.place or group.name)[:MAX_PLACE], group.name, limits)
            self._endpoints[group.key] = known
        return known

    def admitted(self, number: int, verdicts: Sequence[Verdict | None]) -> None:
        """The daemon has decided on a batch. Raises `SessionRejected` for an answer that belongs to none."""
        if number != self._number or len(verdicts) != len(self._batch):
            raise SessionRejected("the daemon has answered a batch of requests that it was not asked for")
        batch, self._batch = self._batch, []
        self._decides = False
        for place, (asked, verdict) in enumerate(zip(batch, verdicts, strict=True), self._first):
            if asked.admission is None:
                self._give(asked, self._admission(asked, verdict, place))
            elif verdict is None or verdict.granted:
                # It has been decided here meanwhile. What the daemon counts of it ends now.
                self._tell(self._group(asked.group), 0, place if verdict is not None and verdict.held else 0)
        self.send()

    def _admission(self, asked: Asked, verdict: Verdict | None, number: int) -> Admission:
        if verdict is None:
            return Admission(end=partial(self._end, self._begun(asked, 0, None)))
        if verdict.overloaded:
            return Admission(overloaded(_name(asked.group)))
        denied = None if verdict.exceeded is None else _denied(verdict.exceeded)
        if not verdict.granted:
            return Admission(denied)
        left = verdict.left
        least = None if left is None else AvailableQuota(left.name, left.requests, _limit(left.limit), left.by_address)
        return Admission(denied, least, partial(self._end, self._begun(asked, number if verdict.held else 0, None)))

    def _begun(self, asked: Asked, number: int, actor: GroupActor | None) -> GrantedRequest:
        """A request is in flight from now on; with a number it keeps a place."""
        self.granted += 1
        request = GrantedRequest(self._group(asked.group), asked.request, number, actor)
        if number:
            self._held[number] = request
        return request

    def _give(self, asked: Asked, admission: Admission) -> None:
        asked.admission = admission
        if not asked.gone:
            self._answered.append(asked)
        elif admission.granted:
            admission.end(None)

    def _wake(self) -> None:
        """Wakes those that have been answered. All tasks of one loop by one callback: each one would be a system call."""
        answered, self._answered = self._answered, []
        loops: dict[Post, list[Asked]] = {}
        for asked in answered:
            if asked.post is None:
                asked.wake()
            else:
                loops.setdefault(asked.post, []).append(asked)
        for post, of_loop in loops.items():
            try:
                post(partial(_wake_all, of_loop))
            except RuntimeError:  # That loop has ended, and its tasks with it.
                for asked in of_loop:
                    self.forget(asked)

    # Decisions of this process.

    def _decide(self, asked: Asked) -> None:
        denied, least, actor = self._here.decide(asked.group, asked.request, announce=asked.announce)
        admission = Admission(denied, least)
        if actor is not None and admission.granted:
            # Whatever limits there are without the daemon: it may keep a place for it later.
            self._next += 1
            admission = Admission(denied, least, partial(self._end, self._begun(asked, self._next, actor)))
        self._give(asked, admission)

    def _decide_all(self) -> None:
        if not self._decides:
            self._decides = True
            self._here.begin()
        for asked in self._batch:
            if asked.admission is None and not asked.gone:
                self._decide(asked)
        while self._waiting:
            self._decide(self._waiting.popleft())
        self._wake()

    def look(self) -> None:
        """Has this process decide if the daemon has not answered for too long."""
        if self._batch and self._time() - self._sent_at > VERDICT_TIMEOUT:
            self._decide_all()

    # The connection.

    def welcome(self, session: Session) -> None:
        """The daemon decides from now on, and learns which requests keep a place."""
        self._session = session
        self._decides = False
        self._is_known()
        held: dict[Group, dict[int, InboundRequest]] = {}
        for number, request in self._held.items():
            held.setdefault(request.group, {})[number] = request.request
        for group, requests in held.items():
            for part in _parts(requests):
                session.say(Readmit(group, part))
        self.send()

    def lose(self) -> None:
        """There is no daemon: this process decides."""
        self._session = None
        if not self.closed:
            self._is_known()
            self._decide_all()
        self._batch = []

    def _is_known(self) -> None:
        self.known = True
        curious, self._curious = self._curious, []
        for asked in curious:
            self._give(asked, Admission())

    def close(self) -> None:
        """Answers every request that waits, now and later, as one that comes too late."""
        self.closed = True
        self._answered += [*self._batch, *self._waiting, *self._curious]
        self._batch, self._curious = [], []
        self._waiting.clear()
        self.send()


def _wake_all(asked: Iterable[Asked]) -> None:
    for one in asked:
        one.wake()


def _parts(items: Mapping[int, T]) -> Iterator[dict[int, T]]:
    """The same in parts that a message can hold."""
    rest = iter(items.items())
    while part := dict(islice(rest, MAX_BATCH)):
        yield part


def _name(group: str | EndpointGroup) -> str:
    return group if isinstance(group, str) else group.name


def _denied(exceeded: Exceeded) -> InboundDenied:
    return InboundDenied(
        exceeded.group,
        exceeded.limit,
        exceeded.retry_after,
        _limit(exceeded.bucket),
        exceeded.dry_run,
        exceeded.reason,
        exceeded.name,
    )


@lru_cache(1024)
def _limit(text: str) -> Limit:
    """The limit that a text means. One of a kind that is not registered in this process is shown as another one."""
    try:
        return parse_limit(text)
    except ConfigError:
        _log.warning("The kind of the limit %r is not registered in this process: header fields show another one.", text)
        return TokenBucket(1, SECOND, 1)


def _nothing() -> None:
    """Nothing waits."""
