"""The governor: decides, scope by scope, which calls may be made now, which wait and which are denied."""

import logging
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cached_property, partial
from os import PathLike, urandom
from pathlib import Path
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import anyio
from anyio.abc import TaskGroup

from governor._access import Access, Leases
from governor._actors.permit import Permit
from governor._backend import Backend
from governor._exports import Later
from governor._failures import Classifier, Classify
from governor._inbound import Inbound
from governor._life import Life
from governor._listeners import Listeners
from governor._lives import GovernorState, Lives
from governor._member.setting_up import set_up
from governor._permit_request import Asking, Cost, ask, keyed
from governor._state import state_of
from governor._threads import has_interpreter_lock
from governor._units import DurationLike
from governor.clock import Clock, forward_clock, system_clock, wall_clock
from governor.config import Config
from governor.config.model import built_in_config
from governor.cooperative import SHARE, some_of, take_turns
from governor.instrumentation import Hook
from governor.messages import Fingerprint, RetryPlan
from governor.policies.retry import CallFailure
from governor.policies.service_order import Priority
from governor.statistics import Statistics

if TYPE_CHECKING:
    from governor import _decorator, _fingerprints, _operator, _retries
    from governor._owner import listen as _listen
else:
    _decorator = Later("governor._decorator")
    _fingerprints = Later("governor._fingerprints")
    _operator = Later("governor._operator")
    _retries = Later("governor._retries")
    _listen = Later("governor._owner.listen")

_log: Final = logging.getLogger("governor")
#: Governors that have been entered and not left, the oldest first. Its reader is `governor.default()`.
running: Final[list["Governor"]] = []


class Governor(Asking):
    """Decides, scope by scope, which calls may be made now, which wait and which are denied.

    `async with Governor(config) as governor:` runs it in the current event loop, `with Governor(config) as governor:` on a
    background thread. After it has been left it may be entered again, in any way and in any loop, and begins anew. Without a
    config the built-in defaults apply. `hooks` receive events. `classify` says what an exception that ends a call says about
    its provider: `"failure"`, `"success"`, `"neutral"`, the HTTP status that it stands for, or None for the rules of the
    library. `clock` and `random` are for tests and simulations.
    """

    _access: Access

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
        if config is not None and not isinstance(config, Config):
            raise TypeError(f"Governor() takes a Config, not {type(config).__name__}; for a dict, use Config.from_mapping(...)")
        #: The settings in force.
        self.config = built_in_config() if config is None else config
        # A use of what was granted ahead is dated a moment later, which a clock that jumps would make as long as its jump.
        # Without the interpreter's lock, two threads could take one permit.
        self._leases = clock is system_clock and has_interpreter_lock()
        self._clock = clock if clock is system_clock else forward_clock(clock)
        self._random = random or Random()
        self._access = Access(self.config, Classifier(classify))
        #: Permits without a message to the scope, for code that makes the way to one shorter.
        self.leases: Final[Leases] = self._access
        self._secret: Final = urandom(32)
        self._listeners = Listeners()
        for hook in hooks:
            self.add_hook(hook)
        #: Admission of inbound requests.
        self.inbound = Inbound(self._access.still_running)
        ended, state = partial(_remove, self), lambda: state_of(self.config, self._clock)
        self._lives = Lives(self._access, self._listeners, set_up=self._set_up, on_closed=ended, state=state)

    @classmethod
    def from_file(cls, path: str | Path | None = None, *, clock: Clock = system_clock, random: Random | None = None) -> Self:
        """A governor for a policy file, overridden by the environment and `.env`. Raises `ConfigError`.

        Without a path, it is the file that `GOVERNOR_CONFIG` names, if any.
        """
        config = Config.load(path)
        if config.policy_file is None:
            from governor.config.variable_names import unread_policy_file  # Loaded only with settings from outside.

            if advice := unread_policy_file():
                _log.warning("%s", advice)
        return cls(config, clock=clock, random=random)

    async def acquire(
        self,
        provider: str,
        method: str | None = None,
        *,
        key: str | None = None,
        cost: Cost = 1,
        timeout: float | None = None,
        attempt: int | None = None,
        caller: str | None = None,
        priority: Priority = "interactive",
        fingerprint: Fingerprint | None = None,
    ) -> Permit:
        """A permit to record by hand: `permit = await governor.acquire("github", "GET", timeout=5.0)`.

        Call `permit.record(...)` once the call has ended, or `permit.give_back()` if it was not made. The arguments and errors
        are those of `permit`.
        """
        return await self._access.acquire(
            keyed(provider, key), method, ask(cost, timeout, attempt, caller, priority, fingerprint)
        )

    def acquire_blocking(
        self,
        provider: str,
        method: str | None = None,
        *,
        key: str | None = None,
        cost: Cost = 1,
        timeout: float | None = None,
        attempt: int | None = None,
        caller: str | None = None,
        priority: Priority = "interactive",
        fingerprint: Fingerprint | None = None,
    ) -> Permit:
        """`acquire` for a thread, which is blocked meanwhile. Raises `UsageError` if that would block the governor's loop."""
        return self._access.acquire_blocking(
            keyed(provider, key), method, ask(cost, timeout, attempt, caller, priority, fingerprint)
        )

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
        failure: CallFailure | None = None,
    ) -> RetryPlan:
        """The plan after attempt number `attempt` has failed: the `delay` before the next one, or the `reason` for none.

        The attempt ended with an HTTP `status`, or without an answer, as `failure` says: leave it out if that is not known, and
        a call that is not idempotent and has no idempotency key is not repeated. `remaining` is the time that the caller has
        left, and `server_wait` the time that the server asked for, in seconds. The plan reserves a retry of the provider's
        retry budget until its permit is asked for, or until `permit.give_up_retry()` of the failed attempt. Blocks for at most
        a second. Raises `ConfigError`, and `UsageError` if the governor is not running.
        """
        failed = _retries.Failure(provider, method, attempt, remaining, status, server_wait, idempotency_key, failure)
        return failed.plan(self._access, self.config.for_scope(failed.scope))

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
        failure: CallFailure | None = None,
    ) -> RetryPlan:
        """`plan_retry` for a task on any event loop, which goes on meanwhile."""
        failed = _retries.Failure(provider, method, attempt, remaining, status, server_wait, idempotency_key, failure)
        return await failed.aplan(self._access, self.config.for_scope(failed.scope))

    def fingerprint(self, method: str, url: str, body: bytes | str | None = None) -> Fingerprint:
        """The fingerprint of a request, for `permit`. `url` is compared as it is, JSON in canonical form.

        Raises `ConfigError` for a part of another type.
        """
        _fingerprints.check(method, url, body)
        return _fingerprints.Fingerprints(self._secret).request(method, url, body)

    def statistics(self) -> Statistics:
        """The state of the governor and of every scope, as frozen records. From any thread, which is blocked meanwhile.

        Raises `UsageError` if the governor is not running.
        """
        return self._access.statistics()

    async def astatistics(self, also: str = "") -> Statistics:
        """`statistics` for a task on any event loop, which goes on meanwhile, as does the governor's own loop.

        Many scopes are read in small steps, each as it stands by then. `also` names a scope, or a provider, that is
        included even if it is set aside.
        """
        portal, survey = self._access.running(), self._access.supervised().survey(also)
        if portal.on_loop():
            return await take_turns(survey)
        span, asked = 0.0, anyio.current_time()
        while (statistics := await portal.acall(partial(some_of, survey, portal.time, span))) is None:
            # As `Turns`: what the other loop takes until it answers is the turn of others.
            answered = anyio.current_time()
            span, asked = SHARE * (answered - asked), answered
        return statistics

    def reconfigure(self, config: Config) -> None:
        """Applies other settings, while everything goes on: of each bucket as large a part is left as before.

        Uses stay counted, breakers keep their state, and queued calls wait by the new limits. May be called on any thread,
        which is blocked until it is done. Raises `UsageError` if the governor is not running.
        """

        def apply() -> None:
            self._listeners.log(config.logging)
            self._access.supervised().reconfigure(config)
            self.config = config
            self._access.follow(config)
            self.inbound.renew()

        self._access.still_running().call(apply)

    def resume(self) -> None:
        """Ends degraded mode at once; the counts of failures in a row and of the excess over the cap begin anew.

        May be called on any thread, which is blocked until it is done. Raises `UsageError` if the governor is not running.
        """
        self._access.still_running().call(self._access.supervised().leave_degraded)

    def set_breaker(self, scope: str, *, open_for: DurationLike | None) -> None:
        """Opens the circuit breaker of a scope for `open_for`, or closes it (None): see `Operator.set_breaker`."""
        self.operator.set_breaker(scope, open_for)

    @cached_property
    def listen(self) -> "_listen.Listen":
        """Lets other processes share the limits of this governor: `async with governor.listen("PATH"):`. See `Listen`."""
        return _listen.Listen(self._access, self.inbound.rekey)

    @cached_property
    def limit(self) -> "_decorator.LimitDecorator":
        """Decorator that takes a permit for each call of a function: `@governor.limit("github")`. See `LimitDecorator`."""
        return _decorator.LimitDecorator(lambda: self, partial(_itself, self))

    @property
    def operator(self) -> "_operator.Operator":
        """Closes, opens and resets scopes and providers by hand. See `Operator`."""
        return _operator.Operator(self._access)

    def add_hook(self, hook: Hook) -> Callable[[], None]:
        """Tells `hook` of every event from now on, on a thread of its own. Returns the function that ends this.

        Raises `UsageError` if the governor has been left.
        """
        return self._listeners.add(hook)

    @property
    def state(self) -> GovernorState:
        """Whether it runs. From another thread than the governor's this may cost a message to its loop."""
        return self._lives.state

    async def start(self) -> Self:
        """Enters it as `async with` does, for programs that begin in one place and end in another: notebooks, hooks.

        It runs in the current event loop until `aclose`, or until that loop ends. Raises `UsageError` if it is running already.
        """
        forget_gone()
        await self._lives.start(self.config)
        return self

    async def aclose(self) -> None:
        """Leaves it as `async with` does: answers every call that waits. From any task and any loop; also if it does not run.

        Raises the error that made the governor fail, if there was one.
        """
        await self._lives.end()

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
        forget_gone()
        self._lives.begin_on_thread(self.config.logging)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._lives.end_on_thread()

    def _set_up(self, life: Life, tasks: TaskGroup) -> Backend:
        supervisor, backend = set_up(
            self.config,
            now=self._clock,
            random=self._random,
            portal=life.portal,
            tasks=tasks,
            on_forgotten=partial(self._access.forget, life.addresses),
            announcer=life.announcer,
            classifier=self._access.classifier,
            leases=self._leases,
            state=life.state,
        )
        self.inbound.begin(life.portal, supervisor, backend.gate)
        supervisor.started_at = wall_clock()
        running.append(self)
        return backend

    def __repr__(self) -> str:
        known = "not started" if self.state is GovernorState.NEW else self.state.value
        return f"<Governor, {known}, {len(self.config.outbound)} outbound policies>"


async def _itself(governor: Governor) -> Governor:
    return governor


def forget_gone() -> None:
    """Removes the governors from `running` whose event loops have ended without notice."""
    for governor in tuple(running):
        # One that is found so removes itself; one of another process did not run here.
        portal = governor._access.portal
        if (portal is None or governor._access.process != os.getpid() or not portal.alive()) and _remove(governor):
            governor._listeners.announcer.close(timeout=0)


def _remove(governor: Governor) -> bool:
    with suppress(ValueError):
        running.remove(governor)
        return True
    return False


def _after_fork() -> None:
    for governor in running:
        governor._access.forked()
        governor._lives.forked()
    running.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork)
