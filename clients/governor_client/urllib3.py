"""Adapter for urllib3: pool managers that take a permit for each request."""

from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any, ClassVar, Final, TypeVar, final

import msgspec

from governor import Governor, Permit, PermitDenied, Priority, UsageError, extras
from governor.clock import Clock, system_clock
from governor.instrumentation import Hook
from governor_client._attempt import Attempt, Fault
from governor_client._denials import DO_NOT_REPEAT, DeniedResponse, OnRefusal, as_error_of
from governor_client._exchange import go_on, repeats, run
from governor_client._headers import CALLER, LazyHeaders
from governor_client._hosts import TermsOf
from governor_client._keys import Key
from governor_client._observed import Observation
from governor_client._operation import Operation
from governor_client._request import Request
from governor_client._terms import Terms, Within
from governor_client._wait import Wait, WaitBudget

try:
    from urllib3 import BaseHTTPResponse, HTTPConnectionPool, PoolManager, Retry
    from urllib3.exceptions import HTTPError
    from urllib3.util import parse_url

    from governor_client._urllib3_family import (
        BROKEN_OFF,
        READING,
        Lookup,
        Original,
        Watched,
        are_marked,
        fault_of_urllib3,
        in_memory,
        load,
        lower_names,
        report,
        synthetic,
        take_in,
        timeout_of,
        watch,
        without,
    )
    from governor_client._urllib3_redirects import follow
except ModuleNotFoundError as error:
    raise extras.missing("urllib3", error) from None

M = TypeVar("M", bound=PoolManager)


@final
class _Call(msgspec.Struct, eq=False):
    """One call of a manager, or of a pool: its redirects share one wait."""

    owner: PoolManager | HTTPConnectionPool
    _budget: WaitBudget | None = None

    def budget(self, terms: Terms, timeout: object) -> WaitBudget:
        """The wait of the call, the same each time: as the first request that needs it makes it."""
        if self._budget is None:
            self._budget = terms.budget(..., timeout_of(timeout))
        return self._budget


#: Retries happen beneath the permit, so a governed request has none. The second raises errors as they are.
_ONCE: Final = Retry(0, redirect=False)
_RAISES: Final = Retry(False, redirect=False)
#: The arguments of `urlopen` after the URL.
_POSITIONAL: Final = (
    *("body", "headers", "retries", "redirect", "assert_same_host", "timeout", "pool_timeout", "release_conn", "chunked"),
    *("body_pos", "preload_content", "decode_content"),
)
#: The call that a manager makes in this thread.
_current: Final[ContextVar[_Call | None]] = ContextVar("governor_client_urllib3_call", default=None)


def govern(
    manager: M,
    provider: str,
    *,
    governor: Governor | None = None,
    wait: Wait = "timeout",
    on_refusal: OnRefusal = "raise",
    govern_loopback: bool = False,
    ungoverned: Collection[str] = (),
    on_event: Hook | None = None,
    key: Key | None = None,
    priority: Priority = "interactive",
    clock: Clock = system_clock,
) -> M:
    """Governs all requests of a `PoolManager` or `ProxyManager`, and returns the manager.

    `http = govern(urllib3.PoolManager(), "github")` makes each request an operation in the scope `provider:method`. It waits
    for its permit, and is retried as the settings of the scope say, each attempt with a permit of its own. `retries` of the
    manager and of a request count redirects only, because the retries of urllib3 would take no permits; `retries=False` still
    returns redirects and raises errors as they are. Pools that the manager has made before are closed. A pool that is taken
    from the manager and used directly does not follow redirects.

    `wait` bounds all waiting, for permits and between attempts, of a request and of the redirects that follow from it: seconds,
    None for no bound, or "timeout" (the default) for the timeout of the request, 30 seconds at most. With 0, a request that
    would have to wait is denied at once. `wait_at_most` sets it for a block. If the first attempt gets no permit,
    `on_refusal="raise"` raises a subclass of `PermitDenied` that is a `urllib3.exceptions.HTTPError` too, with reason and
    `retry_after`; `on_refusal="response"` answers 429, or 503 while the provider is unavailable as a whole, with `retry-after`,
    `x-should-retry: false` and the reason as JSON. If a later attempt gets none, the last answer is returned, or the last error
    is raised with a note. With `preload_content=False`, an answer of more than 64 KiB that was to be retried is not kept.

    Idempotent methods, and others with an `Idempotency-Key` header, are retried after the statuses in the settings, timeouts,
    network errors and answers that break off; any method is retried if the request was not sent, or not processed (429, and 503
    with `Retry-After`). A body from a file or an iterator is sent once. With `preload_content=False`, an answer that has been
    returned is not retried, and its outcome is reported when its body ends, breaks off or is closed.

    `key` is called with each request (`governor_client.Request`), and returns its key, such as a model, or None: the scope is
    then `provider/key:method`. `governor_client.model_of` is such a function. Calls with `priority="batch"` wait behind those
    with "interactive".

    The default `governor` is that of the process, looked up with each request. Requests to this machine need no permit unless
    `govern_loopback`, and neither do those to `ungoverned` paths (`/health` covers itself and everything beneath) and hosts.
    `on_event` is called at once, in the thread of the request, if a permit took a millisecond or more (`Granted`), when an
    attempt after the first begins (`Retried`), and for a denial (`CallDenied`). `clock` is for tests and simulations. Raises
    `ConfigError`, and `UsageError` if the manager is governed already.
    """
    if any(issubclass(kind, _GovernedPool) for kind in manager.pool_classes_by_scheme.values()):
        raise UsageError("this pool manager is governed already; make another one")
    terms = Terms(
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
    manager.pool_classes_by_scheme = {
        scheme: type(kind.__name__, (_GovernedPool, kind), {"_terms": terms})
        for scheme, kind in manager.pool_classes_by_scheme.items()
    }
    manager.clear()
    manager.urlopen = partial(call, manager.urlopen, manager)  # type: ignore[method-assign] # of this manager
    return manager


class GovernedPoolManager(PoolManager):
    """A `urllib3.PoolManager` that takes a permit for each request: `GovernedPoolManager("github", wait=5.0)`.

    `governor`, `wait` and the other named arguments are those of `govern`, all others those of `PoolManager`.
    """

    def __init__(
        self,
        provider: str,
        num_pools: int = 10,
        headers: Mapping[str, str] | None = None,
        *,
        governor: Governor | None = None,
        wait: Wait = "timeout",
        on_refusal: OnRefusal = "raise",
        govern_loopback: bool = False,
        ungoverned: Collection[str] = (),
        on_event: Hook | None = None,
        key: Key | None = None,
        priority: Priority = "interactive",
        clock: Clock = system_clock,
        **connection_pool_kw: Any,
    ) -> None:
        super().__init__(num_pools, headers, **connection_pool_kw)
        govern(
            self,
            provider,
            governor=governor,
            wait=wait,
            on_refusal=on_refusal,
            govern_loopback=govern_loopback,
            ungoverned=ungoverned,
            on_event=on_event,
            key=key,
            priority=priority,
            clock=clock,
        )


def call(
    urlopen: Callable[..., BaseHTTPResponse], manager: PoolManager, method: str, url: str, redirect: bool = True, **kw: Any
) -> BaseHTTPResponse:
    """`urlopen` of a manager, which calls itself for redirects: they share one wait."""
    current = _current.get()
    if current is not None and current.owner is manager:
        return urlopen(method, url, redirect, **kw)
    token = _current.set(_Call(manager))
    try:
        return urlopen(method, url, redirect, **kw)
    finally:
        _current.reset(token)


class _GovernedPool(HTTPConnectionPool):
    """What is overridden in the connection pools of a governed manager."""

    _terms: ClassVar[Terms]

    def urlopen(self, method: str, url: str, *args: Any, **options: Any) -> BaseHTTPResponse:
        return send_through(self._terms, super().urlopen, self, method, url, *args, **options)


def send_through(
    terms_of: TermsOf,
    urlopen: Callable[..., BaseHTTPResponse],
    pool: HTTPConnectionPool,
    method: str,
    url: str,
    *args: Any,
    **options: Any,
) -> BaseHTTPResponse:
    """`urlopen` of a pool, with a permit for each attempt. The arguments are those of `HTTPConnectionPool.urlopen`."""
    if args:
        options |= zip(_POSITIONAL, args, strict=False)
    if options.get("redirect", True):  # A manager follows redirects itself.
        return _call_of_pool(terms_of, urlopen, pool, method, url, options)
    host, path, port = pool.host, url.partition("?")[0], pool.port
    if not url.startswith("/"):
        # To a proxy, with the whole URL.
        target = parse_url(url)
        host, path, port = target.host or host, target.path or "/", target.port or (port if target.host is None else 80)
    retries, body, headers = options.get("retries"), options.get("body"), options.get("headers")
    headers = pool.headers if headers is None else headers
    terms = terms_of if isinstance(terms_of, Terms) else terms_of.of(host, path, port)
    permit = None
    if terms is not None:
        if (body is None or in_memory(body)) and not (headers and are_marked(headers)):
            permit = terms.take(host, method)
        if permit is None:
            terms = terms.of(host, path, port)
    if terms is None:
        return urlopen(method, url, **options)
    if not isinstance(retries, Retry):
        retries = Retry.from_int(retries, redirect=options.get("redirect", True), default=pool.retries)
    options.update(headers=headers, retries=_RAISES if retries.total is False else _ONCE, redirect=False)
    loaded = options.get("preload_content", True)
    if loaded:  # By `load`. The connection must not be free before.
        options.update(preload_content=False, release_conn=False)
    request = _PoolRequest(urlopen, pool, host, path, method, url, options, loaded)
    response = run(*_begin(terms, request)) if permit is None else _send_plain(terms, permit, request)
    # A manager counts redirects with these.
    response.retries = retries
    return response


def _call_of_pool(
    terms_of: TermsOf,
    urlopen: Callable[..., BaseHTTPResponse],
    pool: HTTPConnectionPool,
    method: str,
    url: str,
    options: dict[str, Any],
) -> BaseHTTPResponse:
    """A call with its redirects, which share one wait."""
    token = _current.set(_Call(pool))
    try:
        return follow(partial(send_through, terms_of, urlopen, pool), pool, method, url, options)
    finally:
        _current.reset(token)


@final
class _PoolRequest(msgspec.Struct, eq=False):
    """A request that a pool sends, by `urlopen` with these `options`."""

    urlopen: Callable[..., BaseHTTPResponse]
    pool: HTTPConnectionPool
    host: str
    path: str
    method: str
    url: str
    options: dict[str, Any]
    #: Whether the program wants the body of the answer in memory.
    loaded: bool


def _send_plain(terms: Terms, permit: Permit, request: _PoolRequest) -> BaseHTTPResponse:
    """Sends a plain request: see `Terms.take`."""
    urlopen, method, url, options = request.urlopen, request.method, request.url, request.options
    status = None
    try:
        if Terms.any_by_host:
            with Within(terms, request.host):
                response = urlopen(method, url, **options)
        else:
            response = urlopen(method, url, **options)
        names = tuple(getattr(response.headers, "_container", None) or lower_names(response.headers))
        if terms.lets_pass(permit, response.status, names, request.path):
            status = response.status
            if request.loaded:
                try:
                    response.data  # noqa: B018 - `load`, without its call
                except BROKEN_OFF as error:
                    options["retries"].increment(method, url, error=error, _pool=request.pool)
    except BaseException as error:
        begun = _begin(terms, request)
        if not repeats(*begun, error, Attempt(permit, status)):
            raise
        return run(*begun)
    if status is None:
        return go_on(*_begin(terms, request), Attempt(permit), response)
    if request.loaded:
        permit.record(status=status)
    else:
        report(response, Attempt(permit, status))
    return response


def _begin(terms: Terms, request: _PoolRequest) -> "tuple[Operation[BaseHTTPResponse], _Exchange]":
    """The operation and the exchange of a request."""
    pool, method, url, options = request.pool, request.method, request.url, request.options
    body = options.pop("body", None)
    headers, marked = Lookup(options["headers"]), are_marked(options["headers"])
    caller = headers.get(CALLER) if marked else None
    if caller is not None:
        options["headers"] = without(CALLER, options["headers"])
    description = Request(
        method,
        request.host,
        request.path,
        headers,
        repeatable=body is None or in_memory(body),
        buffered=request.loaded,
        caller=caller,
        original=Original(url, body, pool),
        reading=READING,
        marked=marked,
    )
    call = _current.get() or _Call(pool)
    budget = partial(call.budget, terms, options.setdefault("timeout", pool.timeout))
    send = partial(request.urlopen, method, url, **options)
    read = partial(load, pool, options["retries"], method, url) if request.loaded else None
    return Operation(terms, description, budget), _Exchange(send, url, body, read)


@final
class _Exchange(msgspec.Struct, eq=False):
    """A request that a pool sends."""

    _send: Callable[..., BaseHTTPResponse]
    _url: str
    _body: object
    #: Reads the body of an answer if the program wants it in memory.
    _load: Callable[[BaseHTTPResponse], None] | None
    _watched: Watched | None = None
    _taken: bytes | None = None

    def send(self, attempt: Attempt) -> BaseHTTPResponse:
        self._watched = watch(self._body)
        return self._send(body=self._watched or self._body)

    def head(self, response: BaseHTTPResponse) -> tuple[int, LazyHeaders]:
        headers = response.headers
        return response.status, LazyHeaders(headers, tuple(lower_names(headers)))

    def fault(self, error: BaseException) -> Fault:
        return Fault(None, ours=True) if self._watched is not None and self._watched.failed else fault_of_urllib3(error)

    def read(self, response: BaseHTTPResponse, most: float) -> bool:
        if self._load is not None:
            self._load(response)
            return True
        self._taken = take_in(response)
        return self._taken is not None

    def stream(self, response: BaseHTTPResponse, attempt: Attempt) -> BaseHTTPResponse:
        report(response, attempt)
        return response

    def show(self, response: BaseHTTPResponse, observation: Observation) -> None:
        if self._taken is None:
            observation.saw(response.data, decoded=bool(response.decode_content))
        else:
            observation.saw(self._taken)

    def mark_final(self, response: BaseHTTPResponse) -> None:
        response.headers.update(DO_NOT_REPEAT)

    def answer(self, denied: DeniedResponse) -> BaseHTTPResponse:
        return synthetic(denied, self._url, loaded=self._load is not None)

    def error(self, denial: PermitDenied) -> Exception:
        return as_error_of(HTTPError, denial)


__all__ = ["GovernedPoolManager", "govern"]
