"""What can be said about one call, beside its method and its address?"""

from typing import TYPE_CHECKING, TypedDict

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


class CallOptions(TypedDict, total=False):
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
