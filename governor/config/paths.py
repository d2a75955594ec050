"""To which inbound group does a request path belong?

To the one with the longest of all prefixes that begins the path, at the border of a segment, and else to the default. Prefixes
and paths are compared in a normal form: percent-encoding undone until there is none, lower case, `/` for a backslash, segments
without parameters (`;v=1`), surrounding space and trailing dots, empty segments and dot segments resolved.

A path that is not in its normal form can be read in more than one way, and nobody here knows how the application reads it. It
belongs to the strictest of the groups that the readings name, and is never exempt: a trick gains nothing.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, final

from governor.config.names import DEFAULT
from governor.config.parts import InboundGroup
from governor.policies.gcra import TokenBucket
from governor.policies.limits import Limit

#: Characters of a path. A longer one is not read, and belongs to the strictest group of all.
LONGEST: Final = 4096
#: So many paths are remembered, of so many characters at most. When there is no more room, all are forgotten.
MOST_REMEMBERED: Final = 4096
_REMEMBERED: Final = 256

_PERCENT: Final = ord("%")
_BYTES: Final = {f"{byte:02x}".encode(): byte for byte in range(256)}
#: What the end of a segment loses.
_TAIL: Final = "." + "".join(character for character in map(chr, range(0x3001)) if character.isspace())

_Prefixes = Mapping[tuple[str, ...], str]


@final
class Paths:
    """Finds the group of a path among `groups`, which have a default; `exempt` are the prefixes of paths that have none."""

    __slots__ = ("_deepest", "_exempt", "_prefixes", "_ranks", "_remembered", "_strictest")

    def __init__(self, groups: Mapping[str, InboundGroup], exempt: Iterable[str]) -> None:
        self._prefixes: _Prefixes = {_resolved(_segments(path)): name for name, group in groups.items() for path in group.paths}
        self._exempt: _Prefixes = {_resolved(_segments(path)): path for path in exempt}
        self._deepest = max(map(len, [*self._prefixes, *self._exempt]), default=0)
        self._ranks = {name: _rank(group) for name, group in groups.items()}
        self._strictest = min(self._ranks, key=self._ranks.__getitem__)
        self._remembered: dict[str, str | None] = {}

    def group(self, path: str) -> str | None:
        """The name of the group; None for a path that is exempt. Any text has an answer."""
        group = self._remembered.get(path, "")
        if group == "":
            group = self._find(path)
            if len(path) <= _REMEMBERED:
                if len(self._remembered) >= MOST_REMEMBERED:
                    self._remembered.clear()
                self._remembered[path] = group
        return group

    def _find(self, path: str) -> str | None:
        if len(path) > LONGEST:
            return self._strictest
        segments = _segments(path)
        resolved = _resolved(segments)
        group = self._longest(self._prefixes, resolved) or DEFAULT
        if _joined(resolved) == path:
            return None if self._longest(self._exempt, resolved) is not None else group
        # What an application makes of it that does not resolve dot segments, and of one that cleans nothing.
        unresolved = self._longest(self._prefixes, segments) or DEFAULT
        as_it_came = self._longest(self._prefixes, path.split("/")[1:]) or group
        return min(group, unresolved, as_it_came, key=self._ranks.__getitem__)

    def _longest(self, prefixes: _Prefixes, segments: Sequence[str]) -> str | None:
        for length in range(min(len(segments), self._deepest), -1, -1):
            found = prefixes.get(tuple(segments[:length]))
            if found is not None:
                return found
        return None


def normal_form(path: str) -> str:
    """The spelling in which paths are compared."""
    return _joined(_resolved(_segments(path)))


def _joined(segments: Sequence[str]) -> str:
    return f"/{'/'.join(segments)}"


def _segments(path: str) -> list[str]:
    """The segments of a path, cleaned; those that go up are still there."""
    plain = _unquoted(path.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
    return [segment for raw in plain.replace("\\", "/").lower().split("/") if (segment := _cleaned(raw))]


def _cleaned(segment: str) -> str:
    bare = segment.partition(";")[0].strip()
    return bare if bare == ".." else bare.rstrip(_TAIL)


def _resolved(segments: Iterable[str]) -> tuple[str, ...]:
    resolved: list[str] = []
    for segment in segments:
        if segment != "..":
            resolved.append(segment)
        elif resolved:
            resolved.pop()
    return tuple(resolved)


def _unquoted(path: bytes) -> bytes:
    """Without percent-encoding, however often it was applied, in one pass: what is decoded may complete another code."""
    first = path.find(b"%")
    if first < 0:
        return path
    plain = bytearray(path[:first])
    for byte in path[first:]:
        plain.append(byte)
        while len(plain) > 2 and plain[-3] == _PERCENT and (code := _BYTES.get(bytes(plain[-2:]).lower())) is not None:
            plain[-3:] = (code,)
    return bytes(plain)


def _rank(group: InboundGroup) -> tuple[object, ...]:
    """The strictest group has the smallest."""
    return (group.dry_run, *map(_least, (group.limits, group.address_limits, group.total_limits)))


def _least(limits: Iterable[Limit]) -> tuple[float, float]:
    """How many requests per second, and how many at once, the tightest of the limits allows."""
    buckets = (limit for limit in limits if isinstance(limit, TokenBucket))
    return min(((bucket.amount / bucket.per, bucket.burst) for bucket in buckets), default=(math.inf, math.inf))
