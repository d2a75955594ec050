"""Error responses of the daemon, as problem documents (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from governor.daemon.documents import Problem

PROBLEM: Final = "application/problem+json"
#: Of draft-ietf-httpapi-ratelimit-headers.
REDUCED_CAPACITY: Final = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
#: Seconds after which it makes sense to ask again. A nominal wait: how long things take is not known.
_AGAIN_IN: Final = "1"


def problem(
    status: HTTPStatus, detail: str, *, kind: str = "about:blank", headers: Mapping[str, str] | None = None
) -> Response:
    """A problem as an answer."""
    body = msgspec.json.encode(Problem(type=kind, title=status.phrase, status=status, detail=detail))
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, PROBLEM)


def unavailable(detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Not now, but perhaps in a moment."""
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE, detail, kind=REDUCED_CAPACITY, headers={"Retry-After": _AGAIN_IN, **(headers or {})}
    )


async def on_http_exception(request: Request, error: Exception) -> Response:
    """What Starlette raises for unknown paths and methods."""
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    words = {
        HTTPStatus.NOT_FOUND: "There is nothing under this path; see /openapi.json for what there is.",
        HTTPStatus.METHOD_NOT_ALLOWED: "Everything here is read-only: GET and HEAD.",
    }
    return problem(status, words.get(status, error.detail), headers=error.headers)
