"""The words of the project: one per concept, and plain English in documentation, names, messages and source text."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from governor.config.json_schema import json_schema

ROOT: Final = Path(__file__).resolve().parents[2]
DOCUMENTS: Final = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
PACKAGES: Final = ("governor", "clients/governor_client")
DEVELOPMENT: Final = ("benchmarks", "demo", "tools")
TESTS: Final = sorted((ROOT / "tests").rglob("*.py"))
MODULES: Final = sorted(path for folder in (*PACKAGES, *DEVELOPMENT) for path in (ROOT / folder).rglob("*.py"))
#: What people see beside the documentation and the source: the dashboard, alerts, and the board for Grafana.
SHOWN: Final = [
    path
    for folder in ("governor/daemon/dashboard", "docs/monitoring")
    for path in sorted((ROOT / folder).iterdir())
    if path.suffix in {".css", ".html", ".js", ".json", ".yml"}
]

#: Words for persons where code acts, and pictures in place of terms. They appear nowhere.
RIDDLES: Final = re.compile(
    r"\b(?:nobody|whoever|whomever|somebody|everybody|anybody|loudest|knock(?:s|ed|ing)?|happenings?|visitors?|troubled?|"
    r"turn(?:s|ed|ing)? (?:\w+ ){0,2}away|(?:is|are) told|at home)\b",
    re.IGNORECASE,
)
#: A permit or a request is denied, a setting is rejected. Only an operating system refuses, a connection.
#: `refusals` is a key of `ban_budget`: the answers 401, 403 and 429 of a server.
REFUSED: Final = re.compile(r"\brefus(?!ed connection|als\b(?=`| =|\"|\Z))\w*", re.IGNORECASE)
#: What becomes of a request without a permit, in the HTTP adapters; and the label of who makes a call, such as an agent.
NAMED: Final = frozenset({"on_refusal", "caller", "refusals"})
#: Bounds are MAX_..., spans ..._TIMEOUT and ..._INTERVAL.
BOUNDS: Final = re.compile(r"_?(?:MOST|LONGEST)(?:_[A-Z_]+)?|_?(?:\w+_)?(?:PATIENCE|AT_A_TIME)")

PUBLIC: Final = (
    "governor",
    "governor.asgi",
    "governor.config",
    "governor.daemon",
    "governor.errors",
    "governor.instrumentation",
    "governor.opentelemetry",
    "governor.testing",
    "governor_client",
)
#: The words of the table in the style guide that a name must not have.
UNNAMED: Final = {
    *("refuse", "refused", "refuses", "refusing", "refusal", "refusals", "turned"),
    *("caller", "callers", "visitor", "visitors", "visit", "visits", "visited", "reception", "stay", "stays"),
    *(
        "home",
        "door",
        "doors",
        "lend",
        "lends",
        "lent",
        "lender",
        "lending",
        "rise",
        "bar",
        "trouble",
        "happenings",
        "lately",
        "loudest",
    ),
    *("longest", "patience", "knock", "whose", "whom", "nobody"),
}


# To parse every file would take seconds.
FUNCTION: Final = re.compile(r"^ *(?:async )?def (\w+)", re.MULTILINE)
DOCSTRING: Final = re.compile(r'\A(?:#.*\n)*r?"{3}(.*?)(?:"{3})?$', re.MULTILINE)


@pytest.mark.parametrize("page", DOCUMENTS, ids=[str(page.relative_to(ROOT)) for page in DOCUMENTS])
def test_the_documentation_says_plainly_who_does_what(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert [] == [*RIDDLES.findall(text), *REFUSED.findall(text)]


@pytest.mark.parametrize("path", SHOWN, ids=[path.name for path in SHOWN])
def test_the_dashboard_and_alerts_say_plainly_who_does_what(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert [] == [*RIDDLES.findall(text), *REFUSED.findall(text)]


def test_the_source_says_plainly_who_does_what() -> None:
    assert {} == _found(RIDDLES)


def test_the_names_of_tests_say_plainly_who_does_what() -> None:
    names = [name for path in TESTS for name in FUNCTION.findall(path.read_text(encoding="utf-8"))]

    assert [] == [name for name in names if RIDDLES.search(name.replace("_", " "))]


def test_messages_deny_and_reject() -> None:
    assert {} == {
        str(path.relative_to(ROOT)): words
        for path in MODULES
        if REFUSED.search(source := path.read_text(encoding="utf-8"))
        and (words := [word for text in _messages(ast.parse(source)) for word in REFUSED.findall(text)])
    }


def test_bounds_have_the_names_of_bounds() -> None:
    sources = {path: path.read_text(encoding="utf-8") for path in MODULES}
    nodes = {path: ast.walk(ast.parse(source)) for path, source in sources.items() if BOUNDS.search(source)}

    assert [] == sorted(
        {
            f"{path.relative_to(ROOT)}: {node.id}"
            for path, found in nodes.items()
            for node in found
            if isinstance(node, ast.Name) and BOUNDS.fullmatch(node.id)
        }
    )


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_have_the_words_of_the_field(module: str) -> None:
    assert [] == sorted({name for name in {*_names(importlib.import_module(module))} - NAMED if UNNAMED & set(_words(name))})


def test_settings_have_the_words_of_the_field() -> None:
    assert [] == sorted({name for name in _keys(json_schema()) if name not in NAMED and UNNAMED & set(_words(name))})


def test_the_first_line_of_a_module_is_a_statement() -> None:
    modules = [*MODULES, *TESTS]
    found = {path: DOCSTRING.match(path.read_text(encoding="utf-8")) for path in modules}
    first = {path: "." if docstring is None else docstring[1] for path, docstring in found.items()}

    assert [] == [str(path.relative_to(ROOT)) for path, line in first.items() if "?" in line or not line.endswith(".")]


def _found(pattern: re.Pattern[str]) -> dict[str, list[str]]:
    found = {str(path.relative_to(ROOT)): pattern.findall(path.read_text(encoding="utf-8")) for path in MODULES}
    return {path: words for path, words in found.items() if words}


def _messages(module: ast.Module) -> Iterator[str]:
    """Text that a program shows: every string but docstrings."""
    statements = {id(node.value) for node in ast.walk(module) if isinstance(node, ast.Expr)}
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements:
            yield node.value


def _names(module: Any) -> Iterator[str]:
    """Public names, their public attributes, fields and parameters."""
    public = getattr(module, "__all__", None) or [name for name in vars(module) if _is_own(module, name)]
    for name in public:
        thing = getattr(module, name)
        yield name
        if inspect.isclass(thing):
            own = [attribute for attribute in vars(thing) if not attribute.startswith("_")]
            yield from own
            for attribute in (*own, "__init__"):
                yield from _parameters(getattr(thing, attribute, None))
            if issubclass(thing, msgspec.Struct):
                yield from thing.__struct_fields__
        else:
            yield from _parameters(thing)


def _is_own(module: Any, name: str) -> bool:
    return not name.startswith("_") and getattr(getattr(module, name), "__module__", None) == module.__name__


def _parameters(thing: object) -> Iterator[str]:
    if inspect.isroutine(thing) and callable(thing):
        try:
            yield from (name for name in inspect.signature(thing).parameters if not name.startswith("_"))
        except ValueError:
            return


def _keys(schema: dict[str, Any]) -> Iterator[str]:
    for name, inner in schema.get("properties", {}).items():
        yield name
        yield from _keys(inner)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _keys(schema["additionalProperties"])


def _words(name: str) -> list[str]:
    """`most_denied` and `MostDenied` are the words most and denied."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")
