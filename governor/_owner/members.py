"""Members: all processes that are connected to a governor, and those that were until a moment ago.

Bounds: `MAX_MEMBERS` sessions, those included that only wait for their leases to run out; `MAX_QUERIES` documents that are
asked for and not sent.
"""

import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, final

import anyio
import anyio.lowlevel
import msgspec

from governor._actors.actor import ScopeActor
from governor._actors.inbound.group import GroupActor
from governor._owner.admissions import group_of
from governor._owner.checks import ProtocolError
from governor._owner.leases import outlasting
from governor._owner.operating import perform
from governor._owner.session import Session
from governor._supervisor import Supervisor
from governor._units import SECOND, Duration, Instant, to_seconds
from governor._version import __version__
from governor.config import scope_of
from governor.cooperative import take_turns
from governor.protocol import Act, Acted, Answer, FromOwner, Group
from governor.statistics import MemberStatistics

MAX_MEMBERS: Final = 8192
MAX_QUERIES: Final = 64
#: What may be asked for.
_DOCUMENTS: Final = ("statistics", "about")
#: How long a lease lasts.
TTL: Final = Duration(SECOND)
#: Between two waits for processes that were alone, at least: one that comes back again and again holds up the others no longer.
_WAIT_INTERVAL: Final = Duration(10 * SECOND)
#: Bytes of a document in one message.
_PART: Final = 262_144
#: A rate is measured over at least so long.
_MEASURED: Final = Duration(SECOND)


class _Query(NamedTuple):
    session: Session
    number: int
    document: str


class _Rate:
    """Permits per second of one process, between two looks."""

    __slots__ = ("_at", "_count", "per_second")

    def __init__(self, now: Instant) -> None:
        self._at, self._count = now, 0
        self.per_second = 0.0

    def look(self, now: Instant, count: int) -> None:
        if now - self._at >= _MEASURED:
            self.per_second = (count - self._count) / to_seconds(now - self._at)
            self._at, self._count = now, count


@final
class Members:
    """The sessions of one governor. Belongs to the actors' thread. See `session.Machine`."""

    def __init__(
        self, supervisor: Supervisor, clock: Callable[[], Instant], *, secret: bytes = b"", learning: bool = False
    ) -> None:
        self.ttl = TTL
        self.secret = secret
        self.clock = clock
        #: The path of the socket.
        self.address = ""
        #: See `session.Machine`.
        self.opens_at = Instant(0)
        self.budgets = supervisor.budgets
        self._supervisor = supervisor
        self._actors = supervisor.actors
        self._sessions: dict[Session, _Rate] = {}
        self._queries: deque[_Query] = deque()
        self._asked = anyio.Event()
        self._due = anyio.Event()
        if learning:
            self.wait_for_others()

    def __len__(self) -> int:
        return sum(not session.operator for session in self._sessions)

    @property
    def full(self) -> bool:
        """Whether no other process can connect."""
        return len(self._sessions) >= MAX_MEMBERS

    def actor(self, scope: str) -> ScopeActor | None:
        """See `session.Machine`."""
        known = self._actors.get(scope)
        if known is not None:
            return known
        provider, _, method = scope.partition(":")
        return self._supervisor.actor(scope_of(provider, method or None))

    @property
    def inbound(self) -> str:
        """See `session.Machine`."""
        return self._supervisor.groups.digest

    def group(self, group: Group) -> GroupActor | None:
        """See `session.Machine`."""
        return group_of(self._supervisor.groups, group)

    def wait_for_others(self) -> None:
        """See `session.Machine`. After a kill, or after this process stood still, each of them has used a share of its own."""
        now = self.clock()
        if not self.opens_at or now >= self.opens_at + _WAIT_INTERVAL:
            self.opens_at = Instant(now + outlasting(self.ttl))
            self.wake()

    def open(self, send: Callable[[FromOwner], None], has_ended: Callable[[], bool] = lambda: False) -> Session:
        """A session for another process. `has_ended` says whether that has ended for certain."""
        session = Session(self, send, has_ended)
        self._sessions[session] = _Rate(self.clock())
        return session

    def lost(self, session: Session) -> None:
        """The connection of a process has ended."""
        session.lost()
        self.look_after(session)

    def look_after(self, session: Session) -> None:
        """Has a session whose connection has ended look after what may run out, and forgets it if nothing is left."""
        session.look()
        if session.due:
            self.wake()
        else:
            self._sessions.pop(session, None)

    def shut_down(self) -> None:
        """Denies every ask that waits."""
        for session in self._sessions:
            session.shut_down()

    # Time.

    def wake(self) -> None:
        """Something has been leased, or a process is gone: there is something to look after."""
        self._due.set()

    async def keep_looking(self, after: Callable[[], object]) -> None:
        """Has the sessions look after what may run out, and calls `after` that. Sleeps while there is nothing."""
        while True:
            await self._due.wait()
            await anyio.sleep(to_seconds(self.ttl) / 4)
            self.look()
            after()

    def look(self) -> None:
        """Has the sessions look after what has run out by now."""
        due = False
        for session in tuple(self._sessions):
            if session.due:
                session.look()
            if session.due:
                due = True
            elif not session.connected:
                del self._sessions[session]
        if not due:
            self._due = anyio.Event()

    # Watching.

    def statistics(self) -> tuple[MemberStatistics, ...]:
        """The processes that are connected, by process id."""
        now, found = self.clock(), []
        for session, rate in self._sessions.items():
            if session.is_process:
                requests = session.granted + session.leases.used
                rate.look(now, requests)
                found.append(
                    MemberStatistics(
                        pid=session.pid,
                        name=session.name,
                        requests=requests,
                        requests_per_second=rate.per_second,
                        leased=session.leases.leased,
                        held=len(session.places),
                        waiting=session.waiting,
                        admitted=session.admissions.granted,
                        in_flight=len(session.admissions),
                    )
                )
        return tuple(sorted(found, key=lambda one: one.pid))

    def act(self, message: Act) -> Acted:
        """See `session.Machine`."""
        return perform(message, self._supervisor, self._sessions)

    def query(self, session: Session, number: int, document: str) -> None:
        """See `session.Machine`."""
        if document not in _DOCUMENTS:
            raise ProtocolError(f"there is no document {document!r}; there are {' and '.join(_DOCUMENTS)}")
        if len(self._queries) >= MAX_QUERIES:
            raise ProtocolError(f"more than {MAX_QUERIES} documents are asked for at a time")
        self._queries.append(_Query(session, number, document))
        self._asked.set()

    async def answer_queries(self, room: Callable[[Session], "anyio.Event | None"]) -> None:
        """Writes the documents that are asked for, in small steps. `room` says what to wait for before the next part."""
        while True:
            await self._asked.wait()
            self._asked = anyio.Event()
            while self._queries:
                session, number, name = self._queries.popleft()
                document = await self._document(name)
                for start in range(0, len(document), _PART):
                    while (event := room(session)) is not None:
                        await event.wait()
                    if not session.connected:
                        break
                    session.answer(Answer(number, document[start : start + _PART], start + _PART < len(document)))
                await anyio.lowlevel.checkpoint()

    async def _document(self, name: str) -> bytes:
        if name == "about":
            policy_file = self._supervisor.config.policy_file
            about = {"version": __version__, "pid": os.getpid(), "host": socket.gethostname(), "policy_file": policy_file}
            return msgspec.json.encode(about)
        return msgspec.json.encode(await take_turns(self._supervisor.survey()))
