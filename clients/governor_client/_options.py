"""Keyword arguments of the client and of its calls: those of httpx2, and a few more."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Literal, TypedDict

from governor import Priority, UsageError
from governor_client._wait import Wait

if TYPE_CHECKING:
    import ssl

    import httpx2

    # Private type aliases of httpx2, used by type checkers only.
    from httpx2._types import (
        AuthTypes,
        CertTypes,
        CookieTypes,
        HeaderTypes,
        ProxyTypes,
        QueryParamTypes,
        RequestContent,
        RequestData,
        RequestExtensions,
        RequestFiles,
        TimeoutTypes,
    )

#: Extension of a request. False: the request is sent once.
RETRY: Final = "governor.retry"
#: Extension of a request. True: the attempt includes the whole body, so that an answer that breaks off is retried.
BUFFERED: Final = "governor.buffered"
#: Extension of a request: how long it may wait, as the argument `wait` of a transport.
WAIT: Final = "governor.wait"
#: Extension of a request: the label of its caller.
CALLER_LABEL: Final = "governor.caller"
#: Extension of a request: whether it waits as an interactive or as a batch call.
PRIORITY: Final = "governor.priority"
#: Extension of a request, set by a transport: the wait that is left for the redirects that follow from it.
BUDGET: Final = "governor.budget"


class ClientOptions(TypedDict, total=False):
    """The keyword arguments of `httpx2.Client`, with the same meaning and types."""

    params: "QueryParamTypes | None"
    headers: "HeaderTypes | None"
    cookies: "CookieTypes | None"
    auth: "AuthTypes | None"
    verify: "ssl.SSLContext | str | bool"
    cert: "CertTypes | None"
    http1: bool
    http2: bool
    proxy: "ProxyTypes | None"
    limits: "httpx2.Limits"
    max_redirects: int
    event_hooks: "Mapping[str, list[Callable[..., object]]] | None"
    trust_env: bool
    default_encoding: "str | Callable[[bytes], str | None]"


class RequestOptions(TypedDict, total=False):
    """The keyword arguments of `httpx2.Client.build_request`, with the same meaning and types."""

    content: "RequestContent"
    data: "RequestData"
    files: "RequestFiles"
    json: object
    params: "QueryParamTypes"
    headers: "HeaderTypes"
    cookies: "CookieTypes"
    timeout: "TimeoutTypes"
    extensions: "RequestExtensions"


class CallOptions(RequestOptions, total=False):
    """The keyword arguments of `httpx2.Client.request`, and `raise_for_status`, and those of the governor.

    `raise_for_status=False` (default True) returns answers of 400 or more. Of these, only 429, and 503 with `Retry-After`, are
    retried then, unless `retry=True`. `disable_retry=True` sends once. `wait` goes before that of the client. `caller` is the
    label of the caller, and `priority` goes before that of the client.
    """

    auth: "AuthTypes | None"
    follow_redirects: bool
    raise_for_status: bool
    disable_retry: bool
    retry: bool
    wait: Wait
    caller: str
    priority: Priority


#: What a call takes beside the arguments of a request.
_OF_THE_CALL: Final = frozenset(CallOptions.__annotations__.keys() - RequestOptions.__annotations__.keys())

#: Options of a call that its requests carry, and their extensions.
_EXTENSIONS: Final[dict[Literal["caller", "priority"], str]] = {"caller": CALLER_LABEL, "priority": PRIORITY}


def request_options(options: CallOptions) -> RequestOptions:
    """The options of the request; the others are read by the call. Raises `UsageError` for options that contradict."""
    if options.get("retry") and options.get("disable_retry"):
        raise UsageError("retry=True and disable_retry=True contradict each other; pass one of them")
    made = {key: value for key, value in options.items() if key not in _OF_THE_CALL}
    said = {extension: options[name] for name, extension in _EXTENSIONS.items() if name in options}
    if said:
        made["extensions"] = {**(options.get("extensions") or {}), **said}
    return made  # type: ignore[return-value] # the keys that are left are those of `RequestOptions`
