"""How does an application built on ASGI get its callers governed? By this middleware around it.

Requests of HTTP and handshakes of WebSockets ask the governor. Everything else, and what is said after that, passes untouched.
"""

import logging
from traceback import format_tb
from typing import Final, final

from anyio.lowlevel import current_token

from governor import Governor, GovernorError, UsageError, default
from governor._default import configured, entered
from governor._threads import run_on_thread
from governor._units import MINUTE
from governor.asgi.admission import AdmissionController
from governor.asgi.clients import UNKNOWN, Identify, Key
from governor.asgi.endpoint_limit import CONTEXT, RequestContext
from governor.asgi.observer import ResponseObserver
from governor.asgi.responses import Response, shutting_down
from governor.asgi.types import App, Receive, Scope, Send
from governor.clock import system_clock
from governor.config.paths import Place

_log: Final = logging.getLogger("governor")


@final
class TrafficControlMiddleware:
    """Refuses who is over a limit of `[inbound]`: `app.add_middleware(TrafficControlMiddleware)`, or around any ASGI app.

    A refusal is a 429 with `Retry-After`, the `RateLimit` fields and a problem document. For a WebSocket it is the same, or the
    close code 1013 if the server cannot answer a handshake with a document. While `draining` is true, and once the governor has
    been left, everybody but exempt paths gets a 503. Where the governor itself fails, requests pass, and the log says so.

    `governor` is entered and left by whoever gives it. If none is given, it is the one of the process. If there is none either,
    one is started in this event loop, from the startup of the lifespan to its shutdown; a server that knows no lifespan gets
    that of `governor.default()`, on a thread of its own, with the first request. Both are configured alike, and a mistake there
    fails the startup.

    `key` is a function from the scope of a request to its client, sync or async: text or bytes that identify it, for instance
    the user that an authentication middleware around us has put there; a `Client` with a tier and a cost; or None for a request
    that nothing limits. If it raises, or answers something else, the client counts as it does without it, and the log says so.

    Client addresses are those that the server tells, so a server must not believe `X-Forwarded-For` before we are asked.
    """

    def __init__(self, app: App, governor: Governor | None = None, *, key: Key | None = None) -> None:
        self._app = app
        self._identify = None if key is None else Identify(key)
        # `FastAPI(root_path=)` puts its own in the place of the server's, and does so inside of us when it is wrapped.
        root: object = getattr(app, "root_path", "")
        self._root = root if isinstance(root, str) else ""
        self._given = governor
        self._own: Governor | None = None
        self._controller: AdmissionController | None = None
        #: The loop that its governor shares with us; None if that lives elsewhere.
        self._loop: object = None
        self._complained_at: int | None = None
        #: Set it to refuse all further requests, before the server is stopped.
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection of ASGI."""
        kind = scope["type"]
        if kind != "http" and kind != "websocket":
            await (self._live if kind == "lifespan" else self._app)(scope, receive, send)
            return
        observer: ResponseObserver | Response | None = None
        try:
            controller = self._controller
            if controller is None or not controller.is_open():
                controller = await self._open()
            scope[CONTEXT] = context = RequestContext(controller, self._identify)
            place = controller.place(scope)
            if place is not None:
                governor = controller.governor
                if self.draining or governor.closed:
                    observer = shutting_down()
                elif self._identify is None and governor.inbound.here():
                    # What `_admit` comes to for most, without the price of a coroutine.
                    observer = controller.admit(place.group, controller.visit(place, scope), send)
                else:
                    observer = await self._admit(context, place, scope, send)
        except Exception as error:
            self._complain(error)
            scope[CONTEXT] = None
        if isinstance(observer, Response):
            await observer.send(scope, send)
            return
        if observer is None:
            observer = ResponseObserver(send)
        asked: RequestContext | None = scope[CONTEXT]
        if asked is not None:
            asked.observer = observer
        await self._attend(observer, scope, receive)

    async def _admit(
        self, context: RequestContext, place: Place, scope: Scope, send: Send
    ) -> ResponseObserver | Response | None:
        """The observer of a request that may go on, or its refusal. None if nothing limits it."""
        client = await context.client(scope) if self._identify is not None else UNKNOWN
        if client is None:
            return None
        controller = context.controller
        request = controller.visit(place, scope, None if client is UNKNOWN else client)
        if controller.governor.inbound.here():
            return controller.admit(place.group, request, send)
        return await controller.admit_from_elsewhere(place.group, request, send)

    async def _attend(self, observer: ResponseObserver, scope: Scope, receive: Receive) -> None:
        """Has the application answer, and tells the governor what became of it."""
        whole = False
        try:
            await self._app(scope, receive, observer)
            if observer.refused:
                await observer.settle()
            whole = True
        except Exception:
            if not observer.refused:
                raise
            await observer.settle()
            whole = True
        finally:
            try:
                observer.ended(whole=whole)
            except Exception as error:
                self._complain(error)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The lifespan of the application, and of a governor if one is needed."""
        if self._given is not None or entered() is not None:
            await self._app(scope, receive, send)
            return
        try:
            governor = configured()
            await governor.start()
        except Exception as mistake:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(mistake)})
            raise  # As frameworks do: who runs the application without looking at messages must learn of it too.
        self._loop = current_token().native_token
        self._own, self._controller = governor, self._controller_of(governor)
        try:
            await self._app(scope, receive, send)
        except BaseException:
            self._controller = None  # It knows no lifespan, and serves all the same.
            raise
        finally:
            self._own = None
            await governor.aclose()

    async def _open(self) -> AdmissionController:
        """What to ask from now on. Raises `UsageError` if nobody can be asked, `ConfigError` if nobody can be started."""
        controller, governor = self._controller, self._given or self._own or entered()
        loop = current_token().native_token
        # One that has been left stays so: if it was given, or if it shared this loop with us, whose server is about to end.
        stays = governor is not None or self._loop is loop
        if controller is not None and controller.governor.closed and governor in (None, controller.governor) and stays:
            return controller
        if governor is None:
            # On a thread, and not in this loop: there may be another loop for each request, and what a caller has used must not
            # be forgotten with it.
            governor = await run_on_thread(default)
        if not (governor.closed or governor.alive()):
            raise UsageError(f"{governor!r} is not running in this process; enter it before the first request")
        self._loop = loop if governor.inbound.here() else None
        self._controller = controller = self._controller_of(governor)
        return controller

    def _controller_of(self, governor: Governor) -> AdmissionController:
        return AdmissionController(governor, self._root, identifies=self._identify is not None)

    def _complain(self, error: Exception) -> None:
        """Logs why requests pass; once a minute, as every request may fail in the same way.

        What an error of somebody else says may hold what a caller has sent, and is left out.
        """
        now = system_clock()
        if self._complained_at is None or now - self._complained_at >= MINUTE:
            self._complained_at = now
            said = str(error) if isinstance(error, GovernorError) else type(error).__name__
            where = "".join(format_tb(error.__traceback__))
            _log.error("Inbound traffic control failed, and requests pass: %s\n%s", said, where)
