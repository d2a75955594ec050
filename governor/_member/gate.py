"""Gate: where tasks and threads of a process ask whether inbound requests may proceed, if a daemon owns the limits.

They leave what they ask, and the ends of requests, for the thread of the connection, which asks the daemon in batches.

Bound: `MAX_WAITING` requests without a decision; one more is answered as `on_overload` of its group says.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Final, final

import anyio

from governor._actors.portal import Portal, current_post
from governor._admission import Admission, EndpointGroup
from governor._member.batches import Asked, Batches, GrantedRequest
from governor._member.deciding_here import DecidingHere
from governor._member.session import Session
from governor._member.spawn import START_TIMEOUT
from governor.config.names import check_name
from governor.errors import UsageError
from governor.messages import MAX_COST, MAX_KEY, MAX_ROUTES, InboundRequest
from governor.protocol import MAX_LIMITS

MAX_WAITING: Final = 65_536
#: Seconds after which a request no longer waits for the thread of the connection: more than two batches may take.
_ANSWER_TIMEOUT: Final = 2.5
#: Seconds after which it no longer matters who decides.
_READY_TIMEOUT: Final = START_TIMEOUT + _ANSWER_TIMEOUT
#: Stands for the request of one that only asks whether it is known who decides.
_NO_REQUEST: Final = InboundRequest(b"-", b"-")


@final
class Gate:
    """See `Gate` in `_admission`. `notify` has `dispatch` called soon; `time` reads the clock of the event loop, in seconds."""

    def __init__(self, here: DecidingHere, *, notify: Callable[[], object], time: Callable[[], float]) -> None:
        self._here = here
        self._notify = notify
        self.rekey: Callable[[bytes], object] = _nothing
        self.batches = Batches(here, time=time, end=self._end)
        #: What other threads have left, in order.
        self._entries: deque[Callable[[], object]] = deque()
        #: Whether `look` is certain to be called soon; and how many requests had been granted when it was called last.
        self._looks = False
        self._granted = 0

    async def admit(self, portal: Portal, group: str | EndpointGroup, request: InboundRequest, *, announce: bool) -> Admission:
        """See `Gate` in `_admission`."""
        if not self._exists(group, request):
            return Admission()
        return await self._wait(portal, self.batches.ask, Asked(group, request, announce), _ANSWER_TIMEOUT)

    def admit_blocking(
        self, portal: Portal, group: str | EndpointGroup, request: InboundRequest, *, announce: bool
    ) -> Admission:
        """See `Gate` in `_admission`."""
        if not self._exists(group, request):
            return Admission()
        return self._wait_blocking(portal, self.batches.ask, Asked(group, request, announce), _ANSWER_TIMEOUT)

    async def ready(self, portal: Portal) -> None:
        """See `Gate` in `_admission`."""
        if not self.batches.known:
            with suppress(TimeoutError):
                await self._wait(portal, self.batches.wonder, Asked("", _NO_REQUEST, False), _READY_TIMEOUT)

    def ready_blocking(self, portal: Portal) -> None:
        """See `Gate` in `_admission`."""
        if not self.batches.known:
            with suppress(TimeoutError):
                self._wait_blocking(portal, self.batches.wonder, Asked("", _NO_REQUEST, False), _READY_TIMEOUT)

    def _exists(self, group: str | EndpointGroup, request: InboundRequest) -> bool:
        """Whether there is such a group. Raises `UsageError` and `ConfigError` for what messages cannot hold."""
        if not (
            0 < len(request.client) <= MAX_KEY
            and 0 < len(request.address) <= MAX_KEY
            and len(request.routes) <= MAX_ROUTES
            and 1 <= request.cost <= MAX_COST
        ):
            raise UsageError(
                f"a key has 1 to {MAX_KEY} bytes, a request {MAX_ROUTES} routes at most and a cost of 1 to {MAX_COST}"
            )
        if isinstance(group, str):
            return self._here.knows(group)
        check_name(group.name, field="name")
        if len(group.policy.limits) > MAX_LIMITS:
            raise UsageError(f"a limit on endpoints consists of at most {MAX_LIMITS} limits where a daemon owns them")
        return True

    async def _wait(self, portal: Portal, how: Callable[[Asked], object], asked: Asked, timeout: float) -> Admission:
        done = anyio.Event()
        asked.post, asked.wake = current_post(), done.set
        self._enter(how, asked)
        try:
            answered = await portal.wait(done, timeout)
        except BaseException:
            self._leave(partial(self.batches.forget, asked))
            raise
        return self._answer(portal, asked, answered=answered)

    def _wait_blocking(self, portal: Portal, how: Callable[[Asked], object], asked: Asked, timeout: float) -> Admission:
        done = Lock()
        done.acquire()
        asked.wake = done.release
        self._enter(how, asked)
        try:
            answered = portal.wait_blocking(done, timeout)
        except BaseException:
            self._leave(partial(self.batches.forget, asked))
            raise
        return self._answer(portal, asked, answered=answered)

    def _enter(self, how: Callable[[Asked], object], asked: Asked) -> None:
        if len(self._entries) + len(self.batches) >= MAX_WAITING:
            raise TimeoutError(f"more than {MAX_WAITING:,} requests wait for a decision")
        self._leave(partial(how, asked))

    def _answer(self, portal: Portal, asked: Asked, *, answered: bool) -> Admission:
        if answered and asked.admission is not None:
            return asked.admission
        self._leave(partial(self.batches.forget, asked))
        if self.batches.closed or not portal.alive():
            raise UsageError("the governor has been closed")
        raise TimeoutError("the thread of the connection to the daemon stands still")

    def _end(self, request: GrantedRequest, status: int | None) -> None:
        """`Admission.end`. A status that is none counts as none."""
        self._entries.append(partial(self.batches.ended, request, status if status is not None and 0 < status < 1000 else 0))
        # A place is given back at once. What is only counted goes with the next batch, or with the next look: waking the thread
        # for it costs as much as half of an admission.
        if request.number or not self._looks:
            self._notify()

    def _leave(self, entry: Callable[[], object]) -> None:
        self._entries.append(entry)
        self._notify()

    # For the thread of the connection.

    def dispatch(self) -> None:
        """Reads what was left, and sends what there is to send."""
        for _ in range(len(self._entries)):
            self._entries.popleft()()
        self.batches.send()
        if self.batches.is_busy:
            self._looks = True

    def look(self) -> bool:
        """Sees to it that all that was left is read, and all that waits is answered. Whether it must be called again."""
        self.batches.look()
        granted, self._granted = self._granted, self.batches.granted
        # Set before what is left is read: what is left from then on wakes this thread.
        self._looks = granted != self._granted
        self.dispatch()
        return self._looks

    def lose(self) -> None:
        """There is no daemon, and no look."""
        self._looks = False
        self.dispatch()
        self.batches.lose()

    def welcome(self, session: Session, secret: bytes) -> None:
        """The daemon decides from now on."""
        self.rekey(secret)
        self.batches.welcome(session)

    def on_gone(self) -> None:
        """The loop of the connection has ended: those that wait find out. On any thread."""
        self.batches.closed = True
        self._entries.clear()


def _nothing(secret: bytes) -> None:
    """No middleware makes keys."""
