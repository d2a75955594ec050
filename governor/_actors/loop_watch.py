"""Owner of the loop guard: asked within the steps of scopes, and told the answers of watched calls from any thread.

A call that the guard does not suspect costs one look-up from its own thread, and no message. Answers that other threads report
are notes, which the guard reads before it decides; one that may be a repetition has them read at once, the others are read when
there are `_MAX_UNREAD` of them. Each note has the time at which it was made.
"""

from collections import deque
from collections.abc import Callable
from os import urandom
from threading import get_ident
from typing import TYPE_CHECKING, Final, final

import msgspec

from governor import instrumentation
from governor._actors.portal import Portal
from governor._actors.stopped_loops import StoppedLoops
from governor._exports import Later
from governor._units import Instant, to_seconds
from governor.errors import Reason
from governor.instrumentation import Announcer
from governor.messages import Acquire, Denied, WatchedCall
from governor.policies.loops import Call, LoopGuard, Loops, Stage
from governor.pseudonyms import Pseudonyms, pseudonym

if TYPE_CHECKING:
    from governor import _fingerprints
else:
    _fingerprints = Later("governor._fingerprints")

#: Notes that lie unread if none of them is of a call that was seen before.
_MAX_UNREAD: Final = 64
#: Notes that are kept while the loop of the actors stands still. Beyond that the oldest are dropped.
_MAX_NOTES: Final = 65_536
#: Answers that say nothing about the call: come back later, or a failure.
_SILENT: Final = frozenset({408, 425, 429})


class _Note(msgspec.Struct, frozen=True):
    """A granted call was answered."""

    at: Instant
    asked_at: Instant
    scope: str
    rule: Loops
    call: Call
    answer: bytes
    gist: bytes
    similar: bool
    failed: bool


@final
class LoopWatch:
    """The loop guard of one governor, and its notes. `suspects` and `answered` are for any thread."""

    __slots__ = ("_announcer", "_clock", "_guard", "_keys", "_notes", "_portal", "_pseudonyms", "_reading", "_secret")

    def __init__(self, *, clock: Callable[[], Instant], portal: Portal, announcer: Announcer) -> None:
        self._guard = LoopGuard()
        self._clock = clock
        self._portal = portal
        self._announcer = announcer
        self._secret = urandom(32)
        self._pseudonyms = Pseudonyms(self._secret)
        self._notes: deque[_Note] = deque(maxlen=_MAX_NOTES)
        #: The keys of the notes.
        self._keys: set[object] = set()
        #: Whether the notes are about to be read.
        self._reading = False

    def suspects(self, scope: str, rule: Loops, watched: WatchedCall, caller: str | None) -> bool:
        """Whether the guard must decide on the call. It is watched from now on."""
        if not rule.enabled:
            return False
        call = self._watch(scope, rule, watched, caller)
        if watched.asked_at is None:
            watched.asked_at = self._clock()
        return self._guard.suspects(call)

    def denial(self, now: Instant, scope: str, rule: Loops, acquire: Acquire, stopped: StoppedLoops) -> Denied | None:
        """The denial of a watched call that is repeated in a loop, which is noted as `stopped`. A retry is no repetition.

        One that is only delayed, and can wait so long, is to ask `again`: it waits with its caller, and not in the queue.
        """
        watched = acquire.watched
        if watched is None or not rule.enabled:
            return None
        call = self._watch(scope, rule, watched, acquire.caller)
        if watched.asked_at is None:
            watched.asked_at = now
        if acquire.attempt not in (None, 1):
            return None
        self._read()
        suspicion = self._guard.ask(now, rule, call, watched.asked_at)
        if stopped and (suspicion is None or not suspicion.denied):
            stopped.go_on((call.key, call.shape))
        if suspicion is None:
            return None
        if suspicion.denied:
            stopped.stop(suspicion.key, Instant(now + suspicion.wait), self._name(acquire.caller))
        if suspicion.first:
            self._announce(scope, Stage.DENIED, acquire.caller)
        wait = to_seconds(suspicion.wait)
        again = not suspicion.denied and (acquire.timeout is None or wait <= acquire.timeout)
        return Denied(scope, Reason.LOOP, wait, again)

    def answered(self, watched: WatchedCall, scope: str, status: int | None, answer: bytes | str) -> None:
        """A watched call was answered with this status and body."""
        if watched.call is None or watched.asked_at is None or (status is not None and (status in _SILENT or status >= 500)):
            return
        now = self._clock()
        if watched.fingerprint.waits and now - watched.asked_at >= watched.rule.pause:
            return  # A long poll, which waits at the server: it is a timer.
        if watched.fingerprint.reads and watched.call.caller is None:
            return  # As `GET`, whose repetition is polling.
        body = answer.encode(*_fingerprints.LENIENT) if isinstance(answer, str) else answer
        prints = _fingerprints.Fingerprints(self._secret)
        fingerprint, caller = watched.fingerprint, watched.call.caller
        failed = (fingerprint.polls or caller is not None) and _fingerprints.fails(status, body)
        if _fingerprints.is_pending(body) or (fingerprint.polls and not failed and _fingerprints.goes_on(body)):
            digest = gist = b"%d" % now  # It asks to come back later, and counts as an answer that changes.
        elif caller is None:
            digest = gist = prints.answer(status, body, fingerprint)
        else:
            digest, gist = prints.answer_and_gist(status, body, fingerprint)
        # The answer to a write that was done may say the same whatever was written, and an empty one says the same.
        similar = (
            bool(answer)
            and (status is None or status == 200 or status >= 400)
            and not _fingerprints.acknowledges(body)
            and (not watched.fingerprint.pages or _fingerprints.lists(body))
        )
        note = _Note(now, watched.asked_at, scope, watched.rule, watched.call, digest, gist, similar, failed)
        if get_ident() == self._portal.thread:
            self._read()
            self._learn(note)
            return
        keys = self._keys
        seen = note.call.key in keys or note.call.shape in keys or self._guard.knows(note.call)
        self._notes.append(note)
        keys.add(note.call.key)
        keys.add(note.call.shape)
        if (seen or len(self._notes) >= _MAX_UNREAD) and not self._reading:
            self._reading = True
            self._portal.post(self._read)

    def forget(self, scope: str) -> None:
        """Forgets the repeated calls of a scope, as an operator asks for. On the actors' thread."""
        self._read()
        self._guard.forget(scope)

    def _watch(self, scope: str, rule: Loops, watched: WatchedCall, caller: str | None) -> Call:
        if watched.call is None:
            exact, shape = watched.fingerprint.exact, watched.fingerprint.shape
            watched.rule = rule
            watched.call = Call(hash((exact, scope, caller)), hash((shape, scope, caller)), caller, scope)
        return watched.call

    def _read(self) -> None:
        # First, so that a note that is made meanwhile is read once more.
        self._reading = False
        if self._keys:
            self._keys = set()
        while self._notes:
            self._learn(self._notes.popleft())

    def _learn(self, note: _Note) -> None:
        stage = self._guard.answered(
            note.at, note.rule, note.call, note.asked_at, note.answer, gist=note.gist, similar=note.similar, failed=note.failed
        )
        if stage is Stage.WARNED:
            self._announce(note.scope, stage, note.call.caller)

    def _announce(self, scope: str, stage: Stage, caller: str | None) -> None:
        if self._announcer.listening:
            self._announcer(instrumentation.LoopFound(scope, stage, self._name(caller)))

    def _name(self, caller: str | None) -> str:
        return "" if caller is None else pseudonym(self._pseudonyms.label(caller.encode()))
