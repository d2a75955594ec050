"""The middleware and applications that are measured, and what each does and does not do."""

from typing import Final

import msgspec

from benchmarks.contract import Contender, Family


class _Middleware(msgspec.Struct, frozen=True, kw_only=True):
    """A middleware, and what stands beside its figures wherever it is measured."""

    name: str
    title: str
    does: str
    does_not: str = ""


_WHOLE: Final = "group by path, client, three limits (of client, address, group), status of the answer, counters"

_GOVERNED: Final = _Middleware(name="governed", title="governor, around bare ASGI", does=_WHOLE)
_STARLETTE_GOVERNED: Final = _Middleware(name="starlette-governed", title="governor, in Starlette", does=_WHOLE)
_STARLETTE_BASE: Final = _Middleware(
    name="starlette-base",
    title="`BaseHTTPMiddleware` that does nothing, in Starlette",
    does="hands on",
    does_not="no limit at all: what a middleware of this kind costs by itself",
)
_STARLETTE_SLOWAPI: Final = _Middleware(
    name="starlette-slowapi",
    title="slowapi (`SlowAPIASGIMiddleware`), in Starlette",
    does="one fixed window for each address and route, in memory",
    does_not="no actors or sessions, no ceilings, no counters; up to twice the limit where two windows meet",
)
_CALLS: Final = (
    _Middleware(name="bare", title="control: nothing around bare ASGI", does="what this measurement takes for a difference"),
    _GOVERNED,
    _Middleware(name="announced", title="governor, with `announce`", does=f"{_WHOLE}; `RateLimit` fields on every answer"),
    _Middleware(
        name="denied",
        title="governor, denying",
        does="denies every request: 429 with its fields and its document",
        does_not="does not call the application; one client who does not stop, so the document is made once a second",
    ),
    _STARLETTE_GOVERNED,
    _STARLETTE_BASE,
    _STARLETTE_SLOWAPI,
)

INBOUND: Final = (
    *(
        Contender(
            name=f"calls-{one.name}",
            family=Family.CALLS,
            entry=f"inbound.calls:{one.name.replace('-', '_')}",
            size=4_000,
            quick_size=500,
            title=one.title,
            does=one.does,
            does_not=one.does_not,
        )
        for one in _CALLS
    ),
    *(
        Contender(
            name=f"served-{one.name}",
            family=Family.SERVED,
            entry=f"inbound.served:{one.name.replace('-', '_')}",
            size=500,
            quick_size=200,
            title=one.title,
            does=one.does,
            does_not=one.does_not,
        )
        for one in (_GOVERNED, _STARLETTE_GOVERNED, _STARLETTE_BASE, _STARLETTE_SLOWAPI)
    ),
    Contender(
        name="clients",
        family=Family.CLIENTS,
        entry="inbound.clients:table",
        size=1_000_000,
        quick_size=100_000,
        title="governor: actors with one request each, from one address",
        does="the table of clients of one group with one limit, and its clean-up, step by step",
        does_not="clients that are known by their address alone count in two tables, and take more",
    ),
)
