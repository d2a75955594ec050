"""Applications and their middleware. The application answers two bytes, and the limit is never reached."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from benchmarks.measure import BURST, RATE
from governor import Config, Governor
from governor_client import TrafficControlMiddleware

App = Callable[[Any, Any, Any], Any]
#: Makes an application, and takes care of what it needs.
Opens = Callable[[], AbstractAsyncContextManager[App]]

_WIDE: Final = [f"{RATE}/s burst {BURST}"]
_WIDE_OPEN: Final = {"limits": _WIDE, "address_limits": _WIDE, "total_limits": _WIDE}
_SHUT: Final = {**_WIDE_OPEN, "limits": ["1/day burst 1"]}


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """Bare ASGI: as little as an application can do."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def bare() -> AsyncIterator[App]:
    yield plain


@asynccontextmanager
async def governed() -> AsyncIterator[App]:
    async with Governor(Config.from_mapping({"inbound": {"default": _WIDE_OPEN}})) as governor:
        yield TrafficControlMiddleware(plain, governor)


@asynccontextmanager
async def denied() -> AsyncIterator[App]:
    async with Governor(Config.from_mapping({"inbound": {"default": _SHUT}})) as governor:
        yield TrafficControlMiddleware(plain, governor)


@asynccontextmanager
async def announced() -> AsyncIterator[App]:
    async with Governor(Config.from_mapping({"inbound": {"default": _WIDE_OPEN, "announce": True}})) as governor:
        yield TrafficControlMiddleware(plain, governor)


@asynccontextmanager
async def starlette() -> AsyncIterator[App]:
    yield _starlette()


@asynccontextmanager
async def starlette_governed() -> AsyncIterator[App]:
    async with Governor(Config.from_mapping({"inbound": {"default": _WIDE_OPEN}})) as governor:
        app = _starlette()
        app.add_middleware(TrafficControlMiddleware, governor=governor)
        yield app


@asynccontextmanager
async def starlette_base() -> AsyncIterator[App]:
    from starlette.middleware.base import BaseHTTPMiddleware

    class Nothing(BaseHTTPMiddleware):
        async def dispatch(self, request: Any, call_next: Any) -> Any:
            return await call_next(request)

    app = _starlette()
    app.add_middleware(Nothing)
    yield app


@asynccontextmanager
async def starlette_slowapi() -> AsyncIterator[App]:
    from slowapi import Limiter
    from slowapi.middleware import SlowAPIASGIMiddleware
    from slowapi.util import get_remote_address

    app = _starlette()
    app.state.limiter = Limiter(key_func=get_remote_address, default_limits=[f"{RATE}/second"])
    app.add_middleware(SlowAPIASGIMiddleware)
    yield app


def _starlette() -> Any:
    # Imported only by those who measure it.
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def answer(request: Any) -> Any:
        return PlainTextResponse("ok")

    return Starlette(routes=[Route("/api/v1/things", answer)])


#: By name, with what each is compared with.
PAIRS: Final[dict[str, tuple[Opens, Opens]]] = {
    "bare": (bare, bare),
    "governed": (governed, bare),
    "announced": (announced, bare),
    "denied": (denied, bare),
    "starlette-governed": (starlette_governed, starlette),
    "starlette-base": (starlette_base, starlette),
    "starlette-slowapi": (starlette_slowapi, starlette),
}
