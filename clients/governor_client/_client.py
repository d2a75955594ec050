"""How does a connector call its provider? In one of three ways: blocking, async, or reading an answer while it comes."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypedDict, Unpack, final

import httpx

from governor import Governor, UsageError
from governor_client._operation import BUFFERED, RETRY
from governor_client._options import CallOptions
from governor_client._transport import AsyncGovernedTransport, GovernedTransport

if TYPE_CHECKING:
    from httpx._types import AuthTypes, HeaderTypes


class _Terms(TypedDict):
    provider: str
    governor: Governor | None
    govern_loopback: bool
    ungoverned: tuple[str, ...]


class _Settings(TypedDict):
    base_url: httpx.URL | str
    timeout: float | httpx.Timeout | None
    headers: "HeaderTypes | None"
    auth: "AuthTypes | None"
    follow_redirects: bool


@final
class TrafficControlledHttpClient:
    """An HTTP client for one provider, governed, with retries: `with` for get and its like, `async with` for aget and its like.

    `timeout` is in seconds, for each phase of an attempt (connect, write, read) and for all waiting of an operation together,
    which is for permits and between attempts; None waits as long as it takes. Every call takes the keyword arguments of httpx,
    and two more: `raise_for_status=False` returns answers from 400 on instead of raising `httpx.HTTPStatusError`, and
    `disable_retry=True` sends once. Calls raise a leaf of `PermitDenied`, with reason and `retry_after`, if the governor
    refuses, and `UsageError` outside their block.

    Answers are read within the attempt, so that one which breaks off is tried again; `stream` and `astream` hand them out as they
    come, and try again only before that. What is tried again, and what `governor`, `govern_loopback` and `ungoverned` mean, is
    said at `GovernedTransport`. `transport` and `async_transport` do the sending; give one for a proxy or certificates of your
    own: proxies from the environment are not used. Redirects are followed, each with a permit, unless told otherwise. Raises
    `ConfigError`.
    """

    def __init__(
        self,
        provider: str,
        base_url: httpx.URL | str | None = None,
        timeout: float | httpx.Timeout | None = 30.0,
        *,
        governor: Governor | None = None,
        govern_loopback: bool = False,
        ungoverned: Iterable[str] = (),
        headers: "HeaderTypes | None" = None,
        auth: "AuthTypes | None" = None,
        follow_redirects: bool = True,
        transport: httpx.BaseTransport | None = None,
        async_transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        ...
