"""Adapter for botocore, and so for boto3: clients that take a permit for each request."""

from collections.abc import Callable, Collection
from contextvars import ContextVar
from functools import partial
from importlib import import_module
from typing import Any, Final, TypeVar, cast, final
from urllib.parse import urlsplit
from weakref import WeakSet

from governor import Governor, PermitDenied, Priority, UsageError, extras
from governor.clock import Clock, system_clock
from governor.instrumentation import Hook
from governor_client._attempt import Fault
from governor_client._denials import DeniedResponse, OnRefusal, as_error_of
from governor_client._exchange import pause
from governor_client._headers import CALLER, LazyHeaders
from governor_client._keys import Key
from governor_client._operation import Operation
from governor_client._questions import Question
from governor_client._request import Request
from governor_client._terms import Terms
from governor_client._wait import Wait

try:
    from urllib3.exceptions import ProtocolError, SSLError, TimeoutError

    from governor_client._urllib3_family import (
        READING,
        Lookup,
        Original,
        Watched,
        fault_of_urllib3,
        in_memory,
        report,
        synthetic,
        timeout_of,
        watch,
    )
except ModuleNotFoundError as error:
    raise extras.missing("urllib3", error) from None

C = TypeVar("C")

#: Entry of the context of a call, which is shared by its attempts.
_CALL: Final = "governor.call"
#: The statuses after which the settings alone decide on retries.
_OURS: Final = frozenset({408, 429, *range(500, 600)})
_governed: Final[WeakSet[Any]] = WeakSet()
#: The call whose request this thread makes last; None if that is not governed.
_current: Final[ContextVar["_Call | None"]] = ContextVar("governor_client_botocore_call", default=None)


def govern(
    client: C,
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
) -> C:
    """Governs all requests of a client of botocore or boto3, and returns the client: `govern(boto3.client("s3"), "aws")`.

    It uses the events of the client. A request waits for its permit before it is signed, and is retried as the settings of the
    scope say, each attempt with a permit and a signature of its own. The retries of botocore do not repeat after what the
    settings know: errors of the network, and the statuses 408, 429 and 500 or more. They repeat after other throttling answers
    unless `Config(retries={"total_max_attempts": 1})` switches them off; each repetition takes a permit.

    The outcome of an answer with a stream, such as `get_object`, is reported when the stream ends, breaks off or is closed. A
    denial is a `botocore.exceptions.BotoCoreError` as well as a subclass of `PermitDenied`. All other arguments are those of
    `governor_client.urllib3.govern`. Raises `ConfigError`, and `UsageError` if the client is governed already.
    """
    if client in _governed:
        raise UsageError("this client is governed already; make another one")
    meta = cast("Any", client).meta
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
    handlers = _Handlers(terms, timeout_of((meta.config.connect_timeout, meta.config.read_timeout)))
    service = meta.service_model.service_id.hyphenize()
    # The handlers that sign and retry are registered for the same events, and are called later.
    meta.events.register_first(f"request-created.{service}", handlers.begin)
    meta.events.register_first(f"before-send.{service}", handlers.answer)
    meta.events.register_first(f"needs-retry.{service}", handlers.end)
    # Events show an answer when its body has been read, and none whose body breaks off or cannot be parsed.
    endpoint = getattr(client, "_endpoint", None)
    if endpoint is not None:
        endpoint.make_request = partial(handlers.call, endpoint.make_request)
        endpoint.http_session.send = partial(handlers.send, endpoint.http_session.send)
    _governed.add(client)
    return client


@final
class _Call:
    """One call of the program. `permitted`: its next request has a permit already."""

    __slots__ = ("answer", "body", "operation", "permitted", "question", "status")

    def __init__(self, operation: Operation[Any]) -> None:
        self.operation = operation
        self.permitted = False
        #: The synthetic answer to its next request, if that has no permit.
        self.answer: object | None = None
        #: The body of its latest request, if it is read while it is sent.
        self.body: Watched | None = None
        #: The status of its latest answer, and the question for `plan_retry` that the head of that leads to, if any.
        self.status: int | None = None
        self.question: Question | None = None

    def take_permit(self) -> None:
        """Waits for a permit. Raises `PermitDenied`."""
        operation = self.operation
        operation.granted(operation.governor.acquire_blocking(operation.provider, operation.method, **operation.ask()))
        self.permitted = True
        self.status = self.question = None

    def begun(self, response: Any) -> None:
        """An answer has begun: passes on what its head says."""
        self.status = response.status_code
        self.question = self.operation.answered(self.status, LazyHeaders(response.headers, tuple(response.headers)))

    def follow(self, response: Any) -> None:
        """Reports the outcome: of a body that botocore has read at once, of another one when it ends."""
        attempt, body = self.operation.attempt, getattr(response, "_content", None)
        if attempt.observation is not None and body is not None:
            attempt.observation.saw(body)  # Undecoded.
        report(response.raw, attempt)


@final
class _Handlers:
    """Handlers of the events of one client."""

    def __init__(self, terms: Terms, timeout: float | None) -> None:
        self._terms = terms
        self._timeout = timeout

    def begin(self, request: Any, **kwargs: object) -> None:
        """A request has been made, and is not signed yet."""
        call: _Call | None = request.context.get(_CALL)
        caller = Lookup(request.headers).get(CALLER)
        if caller is not None:
            del request.headers[CALLER]
        if call is None:
            url = urlsplit(request.url)
            host, path = url.hostname or "", url.path
            if not self._terms.governs(host, path):
                _current.set(None)
                return
            # botocore rewinds files, and encodes forms anew.
            repeatable = in_memory(request.data) or isinstance(request.data, dict) or hasattr(request.data, "seek")
            description = Request(
                request.method,
                host,
                path,
                Lookup(request.headers),
                repeatable=repeatable,
                caller=caller,
                original=Original(request.url, request.data),
                reading=READING,
            )
            budget = self._terms.budget(..., self._timeout)
            call = _Call(Operation(self._terms, description, lambda: budget))
            request.context[_CALL] = call
        _current.set(call)
        if not call.permitted:
            try:
                call.take_permit()
            except PermitDenied as denial:
                call.answer = call.operation.denied(denial, _Denier(request.url))

    def call(self, make: Callable[[Any, Any], Any], operation_model: Any, request_dict: Any) -> object:
        """Makes a call. Reports the outcome if it ends in an error that no event shows, such as of an answer without sense."""
        try:
            return make(operation_model, request_dict)
        except BaseException as error:
            call: _Call | None = request_dict["context"].get(_CALL)
            if call is not None and call.permitted:
                call.operation.attempt.broke(error, Fault(None, undecodable=call.status is not None))
            raise

    def answer(self, request: Any, **kwargs: object) -> object | None:
        """A request is about to be sent. Returns the synthetic answer to it, if it has no permit."""
        call = _call_of(request)
        if call is None or call.answer is not None:
            return None if call is None else call.answer
        call.body = watch(request.body)
        if call.body is not None:
            request.body = call.body
        return None

    def send(self, send: Callable[[Any], Any], request: Any) -> object:
        """Sends a request, and reads what the head of the answer says before its body, unless the program reads that."""
        call = _call_of(request)
        if call is None:
            return send(request)
        streams, request.stream_output = request.stream_output, True
        try:
            response = send(request)
        finally:
            request.stream_output = streams
        call.begun(response)
        if not streams or response.status_code >= 300:
            _load(request, response)
        if response.status_code >= 300:
            call.follow(response)
        return response

    def end(
        self, request_dict: Any, response: Any = None, caught_exception: Exception | None = None, **kwargs: object
    ) -> float | bool | None:
        """An attempt has ended. Returns 0 to make another one, False to make none, and None to leave it to other handlers."""
        call: _Call | None = request_dict["context"].get(_CALL)
        if call is None:
            return None
        if not call.permitted:
            return False
        call.permitted = False
        operation = call.operation
        if caught_exception is None:
            status = response[0].status_code
            if call.status != status:  # S3 has said 200 before an error, or another handler has made the answer up.
                operation.attempt.status, operation.attempt.is_heard = None, False
                call.begun(response[0])
            if not operation.attempt.permit.reported:
                call.follow(response[0])
            question = call.question
        else:
            status = None
            inner = getattr(caught_exception, "kwargs", {}).get("error")
            if call.body is not None and call.body.failed:
                fault = Fault(None, ours=True)
            else:
                fault = fault_of_urllib3(inner if isinstance(inner, BaseException) else caught_exception)
            failed = operation.failed(caught_exception, fault)
            question = call.question or failed
        if question is not None:
            operation.planned(operation.governor.plan_retry(**question).delay)
        if question is None or operation.pause is None:
            return False if status is None or status in _OURS else None
        pause(operation)
        try:
            call.take_permit()
        except PermitDenied:
            return False  # botocore returns the last answer, or raises the last error.
        return 0


def _call_of(request: Any) -> _Call | None:
    """The call of a request that is sent; None if that is not governed."""
    context = getattr(request, "context", None)
    # Older versions of botocore keep no context with it. Then a call that fetches credentials hides the call that needs them.
    return _current.get() if context is None else cast("_Call | None", context.get(_CALL))


def _load(request: Any, response: Any) -> None:
    """Reads a body into memory, with the errors that botocore makes of those of urllib3."""
    try:
        response.content  # noqa: B018 - reads it
    except Exception as error:
        errors = import_module("botocore.exceptions")
        match error:
            case TimeoutError():
                raise errors.ReadTimeoutError(endpoint_url=request.url, error=error) from error
            case SSLError():
                raise errors.SSLError(endpoint_url=request.url, error=error) from error
            case ProtocolError():
                raise errors.ConnectionClosedError(endpoint_url=request.url, error=error, request=request) from error
            case _:
                raise errors.HTTPClientError(error=error) from error


@final
class _Denier:
    """What botocore makes of a denial."""

    def __init__(self, url: str) -> None:
        self._url = url

    def answer(self, denied: DeniedResponse) -> object:
        response: object = import_module("botocore.awsrequest").AWSResponse(
            self._url, denied.status, denied.headers, synthetic(denied, self._url, loaded=False)
        )
        return response

    def error(self, denial: PermitDenied) -> Exception:
        return as_error_of(import_module("botocore.exceptions").BotoCoreError, denial, kwargs=None)


__all__ = ["govern"]
