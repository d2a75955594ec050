"""Adapter for httpx: transports that take a permit for each request.

httpx2 continues httpx; this is for programs and SDKs that have not moved. The extra `httpx` installs what is needed.
"""

from typing import TYPE_CHECKING, ClassVar, Final, final

from governor import extras
from governor_client._httpx_library import HttpxLibrary
from governor_client._httpx_transports import AsyncTransport, Transport

try:
    import httpx
except ModuleNotFoundError as error:
    raise extras.missing("httpx", error) from None

LIBRARY: Final = HttpxLibrary(httpx)


@final
class GovernedTransport(Transport[httpx.BaseTransport], httpx.BaseTransport):  # noqa: D101 - documented where it is written
    __doc__ = Transport.__doc__

    library: ClassVar[HttpxLibrary] = LIBRARY

    if TYPE_CHECKING:
        # The body is written with the types of httpx2, which stand for those of httpx.
        def handle_request(self, request: httpx.Request) -> httpx.Response:  # type: ignore[override] # see above
            """Sends one request, with a permit for each attempt."""
            ...


@final
class AsyncGovernedTransport(AsyncTransport[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport):  # noqa: D101 - as above
    __doc__ = AsyncTransport.__doc__

    library: ClassVar[HttpxLibrary] = LIBRARY

    if TYPE_CHECKING:

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:  # type: ignore[override] # as above
            """Sends one request, with a permit for each attempt."""
            ...


__all__ = ["AsyncGovernedTransport", "GovernedTransport"]
