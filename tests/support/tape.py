"""Strategies that read their choices from bytes which hypothesis draws at once, for values of many choices.

Hypothesis records each choice by itself: for a history of forty steps that takes more time than all that is tested. Here one
draw of `LENGTH` bytes, the tape, decides everything. The names are those of `hypothesis.strategies`, so that a module needs
`from tests.support import tape as st` and `from tests.support.tape import given`, and nothing else. Small bytes lead to simple
values, which is what shrinking looks for. Beyond its end a tape goes on with random numbers that its bytes seed.

Bounds are drawn more often than other integers, and each length of a list as often as the others.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any, Final, Generic, ParamSpec, Protocol, TypeVar, cast

import hypothesis
from hypothesis import strategies

#: Bytes of a tape.
LENGTH: Final = 256
#: So often a value is drawn until a filter accepts it.
TRIES: Final = 20

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")
P = ParamSpec("P")


class Tape:
    """Numbers read from bytes, one after another."""

    __slots__ = ("_at", "_data", "_random")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._random: Random | None = None

    def below(self, end: int) -> int:
        """A number from 0 to `end`, not included."""
        size = ((end - 1).bit_length() + 7) >> 3
        start, self._at = self._at, self._at + size
        if self._at <= len(self._data):
            return int.from_bytes(self._data[start : self._at]) % end
        if self._random is None:
            self._random = Random(self._data)
        return self._random.randrange(end)


class SearchStrategy(Generic[T_co]):
    """A way to read values from a tape. `native` is a strategy of hypothesis for the same values, if one choice decides."""

    def __init__(self, read: Callable[[Tape], T_co], native: "strategies.SearchStrategy[T_co] | None" = None) -> None:
        self.read = read
        self._native = native

    def drawn(self) -> "strategies.SearchStrategy[T_co]":
        """The strategy of hypothesis that draws a tape and reads a value from it."""
        if self._native is not None:
            return self._native
        return strategies.binary(min_size=LENGTH, max_size=LENGTH).map(lambda data: self.read(Tape(data)))

    def map(self, change: Callable[[T_co], U]) -> "SearchStrategy[U]":
        read, native = self.read, self._native
        return SearchStrategy(lambda tape: change(read(tape)), None if native is None else native.map(change))

    def flatmap(self, choose: "Callable[[T_co], SearchStrategy[U]]") -> "SearchStrategy[U]":
        return SearchStrategy(lambda tape: choose(self.read(tape)).read(tape))

    def filter(self, accepts: Callable[[T_co], object]) -> "SearchStrategy[T_co]":
        def read(tape: Tape) -> T_co:
            for _ in range(TRIES):
                if accepts(value := self.read(tape)):
                    return value
            return hypothesis.reject()

        return SearchStrategy(read)

    def __or__(self, other: "SearchStrategy[U]") -> "SearchStrategy[T_co | U]":
        return one_of(self, other)


class _OneOf(SearchStrategy[T_co]):
    """One of several, each as likely as the others, also if they were combined in steps."""

    def __init__(self, options: Sequence[SearchStrategy[T_co]]) -> None:
        self.options = options
        readers = [option.read for option in options]
        super().__init__(lambda tape: readers[tape.below(len(readers))](tape))


def one_of(*options: Any) -> SearchStrategy[Any]:
    flat: list[SearchStrategy[Any]] = []
    for option in options:
        flat.extend(option.options if isinstance(option, _OneOf) else [option])
    return _OneOf(flat)


def just(value: T) -> SearchStrategy[T]:
    return SearchStrategy(lambda tape: value, strategies.just(value))


def none() -> SearchStrategy[None]:
    return just(None)


def booleans() -> SearchStrategy[bool]:
    return SearchStrategy(lambda tape: tape.below(2) == 1, strategies.booleans())


def integers(first: int, last: int) -> SearchStrategy[int]:
    """Both included. Of a wide range one in eight is next to a bound, and of a very wide one half are small."""
    count = last - first + 1
    assert count > 0, (first, last)
    edges = (first, last, first + 1, last - 1)
    least = first if first >= 0 or last < 0 else 0
    wide, very_wide = count > 32, count > 2**24

    def read(tape: Tape) -> int:
        if wide and tape.below(8) == 7:
            return edges[tape.below(4)]
        if very_wide and tape.below(2) == 0:
            return min(last, least + tape.below(2**8 if tape.below(2) == 0 else 2**16))
        return first + tape.below(count)

    return SearchStrategy(read, strategies.integers(first, last))


def floats(first: float, last: float) -> SearchStrategy[float]:
    """Both included."""

    def read(tape: Tape) -> float:
        part = tape.below(2**16)
        return last if part == 2**16 - 1 else first + (last - first) * (part / 2**16)

    return SearchStrategy(read, strategies.floats(first, last))


def sampled_from(options: Iterable[T]) -> SearchStrategy[T]:
    values = [*options]
    return SearchStrategy(lambda tape: values[tape.below(len(values))], strategies.sampled_from(values))


def _size(tape: Tape, min_size: int, max_size: int | None) -> int:
    """Each size up to the largest, or mostly up to a few more than the smallest if that is many or unlimited."""
    few = max(3 * min_size, min_size + 12)
    most = few if max_size is None or (max_size > few and tape.below(16) != 15) else max_size
    return min_size + tape.below(most - min_size + 1)


def lists(
    elements: SearchStrategy[T], *, min_size: int = 0, max_size: int | None = None, unique: bool = False
) -> SearchStrategy[list[T]]:
    if unique:
        return _different(elements, min_size, max_size).map(list)
    read = elements.read
    return SearchStrategy(lambda tape: [read(tape) for _ in range(_size(tape, min_size, max_size))])


def _different(elements: SearchStrategy[T], min_size: int, max_size: int | None) -> SearchStrategy[dict[T, None]]:
    """Different values, in the order in which they are read."""

    def read(tape: Tape) -> dict[T, None]:
        size, found = _size(tape, min_size, max_size), dict[T, None]()
        for _ in range(size + TRIES):
            if len(found) == size:
                break
            found[elements.read(tape)] = None
        if len(found) < min_size:
            hypothesis.reject()
        return found

    return SearchStrategy(read)


def sets(elements: SearchStrategy[T], *, min_size: int = 0, max_size: int | None = None) -> SearchStrategy[set[T]]:
    return _different(elements, min_size, max_size).map(set)


def frozensets(elements: SearchStrategy[T], *, min_size: int = 0, max_size: int | None = None) -> SearchStrategy[frozenset[T]]:
    return _different(elements, min_size, max_size).map(frozenset)


def dictionaries(
    keys: SearchStrategy[T], values: SearchStrategy[U], *, min_size: int = 0, max_size: int | None = None
) -> SearchStrategy[dict[T, U]]:
    names = lists(keys, min_size=min_size, max_size=max_size)
    return SearchStrategy(lambda tape: {key: values.read(tape) for key in names.read(tape)})


def tuples(*elements: Any) -> SearchStrategy[Any]:
    readers = [element.read for element in elements]
    return SearchStrategy(lambda tape: tuple([read(tape) for read in readers]))


def fixed_dictionaries(entries: Mapping[str, Any], *, optional: Mapping[str, Any] | None = None) -> SearchStrategy[Any]:
    def read(tape: Tape) -> dict[str, Any]:
        found = {name: entry.read(tape) for name, entry in entries.items()}
        return found | {name: entry.read(tape) for name, entry in (optional or {}).items() if tape.below(2)}

    return SearchStrategy(read)


def builds(make: Callable[..., T], *arguments: Any, **named: Any) -> SearchStrategy[T]:
    readers, by_name = [argument.read for argument in arguments], {name: given.read for name, given in named.items()}
    return SearchStrategy(
        lambda tape: make(*[read(tape) for read in readers], **{name: read(tape) for name, read in by_name.items()})
    )


class DrawFn(Protocol):
    """What a composite draws with."""

    def __call__(self, strategy: SearchStrategy[T], /) -> T: ...


class _Draw:
    __slots__ = ("_tape",)

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def __call__(self, strategy: SearchStrategy[T], /) -> T:
        return strategy.read(self._tape)


def composite(function: Callable[..., T]) -> Callable[..., SearchStrategy[T]]:
    def made(*arguments: Any, **named: Any) -> SearchStrategy[T]:
        return SearchStrategy(lambda tape: function(_Draw(tape), *arguments, **named))

    return made


def given(*arguments: Any, **named: Any) -> Callable[[Callable[P, Any]], Callable[..., None]]:
    """`hypothesis.given`, with strategies of this module or of hypothesis: each of this module has a tape of its own."""

    def drawn(strategy: Any) -> Any:
        return strategy.drawn() if isinstance(strategy, SearchStrategy) else strategy

    decorator = hypothesis.given(*map(drawn, arguments), **{name: drawn(strategy) for name, strategy in named.items()})
    return cast("Callable[[Callable[P, Any]], Callable[..., None]]", decorator)


class DataObject(Protocol):
    """What `data` gives."""

    def draw(self, strategy: SearchStrategy[T]) -> T: ...


class _Data:
    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._drawn: list[object] = []

    def draw(self, strategy: SearchStrategy[T]) -> T:
        value = strategy.read(self._tape)
        self._drawn.append(value)
        return value

    def __repr__(self) -> str:
        return f"data with {self._drawn}"


def data() -> SearchStrategy[DataObject]:
    """Draws while the test runs."""
    return SearchStrategy(_Data)
