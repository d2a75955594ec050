"""The inbound group of a request path.

A path belongs to the group with the longest configured prefix, at the border of a segment, or else to the default group.
Prefixes and paths are compared in a normal form: percent-encoding decoded as often as it was applied, lower case, `/` for a
backslash, segments without parameters (`;v=1`), surrounding spaces and trailing dots, no empty segments, dot segments resolved.

A path that is not in its normal form can be read in several ways, and the application may read it in any of them. It belongs to
the strictest group that one of the readings names, and is never exempt, so that no spelling weakens a limit. Only exempt paths
as the settings spell them, and paths beneath them in any case and with or without a slash at the end, have one reading.

A server that mounts the application under a root path puts it in front of each path (uvicorn) or not (Hypercorn, Granian,
`FastAPI(root_path=)`), and applications remove it if it is there. So prefixes are compared with the path without the root path
and with it, and the strictest of the named groups counts. The default group is used only if neither reading names another. A
request is exempt if one reading is exempt and the other names no group.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, final

from governor.config.names import DEFAULT
from governor.config.sections import MAX_PATH, InboundGroup, InboundRoute
from governor.policies.contract import Limit

#: Paths whose group is cached. A full cache is emptied.
MAX_CACHED: Final = 4096
#: Characters of the longest path that is cached.
_MAX_CACHED_PATH: Final = 256

_PERCENT: Final = ord("%")
_BYTES: Final = {f"{byte:02x}".encode(): byte for byte in range(256)}
#: Characters that are removed from the end of a segment: a dot, and what `str.isspace` calls white space.
_TAIL: Final = (
    ".\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0"
    "\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)

_Prefixes = Mapping[tuple[str, ...], str]
#: The segments of a route, where None matches any; how many a path has at least; whether it may have more.
_Template = tuple[tuple[str | None, ...], int, bool]


class PathMatch(NamedTuple):
    """The group of a path, and the indexes of the routes that the path matches, with their methods; no methods mean all."""

    group: str
    routes: tuple[tuple[int, frozenset[str]], ...] = ()

    def routes_of(self, method: str) -> tuple[int, ...]:
        """The indexes of the routes that requests with this method match."""
        return tuple(number for number, methods in self.routes if not methods or method in methods)


@final
class Paths:
    """Finds the groups of paths among `groups`, which include the default, and the paths that are `exempt`.

    An exempt path matches itself. One that ends in `/` matches everything beneath it too, except `/`.
    """

    __slots__ = ("_deepest", "_exempt", "_prefixes", "_ranks", "_routes", "_strictest", "_trees", "known")

    def __init__(self, groups: Mapping[str, InboundGroup], exempt: Iterable[str]) -> None:
        exempt = tuple(exempt)
        self._prefixes: _Prefixes = {_resolved(_segments(path)): name for name, group in groups.items() for path in group.paths}
        #: Exempt paths, as written and in normal form.
        self._exempt = frozenset(spelling for path in exempt for spelling in (path, normal_form(path)))
        #: Exempt paths that include everything beneath them: both spellings, without the slash at the end.
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
        #: What was found, by the path, or by the root path and the path. A path that is exempt is known as None.
        self.known: dict[str | tuple[str, str], PathMatch | None] = {}

    def group(self, path: str, root: str = "") -> str | None:
        """The name of the group; None for an exempt path."""
        place = self.find(path, root)
        return None if place is None else place.group

    def find(self, path: str, root: str = "") -> PathMatch | None:
        """The group and the routes of a path, which may be any text; None for an exempt path.

        `root` is the root path under which the server has mounted the application.
        """
        key = (root, path) if root else path
        try:
            return self.known[key]
        except KeyError:
            place = self._find(path, root.rstrip("/"))
            if len(path) + len(root) <= _MAX_CACHED_PATH:
                if len(self.known) >= MAX_CACHED:
                    self.known.clear()
                self.known[key] = place
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
            # The readings of an application that does not resolve dot segments, and of one that normalises nothing.
            found = [*found, *(self._named(segments, base) or anything), *self._named(within.split("/")[1:], base)]
        if base:
            # The reading of one that normalises the path before it removes the root path.
            whole = _segments(path)
            cleaned = (_beneath(whole, base), _beneath(_resolved(whole), base))
            found = [*found, *(name for one in cleaned for name in self._named(one, base))]
            # A prefix of the root path itself covers the whole application: it never weakens the limits of a request.
            around = self._longest(base, 0)
            found += [] if around is None else [around]
        if not self._routes:
            return PathMatch(min(found, key=self._ranks.__getitem__))
        routes = {name: self._routes_of(name, path, within, base) for name in found}
        # A limit of a route is narrower than those of a group.
        group = min(found, key=lambda name: (not routes[name], self._ranks[name]))
        return PathMatch(group, routes[group])

    def _routes_of(self, group: str, path: str, within: str, base: tuple[str, ...]) -> tuple[tuple[int, frozenset[str]], ...]:
        """The routes of a group that some reading of a path matches."""
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
        """Whether one reading, with or without the root path, is exempt while the other names no group."""
        if self._exempts(within, resolved, 0):
            return not base or self._longest((*base, *resolved), len(base)) is None
        if not base or not resolved:
            return False
        outside = path if within != path else root + path
        return self._exempts(outside, (*base, *resolved), len(base)) and self._longest(resolved, 0) is None

    def _exempts(self, path: str, resolved: tuple[str, ...], above: int) -> bool:
        """Whether a path with one reading is exempt, itself or beneath an exempt path of more than `above` segments."""
        if path in self._exempt:
            return True
        plain = path.removesuffix("/")
        if not self._trees or plain.lower() != _joined(resolved):
            return False
        trees = (self._trees.get(resolved[:length], ()) for length in range(above + 1, min(len(resolved), self._deepest) + 1))
        return any(plain == spelling or plain.startswith(f"{spelling}/") for spellings in trees for spelling in spellings)

    def _named(self, segments: Sequence[str], base: tuple[str, ...]) -> list[str]:
        """The groups with a prefix of a path: as the application sees it, and with the root path in front."""
        named = [self._longest(segments, 0)]
        if base:
            named.append(self._longest((*base, *segments), len(base)))
        return [name for name in named if name is not None]

    def _longest(self, segments: Sequence[str], above: int) -> str | None:
        """The group with the longest prefix of more than `above` segments."""
        for length in range(min(len(segments), self._deepest), above, -1):
            found = self._prefixes.get(tuple(segments[:length]))
            if found is not None:
                return found
        return None


def _methods(route: InboundRoute) -> frozenset[str]:
    """The methods of a route. GET includes HEAD, and the handshake of a WebSocket, which is a GET."""
    return frozenset((*route.methods, "HEAD")) if "GET" in route.methods else frozenset(route.methods)


def _template(path: str) -> _Template:
    """The template of a path as the settings write it."""
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
    """A path that matches a template."""
    return "/".join("0" if part.startswith("{") else part for part in path.split("/"))


def _within(path: str, root: str) -> str:
    """The path without the root path, if it begins with that: as an application sees it."""
    if not root or not path.startswith(root):
        return path
    return path[len(root) :] if path[len(root) : len(root) + 1] == "/" else path if len(path) > len(root) else "/"


def _beneath(segments: Sequence[str], base: tuple[str, ...]) -> Sequence[str]:
    return segments[len(base) :] if tuple(segments[: len(base)]) == base else segments


def normal_form(path: str) -> str:
    """The normal form of a path, in which paths are compared."""
    return _joined(_resolved(_segments(path)))


def covering(path: str, exempt: Iterable[str]) -> str | None:
    """The exempt path that includes this path, or None."""
    segments = _resolved(_segments(path))
    for one in exempt:
        tree = _resolved(_segments(one))
        if one.endswith("/") and tree and tree == segments[: len(tree)]:
            return one
    return None


def _joined(segments: Sequence[str]) -> str:
    return f"/{'/'.join(segments)}"


def _segments(path: str) -> list[str]:
    """The segments of a path in normal form, except that `..` is not resolved."""
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
    """Decodes percent-encoding as often as it was applied, in one pass: a decoded byte may complete another code."""
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
    """The rank of a group; the strictest has the smallest."""
    return (group.dry_run, *map(_least, (group.limits, group.address_limits, group.total_limits)))


def _least(limits: Iterable[Limit]) -> tuple[float, float]:
    """The rate and the capacity of the tightest limit."""
    return min(((limit.refill_rate or math.inf, limit.capacity) for limit in limits), default=(math.inf, math.inf))
