"""Requests that need no permit: to this machine, unless `govern_loopback`, and to declared paths and hosts."""

from collections.abc import Collection
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from posixpath import normpath
from typing import final

from governor.errors import ConfigError

_ALLOWED = "a list of paths such as '/health', each more than '/', and of hosts such as 'health.internal'"


@final
class Ungoverned:
    """The paths and hosts that were `declared`, and loopback hosts unless `govern_loopback`. Raises `ConfigError`."""

    __slots__ = ("_hosts", "_loopback", "_paths", "covers_host", "has_paths")

    def __init__(self, declared: Collection[str], *, govern_loopback: bool) -> None:
        if isinstance(declared, str):
            raise ConfigError("ungoverned", declared, _ALLOWED)
        for entry in declared:
            _check(entry)
        self._loopback = not govern_loopback
        self._paths = tuple(entry.rstrip("/") for entry in declared if entry.startswith("/"))
        self._hosts = frozenset(plain(entry) for entry in declared if not entry.startswith("/"))
        #: Whether paths matter; otherwise `covers_host` decides alone, which remembers the hosts used last.
        self.has_paths = bool(self._paths)
        self.covers_host = lru_cache(maxsize=256)(self._covers_host)

    def covers(self, host: str, path: str) -> bool:
        """Whether a request to this host and path needs no permit. A declared path covers itself and everything beneath it."""
        if self.covers_host(host):
            return True
        path = normpath(path) if self._paths else ""
        return any(path == declared or path.startswith(f"{declared}/") for declared in self._paths)

    def _covers_host(self, host: str) -> bool:
        host = plain(host)
        return (self._loopback and is_loopback(host)) or host in self._hosts


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether this is `localhost` (RFC 6761, section 6.3), in 127.0.0.0/8, or ::1. Names are not resolved."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    if not host[-1:].isdigit() and ":" not in host:
        return False  # No address ends like this; parsing one costs ten times as much.
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


@lru_cache(maxsize=256)
def plain(host: str) -> str:
    """A host in lower case, without brackets and the final dot."""
    return host.lower().strip("[]").removesuffix(".")


def _check(entry: object) -> None:
    if not isinstance(entry, str) or not entry.strip("/"):
        raise ConfigError("ungoverned", entry, _ALLOWED)
    if not entry.startswith("/") and ("/" in entry or entry != entry.strip()):
        raise ConfigError("ungoverned", entry, _ALLOWED)
