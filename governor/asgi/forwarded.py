"""The client address of a request behind trusted proxies, from `X-Forwarded-For` or `Forwarded` (RFC 7239).

A proxy appends the address of its own peer. So the last entry was written by our peer, and counts if that is a trusted proxy;
the entry before it was written by the proxy that the last entry names, and so on. The first address that is not trusted is the
client. Anyone may have written what stands before it.

A client can send the field that its proxy does not write. So only one of the two fields counts for each peer. A proxy writes
its field into every request, so a request with one field shows which one its peer writes, and `TrustedProxies` remembers that.
Until it is known, and once a peer has sent `X-Forwarded-For` alone, `X-Forwarded-For` counts, which nearly all proxies write.

Both fields are read from their right end, a bounded number of bytes and entries, so that the work does not grow with what a
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

#: Proxies in a chain that are followed.
MAX_HOPS: Final = 32
#: Bytes of one field that are read, over all its lines, from the right.
MAX_BYTES: Final = 8192
#: Peers whose field is remembered.
MAX_PEERS: Final = 1024

FORWARDED_FOR: Final = b"x-forwarded-for"
FORWARDED: Final = b"forwarded"

_EVERYWHERE: Final = {ip_network("0.0.0.0/0"), ip_network("::/0")}
#: The bytes between two entries of a list.
_BETWEEN: Final = b", \t\n\r\x0b\x0c"
#: A `name=value` of RFC 7239, section 4, or nothing, and the separator before it: `;` after another pair, `,` after another
#: element. All of it is reversed: the closing quote comes first, and the value ends at the first quote that no backslash
#: escapes. Values may hold characters that should have been quoted, since some proxies do not quote addresses.
_PAIR: Final = re.compile(
    rb"""[ \t]*(?:(?:"((?:[^"]|"(?=\\))*+)"|([^\s",;]*))=([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*)?([;,]|\Z)""", re.DOTALL
)
#: An address, in brackets or not, and its port or obfuscated port.
_NODE: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[\w.-]+)?|([0-9.]+)(?::[\w.-]+)?|([0-9A-Fa-f:.]+)", re.ASCII)


class Origin(NamedTuple):
    """The address that a request comes from; None for a peer without an address.

    If it is not `named`, it is the address of the last proxy in the chain, which named no readable client.
    """

    address: Address | None
    named: bool


@final
class TrustedProxies:
    """The trusted proxies of `settings`, and the field that each of them writes."""

    __slots__ = ("_field", "_networks", "_trusts_unix", "_writes")

    def __init__(self, settings: InboundSettings) -> None:
        self._networks = tuple(network(text) for text in settings.trusted_proxies if text != UNIX_PEERS)
        # Trust in every address includes peers without one.
        self._trusts_unix = UNIX_PEERS in settings.trusted_proxies or set(self._networks) >= _EVERYWHERE
        self._field = None if settings.forwarded_header == "auto" else settings.forwarded_header.encode()
        self._writes: dict[str, bytes] = {}

    def trust(self, peer: Address | None) -> bool:
        """Whether this peer is a trusted proxy. None is a peer without an address, such as the other end of a unix socket."""
        return self._trusts_unix if peer is None else is_trusted(peer, self._networks)

    def lines(self, host: str, headers: Headers) -> tuple[bytes, list[bytes], bool]:
        """The field that counts for a trusted peer, its lines, and whether only the other field names a client."""
        forwarded_for = [value for name, value in headers if name == FORWARDED_FOR]
        forwarded = [value for name, value in headers if name == FORWARDED]
        listed = _has_nodes(entries, forwarded_for)
        standard = _has_nodes(elements, forwarded)
        field = self._field or self._written_by(host, listed=listed, standard=standard)
        if field == FORWARDED_FOR:
            return field, forwarded_for, standard and not listed
        return field, forwarded, listed and not standard

    def origin(self, peer: Address | None, field: bytes, lines: Sequence[bytes]) -> Origin:
        """The origin of a request whose trusted `peer` wrote these lines of `field`."""
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
    """The network of a text. An IPv4 network mapped into IPv6 is that IPv4 network, as in `address`."""
    found = ip_network(text)
    mapped = found.network_address.ipv4_mapped if isinstance(found, IPv6Network) and found.prefixlen >= 96 else None
    return found if mapped is None else IPv4Network((mapped, found.prefixlen - 96))


def address(text: str) -> Address | None:
    """The address of a text, or None. An IPv4 address mapped into IPv6 is that IPv4 address."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped if isinstance(found, IPv6Address) else None) or found


def is_trusted(address: Address, trusted: Iterable[Network]) -> bool:
    """Whether the address is in a trusted network."""
    return any(address in network for network in trusted)


def entries(lines: Sequence[bytes]) -> Iterator[bytes]:
    """The entries of `X-Forwarded-For`, the last first. An empty one stands for everything beyond `MAX_BYTES`."""
    for tail, is_whole in _tails(lines):
        rest = tail
        while rest := rest.rstrip(_BETWEEN):
            rest, comma, node = rest.rpartition(b",")
            if comma or is_whole:
                yield node.strip()
        if not is_whole:
            yield b""


def elements(lines: Sequence[bytes]) -> Iterator[bytes]:
    """The values of `for=` in `Forwarded`, the last first.

    An empty one stands for an element without `for=`, and for the rest of the field where it is not readable.
    """
    for tail, is_whole in _tails(lines):
        reversed_line = tail[::-1]
        position, end, value, names_client = 0, b",", None, False
        while end:
            pair = _PAIR.match(reversed_line, position)
            if pair is None or not (pair[4] or is_whole):
                yield b""
                return
            position = pair.end()
            quoted, plain, name, end = pair.groups()
            if name is not None and not names_client:
                names_client = name.lower() == b"rof"
                value = (plain if quoted is None else quoted)[::-1] if names_client else b""
            if end != b";":
                if value is not None:
                    yield value
                value, names_client = None, False


def _tails(lines: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """The lines, the last first, each with whether it is whole: `MAX_BYTES` in all, where a line break counts as one."""
    left = MAX_BYTES
    for line in reversed(lines):
        is_whole = len(line) < left
        yield line[max(0, len(line) - left) :], is_whole
        if not is_whole:
            return
        left -= len(line) + 1


def _has_nodes(read: Callable[[Sequence[bytes]], Iterator[bytes]], lines: Sequence[bytes]) -> bool:
    return next(read(lines), None) is not None if lines else False


def _follow(trusted: Sequence[Network], nodes: Iterator[bytes]) -> tuple[Address | None, bool]:
    """The first hop from the right that is not trusted, or the last readable one; and whether it is the client."""
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
    """The address of a node, without its port. None for other nodes: `unknown`, `_hidden`, unreadable ones."""
    found = _NODE.fullmatch(node.decode("ascii", "replace"))
    return None if found is None else address(found[1] or found[2] or found[3])
