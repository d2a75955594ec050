"""How is a caller called, without saying who it is?

By a keyed digest (BLAKE2b, RFC 7693) of what they say of themselves. The key is drawn anew by every governor, so the same
caller has the same pseudonym everywhere in it, and another one after a restart.
"""

from hashlib import blake2b
from typing import Final

#: The digest is shown up to so many hexadecimal digits, which tell callers apart in a list.
_SHOWN: Final = 10
_WORDS: Final = {b"a": "actor", b"s": "session", b"i": "address"}


class Pseudonyms:
    """Makes the keys of callers. `secret` is 16 to 64 random bytes."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def actor(self, name: bytes) -> bytes:
        """The key of somebody who says who they are."""
        return b"a" + blake2b(name, digest_size=15, key=self._secret, person=b"actor").digest()

    def session(self, name: bytes) -> bytes:
        """The key of somebody who says which session this is."""
        return b"s" + blake2b(name, digest_size=15, key=self._secret, person=b"session").digest()

    def address(self, name: bytes) -> bytes:
        """The key of an address, or of the network that it is in."""
        return b"i" + blake2b(name, digest_size=15, key=self._secret, person=b"address").digest()


def pseudonym(key: bytes) -> str:
    """A key in words: `actor-3f09c1d2a4`."""
    return f"{_WORDS[key[:1]]}-{key[1:].hex()[:_SHOWN]}"
