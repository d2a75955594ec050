"""Keyword arguments of a call: those of httpx, and two more."""

from typing import TYPE_CHECKING, Final, TypedDict, cast

if TYPE_CHECKING:
    # Private type aliases of httpx, used by type checkers only.
    from httpx._types import (
        AuthTypes,
        CookieTypes,
        HeaderTypes,
        QueryParamTypes,
        RequestContent,
        RequestData,
        RequestExtensions,
        RequestFiles,
        TimeoutTypes,
    )


#: Extension of an httpx request. False: the request is sent once.
RETRY: Final = "governor.retry"
#: Extension of an httpx request. True: the attempt includes the whole body, so that an answer that breaks off is retried.
BUFFERED: Final = "governor.buffered"


class HttpxOptions(TypedDict, total=False):
    """The keyword arguments of httpx, with the same meaning and types."""

    content: "RequestContent"
    data: "RequestData"
    files: "RequestFiles"
    json: object
    params: "QueryParamTypes"
    headers: "HeaderTypes"
    cookies: "CookieTypes"
    auth: "AuthTypes"
    follow_redirects: bool
    timeout: "TimeoutTypes"
    extensions: "RequestExtensions"


class CallOptions(HttpxOptions, total=False):
    """The keyword arguments of httpx, and `raise_for_status` (default True) and `disable_retry` (default False)."""

    raise_for_status: bool
    disable_retry: bool


def for_httpx(options: CallOptions, *, buffered: bool) -> HttpxOptions:
    """The options for httpx; `disable_retry` and `buffered` become extensions, which the transport reads."""
    extensions = {BUFFERED: buffered, **options.get("extensions", {})}
    if options.get("disable_retry", False):
        extensions[RETRY] = False
    ours = CallOptions.__annotations__.keys() - HttpxOptions.__annotations__.keys()
    return cast("HttpxOptions", {**{key: value for key, value in options.items() if key not in ours}, "extensions": extensions})
