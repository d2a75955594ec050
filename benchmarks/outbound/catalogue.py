"""The adapters that are measured, each beside the bare library."""

from typing import Final

from benchmarks.contract import Contender, Family

_DOES: Final = "a permit and its outcome for each call; the answer is read whole"

_ADAPTERS: Final = (
    ("httpx2-transport", "httpx2, `GovernedTransport`"),
    ("httpx2-async-transport", "httpx2, `AsyncGovernedTransport`"),
    ("httpx-transport", "httpx, `GovernedTransport`"),
    ("requests-session", "requests, `govern(session)`"),
    ("urllib3-pool-manager", "urllib3, `govern(pool_manager)`"),
    ("aiohttp-session", "aiohttp, `GovernedMiddleware`"),
    ("aiohttp-govern", "aiohttp, `govern(session)`"),
    ("client", "`TrafficControlledHttpClient`, blocking, beside `httpx2.Client`"),
    ("async-client", "`TrafficControlledHttpClient`, async, beside `httpx2.AsyncClient`"),
)

_GETS: Final = "async GETs that read the answer whole, through one client"

_POOLS: Final = (
    ("bare", "httpx2", _GETS, ""),
    ("governed", "httpx2, `AsyncGovernedTransport`", f"{_GETS}; a permit and its outcome for each", ""),
    ("stack", "control: httpx2, a stack of transports with one connection each", _GETS, "no limit, no origins, no expiry"),
    ("bare-httpx", "httpx", _GETS, ""),
)

ADAPTERS: Final = tuple(
    Contender(
        name=f"adapter-{name}",
        family=Family.ADAPTERS,
        entry=f"outbound.adapters:{name.replace('-', '_')}",
        size=1_500,
        quick_size=450,
        title=title,
        does=_DOES,
    )
    for name, title in _ADAPTERS
)

OUTBOUND: Final = (
    *ADAPTERS,
    *(
        Contender(
            name=f"pool-{name}",
            family=Family.POOL,
            entry=f"outbound.pool:{name.replace('-', '_')}",
            size=20,
            quick_size=4,
            title=title,
            does=does,
            does_not=does_not,
        )
        for name, title, does, does_not in _POOLS
    ),
)
