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
#: Defined by draft-ietf-httpapi-ratelimit-headers.
REDUCED_CAPACITY: Final = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
#: `Retry-After` in seconds. A nominal wait, because the actual one is unknown.
_RETRY_AFTER: Final = "1"


def problem(
    status: HTTPStatus, detail: str, *, kind: str = "about:blank", headers: Mapping[str, str] | None = None
) -> Response:
    """A response with a problem document. `kind` is the URI of its type."""
    body = msgspec.json.encode(Problem(type=kind, title=status.phrase, status=status, detail=detail))
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, PROBLEM)


def unavailable(detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """A 503 with `Retry-After`, for a temporary condition."""
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE, detail, kind=REDUCED_CAPACITY, headers={"Retry-After": _RETRY_AFTER, **(headers or {})}
    )


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Handles the exceptions that Starlette raises for unknown paths and methods."""
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    details = {
        HTTPStatus.NOT_FOUND: "This path does not exist; /openapi.json lists the paths.",
        HTTPStatus.METHOD_NOT_ALLOWED: f"Methods that are allowed here: {(error.headers or {}).get('Allow', 'none')}.",
    }
    return problem(status, details.get(status, error.detail), headers=error.headers)
