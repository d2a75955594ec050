"""What can be said about one call, beside its method and its address?"""

from typing import TYPE_CHECKING, Final, TypedDict, cast

if TYPE_CHECKING:
    # The names that httpx has for what it accepts. They are read by type checkers only.
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


#: Keys for the extensions of an httpx request. False: this request is sent once.
RETRY: Final = "governor.retry"
#: True: an attempt ends when the whole body is here, so that an answer that breaks off is tried again as well.
BUFFERED: Final = "governor.buffered"


class HttpxOptions(TypedDict, total=False):
    """The keyword arguments of httpx, each with the meaning and the types that it has there."""

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
    """And two of our own: `raise_for_status`, True by default, and `disable_retry`, False by default."""

    raise_for_status: bool
    disable_retry: bool


def for_httpx(options: CallOptions, *, buffered: bool) -> HttpxOptions:
    """The options without our own: what they say goes into the extensions, where the transport finds it."""
    extensions = {BUFFERED: buffered, **options.get("extensions", {})}
    if options.get("disable_retry", False):
        extensions[RETRY] = False
    ours = CallOptions.__annotations__.keys() - HttpxOptions.__annotations__.keys()
    return cast("HttpxOptions", {**{key: value for key, value in options.items() if key not in ours}, "extensions": extensions})
