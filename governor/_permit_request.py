"""What a governor is asked for permits with, and a permit to come: the context manager that `Governor.permit` returns."""

from collections.abc import Coroutine, Mapping
from threading import get_ident
from types import TracebackType
from typing import Final, final

import msgspec

# C: import cython
from governor._access import ANY, Access, FoundAccess
from governor._actors.permit import Permit
from governor._callers import any_block, check_label, label_of_block
from governor._failures import Classifier, Classify
from governor._finished import NOTHING
from governor._units import MAX_DURATION, to_seconds
from governor.config import with_key
from governor.errors import ConfigError, UsageError
from governor.messages import Acquire, Denied, Fingerprint, WatchedCall
from governor.policies import _checks
from governor.policies.budget import whole_amount
from governor.policies.contract import PLAIN, REQUESTS, Request
from governor.policies.service_order import PRIORITIES, Priority

#: Seconds. A longer timeout counts as none.
MAX_TIMEOUT: Final = to_seconds(MAX_DURATION)

#: What `try_permit` asks for in most calls: one request, at once or not at all.
_NOW: Final = Acquire(PLAIN, 0.0)

#: What a permit may cost: a number of requests, or amounts by unit: `{"requests": 1, "tokens": 900}`.
Cost = int | Mapping[str, float]


# C: @cython.freelist(8)
# C: @cython.cclass
@final
class PermitRequest(msgspec.Struct, eq=False):  # C: class PermitRequest:
    """A permit to come: enter it with `async with`, or with `with` where blocking is allowed. For one use.

    A second entry raises `UsageError`, whatever became of the first one: a permit allows one call. One that is never entered
    asks for nothing, and warns when it is collected, as a coroutine does that is never awaited (`RuntimeWarning`).
    """

    _access: Access | FoundAccess
    _provider: str
    _method: str | None
    _acquire: Acquire
    _classifier: Classifier | None
    #: The permit, once there is one. A list, so that the coroutine that is awaited can leave it here.
    _permits: list[Permit]
    #: What the first entry awaits; None from then on. Made with the request, because the interpreter warns of a coroutine that
    #: is never awaited. A finalizer of ours could swallow a KeyboardInterrupt.
    _acquiring: Coroutine[object, object, Permit] | None

    # In C a finalizer swallows nothing, and the interpreter warns of a coroutine that is made there only to be dropped.
    # C: def __dealloc__(self):
    # C:     if self._acquiring is not None:
    # C:         self._access.acquire(self._provider, self._method, self._acquire)

    def __aenter__(self) -> Coroutine[object, object, Permit]:
        # The interpreter changes threads after a call, and there is none between the look and the mark: one thread gets in.
        acquiring = self._acquiring
        if acquiring is None:
            raise self._used_up()
        self._acquiring = None
        # C: if (permit := taken(self, PLAIN, ANY)) is None: return self._wait()
        # C: self._permit = permit
        return acquiring  # C: return finished(permit)

    # C: async def _wait(self):
    # C:     self._permit = permit = await self._access.acquire(self._provider, self._method, self._acquire)
    # C:     return permit

    def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Coroutine[object, object, None]:
        permit = self._permits[0] if self._permits else None  # C: permit = self._permit
        if permit is not None and not permit.reported:
            permit.record(error=error) if error is None or self._classifier is None else permit.fail(error, self._classifier)
        return NOTHING

    def __enter__(self) -> Permit:
        acquiring = self._acquiring
        if acquiring is None:
            raise self._used_up()
        self._acquiring = None
        acquiring.close()  # C: pass
        if self._acquire.timeout != 0 and self._access.must_not_block():
            # At once and always: a block that works until it has to wait fails in production.
            raise UsageError(
                f"`with permit({self._asked()})` would block the event loop that grants the permit; write `async with`, or "
                "set timeout=0"
            )
        permit = self._access.acquire_blocking(self._provider, self._method, self._acquire)
        self._permits.append(permit)  # C: self._permit = permit
        return permit

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        permit = self._permits[0] if self._permits else None  # C: permit = self._permit
        if permit is not None and not permit.reported:
            permit.record(error=error) if error is None or self._classifier is None else permit.fail(error, self._classifier)

    def _used_up(self) -> UsageError:
        return UsageError(
            f"this request for a permit has been entered before, and is for one call; write `permit({self._asked()})` for each "
            "call"
        )

    def _asked(self) -> str:
        return repr(self._provider) if self._method is None else f"{self._provider!r}, {self._method!r}"

    def __repr__(self) -> str:
        scope = self._provider if self._method is None else f"{self._provider}:{self._method}"
        parts = [scope.lower()]
        if self._acquire.request is not PLAIN:
            parts.append(f"cost {_cost(self._acquire.request)}")
        if self._acquire.timeout is not None:
            parts.append(f"timeout {self._acquire.timeout:g} s")
        return f"<PermitRequest for {', '.join(parts)}, {'entered' if self._acquiring is None else 'not entered yet'}>"


def ask(
    cost: Cost,
    timeout: float | None,
    attempt: int | None,
    caller: str | None = None,
    priority: Priority = "interactive",
    fingerprint: Fingerprint | None = None,
) -> Acquire:
    """The message for an actor. Without a `caller`, the label is that of the block of code. Raises `ConfigError`."""
    plain = cost == 1 and timeout is None and attempt is None and priority == "interactive"
    if plain and caller is None and fingerprint is None and not any_block:
        return ANY
    if caller is not None:
        check_label(caller)
    elif any_block:
        caller = label_of_block()
    # What is of another type would fail in the actor, and so for all of its callers.
    if fingerprint is not None and not isinstance(fingerprint, Fingerprint):
        raise ConfigError("fingerprint", fingerprint, "what `Governor.fingerprint` returns")
    watched = None if fingerprint is None else WatchedCall(fingerprint)
    if timeout is not None and not (type(timeout) is float and 0 <= timeout <= MAX_TIMEOUT):
        timeout = _seconds(timeout)
    if attempt is not None:
        attempt = _checks.whole("attempt", attempt)
    if priority not in PRIORITIES:
        raise ConfigError("priority", priority, " or ".join(map(repr, PRIORITIES)))
    return Acquire(PLAIN if cost == 1 else request_of(cost), timeout, attempt, caller, priority, watched)


def _seconds(timeout: float) -> float | None:
    """A timeout as a float, None for one that is longer than `MAX_TIMEOUT`. Raises `ConfigError`."""
    try:
        if timeout >= 0:
            return None if timeout > MAX_TIMEOUT else timeout + 0.0
    except TypeError:
        pass
    raise ConfigError("timeout", timeout, "None, or a number of seconds of at least 0")


def request_of(cost: Cost) -> Request:
    """A cost as the policies count it. Raises `ConfigError`."""
    if isinstance(cost, Mapping):
        requests: object = cost.get(REQUESTS, 1)
        units = {}
        if len(cost) > _checks.MAX_UNITS:
            _checks.units("cost", cost)
        for unit, amount in cost.items():
            if unit != REQUESTS:
                _checks.unit_name("cost", unit)
                units[unit] = whole_amount(f"cost[{unit!r}]", unit, amount)
    else:
        requests, units = cost, {}
    return Request(_checks.whole("cost", requests), units or None)


def _cost(request: Request) -> str:
    units = {REQUESTS: request.cost, **(request.units or {})}
    return ", ".join(f"{amount} {unit}" for unit, amount in units.items())


def keyed(provider: str, key: str | None, caller: str | None = None) -> str:
    """The provider with the key of a call, if it has one. Checks the label of its caller as well. Raises `ConfigError`."""
    if caller is not None:
        check_label(caller)
    return provider if key is None else with_key(provider, key)


class Asking:
    """The ways to a permit that are short: at once or not at all, and for the length of a block."""

    __slots__ = ("_access",)

    _access: Access | FoundAccess

    def try_permit(
        self,
        provider: str,
        method: str | None = None,
        *,
        key: str | None = None,
        cost: Cost = 1,
        caller: str | None = None,
    ) -> Permit | Denied:
        """A permit at once, or a denial with its reason. Does not wait in the queue. The arguments are those of `permit`.

        On another thread the permit comes from those granted ahead, or takes one round trip to the governor's loop, of a second
        at most. Raises `ConfigError` for an invalid argument, and `UsageError` if the governor is not running.
        """
        access = self._access
        if key is not None or caller is not None:
            provider = keyed(provider, key, caller)
        if cost == 1 and not (access.by_label and access.label(caller)):
            try:  # C: actor = address_of(access, provider, method)
                actor = access.addresses[method][provider]  # C:
            except (KeyError, TypeError):  # C:
                actor = None  # C:
            if actor is not None:
                if get_ident() == access.thread:  # C: if this_thread(get_ident) == access.thread:
                    # Safe whichever loop runs on this thread: it has ended before any other takes its turn.
                    answer = actor.grab(True)  # C: answer = actor.granted(True)
                    if answer is not None:
                        return answer
                    if access.running().on_loop():
                        return actor.try_acquire()
                else:
                    permit = actor.take()
                    if permit is not None:
                        return permit
        acquire = _NOW if cost == 1 and caller is None and not any_block else ask(cost, 0.0, None, caller)
        return access.try_acquire(provider, method, acquire)

    def permit(
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
        classify: Classify | None = None,
    ) -> PermitRequest:
        """A permit for the length of a block: `async with governor.permit("github", "GET", timeout=5.0) as permit:`.

        `with` does the same for a thread, which it blocks. Waits in the queue of the scope, and raises a leaf of `PermitDenied`
        as soon as it is known that the wait would be longer than the timeout. Leaving the block reports the outcome, unless
        `record` has. The scope is `provider:method`, or `provider` without a method, in any case.

        - `key`: the model, resource or account, where limits are per key. `gpt-5` makes the scope `openai/gpt-5:post`.
        - `cost`: a number of requests of at least 1, or amounts by unit: `{"tokens": 900}`.
        - `timeout`: seconds to wait at most. None, or more than 366 days, is no bound; 0 is no wait.
        - `attempt`: the number of the attempt of one operation, from 1, for the retry budget. Not for calls without retries.
        - `caller`: the label of the caller; by default that of the block (`governor.caller`).
        - `priority`: `"batch"` waits behind `"interactive"`, except for one in ten.
        - `fingerprint`: what `Governor.fingerprint` returns. The loop guard then watches for repetitions of the call, whose
          `answer` is passed to `record`.
        - `classify`: asked about the exception that ends the block, before the `classify` of the governor.

        Raises `ConfigError` for an invalid argument, and `UsageError` if the governor is not running, or if `with` on the
        governor's own loop would wait.
        """
        classifier = None if classify is None else Classifier(classify, fallback=self._access.classifier)
        if key is not None:
            provider = keyed(provider, key)
        plain = cost == 1 and timeout is None and attempt is None and caller is None and fingerprint is None
        if plain and priority == "interactive" and not any_block:
            acquire = ANY  # As `ask`, without its call.
        else:
            acquire = ask(cost, timeout, attempt, caller, priority, fingerprint)
        # C: return request(self, provider, method, acquire, classifier)
        access = self._access  # C:
        permits: list[Permit] = []  # C:
        acquiring = access.acquire(provider, method, acquire, permits)  # C:
        return PermitRequest(access, provider, method, acquire, classifier, permits, acquiring)  # C:


class AskingElsewhere(Asking):
    """The same for callers on other threads and loops, mostly: a permit that the scope has granted ahead comes first."""

    __slots__ = ()

    def try_permit(
        self,
        provider: str,
        method: str | None = None,
        *,
        key: str | None = None,
        cost: Cost = 1,
        caller: str | None = None,
    ) -> Permit | Denied:
        """As that of `Governor`, on any thread: it waits for no permit, at most for an answer."""
        access = self._access
        if key is None and caller is None and cost == 1 and not access.by_label:
            # `PermitSource.take`, without its call: a permit that was granted ahead costs its making and this frame.
            try:  # C: actor = address_of(access, provider, method)
                actor = access.addresses[method][provider]  # C:
            except (KeyError, TypeError):  # C: if actor is None:
                return super().try_permit(provider, method, cost=cost)
            if not actor.large and not actor.failures:  # C: if not has_any(actor.large) and not has_any(actor.failures):
                # C: permit = next_of(actor.leased)
                for permit in actor.leased:  # C: if permit is not None:
                    return permit
                if get_ident() != access.thread:  # Where there is no other way to one without a message.
                    return access.try_acquire(provider, method, _NOW if not any_block else ask(1, 0.0, None))
        return super().try_permit(provider, method, key=key, cost=cost, caller=caller)
