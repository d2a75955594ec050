"""Default governor: one for the whole process, for clients that were given none."""

import atexit
import concurrent.futures.thread  # noqa: F401  # Before the handlers of this module: see at its end.
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Final

from governor import _governor
from governor._actors.portal import NoPortal
from governor._background import TooLate
from governor._decorator import LimitDecorator
from governor._governor import Governor
from governor._lives import GovernorState
from governor._threads import run_on_thread

_lock: Final = Lock()
_started: dict[int, Governor] = {}
#: The processes, this one and those that it was forked from, in which something is done at exit.
_registered: Final[set[int]] = set()
#: The processes in which the governor is not replaced once it is closed, because the main thread has ended.
_final: Final[set[int]] = set()


def default() -> Governor:
    """The governor of this process: the one that was entered first and is still running, else one of its own.

    That one is configured by the file that `GOVERNOR_CONFIG` names, if any, and by the environment; it runs on a background
    thread and is closed when the interpreter exits: when every thread has ended for which the interpreter waits, or when all
    that are left wait for permits that can no longer be granted. Where no thread can be started any more, as with CPython
    3.12.0 to 3.12.2 after the main thread has ended, it is closed from the beginning. After a fork the child gets one of its
    own. Raises `ConfigError`.
    """
    process = os.getpid()
    running = current()
    if running is not None:
        return running
    with _lock:
        # One that has ended by itself, by a bug or because its thread could not go on, is replaced.
        # One that is closed because the main thread has ended is not: no thread is left that could use it.
        started = _started.get(process)
        if started is None or not (started.state is GovernorState.RUNNING or process in _final):
            governor = Governor.from_file()
            try:
                governor.__enter__()
                _final.discard(process)
            except TooLate:
                _stay_closed(governor)
                _final.add(process)
            _started.clear()
            _started[process] = governor
            if process not in _registered and process not in _final:
                _registered.add(process)
                atexit.register(_close, process)
                _before_threads_are_joined(partial(_close_when_stuck, process))
        return _started[process]


async def adefault() -> Governor:
    """What `default` returns, without blocking the event loop while a governor starts."""
    return await run_on_thread(default)


def current() -> Governor | None:
    """The governor that runs in this process: of several the one that was entered first; None if there is none."""
    _governor.forget_gone()
    return next(iter(_governor.running), None)


async def _running() -> Governor:
    return current() or await adefault()


#: `@governor.limit("github", "GET")`: a permit of the governor of this process for each call of a function.
limit: Final = LimitDecorator(default, _running)


def reset() -> None:
    """Closes the governor that `default()` has started, if any, and forgets it, as well as all whose event loops have gone."""
    with _lock:
        governor = _started.pop(os.getpid(), None)
    if governor is not None:
        governor.__exit__(None, None, None)
    _governor.forget_gone()


def _close(process: int) -> None:
    governor = _started.pop(process, None)
    if governor is not None and process == os.getpid():
        governor.__exit__(None, None, None)


def _before_threads_are_joined(function: Callable[[], object]) -> None:
    """Calls it when the main thread has ended. What `atexit` registers comes later: after the last thread, so perhaps never."""
    try:
        # Those that are registered last are called first, and that of `concurrent.futures.thread` waits for threads as well.
        getattr(threading, "_register_atexit", atexit.register)(function)
    except RuntimeError:
        function()  # It has ended already.


def _close_when_stuck(process: int) -> None:
    """Closes the governor once every other thread but daemons waits for what only another thread could give.

    For the time after the main thread has ended, when the interpreter waits for the others.
    """
    governor = _started.get(process)
    if governor is not None and process == os.getpid():
        _final.add(process)  # Before it can end: a thread that asks right after that would start another one.
        if not governor._lives.end_when(partial(_is_stuck, governor)):
            _final.discard(process)


def _is_stuck(governor: Governor) -> bool:
    main = threading.main_thread()
    others = {thread.ident for thread in threading.enumerate() if not thread.daemon and thread is not main}
    backend = governor._access.backend
    return bool(others) and backend is not None and others <= backend.stuck()


def _stay_closed(governor: Governor) -> None:
    """Closes a governor that could not begin: every ask is answered `shutting_down`."""
    governor._access.portal, governor._access.process = NoPortal(), os.getpid()


if sys.platform != "win32":
    # Another thread may hold the lock at the moment of a fork, and would never release its copy in the child. Handlers that are
    # registered last are called first: `concurrent.futures.thread` has registered its own before, so no fork waits here for a
    # thread while holding its lock, and it does not come to release what it has not acquired.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
