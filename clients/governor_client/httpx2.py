"""Adapter for httpx2: transports that take a permit for each request."""

from typing import ClassVar, Final, final

import httpx2

from governor_client._httpx_kit import Kit
from governor_client._httpx_transports import AsyncTransport, Transport

KIT: Final = Kit(httpx2)


@final
class GovernedTransport(Transport[httpx2.BaseTransport], httpx2.BaseTransport):  # noqa: D101 - documented where it is written
    __doc__ = Transport.__doc__

    kit: ClassVar[Kit] = KIT


@final
class AsyncGovernedTransport(AsyncTransport[httpx2.AsyncBaseTransport], httpx2.AsyncBaseTransport):  # noqa: D101 - as above
    __doc__ = AsyncTransport.__doc__

    kit: ClassVar[Kit] = KIT


__all__ = ["AsyncGovernedTransport", "GovernedTransport"]
