"""ASGI middleware that applies the limits of `[inbound]`.

HTTP requests and WebSocket handshakes are admitted by the governor. All other messages pass unchanged.
"""

from typing import Final, final

from anyio.lowlevel import current_token

from governor import ConfigError, Governor, GovernorState, UsageError, adefault, current
from governor.asgi.admission import UNDECIDED, AdmissionController, answered
from governor.asgi.client import UNKNOWN, Key, KeyFunction
from governor.asgi.context import CONTEXT, RequestContext
from governor.asgi.observer import over
from governor.asgi.responses import Response, shutting_down
from governor.asgi.types import App, Message, Receive, Scope, Send
from governor.error_log import ErrorLog

#: The subject of the log where the governor fails.
FAILED: Final = "Inbound traffic control failed, and requests pass"
#: The messages that end a lifespan.
_SHUTDOWN_ENDS: Final = ("lifespan.shutdown.complete", "lifespan.shutdown.failed")


@final
class TrafficControlMiddleware:
    """Denies requests that exceed a limit of `[inbound]`, around any ASGI application.

    With Starlette or FastAPI: `app.add_middleware(TrafficControlMiddleware)`.

    A denied request is answered 429 with `Retry-After`, the `RateLimit` fields and a problem document. A WebSocket gets the
    same, or the close code 1013 if the server cannot answer a handshake with a document. While `draining` is true, and once the
    governor has been left, all requests but those for exempt paths get a 503. If the governor itself fails, requests pass and
    an error is logged.

    A `governor` that is given must be entered and left by the program. Without one, the governor that runs in this process is
    used. If there is none, one is started in this event loop at the startup of the lifespan and closed at its shutdown; under a
    server without lifespan it is `governor.default()`, on its own thread, from the first request on. Both take their settings
    from the file that `GOVERNOR_CONFIG` names and from the environment, and a mistake there fails the startup.

    `key` is a function from the scope of a request to its client, sync or async. It returns the key of the client as text or
    bytes, for instance the user that an authentication middleware around this one has put into the scope; a `Client` with a
    tier and a cost; or None for a request that no limit applies to. If it raises or returns something else, the client counts
    as it does without a key function, and an error is logged.

    Addresses of clients are those that the server reports, so the server must not interpret `X-Forwarded-For` itself.
    """

    def __init__(self, app: App, governor: Governor | None = None, *, key: Key | None = None) -> None:
        self._app = app
        self._key = None if key is None else KeyFunction(key)
        # `FastAPI(root_path=)` replaces that of the server, within this middleware where it is wrapped.
        root: object = getattr(app, "root_path", "")
        self._root = root if isinstance(root, str) else ""
        if governor is not None and not isinstance(governor, Governor):
            raise ConfigError("governor", governor, "a Governor, or None")
        self._given = governor
        self._own: Governor | None = None
        self._controller: AdmissionController | None = None
        #: The loop of this application, if its governor runs on that loop too.
        self._loop: object = None
        self._error_log = ErrorLog()
        #: Set it to deny all further requests with a 503, before the server is stopped.
        self.draining = False

    async def __call__(  # noqa: C901 - what every request costs, written out
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serves one connection."""
        kind = scope["type"]
        if kind != "http" and kind != "websocket":
            await (self._lifespan if kind == "lifespan" else self._app)(scope, receive, send)
            return
        context, controller = RequestContext(send), self._controller
        try:
            # Nearly all requests are decided at once: a coroutine costs as much as the decision.
            if controller is None or self._key is not None or self.draining:
                response = await self._admit(scope, context)
            else:
                context.controller = controller
                found = controller.admit(scope, context)
                response = await self._admit(scope, context) if found is UNDECIDED else found
            known: RequestContext | None = context
        except Exception as error:
            self._error_log(FAILED, error)
            known = response = None
        if response is not None:
            for message in response.messages(scope):
                await send(message)
            return
        scope[CONTEXT], complete = known, False
        try:
            try:
                await self._app(scope, receive, context.send)
            except Exception:
                if context.replacement is None:
                    raise
            if context.replacement is not None:
                await context.send_replacement()
                context.replacement = None
            complete = True
        finally:
            # A server has the scope where its `send` is: the cycle would wait for the garbage collector.
            context.server = over
            try:
                # `end` of the observer would be another call.
                status = context.status if complete else None
                for ended in context.ended:
                    ended(status)
            except Exception as error:
                self._error_log(FAILED, error)

    async def _admit(self, scope: Scope, context: RequestContext) -> Response | None:
        """The response to a request that may not proceed, or None; wherever the governor runs, and with a key function."""
        controller, is_closed = self._controller, False
        if controller is None or not controller.is_current():
            controller = await self._open()
            is_closed = controller.governor.state is GovernorState.CLOSED
        context.controller, context.key = controller, self._key
        match = controller.router.match(scope)
        if match is None:
            return None
        if is_closed or self.draining:
            return shutting_down()
        client = UNKNOWN if self._key is None else await context.client(scope)
        if client is None:
            return None
        request = controller.request(match, scope, client)
        admission = await controller.inbound.admit(match.group, request, announce=controller.announces)
        return answered(admission, request, context)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the lifespan of the application, within that of a governor if one has to be started."""
        if self._given is not None or current() is not None:
            await self._app(scope, receive, send)
            return
        try:
            governor = Governor.from_file()
            await governor.start()
            await governor.inbound.ready()
        except Exception as mistake:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(mistake)})
            raise  # As frameworks do, for programs that run the application without reading its messages.
        self._loop = current_token().native_token
        self._own, self._controller = governor, self._controller_of(governor)

        async def closing(message: Message) -> None:
            if message["type"] in _SHUTDOWN_ENDS:
                # Before the server learns of it: hypercorn cancels the lifespan then, others end the process.
                await governor.aclose()
            await send(message)

        try:
            await self._app(scope, receive, closing)
        except BaseException:
            self._controller = None  # The application has no lifespan, and serves requests without one.
            raise
        finally:
            self._own = None
            await governor.aclose()

    async def _open(self) -> AdmissionController:
        """The controller from now on. Raises `UsageError` if its governor is not running, `ConfigError` without one."""
        controller, governor = self._controller, self._given or self._own or current()
        loop = current_token().native_token
        # A governor that has been left is not replaced if it was given, or if it ran on this loop: the server is about to stop.
        stays = governor is not None or self._loop is loop
        if (
            controller is not None
            and controller.governor.state is GovernorState.CLOSED
            and governor in (None, controller.governor)
            and stays
        ):
            return controller
        if governor is None:
            # On its own thread rather than in this loop: the server may run a loop for each request, and what a client has
            # spent must outlive them.
            governor = await adefault()
        if not (governor.state is GovernorState.CLOSED or governor.state is GovernorState.RUNNING):
            raise UsageError(f"{governor!r} is not running in this process; enter it before the first request")
        if governor.state is GovernorState.RUNNING:
            await governor.inbound.ready()
        self._loop = loop if governor.inbound.is_local() else None
        self._controller = controller = self._controller_of(governor)
        return controller

    def _controller_of(self, governor: Governor) -> AdmissionController:
        return AdmissionController(governor, self._root, has_key=self._key is not None)
