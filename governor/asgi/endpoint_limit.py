"""Limits on single endpoints: `@limit("5/minute")`, and the dependency of FastAPI `Depends(limit("5/minute"))`.

Each is a group of its own, whose clients are those that the middleware around the application knows. The middleware also gives
the refusal, and is told when the answer has ended.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial, wraps
from math import ceil
from typing import Any, Final, Literal, TypeVar, cast, final

import anyio.to_thread

from governor import ConfigError, Governor, UsageError
from governor.asgi.admission import AdmissionController
from governor.asgi.clients import UNKNOWN, Client, Complaints, Identify
from governor.asgi.observer import ResponseObserver
from governor.asgi.responses import overloaded, refusal
from governor.asgi.types import Scope
from governor.config import InboundGroup, parse_limit
from governor.messages import Denied, InboundDenied, InboundRequest

F = TypeVar("F", bound=Callable[..., Any])

#: Where the middleware leaves what it knows of a request.
CONTEXT: Final = "traffic_control"
#: The parameter by which FastAPI hands a request to an endpoint that has not asked for it.
_PARAMETER: Final = "traffic_control_connection"


@final
class RequestContext:
    """What the middleware knows of a request."""

    __slots__ = ("_client", "_identify", "controller", "observer")

    def __init__(self, controller: AdmissionController, identify: Identify | None) -> None:
        self.controller = controller
        self._identify = identify
        self._client: Client | None = UNKNOWN
        self.observer: ResponseObserver | None = None

    async def client(self, scope: Scope) -> Client | None:
        """Who the application says that it is, who is asked once; None if nothing limits the request."""
        if self._identify is not None:
            identify, self._identify = self._identify, None
            self._client = await identify(scope)
        return self._client


def limit(*limits: str, name: str | None = None, on_overload: Literal["pass", "deny"] = "pass") -> "EndpointLimit":
    """A limit for each client on the endpoints that have it: a decorator for one, a dependency of FastAPI for any.

    `limits` are texts as in the policy file: `"5/minute"`, `"60 per minute strict"`, `"2 in flight"`. Endpoints that share one
    object share its limit. `name` stands in figures and refusals; without it, it is that of the endpoint. `on_overload` decides
    while the governor's loop, if that is another one, does not answer for a second: `"pass"`, or `"deny"` with status 503. Make
    the limit once, and not for each request. Raises `ConfigError`.
    """
    return EndpointLimit(limits, name, on_overload)


@final
class EndpointLimit:
    """What `limit` makes."""

    def __init__(self, limits: tuple[str, ...], name: str | None, on_overload: Literal["pass", "deny"] = "pass") -> None:
        if not limits:
            raise ConfigError("limits", [], "at least one limit, for instance '5/minute'")
        parsed = tuple(parse_limit(text, field=f"limits[{index}]") for index, text in enumerate(limits))
        self._policy = InboundGroup(limits=parsed, address_limits=(), total_limits=(), on_overload=on_overload)
        self._name = None if name is None else _plain(name)
        self._complain = Complaints()
        # FastAPI looks here to learn whether it has to await a dependency; Python calls the method of the class.
        vars(self)["__call__"] = self._admit

    @property
    def __signature__(self) -> inspect.Signature:
        """FastAPI hands over what has this type."""
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return inspect.Signature([inspect.Parameter("subject", kind, annotation=_connection_type())])

    def __call__(self, subject: Any) -> Any:
        """Decorates a function, or admits the request of a connection, which must be awaited."""
        if isinstance(getattr(subject, "scope", None), Mapping):
            return self._admit(subject)
        if not callable(subject):
            raise UsageError(f"limit() decorates an endpoint, and not a {type(subject).__name__}")
        return self._around(subject)

    async def _admit(self, subject: Any) -> None:
        await self.admit(subject.scope)

    async def admit(self, scope: Scope, name: str | None = None) -> None:
        """Counts a request.

        Raises `UsageError` without the middleware. Raises Starlette's `HTTPException` if the client is over the limit; in the
        place of what frameworks make of that, the middleware sends its refusal.
        """
        if CONTEXT not in scope:
            raise UsageError("limit() needs TrafficControlMiddleware around the application")
        context: RequestContext | None = scope[CONTEXT]
        if context is None or context.observer is None:
            return  # The governor fails, and the log says so.
        client = await context.client(scope)
        if client is None:
            return
        request = context.controller.visit(None, scope, None if client is UNKNOWN else client)
        governor = context.controller.governor
        try:
            asked = await governor.inbound.visit_endpoint(self, self._name or name or _endpoint(scope), self._policy, request)
        except UsageError:
            raise
        except Exception as error:
            self._complain("The limit of an endpoint failed, and requests pass", error)
            return
        if asked is not None:
            _follow(asked, scope, governor, request, context.observer)

    def _around(self, function: F) -> F:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise UsageError("an endpoint that yields cannot be decorated with limit(); use it as a dependency")
        name = _plain(function.__qualname__)
        is_async = inspect.iscoroutinefunction(function)

        @wraps(function)
        async def limited(*arguments: Any, **named: Any) -> Any:
            connection = named.pop(_PARAMETER, None)
            candidates = (connection, *arguments, *named.values())
            found = next((one.scope for one in candidates if isinstance(getattr(one, "scope", None), Mapping)), None)
            if found is None:
                raise UsageError(f"limit() finds no request among the arguments of {function.__qualname__}")
            await self.admit(found, name)
            if is_async:
                return await cast("Awaitable[Any]", function(*arguments, **named))
            return await anyio.to_thread.run_sync(partial(function, *arguments, **named))

        limited.__signature__ = _with_connection(function)  # type: ignore[attr-defined]
        return cast("F", limited)


def _follow(
    asked: tuple[str, InboundDenied | Denied | None],
    scope: Scope,
    governor: Governor,
    request: InboundRequest,
    observer: ResponseObserver,
) -> None:
    """Refuses, or has the end of the answer told."""
    group, denied = asked
    if denied is not None:
        from starlette.exceptions import HTTPException  # what frameworks end a request with, and do not log

        answer = overloaded() if isinstance(denied, Denied) else refusal(denied, request)
        observer.refuse(partial(answer.send, scope), answer.status)
        raise HTTPException(answer.status, answer.message, {"Retry-After": str(ceil(denied.retry_after or 1))})
    observer.tell(partial(governor.inbound.ending(group), request=request))


def _with_connection(function: Callable[..., Any]) -> inspect.Signature:
    """The parameters of an endpoint and one more, as FastAPI hands over only what is asked for."""
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError:
        signature = inspect.signature(function)
    more = inspect.Parameter(_PARAMETER, inspect.Parameter.KEYWORD_ONLY, annotation=_connection_type())
    plain = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    rest = [one for one in signature.parameters.values() if one.kind is inspect.Parameter.VAR_KEYWORD]
    return signature.replace(parameters=[*plain, more, *rest])


def _connection_type() -> type:
    from starlette.requests import HTTPConnection  # only who uses this pays for it

    return HTTPConnection


def _endpoint(scope: Scope) -> str:
    endpoint: object = scope.get("endpoint")
    return _plain(getattr(endpoint, "__qualname__", None) or type(endpoint).__qualname__)


def _plain(name: str) -> str:
    """A name in the letters of the names of groups, without the function in which it was defined."""
    return re.sub("[^a-z0-9_.-]+", "-", name.rpartition("<locals>.")[2].lower()).strip("-.")[:90] or "endpoint"
