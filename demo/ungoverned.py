"""The contender without a governor: a plain httpx2 client in a naive retry loop."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from threading import Lock
from time import sleep
from typing import Final

import anyio
import httpx2

from demo.contender import DONE, AsyncCaller, Caller, Figures, waits
from demo.traffic import Call

#: Whatever went wrong: try again, a little later, a few times.
_ATTEMPTS: Final = 5
_PAUSE: Final = 0.05


class Ungoverned:
    """The contender without a governor."""

    title = "without a governor"

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._lock = Lock()
        self._counts: Counter[str] = Counter()

    @asynccontextmanager
    async def tasks(self) -> AsyncIterator[AsyncCaller]:
        """One client for all tasks."""
        async with httpx2.AsyncClient(base_url=self._base_url, limits=httpx2.Limits(max_connections=None)) as client:

            async def make(call: Call, wait: float) -> str:
                ending = ""
                for attempt in range(_ATTEMPTS):
                    if attempt:
                        self._count("retries")
                        await anyio.sleep(_PAUSE)
                    self._count("sent")
                    try:
                        ending = self._read(await client.request(call.method, call.path, timeout=waits(wait)))
                    except httpx2.TransportError as error:
                        ending = self._failed(error)
                    if ending == DONE:
                        break
                return ending

            yield make

    @contextmanager
    def thread(self) -> Iterator[Caller]:
        """A client for this thread."""
        with httpx2.Client(base_url=self._base_url) as client:

            def make(call: Call, wait: float) -> str:
                ending = ""
                for attempt in range(_ATTEMPTS):
                    if attempt:
                        self._count("retries")
                        sleep(_PAUSE)
                    self._count("sent")
                    try:
                        ending = self._read(client.request(call.method, call.path, timeout=waits(wait)))
                    except httpx2.TransportError as error:
                        ending = self._failed(error)
                    if ending == DONE:
                        break
                return ending

            yield make

    def figures(self) -> Figures:
        """What this client has counted."""
        with self._lock:
            counts = self._counts
            return Figures(
                sent=counts["sent"],
                answered_2xx=counts["answered_2xx"],
                answered_4xx=counts["answered_4xx"],
                answered_5xx=counts["answered_5xx"],
                errors=counts["errors"],
                retries=counts["retries"],
            )

    def _read(self, response: httpx2.Response) -> str:
        self._count(f"answered_{response.status_code // 100}xx")
        return DONE if response.is_success else str(response.status_code)

    def _failed(self, error: httpx2.TransportError) -> str:
        self._count("errors")
        return type(error).__name__

    def _count(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1
