"""To which inbound group does a request path belong?

To the one with the longest of all prefixes that begins the path, at the border of a segment, and else to the default. Prefixes
and paths are compared in a normal form: percent-encoding undone until there is none, lower case, `/` for a backslash, segments
without parameters (`;v=1`), surrounding space and trailing dots, empty segments and dot segments resolved.

A path that is not in its normal form can be read in more than one way, and nobody here knows how the application reads it. It
belongs to the strictest of the groups that the readings name, and is never exempt: a trick gains nothing. There is no doubt
about an exempt path as the settings spell it, nor about what lies beneath one in any case, with a slash at its end or without.

A server that mounts the application under a root path has it at the beginning of each path (uvicorn) or not (Hypercorn,
Granian, `FastAPI(root_path=)`), and applications take it away where it stands there. So prefixes are looked for in the path
without the root path and with it, and of the groups that are named the strictest counts. The default is what is left when
neither reading names a group. A request is exempt if one reading is and the other names no group.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, final

from governor.config.names import DEFAULT
from governor.config.parts import MAX_PATH, InboundGroup, InboundRoute
from governor.policies.contract import Limit

#: So many paths are remembered, of so many characters at most. When there is no more room, all are forgotten.
MOST_REMEMBERED: Final = 4096
_REMEMBERED: Final = 256

_PERCENT: Final = ord("%")
_BYTES: Final = {f"{byte:02x}".encode(): byte for byte in range(256)}
#: What the end of a segment loses.
_TAIL: Final = "." + "".join(character for character in map(chr, range(0x3001)) if character.isspace())

_Prefixes = Mapping[tuple[str, ...], str]
#: The segments of a route, of which None stands for any, and whether it stands for everything beneath it as well.
_Template = tuple[tuple[str | None, ...], int, bool]


class PathMatch(NamedTuple):
    """Where a path belongs: its group, and those routes of it that the path is one of, with their methods; none for all."""

    group: str
    routes: tuple[tuple[int, frozenset[str]], ...] = ()

    def routes_of(self, method: str) -> tuple[int, ...]:
        """The places of the routes for requests of this method."""
        return tuple(number for number, methods in self.routes if not methods or method in methods)


@final
class Paths:
    """Finds the group of a path among `groups`, which have a default; `exempt` are the paths that have none.

    An exempt path stands for itself; one that ends in `/` for itself and everything beneath it, but `/` for itself.
    """

    __slots__ = ("_deepest", "_exempt", "_prefixes", "_ranks", "_remembered", "_routes", "_strictest", "_trees")

    def __init__(self, groups: Mapping[str, InboundGroup], exempt: Iterable[str]) -> None:
        exempt = tuple(exempt)
        self._prefixes: _Prefixes = {_resolved(_segments(path)): name for name, group in groups.items() for path in group.paths}
        #: Exempt paths as they are written, and in normal form.
        self._exempt = frozenset(spelling for path in exempt for spelling in (path, normal_form(path)))
        #: Of those with everything beneath: the spellings, without the slash at the end.
        self._trees = {
            _resolved(_segments(path)): (path.rstrip("/"), normal_form(path))
            for path in exempt
            if path.endswith("/") and path != "/"
        }
        self._deepest = max(map(len, [*self._prefixes, *self._trees]), default=0)
        self._ranks = {name: _rank(group) for name, group in groups.items()}
        self._strictest = min(self._ranks, key=self._ranks.__getitem__)
        self._routes = {
            name: [
                (number, _methods(route), _template(path)) for number, route in enumerate(group.routes) for path in route.paths
            ]
            for name, group in groups.items()
            if group.routes
        }
        self._remembered: dict[str | tuple[str, str], PathMatch | None] = {}

    def group(self, path: str, root: str = "") -> str | None:
        """The name of the group; None for a path that is exempt."""
        place = self.find(path, root)
        return None if place is None else place.group

    def find(self, path: str, root: str = "") -> PathMatch | None:
        """The group of a path and its routes; None for a path that is exempt. Any text has an answer.

        `root` is the path under which the server says that the application is mounted.
        """
        key = (root, path) if root else path
        try:
            return self._remembered[key]
        except KeyError:
            place = self._find(path, root.rstrip("/"))
            if len(path) + len(root) <= _REMEMBERED:
                if len(self._remembered) >= MOST_REMEMBERED:
                    self._remembered.clear()
                self._remembered[key] = place
            return place

    def _find(self, path: str, root: str) -> PathMatch | None:
        if len(path) + len(root) > MAX_PATH:
            return PathMatch(self._strictest)
        base = _resolved(_segments(root))
        within = _within(path, root)
        segments = _segments(within)
        resolved = _resolved(segments)
        if self._is_exempt(path, root, within, base, resolved):
            return None
        anything = [self._prefixes.get((), DEFAULT)]
        found = self._named(resolved, base) or anything
        if _joined(resolved) != within:
            # What an application makes of it that does not resolve dot segments, and of one that cleans nothing.
            found = [*found, *(self._named(segments, base) or anything), *self._named(within.split("/")[1:], base)]
        if base:
            # What one makes of it that cleans the path before it looks for the root path.
            whole = _segments(path)
            cleaned = (_beneath(whole, base), _beneath(_resolved(whole), base))
            found = [*found, *(name for one in cleaned for name in self._named(one, base))]
            # A prefix that the root path begins with covers the whole application: it never makes a request laxer.
            around = self._longest(base, 0)
            found += [] if around is None else [around]
        if not self._routes:
            return PathMatch(min(found, key=self._ranks.__getitem__))
        routes = {name: self._routes_of(name, path, within, base) for name in found}
        # A limit for the very route is narrower than any for a group.
        group = min(found, key=lambda name: (not routes[name], self._ranks[name]))
        return PathMatch(group, routes[group])

    def _routes_of(self, group: str, path: str, within: str, base: tuple[str, ...]) -> tuple[tuple[int, frozenset[str]], ...]:
        """The routes of a group that some reading of a path is one of."""
        segments = _segments(within)
        raw = [segment for segment in within.lower().split("/") if segment]
        readings = [_resolved(segments), segments, raw, within.split("/")[1:]]
        if base:
            readings += [_beneath(_resolved(_segments(path)), base), [*base, *_resolved(segments)]]
        found = {
            number: methods
            for number, methods, template in self._routes.get(group, ())
            if any(_matches(template, reading) for reading in readings)
        }
        return tuple(found.items())

    def _is_exempt(self, path: str, root: str, within: str, base: tuple[str, ...], resolved: tuple[str, ...]) -> bool:
        """Is the path exempt as the application sees it, or with the root path in front, and does the other name no group?"""
        if self._exempts(within, resolved, 0):
            return not base or self._longest((*base, *resolved), len(base)) is None
        if not base or not resolved:
            return False
        outside = path if within != path else root + path
        return self._exempts(outside, (*base, *resolved), len(base)) and self._longest(resolved, 0) is None

    def _exempts(self, path: str, resolved: tuple[str, ...], above: int) -> bool:
        """Is the path exempt, alone or beneath one of more than `above` segments? Not if it can be read in another way."""
        if path in self._exempt:
            return True
        plain = path.removesuffix("/")
        if not self._trees or plain.lower() != _joined(resolved):
            return False
        trees = (self._trees.get(resolved[:length], ()) for length in range(above + 1, min(len(resolved), self._deepest) + 1))
        return any(plain == spelling or plain.startswith(f"{spelling}/") for spellings in trees for spelling in spellings)

    def _named(self, segments: Sequence[str], base: tuple[str, ...]) -> list[str]:
        """The groups that have a prefix of a path: as the application sees it, and with the root path in front of it."""
        named = [self._longest(segments, 0)]
        if base:
            named.append(self._longest((*base, *segments), len(base)))
        return [name for name in named if name is not None]

    def _longest(self, segments: Sequence[str], above: int) -> str | None:
        """The group with the longest prefix, of those of more than `above` segments."""
        for length in range(min(len(segments), self._deepest), above, -1):
            found = self._prefixes.get(tuple(segments[:length]))
            if found is not None:
                return found
        return None


def _methods(route: InboundRoute) -> frozenset[str]:
    """A HEAD is answered by what answers a GET, and so is the handshake of a WebSocket, which is one."""
    return frozenset((*route.methods, "HEAD")) if "GET" in route.methods else frozenset(route.methods)


def _template(path: str) -> _Template:
    """The segments, how many a path has at least, and whether it may have more."""
    parts = [part for part in path.split("/") if part]
    beneath = bool(parts) and parts[-1].endswith(":path}")
    if beneath:
        del parts[-1]
    segments: list[str | None] = []
    for part in parts:
        segments += [None] if part.startswith("{") else _resolved(_segments(part))
    return tuple(segments), len(segments) + beneath, beneath or (path.endswith("/") and path != "/")


def _matches(template: _Template, segments: Sequence[str]) -> bool:
    pattern, least, beneath = template
    if len(segments) < least or (len(segments) > least and not beneath):
        return False
    return all(part is None or part == segment for part, segment in zip(pattern, segments, strict=False))


def sample(path: str) -> str:
    """A path that a template stands for."""
    return "/".join("0" if part.startswith("{") else part for part in path.split("/"))


def _within(path: str, root: str) -> str:
    """The path as an application sees it that takes the root path away from its beginning, where it stands there."""
    if not root or not path.startswith(root):
        return path
    return path[len(root) :] if path[len(root) : len(root) + 1] == "/" else path if len(path) > len(root) else "/"


def _beneath(segments: Sequence[str], base: tuple[str, ...]) -> Sequence[str]:
    return segments[len(base) :] if tuple(segments[: len(base)]) == base else segments


def normal_form(path: str) -> str:
    """The spelling in which paths are compared."""
    return _joined(_resolved(_segments(path)))


def covering(path: str, exempt: Iterable[str]) -> str | None:
    """The exempt path beneath which this path lies, or None."""
    segments = _resolved(_segments(path))
    for one in exempt:
        tree = _resolved(_segments(one))
        if one.endswith("/") and tree and tree == segments[: len(tree)]:
            return one
    return None


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
    return min(((limit.refill_rate or math.inf, limit.capacity) for limit in limits), default=(math.inf, math.inf))
