"""How is a caller called, without saying who it is?

By a keyed digest (BLAKE2b, RFC 7693) of what they say of themselves. The key is drawn anew by every governor, so the same
caller has the same pseudonym everywhere in it, and another one after a restart.
"""

from hashlib import blake2b
from typing import Final

#: So many bytes of the digest are shown, which tell callers apart in a list.
_SHOWN: Final = 5
_WORDS: Final = {b"a": "actor", b"s": "session", b"i": "address", b"k": "client"}


class Pseudonyms:
    """Makes the keys of callers. `secret` is 16 to 64 random bytes."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def actor(self, name: bytes, address: bytes = b"") -> bytes:
        """The key of an actor, wherever it asks from, or at the address that has this key."""
        return b"a" + self._digest(address + name, b"actor at" if address else b"actor")

    def session(self, name: bytes, address: bytes = b"") -> bytes:
        """The key of a session, wherever it asks from, or at the address that has this key."""
        return b"s" + self._digest(address + name, b"session at" if address else b"session")

    def client(self, name: bytes) -> bytes:
        """The key of a client whom the application itself has identified. No header leads to it."""
        return b"k" + self._digest(name, b"client")

    def address(self, name: bytes) -> bytes:
        """The key of an address, or of the network that it is in."""
        return b"i" + self._digest(name, b"address")

    def behind(self, name: bytes) -> bytes:
        """The key of all for whom the proxy at an address asks without naming them."""
        return b"i" + self._digest(name, b"behind")

    def _digest(self, name: bytes, kind: bytes) -> bytes:
        return blake2b(name, digest_size=15, key=self._secret, person=kind).digest()


def pseudonym(key: bytes) -> str:
    """A key in words: `actor-3f09c1d2a4`. What is no key of ours may be a name, and is not shown."""
    word = _WORDS.get(key[:1])
    return "unknown" if word is None else f"{word}-{shown(key).hex()}"


def shown(key: bytes) -> bytes:
    """As much of a key as anybody gets to see."""
    return key[1 : 1 + _SHOWN]
