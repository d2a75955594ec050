"""Keys and pseudonyms of clients, derived by a keyed digest (BLAKE2b, RFC 7693).

Each governor draws a random secret when it is made. So a client has one key and one pseudonym within a governor, and others
after a restart; neither reveals the name or the address that it was made from. The processes that share the governor of a
machine have the secret of its socket.
"""

from typing import TYPE_CHECKING, Final

from governor._exports import Later

if TYPE_CHECKING:
    import hashlib
else:
    hashlib = Later("hashlib")  # With it comes OpenSSL, and many programs make no key.

#: Bytes of the digest that are shown. They tell clients apart in a list, and do not identify one among millions.
_SHOWN_BYTES: Final = 5
#: The kind of a key, by its first byte.
_KINDS: Final = {b"a": "actor", b"s": "session", b"i": "address", b"k": "client", b"l": "caller"}


class Pseudonyms:
    """Makes the keys of clients: 16 bytes each. `secret` is 16 to 64 random bytes."""

    __slots__ = ("secret",)

    def __init__(self, secret: bytes) -> None:
        self.secret = secret

    def client(self, name: bytes) -> bytes:
        """The key of a client that the application itself has identified. No header leads to such a key."""
        return b"k" + self._digest(name, b"client")

    def actor(self, name: bytes, address: bytes = b"") -> bytes:
        """The key of a name in an actor header. With the key of an address, the name counts at that address only."""
        return b"a" + self._digest(address + name, b"actor at" if address else b"actor")

    def session(self, name: bytes, address: bytes = b"") -> bytes:
        """The key of a name in a session header. With the key of an address, the name counts at that address only."""
        return b"s" + self._digest(address + name, b"session at" if address else b"session")

    def label(self, name: bytes) -> bytes:
        """The key of a caller label of outbound calls."""
        return b"l" + self._digest(name, b"label")

    def address(self, name: bytes) -> bytes:
        """The key of an address, or of the network that contains it."""
        return b"i" + self._digest(name, b"address")

    def behind(self, name: bytes) -> bytes:
        """The key that all clients share whose proxy, at this address, does not name them."""
        return b"i" + self._digest(name, b"behind")

    def _digest(self, name: bytes, kind: bytes) -> bytes:
        return hashlib.blake2b(name, digest_size=15, key=self.secret, person=kind).digest()


def pseudonym(key: bytes) -> str:
    """A key as text: `actor-3f09c1d2a4`. Bytes that are not a key may be a name, and give `unknown`."""
    kind = _KINDS.get(key[:1])
    return "unknown" if kind is None else f"{kind}-{shown(key).hex()}"


def shown(key: bytes) -> bytes:
    """The part of a key that is shown: in pseudonyms, and as the partition key of `RateLimit` fields."""
    return key[1 : 1 + _SHOWN_BYTES]
