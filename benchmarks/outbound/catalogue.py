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
    ("client", "`TrafficControlledHttpClient`, blocking, beside `httpx2.Client`"),
    ("async-client", "`TrafficControlledHttpClient`, async, beside `httpx2.AsyncClient`"),
)

OUTBOUND: Final = tuple(
    Contender(
        name=f"adapter-{name}",
        family=Family.ADAPTERS,
        entry=f"outbound.adapters:{name.replace('-', '_')}",
        size=100,
        quick_size=30,
        title=title,
        does=_DOES,
    )
    for name, title in _ADAPTERS
)
