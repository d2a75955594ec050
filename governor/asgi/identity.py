"""The keys by which a request counts: that of its client, and that of the address that it comes from.

A client is who the first of the actor headers says, else the first of the session headers, else the address. All of it is read
as bytes, of any length and in any encoding; an empty header is none. What a header says is a claim: it counts together with the
address, unless a trusted proxy makes it, so that no client can spend what belongs to another. Keys that are asked for often are
remembered.
"""

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Final, TypeVar, final

from governor._actors.pseudonyms import Pseudonyms
from governor.asgi.forwarded import Address, TrustedProxies, address
from governor.asgi.types import Headers, Scope
from governor.config import InboundSettings
from governor.messages import InboundRequest

#: So many keys of each kind are remembered, and only for names of at most so many bytes. When there is no more room, all are
#: forgotten, and made again.
MOST_REMEMBERED: Final = 4096
_REMEMBERED: Final = 128

N = TypeVar("N")
K = TypeVar("K")


@final
class ClientKeys:
    """Reads identities as `settings` say, and makes keys of them with `pseudonyms`."""

    __slots__ = (
        "_actors",
        "_claims_stand_alone",
        "_direct",
        "_first_session",
        "_peers",
        "_prefix",
        "_proxied",
        "_proxies",
        "_proxy_claims_stand_alone",
        "_pseudonyms",
        "_ranks",
        "_sessions",
    )

    def __init__(self, settings: InboundSettings, pseudonyms: Pseudonyms) -> None:
        names = [*settings.actor_headers, *settings.session_headers]
        #: Who is believed first has the lowest.
        self._ranks = {name.lower().encode(): rank for rank, name in reversed(list(enumerate(names)))}
        self._first_session = len(settings.actor_headers)
        #: Whether claims count without an address: from anybody, and from a trusted proxy.
        self._claims_stand_alone = settings.identity == "trusted"
        self._proxy_claims_stand_alone = settings.identity != "address"
        self._proxies = TrustedProxies(settings)
        self._prefix = settings.ipv6_prefix
        self._pseudonyms = pseudonyms
        self._actors = _Keys(pseudonyms.actor)
        self._sessions = _Keys(pseudonyms.session)
        #: The keys of those who ask us themselves; trusted proxies are not among them.
        self._direct: dict[str, bytes] = {}
        #: Trusted proxies that have asked, with their addresses.
        self._peers: dict[str, Address] = {}
        self._proxied: dict[tuple[str | bytes | bool, ...], bytes] = {}

    def visit(self, scope: Scope) -> InboundRequest:
        """The keys of a request: of its client, and of its address."""
        headers = scope["headers"]
        client = scope.get("client")
        host: str = (client and client[0]) or ""
        place = self._direct.get(host)
        stands_alone = self._claims_stand_alone
        if place is None:
            peer = self._peers.get(host) or address(host)
            if host in self._peers or self._proxies.trust(peer):
                place = self._behind(host, peer, headers)
                stands_alone = self._proxy_claims_stand_alone
            else:
                place = _remember(self._direct, host, self._pseudonyms.address(self._name(peer, host)), len(host))
        ranks = self._ranks
        best, who = len(ranks), b""
        for name, value in headers:
            if name in ranks and ranks[name] < best and (said := value.strip()):
                best, who = ranks[name], said
        if not who:
            return InboundRequest(place, place)
        keys = self._actors if best < self._first_session else self._sessions
        return InboundRequest(keys.key(who, b"" if stands_alone else place), place)

    def _behind(self, host: str, peer: Address | None, headers: Headers) -> bytes:
        """The key of the address for which a trusted proxy asks."""
        if peer is not None:
            _remember(self._peers, host, peer, len(host))
        field, lines, only_the_other = self._proxies.lines(host, headers)
        said: tuple[str | bytes | bool, ...] = (host, only_the_other, field, *lines)
        key = self._proxied.get(said)
        if key is None:
            client, named = self._proxies.origin(peer, field, lines)
            make = self._pseudonyms.address if named and not only_the_other else self._pseudonyms.behind
            size = len(host) + len(lines) + sum(map(len, lines))
            key = _remember(self._proxied, said, make(self._name(client, host)), size)
        return key

    def _name(self, address: Address | None, host: str) -> bytes:
        """An address of version 4 counts by itself, one of version 6 by its network, and what is no address by its text."""
        if address is None:
            return host.encode("utf-8", "replace")
        if isinstance(address, IPv4Address):
            return address.packed
        return (int(address) >> (128 - self._prefix)).to_bytes(16, "big")


@final
class _Keys:
    """The keys of one kind of name, each alone or at an address."""

    __slots__ = ("_keys", "_make")

    def __init__(self, make: Callable[[bytes, bytes], bytes]) -> None:
        self._make = make
        self._keys: dict[tuple[bytes, bytes], bytes] = {}

    def key(self, name: bytes, address: bytes) -> bytes:
        said = name, address
        return self._keys.get(said) or _remember(self._keys, said, self._make(name, address), len(name))


def _remember(keys: dict[N, K], name: N, key: K, size: int) -> K:
    if size <= _REMEMBERED:
        if len(keys) >= MOST_REMEMBERED:
            keys.clear()
        keys[name] = key
    return key
