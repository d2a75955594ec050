"""Adapter for requests: sessions that take a permit for each request."""

from collections.abc import Callable, Collection
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar, Unpack, cast, final
from urllib.parse import urlsplit
from weakref import ref

import msgspec

from governor import CallFailure, Governor, PermitDenied, Priority, UsageError, extras
from governor.clock import Clock, system_clock
from governor.instrumentation import Hook
from governor_client._attempt import Attempt, Fault
from governor_client._denials import DO_NOT_REPEAT, DeniedResponse, OnRefusal, as_error_of
from governor_client._exchange import run
from governor_client._headers import CALLER, LazyHeaders
from governor_client._hosts import TermsOf
from governor_client._keys import Key
from governor_client._observed import Observation
from governor_client._operation import KEPT, Operation, Terms
from governor_client._request import Request
from governor_client._wait import Wait, WaitBudget, shared_budget

try:
    import requests
    from requests import PreparedRequest, Response, exceptions
    from requests.adapters import BaseAdapter, HTTPAdapter
    from urllib3.exceptions import HTTPError

    from governor_client._requests_signatures import prepare, signatures
    from governor_client._urllib3_family import (
        NO_RETRIES,
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
except ModuleNotFoundError as error:
    raise extras.missing("requests", error) from None

if TYPE_CHECKING:
    # Private type aliases of requests, used by type checkers only.
    from requests._types import CertType, TimeoutType, VerifyType

S = TypeVar("S", bound=requests.Session)

#: Entry of the hooks of a request, which requests shares with the copies that follow from it: redirects, authentication.
_BUDGET: Final = "governor.budget"
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


class AdapterOptions(TypedDict, total=False):
    """The keyword arguments of `govern`, as those of `GovernedAdapter`."""

    governor: Governor | None
    wait: Wait
    on_refusal: OnRefusal
    govern_loopback: bool
    ungoverned: Collection[str]
    on_event: Hook | None
    key: Key | None
    priority: Priority
    clock: Clock


class GovernedAdapter(BaseAdapter):
    """An adapter that takes a permit for each request: `session.mount("https://api.github.com/", GovernedAdapter("github"))`.

    A request is an operation in the scope `provider:method`. It waits for its permit, and is retried as the settings of the
    scope say, each attempt with a permit of its own. `adapter` sends the requests, a new `HTTPAdapter` by default. Its
    `max_retries` is set to 0, because those retries would take no permits.

    `wait` bounds all waiting, for permits and between attempts, of a request and of the redirects and the rounds of
    authentication that follow from it: seconds, None for no bound, or "timeout" (the default) for the timeout of the request,
    30 seconds at most. With 0, a request that would have to wait is denied at once. `wait_at_most` sets it for a block. If the
    first attempt gets no permit, `on_refusal="raise"` raises a subclass of `PermitDenied` that is a
    `requests.RequestException` too, with reason and `retry_after`; `on_refusal="response"` answers 429, or 503 while the
    provider is unavailable as a whole, with `retry-after`, `x-should-retry: false` and the reason as JSON. If a later attempt
    gets none, the last answer is returned, or the last error is raised with a note. With `stream=True`, an answer of more than
    64 KiB that was to be retried is not kept.

    Idempotent methods, and others with an `Idempotency-Key` header, are retried after the statuses in the settings, timeouts,
    network errors and answers that break off; any method is retried if the request was not sent, or not processed (429, and 503
    with `Retry-After`). A body from a file or an iterator is sent once. With `stream=True`, an answer that has been returned is
    not retried, and its outcome is reported when its body ends, breaks off or is closed. `elapsed` of an answer does not count
    the wait.

    An adapter is beneath authentication: a request is signed before it waits, and a retry sends the same signature again.
    `govern` signs each attempt that had to wait.

    `key` is called with each request (`governor_client.Request`), and returns its key, such as a model, or None: the scope is
    then `provider/key:method`. `governor_client.model_of` is such a function. Calls with `priority="batch"` wait behind those
    with "interactive".

    The default `governor` is that of the process, looked up with each request; only an adapter without another one can be
    pickled. Requests to this machine need no permit unless `govern_loopback`, and neither do those to `ungoverned` paths
    (`/health` covers itself and everything beneath) and hosts. `on_event` is called at once, in the thread of the request, if a
    permit took a millisecond or more (`Granted`), when an attempt after the first begins (`Retried`), and for a denial
    (`CallDenied`). `clock` is for tests and simulations. Raises `ConfigError`.
    """

    def __init__(
        self,
        provider: str,
        *,
        governor: Governor | None = None,
        adapter: BaseAdapter | None = None,
        wait: Wait = "timeout",
        on_refusal: OnRefusal = "raise",
        govern_loopback: bool = False,
        ungoverned: Collection[str] = (),
        on_event: Hook | None = None,
        key: Key | None = None,
        priority: Priority = "interactive",
        clock: Clock = system_clock,
    ) -> None:
        super().__init__()
        self.adapter: Final = HTTPAdapter() if adapter is None else adapter
        if isinstance(self.adapter, HTTPAdapter):
            self.adapter.max_retries = NO_RETRIES
        self._provider = provider
        self._options: AdapterOptions = {
            "governor": governor,
            "wait": wait,
            "on_refusal": on_refusal,
            "govern_loopback": govern_loopback,
            "ungoverned": ungoverned,
            "on_event": on_event,
            "key": key,
            "priority": priority,
            "clock": clock,
        }
        self._terms: TermsOf = Terms(
            provider,
            governor,
            wait=wait,
            on_refusal=on_refusal,
            govern_loopback=govern_loopback,
            ungoverned=ungoverned,
            on_event=on_event,
            key=key,
            priority=priority,
            clock=clock,
        )

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: "TimeoutType" = None,
        verify: "VerifyType" = True,
        cert: "CertType" = None,
        proxies: dict[str, str] | None = None,
    ) -> Response:
        """Sends one request, with a permit for each attempt."""
        send = partial(self.adapter.send, stream=stream, timeout=timeout, verify=verify, cert=cert, proxies=proxies)
        return _send(self._terms, send, self, request, stream=stream, timeout=timeout)

    def close(self) -> None:
        """Closes the adapter that sends."""
        self.adapter.close()

    def __reduce__(self) -> tuple[object, ...]:
        if self._options["governor"] is not None:
            raise UsageError(
                "an adapter with a governor of its own cannot be pickled; leave out `governor=`, so that it uses the governor "
                "of the process"
            )
        return partial(GovernedAdapter, self._provider, adapter=self.adapter, **self._options), ()


def govern(session: S, provider: str, **options: Unpack[AdapterOptions]) -> S:
    """Governs all requests of a session, and returns the session.

    `github = govern(requests.Session(), "github")` puts a `GovernedAdapter` with these options around each adapter of the
    session, so that pool sizes, certificates and proxies stay as they are. An adapter that is mounted later is not governed.
    `auth` of the session or of a call is applied again, to the unsigned request, before each attempt that had to wait, unless
    the request was changed after it was prepared. A session that is pickled or copied stays governed, and signs before the
    wait. Raises `UsageError` if the session is governed already, and `ConfigError`.
    """
    adapters = {prefix: adapter for prefix, adapter in session.adapters.items() if not isinstance(adapter, GovernedAdapter)}
    if not adapters:
        raise UsageError("this session is governed already; make another one, or mount another GovernedAdapter")
    for prefix, adapter in adapters.items():
        session.mount(prefix, GovernedAdapter(provider, adapter=adapter, **options))
    if "prepare_request" not in vars(session):
        session.prepare_request = partial(prepare, session.prepare_request, session)  # type: ignore[method-assign] # for this one
    return session


def send_by_host(
    terms: TermsOf, send: Callable[..., Response], adapter: HTTPAdapter, request: PreparedRequest, *args: Any, **options: Any
) -> Response:
    """`send` of any adapter, for `instrument`. The arguments are those of `HTTPAdapter.send`."""
    options |= zip(("stream", "timeout", "verify", "cert", "proxies"), args, strict=False)
    # One that does not retry, with the connections of the other, which is not changed.
    once = object.__new__(type(adapter))
    vars(once).update(vars(adapter), max_retries=NO_RETRIES)
    governed, ungoverned = (partial(send, each, **options) for each in (once, adapter))
    stream, timeout = options.get("stream", False), options.get("timeout")
    return _send(terms, governed, adapter, request, stream=stream, timeout=timeout, ungoverned=ungoverned)


def _send(
    terms_of: TermsOf,
    send: Callable[[PreparedRequest], Response],
    adapter: BaseAdapter,
    request: PreparedRequest,
    *,
    stream: bool,
    timeout: "TimeoutType",
    ungoverned: Callable[[PreparedRequest], Response] | None = None,
) -> Response:
    """Sends a request with a permit for each attempt. `ungoverned` sends one that needs none, as `send` by default."""
    url = urlsplit(request.url or "")
    path, (host, port) = url.path, origin_of(url.scheme, url.netloc)
    terms = terms_of.of(host, path, port)
    if terms is None:
        return (ungoverned or send)(request)
    method, headers, body = request.method or "GET", Lookup(request.headers), request.body
    marked = are_marked(request.headers)
    description = Request(
        method,
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
    operation: Operation[Response] = Operation(terms, description, _Budget(terms, request, timeout))
    response = run(operation, _Exchange(adapter, operation, request, send))
    if operation.waited:
        _OwnTime(request.hooks, response)
    return response


@final
class _Exchange(msgspec.Struct, eq=False):
    """A request that an adapter sends."""

    _adapter: Any  # requests types it as an `HTTPAdapter`, where any adapter will do.
    _operation: Operation[Response]
    _request: PreparedRequest
    _send: Callable[[PreparedRequest], Response]
    _body: Watched | None = None
    _taken: bytes | None = None

    def send(self, attempt: Attempt) -> Response:
        request, waited, clock = self._request, self._operation.waited, self._operation.terms.clock
        if waited and (signature := signatures.get(request)) is not None:
            request = signature.renewed(request)
        body = request.body
        self._body = None if body is None else watch(body)
        if self._body is not None:
            request.body = cast("Any", self._body)
        caller = request.headers.pop(CALLER) if self._operation.request.caller is not None else None
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
        try:
            response.content  # noqa: B018 - reads it
        except BaseException:
            response.close()
            raise
        return True

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
        raw = synthetic(denied, self._request.url, loaded=False)
        return HTTPAdapter.build_response(self._adapter, self._request, raw)

    def error(self, denial: PermitDenied) -> Exception:
        return as_error_of(exceptions.RequestException, denial, request=self._request, response=None)


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


__all__ = ["AdapterOptions", "GovernedAdapter", "govern"]
