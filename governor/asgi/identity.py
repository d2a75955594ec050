"""The keys that a request counts by: of its client, and of the address that it comes from.

The client is the value of the first actor header that is present, else of the first session header, else the address. Values
are read as bytes, of any length and in any encoding; an empty one is absent. A header is a claim: it counts together with the
address unless a trusted proxy sends it, so that no client can spend the limit of another. Keys that are used often are cached.

Compiled where a compiler is; `identity.pxd` has the fields.
"""

from ipaddress import IPv4Address
from typing import Final, TypeVar, final

from governor.asgi.forwarded import Address, TrustedProxies, address
from governor.asgi.types import Headers, Scope
from governor.config import InboundSettings
from governor.messages import InboundRequest
from governor.pseudonyms import Pseudonyms

#: Keys of each kind that are cached. A full cache is emptied.
MAX_CACHED: Final = 4096
#: Bytes of the longest name whose key is cached.
_MAX_CACHED_NAME: Final = 128

N = TypeVar("N")
K = TypeVar("K")


@final
class ClientKeys:
    """Reads identities by `settings`, and makes their keys with `pseudonyms`."""

    __slots__ = (
        "_claims_stand_alone",
        "_direct",
        "_first_session",
        "_known",
        "_peers",
        "_prefix",
        "_proxied",
        "_proxies",
        "_proxy_claims_stand_alone",
        "_pseudonyms",
        "_ranks",
        "_unranked",
    )

    def __init__(self, settings: InboundSettings, pseudonyms: Pseudonyms) -> None:
        names = [*settings.actor_headers, *settings.session_headers]
        #: The rank of each header; the lowest one that is present counts.
        self._ranks = {name.lower().encode(): rank for rank, name in reversed(list(enumerate(names)))}
        self._first_session, self._unranked = len(settings.actor_headers), len(names)
        #: Whether claims count without an address: from any peer, and from a trusted proxy.
        self._claims_stand_alone = settings.identity == "trusted"
        self._proxy_claims_stand_alone = settings.identity != "address"
        self._proxies = TrustedProxies(settings)
        self._prefix = settings.ipv6_prefix
        self._pseudonyms = pseudonyms
        #: The requests of peers that are not trusted proxies, by the peer and what it claims; and by the key of an address, of
        #: those that a trusted proxy forwards for.
        self._known: dict[tuple[str | bytes, bool, bytes], InboundRequest] = {}
        #: The keys of peers that are not trusted proxies.
        self._direct: dict[str, bytes] = {}
        #: The addresses of peers that are trusted proxies.
        self._peers: dict[str, Address] = {}
        #: The keys of addresses that trusted proxies forward for, by what they wrote.
        self._proxied: dict[tuple[str | bytes | bool, ...], bytes] = {}

    def request(self, scope: Scope) -> InboundRequest:
        """The request with the keys of its client and of its address."""
        headers, client, ranks = scope["headers"], scope.get("client"), self._ranks
        host: str = (client and client[0]) or ""
        best, claim = self._unranked, b""
        for name, value in headers:
            if name in ranks and ranks[name] < best and (stripped := value.strip()):
                best, claim = ranks[name], stripped
        is_actor = best < self._first_session
        # Most clients are known, and come without a proxy.
        return self._known.get((host, is_actor, claim)) or self._request(host, headers, is_actor=is_actor, claim=claim)

    def _request(self, host: str, headers: Headers, *, is_actor: bool, claim: bytes) -> InboundRequest:
        """The same of a client that is not known, or that is behind a proxy."""
        origin, stands_alone = self._direct.get(host), self._claims_stand_alone
        place: str | bytes = host
        if origin is None:
            peer = self._peers.get(host) or address(host)
            if host in self._peers or self._proxies.trust(peer):
                origin = place = self._forwarded(host, peer, headers)
                stands_alone = self._proxy_claims_stand_alone
                known = self._known.get((place, is_actor, claim))
                if known is not None:
                    return known
            else:
                origin = _cached(self._direct, host, self._pseudonyms.address(self._name(peer, host)), len(host))
        make = self._pseudonyms.actor if is_actor else self._pseudonyms.session
        key = make(claim, b"" if stands_alone else origin) if claim else origin
        return _cached(self._known, (place, is_actor, claim), InboundRequest(key, origin), len(host) + len(claim))

    def _forwarded(self, host: str, peer: Address | None, headers: Headers) -> bytes:
        """The key of the address that a trusted proxy forwards for."""
        if peer is not None:
            _cached(self._peers, host, peer, len(host))
        field, lines, names_other_only = self._proxies.lines(host, headers)
        forwarded: tuple[str | bytes | bool, ...] = (host, names_other_only, field, *lines)
        key = self._proxied.get(forwarded)
        if key is None:
            client, named = self._proxies.origin(peer, field, lines)
            make = self._pseudonyms.address if named and not names_other_only else self._pseudonyms.behind
            size = len(host) + len(lines) + sum(map(len, lines))
            key = _cached(self._proxied, forwarded, make(self._name(client, host)), size)
        return key

    def _name(self, address: Address | None, host: str) -> bytes:
        """What an address counts by: IPv4 the address, IPv6 its network, and a peer without an address its text."""
        if address is None:
            return host.encode("utf-8", "replace")
        if isinstance(address, IPv4Address):
            return address.packed
        return (int(address) >> (128 - self._prefix)).to_bytes(16, "big")


def _cached(keys: dict[N, K], name: N, key: K, size: int) -> K:
    if size <= _MAX_CACHED_NAME:
        if len(keys) >= MAX_CACHED:
            keys.clear()
        keys[name] = key
    return key
