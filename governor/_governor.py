"""What does a program hold? The governor: the door to all scopes, from any thread and any event loop.

On the governor's own loop an ask is a function call. From elsewhere it is one message and one answer.
"""

import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sized
from contextlib import asynccontextmanager, suppress
from functools import partial
from os import PathLike
from pathlib import Path
from random import Random
from threading import get_ident
from types import TracebackType
from typing import Final, Protocol, Self

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from governor._actors.actor import ScopeActor
from governor._actors.asking import answer_timeout, ask_blocking, ask_from_another_loop, ask_here, overloaded
from governor._actors.permit import Permit
from governor._actors.portal import NoPortal, Portal
from governor._background import Background
from governor._failures import Classifier, Classify
from governor._inbound import Inbound
from governor._life import Life
from governor._supervisor import Supervisor
from governor._threads import run_on_thread
from governor._units import MAX_DURATION, from_seconds, to_seconds
from governor.clock import Clock, forward_clock, system_clock, wall_clock
from governor.config import Config, LoggingSettings, check_scope
from governor.errors import ConfigError, Reason, UsageError
from governor.instrumentation import Announcer, Hook
from governor.messages import Acquire, Denied, PlanRetry
from governor.policies import _checks
from governor.policies.contract import PLAIN, REQUESTS, Request
from governor.statistics import Statistics

#: Seconds. A longer timeout is none.
_MAX_TIMEOUT: Final = to_seconds(MAX_DURATION)

#: What a permit may cost: a number of requests, or amounts by unit: `{"requests": 1, "tokens": 900}`.
Cost = int | Mapping[str, int]


#: Governors that have been entered and not left, the oldest first. Its reader is `governor.default()`.
running: Final[list["Governor"]] = []


class LeasedPermits(Protocol):
    """The permits that a scope has granted ahead, for code that takes one without a call of the governor.

    Nothing may be taken while `large` or `failures` holds something: an ask for several requests waits for the same limits, or
    a failure was reported and not read yet, which may pause the scope.
    """

    @property
    def large(self) -> Sized:
        """Unread asks for more than one request."""

    @property
    def failures(self) -> Sized:
        """Unread failures, of any scope."""

    @property
    def pop_leased(self) -> Callable[[], Permit]:
        """Takes a permit, on any thread. Raises `IndexError` if none is left."""


class Governor:
    """Decides, scope by scope, which calls may be made now, which must wait and which must not be made.

    `async with Governor(config) as governor:` runs it in the event loop at hand; `with Governor(config) as governor:` on a
    background thread. Once left it may be entered again, in any way and in any loop, and begins anew. Without a config the
    built-in defaults are in force. `hooks` are told what happens. `classify` says what an exception that ends a call says about
    its provider: `"failure"`, `"success"`, `"neutral"`, the HTTP status that it stands for, or None for the rules of the
    library. `clock` and `random` are for tests and simulations.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        hooks: Iterable[Hook] = (),
        classify: Classify | None = None,
        clock: Clock = system_clock,
        random: Random | None = None,
    ) -> None:
        if isinstance(config, (str, PathLike)):
            raise TypeError(f"Governor() takes a Config; for a policy file, use Governor.from_file({str(config)!r})")
        self.config = Config.from_mapping({}) if config is None else config
        # A use of what was granted ahead is dated when the actor looks, a moment later. A clock that jumps, as those of tests
        # do, would make that moment as long as its jump.
        self._lends = clock is system_clock
        self._clock = clock if clock is system_clock else forward_clock(clock)
        self._random = random or Random()
        self._thread = 0
        self.process = 0
        #: Spellings of scopes and their actors; emptied when full, when the governor has ended, and in a forked child.
        self._addresses: dict[tuple[str, str | None], ScopeActor] = {}
        # Of each scope, the spellings that have a door.
        self._spellings: dict[str, list[tuple[str, str | None]]] = {}
        self._max_addresses = 4 * self.config.global_.max_scopes
        self._announcer = Announcer(wall_clock)
        self._classifier = Classifier(classify)
        #: The hooks to tell in this life and the next ones, and how to end that in this one.
        self._hooks: dict[object, tuple[Hook, Callable[[], None]]] = {}
        for hook in hooks:
            self.add_hook(hook)
        #: What is done about logs, and how to end that.
        self._logging = LoggingSettings()
        self._end_log: Callable[[], None] | None = None
        #: The time of day at which it was entered, in seconds since 1970.
        self.started_at: float | None = None
        #: Has it been left, or has its event loop gone, and has it not been entered again?
        self.closed = False
        #: Admission of inbound requests.
        self.inbound = Inbound(self._still_running)
        self._portal: Portal | None = None
        self._supervisor: Supervisor | None = None
        self._life: Life | None = None
        self._background: Background | None = None
        self.closes_when_stuck = False

    @classmethod
    def from_file(cls, path: str | Path | None = None, *, clock: Clock = system_clock, random: Random | None = None) -> Self:
        """A governor for a policy file, overridden by the environment and `.env`. Raises `ConfigError`."""
        return cls(Config.load(path), clock=clock, random=random)

    # Asking.

    def try_permit(self, provider: str, method: str | None = None, *, cost: Cost = 1) -> Permit | Denied:
        """A permit at once, or why not. Never waits.

        On another thread it comes out of what has been granted ahead, or else takes one round trip to the governor's loop.
        Raises `ConfigError` for a scope or a cost that cannot be, `UsageError` if the governor is not running.
        """
        if cost == 1:
            actor = self._addresses.get((provider, method))
            if actor is not None:
                if get_ident() == self._thread:
                    # Safe whichever loop runs on this thread: it has ended before any other takes its turn.
                    answer = actor.grab(deny=True)
                    if answer is not None:
                        return answer
                    if self._running().on_loop():
                        return actor.try_acquire()
                else:
                    permit = actor.take()
                    if permit is not None:
                        return permit
        found = self._find(provider, method, 0)
        if isinstance(found, Denied):
            return found
        acquire = Acquire(PLAIN if cost == 1 else _request(cost))
        portal = self._running()
        if portal.here():
            return found.acquire(acquire, None) or overloaded(found.scope)
        return ask_blocking(portal, found, acquire)

    def permit(
        self,
        provider: str,
        method: str | None = None,
        *,
        cost: Cost = 1,
        timeout: float | None = None,
        attempt: int | None = None,
        classify: Classify | None = None,
    ) -> "PermitRequest":
        """A permit for the length of a block: `async with governor.permit("github", "GET", timeout=5.0) as permit:`.

        Waits in line for at most `timeout` seconds (None, or more than 366 days: as long as it takes; 0: not at all), and
        raises a leaf of `PermitDenied` as soon as it is known that the wait would be longer. `attempt` counts the tries of one
        operation from 1, for the retry budget; leave it out for a call that is not retried. `classify` is asked about the
        exception by which the block is left, before that of the governor. `with` instead of `async with` blocks the thread, and
        cannot wait on the governor's own.
        """
        if timeout is not None:
            if not timeout >= 0:
                raise ConfigError("timeout", timeout, "None, or a number of seconds of at least 0")
            if timeout > _MAX_TIMEOUT:
                timeout = None
        request = PLAIN if cost == 1 else _request(cost)
        classifier = None if classify is None else Classifier(classify, fallback=self._classifier)
        return PermitRequest(self, provider, method, Acquire(request, timeout, attempt), classifier)

    def plan_retry(
        self,
        provider: str,
        method: str,
        *,
        attempt: int,
        remaining: float | None = None,
        status: int | None = None,
        server_wait: float | None = None,
        idempotency_key: bool = False,
    ) -> float | None:
        """Seconds to wait before trying again after attempt number `attempt` has failed; None: do not try again.

        It failed with an HTTP `status`, or without one on the way. `remaining` is what is left of the caller's time and
        `server_wait` what the server asked for, in seconds. Says None for a method that must not be repeated, a status that
        is not worth it, after the last attempt, when the wait would pass the caller's time, when the provider's retry budget is
        used up, and when the governor's event loop does not answer for a second.
        """
        if not self._is_worth_it(provider, method, status, idempotency_key=idempotency_key):
            return None
        plan = partial(self._plan_retry, provider, method, _plan_message(attempt, remaining, server_wait))
        portal = self._running()
        try:
            return portal.call(plan, answer_timeout(0))
        except TimeoutError:
            return None
        except UsageError:
            if portal.alive():
                raise
            return None

    async def aplan_retry(
        self,
        provider: str,
        method: str,
        *,
        attempt: int,
        remaining: float | None = None,
        status: int | None = None,
        server_wait: float | None = None,
        idempotency_key: bool = False,
    ) -> float | None:
        """The same for a task on any event loop, which goes on while the governor's is asked."""
        if not self._is_worth_it(provider, method, status, idempotency_key=idempotency_key):
            return None
        plan = partial(self._plan_retry, provider, method, _plan_message(attempt, remaining, server_wait))
        portal = self._running()
        try:
            return plan() if portal.on_loop() else await portal.acall(plan, answer_timeout(0))
        except TimeoutError:
            return None
        except UsageError:
            if portal.alive():
                raise
            return None

    def _is_worth_it(self, provider: str, method: str, status: int | None, *, idempotency_key: bool) -> bool:
        """Is this a method that may be repeated, and a failure after which that makes sense?"""
        retry = self.config.for_scope(_scope(provider, method)).retry
        return retry.repeats(method, idempotency_key=idempotency_key) and (status is None or retry.retries_status(status))

    def _plan_retry(self, provider: str, method: str, message: PlanRetry) -> float | None:
        actor = self._find(provider, method, None)
        return None if isinstance(actor, Denied) else actor.plan_retry(message)

    def statistics(self) -> Statistics:
        """How things stand, scope by scope, as frozen records."""
        return self._running().call(self._supervised().statistics)

    async def astatistics(self, also: str = "") -> Statistics:
        """The same for a task on any event loop, which goes on while the governor's is asked; so does the governor's own.

        With many scopes it is read in small steps, each as things stand by then. `also` is a scope, or a provider, to be
        shown even if it is set aside.
        """
        portal, survey = self._running(), self._supervised().survey(also)
        if portal.on_loop():
            while (statistics := next(survey)) is None:
                await anyio.lowlevel.checkpoint()
        else:
            while (statistics := await portal.acall(partial(next, survey))) is None:
                pass
        return statistics

    # Changing and watching.

    def reconfigure(self, config: Config) -> None:
        """Other settings from now on, while everything goes on: of each bucket as large a part is left as before.

        What has been used in a strict window stays used, breakers stand where they stood, and those who wait go on waiting, by
        the new limits. May be called on any thread, which is blocked until that is done. Raises `UsageError` if the governor is
        not running.
        """
        self._still_running().call(partial(self._reconfigure, config))

    def _reconfigure(self, config: Config) -> None:
        self._keep_log(config.logging)
        self._supervised().reconfigure(config)
        self.config = config
        self._max_addresses = 4 * config.global_.max_scopes

    def resume(self) -> None:
        """Ends degraded mode at once: those who wait for its end go on. Failures in a row and excess are counted anew.

        What was granted before says nothing about the time after. May be called on any thread, which is blocked until that is
        done, whether or not traffic is paused. Raises `UsageError` if the governor is not running.
        """
        self._still_running().call(self._supervised().leave_degraded)

    def add_hook(self, hook: Hook) -> Callable[[], None]:
        """Has `hook` told of every event from now on, on a thread of its own; call what is returned to end that.

        Raises `UsageError` if the governor has been left.
        """
        key = object()
        self._hooks[key] = hook, self._announcer.add(hook)

        def remove() -> None:
            """Tells the hook of nothing that happens from now on."""
            known = self._hooks.pop(key, None)
            if known is not None:
                known[1]()

        return remove

    def _keep_log(self, settings: LoggingSettings) -> None:
        """Has events written down from now on, or no longer, as the settings say."""
        if settings == self._logging:
            return
        end = None
        if settings.enabled:
            # Who wants no log does not even load what could write one.
            from governor.instrumentation.log import Log

            size = settings.max_size_mb * 1_000_000
            lost = self._announcer.count_failures
            log = Log(settings.directory, max_size=size, wall_clock=wall_clock, lost=lost)
            end = self._announcer.add(log, pause=log.pause, last=log.close)
        if self._end_log is not None:
            self._end_log()
        self._logging, self._end_log = settings, end

    @property
    def leases(self) -> Mapping[tuple[str, str | None], LeasedPermits]:
        """The leases of scopes, by provider and method as spelled. Another mapping after the governor is entered again."""
        return self._addresses

    # Running.

    async def start(self) -> Self:
        """What `async with` does on entering, for programs that begin in one place and end in another: notebooks, hooks.

        Runs it in the event loop at hand, whichever task calls this, until `aclose` or until that loop ends. Raises
        `UsageError` if it is running already.
        """
        await self._begin()
        return self

    async def aclose(self) -> None:
        """What `async with` does on leaving: answers everybody who waits. From any task and any loop; also if it does not run.

        Raises what made the governor fail, if it has.
        """
        if self._background is not None:
            with anyio.CancelScope(shield=True):
                await run_on_thread(self._background.stop)
        await self._leave()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.aclose()
        except Exception:
            if error is None:
                raise

    def __enter__(self) -> Self:
        background = Background(self._lived)
        background.start()
        self._background = background
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._background is not None:
            self._background.stop()

    @asynccontextmanager
    async def _lived(self) -> AsyncIterator[None]:
        await self._begin()
        try:
            yield
        finally:
            await self._leave()

    async def _begin(self) -> None:
        life = self._life
        if life is not None and not life.closed and self.process == os.getpid() and life.portal.alive():
            raise UsageError("this governor has been entered before and is still running; leave it first, or make a new one")
        forget_gone()
        if life is not None:
            self._renew_announcer()
        self._keep_log(self.config.logging)
        # Taken at once, so that of two who enter it at the same time only one does.
        self._life = life = Life(self._announcer, set_up=self._set_up, on_closed=self._on_closed, on_moved=self._on_moved)
        self._background = None
        self.process = os.getpid()
        await life.start()

    async def _leave(self) -> None:
        life = self._life
        if life is not None and self.process == os.getpid():
            await life.stop()
            failure, life.failure = life.failure, None
            if failure is not None:
                raise failure

    def _renew_announcer(self) -> None:
        """Another life has other queues and threads for the same hooks."""
        self._announcer.close(timeout=0)
        self._announcer = Announcer(wall_clock)
        self._logging, self._end_log = LoggingSettings(), None
        for key, (hook, _) in list(self._hooks.items()):
            self._hooks[key] = hook, self._announcer.add(hook)

    def _set_up(self, life: Life, tasks: TaskGroup) -> Supervisor:
        self._spellings = spellings = dict[str, list[tuple[str, str | None]]]()
        supervisor = Supervisor(
            self.config,
            now=self._clock,
            random=self._random,
            portal=life.portal,
            tasks=tasks,
            on_forgotten=partial(_forget_addresses, life.addresses, spellings),
            announcer=life.announcer,
            classifier=self._classifier,
            lends=self._lends,
        )
        self._portal, self._supervisor, self._addresses = life.portal, supervisor, life.addresses
        self._thread = life.portal.thread
        self.inbound.begin(life.portal, supervisor)
        self.started_at = supervisor.started_at = wall_clock()
        self.closed = self.closes_when_stuck = False
        running.append(self)
        return supervisor

    def _on_closed(self, life: Life) -> None:
        if life is self._life:
            self._thread = 0
            self.closed = True
            with suppress(ValueError):
                running.remove(self)
            if self._background is not None:
                self._background.leave()

    def _on_moved(self, life: Life) -> None:
        if life is self._life:
            self._thread = life.portal.thread

    def close_when_stuck(self) -> None:
        """Closes it, on its background thread, once every other thread but daemons waits for what nobody can give any more.

        For the time after the main thread has ended, when the interpreter waits for the others.
        """
        if self._background is not None:
            self.closes_when_stuck = True
            self._background.stop_when(self._stuck)

    def stay_closed(self) -> None:
        """Closes one that could not begin, so that every ask is answered `shutting_down`, and leaves it so."""
        self._portal, self.process = NoPortal(), os.getpid()
        self.closed = self.closes_when_stuck = True

    def _stuck(self) -> bool:
        main = threading.main_thread()
        others = {thread.ident for thread in threading.enumerate() if not thread.daemon and thread is not main}
        return bool(others) and self._supervisor is not None and others <= self._supervisor.stuck()

    def __repr__(self) -> str:
        state = "not started" if self._portal is None else "running" if self.alive() else "closed"
        return f"<Governor, {state}, {len(self.config.outbound)} outbound policies>"

    def alive(self) -> bool:
        """Is it running in this process? Not before it is entered, after it is left, or once its event loop has ended."""
        return self._portal is not None and self.process == os.getpid() and self._portal.alive()

    @property
    def ended(self) -> bool:
        """Has it been left, or found without its event loop? Costs next to nothing, and may notice later than `alive`."""
        return self._portal is not None and self._portal.ended

    # The way to an actor.

    def _running(self) -> Portal:
        if self._portal is None:
            raise UsageError("this governor is not running; use `async with Governor(...)` or `with Governor(...)`")
        if self.process != os.getpid():
            raise UsageError("this governor was started before a fork and does not run in this process; start one here")
        return self._portal

    def _still_running(self) -> Portal:
        portal = self._running()
        if portal.ended:
            raise UsageError("the governor has been closed")
        return portal

    def _supervised(self) -> Supervisor:
        if self._supervisor is None:
            raise UsageError("the governor has been closed")
        return self._supervisor

    def _find(self, provider: str, method: str | None, timeout: float | None) -> ScopeActor | Denied:
        """The actor of the scope, whatever the thread; a denial if there can be none, or if nobody answers in time."""
        actor = self._addresses.get((provider, method))
        if actor is not None and self.process == os.getpid():
            return actor
        portal = self._running()
        scope = _scope(provider, method)
        if portal.ended:
            return Denied(scope, Reason.SHUTTING_DOWN, None)
        try:
            return portal.call(partial(self._find_address, provider, method, scope), answer_timeout(timeout))
        except TimeoutError:
            return overloaded(scope)
        except UsageError:
            return Denied(scope, Reason.SHUTTING_DOWN, None)

    async def _find_from_another_loop(self, provider: str, method: str | None, timeout: float | None) -> ScopeActor | Denied:
        """The same for a task on another loop, which goes on meanwhile."""
        actor = self._addresses.get((provider, method))
        if actor is not None and self.process == os.getpid():
            return actor
        portal = self._running()
        scope = _scope(provider, method)
        if portal.ended:
            return Denied(scope, Reason.SHUTTING_DOWN, None)
        try:
            return await portal.acall(partial(self._find_address, provider, method, scope), answer_timeout(timeout))
        except TimeoutError:
            return overloaded(scope)
        except UsageError:
            return Denied(scope, Reason.SHUTTING_DOWN, None)

    def _find_address(self, provider: str, method: str | None, scope: str) -> ScopeActor | Denied:
        actor = None if self._supervisor is None else self._supervisor.actor(scope)
        if actor is None:
            return overloaded(scope)
        if len(self._addresses) >= self._max_addresses:
            self._addresses.clear()
            self._spellings.clear()
        self._addresses[provider, method] = actor
        self._spellings.setdefault(actor.scope, []).append((provider, method))
        return actor

    def acquire_blocking(self, provider: str, method: str | None, acquire: Acquire) -> Permit:
        """What `with governor.permit(...)` does on entering."""
        actor = self._find(provider, method, acquire.timeout)
        if isinstance(actor, Denied):
            raise actor.exception()
        answer: Permit | Denied | None = None if get_ident() == self._thread else _take(actor, acquire)
        if answer is None:
            portal = self._running()
            answer = _acquire_here(actor, acquire) if portal.here() else ask_blocking(portal, actor, acquire)
        if isinstance(answer, Denied):
            raise answer.exception()
        return answer

    async def acquire(self, provider: str, method: str | None, acquire: Acquire) -> Permit:
        """What `async with governor.permit(...)` does on entering."""
        here = get_ident() == self._thread
        actor = self._addresses.get((provider, method)) if here else None
        if actor is not None and acquire.request is PLAIN and acquire.attempt is None:
            # Safe whichever loop runs on this thread, as in `try_permit`. Only what may wait must look which one it is.
            permit = actor.grab()
            if permit is not None:
                return permit
        if here and not self._running().on_loop():
            here, actor = False, None
        answer: Permit | Denied
        find = (provider, method, acquire.timeout)
        found = actor or (self._find(*find) if here else await self._find_from_another_loop(*find))
        if isinstance(found, Denied):
            answer = found
        elif here:
            answer = await ask_here(found, acquire)
        else:
            answer = _take(found, acquire) or await self._ask(found, acquire)
        if isinstance(answer, Denied):
            # A caller that asks again and again must not keep the loop from everybody else, least of all from the outcomes
            # and alarms that would end the refusals.
            await anyio.lowlevel.checkpoint()
            raise answer.exception()
        return answer

    async def _ask(self, actor: ScopeActor, acquire: Acquire) -> Permit | Denied:
        portal = self._running()
        # On another thread than at first, it may be the governor's own loop nevertheless.
        return await (ask_here(actor, acquire) if portal.on_loop() else ask_from_another_loop(portal, actor, acquire))


class PermitRequest:
    """A permit to come: enter it with `async with`, or with `with` where blocking is allowed. For one use.

    A second entry raises `UsageError`, whatever became of the first one: a permit allows one call.
    """

    __slots__ = ("_acquire", "_classifier", "_entered", "_governor", "_method", "_permit", "_provider")

    def __init__(
        self, governor: Governor, provider: str, method: str | None, acquire: Acquire, classifier: Classifier | None = None
    ) -> None:
        self._governor = governor
        self._provider = provider
        self._method = method
        self._acquire = acquire
        self._classifier = classifier
        self._permit: Permit | None = None
        self._entered = False

    async def __aenter__(self) -> Permit:
        # The interpreter changes threads after a call, and there is none between the look and the mark: one thread gets in.
        if self._entered:
            raise self._used_up()
        self._entered = True
        self._permit = permit = await self._governor.acquire(self._provider, self._method, self._acquire)
        return permit

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        permit = self._permit
        if permit is not None and not permit.reported:
            permit.record(error=error) if error is None or self._classifier is None else permit.fail(error, self._classifier)

    def __enter__(self) -> Permit:
        if self._entered:
            raise self._used_up()
        self._entered = True
        self._permit = permit = self._governor.acquire_blocking(self._provider, self._method, self._acquire)
        return permit

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        permit = self._permit
        if permit is not None and not permit.reported:
            permit.record(error=error) if error is None or self._classifier is None else permit.fail(error, self._classifier)

    def _used_up(self) -> UsageError:
        asked = repr(self._provider) if self._method is None else f"{self._provider!r}, {self._method!r}"
        return UsageError(
            f"this request for a permit has been entered before, and is for one call; write `permit({asked})` for each call"
        )

    def __repr__(self) -> str:
        asked = self._provider if self._method is None else f"{self._provider}:{self._method}"
        return f"<PermitRequest for {asked.lower()}, {'entered' if self._entered else 'not entered yet'}>"


def _acquire_here(actor: ScopeActor, acquire: Acquire) -> Permit | Denied:
    """What a caller gets who blocks the thread of the actor's loop, where waiting would be in vain."""
    answer = actor.acquire(acquire, None) or overloaded(actor.scope)
    if isinstance(answer, Denied) and answer.retry_after is not None and acquire.timeout != 0:
        raise UsageError(
            f"a permit for {actor.scope} takes {answer.retry_after:.3f} s, and waiting here would block the event loop "
            "that grants it; use `async with`, or timeout=0"
        )
    return answer


def _take(actor: ScopeActor, acquire: Acquire) -> Permit | None:
    """What a caller on another thread finds without asking; None if it must ask."""
    if acquire.request is not PLAIN:
        return None
    if acquire.attempt is None:
        return actor.take()
    return actor.take_first() if acquire.attempt == 1 else None


def _scope(provider: str, method: str | None) -> str:
    scope = (provider if method is None else f"{provider}:{method}").lower()
    check_scope(scope)
    return scope


def _request(cost: Cost) -> Request:
    if isinstance(cost, Mapping):
        units = dict(cost)
        requests = units.pop(REQUESTS, 1)
        for unit, amount in units.items():
            _checks.unit_name("cost", unit)
            units[unit] = _checks.whole(f"cost[{unit!r}]", amount, minimum=0)
    else:
        requests, units = cost, {}
    return Request(_checks.whole("cost", requests), units or None)


def _plan_message(attempt: int, remaining: float | None, server_wait: float | None) -> PlanRetry:
    return PlanRetry(
        attempt,
        None if remaining is None or remaining > _MAX_TIMEOUT else from_seconds(max(0.0, remaining), field="remaining"),
        # Beyond what a duration can be, a wait is absurd and counts as not said.
        None if server_wait is None or server_wait > _MAX_TIMEOUT else from_seconds(server_wait, field="server_wait"),
    )


def forget_gone() -> None:
    """Forgets the governors whose event loops have gone without a word."""
    for governor in tuple(running):
        # One that has just been found so takes itself off the list; one of another process did not run here.
        if not governor.alive():
            with suppress(ValueError):
                running.remove(governor)
                governor._announcer.close(timeout=0)


def _forget_addresses(
    addresses: dict[tuple[str, str | None], ScopeActor], spellings: dict[str, list[tuple[str, str | None]]], actor: ScopeActor
) -> None:
    """The actor has been dropped: whoever asks for its scope next must find another one."""
    for spelling in spellings.pop(actor.scope, ()):
        addresses.pop(spelling, None)


def _after_fork() -> None:
    """A forked child has copies of the governors, and none of their loops: nobody must take a short way to an actor."""
    for governor in running:
        governor._thread = 0
        governor._addresses.clear()
        governor._announcer.forked()
        if governor._portal is not None:
            governor._portal.ended = True
    running.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork)
