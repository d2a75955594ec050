"""The client of a request, as an application behind proxies finds it."""

from collections.abc import Sequence

from governor.asgi.forwarded import FORWARDED, FORWARDED_FOR, Address, TrustedProxies
from governor.config import InboundSettings


def client_of(
    peer: Address, trusted: Sequence[str], forwarded_for: Sequence[bytes] = (), forwarded: Sequence[bytes] = ()
) -> Address | None:
    """The client of the first request from a peer, with these lines of both fields."""
    proxies = TrustedProxies(InboundSettings(trusted_proxies=tuple(trusted)))
    if not proxies.trust(peer):
        return peer
    headers = [*((FORWARDED_FOR, line) for line in forwarded_for), *((FORWARDED, line) for line in forwarded)]
    field, lines, _ = proxies.lines(str(peer), headers)
    return proxies.origin(peer, field, lines).address
