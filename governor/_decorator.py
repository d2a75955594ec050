"""Decorator that takes a permit for each call of a function: `@governor.limit("github", "GET")`."""

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import isasyncgenfunction, isawaitable, isclass, iscoroutine, iscoroutinefunction, isgeneratorfunction
from typing import ParamSpec, Protocol, TypeVar, cast, final

from governor._actors.permit import Permit
from governor._failures import Classifier, Classify, status_of_answer
from governor._permit_request import Cost, PermitRequest, ask
from governor.config import scope_of, with_key
from governor.errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")


class Permits(Protocol):
    """What grants the permits: a governor."""

    def permit(
        self, provider: str, method: str | None, *, cost: Cost, timeout: float | None, classify: Classify | None
    ) -> PermitRequest:
        """A permit for the length of a block."""


@final
class LimitDecorator:
    """Makes decorators. `find` and `afind` look up the governor, at each call of a decorated function."""

    __slots__ = ("_afind", "_find")

    def __init__(self, find: Callable[[], Permits], afind: Callable[[], Awaitable[Permits]]) -> None:
        self._find = find
        self._afind = afind

    def __call__(
        self,
        provider: str,
        method: str | None = None,
        *,
        key: str | None = None,
        cost: Cost = 1,
        timeout: float | None = None,
        classify: Classify | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """A decorator for functions, methods and coroutine functions: each call takes a permit, and reports its outcome.

        The arguments are those of `Governor.permit`: a call waits for its permit for at most `timeout` seconds (None: without
        limit; 0: not at all), and raises a leaf of `PermitDenied`, without running the function, if it gets none. An exception
        is classified by `classify`, then by the rules. A result that is an answer of an HTTP library, with `headers` and a
        `status_code` or `status`, counts by its status; any other is a success. Cancellation is neutral. Calls of a function
        that is not a coroutine function block their thread meanwhile, and raise `UsageError` on the governor's own event loop
        unless `timeout` is 0.

        Raises `ConfigError` for invalid arguments, and `UsageError` for a generator function, whose permit would end before its
        first value, and for what is no function.
        """
        provider = provider if key is None else with_key(provider, key)
        scope_of(provider, method)
        ask(cost, timeout, None)
        Classifier(classify)

        def request(governor: Permits) -> PermitRequest:
            return governor.permit(provider, method, cost=cost, timeout=timeout, classify=classify)

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            _check(function)
            if not _is_coroutine_function(function):

                @wraps(function)
                def call(*args: P.args, **kwargs: P.kwargs) -> R:
                    with request(self._find()) as permit:
                        result = function(*args, **kwargs)
                        _report(permit, result)
                        return result

                return call

            awaited = cast("Callable[P, Awaitable[object]]", function)

            @wraps(function)
            async def acall(*args: P.args, **kwargs: P.kwargs) -> object:
                async with request(await self._afind()) as permit:
                    result = await awaited(*args, **kwargs)
                    _report(permit, result)
                    return result

            return cast("Callable[P, R]", acall)

        return decorate


def _report(permit: Permit, result: object) -> None:
    """Records the status of an answer; leaving the block records a success for other results."""
    if isawaitable(result):
        permit.give_back()
        if iscoroutine(result):
            result.close()
        raise UsageError("a function with a permit returned an awaitable, which outlives the permit; decorate an `async def`")
    status = status_of_answer(result)
    if status is not None:
        permit.record(status=status)


def _is_coroutine_function(function: Callable[..., object]) -> bool:
    # A callable object is awaited if its class says so.
    return iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__)


def _check(function: object) -> None:
    name = getattr(function, "__qualname__", repr(function))
    if isgeneratorfunction(function) or isasyncgenfunction(function):
        raise UsageError(
            f"{name} is a generator function, and its permit would end before its first value; use `permit(...)` inside it"
        )
    if isinstance(function, (staticmethod, classmethod)):
        raise UsageError(f"{name} is a {type(function).__name__}; write the decorator beneath @{type(function).__name__}")
    if isclass(function) or not callable(function):
        raise UsageError(f"{name} is no function; decorate functions and methods")
