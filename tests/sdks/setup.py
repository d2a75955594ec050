"""How a driver calls its SDK: the address, the governor, and clients of each HTTP library, governed or not."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor import Governor

if TYPE_CHECKING:
    import aiohttp
    import httpx
    import httpx2
    import requests
    import urllib3

#: Seconds for each phase of a request. Nothing in these tests takes that long, and nothing waits longer.
TIMEOUT = 5.0


@dataclass(frozen=True, kw_only=True)
class Setup:
    """One call of a program: where to, through which governor, and with which retries."""

    url: str
    #: The scope of the calls, `provider` without the method.
    provider: str = "provider"
    #: None for a call that is not governed.
    governor: Governor | None = None
    on_refusal: str = "raise"
    #: Whether the SDK keeps its own retries.
    own_retries: bool = True
    #: After this number of events the reader of a stream leaves.
    leave_after: int | None = None

    def with_retries(self, **options: Any) -> dict[str, Any]:
        """The options that switch on the retries of an SDK that has none as it comes, if it is to have them."""
        return options if self.own_retries else {}

    def without_retries(self, **options: Any) -> dict[str, Any]:
        """The options that switch off the retries of an SDK, if they are to be."""
        return {} if self.own_retries else options

    def govern(self) -> dict[str, Any]:
        """The arguments of every adapter."""
        return {"governor": self.governor, "govern_loopback": True, "on_refusal": self.on_refusal}

    def reads(self, number: int) -> bool:
        """Whether the reader of a stream goes on after so many events."""
        return self.leave_after is None or number < self.leave_after

    def httpx2_client(self) -> "httpx2.Client | None":
        """A governed client; None, which leaves the SDK to make its own, if the call is not governed."""
        if self.governor is None:
            return None
        import httpx2

        from governor_client.httpx2 import GovernedTransport

        return httpx2.Client(transport=GovernedTransport(self.provider, **self.govern()), timeout=TIMEOUT)

    def httpx2_async_client(self) -> "httpx2.AsyncClient | None":
        """`httpx2_client` for async code."""
        if self.governor is None:
            return None
        import httpx2

        from governor_client.httpx2 import AsyncGovernedTransport

        return httpx2.AsyncClient(transport=AsyncGovernedTransport(self.provider, **self.govern()), timeout=TIMEOUT)

    def httpx_client(self) -> "httpx.Client | None":
        """The same for httpx."""
        if self.governor is None:
            return None
        import httpx

        from governor_client.httpx import GovernedTransport

        return httpx.Client(transport=GovernedTransport(self.provider, **self.govern()), timeout=TIMEOUT)

    def httpx_async_client(self) -> "httpx.AsyncClient | None":
        """`httpx_client` for async code."""
        if self.governor is None:
            return None
        import httpx

        from governor_client.httpx import AsyncGovernedTransport

        return httpx.AsyncClient(transport=AsyncGovernedTransport(self.provider, **self.govern()), timeout=TIMEOUT)

    def requests_session(self) -> "requests.Session":
        """A session of requests, governed if there is a governor."""
        import requests

        session = requests.Session()
        if self.governor is not None:
            from governor_client.requests import govern

            govern(session, self.provider, **self.govern())
        return session

    def urllib3_pools(self) -> "urllib3.PoolManager":
        """A pool manager of urllib3, governed if there is a governor."""
        import urllib3

        pools = urllib3.PoolManager(timeout=TIMEOUT)
        if self.governor is not None:
            from governor_client.urllib3 import govern

            govern(pools, self.provider, **self.govern())
        return pools

    def aiohttp_session(self) -> "aiohttp.ClientSession":
        """A session of aiohttp, governed if there is a governor."""
        import aiohttp

        session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT))
        if self.governor is not None:
            from governor_client.aiohttp import govern

            govern(session, self.provider, **self.govern())
        return session

    def aiohttp_session_with_middleware(self) -> "aiohttp.ClientSession":
        """The same by a middleware."""
        import aiohttp

        middlewares = []
        if self.governor is not None:
            from governor_client.aiohttp import GovernedMiddleware

            middlewares.append(GovernedMiddleware(self.provider, **self.govern()))
        return aiohttp.ClientSession(middlewares=middlewares, timeout=aiohttp.ClientTimeout(total=TIMEOUT))
