"""Adapter for requests: sessions that take a permit for each request."""

from collections import OrderedDict
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar, Unpack, final

from governor import Governor, Priority, UsageError, extras
from governor.clock import Clock, system_clock
from governor.instrumentation import Hook
from governor_client._denials import OnRefusal
from governor_client._hosts import TermsOf
from governor_client._keys import Key
from governor_client._terms import Terms
from governor_client._wait import Wait

try:
    import requests
    from requests import PreparedRequest, Response
    from requests.adapters import BaseAdapter, HTTPAdapter

    from governor_client._requests_exchanges import send_governed
    from governor_client._requests_signatures import prepare
    from governor_client._urllib3_family import NO_RETRIES
except ModuleNotFoundError as error:
    raise extras.missing("requests", error) from None

if TYPE_CHECKING:
    # Private type aliases of requests, used by type checkers only.
    from requests._types import CertType, TimeoutType, VerifyType

S = TypeVar("S", bound=requests.Session)


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
        return send_governed(self._terms, send, self, request, stream=stream, timeout=timeout)

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
    session, and each that is mounted later, so that pool sizes, certificates and proxies stay as they are.
    `auth` of the session or of a call is applied again, to the unsigned request, before each attempt that had to wait, unless
    the request was changed after it was prepared. A session that is pickled or copied stays governed, and signs before the
    wait. Raises `UsageError` if the session is governed already, and `ConfigError`.
    """
    if all(isinstance(adapter, GovernedAdapter) for adapter in session.adapters.values()):
        raise UsageError("this session is governed already; make another one, or mount another GovernedAdapter")
    adapters = _GovernedAdapters()
    adapters.govern = partial(GovernedAdapter, provider, **options)
    adapters.update(session.adapters)
    session.adapters = adapters
    if "prepare_request" not in vars(session):
        session.prepare_request = partial(prepare, session.prepare_request, session)  # type: ignore[method-assign] # for this one
    return session


@final
class _GovernedAdapters(OrderedDict[str, BaseAdapter]):
    """The adapters of a governed session, by prefix, in its order. One that is mounted later, as SDKs do, is governed too."""

    #: Puts a governed adapter around another one.
    govern: Callable[..., GovernedAdapter]

    def __setitem__(self, prefix: str, adapter: BaseAdapter) -> None:
        # Unpickling sets `govern` after the entries, which are governed.
        super().__setitem__(prefix, adapter if isinstance(adapter, GovernedAdapter) else self.govern(adapter=adapter))


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
    return send_governed(terms, governed, adapter, request, stream=stream, timeout=timeout, ungoverned=ungoverned)


__all__ = ["AdapterOptions", "GovernedAdapter", "govern"]
