"""An HTTP client, and httpx transports for other clients, whose every request asks the governor first."""

from governor_client._client import TrafficControlledHttpClient
from governor_client._options import CallOptions
from governor_client._transport import AsyncGovernedTransport, GovernedTransport

__all__ = ["AsyncGovernedTransport", "CallOptions", "GovernedTransport", "TrafficControlledHttpClient"]
