"""Exchanges of requests: a request that an adapter sends, with a permit for each attempt."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast, final
from urllib.parse import urlsplit
from weakref import ref

import msgspec
from requests import PreparedRequest, Response, exceptions
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3.exceptions import HTTPError

from governor import CallFailure, PermitDenied
from governor_client._attempt import Attempt, Fault
from governor_client._denials import DO_NOT_REPEAT, DeniedResponse, as_error_of
from governor_client._exchange import go_on, repeats, run
from governor_client._headers import CALLER, MARKS, LazyHeaders
from governor_client._hosts import TermsOf
from governor_client._observed import Observation
from governor_client._operation import KEPT, Operation
from governor_client._request import Request
from governor_client._requests_signatures import signatures
from governor_client._terms import Terms, Within
from governor_client._urllib3_family import (
    READING,
    Lookup,
    Original,
    Watched,
    are_marked,
    fault_of_urllib3,
    in_memory,
    lower_names,
    origin_of,
    report,
    synthetic,
    take_in,
    timeout_of,
    watch,
)
from governor_client._wait import WaitBudget, shared_budget

if TYPE_CHECKING:
    from requests._types import TimeoutType

#: Entry of the hooks of a request, which requests shares with the copies that follow from it: redirects, authentication.
_BUDGET: Final = "governor.budget"
#: Errors of a redirect's body that a session ignores.
_UNREADABLE: Final = (exceptions.ChunkedEncodingError, exceptions.ContentDecodingError)
_FAULTS: Final[tuple[tuple[tuple[type[Exception], ...], Fault], ...]] = (
    ((exceptions.InvalidSchema, exceptions.InvalidURL, exceptions.MissingSchema), Fault(None, unused=True)),
    ((exceptions.ConnectTimeout, exceptions.ProxyError), Fault(CallFailure.UNSENT)),
    ((exceptions.Timeout,), Fault(CallFailure.TIMEOUT)),
    ((exceptions.ConnectionError, exceptions.ChunkedEncodingError), Fault(CallFailure.BROKEN)),
)


def _fault(error: BaseException) -> Fault:
    """What an exception of requests says about the request. Most have one of urllib3 inside, which is more exact."""
    if type(error) is OSError:
        return Fault(None, unused=True)  # The file of the certificates is missing.
    if not isinstance(error, exceptions.RequestException) or isinstance(error, PermitDenied):
        return fault_of_urllib3(error)
    inner = error.args[0] if error.args else None
    if isinstance(inner, (HTTPError, OSError)):
        return fault_of_urllib3(inner)
    return next((fault for kinds, fault in _FAULTS if isinstance(error, kinds)), Fault(None))


def send_governed(  # noqa: C901 - what nearly every call costs, written out
    terms_of: TermsOf,
    send: Callable[[PreparedRequest], Response],
    adapter: Any,  # requests types it as an `HTTPAdapter` in a response, where any adapter will do.
    request: PreparedRequest,
    *,
    stream: bool,
    timeout: "TimeoutType",
    ungoverned: Callable[[PreparedRequest], Response] | None = None,
) -> Response:
    """Sends a request with a permit for each attempt. `ungoverned` sends one that needs none, as `send` by default."""
    url, method, body = urlsplit(request.url or ""), request.method or "GET", request.body
    host, port = origin_of(url.scheme, url.netloc)
    kept = getattr(request.headers, "_store", None)  # By the names in lower case: see `lower_names`.
    terms = terms_of if isinstance(terms_of, Terms) else terms_of.of(host, url.path, port)
    permit = None
    if terms is not None:
        if isinstance(kept, dict) and MARKS.isdisjoint(kept) and (body is None or in_memory(body)):
            permit = terms.take(host, method)
        if permit is None:
            terms = terms.of(host, url.path, port)
    if terms is None:
        return (ungoverned or send)(request)
    begin = partial(_begin, terms, host, url.path, adapter, request, send, stream=stream, timeout=timeout)
    if permit is None:
        return _governed(begin())
    response = status = None
    try:
        if Terms.any_by_host:
            with Within(terms, host):
                response = send(request)
        else:
            response = send(request)
        response.connection = adapter
        names = tuple(getattr(response.headers, "_store", None) or lower_names(response.headers))
        if terms.lets_pass(permit, response.status_code, names, url.path):
            status = response.status_code
            if not stream and status < 300:
                response.content  # noqa: B018 - reads it, without the call of `_read`
            elif not stream:
                _read(response)
    except BaseException as error:
        if response is not None and status is not None:
            response.close()
        exchange = begin()
        if not repeats(exchange.operation, exchange, error, Attempt(permit, status)):
            raise
        return _governed(exchange)
    if status is None:
        exchange = begin()
        return _governed(exchange, Attempt(permit), response)
    if stream:
        report(response.raw, Attempt(permit, status))
    else:
        permit.record(status=status)
    return response


def _begin(
    terms: Terms,
    host: str,
    path: str,
    adapter: BaseAdapter,
    request: PreparedRequest,
    send: Callable[[PreparedRequest], Response],
    *,
    stream: bool,
    timeout: "TimeoutType",
) -> "_Exchange":
    """The exchange of a request, with its operation."""
    headers, body, marked = Lookup(request.headers), request.body, are_marked(request.headers)
    description = Request(
        request.method or "GET",
        host,
        path,
        headers,
        repeatable=body is None or in_memory(body),
        buffered=not stream,
        caller=headers.get(CALLER) if marked else None,
        original=Original(request.url or "", body),
        reading=READING,
        marked=marked,
    )
    return _Exchange(adapter, Operation(terms, description, _Budget(terms, request, timeout)), request, send)


def _governed(exchange: "_Exchange", attempt: Attempt | None = None, begun: Response | None = None) -> Response:
    """The answer to a request. `attempt` is that of a plain request, whose answer has `begun`."""
    operation = exchange.operation
    response = run(operation, exchange) if attempt is None or begun is None else go_on(operation, exchange, attempt, begun)
    if operation.waited:
        _OwnTime(exchange.request.hooks, response)
    return response


def _read(response: Response) -> bool:
    """Reads the body. Returns False for a redirect whose body is incomplete or undecodable: a session follows it anyway."""
    try:
        response.content  # noqa: B018 - reads it
    except BaseException as error:
        response.close()
        if response.is_redirect and isinstance(error, _UNREADABLE):
            return False
        raise
    return True


@final
class _Exchange(msgspec.Struct, eq=False):
    """A request that an adapter sends."""

    _adapter: Any  # requests types it as an `HTTPAdapter`, where any adapter will do.
    operation: Operation[Response]
    request: PreparedRequest
    _send: Callable[[PreparedRequest], Response]
    _body: Watched | None = None
    _taken: bytes | None = None

    def send(self, attempt: Attempt) -> Response:
        request, waited, clock = self.request, self.operation.waited, self.operation.terms.clock
        if waited and (signature := signatures.get(request)) is not None:
            request = signature.renewed(request)
        body = request.body
        self._body = None if body is None else watch(body)
        if self._body is not None:
            request.body = cast("Any", self._body)
        caller = request.headers.pop(CALLER) if self.operation.request.caller is not None else None
        began = clock() if waited else None
        try:
            response = self._send(request)
        finally:
            request.body = body
            if caller is not None:
                request.headers[CALLER] = caller  # For the redirects, which have its headers.
        if began is not None:  # Otherwise the time of the session is right.
            response.elapsed = timedelta(microseconds=clock() - began)
        # A further round of authentication is sent by this connection.
        response.connection = self._adapter
        return response

    def head(self, response: Response) -> tuple[int, LazyHeaders]:
        headers = response.headers
        return response.status_code, LazyHeaders(headers, tuple(lower_names(headers)))

    def fault(self, error: BaseException) -> Fault:
        return Fault(None, ours=True) if self._body is not None and self._body.failed else _fault(error)

    def read(self, response: Response, most: float) -> bool:
        if most == KEPT:
            self._taken = take_in(response.raw)
            return self._taken is not None
        return _read(response)

    def stream(self, response: Response, attempt: Attempt) -> Response:
        report(response.raw, attempt)
        return response

    def show(self, response: Response, observation: Observation) -> None:
        if self._taken is None:
            observation.saw(response.content, decoded=True)
        else:
            observation.saw(self._taken)

    def mark_final(self, response: Response) -> None:
        response.headers.update(DO_NOT_REPEAT)

    def answer(self, denied: DeniedResponse) -> Response:
        raw = synthetic(denied, self.request.url, loaded=False)
        return HTTPAdapter.build_response(self._adapter, self.request, raw)

    def error(self, denial: PermitDenied) -> Exception:
        return as_error_of(exceptions.RequestException, denial, request=self.request, response=None)


@final
class _Budget(msgspec.Struct, eq=False):
    """The wait of the call to which a request belongs, the same each time."""

    terms: Terms
    request: PreparedRequest
    timeout: "TimeoutType"
    _found: WaitBudget | None = None

    def __call__(self) -> WaitBudget:
        if self._found is None:
            hooks = cast("dict[str, object]", self.request.hooks)
            make = partial(self.terms.budget, ..., timeout_of(self.timeout))
            self._found = shared_budget(hooks, _BUDGET, self.request, make)
        return self._found


@final
class _OwnTime:
    """A hook that sets `elapsed`, once. Before it calls hooks, a session sets it to the time of its adapter, waits included."""

    def __init__(self, hooks: dict[str, Any], response: Response) -> None:
        self._hooks = hooks
        self._response = ref(response)
        self._elapsed = response.elapsed
        # A new list, because the session may be iterating over the old one. A round of authentication leaves its hook there.
        self._others = [hook for hook in hooks.get("response", ()) if not isinstance(hook, _OwnTime)]
        hooks["response"] = [self, *self._others]

    def __call__(self, response: Response, *args: object, **kwargs: object) -> None:
        if self._response() is response:
            response.elapsed = self._elapsed
        self._hooks["response"] = self._others
