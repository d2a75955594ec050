"""The client address of a request that comes through trusted proxies, read from `X-Forwarded-For` or `Forwarded` (RFC 7239).

A proxy appends the address that it was asked from. So the last entry was written by our peer, and counts if that is a trusted
proxy; the entry before it was written by the proxy that the last entry names, and so on. The first address that is not trusted
is the client. What stands before it, anybody may have written.

A client can send the field that its proxy does not write. So one of the two fields counts for each peer, and never both. A
proxy writes its field into every request: a request with one field only shows which one its peer writes.
`TrustedProxies` remembers it.
Until it is known, and once a peer has sent `X-Forwarded-For` alone, that field counts, as nearly all proxies write it.

Both fields are read from their right end, a bounded number of bytes and of entries, so that the work does not grow with what a
client puts in front.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import islice
from typing import Final, NamedTuple, final

from governor.asgi.types import Headers
from governor.config import UNIX_PEERS, InboundSettings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: Proxies that are followed, one behind the other.
MAX_HOPS: Final = 32
#: Bytes that are read of one field, all of its lines together, from the right.
MAX_BYTES: Final = 8192
#: Peers of which it is remembered which field they write.
MAX_PEERS: Final = 1024

FORWARDED_FOR: Final = b"x-forwarded-for"
FORWARDED: Final = b"forwarded"

_EVERYWHERE: Final = {ip_network("0.0.0.0/0"), ip_network("::/0")}
#: What may stand between two entries of a list.
_BETWEEN: Final = b", \t\n\r\x0b\x0c"
#: A `name=value` of RFC 7239, section 4, or nothing, and what stands before it: a `;` after the pair before, a `,` after the
#: element before. All of it backwards: a quote that closes comes first, and ends at the first that no backslash escapes.
#: Values may hold characters that should have been quoted, as some proxies do not quote addresses.
_PAIR: Final = re.compile(
    rb"""[ \t]*(?:(?:"((?:[^"]|"(?=\\))*+)"|([^\s",;]*))=([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*)?([;,]|\Z)""", re.DOTALL
)
#: An address, in brackets or not, and its port or whatever stands for it.
_NODE: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[\w.-]+)?|([0-9.]+)(?::[\w.-]+)?|([0-9A-Fa-f:.]+)", re.ASCII)


class Origin(NamedTuple):
    """Where a request comes from: an address, or None for a peer without one.

    If it is not `named`, the address is that of the last proxy, which did not say readably for whom it asks.
    """

    address: Address | None
    named: bool


@final
class TrustedProxies:
    """The trusted proxies of `settings`, and the field that each of them writes."""

    __slots__ = ("_field", "_networks", "_trusts_unix", "_writes")

    def __init__(self, settings: InboundSettings) -> None:
        self._networks = tuple(network(text) for text in settings.trusted_proxies if text != UNIX_PEERS)
        # Who trusts every address trusts every peer.
        self._trusts_unix = UNIX_PEERS in settings.trusted_proxies or set(self._networks) >= _EVERYWHERE
        self._field = None if settings.forwarded_header == "auto" else settings.forwarded_header.encode()
        self._writes: dict[str, bytes] = {}

    def trust(self, peer: Address | None) -> bool:
        """Is this one of our proxies? None is a peer without an address, such as the other end of a unix socket."""
        return self._trusts_unix if peer is None else is_trusted(peer, self._networks)

    def lines(self, host: str, headers: Headers) -> tuple[bytes, list[bytes], bool]:
        """The field that counts in a request of the trusted peer, its lines, and whether only the other names a client."""
        forwarded_for = [value for name, value in headers if name == FORWARDED_FOR]
        forwarded = [value for name, value in headers if name == FORWARDED]
        listed = _says_something(entries, forwarded_for)
        standard = _says_something(elements, forwarded)
        field = self._field or self._written_by(host, listed=listed, standard=standard)
        if field == FORWARDED_FOR:
            return field, forwarded_for, standard and not listed
        return field, forwarded, listed and not standard

    def origin(self, peer: Address | None, field: bytes, lines: Sequence[bytes]) -> Origin:
        """Where a request comes from whose trusted `peer` has written these lines of `field`."""
        address, named = _follow(self._networks, (entries if field == FORWARDED_FOR else elements)(lines))
        return Origin(address or peer, named)

    def _written_by(self, host: str, *, listed: bool, standard: bool) -> bytes:
        field = self._writes.get(host)
        if listed != standard and field != FORWARDED_FOR and (listed or field is None):
            field = FORWARDED_FOR if listed else FORWARDED
            if len(self._writes) < MAX_PEERS or host in self._writes:
                self._writes[host] = field
        return field or FORWARDED_FOR


def network(text: str) -> Network:
    """The network that a text is; that of version 4 if it is mapped into version 6, as `address` does it."""
    found = ip_network(text)
    mapped = found.network_address.ipv4_mapped if isinstance(found, IPv6Network) and found.prefixlen >= 96 else None
    return found if mapped is None else IPv4Network((mapped, found.prefixlen - 96))


def address(text: str) -> Address | None:
    """The address that a text is; that of version 4 if it is mapped into version 6. None if it is none."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped if isinstance(found, IPv6Address) else None) or found


def client_address(
    peer: Address, trusted: Sequence[Network], forwarded_for: Sequence[bytes], forwarded: Sequence[bytes]
) -> Address:
    """The client of a request of `peer`, by the lines of `X-Forwarded-For`, or of `Forwarded` if those say nothing."""
    if not is_trusted(peer, trusted):
        return peer
    nodes = entries(forwarded_for) if _says_something(entries, forwarded_for) else elements(forwarded)
    return _follow(trusted, nodes)[0] or peer


def is_trusted(address: Address, trusted: Iterable[Network]) -> bool:
    """Is this one of our proxies?"""
    return any(address in network for network in trusted)


def entries(lines: Sequence[bytes]) -> Iterator[bytes]:
    """The entries of `X-Forwarded-For`, the last first; an empty one stands for all that is beyond `MAX_BYTES`."""
    for tail, is_whole in _tails(lines):
        rest = tail
        while rest := rest.rstrip(_BETWEEN):
            rest, comma, node = rest.rpartition(b",")
            if comma or is_whole:
                yield node.strip()
        if not is_whole:
            yield b""


def elements(lines: Sequence[bytes]) -> Iterator[bytes]:
    """What the elements of `Forwarded` say after `for=`, the last first.

    An empty one stands for an element that does not say it, and for the rest of the field where that cannot be read.
    """
    for tail, is_whole in _tails(lines):
        backwards = tail[::-1]
        place, end, said, names_client = 0, b",", None, False
        while end:
            pair = _PAIR.match(backwards, place)
            if pair is None or not (pair[4] or is_whole):
                yield b""
                return
            place = pair.end()
            quoted, plain, name, end = pair.groups()
            if name is not None and not names_client:
                names_client = name.lower() == b"rof"
                said = (plain if quoted is None else quoted)[::-1] if names_client else b""
            if end != b";":
                if said is not None:
                    yield said
                said, names_client = None, False


def _tails(lines: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """The lines, the last first, and whether each is whole; as many bytes of them as may be read, where a line break counts."""
    left = MAX_BYTES
    for line in reversed(lines):
        is_whole = len(line) < left
        yield line[max(0, len(line) - left) :], is_whole
        if not is_whole:
            return
        left -= len(line) + 1


def _says_something(read: Callable[[Sequence[bytes]], Iterator[bytes]], lines: Sequence[bytes]) -> bool:
    return next(read(lines), None) is not None if lines else False


def _follow(trusted: Sequence[Network], nodes: Iterator[bytes]) -> tuple[Address | None, bool]:
    """The first hop that is not trusted, beginning at the nearest, or the last readable one; and whether it is the client."""
    hop = None
    for node in islice(nodes, MAX_HOPS):
        following = _node(node)
        if following is None:
            return hop, False
        hop = following
        if not is_trusted(hop, trusted):
            return hop, True
    return hop, next(nodes, None) is None


def _node(node: bytes) -> Address | None:
    """The address of a node, without its port. None for what is no address: `unknown`, `_hidden`, nonsense."""
    found = _NODE.fullmatch(node.decode("ascii", "replace"))
    return None if found is None else address(found[1] or found[2] or found[3])
