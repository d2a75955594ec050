"""One call by each HTTP library, and what `instrument` replaces in them."""

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any

import aiohttp
import httpx
import httpx2
import requests
import requests.adapters
import urllib3
import urllib3.exceptions

from governor import Governor

Get = Callable[..., int]


def httpx_call(library: ModuleType) -> Get:
    def get(url: str, **options: Any) -> int:
        with library.Client(**options) as client:
            return int(client.get(url).status_code)

    return get


def httpx_async_call(library: ModuleType) -> Get:
    def get(url: str, **options: Any) -> int:
        async def aget() -> int:
            async with library.AsyncClient(**options) as client:
                return int((await client.get(url)).status_code)

        return asyncio.run(aget())

    return get


def _requests(url: str, **options: object) -> int:
    return requests.get(url, timeout=30).status_code


def _urllib3(url: str, **options: object) -> int:
    with urllib3.PoolManager() as manager:
        return manager.request("GET", url).status


def _aiohttp(url: str, **options: object) -> int:
    async def get() -> int:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status

    return asyncio.run(get())


#: One call by a new client of each library, which follows redirects if `follow_redirects`, or always.
CALLS: dict[str, Get] = {
    "aiohttp": _aiohttp,
    "requests": _requests,
    "urllib3": _urllib3,
    "httpx2": httpx_call(httpx2),
    "httpx2, async": httpx_async_call(httpx2),
    "httpx": httpx_call(httpx),
    "httpx, async": httpx_async_call(httpx),
}

#: The methods that are replaced.
METHODS: list[tuple[type, str]] = [
    *((client, "_transport_for_url") for client in (httpx2.Client, httpx2.AsyncClient, httpx.Client, httpx.AsyncClient)),
    (requests.adapters.HTTPAdapter, "send"),
    (requests.Session, "prepare_request"),
    (urllib3.HTTPConnectionPool, "urlopen"),
    (urllib3.PoolManager, "urlopen"),
    (aiohttp.ClientSession, "_request"),
]
#: What the errors of each library are.
FAMILIES = (
    *(httpx2.TransportError, httpx.TransportError, requests.RequestException, urllib3.exceptions.HTTPError),
    aiohttp.ClientError,
)


def methods() -> list[object]:
    """The methods as they are now."""
    return [vars(owner)[name] for owner, name in METHODS]


def permits(governor: Governor) -> dict[str, int]:
    """How many permits were taken, by scope."""
    scopes = governor.statistics().scopes
    return {name: scope.counters.requests for name, scope in scopes.items() if scope.counters.requests}
