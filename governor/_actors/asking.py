"""Requests for permits from a task on the actor's own loop, from another thread, and from a task on another loop.

All three leave the queue, or give the permit back, if they are cancelled meanwhile. None waits for a loop that has ended.
"""

import math
from functools import partial
from threading import Lock, get_ident
from typing import Final

import anyio
import msgspec

from governor._actors.address import Address
from governor._actors.permit import Permit
from governor._actors.portal import Portal, current_post
from governor._actors.queue import Waiter
from governor.errors import Reason
from governor.messages import Acquire, Denied, Leave

#: Seconds in which the actor's loop must answer a call from another thread that does not wait for a permit. A call that waits
#: is bounded by its own timeout, plus the time that an answer of the last moment needs to arrive.
_ANSWER_TIMEOUT: Final = 1.0
_TRANSIT_TIMEOUT: Final = 0.05


def overloaded(scope: str) -> Denied:
    """The denial if the loop of the actor does not respond."""
    return Denied(scope, Reason.OVERLOADED, 1.0)


def grab(actor: Address, acquire: Acquire) -> Permit | Denied | None:
    """The answer to a plain ask as the hot path gives it, without a step; None if it takes one."""
    answer = actor.grab(True) if acquire.timeout == 0 else actor.grab()
    if acquire.attempt == 1 and isinstance(answer, Permit):
        # The first attempt of an operation pays into the retry budget.
        actor.ledger.budget.deposit(answer.grant().granted_at)
    return answer


async def ask_here(actor: Address, acquire: Acquire) -> Permit | Denied:
    """From a task on the actor's own loop."""
    done = anyio.Event()
    waiter = Waiter(acquire, done.set)
    answer = actor.acquire(acquire, waiter)
    if answer is not None:
        return answer
    try:
        await done.wait()
    except BaseException:
        actor.leave(waiter)
        raise
    answer = waiter.take()
    assert answer is not None, "a waiter is woken only after its answer is in place"
    return answer


def ask_blocking(portal: Portal, actor: Address, acquire: Acquire) -> Permit | Denied:
    """From another thread, which is blocked until the answer is there."""
    done = Lock()
    done.acquire()
    waiter = Waiter(acquire, done.release, get_ident())
    try:
        actor.send(acquire, waiter)
        answered = portal.wait_blocking(done, answer_timeout(acquire.timeout))
    except BaseException:
        actor.send(Leave(), waiter)
        raise
    return _answer(portal, actor, waiter, answered=answered)


async def ask_from_another_loop(portal: Portal, actor: Address, acquire: Acquire) -> Permit | Denied:
    """From a task on another loop."""
    done = anyio.Event()
    waiter = Waiter(acquire, partial(current_post(), done.set))
    try:
        actor.send(acquire, waiter)
        answered = await portal.wait(done, answer_timeout(acquire.timeout))
    except BaseException:
        actor.send(Leave(), waiter)
        raise
    return _answer(portal, actor, waiter, answered=answered)


def _answer(portal: Portal, actor: Address, waiter: Waiter, *, answered: bool) -> Permit | Denied:
    """The answer for a call from elsewhere, also if the loop of the actor has not responded."""
    if answered and (answer := waiter.take()) is not None:
        return answer
    actor.send(Leave(), waiter)
    return overloaded(actor.scope) if portal.alive() else Denied(actor.scope, Reason.SHUTTING_DOWN, None)


def answer_timeout(timeout: float | None) -> float:
    """Seconds to wait for an answer from another loop, for a call that waits `timeout` seconds for a permit."""
    if timeout is None:
        return math.inf
    return timeout + _TRANSIT_TIMEOUT if timeout else _ANSWER_TIMEOUT


def later(acquire: Acquire, waited: float) -> Acquire:
    """What a call that was delayed asks then."""
    timeout = acquire.timeout
    return acquire if timeout is None else msgspec.structs.replace(acquire, timeout=max(0.0, timeout - waited))
