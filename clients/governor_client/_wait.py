"""The time that one call may spend waiting: for permits, and between attempts.

A budget is shared by everything that belongs to one call of the program: its redirects, its rounds of authentication and its
retries. It is apart from the timeouts of the HTTP library, which bound each phase of one attempt.
"""

import math
from collections.abc import Callable, Collection, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Literal, cast, final
from weakref import ref

from governor import ConfigError
from governor.clock import MAX_DURATION, to_seconds

#: Seconds, None for no bound, or "timeout": as long as the timeout of the call, `MAX_DEFAULT_WAIT` at most.
Wait = float | None | Literal["timeout"]

#: The maximum wait in seconds of a call that does not say how long it waits.
MAX_DEFAULT_WAIT: Final = 30.0

#: Seconds. A longer wait counts as no bound.
_MAX_WAIT: Final = to_seconds(MAX_DURATION)
_ALLOWED: Final = "a number of seconds from 0, None for no bound, or 'timeout'"
_override: Final[ContextVar[tuple[Wait] | None]] = ContextVar("governor_client_wait", default=None)


@contextmanager
def wait_at_most(wait: Wait) -> Iterator[None]:
    """Bounds the wait of the governed calls that are made in a block, in seconds.

    For libraries whose calls take no such argument. It holds for this thread or task and for tasks that it starts, goes before
    the `wait` of the client or adapter, and gives way to that of a call. Raises `ConfigError`.
    """
    token = _override.set((check_wait(wait),))
    try:
        yield
    finally:
        _override.reset(token)


def check_wait(wait: object) -> Wait:
    """Raises `ConfigError` unless this is a `Wait`; returns it."""
    if wait is None or wait == "timeout":
        return wait
    if isinstance(wait, bool) or not isinstance(wait, (int, float)) or not wait >= 0:
        raise ConfigError("wait", wait, _ALLOWED)
    return wait


def chosen_wait(of_call: object, of_client: Wait) -> Wait:
    """The wait of a call: its own if it has one (not `...`), else that of `wait_at_most`, else that of its client."""
    if of_call is not ...:
        return check_wait(of_call)
    override = _override.get()
    return of_client if override is None else override[0]


@final
class WaitBudget:
    """What is left of the wait of one call. `timeout` is that of the call in seconds; None if it has none."""

    __slots__ = ("_at_once", "_left")

    def __init__(self, wait: Wait, timeout: float | None) -> None:
        #: Permits are taken at once or not at all; pauses between attempts are bounded as by default.
        self._at_once = wait == 0
        if wait == "timeout" or wait == 0:
            wait = MAX_DEFAULT_WAIT if timeout is None else min(max(0.0, timeout), MAX_DEFAULT_WAIT)
        #: Seconds.
        self._left = None if wait is None or wait > _MAX_WAIT else wait

    @property
    def permit(self) -> float | None:
        """Seconds that the next permit may take; None for no bound."""
        return 0.0 if self._at_once else self.pause

    @property
    def pause(self) -> float | None:
        """Seconds that the pause before the next attempt may take; None for no bound."""
        return self._left

    def spend(self, seconds: float) -> None:
        """Counts a wait that is over, or a pause that is planned."""
        if self._left is not None:
            self._left = max(0.0, self._left - seconds)


@final
class SharedBudget:
    """The budget of a call, kept with its `first` request, which a library shares with the redirects.

    Pickled as an empty dictionary: it is over.
    """

    __slots__ = ("budget", "first")

    def __init__(self, first: object, budget: WaitBudget) -> None:
        self.first = ref(first)  # Weak: the request keeps it.
        self.budget = budget

    def __reduce__(self) -> tuple[object, ...]:
        return dict, ()


def shared_budget(store: MutableMapping[str, Any], key: str, request: object, make: Callable[[], WaitBudget]) -> WaitBudget:
    """The budget of the call to which a request belongs: that under `key` of the `store` that the library shares, or a new one.

    Ask for it when it is needed first, and once for each operation, because the same request again is a new call, or a round of
    authentication, which an adapter cannot tell from one. Most calls never wait, and need none.
    """
    shared = store.get(key)
    if not isinstance(shared, SharedBudget) or shared.first() is request:
        store[key] = shared = SharedBudget(request, make())
    return shared.budget


def longest(phases: Collection[float | None]) -> float | None:
    """The timeout of a call: its longest phase in seconds; None if one of them has no bound, or if there are none."""
    if None in phases:
        return None
    most = max(cast("Collection[float]", phases), default=math.inf)
    return None if most == math.inf else most
