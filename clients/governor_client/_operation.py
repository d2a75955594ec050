"""The decisions of the adapters: permit, attempt, pause, repeat or end.

Decisions without I/O and without an HTTP library. An adapter describes a request, takes permits, sends and pauses; this module
says what for and how long, so that all adapters behave alike.
"""

import copy
import logging
from collections.abc import Callable
from contextvars import ContextVar, Token
from functools import partial
from typing import Final, Generic, NamedTuple, Protocol, TypeVar, final

from governor import CallFailure, Cost, Duration, Fingerprint, Instant, Permit, PermitDenied
from governor.clock import MAX_DURATION, to_seconds, wall_clock
from governor.config import with_key
from governor.hints import MIN_WAIT, forbids_retry, read_hints
from governor.instrumentation import AnyEvent, CallDenied, Granted, Retried
from governor_client._attempt import TOO_MANY, Attempt, Fault, Observing
from governor_client._compared import watch
from governor_client._denials import DeniedResponse, denied_response
from governor_client._headers import SDK_RETRY_COUNT, SDK_WITH_KEYS, LazyHeaders
from governor_client._hint_bodies import begin
from governor_client._observed import Observation
from governor_client._questions import Ask, Question
from governor_client._request import Request
from governor_client._server_wait import server_wait
from governor_client._terms import SENDING, Sent, Terms
from governor_client._ungoverned import plain
from governor_client._wait import WaitBudget

_log: Final = logging.getLogger("governor")

#: The maximum size, in bytes, of an answer that is kept while the request is retried: error pages are short.
KEPT: Final = 65_536
#: The pause in seconds after an answer that says "too many" and not for how long. It only bounds the pause of a retry.
_MIN_PAUSE: Final = to_seconds(MIN_WAIT)
#: Waits of this many microseconds or more are reported.
_REPORTED: Final = 1_000
_UNBOUNDED: Final = float("inf")
_SDKS: Final = (SDK_RETRY_COUNT, SDK_WITH_KEYS)

Response = TypeVar("Response")
Answer = TypeVar("Answer", covariant=True)


class Denier(Protocol[Answer]):
    """What an adapter makes of a denial."""

    def answer(self, response: DeniedResponse, /) -> Answer:
        """The synthetic answer, as the library's own type."""
        ...

    def error(self, denial: PermitDenied, /) -> Exception:
        """The denial as an exception of the library."""
        ...


class _UsedUp(NamedTuple):
    """A request whose retries are used up, and the error in which the last one ended."""

    terms: "Terms"
    method: str
    host: str
    path: str
    key: str | None
    error: Exception


#: The last request of this thread or task whose retries were used up. An SDK that repeats it is not given more of them.
_used_up: Final[ContextVar[_UsedUp | None]] = ContextVar("governor_client_used_up", default=None)


@final
class Operation(Generic[Response]):
    """One request and its attempts, each with a permit of its own.

    The `budget` bounds all waiting together, for permits and between attempts: a function that returns the same one each time.
    The time of the attempts does not count: the HTTP library bounds it.
    """

    # Values on the class hold for nearly all operations, which do without the time to set them.

    #: The attempt that is being made.
    attempt: Attempt
    #: Seconds to wait before the next attempt; None for no further attempt.
    pause: float | None = None
    #: The attempts that an SDK has made of this request before; None if it does not number them.
    _repeated: int | None = None
    #: The key that an SDK has given this call, by which its repetition is known.
    _key: str | None = None
    _asked_at = Instant(0)
    _sending = False
    #: The status of the latest answer.
    status = 0
    _tries = 0
    #: Whether time has passed since the call began: signatures and cookies made before may be too old.
    waited = False
    _in_hand: Response | Exception | None = None
    #: Called with the status and the headers of each answer: they return what is to see its body, if anything is.
    observing: tuple[Observing, ...] = ()
    #: The number of bytes of an answer to read before continuing, if it is `buffered` or is to be retried: that is read so that
    #: its connection is free again, and so that it can be returned if the next attempt gets no permit.
    most: float = KEPT
    #: The cost of each permit, and whether answers correct it: only where limits count more than requests.
    cost: Cost = 1
    #: What the loop guard knows the request by; None if it does not watch for its repetition.
    fingerprint: Fingerprint | None = None

    def __init__(self, terms: Terms, request: Request, budget: Callable[[], WaitBudget]) -> None:
        # Each call comes by here: what needs no further Python call is written out.
        self.governor = governor = terms.given or terms.governor
        self.terms = terms
        key = None if terms.key is None else terms.key(request)
        #: The provider of the scope, with the key of the request if it has one.
        self.provider = provider = terms.provider if key is None else with_key(terms.provider, key)
        self.request = request
        # Most calls never wait, and need none.
        self._budget = budget
        if request.buffered:
            self.most = _UNBOUNDED
        if request.marked:
            get = request.headers.get
            self._repeated = None if (number := get(SDK_RETRY_COUNT)) is None else _number(number)
            self._key = None if get(SDK_WITH_KEYS) is None else get("idempotency-key")
        known = terms.charged.known
        if (known.config is not governor.config or (provider, request.method) not in known.free) and (
            meter := terms.charged.meter(governor, provider, request)
        ) is not None:
            self.cost, self.observing = meter.cost, (partial(meter.begin, self),)

    @property
    def method(self) -> str:
        """The method of the request, which names the scope with the provider."""
        return self.request.method

    def take(self) -> Attempt | None:
        """Begins the first attempt with a permit that is granted at once; None if the operation must ask for one."""
        request = self.request
        if self._tries or self._repeated or self._key or self.cost != 1 or request.caller is not None:
            return None
        permit = self.governor.leases.take(self.provider, request.method, 1 if request.repeatable else None, unwatched=True)
        if permit is None:
            return None
        self._tries = 1
        self.attempt = attempt = Attempt(permit)
        return attempt

    def made(self, attempt: Attempt) -> None:
        """The first attempt has been made without the operation, as that of a plain request: see `Terms.take`."""
        self._tries = 1
        self.attempt = attempt

    def ask(self) -> Ask:
        """The parameters of the permit for the next attempt. Raises the last error again if an SDK repeats a used-up call."""
        if self._tries == 0 and (self._repeated or self._key):
            self._stop_repetition()
        fingerprint = watch(self) if self._tries == 0 else self.fingerprint
        self._tries += 1
        self._asked_at = self.terms.clock()
        return self._ask(self._tries if self.request.repeatable else None, fingerprint)

    def denied(self, denial: PermitDenied, denier: Denier[Response]) -> Response:
        """Ends an operation without a permit: returns the last answer, else raises the last error, else denies the request."""
        if self.terms.on_event is not None:
            self._tell(CallDenied(at=wall_clock(), scope=denial.scope, reason=denial.reason, retry_after=denial.retry_after))
        if isinstance(self._in_hand, Exception):
            self._in_hand.add_note(f"It was not retried: {denial}")
            raise self._in_hand
        if self._in_hand is not None:
            return self._in_hand
        if self.terms.on_refusal == "response":
            return denier.answer(denied_response(denial))
        raise denier.error(denial) from None

    def granted(self, permit: Permit) -> Attempt:
        """Begins an attempt with this permit."""
        waited = Duration(self.terms.clock() - self._asked_at)
        self._budget().spend(to_seconds(waited))
        self.waited = self.waited or self._tries > 1 or waited >= _REPORTED
        self.pause = None
        self._in_hand = None
        if self.terms.on_event is not None:
            self._tell_of(permit, waited)
        self.attempt = Attempt(permit)
        return self.attempt

    def begin_sending(self) -> "Token[Sent | None]":
        """An adapter begins to send the request, possibly through libraries that `instrument` governs."""
        self._sending = True
        return SENDING.set(self)

    def end_sending(self, token: "Token[Sent | None]") -> None:
        """Ends what `begin_sending` has begun."""
        # Tasks that were started meanwhile, such as those of a connection pool, keep the operation in their context.
        self._sending = False
        SENDING.reset(token)

    def sends_to(self, host: str) -> bool:
        """Whether a request to this host is being sent."""
        return self._sending and plain(self.request.host) == plain(host)

    def ask_further(self) -> Ask:
        """The parameters of the permit for a further request of the attempt, such as a second round of authentication."""
        self._asked_at = self.terms.clock()
        return self._ask(None, None)

    def _ask(self, attempt: int | None, fingerprint: Fingerprint | None) -> Ask:
        request = self.request
        return Ask(
            timeout=self._budget().permit,
            attempt=attempt,
            cost=self.cost,
            caller=request.caller,
            priority=request.priority or self.terms.priority,
            fingerprint=fingerprint,
        )

    def granted_further(self, permit: Permit) -> Attempt:
        """Begins a further request of the attempt with this permit. The one before has reported its outcome."""
        self._budget().spend(to_seconds(self.terms.clock() - self._asked_at))
        self.attempt = Attempt(permit)
        return self.attempt

    def begun(self, attempt: Attempt, status: int, lazy: LazyHeaders) -> bool:
        """An answer has begun, not always the last one of the attempt: passes on what it says. Returns whether that is much."""
        if not self.observing and self.terms.passes(attempt, status, lazy.names, self.request.path):
            return False
        hints = read_hints(self.terms.provider, status, lazy.found, now=wall_clock(), max_hint=MAX_DURATION)
        attempt.is_heard, attempt.pause = True, attempt.hint(hints) if hints else None
        begin(self, attempt, status, lazy.found)
        return True

    def answered(self, status: int, lazy: LazyHeaders) -> Question | None:
        """The answer has begun. Returns the question for `plan_retry` if a retry may be useful."""
        self.status = status
        attempt = self.attempt
        if not attempt.is_heard and not self.begun(attempt, status, lazy):
            return None
        headers, pause = lazy.found, attempt.pause
        if status < 400 or forbids_retry(headers):
            return None
        wait = server_wait(headers)
        if pause is not None and pause > _MIN_PAUSE:
            wait = max(pause, wait or 0.0)
        status = TOO_MANY if attempt.throttled else status
        if not self.request.retry_answers and status != TOO_MANY and (status != 503 or wait is None):
            return None
        return self._question(status, wait)

    def failed(self, error: BaseException, fault: Fault) -> Question | None:
        """The attempt has ended in an error, possibly while the answer was read. Returns the question, as `answered` does."""
        self.attempt.broke(error, fault)
        if not isinstance(error, Exception):
            if self.pause is not None:
                self.attempt.give_up_retry()
            self.pause = None
            return None
        self._in_hand = error
        return None if self.pause is not None or fault.failure is None else self._question(failure=fault.failure)

    def planned(self, pause: float | None) -> None:
        """Stores the result of `plan_retry`."""
        self.pause = pause
        if pause is not None:
            self._budget().spend(pause)
        elif (self._repeated is not None or self._key) and isinstance(self._in_hand, Exception) and self._tries > 1:
            request = self.request
            error = copy.copy(self._in_hand).with_traceback(None)
            _used_up.set(_UsedUp(self.terms, request.method, request.host, request.path, self._key, error))

    @property
    def final(self) -> bool:
        """Whether an SDK is to be told not to repeat the request after an error answer: the governor decides on retries."""
        return self.status >= 400 and any(self.request.headers.get(name) is not None for name in _SDKS)

    def kept(self, response: Response, show: Callable[[Response, Observation], None], *, whole: bool) -> None:
        """The answer has been read: all of it (`whole`), or the first bytes. `show` shows its body to what observes it."""
        attempt = self.attempt
        if attempt.observation is not None:
            if whole:
                show(response, attempt.observation)
            attempt.ended(whole=whole)
        elif not attempt.permit.reported:  # `attempt.ended`, without its call.
            attempt.permit.record(status=attempt.status, answer=attempt.answer)
        if whole:
            self._in_hand = response

    def _stop_repetition(self) -> None:
        last, request = _used_up.get(), self.request
        if last is not None and last[:5] == (self.terms, request.method, request.host, request.path, self._key):
            last.error.add_note("It was not sent again: the retries of the governor for this call are used up.")
            raise last.error
        _used_up.set(None)

    def _question(
        self, status: int | None = None, wait: float | None = None, failure: CallFailure | None = None
    ) -> Question | None:
        if not self.request.repeatable:
            return None
        return {
            "provider": self.provider,
            "method": self.request.method,
            "attempt": self._tries,
            "remaining": self._budget().pause,
            "status": status,
            "server_wait": wait,
            "idempotency_key": bool(self.request.headers.get("idempotency-key")),
            "failure": failure,
        }

    def _tell_of(self, permit: Permit, waited: Duration) -> None:
        if waited >= _REPORTED:
            self._tell(Granted(at=wall_clock(), scope=permit.scope, waited=to_seconds(waited)))
        if self._tries > 1:
            self._tell(Retried(at=wall_clock(), scope=permit.scope, attempt=self._tries))

    def _tell(self, event: AnyEvent) -> None:
        on_event = self.terms.on_event
        assert on_event is not None
        try:
            on_event(event)
        except Exception as error:
            _log.error("`on_event` failed on %s, and the request goes on.", type(event).__name__, exc_info=error)


def _number(text: str) -> int | None:
    return int(text) if len(text) <= 4 and text.isdecimal() else None
