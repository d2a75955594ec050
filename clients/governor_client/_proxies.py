"""Which address does a request come from, when proxies stand before us?

A proxy appends to `X-Forwarded-For`, or to `Forwarded` (RFC 7239), the address that it was asked from. So the last entry was
written by whoever asks us, and counts if that is a proxy which we trust; the entry before it was written by the one that the
last entry names, and so on. The first that is not trusted is the client. What stands before it, anybody may have written.

A client can send the field that its proxy does not write. So when both are there and say different things, neither counts.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from itertools import islice
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: So many proxies are believed, one behind the other.
MOST_HOPS: Final = 32
#: A line of `Forwarded` with more bytes says nothing: it must be read from its beginning.
LONGEST: Final = 8192

#: A `name=value` of RFC 7239, section 4, or nothing, and what ends it: a `;` before the next, a `,` before the next element.
#: Values may hold characters that should have been quoted, as some proxies do not quote addresses.
_PAIR: Final = re.compile(
    rb"""[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s",;]*))[ \t]*)?([;,]|\Z)""", re.DOTALL
)
#: An address, in brackets or not, and its port or whatever stands for it.
_NODE: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[\w.-]+)?|([0-9.]+)(?::[\w.-]+)?|([0-9A-Fa-f:.]+)", re.ASCII)


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
    """Who sent this: `peer`, or whoever the trusted proxies say, in the lines of `X-Forwarded-For` and of `Forwarded`."""
    if not is_trusted(peer, trusted):
        return peer
    told = {_follow(peer, trusted, nodes) for nodes in (_listed(forwarded_for), _elements(forwarded))} - {None}
    client = told.pop() if len(told) == 1 else None
    return client or peer


def is_trusted(address: Address, trusted: Iterable[Network]) -> bool:
    """Is this one of our proxies?"""
    return any(address in network for network in trusted)


def _follow(peer: Address, trusted: Sequence[Network], nodes: Iterable[bytes]) -> Address | None:
    """Goes from hop to hop, from the nearest, until one is not trusted or cannot be read. None if nothing is said at all."""
    client = None
    for node in islice(nodes, MOST_HOPS):
        client = client or peer
        hop = _node(node)
        if hop is None:
            break
        client = hop
        if not is_trusted(hop, trusted):
            break
    return client


def _node(node: bytes) -> Address | None:
    """The address of a node, without its port. None for what is no address: `unknown`, `_hidden`, nonsense."""
    found = _NODE.fullmatch(node.decode("ascii", "replace"))
    return None if found is None else address(found[1] or found[2] or found[3])


def _listed(lines: Sequence[bytes]) -> Iterator[bytes]:
    """The entries of `X-Forwarded-For`, the last first."""
    for line in reversed(lines):
        rest, comma = line, b","
        while comma:
            rest, comma, last = rest.rpartition(b",")
            if node := last.strip():
                yield node


def _elements(lines: Sequence[bytes]) -> Iterator[bytes]:
    """What the elements of `Forwarded` say after `for=`, the last first; nothing if they do not say it, or cannot be read."""
    for line in reversed(lines):
        yield from reversed(_read(line))


def _read(line: bytes) -> list[bytes]:
    """The same for one line, in its order. A line that breaks the grammar anywhere is one element that says nothing."""
    if len(line) > LONGEST:
        return [b""]
    elements: list[bytes] = []
    place, end, said = 0, b",", None
    while end:
        pair = _PAIR.match(line, place)
        if pair is None:
            return [b""]
        place = pair.end()
        name, quoted, plain, end = pair.groups()
        if name is not None:
            said = said or b""
            if name.lower() == b"for":
                said = plain if quoted is None else quoted
        if end != b";" and said is not None:
            elements.append(said)
            said = None
    return elements
