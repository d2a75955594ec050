"""Who calls? By which keys a request counts: that of its caller, and that of the address that it comes from.

The caller is who the first of the actor headers says, else the first of the session headers, else the address. All of it is
read as bytes, of any length and in any encoding; an empty header is none. Keys that are asked for often are remembered.
"""

from collections.abc import Callable
from ipaddress import IPv4Address, ip_network
from typing import Final, TypeVar, final

from governor._actors.pseudonyms import Pseudonyms
from governor.config import InboundSettings
from governor.messages import Visit
from governor_client._asgi import Headers, Scope
from governor_client._proxies import Address, address, client_address, is_trusted

#: So many keys of each kind are remembered, and only for names of at most so many bytes. When there is no more room, all are
#: forgotten, and made again.
MOST_REMEMBERED: Final = 4096
_REMEMBERED: Final = 128

N = TypeVar("N")


@final
class Callers:
    """Reads identities as `settings` say, and makes keys of them with `pseudonyms`."""

    __slots__ = (
        "_actors",
        "_direct",
        "_first_session",
        "_prefix",
        "_proxied",
        "_pseudonyms",
        "_ranks",
        "_sessions",
        "_trusted",
    )

    def __init__(self, settings: InboundSettings, pseudonyms: Pseudonyms) -> None:
        names = [*settings.actor_headers, *settings.session_headers]
        #: Who is believed first has the lowest.
        self._ranks = {name.lower().encode(): rank for rank, name in reversed(list(enumerate(names)))}
        self._first_session = len(settings.actor_headers)
        self._trusted = tuple(ip_network(network) for network in settings.trusted_proxies)
        self._prefix = settings.ipv6_prefix
        self._pseudonyms = pseudonyms
        self._actors = _Keys(pseudonyms.actor)
        self._sessions = _Keys(pseudonyms.session)
        #: The keys of those who ask us themselves; trusted proxies are not among them.
        self._direct: dict[str, bytes] = {}
        self._proxied: dict[tuple[str | bytes | None, ...], bytes] = {}

    def visit(self, scope: Scope) -> Visit:
        """The keys of a request: of its caller, and of its address."""
        headers = scope["headers"]
        client = scope.get("client")
        host = client[0] if client else ""
        place = self._direct.get(host) or self._place(host, headers)
        ranks = self._ranks
        best, who = len(ranks), b""
        for name, value in headers:
            if name in ranks and ranks[name] < best and (said := value.strip()):
                best, who = ranks[name], said
        if not who:
            return Visit(place, place)
        return Visit((self._actors if best < self._first_session else self._sessions).key(who), place)

    def _place(self, host: str, headers: Headers) -> bytes:
        """The key of the address from which a request comes, directly or through proxies."""
        peer = address(host)
        if peer is None or not is_trusted(peer, self._trusted):
            return _remember(self._direct, host, self._pseudonyms.address(self._name(peer, host)), len(host))
        forwarded_for = [value for name, value in headers if name == b"x-forwarded-for"]
        forwarded = [value for name, value in headers if name == b"forwarded"]
        said = (host, *forwarded_for, None, *forwarded)
        key = self._proxied.get(said)
        if key is None:
            client = client_address(peer, self._trusted, forwarded_for, forwarded)
            size = sum(map(len, forwarded_for)) + sum(map(len, forwarded))
            key = _remember(self._proxied, said, self._pseudonyms.address(self._name(client, host)), size)
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
    """The keys of one kind of name."""

    __slots__ = ("_keys", "_make")

    def __init__(self, make: Callable[[bytes], bytes]) -> None:
        self._make = make
        self._keys: dict[bytes, bytes] = {}

    def key(self, name: bytes) -> bytes:
        return self._keys.get(name) or _remember(self._keys, name, self._make(name), len(name))


def _remember(keys: dict[N, bytes], name: N, key: bytes, size: int) -> bytes:
    if size <= _REMEMBERED:
        if len(keys) >= MOST_REMEMBERED:
            keys.clear()
        keys[name] = key
    return key
