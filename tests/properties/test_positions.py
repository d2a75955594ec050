"""Positions in TOML: every key and every item of a list is found where it is written."""

import tomllib
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from governor.config.names import join, quoted
from governor.config.positions import positions

KEYS = st.sampled_from(["a", "b-1", "limits", '"x.y"', '"q\\"q"', "'lit#eral'", '"[z]"'])
SPACES = st.sampled_from(["", " ", "\t"])
GAPS = st.sampled_from(["", " ", "\n", " # no ] key = {\n", "\n\n  "])
SCALARS = st.sampled_from(
    [
        *("1", "-1_000", "0.5", "true", "1979-05-27 07:32:00Z", "inf"),
        *('"a = [1, # }"', "'it''"[:-1], '"\\""', '""', "'{'"),
        *('"""\n[a]\nb = \\"""c"""', '""""two quotes"""""', "'''\n[[a]] # '\n'''"),
    ]
)


@st.composite
def arrays(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    items = [f"{draw(GAPS)}{draw(values)}{draw(GAPS)}" for _ in range(draw(st.integers(0, 3)))]
    return f"[{','.join(items)}{draw(st.sampled_from(['', ',']) if items else st.just(''))}{draw(GAPS)}]"


@st.composite
def inline_tables(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    keys = draw(st.lists(KEYS, max_size=3, unique=True))
    pairs = [f"{draw(SPACES)}{key}{draw(SPACES)}={draw(SPACES)}{draw(values)}" for key in keys]
    return "{" + " , ".join(pairs) + " }"


VALUES = st.recursive(SCALARS, lambda inner: arrays(inner) | inline_tables(inner), max_leaves=6)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Top-level pairs, then tables and arrays of tables, with comments and blank lines in between."""
    lines: list[str] = []
    for number in range(draw(st.integers(0, 4))):
        if number:
            name = f"t{draw(st.integers(0, 2))}"
            header = draw(st.sampled_from([f"[{name}.x{number}]", f"[ {name}. 'y{number}' ]", f"[[z{name}]]"]))
            lines.append(f"{draw(SPACES)}{header}  # [comment]")
        for key in draw(st.lists(KEYS, max_size=3, unique=True)):
            dotted = draw(st.sampled_from(["", f"d{number} . "]))
            lines.append(f"{draw(SPACES)}{dotted}{key} = {draw(VALUES)} # end")
        lines.append(draw(st.sampled_from(["", "# key = 1"])))
    return "\n".join(lines)


def paths(value: object, path: str = "") -> Iterator[tuple[str, str | None]]:
    """Each path of a document, and the key with which it ends; None for an item of a list."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield join(path, key), key
            yield from paths(inner, join(path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield f"{path}[{index}]", None
            yield from paths(inner, f"{path}[{index}]")


@given(documents())
def test_every_path_has_the_position_at_which_it_is_written(text: str) -> None:
    found = positions(text)
    lines = text.split("\n")
    said = dict(paths(tomllib.loads(text)))

    assert said.keys() == found.keys()
    for path, key in said.items():
        line, column = found[path]
        here = lines[line - 1][column - 1 :]
        if key is not None:
            assert here.startswith((key, quoted(key), f"'{key}'"))
        else:
            assert here[:1] not in {"", " ", "\t", ",", "#", "]", "}"}


def test_a_column_counts_characters() -> None:
    text = 'a = ["grüße", "\N{GRINNING FACE}", 3]\nb = 1'

    assert {"a": (1, 1), "a[0]": (1, 6), "a[1]": (1, 15), "a[2]": (1, 20), "b": (2, 1)} == positions(text)
