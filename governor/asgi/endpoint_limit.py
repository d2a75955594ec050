"""Limits on single endpoints: `@limit("5/minute")`, and the FastAPI dependency `Depends(limit("5/minute"))`.

Each limit is a group of its own. Its clients are those that the middleware around the application knows. The middleware also
sends the response to a denied request, and reports the end of a granted one.
"""

import inspect
import re
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial, wraps
from math import ceil
from typing import Any, Final, Literal, TypeVar, cast, final

import anyio.to_thread

from governor import Admission, ConfigError, EndpointGroup, InboundDenied, InboundRequest, UsageError
from governor.asgi.context import CONTEXT, RequestContext
from governor.asgi.observer import ResponseObserver
from governor.asgi.responses import denial
from governor.asgi.types import Scope
from governor.config import InboundGroup, parse_limit
from governor.error_log import ErrorLog

F = TypeVar("F", bound=Callable[..., Any])

#: The parameter by which FastAPI passes the request to an endpoint that does not ask for it.
_PARAMETER: Final = "traffic_control_connection"
#: Characters of a name that is derived from an endpoint.
_MAX_NAME: Final = 90
#: Characters of the place of a limit in the code.
_MAX_PLACE: Final = 250
#: How many limits were made at each place in the code.
_made: Final[Counter[str]] = Counter()


def limit(
    *limits: str,
    name: str | None = None,
    on_overload: Literal["pass", "deny"] = "pass",
    by: Literal["client", "address"] = "client",
) -> "EndpointLimit":
    """A limit for each client on the endpoints that share it: a decorator for one, a dependency of FastAPI for any.

    `limits` are texts as in the policy file: `"5/minute"`, `"60 per minute strict"`, `"2 in flight"`. Endpoints that use one
    object share its limit. `name` appears in statistics and denials; without it, the name of the endpoint does. `on_overload`
    decides while the governor runs on another loop that does not answer within a second: `"pass"`, or `"deny"` with status 503.
    With `by="address"` all clients of an address count together: for a login, where a client that claims another name in a
    header for each request must not get a limit of its own for each. Call this once for each limit, not for each request.
    Raises `ConfigError`.
    """
    return EndpointLimit(limits, name, on_overload, by, place=_place())


@final
class EndpointLimit:
    """A limit made by `limit`."""

    def __init__(
        self,
        limits: tuple[str, ...],
        name: str | None,
        on_overload: Literal["pass", "deny"] = "pass",
        by: Literal["client", "address"] = "client",
        *,
        place: str = "",
    ) -> None:
        if not limits:
            raise ConfigError("limits", [], "at least one limit, for instance '5/minute'")
        parsed = tuple(parse_limit(text, field=f"limits[{index}]") for index, text in enumerate(limits))
        self._policy = InboundGroup(limits=parsed, address_limits=(), total_limits=(), on_overload=on_overload)
        if by not in ("client", "address"):
            raise ConfigError("by", by, "'client' or 'address'")
        self._by_address = by == "address"
        self._name = None if name is None else _group_name(name)
        #: Identifies it in all processes that run the same code.
        self._place = place
        self._error_log = ErrorLog()
        # FastAPI looks here to learn whether it must await a dependency. Python calls the method of the class.
        vars(self)["__call__"] = self._admit_connection

    @property
    def __signature__(self) -> inspect.Signature:
        """One parameter of the type for which FastAPI passes the connection."""
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return inspect.Signature([inspect.Parameter("subject", kind, annotation=_connection_type())])

    def __call__(self, subject: Any) -> Any:
        """Decorates an endpoint; or admits the request of a connection, which must be awaited."""
        if isinstance(getattr(subject, "scope", None), Mapping):
            return self._admit_connection(subject)
        if not callable(subject):
            raise UsageError(f"limit() decorates an endpoint, not {type(subject).__name__}")
        return self._decorate(subject)

    async def _admit_connection(self, subject: Any) -> None:
        await self.admit(subject.scope)

    async def admit(self, scope: Scope, name: str | None = None) -> None:
        """Counts a request.

        Raises `UsageError` without the middleware. Raises Starlette's `HTTPException` if the request exceeds the limit; the
        middleware then sends its own response instead of the one that the framework makes of that.
        """
        if CONTEXT not in scope:
            raise UsageError("limit() needs TrafficControlMiddleware around the application")
        context: RequestContext | None = scope[CONTEXT]
        controller = None if context is None else context.controller
        if context is None or controller is None:
            return  # The governor failed, and the middleware has logged that.
        client = await context.client(scope)
        if client is None:
            return
        request = controller.request(None, scope, client)
        if self._by_address:
            # The address as the client: a daemon knows limits on endpoints as limits of clients only.
            request = InboundRequest(request.address, request.address, cost=request.cost)
        group = EndpointGroup(self, self._name or name or _endpoint_name(scope), self._policy, self._place)
        try:
            admission = await controller.inbound.admit(group, request)
        except UsageError:
            raise
        except Exception as error:
            self._error_log("The limit of an endpoint failed, and requests pass", error)
            return
        _apply(admission, request, scope, context)

    def _decorate(self, function: F) -> F:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise UsageError("limit() cannot decorate an endpoint that yields; use it as a dependency")
        name = _group_name(function.__qualname__)
        is_async = inspect.iscoroutinefunction(function)

        @wraps(function)
        async def limited(*arguments: Any, **named: Any) -> Any:
            connection = named.pop(_PARAMETER, None)
            candidates = (connection, *arguments, *named.values())
            scope = next((one.scope for one in candidates if isinstance(getattr(one, "scope", None), Mapping)), None)
            if scope is None:
                raise UsageError(f"limit() finds no request among the arguments of {function.__qualname__}")
            await self.admit(scope, name)
            if is_async:
                return await cast("Awaitable[Any]", function(*arguments, **named))
            return await anyio.to_thread.run_sync(partial(function, *arguments, **named))

        # FastAPI reads what to inject from here. mypy does not know that functions have this attribute.
        limited.__signature__ = _with_connection(function)  # type: ignore[attr-defined]
        return cast("F", limited)


def _place() -> str:
    """Where the code is that calls `limit`, and which of its calls this is: the same in all processes that run that code."""
    frame = sys._getframe(2)
    place = f"{frame.f_globals.get('__name__', '')}:{frame.f_lineno}"[-_MAX_PLACE:]
    _made[place] += 1
    return f"{place}#{_made[place]}"


def _apply(admission: Admission, request: InboundRequest, scope: Scope, observer: ResponseObserver) -> None:
    """Replaces the response if the request is denied, and else reports its end."""
    response = denial(admission, request)
    if response is None:
        observer.ended += (admission.end,)
        return
    from starlette.exceptions import HTTPException  # the way to end a request that frameworks do not log

    denied = admission.denied
    retry_after = denied.retry_after if isinstance(denied, InboundDenied) else 1.0
    observer.replace(partial(response.send, scope), response.status)
    raise HTTPException(response.status, response.message, {"Retry-After": str(ceil(retry_after))})


def _with_connection(function: Callable[..., Any]) -> inspect.Signature:
    """The parameters of an endpoint and one more, since FastAPI passes the connection only where a parameter asks for it."""
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError:
        signature = inspect.signature(function)
    more = inspect.Parameter(_PARAMETER, inspect.Parameter.KEYWORD_ONLY, annotation=_connection_type())
    plain = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    rest = [one for one in signature.parameters.values() if one.kind is inspect.Parameter.VAR_KEYWORD]
    return signature.replace(parameters=[*plain, more, *rest])


def _connection_type() -> type:
    from starlette.requests import HTTPConnection  # loaded only where limits on endpoints are used

    return HTTPConnection


def _endpoint_name(scope: Scope) -> str:
    endpoint: object = scope.get("endpoint")
    return _group_name(getattr(endpoint, "__qualname__", None) or type(endpoint).__qualname__)


def _group_name(name: str) -> str:
    """A name of the characters that names of groups have, without the function that encloses the endpoint."""
    plain = re.sub("[^a-z0-9_.-]+", "-", name.rpartition("<locals>.")[2].lower())
    return plain.strip("-.")[:_MAX_NAME] or "endpoint"
