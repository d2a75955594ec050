"""The loop of every adapter: take a permit, send, keep or stream the answer, pause, repeat.

An adapter supplies an exchange: one request of its library that can be sent, and sent again. The decisions are in `_operation`.
"""

from threading import Event
from typing import Final, Protocol, TypeVar

import anyio

from governor import PermitDenied
from governor_client._attempt import Attempt, Fault
from governor_client._headers import LazyHeaders
from governor_client._observed import Observation
from governor_client._operation import Denier, Operation
from governor_client._questions import Question
from governor_client._terms import Terms

#: Seconds for closing an answer whose reader was cancelled.
CLOSING: Final = 5.0

R = TypeVar("R")


class AnyExchange(Denier[R], Protocol[R]):
    """What blocking and async exchanges have in common."""

    def head(self, response: R, /) -> tuple[int, LazyHeaders]:
        """The status and the headers, with their names."""
        ...

    def fault(self, error: BaseException, /) -> Fault:
        """What an exception of `send` or `read` says about the request."""
        ...

    def stream(self, response: R, attempt: Attempt, /) -> R:
        """The answer with a body that reports to the attempt when it ends, breaks off or is closed."""
        ...

    def show(self, response: R, observation: Observation, /) -> None:
        """Shows the body that `read` has read, unless it was shown while it was read."""
        ...

    def mark_final(self, response: R, /) -> None:
        """Adds the headers `DO_NOT_REPEAT`."""
        ...


class Exchange(AnyExchange[R], Protocol[R]):
    """A request of a blocking library."""

    def send(self, attempt: Attempt, /) -> R:
        """Sends the request once and returns the answer when it begins."""
        ...

    def read(self, response: R, most: float, /) -> bool:
        """Reads the body into memory and frees the connection. Returns False if it is longer than `most` bytes, and lost."""
        ...


class AsyncExchange(AnyExchange[R], Protocol[R]):
    """A request of an async library."""

    async def send(self, attempt: Attempt, /) -> R:
        """Sends the request once and returns the answer when it begins."""
        ...

    async def read(self, response: R, most: float, /) -> bool:
        """Reads the body into memory and frees the connection. Returns False if it is longer than `most` bytes, and lost."""
        ...

    async def close(self, response: R, /) -> None:
        """Closes an answer that no code will read."""
        ...


def run(operation: Operation[R], exchange: Exchange[R]) -> R:
    """Sends the request, with a permit for each attempt, and blocks meanwhile."""
    while True:
        attempt = operation.take()
        if attempt is None:
            try:
                permit = operation.governor.acquire_blocking(operation.provider, operation.method, **operation.ask())
            except PermitDenied as denial:
                return operation.denied(denial, exchange)
            attempt = operation.granted(permit)
        try:
            response = _send(operation, exchange, attempt) if Terms.any_by_host else exchange.send(attempt)
        except BaseException as error:
            if not repeats(operation, exchange, error):
                raise
        else:
            answer = _answered(operation, exchange, response)
            if answer is not None:
                return answer


def go_on(operation: Operation[R], exchange: Exchange[R], attempt: Attempt, response: R) -> R:
    """`run` after the first attempt of a plain request, whose answer has begun and says more than most."""
    operation.made(attempt)
    answer = _answered(operation, exchange, response)
    return run(operation, exchange) if answer is None else answer


def repeats(operation: Operation[R], exchange: Exchange[R], error: BaseException, attempt: Attempt | None = None) -> bool:
    """Whether the request is sent again after an error; returns when that is due. `attempt` is that of a plain request.

    It is for the caller to raise the error: the traceback would keep a frame that keeps the error.
    """
    if attempt is not None:
        operation.made(attempt)
    _plan(operation, operation.failed(error, exchange.fault(error)))
    if operation.pause is None:
        return False
    pause(operation)
    return True


def _answered(operation: Operation[R], exchange: Exchange[R], response: R) -> R | None:
    """Returns the answer, or None when the next attempt is due."""
    try:
        question = operation.answered(*exchange.head(response))
        if question is not None:
            _plan(operation, question)
        if operation.pause is None and not operation.request.buffered:
            response = exchange.stream(response, operation.attempt)
        else:
            operation.kept(response, exchange.show, whole=exchange.read(response, operation.most))
    except BaseException as error:
        if not repeats(operation, exchange, error):
            raise
        return None
    if operation.pause is None:
        return response if operation.status < 400 else _told(operation, exchange, response)
    pause(operation)
    return None


async def arun(operation: Operation[R], exchange: AsyncExchange[R]) -> R:
    """`run` for a task."""
    while True:
        attempt = operation.take()
        if attempt is None:
            try:
                permit = await operation.governor.acquire(operation.provider, operation.method, **operation.ask())
            except PermitDenied as denial:
                return operation.denied(denial, exchange)
            attempt = operation.granted(permit)
        try:
            response = await (_asend(operation, exchange, attempt) if Terms.any_by_host else exchange.send(attempt))
        except BaseException as error:
            if not await arepeats(operation, exchange, error):
                raise
        else:
            answer = await _aanswered(operation, exchange, response)
            if answer is not None:
                return answer


async def ago_on(operation: Operation[R], exchange: AsyncExchange[R], attempt: Attempt, response: R) -> R:
    """`go_on` for a task."""
    operation.made(attempt)
    answer = await _aanswered(operation, exchange, response)
    return await arun(operation, exchange) if answer is None else answer


async def arepeats(
    operation: Operation[R], exchange: AsyncExchange[R], error: BaseException, attempt: Attempt | None = None
) -> bool:
    """`repeats` for a task."""
    if attempt is not None:
        operation.made(attempt)
    await _aplan(operation, operation.failed(error, exchange.fault(error)))
    if operation.pause is None:
        return False
    await _apause(operation, operation.pause)
    return True


async def _aanswered(operation: Operation[R], exchange: AsyncExchange[R], response: R) -> R | None:
    try:
        question = operation.answered(*exchange.head(response))
        if question is not None:
            await _aplan_answer(operation, question, exchange, response)
        if operation.pause is None and not operation.request.buffered:
            response = exchange.stream(response, operation.attempt)
        else:
            operation.kept(response, exchange.show, whole=await exchange.read(response, operation.most))
    except BaseException as error:
        if not await arepeats(operation, exchange, error):
            raise
        return None
    if operation.pause is None:
        return response if operation.status < 400 else _told(operation, exchange, response)
    await _apause(operation, operation.pause)
    return None


async def _apause(operation: Operation[R], seconds: float) -> None:
    try:
        await anyio.sleep(seconds)
    except BaseException:
        operation.attempt.give_up_retry()
        raise


def pause(operation: Operation[R]) -> None:
    """Waits for the planned attempt. An interrupt gives it up."""
    try:
        Event().wait(operation.pause)
    except BaseException:
        operation.attempt.give_up_retry()
        raise


def _send(operation: Operation[R], exchange: Exchange[R], attempt: Attempt) -> R:
    token = operation.begin_sending()
    try:
        return exchange.send(attempt)
    finally:
        operation.end_sending(token)


async def _asend(operation: Operation[R], exchange: AsyncExchange[R], attempt: Attempt) -> R:
    token = operation.begin_sending()
    try:
        return await exchange.send(attempt)
    finally:
        operation.end_sending(token)


def _told(operation: Operation[R], exchange: AnyExchange[R], response: R) -> R:
    """An error answer, which tells an SDK not to repeat the request."""
    if operation.final:
        exchange.mark_final(response)
    return response


def _plan(operation: Operation[R], question: Question | None) -> None:
    if question is not None:
        operation.planned(operation.governor.plan_retry(**question).delay)


async def _aplan(operation: Operation[R], question: Question | None) -> None:
    if question is not None:
        operation.planned((await operation.governor.aplan_retry(**question)).delay)


async def _aplan_answer(operation: Operation[R], question: Question, exchange: AsyncExchange[R], response: R) -> None:
    try:
        await _aplan(operation, question)
    except BaseException:
        # Cancelled with an answer that no code will read: its connection must not stay open.
        with anyio.move_on_after(CLOSING, shield=True):
            await exchange.close(response)
        raise
