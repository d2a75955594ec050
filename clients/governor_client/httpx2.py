"""Adapter for httpx2: transports that take a permit for each request."""

from typing import ClassVar, Final, final

import httpx2

from governor_client._httpx_library import HttpxLibrary
from governor_client._httpx_transports import AsyncTransport, Transport

LIBRARY: Final = HttpxLibrary(httpx2)


@final
class GovernedTransport(Transport[httpx2.BaseTransport], httpx2.BaseTransport):  # noqa: D101 - documented where it is written
    __doc__ = Transport.__doc__

    library: ClassVar[HttpxLibrary] = LIBRARY


@final
class AsyncGovernedTransport(AsyncTransport[httpx2.AsyncBaseTransport], httpx2.AsyncBaseTransport):  # noqa: D101 - as above
    __doc__ = AsyncTransport.__doc__

    library: ClassVar[HttpxLibrary] = LIBRARY


__all__ = ["AsyncGovernedTransport", "GovernedTransport"]
