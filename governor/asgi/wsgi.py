"""WSGI middleware (PEP 3333) that applies the limits of `[inbound]`, for Flask, Django and others.

Each request asks the governor from the thread that serves it. A request ends when the server closes the body of its response,
or drops the body without closing it.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Protocol, final, runtime_checkable

from governor import ConfigError, Governor, GovernorState, default
from governor.asgi.admission import AdmissionController
from governor.asgi.client import UNKNOWN, Key, KeyFunction
from governor.asgi.middleware import FAILED
from governor.asgi.observer import Ended
from governor.asgi.responses import Response, denial, quota_fields, shutting_down
from governor.asgi.types import Headers, Scope
from governor.error_log import ErrorLog

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
Post = Callable[[Callable[[], object]], object]
WSGIApp = Callable[[Environ, StartResponse], Iterable[bytes]]

#: Headers that WSGI writes without the prefix `HTTP_`.
_UNPREFIXED: Final = {"CONTENT_TYPE": b"content-type", "CONTENT_LENGTH": b"content-length"}


@runtime_checkable
class _Closes(Protocol):
    def close(self) -> object: ...


@final
class TrafficControlWSGIMiddleware:
    """Denies requests that exceed a limit of `[inbound]`, around any WSGI application.

    With Flask: `app.wsgi_app = TrafficControlWSGIMiddleware(app.wsgi_app)`. Identities and responses are those of
    `TrafficControlMiddleware`. A `governor` that is given must be entered and left by the program; without one, that of the
    process is used, and started if need be. `key` is a function from the environ of a request to its client, and not async.
    While `draining` is true, and once a given governor has been left, all requests but those for exempt paths get a 503. If the
    governor itself fails, requests pass and an error is logged.
    """

    def __init__(self, app: WSGIApp, governor: Governor | None = None, *, key: Key | None = None) -> None:
        self._app = app
        if governor is not None and not isinstance(governor, Governor):
            raise ConfigError("governor", governor, "a Governor, or None")
        self._given = governor
        self._key = None if key is None else KeyFunction(key)
        self._controller: AdmissionController | None = None
        self._error_log = ErrorLog()
        #: Set it to deny all further requests with a 503, before the server is stopped.
        self.draining = False

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serves one request."""
        try:
            admitted = self._admit(environ)
        except Exception as error:
            self._error_log(FAILED, error)
            admitted = None
        if admitted is None:
            return self._app(environ, start_response)
        if isinstance(admitted, Response):
            start_response(f"{admitted.status} {HTTPStatus(admitted.status).phrase}", _text(admitted.headers))
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [admitted.body]
        ended, fields, post = admitted

        def end(status: int | None) -> None:
            try:
                ended(status)
            except Exception as error:
                self._error_log("The end of a request could not be counted", error)

        body = _Body(start_response, fields, end, post)
        try:
            body.wrap(self._app(environ, body.start_response))
        except BaseException:
            body.end(None)
            raise
        return body

    def _admit(self, environ: Environ) -> Response | tuple[Ended, Headers, Post] | None:
        """The response to a request that may not proceed, or None: no limits.

        Or what to call at its end, header fields, and what runs a callback on the governor's loop.
        """
        scope = _scope(environ)
        controller = self._open()
        match = controller.router.match(scope)
        if match is None:
            return None
        if self.draining or controller.governor.state is GovernorState.CLOSED:
            return shutting_down()
        client = UNKNOWN if self._key is None else self._key.blocking(environ)
        if client is None:
            return None
        request = controller.request(match, scope, client)
        admission = controller.inbound.admit_blocking(match.group, request, announce=controller.announces)
        return denial(admission, request) or (admission.end, quota_fields(admission, request), controller.inbound.post)

    def _open(self) -> AdmissionController:
        controller = self._controller
        if controller is not None and controller.is_current():
            return controller
        if controller is None or self._given is None or self._given.state is not GovernorState.CLOSED:
            governor = self._given or default()
            if governor.state is GovernorState.RUNNING:
                governor.inbound.ready_blocking()
            self._controller = controller = AdmissionController(governor, has_key=self._key is not None)
        return controller


@final
class _Body:
    """The body of a response. Calls `ended` once: when the server closes it, or when it breaks off.

    If it is dropped before, `ended` is posted when it is collected.
    """

    def __init__(self, start_response: StartResponse, fields: Headers, ended: Ended, post: Post) -> None:
        self._start_response = start_response
        self._fields = _text(fields)
        self._ended: Ended | None = ended
        self._post = post
        self._status: int | None = None
        self._body: Iterable[bytes] = ()
        self._parts: Iterator[bytes] = iter(())

    def start_response(self, status: str, headers: list[tuple[str, str]], *error: Any) -> Callable[[bytes], object]:
        """Takes the place of that of the server."""
        self._status = int(status[:3])
        return self._start_response(status, [*headers, *self._fields], *error)

    def wrap(self, body: Iterable[bytes]) -> None:
        """Sets what the application has returned."""
        self._body = body
        self._parts = iter(body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._parts)
        except StopIteration:
            raise
        except BaseException:
            self.end(None)
            raise

    def close(self) -> None:
        """Called by the server when it has sent the body, or given up."""
        try:
            if isinstance(self._body, _Closes):
                self._body.close()
        finally:
            self.end(self._status)

    def end(self, status: int | None) -> None:
        """Reports the end of the request, once."""
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(status)

    def __del__(self) -> None:
        # A server or another middleware has not closed it. This may run inside any handler, on any thread.
        if self._ended is not None:
            self._post(partial(self._ended, self._status))


def _scope(environ: Environ) -> Scope:
    """The request as ASGI describes it."""
    script: str = environ.get("SCRIPT_NAME", "")
    headers = [
        (
            _UNPREFIXED.get(name) or name[5:].replace("_", "-").lower().encode("latin-1", "replace"),
            value.encode("latin-1", "replace"),
        )
        for name, value in environ.items()
        if name.startswith("HTTP_") or name in _UNPREFIXED
    ]
    return {
        "type": "http",
        "method": environ["REQUEST_METHOD"],
        "path": _path(script + environ.get("PATH_INFO", "")),
        "root_path": _path(script),
        "headers": headers,
        "client": (environ.get("REMOTE_ADDR") or "", 0),
    }


def _path(text: str) -> str:
    """A path of WSGI, which holds bytes as if they were Latin-1."""
    return text.encode("latin-1", "replace").decode("utf-8", "replace")


def _text(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
