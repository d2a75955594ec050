"""WSGI middleware (PEP 3333): the limits of `[inbound]` for Flask, Django and others.

Requests ask the governor from the thread that serves them. A request has ended when the server closes its answer.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Protocol, final, runtime_checkable

from governor import Governor, default
from governor.asgi.admission import AdmissionController
from governor.asgi.clients import Complaints, Identify, Key
from governor.asgi.observer import Ended
from governor.asgi.responses import Response, left, over, overloaded, refusal, shutting_down
from governor.asgi.types import Headers, Scope
from governor.messages import Denied

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
WSGIApp = Callable[[Environ, StartResponse], Iterable[bytes]]

#: Headers that WSGI writes without the prefix of all others.
_BARE: Final = {"CONTENT_TYPE": b"content-type", "CONTENT_LENGTH": b"content-length"}


@runtime_checkable
class _Closes(Protocol):
    def close(self) -> object: ...


@final
class TrafficControlWSGIMiddleware:
    """Refuses who is over a limit of `[inbound]`, around any WSGI application.

    With Flask: `app.wsgi_app = TrafficControlWSGIMiddleware(app.wsgi_app)`. Identities and answers are those of
    `TrafficControlMiddleware`. `governor` is entered and left by whoever gives it; without one it is that of the process, which
    is started if need be. `key` is a function from the environ of a request to its client, and not async. While `draining` is
    true, and once a given governor has been left, everybody but exempt paths gets a 503. Where the governor itself fails,
    requests pass, and the log says so.
    """

    def __init__(self, app: WSGIApp, governor: Governor | None = None, *, key: Key | None = None) -> None:
        self._app = app
        self._given = governor
        self._identify = None if key is None else Identify(key)
        self._controller: AdmissionController | None = None
        self._complain = Complaints()
        #: Set it to refuse all further requests, before the server is stopped.
        self.draining = False

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serves one request of WSGI."""
        try:
            asked = self._ask(environ)
        except Exception as error:
            self._complain("Inbound traffic control failed, and requests pass", error)
            asked = None
        if asked is None:
            return self._app(environ, start_response)
        if isinstance(asked, Response):
            fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in asked.headers]
            start_response(f"{asked.status} {HTTPStatus(asked.status).phrase}", fields)
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [asked.body]
        ended, more = asked
        body = _Body(start_response, more, partial(self._tell, ended))
        try:
            body.take(self._app(environ, body.start_response))
        except BaseException:
            body.broke()
            raise
        return body

    def _ask(self, environ: Environ) -> Response | tuple[Ended, Headers] | None:
        """The refusal of a request; or who is to be told of its end, and what its answer says besides; None without limits."""
        scope = _scope(environ)
        controller = self._open()
        governor = controller.governor
        place = controller.place(scope)
        if place is None:
            return None
        if self.draining or governor.closed:
            return shutting_down()
        client = None
        if self._identify is not None:
            client = self._identify.blocking(environ)
            if client is None:
                return None
        request = controller.visit(place, scope, client)
        ended = partial(governor.inbound.ending(place.group), request=request)
        denied = governor.inbound.visit_blocking(place.group, request)
        if isinstance(denied, Denied):
            return overloaded()
        if denied is not None:
            return (ended, over(denied, request)) if denied.dry_run else refusal(denied, request)
        least = governor.inbound.least_left_blocking(place.group, request) if controller.announces else None
        return ended, [] if least is None else left(least, request)

    def _open(self) -> AdmissionController:
        controller = self._controller
        if controller is not None and controller.is_open():
            return controller
        if controller is None or self._given is None or not self._given.closed:
            self._controller = controller = AdmissionController(self._given or default(), identifies=self._identify is not None)
        return controller

    def _tell(self, ended: Ended, status: int | None) -> None:
        try:
            ended(status)
        except Exception as error:
            self._complain("The end of a request could not be counted", error)


@final
class _Body:
    """The body of an answer. Tells once how it has ended: when it is closed, or breaks."""

    def __init__(self, start_response: StartResponse, more: Headers, ended: Ended) -> None:
        self._start_response = start_response
        self._more = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in more]
        self._ended: Ended | None = ended
        self._status: int | None = None
        self._whole: Iterable[bytes] = ()
        self._pieces: Iterator[bytes] = iter(())

    def start_response(self, status: str, headers: list[tuple[str, str]], *error: Any) -> Callable[[bytes], object]:
        """Stands in for that of the server."""
        self._status = int(status[:3])
        return self._start_response(status, [*headers, *self._more], *error)

    def take(self, whole: Iterable[bytes]) -> None:
        """What the application has answered."""
        self._whole = whole
        self._pieces = iter(whole)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            raise
        except BaseException:
            self.broke()
            raise

    def close(self) -> None:
        """The server has done with it."""
        try:
            if isinstance(self._whole, _Closes):
                self._whole.close()
        finally:
            self._tell(self._status)

    def broke(self) -> None:
        """The application has failed."""
        self._tell(None)

    def _tell(self, status: int | None) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(status)


def _scope(environ: Environ) -> Scope:
    """The same request as ASGI would tell it."""
    script: str = environ.get("SCRIPT_NAME", "")
    headers = [
        (_BARE.get(name) or name[5:].replace("_", "-").lower().encode("latin-1", "replace"), value.encode("latin-1", "replace"))
        for name, value in environ.items()
        if name.startswith("HTTP_") or name in _BARE
    ]
    return {
        "type": "http",
        "method": environ["REQUEST_METHOD"],
        # Bytes, as if they were Latin-1.
        "path": _text(script + environ.get("PATH_INFO", "")),
        "root_path": _text(script),
        "headers": headers,
        "client": (environ.get("REMOTE_ADDR") or "", 0),
    }


def _text(path: str) -> str:
    return path.encode("latin-1", "replace").decode("utf-8", "replace")
