"""Every numbered promise of the reference is proved by a test, or marked as not yet kept."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "reference" / "behaviour.md"

#: Every promise of the product has its place on the page: outbound, inbound, monitoring, logging, integration, processes.
NUMBERED: Final = [
    f"R{number:02}"
    for first, last in ((1, 19), (20, 27), (30, 35), (40, 43), (50, 59), (60, 66), (70, 70))
    for number in range(first, last + 1)
]

HEADING: Final = re.compile(r"^### (?P<id>R\d\d) \S.*?(?P<later> \(not yet\))?$", re.MULTILINE)


def _listed(*, kept: bool | None = None) -> list[str]:
    """The promises on the page in their order: all of them, those that this version keeps, or those to come."""
    headings = HEADING.finditer(PAGE.read_text(encoding="utf-8"))
    return [found["id"] for found in headings if kept is None or kept is (found["later"] is None)]


@cache
def _claimed() -> frozenset[str]:
    """The promises that some test claims, read from the sources: so it holds for a run of a few tests as well."""
    return frozenset(
        promise for path in (ROOT / "tests").rglob("test_*.py") for promise in _claims(ast.parse(path.read_bytes(), path.name))
    )


def _claims(module: ast.Module) -> Iterator[str]:
    """What the marks of a module name, without those on functions that pytest does not collect: they prove nothing."""
    nodes = list(ast.walk(module))
    functions = (node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    idle = {mark for function in functions if not function.name.startswith("test") for mark in function.decorator_list}
    for node in nodes:
        if isinstance(node, ast.Call) and _is_promise(node.func) and node not in idle:
            yield from (ast.literal_eval(argument) for argument in node.args)


def _is_promise(called: ast.expr) -> bool:
    return isinstance(called, ast.Attribute) and called.attr == "promise" and ast.unparse(called) == "pytest.mark.promise"


def test_the_page_lists_every_promise_once_and_in_order() -> None:
    assert NUMBERED == _listed()


def test_every_promise_that_is_kept_is_claimed_by_a_test() -> None:
    assert set() == set(_listed(kept=True)) - _claimed()


def test_every_claim_is_about_a_promise_on_the_page() -> None:
    assert set() == _claimed() - set(_listed())


def test_nothing_that_is_claimed_is_announced_as_still_to_come() -> None:
    assert set() == _claimed() & set(_listed(kept=False))
