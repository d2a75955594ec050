"""What an operator may do over HTTP: close, open and reset scopes and providers, and end degraded mode.

Each request needs the admin token in `Authorization: Bearer`, and a body in JSON with that content type. A browser sends
neither to another origin without asking first, and every such question is denied.

Bound: a body has at most `MAX_BODY` bytes and comes within `_BODY_TIMEOUT` seconds.
"""

import hmac
import re
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from http import HTTPStatus
from typing import Final, TypeVar

import anyio
import anyio.to_thread
import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from governor import ConfigError, Governor, UsageError
from governor.daemon.documents import BreakerAction, CloseAction, NamedAction, ResumeAction
from governor.daemon.offers import BREAKER, CLOSE, OPEN, RESET, RESUME
from governor.daemon.problems import problem, unavailable
from governor.daemon.reports import scope_named

MAX_BODY: Final = 4096
_BODY_TIMEOUT: Final = 10.0
_TOKEN: Final = re.compile(r"[!-~]{16,}")
_NO_STORE: Final = {"Cache-Control": "no-store"}

T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]


def check_token(token: str) -> None:
    """Raises `ConfigError`, without the token, unless it can be an admin token."""
    if not _TOKEN.fullmatch(token):
        allowed = "at least 16 visible ASCII characters, without spaces"
        raise ConfigError("admin_token", "(hidden)", allowed, message=f"the admin token must have {allowed}")


class Actions:
    """The endpoints of one governor, for requests with this token. Raises `ConfigError` for a token that is too short."""

    def __init__(self, governor: Governor, token: str) -> None:
        check_token(token)
        self._governor = governor
        self._token = token.encode()

    def endpoints(self) -> dict[str, Endpoint]:
        """The endpoints, by their paths under the prefix of the API."""
        return {
            BREAKER: self._guarded(self._breaker),
            CLOSE: self._guarded(self._close),
            OPEN: self._guarded(self._open),
            RESET: self._guarded(self._reset),
            RESUME: self._guarded(self._resume),
        }

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        @wraps(endpoint)
        async def answer(request: Request) -> Response:
            if not self._is_admin(request):
                detail = "This needs the admin token of the daemon: `Authorization: Bearer TOKEN`."
                return problem(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": "Bearer"})
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be JSON, with the type application/json.")
            try:
                return await endpoint(request)
            except _Rejected as rejected:
                return problem(rejected.status, rejected.detail)
            except UsageError as error:
                return unavailable(f"Nothing was done: {error}.")

        return answer

    def _is_admin(self, request: Request) -> bool:
        said = request.headers.getlist("authorization")
        scheme, _, token = said[0].partition(" ") if len(said) == 1 else ("", "", "")
        # Takes as long for a token that is nearly right.
        return hmac.compare_digest(token.strip().encode("latin-1"), self._token) and scheme.lower() == "bearer"

    async def _breaker(self, request: Request) -> Response:
        """Opens the breaker of a scope, or closes it."""
        action = await _body(request, BreakerAction)
        return await _done(partial(self._governor.set_breaker, scope_named(action.scope), open_for=action.open_for))

    async def _close(self, request: Request) -> Response:
        """Closes a scope or a provider."""
        action = await _body(request, CloseAction)
        return await _done(partial(self._governor.operator.close, scope_named(action.name), action.open_for))

    async def _open(self, request: Request) -> Response:
        """Opens a scope or a provider."""
        action = await _body(request, NamedAction)
        return await _done(partial(self._governor.operator.open, scope_named(action.name)))

    async def _reset(self, request: Request) -> Response:
        """Resets a scope or a provider."""
        action = await _body(request, NamedAction)
        return await _done(partial(self._governor.operator.reset, scope_named(action.name)))

    async def _resume(self, request: Request) -> Response:
        """Ends degraded mode."""
        await _body(request, ResumeAction)
        return await _done(self._governor.resume)


async def _done(action: Callable[[], None]) -> Response:
    try:
        await anyio.to_thread.run_sync(action)
    except ConfigError as mistake:
        unknown = mistake.field == "scope"
        return problem(HTTPStatus.NOT_FOUND if unknown else HTTPStatus.BAD_REQUEST, f"Nothing was done: {mistake}.")
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=_NO_STORE)


class _Rejected(Exception):
    """The body cannot be used."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


async def _body(request: Request, kind: type[T]) -> T:
    body = bytearray()
    try:
        with anyio.fail_after(_BODY_TIMEOUT):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    raise _Rejected(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body may have {MAX_BODY} bytes.")
    except (TimeoutError, ClientDisconnect):
        raise _Rejected(HTTPStatus.REQUEST_TIMEOUT, f"The body did not come within {_BODY_TIMEOUT:g} seconds.") from None
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as mistake:
        raise _Rejected(HTTPStatus.BAD_REQUEST, f"The body cannot be used: {mistake}.") from None
